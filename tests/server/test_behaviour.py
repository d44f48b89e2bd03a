"""Many clients, impatient clients, slow clients, and a server that is told to stop."""

import contextlib
import json
import socket
import threading
import time

import httpx
import pytest
from acted import acted, wait_for

DONE = "data: [DONE]"
HELLO = [{"role": "user", "content": "Hello"}]


def body(max_tokens=10, **fields):
    return {"model": "nano", "messages": HELLO, "max_tokens": max_tokens, **fields}


def post(client, max_tokens=10, **fields):
    return client.post("/v1/chat/completions", json=body(max_tokens, **fields))


@pytest.fixture
def raw():
    """A function that opens a connection to a server and says something."""
    with contextlib.ExitStack() as stack:

        def open_connection(served, data):
            connection = socket.create_connection(("127.0.0.1", served.port))
            stack.callback(connection.close)
            connection.sendall(data)
            connection.settimeout(10)
            return connection

        yield open_connection


def head(content):
    return (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    ).encode()


def request(max_tokens=10, **fields):
    content = json.dumps(body(max_tokens, **fields)).encode()
    return head(content) + content


def read(connection, end=None):
    """What comes until a text has come, or until the connection is closed."""
    received = ""
    while end is None or end not in received:
        data = connection.recv(2**16)
        if not data:
            break
        received += data.decode()
    return received


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("n", [1, 3])
def test_a_client_that_goes_away_frees_its_work(serve, stream, n, raw):
    assistant, engine = acted()
    served = serve(assistant)
    connection = raw(served, request(100_000, stream=stream, n=n))
    assert wait_for(lambda: engine.words > 5)
    connection.close()
    assert wait_for(lambda: engine.ended == n)
    words = engine.words
    time.sleep(0.05)
    assert engine.words == words
    assert engine.finished == 0
    assert wait_for(lambda: served.answering.gate.inside == 0)


def test_several_clients_share_the_engine(serve, raw):
    """Nobody waits for another's answer to end."""
    assistant, engine = acted()
    served = serve(assistant)
    with served.client() as client:
        connection = raw(served, request(100_000, stream=True))
        assert wait_for(lambda: engine.words > 5)
        assert post(client).status_code == 200
        connection.close()


def test_a_full_queue_is_a_429_with_a_time_to_come_back(serve, raw):
    assistant, engine = acted()
    served = serve(assistant, queue=2)
    with served.client() as client:
        waiting = [raw(served, request(100_000, stream=True)) for _ in range(2)]
        assert wait_for(lambda: engine.begun == 2)
        response = post(client)
        assert response.status_code == 429
        assert int(response.headers["Retry-After"]) >= 1
        assert response.json()["error"]["type"] == "rate_limit_error"
        waiting[0].close()
        assert wait_for(lambda: served.answering.gate.inside == 1)
        assert post(client).status_code == 200
        assert post(client, n=3).status_code == 400
        waiting[1].close()


def test_a_crash_of_one_request_harms_no_other(serve, raw):
    assistant, _ = acted(defect_at=20)
    served = serve(assistant)
    with served.client() as client:
        other = raw(served, request(19, stream=True))
        failed = post(client, 30)
        assert failed.status_code == 500
        assert failed.json()["error"]["type"] == "server_error"
        assert "ZeroDivision" not in failed.text
        assert '"finish_reason":"length"' in read(other, DONE)
        assert post(client).status_code == 200


def test_an_answer_that_fails_says_so(serve):
    assistant, _ = acted(fails_at=5)
    served = serve(assistant)
    with served.client() as client:
        whole = post(client)
        assert whole.status_code == 500
        assert whole.json()["error"]["message"] == "The answer failed."
        streamed = post(client, stream=True).text
        assert streamed.count("word") == 5
        *_, last, done = [line for line in streamed.splitlines() if line]
        assert json.loads(last.removeprefix("data: "))["error"]["type"] == "server_error"
        assert done == "data: [DONE]"


@pytest.mark.parametrize("said", [b"", b"POST /v1/chat/completions HTTP/1.1\r\nX-A: b\r\n"])
def test_a_request_that_does_not_come_is_not_waited_for(serve, said, raw):
    served = serve(acted()[0], header_seconds=0.2)
    connection = raw(served, said)
    start = time.monotonic()
    assert connection.recv(100) == b""
    assert time.monotonic() - start < 5


def test_drops_of_a_head_do_not_help(serve, raw):
    served = serve(acted()[0], header_seconds=0.3)
    connection = raw(served, b"GET /health HTTP/1.1\r\n")
    start = time.monotonic()
    with contextlib.suppress(OSError):  # a pipe that is broken, or a connection reset
        while time.monotonic() - start < 5:
            connection.sendall(b"X-A: b\r\n")
            time.sleep(0.05)
    assert time.monotonic() - start < 5


