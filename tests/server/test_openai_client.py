"""The official client of OpenAI drives the server, and gets what the library itself answers."""

import json

import openai
import pytest
from sent import asking, bundled, data_url, png

from vl2.server.completions import Offsets

QUESTION = "What shape is red?"


@pytest.fixture(scope="module")
def client(server):
    with (
        server.client() as http,
        openai.OpenAI(
            base_url=f"{server.url}/v1", api_key="none", http_client=http, max_retries=0
        ) as c,
    ):
        yield c


def chat(client, messages, **options):
    return client.chat.completions.create(model="nano", messages=messages, **options)


def test_an_answer_is_what_the_library_answers(client, assistant):
    expected = assistant.ask(bundled(), QUESTION)
    completion = chat(client, asking(QUESTION, bundled()))
    (choice,) = completion.choices
    assert choice.message.content == expected.text
    assert choice.message.role == "assistant"
    assert choice.finish_reason == expected.finish_reason
    assert completion.model == "nano"
    assert completion.usage.prompt_tokens == expected.usage.prompt_tokens
    assert completion.usage.completion_tokens == expected.usage.completion_tokens
    assert completion.usage.total_tokens == expected.usage.total_tokens
    details = completion.usage.prompt_tokens_details
    assert details.image_tokens == expected.usage.image_tokens > 0


def test_a_streamed_answer_is_the_same(client, assistant):
    question = "Describe the picture."
    expected = assistant.ask(bundled(), question)
    stream = chat(
        client,
        asking(question, bundled()),
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    texts = [c.choices[0].delta.content for c in chunks if c.choices]
    assert "".join(text for text in texts if text) == expected.text
    assert len([text for text in texts if text]) > 1
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == expected.finish_reason
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == expected.usage.completion_tokens
    assert len({c.id for c in chunks}) == 1


def test_a_stream_without_include_usage_counts_nothing(client):
    chunks = list(chat(client, asking(QUESTION, bundled()), stream=True))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_boxes_are_in_pixels_beside_the_text(client, assistant):
    expected = assistant.locate(bundled(), "the red star")
    question = "<|ref|>the red star<|/ref|>."
    message = chat(client, asking(question, bundled())).choices[0].message
    assert message.content == expected.text
    assert message.boxes == [box.as_dict() for box in expected.boxes]
    deltas = [c.choices[0].delta for c in chat(client, asking(question, bundled()), stream=True)]
    assert deltas[-1].boxes == message.boxes


def test_a_message_of_the_answer_can_be_sent_back(client, assistant):
    messages = asking(QUESTION, bundled())
    message = chat(client, messages).choices[0].message
    follow = [*messages, message, {"role": "user", "content": "And what shape is blue?"}]
    given = [
        {"role": "user", "content": f"<image>\n{QUESTION}", "images": [bundled()]},
        {"role": "assistant", "content": message.content},
        {"role": "user", "content": "And what shape is blue?"},
    ]
    assert chat(client, follow).choices[0].message.content == assistant.chat(given).text


def test_several_pictures_and_a_system_message(client, assistant):
    messages = asking("How many pictures?", bundled("shapes"), bundled("sign"), bundled("mixed"))
    system = {"role": "system", "content": "Be brief."}
    text = "<image>\n<image>\n<image>\nHow many pictures?"
    pictures = [bundled("shapes"), bundled("sign"), bundled("mixed")]
    expected = assistant.chat([system, {"role": "user", "content": text}], pictures)
    for role in ("system", "developer"):
        completion = chat(client, [{**system, "role": role}, *messages])
        assert completion.choices[0].message.content == expected.text
        assert completion.usage.prompt_tokens == expected.usage.prompt_tokens


def test_a_limit_of_tokens_is_told(client):
    for name in ("max_tokens", "max_completion_tokens"):
        completion = chat(client, asking("Describe the picture.", bundled()), **{name: 2})
        assert completion.choices[0].finish_reason == "length"
        assert completion.usage.completion_tokens == 2


def test_seeds_repeat_and_several_answers_differ_by_seed(client):
    def texts(**options):
        completion = chat(
            client, asking("Describe.", bundled()), temperature=1.5, max_tokens=12, **options
        )
        assert [choice.index for choice in completion.choices] == list(
            range(len(completion.choices))
        )
        return [choice.message.content for choice in completion.choices]

    three = texts(n=3, seed=5)
    assert len(set(three)) > 1
    assert three == texts(n=3, seed=5)
    assert three[:1] == texts(seed=5)
    assert three[2:] == texts(seed=7)


def test_several_answers_stream_side_by_side(client):
    options = {"temperature": 1.0, "seed": 3, "n": 2, "max_tokens": 8}
    whole = chat(client, asking("Describe.", bundled()), **options)
    grown = {0: "", 1: ""}
    for chunk in chat(client, asking("Describe.", bundled()), stream=True, **options):
        for choice in chunk.choices:
            grown[choice.index] += choice.delta.content or ""
    assert list(grown.values()) == [choice.message.content for choice in whole.choices]


def test_usage_counts_a_prompt_once_for_several_answers(client):
    one = chat(client, asking(QUESTION, bundled())).usage
    two = chat(client, asking(QUESTION, bundled()), n=2).usage
    assert two.prompt_tokens == one.prompt_tokens
    assert two.completion_tokens == 2 * one.completion_tokens


def test_fewer_tiles_take_fewer_tokens(client):
    full = chat(client, asking(QUESTION, bundled())).usage.prompt_tokens
    fewer = chat(client, asking(QUESTION, bundled()), extra_body={"max_tiles": 1})
    messages = asking(QUESTION, bundled())
    messages[0]["content"][0]["image_url"]["detail"] = "low"
    low = chat(client, messages)
    assert low.usage.prompt_tokens == fewer.usage.prompt_tokens < full


def test_completions_continue_a_text(client, assistant):
    tokenizer = assistant.processor.tokenizer
    prompt = "<|User|>: Hello\n\n<|Assistant|>:"
    completion = client.completions.create(model="nano", prompt=prompt, max_tokens=6)
    ids = tokenizer.encode(tokenizer.bos_token + prompt, add_special_tokens=False)
    same = client.completions.create(model="nano", prompt=ids, max_tokens=6)
    streamed = client.completions.create(model="nano", prompt=prompt, max_tokens=6, stream=True)
    text = completion.choices[0].text
    assert same.choices[0].text == text == "".join(c.choices[0].text for c in streamed)
    assert completion.usage.prompt_tokens == len(ids)


def test_completions_take_several_prompts(client):
    def text(prompt):
        return client.completions.create(model="nano", prompt=prompt, max_tokens=5)

    both = text(["One", "Two and more"])
    assert [c.text for c in both.choices] == [
        text(p).choices[0].text for p in ("One", "Two and more")
    ]
    single = text("One").usage.prompt_tokens + text("Two and more").usage.prompt_tokens
    assert both.usage.prompt_tokens == single


def test_models(client):
    assert [model.id for model in client.models.list()] == ["nano"]
    assert client.models.retrieve("nano").owned_by == "vl2"
    with pytest.raises(openai.NotFoundError, match="'gpt' is not served"):
        client.models.retrieve("gpt")


def test_another_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="gpt", messages=asking("Hello"))
    assert caught.value.code == "model_not_found"


