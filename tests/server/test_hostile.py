"""Input that nobody friendly sends: refused in one sentence, in OpenAI's shape, at once."""

import json
import time

import pytest
from sent import asking, bomb, bundled, data_url, png

HELLO = [{"role": "user", "content": "Hello"}]


@pytest.fixture(scope="module")
def client(server):
    with server.client() as client:
        yield client


def error_of(response, status=400):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"].endswith(".")
    return error


def chat(client, **fields):
    return client.post("/v1/chat/completions", json={"model": "nano", "messages": HELLO, **fields})


RAW = {
    "nothing": (b"", "Content-Type: application/json"),
    "no JSON": (b"{", "not JSON at character 1"),
    "a list": (b"[]", "must be one JSON object"),
    "not UTF-8": (b'{"model": "\xff"}', "UTF-8"),
    "deep lists": (b"[" * 100_000, "nested deeper than 64"),
    "deep objects": (b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested deeper than 64"),
    "deep in a field": (
        b'{"model": "nano", "messages": ' + b"[" * 70 + b"]" * 70 + b"}",
        "nested deeper than 64",
    ),
    "brackets in a text are no depth": (
        json.dumps({"model": "nano", "messages": "[" * 1000}).encode(),
        "'messages' is wrong",
    ),
    "very many parts": (b"[" + b"[]," * 400_000 + b"1]", "bytes of JSON beside its texts"),
    "very many fields": (
        json.dumps({f"f{i}": 1 for i in range(200_000)}).encode(),
        "more than 32768 fields",
    ),
    "many fields": (json.dumps({f"f{i}": 1 for i in range(16_000)}).encode(), "'f0' is unknown"),
    "UTF-16": (json.dumps({"model": "nano", "messages": []}).encode("utf-16"), "not in UTF-8"),
    "UTF-32": (json.dumps({"model": "nano"}).encode("utf-32-le"), "not in UTF-8"),
    "a text without end": (b'{"model": "' + b'\\"' * 100_000, "not JSON"),
    "a huge number": (
        b'{"model": "nano", "messages": [], "seed": ' + b"9" * 5000 + b"}",
        "cannot be read as JSON",
    ),
}


@pytest.mark.parametrize("name", RAW)
def test_bodies_that_are_no_request(client, name):
    body, what = RAW[name]
    start = time.monotonic()
    headers = {"Content-Type": "application/json"}
    response = client.post("/v1/chat/completions", content=body, headers=headers)
    assert what in error_of(response)["message"]
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    "kinds",
    [["Application/JSON"], ["application/json", "text/plain"], ["application/x+JSON; a=b"]],
)
def test_every_way_to_declare_json_is_checked(client, kinds):
    headers = [("Content-Type", kind) for kind in kinds]
    response = client.post("/v1/chat/completions", content=b"[" * 100, headers=headers)
    assert "nested deeper than 64" in error_of(response)["message"]


def test_very_many_wrong_items_are_one_mistake(client):
    start = time.monotonic()
    for prompt in ([""] * 131_072, [[""] * 131_072] * 7):
        response = client.post("/v1/completions", json={"model": "nano", "prompt": prompt})
        assert error_of(response)["param"].startswith("prompt")
    assert time.monotonic() - start < 5


def test_json_must_be_declared(client):
    """A form of a foreign page can send a text, but no JSON without asking first."""
    body = json.dumps({"model": "nano", "messages": HELLO}).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        response = client.post("/v1/chat/completions", content=body, headers={"Content-Type": kind})
        assert "Content-Type: application/json" in error_of(response)["message"]


