"""Which files, which pages, what is asked: read from words, refused in a sentence."""

import json

import pytest

from vl2.documents.agreement import agreement
from vl2.documents.pages import PageChoice
from vl2.documents.settings import Settings, digest_of, fingerprint_of, folder_name
from vl2.documents.sources import find, is_pdf
from vl2.documents.tasks import ask, locate, read_fields, read_schema, read_text
from vl2.errors import InputError


@pytest.fixture
def tree(tmp_path):
    for name in ("b.png", "a.PDF", "notes.txt", "deep/c.jpg", "deep/.hidden.png", "out/page.jpg"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def names(paths, tree):
    return [path.relative_to(tree).as_posix() for path in paths]


def test_folders_patterns_and_files(tree):
    assert names(find([tree], skip=tree / "out"), tree) == ["a.PDF", "b.png", "deep/c.jpg"]
    assert names(find([str(tree / "*.png"), tree / "b.png"]), tree) == ["b.png"]
    assert names(find([str(tree / "**" / "*.jpg")]), tree) == ["deep/c.jpg", "out/page.jpg"]
    assert names(find([tree / "notes.txt"]), tree) == ["notes.txt"]  # named, so it is tried


def test_a_link_to_a_folder_above_does_not_go_round(tree):
    (tree / "deep" / "up").symlink_to(tree, target_is_directory=True)
    assert len(find([tree])) == 4


@pytest.mark.parametrize("word", ["nowhere.pdf", "nowhere/*.pdf", "", "a\0b", "x" * 5000])
def test_what_is_not_there_is_told(word):
    with pytest.raises(InputError, match="does not exist"):
        find([word])


def test_a_folder_without_documents_is_told(tmp_path):
    with pytest.raises(InputError, match="nothing to read"):
        find([tmp_path])


def test_pdfs_are_known_by_their_bytes(tmp_path):
    path = tmp_path / "scan.png"
    path.write_bytes(b"\n\n%PDF-1.4")
    assert is_pdf(path)
    path.write_bytes(b"\x89PNG")
    assert not is_pdf(path)


@pytest.mark.parametrize(
    ("text", "pages"),
    [
        ("all", [1, 2, 3, 4, 5]),
        ("2", [2]),
        ("1-3,5", [1, 2, 3, 5]),
        ("4-", [4, 5]),
        ("-2", [1, 2]),
        ("5,1-2,2", [1, 2, 5]),
        ("4-900", [4, 5]),
        ("9", []),
    ],
)
def test_pages(text, pages):
    choice = PageChoice.parse(text)
    assert choice.of(5) == pages
    assert PageChoice.parse(str(choice)) == choice


@pytest.mark.parametrize("text", ["", "-", "0", "3-1", "a", "1,,2", "1-2-3", "9" * 12])
def test_malformed_pages_are_refused(text):
    with pytest.raises(InputError, match="names no pages"):
        PageChoice.parse(text)


def test_fields_become_a_schema_of_texts_or_nothing():
    task = read_fields("total, date ,supplier,")
    schema = json.loads(task.schema)
    assert schema["required"] == ["total", "date", "supplier"]
    assert not schema["additionalProperties"]
    assert "total, date, supplier" in task.prompt


@pytest.mark.parametrize("names", ["", " , ", "a,a", ",".join(map(str, range(65))), "x" * 65])
def test_fields_that_cannot_be_asked_for_are_refused(names):
    with pytest.raises(InputError, match="field"):
        read_fields(names)


@pytest.mark.parametrize("schema", ["{", "[]", "3", '{"type": "array"}'])
def test_schemas_of_anything_but_objects_are_refused(schema):
    with pytest.raises(InputError, match="schema"):
        read_schema(schema)


def test_the_model_is_asked_for_places_as_it_was_trained():
    assert locate("the red box").prompt == "<|ref|>the red box<|/ref|>."
    with pytest.raises(InputError):
        locate(" ")
    with pytest.raises(InputError):
        ask(" ")


def test_results_are_known_by_content_and_by_what_is_asked():
    settings = Settings((read_text(),))
    keys = {
        settings.key("a"),
        settings.key("b"),
        Settings((read_text(),), dpi=150).key("a"),
        Settings((read_text(), ask("Who?"))).key("a"),
        Settings((read_text(),), fingerprint="1").key("a"),
        Settings((read_text(),), pages=PageChoice.parse("1")).key("a"),
        Settings((read_text(),), engine="openai").key("a"),
        Settings((read_text(),), model="tiny").key("a"),
        Settings((read_text(),), dtype="bfloat16").key("a"),
        Settings((read_text(),), text_layer="ignore").key("a"),
        Settings((read_text(),), across=3).key("a"),
        Settings((read_text(),), max_tokens=7).key("a"),
    }
    assert len(keys) == 12
    assert settings.key("a") == Settings((read_text(),)).key("a")


@pytest.mark.parametrize(
    "changed",
    [
        {"tasks": ()},
        {"tasks": (read_text(), read_text())},
        {"tasks": (read_fields("a"), read_schema("{}"))},
        {"dpi": 5},
        {"across": 0},
        {"max_tokens": 0},
        {"text_layer": "maybe"},
    ],
)
def test_settings_out_of_range_are_refused(changed):
    with pytest.raises(InputError):
        Settings(**{"tasks": (read_text(),), **changed})


def test_fingerprints_tell_weights_apart_without_their_dates(tmp_path):
    def folder(name, data):
        path = tmp_path / name
        path.mkdir()
        (path / "config.json").write_text("{}")
        (path / "model.safetensors").write_bytes(data)
        return path

    same = [fingerprint_of(folder(name, b"w" * 3_000_000)) for name in "ab"]
    other = fingerprint_of(folder("c", b"w" * 2_999_999 + b"v"))
    assert same[0] == same[1] != other


def test_folders_are_named_after_their_documents(tmp_path):
    path = tmp_path / "Rechnung <script> 7.pdf"
    assert folder_name(path, "0f") == "Rechnung-script-7-0f"
    assert folder_name(tmp_path / "...", "0f").endswith("-0f")
    assert len(folder_name(tmp_path / ("x" * 200), "0f")) < 70
    path.write_bytes(b"abc")
    assert digest_of(path).startswith("ba7816bf8f01cfea")


def test_agreement_counts_words_in_any_order():
    assert agreement("Total: 12 EUR", "12 eur TOTAL") == 1
    assert agreement("", "") == 1
    assert agreement("a b", "a c") == 0.5
    assert agreement("a a a a", "a") == pytest.approx(0.4)
    assert agreement("x", "") == 0


def test_scripts_without_spaces_are_compared_by_character():
    assert agreement("合同总价一百元\n甲方", "合同总价\n一百元甲方") == 1
    assert agreement("合同总价一百元整", "合同总价二百元整") == pytest.approx(7 / 8)
    assert agreement("price 一 x", "price一x") == 1


def test_results_are_no_documents_wherever_they_go(tree):
    result = tree / "documents" / "b-0123456789abcdef"
    result.mkdir(parents=True)
    (result / "page-0001.jpg").write_bytes(b"x")
    (tree / "documents" / "mine.png").write_bytes(b"x")
    wanted = ["a.PDF", "b.png", "deep/c.jpg", "documents/mine.png", "out/page.jpg"]
    assert names(find([tree], skip=tree), tree) == wanted
    assert names(find([f"{tree}/**/*.jpg"], skip=tree), tree) == ["deep/c.jpg", "out/page.jpg"]
    assert len(find([tree])) == len(wanted) + 1  # of another run they are pictures like others


def test_the_folder_of_results_is_known_by_any_name(tree):
    (tree / "link").symlink_to(tree, target_is_directory=True)
    for out in (tree / "deep" / ".." / "out", tree / "link" / "out"):
        assert names(find([tree], skip=out), tree) == ["a.PDF", "b.png", "deep/c.jpg"]
