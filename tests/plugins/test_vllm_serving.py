"""Handing over to vLLM's server: what it is told, and what is told to somebody who cannot."""

import http.server
import importlib.util
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from golden import picture

import vl2
from vl2 import cli
from vl2.errors import InputError
from vl2.plugins.vllm import serving

PICTURES = Path(vl2.__file__).parent / "assets" / "pictures"
WITHOUT = importlib.util.find_spec("vllm") is None


def value_of(command, option):
    return command[command.index(option) + 1]


def test_vllm_is_told_what_makes_it_answer_alike():
    wish = serving.Handover(Path("folder"), "little", port=81, url_hosts=("a.org", "b.org"))
    command = serving.arguments(wish)
    assert value_of(command, "--model") == "folder"
    assert value_of(command, "--served-model-name") == "little"
    assert value_of(command, "--port") == "81"
    assert json.loads(value_of(command, "--override-generation-config")) == {"temperature": 0.0}
    assert json.loads(value_of(command, "--limit-mm-per-prompt")) == {"image": 16}
    assert value_of(command, "--shutdown-timeout") == "30"
    spacing = json.loads(value_of(command, "--structured-outputs-config"))
    assert spacing == {"backend": "guidance", "disable_any_whitespace": True}
    assert "--enforce-eager" not in command
    place = command.index("--allowed-media-domains")
    assert command[place + 1 : place + 3] == ["a.org", "b.org"]
    nobody = serving.arguments(serving.Handover(Path("folder"), "little", eager=True))
    assert "--enforce-eager" in nobody
    assert value_of(nobody, "--allowed-media-domains").endswith(".invalid")
    with pytest.raises(InputError, match="free port"):
        serving.arguments(serving.Handover(Path("folder"), "little", port=0))


def test_the_key_stays_out_of_the_list_of_processes_and_the_plugin_is_let_in():
    wish = serving.Handover(Path("folder"), "little", api_key="secret", max_pixels=5)
    assert "secret" not in " ".join(serving.arguments(wish))
    made = serving.environment(wish, {"HOME": "/root"})
    assert made == {"HOME": "/root", "VLLM_API_KEY": "secret", "VLLM_MAX_IMAGE_PIXELS": "5"}
    for given, expected in (("", "vl2"), ("other", "other,vl2"), ("vl2,other", "vl2,other")):
        assert serving.environment(wish, {"VLLM_PLUGINS": given})["VLLM_PLUGINS"] == expected


def test_the_command_hands_over(monkeypatch, nano):
    called = []
    monkeypatch.setattr(serving, "check_installed", lambda: None)
    monkeypatch.setattr(os, "execve", lambda *given: called.append(given))
    monkeypatch.setenv("VL2_API_KEY", "secret")
    monkeypatch.setattr(cli_serve(), "_hand_over", stopping(cli_serve()._hand_over))
    words = ["--port", "81", "--max-images", "3", "--drain", "2"]
    assert cli.main(["serve", "--engine", "vllm", *words]) == 2
    (program, command, made) = called[0]
    assert program == sys.executable
    assert value_of(command, "--model") == str(nano)
    assert value_of(command, "--served-model-name") == "nano"
    assert value_of(command, "--dtype") == "float32"
    assert json.loads(value_of(command, "--limit-mm-per-prompt")) == {"image": 3}
    assert value_of(command, "--shutdown-timeout") == "2"
    assert made["VLLM_API_KEY"] == "secret"


def cli_serve():
    return importlib.import_module("vl2.cli.serve")


def stopping(function):
    """As `execve` would: nothing comes after it."""

    def called(*given):
        function(*given)
        raise InputError("handed over")

    return called


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--engine", "magic"], "no engine 'magic'"),
        (["--engine", "vllm", "--memory", "8GB"], "nothing like --memory"),
        (["--engine", "vllm", "--page"], "nothing like --page"),
        (["--engine", "vllm", "--queue", "64"], "nothing like --queue"),
        (["--engine", "vllm", "--picture-memory", "9"], "nothing like --picture-memory"),
        (["--engine", "vllm", "--max-body", "32"], "nothing like --max-body"),
    ],
)
def test_what_cannot_be_handed_over(capsys, words, sentence):
    assert cli.main(["serve", *words]) == 2
    assert sentence in capsys.readouterr().err


@pytest.mark.skipif(not WITHOUT, reason="vLLM is installed")
def test_without_vllm_the_way_out_is_told(capsys):
    assert cli.main(["serve", "--engine", "vllm", "--model", "base"]) == 2
    assert "pip install vllm" in capsys.readouterr().err


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.skipif(WITHOUT, reason="vLLM has an environment of its own: make test-vllm")
@pytest.mark.timeout(900)
def test_the_server_itself(nano, tmp_path, monkeypatch, capsys):
    """Started as a user starts it; then documents are read through it, and it is stopped."""
    port = free_port()
    words = ["serve", "--engine", "vllm", "--port", str(port)]
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    with subprocess.Popen(
        [sys.executable, "-m", "vl2", *words], env={**os.environ, **settings, "VL2_API_KEY": "key"}
    ) as process:
        try:
            wait_for(port, process)
            check_answers(port, nano)
            monkeypatch.setenv("VL2_API_KEY", "key")
            check_reading(f"http://127.0.0.1:{port}/v1", tmp_path, capsys)
            check_draining(port, process)
        finally:
            process.terminate()