FIELDS = {
    "unknown": ({"temprature": 1}, "temprature", "unknown"),
    "unknown, with a hyphen": ({"max-tokens": 1}, "max-tokens", "'max-tokens' is unknown"),
    "unknown, as a type": ({"int": 1}, "int", "'int' is unknown"),
    "unknown and long": ({"x" * 10_000: 1}, "x" * 200 + "...", "is unknown"),
    "a role that is long": (
        {"messages": [{"role": "x" * 10_000, "content": "x"}]},
        "messages[0]",
        "xxx...",
    ),
    "tools": ({"tools": []}, "tools", "knows no tools"),
    "functions": ({"functions": []}, "functions", "knows no tools"),
    "a number as text": ({"temperature": "1"}, "temperature", "valid number"),
    "too hot": ({"temperature": 3}, "temperature", "less than or equal to 2"),
    "no probability": ({"top_p": 0}, "top_p", "greater than 0"),
    "too many answers": ({"n": 1000}, "n", "less than or equal to 8"),
    "an empty stop": ({"stop": ""}, "stop", "at least 1 character"),
    "many stops": ({"stop": ["a"] * 17}, "stop", "at most 16"),
    "a bias without a token": ({"logit_bias": {"x": 1}}, "logit_bias.x", "match"),
    "a bias too strong": ({"logit_bias": {"5": 101}}, "logit_bias", "less than or equal to 100"),
    "no tokens": ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
    "truth as a number": ({"max_tokens": True}, "max_tokens", "valid integer"),
    "a seed below zero": ({"seed": -1}, "seed", "greater than or equal to 0"),
    "stream as text": ({"stream": "yes"}, "stream", "valid boolean"),
    "another format": ({"response_format": {"type": "xml"}}, "response_format", "json_object"),
    "a schema without a name": (
        {"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
        "response_format.json_schema.name",
        "missing",
    ),
    "no messages": ({"messages": []}, "messages", "at least 1 item"),
    "a tool's message": ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0]", "role"),
    "a name": (
        {"messages": [{"role": "user", "content": "x", "name": "Ann"}]},
        "messages[0].name",
        "unknown",
    ),
    "an audio part": (
        {"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]},
        "messages[0].content[0]",
        "image_url",
    ),
    "a part without its text": (
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        "messages[0].content[0].text",
        "missing",
    ),
}


@pytest.mark.parametrize("name", FIELDS)
def test_wrong_fields_are_named(client, name):
    fields, param, what = FIELDS[name]
    error = error_of(chat(client, **fields))
    assert error["type"] == "invalid_request_error"
    assert error["param"].startswith(param)
    assert what in error["message"]


TOGETHER = {
    "stream options without a stream": {"stream_options": {"include_usage": True}},
    "likely tokens without their logarithms": {"top_logprobs": 3},
    "two limits": {"max_tokens": 3, "max_completion_tokens": 3},
    "an answer last": {"messages": [*HELLO, {"role": "assistant", "content": "Hi"}]},
    "a system message last": {"messages": [*HELLO, {"role": "system", "content": "Hi"}]},
    "a place without a picture": {"messages": [{"role": "user", "content": "<image>?"}]},
    "half a character": {"messages": [{"role": "user", "content": "\ud800"}]},
}


@pytest.mark.parametrize("name", TOGETHER)
def test_what_does_not_fit_together_is_told(client, name):
    body = json.dumps({"model": "nano", "messages": HELLO, **TOGETHER[name]})
    headers = {"Content-Type": "application/json"}
    error_of(client.post("/v1/chat/completions", content=body, headers=headers))


def test_details_must_be_the_same(client):
    messages = asking("What?", png(3, 3), png(3, 3))
    messages[0]["content"][0]["image_url"]["detail"] = "low"
    assert "the same detail" in error_of(chat(client, messages=messages))["message"]


PATHS = [
    "/etc/passwd",
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "../../etc/passwd",
    "src/vl2/assets/pictures/shapes.png",
    "ftp://example.org/a.png",
    "//example.org/a.png",
    "",
    "data",
]


@pytest.mark.parametrize("path", PATHS)
def test_no_file_of_the_server_is_ever_read(client, path):
    part = {"type": "image_url", "image_url": {"url": path}}
    response = chat(client, messages=[{"role": "user", "content": [part]}])
    assert "must be a data: URL" in error_of(response)["message"]
    response = client.post("/v1/locate", json={"image": path, "phrase": "it"})
    assert "must be a data: URL" in error_of(response)["message"]


@pytest.mark.parametrize("url", ["http://127.0.0.1/a.png", "https://example.org/a.png"])
def test_no_address_is_fetched_by_default(client, url):
    part = {"type": "image_url", "image_url": {"url": url}}
    response = chat(client, messages=[{"role": "user", "content": [part]}])
    assert "not fetched from" in error_of(response)["message"]


PICTURES = {
    "base64 that is none": ("data:image/png;base64,###", "base64"),
    "no comma": ("data:image/png;base64", "no content"),
    "empty": ("data:image/png;base64,", "empty"),
    "a text": (data_url(b"hello"), "not a picture"),
    "half a picture": (data_url(bundled()[:2000]), "broken"),
    "a bomb": (data_url(bomb(30_000, 30_000)), "million"),
    "a large one": (data_url(bomb(8000, 6000)), "million"),
    "a thin one": (data_url(bomb(20_000_000, 1)), "no side"),
    "an SVG": ("data:image/svg+xml,<svg/>", "not a picture"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_that_are_none(client, name):
    url, what = PICTURES[name]
    response = chat(
        client,
        messages=[{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}],
    )
    error = error_of(response)
    assert what in error["message"]
    assert error["code"] == "invalid_image"


def test_ten_thousand_pictures_are_counted_not_opened(client):
    start = time.monotonic()
    messages = [
        {"role": "user", "content": [asking("", png(1, 1))[0]["content"][0]] * 1000}
        for _ in range(10)
    ]
    assert "10000 pictures" in error_of(chat(client, messages=messages))["message"]
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("field", ["text", "parts", "prompts"])
def test_a_text_that_fits_no_context_is_not_cut_into_tokens(client, field):
    start, text = time.monotonic(), "ab c" * 2**18
    if field == "prompts":
        response = client.post("/v1/completions", json={"model": "nano", "prompt": [text] * 16})
    else:
        content = text if field == "text" else [{"type": "text", "text": text}] * 20
        response = chat(client, messages=[{"role": "user", "content": content}])
    error = error_of(response)
    assert error["code"] == "context_length_exceeded"
    assert "2048" in error["message"]
    assert time.monotonic() - start < 3


def test_a_body_may_not_be_too_large(server, client):
    limit = server.answering.settings.max_body_bytes
    headers = {"Content-Type": "application/json"}
    response = client.post("/v1/chat/completions", content=b" " * (limit + 1), headers=headers)
    assert f"{limit} bytes" in error_of(response, 413)["message"]


def test_a_body_without_a_length_is_counted_while_it_comes(serve, assistant):
    served = serve(assistant, max_body_bytes=1000)
    with served.client() as client:
        response = client.post("/v1/chat/completions", content=(b"x" * 100 for _ in range(20)))
        error_of(response, 413)


def test_unknown_addresses_and_methods(client):
    assert "nothing at this address" in error_of(client.get("/v1/engines"), 404)["message"]
    assert "not take this method" in error_of(client.get("/v1/chat/completions"), 405)["message"]
    error_of(client.get("/../../etc/passwd"), 404)
    error_of(client.get("/v1/models/..%2f..%2fetc%2fpasswd"), 404)


RAW_PROMPTS = {
    "no prompt": ([], "prompt"),
    "ids too large": ([10**9], "holds 1000000000, and token ids go from 0"),
    "a place of a picture": ("<image>", "place of a picture"),
    "too long": ("word " * 4000, "the context holds"),
    "too many": (["a"] * 17, "prompt"),
}


@pytest.mark.parametrize("name", RAW_PROMPTS)
def test_prompts_that_cannot_be_continued(client, name):
    prompt, what = RAW_PROMPTS[name]
    response = client.post("/v1/completions", json={"model": "nano", "prompt": prompt})
    assert what in error_of(response)["message"]


def test_the_first_id_beyond_the_vocabulary_is_named(client, assistant):
    beyond = len(assistant.processor.tokenizer)
    body = {"model": "nano", "prompt": [[1, beyond - 1], [1, beyond]], "max_tokens": 1}
    response = client.post("/v1/completions", json=body)
    assert f"holds {beyond}, and token ids go" in error_of(response)["message"]
    body["prompt"][1][1] -= 1
    assert client.post("/v1/completions", json=body).status_code == 200


def test_a_phrase_must_be_plain(client):
    body = {"image": data_url(png(4, 4)), "phrase": "<|ref|>"}
    assert "grounding tag" in error_of(client.post("/v1/locate", json=body))["message"]