def test_locate(server, assistant):
    expected = assistant.locate(bundled(), "the red star")
    with server.client() as http:
        body = {"image": data_url(bundled()), "phrase": "the red star"}
        located = http.post("/v1/locate", json=body).json()
    assert located["boxes"] == [box.as_dict() for box in expected.boxes]
    assert (located["width"], located["height"]) == (480, 360)
    assert located["text"] == expected.readable


def test_too_many_tokens_are_named(client):
    with pytest.raises(openai.BadRequestError) as caught:
        chat(client, asking("x " * 5000, png(10, 10)))
    assert caught.value.code == "context_length_exceeded"
    assert "tokens, but the context holds" in caught.value.message
    assert "picture 1 (10x10)" in caught.value.message


def test_a_broken_picture_is_a_bad_request(client):
    with pytest.raises(openai.BadRequestError, match=r"Picture 2 of 2: .*not a picture"):
        chat(client, asking("What?", png(4, 4), b"no picture"))


def test_the_openapi_document_names_every_route(server):
    with server.client() as http:
        document = json.loads(http.get("/openapi.json").text)
    assert {"/v1/chat/completions", "/v1/completions", "/v1/locate", "/health"} <= set(
        document["paths"]
    )
    assert "422" not in json.dumps(document["paths"])


def test_the_end_of_an_answer_can_be_chosen(client):
    whole = chat(client, asking("Describe the picture.", bundled()), max_tokens=12)
    text = whole.choices[0].message.content
    stop = text[3:5]
    cut = chat(client, asking("Describe the picture.", bundled()), max_tokens=12, stop=[stop])
    assert cut.choices[0].message.content == text[: text.index(stop)]
    assert cut.choices[0].finish_reason == "stop"


def test_likelihoods_of_the_tokens(client):
    options = {"logprobs": True, "top_logprobs": 3, "max_tokens": 6}
    choice = chat(client, asking(QUESTION, bundled()), **options).choices[0]
    tokens = choice.logprobs.content
    assert "".join(token.token for token in tokens).startswith(choice.message.content)
    for token in tokens:
        assert len(token.top_logprobs) == 3
        assert token.logprob <= 0
        assert token.top_logprobs[0].logprob >= token.logprob
        assert bytes(token.bytes).decode(errors="replace") == token.token
    streamed = list(chat(client, asking(QUESTION, bundled()), stream=True, **options))
    parts = [c.choices[0].logprobs for c in streamed]
    assert [t.token for part in parts if part for t in part.content] == [t.token for t in tokens]