def wait_for(port, process):
    for _ in range(600):
        assert process.poll() is None
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
        except OSError:
            time.sleep(1)
        else:
            return
    raise AssertionError("the server did not start")


def post(port, body, key="key"):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)


def check_answers(port, folder):
    from vllm_models import image_part

    from vl2.engine.loading import load

    own = load(folder, "cpu", "float32")
    shown = image_part(picture("640x480.png"))
    for text in ("What is in the picture?", "<|ref|>the red box<|/ref|>."):
        said = [{"role": "user", "content": [shown, {"type": "text", "text": text}]}]
        body = {"model": "nano", "messages": said, "max_tokens": 40}
        answer = post(port, body)["choices"][0]["message"]["content"]
        assert answer == own.chat(said, temperature=0, max_tokens=40).text
    with pytest.raises(urllib.error.HTTPError, match="401"):
        post(port, body, key="another")
    elsewhere = {"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}}
    said = [{"role": "user", "content": [elsewhere, {"type": "text", "text": "?"}]}]
    with pytest.raises(urllib.error.HTTPError, match="400") as refused:
        post(port, {"model": "nano", "messages": said})
    assert "domain" in refused.value.read().decode()


def check_reading(url, tmp_path, capsys):
    """Documents that vLLM reads come out as those that our own engine reads."""
    pictures = [str(PICTURES / f"{name}.png") for name in ("receipt", "table", "shapes")]
    asked = ["--text", "--tables", "--fields", "total, date, supplier", "--locate", "the red star"]
    words = [*pictures, *asked, "--ask", "What is the total?", "--max-tokens", "100"]
    own, through = tmp_path / "own", tmp_path / "through"
    assert cli.main(["read", *words, "-o", str(own), "--dtype", "float32"]) == 0
    served = ["--engine", "vllm", "--url", url]
    assert cli.main(["read", *words, "-o", str(through), *served, "--model", "nano"]) == 0
    assert pages_in(through) == pages_in(own)
    assert len(pages_in(own)) == 3
    # In the words of OpenAI's API alone, JSON may be spaced otherwise, but it is JSON.
    plain = ["read", *words, "-o", str(tmp_path / "plain"), "--engine", "openai", "--url", url]
    assert cli.main([*plain, "--model", "nano"]) == 0
    for name, pages in pages_in(tmp_path / "plain").items():
        for page, other in zip(pages, pages_in(own)[name], strict=True):
            assert page["fields"].keys() == {"total", "date", "supplier"}
            assert page | {"fields": None, "flags": []} == other | {"fields": None, "flags": []}
    capsys.readouterr()
    assert cli.main(["read", *words, "-o", str(tmp_path / "none"), *served, "--model", "tiny"]) == 2
    assert "has no model 'tiny'" in capsys.readouterr().err


def pages_in(out):
    """Everything that was read, by document, without what it took."""
    found = {}
    for path in out.glob("documents/*/result.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        assert result["status"] == "ok"
        found[result["document"]] = [page | {"usage": None} for page in result["pages"]]
    return found


def check_draining(port, process):
    """An open answer is finished when the server is told to stop."""
    said = [{"role": "user", "content": "Tell me something."}]
    body = {"model": "nano", "messages": said, "max_tokens": 300, "ignore_eos": True}
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, port, body)
        time.sleep(1)
        assert not answer.done()
        process.terminate()
        assert answer.result()["usage"]["completion_tokens"] == 300
    process.wait(60)


def nginx_block(repository):
    page = (repository / "docs" / "guide" / "vllm.md").read_text(encoding="utf-8")
    return page.split("```nginx\n")[1].split("```")[0]


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_the_proxy_of_the_guide(repository, tmp_path):
    """Two replicas share the requests; when one stops or dies, the other answers all of them."""
    proxy, *ports = (free_port() for _ in range(3))
    replicas = [replica(port) for port in ports]
    text = nginx_block(repository)
    for said, port in zip((8000, 8001, 8002), (proxy, *ports), strict=True):
        assert f":{said}" in text
        text = text.replace(f":{said}", f":{port}")
    kept = " ".join(
        f"{kind}_temp_path {tmp_path}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = text.replace("http {", f"http {{\naccess_log off; {kept}", 1)
    config = tmp_path / "replicas.conf"
    config.write_text(f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/log;\n{text}")
    command = ["nginx", "-p", str(tmp_path), "-e", str(tmp_path / "log"), "-c", str(config)]
    with subprocess.Popen(command) as process:
        try:
            wait_for(proxy, process)
            assert {post(proxy, {})["port"] for _ in range(8)} == set(ports)
            replicas[0].status = 500  # as vLLM's answers while it finishes what was open
            assert {post(proxy, {})["port"] for _ in range(8)} == {ports[1]}
            replicas[0].shutdown()
            replicas[0].server_close()
            assert {post(proxy, {})["port"] for _ in range(8)} == {ports[1]}
        finally:
            process.terminate()
            replicas[1].shutdown()
            replicas[1].server_close()


def replica(port):
    """What answers with its own port, in a thread."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def do_GET(self):
            self.send_response(server.status)
            self.end_headers()
            self.wfile.write(json.dumps({"port": port}).encode())

        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.status = 200
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server
