import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import golden

from vl2.processing.chat_template import CHAT_TEMPLATE
from vl2.processing.processor import DeepseekVLV2Processor

WORDS = st.text(alphabet="ab .:\n<|>图{}", max_size=10)
PARTS = st.lists(
    st.one_of(
        st.just({"type": "image"}),
        st.just({"type": "image_url", "image_url": {"url": "a.png"}}),
        WORDS.map(lambda text: {"type": "text", "text": text}),
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def rendered(processor: DeepseekVLV2Processor):
    """Render with Jinja, through a template that is ours in all but a remark."""

    def render(messages, **options):
        template = "{#- a copy -#}" + CHAT_TEMPLATE
        return processor.apply_chat_template(messages, chat_template=template, **options)

    return render


@pytest.mark.parametrize("name", golden.CASES)
def test_it_writes_what_the_layout_writes(processor, rendered, name):
    messages = golden.messages(name)[:-1]
    expected = processor.apply_chat_template(messages, add_generation_prompt=True)
    assert rendered(messages, add_generation_prompt=True) == expected


@given(st.lists(st.tuples(PARTS, WORDS.filter(str.strip)), min_size=1, max_size=3), st.booleans())
def test_it_writes_the_same_for_any_content(processor, rendered, turns, generate):
    messages = [{"role": "system", "content": " Be brief. "}]
    for parts, answer in turns:
        messages += [{"role": "user", "content": parts}, {"role": "assistant", "content": answer}]
    messages = messages[:-1] if generate else messages
    expected = processor.apply_chat_template(messages, add_generation_prompt=generate)
    assert rendered(messages, add_generation_prompt=generate) == expected


def test_it_marks_answers(processor, rendered):
    messages = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Yes."}]
    assert "{%- generation -%}" in CHAT_TEMPLATE
    assert rendered(messages).endswith("<|Assistant|>:Yes.<｜end▁of▁sentence｜>")


def test_other_roles_are_refused(rendered):
    with pytest.raises(Exception, match="Roles are user and assistant"):
        rendered([{"role": "tool", "content": "Hi."}])