def test_a_head_that_drops_after_an_answered_request_is_not_waited_for(serve, raw):
    served = serve(acted()[0], header_seconds=0.3)
    connection = raw(served, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert "200 OK" in read(connection, "}")
    connection.sendall(b"GET /health HTTP/1.1\r\n")
    assert read(connection) == ""


def test_a_body_that_does_not_come_is_a_408(serve, raw):
    served = serve(acted()[0], body_seconds=0.2)
    connection = raw(served, head(b"x" * 100) + b"{")
    assert " 408 " in read(connection)


def test_a_client_that_does_not_read_is_let_go(serve, raw):
    assistant, engine = acted(pace=0, word="x" * 100_000)
    served = serve(assistant, send_seconds=0.3)
    connection = raw(served, request(100_000, stream=True))
    assert wait_for(lambda: engine.ended == 1)
    assert engine.finished == 0
    assert engine.words < 1000
    connection.close()


def test_a_connection_that_is_not_read_does_not_stay(serve, raw):
    assistant, _ = acted(pace=0, word="x" * 100_000)
    served = serve(assistant, send_seconds=0.2, header_seconds=0.3)
    connection = raw(served, request(100_000, stream=True))
    connections = served.server.server_state.connections
    assert wait_for(lambda: connections)
    assert wait_for(lambda: not connections)
    connection.close()


def test_a_stop_lets_open_answers_finish_and_nobody_in(serve, raw):
    assistant, engine = acted()
    served = serve(assistant)
    with served.client() as client:
        idle = raw(served, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert read(idle, "}")
        connection = raw(served, request(300, stream=True))
        assert wait_for(lambda: engine.words > 5)
        port = served.port
        served.server.should_exit = True
        assert wait_for(lambda: not served.answering.gate.is_open)
        idle.sendall(request())
        assert " 503 " in read(idle, "}}")
        text = read(connection, DONE)
        assert text.count("word ") == 300
        assert '"finish_reason":"length"' in text
        served.thread.join(10)
        assert not served.thread.is_alive()
        with pytest.raises(httpx.ConnectError):
            client.get(f"http://127.0.0.1:{port}/health")


def test_a_stop_does_not_wait_for_ever(serve, raw):
    assistant, engine = acted()
    served = serve(assistant, drain_seconds=0.2)
    connection = raw(served, request(100_000, stream=True))
    assert wait_for(lambda: engine.words > 5)
    served.server.should_exit = True
    served.thread.join(10)
    assert not served.thread.is_alive()
    assert wait_for(lambda: engine.ended == 1)
    connection.close()


def test_a_key_is_asked_for(serve):
    served = serve(acted()[0], api_key="secret")
    with served.client() as client:
        for headers in (
            {},
            {"Authorization": "Bearer wrong"},
            {"Authorization": "Bearer secre"},
            {"Authorization": "Bearer"},
            {"Authorization": "Basic secret"},
            {"Authorization": b"Bearer \xff"},
        ):
            response = client.get("/v1/models", headers=headers)
            assert response.status_code == 401
            assert response.json()["error"]["code"] == "invalid_api_key"
            assert client.get("/metrics", headers=headers).status_code == 401
        assert client.get("/health").status_code == 200
        right = {"Authorization": "Bearer secret"}
        assert client.get("/v1/models", headers=right).status_code == 200
        assert client.get("/metrics", headers=right).status_code == 200


def test_other_origins_are_let_in_only_if_named(serve):
    assistant, _ = acted()
    asked = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
    with serve(assistant).client() as client:
        assert "access-control-allow-origin" not in client.get("/health", headers=asked).headers
        assert client.options("/v1/chat/completions", headers=asked).status_code == 405
    with serve(assistant, origins=("https://a.example",)).client() as client:
        allowed = client.options("/v1/chat/completions", headers=asked)
        assert allowed.headers["access-control-allow-origin"] == "https://a.example"
        asked["Origin"] = "https://b.example"
        refused = client.options("/v1/chat/completions", headers=asked)
        assert "access-control-allow-origin" not in refused.headers


def test_what_is_counted(serve, raw):
    assistant, engine = acted()
    served = serve(assistant)
    with served.client() as client:
        post(client, 7)
        post(client, tools=[])
        client.get("/nothing/here")
        connection = raw(served, request(100_000, stream=True))
        assert wait_for(lambda: engine.words > 12)
        metrics = client.get("/metrics").text
        connection.close()
        assert wait_for(lambda: served.answering.gate.inside == 0)
        after = client.get("/metrics").text
    assert 'vl2_requests_total{path="/v1/chat/completions",status="200"}' in metrics
    assert 'vl2_requests_total{path="/v1/chat/completions",status="400"} 1.0' in metrics
    assert 'vl2_requests_total{path="other",status="404"} 1.0' in metrics
    assert "vl2_completion_tokens_total 7.0" in metrics
    assert "vl2_time_to_first_token_seconds_count 2.0" in metrics
    assert "vl2_unfinished_answers 1.0" in metrics
    assert "vl2_unfinished_answers 0.0" in after
    assert "vl2_abandoned_answers_total 1.0" in after


def test_thirty_two_clients_get_their_own_answers(server, assistant):
    """Each answer equals the one that is given alone."""
    questions = [f"What is {number}?" for number in range(8)]
    alone = {q: assistant.ask([], q, max_tokens=6).text for q in questions}
    wrong = []

    def ask(question):
        with server.client() as client:
            messages = [{"role": "user", "content": question}]
            answer = post(client, 6, messages=messages).json()
            if answer["choices"][0]["message"]["content"] != alone[question]:
                wrong.append((question, answer))

    threads = [threading.Thread(target=ask, args=(q,)) for q in questions * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