def test_likelihoods_of_a_continuation(client):
    options = {"model": "nano", "prompt": "A red", "max_tokens": 5, "logprobs": 2}
    choice = client.completions.create(**options).choices[0]
    found = choice.logprobs
    assert len(found.tokens) == len(found.token_logprobs) == len(found.text_offset) <= 5
    assert found.text_offset[0] == 0
    assert all(len(top) <= 2 for top in found.top_logprobs)


def test_offsets_of_tokens_are_places_in_the_text():
    text = "a é 日本 🎉!"
    whole = [character.encode() for character in text]
    halves = [bytes([byte]) for byte in text.encode()]
    for pieces in (whole, halves, [text.encode()]):
        offsets = Offsets()
        found = [offsets.next(piece) for piece in pieces]
        expected = [len(b"".join(pieces[:i]).decode(errors="ignore")) for i in range(len(pieces))]
        assert found == expected


@pytest.mark.parametrize("stop", [None, ["zz"]])
def test_offsets_of_a_stream_are_those_of_the_whole(client, stop):
    """Whether or not text is held back because it may begin a stop text."""
    options = {"model": "nano", "prompt": "A red", "max_tokens": 40, "logprobs": 0, "stop": stop}
    options |= {"temperature": 1.8, "seed": 3}
    choice = client.completions.create(**options).choices[0]
    offsets = choice.logprobs.text_offset
    parts = [c.choices[0].logprobs for c in client.completions.create(stream=True, **options)]
    assert [offset for part in parts if part for offset in part.text_offset] == offsets
    assert offsets == sorted(offsets)
    for token, offset in zip(choice.logprobs.tokens, offsets, strict=True):
        if token.isascii() and offset < len(choice.text):
            assert choice.text[offset:].startswith(token)


def test_a_bias_beyond_the_vocabulary_is_named(client, assistant):
    beyond = len(assistant.processor.tokenizer)
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError, match=rf"names token {beyond}\b"):
            chat(client, asking("Hello"), logit_bias={str(beyond): 1}, stream=stream)


def test_a_bias_decides(client, assistant):
    """The strongest bias makes a token the answer's first; the strongest against keeps it out."""
    tokenizer = assistant.processor.tokenizer
    word = tokenizer.encode("star", add_special_tokens=False)[0]
    biased = chat(client, asking(QUESTION, bundled()), logit_bias={str(word): 100}, max_tokens=1)
    assert biased.choices[0].message.content == tokenizer.decode([word])
    against = chat(client, asking(QUESTION, bundled()), logit_bias={str(word): -100}, max_tokens=1)
    assert against.choices[0].message.content != tokenizer.decode([word])


def test_penalties_change_an_answer(client, assistant):
    tokenizer = assistant.processor.tokenizer
    bias = {str(tokenizer.encode("a", add_special_tokens=False)[0]): 20}
    options = {"logit_bias": bias, "max_tokens": 20}
    same = chat(client, asking("Hello"), **options).choices[0].message.content
    varied = chat(client, asking("Hello"), frequency_penalty=2, **options).choices[0].message
    assert varied.content != same


SCHEMA = {
    "type": "object",
    "properties": {
        "shape": {"enum": ["star", "circle"]},
        "count": {"type": "integer", "minimum": 0, "maximum": 9},
        "boxes": {"type": "array", "items": {"type": "number"}, "maxItems": 2},
    },
    "required": ["shape", "count", "boxes"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("temperature", [0, 1.5])
def test_an_answer_obeys_a_schema(client, temperature):
    pytest.importorskip("llguidance")
    jsonschema = pytest.importorskip("jsonschema_rs")
    format_ = {"type": "json_schema", "json_schema": {"name": "thing", "schema": SCHEMA}}
    completion = chat(
        client,
        asking("What is there?", bundled()),
        response_format=format_,
        temperature=temperature,
        seed=1,
        max_tokens=200,
    )
    (choice,) = completion.choices
    if choice.finish_reason == "stop":
        jsonschema.validator_for(SCHEMA).validate(json.loads(choice.message.content))
    else:
        assert completion.usage.completion_tokens == 200


def test_any_json_is_an_object(client):
    pytest.importorskip("llguidance")
    completion = chat(
        client,
        asking("What is there?", bundled()),
        response_format={"type": "json_object"},
        logit_bias=None,
        max_tokens=100,
    )
    (choice,) = completion.choices
    assert choice.message.content.lstrip().startswith("{")
    if choice.finish_reason == "stop":
        assert isinstance(json.loads(choice.message.content), dict)


def test_a_schema_that_is_none_is_a_bad_request(client):
    pytest.importorskip("llguidance")
    format_ = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "thing"}}}
    with pytest.raises(openai.BadRequestError):
        chat(client, asking("Hello"), response_format=format_)
    with pytest.raises(openai.BadRequestError):
        chat(client, asking("Hello"), response_format=format_, stream=True)
