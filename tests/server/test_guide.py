"""What the guide to serving says: its examples run, its unit and its proxy fit the command."""

import configparser
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys

import httpx
import pytest
import typer
from acted import acted, wait_for
from sent import asking

from vl2 import cli

PLACE = "http://127.0.0.1:8000"


@pytest.fixture(scope="module")
def guide(repository):
    return (repository / "docs" / "guide" / "serving.md").read_text(encoding="utf-8")


def block(guide, language, word=""):
    """The block of a language in which a word stands."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    (text,) = [text for text in found if word in text]
    return text


@pytest.fixture(scope="module")
def parameters():
    """What `vl2 serve` can be told, by its options."""
    program = typer.main.get_command(cli.app)
    with program.make_context("vl2", ["serve"]) as context:
        command = program.get_command(context, "serve")
    return {option: p for p in command.params for option in p.opts}


@pytest.fixture(scope="module")
def unit(guide):
    """Pairs of a key and a value of the unit, by sections."""
    parser = configparser.RawConfigParser(strict=True, delimiters=["="])
    parser.optionxform = str
    text = block(guide, "ini")
    environment = dict(re.findall(r"^Environment=(\w+)=(.*)$", text, re.MULTILINE))
    parser.read_string(re.sub(r"^Environment=.*\n", "", text, flags=re.MULTILINE))
    return parser, environment


def test_the_example_for_a_client_runs(guide, server, repository, monkeypatch, capsys):
    pytest.importorskip("openai")
    monkeypatch.chdir(repository)
    text = block(guide, "python", "OpenAI").replace(PLACE, server.url)
    exec(compile(text, "serving.md", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 2


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_example_for_the_shell_runs(guide, server):
    text = re.sub(r"\\\n\s*", "", block(guide, "console", "curl"))
    (line,) = [line for line in text.splitlines() if line.startswith("$ ")]
    words = shlex.split(line.removeprefix("$ ").replace(PLACE, server.url))
    done = subprocess.run([*words, "--silent", "--noproxy", "*"], capture_output=True, check=True)
    assert b'"choices":[{' in done.stdout


def test_the_unit_says_what_the_command_knows(unit, parameters):
    parser, environment = unit
    program, verb, *words = shlex.split(parser["Service"]["ExecStart"])
    assert (program.rpartition("/")[2], verb) == ("vl2", "serve")
    assert {word for word in words if word.startswith("-")} <= set(parameters)
    ours = {name for name in environment if name.startswith("VL2_")}
    assert ours == {parameters["--allow-hosts"].envvar}
    assert parameters["--api-key"].envvar == "VL2_API_KEY"  # of the file beside it
    assert int(parser["Service"]["TimeoutStopSec"]) > parameters["--drain"].default + 5


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_takes_the_unit(guide, tmp_path):
    text = block(guide, "ini")
    assert "ExecStart=/opt/vl2/bin/vl2 " in text
    path = tmp_path / "vl2.service"
    path.write_text(text.replace("/opt/vl2/bin/vl2", sys.executable))  # it must be there
    done = subprocess.run(
        ["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_proxy_fits_the_unit_and_the_command(guide, unit, parameters):
    parser, environment = unit
    said = dict(re.findall(r"^\s*(\w+)\s+(.*);$", block(guide, "nginx"), re.MULTILINE))
    words = shlex.split(parser["Service"]["ExecStart"])
    assert said["proxy_pass"] == f"http://127.0.0.1:{words[words.index('--port') + 1]}"
    assert said["server_name"] in environment["VL2_ALLOW_HOSTS"].split()
    assert said["client_max_body_size"] == f"{parameters['--max-body'].default}m"


@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
def test_the_proxy_passes_everything_on(guide, serve, tmp_path):
    """Without TLS: by its name the server answers through it, and pieces come one by one."""
    assistant, engine = acted(pace=0.05)
    served = serve(assistant, hosts=("vl2.example.org",))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    text = re.sub(r"^ *ssl_.*\n", "", block(guide, "nginx"), flags=re.MULTILINE)
    text = text.replace("listen 443 ssl", f"listen 127.0.0.1:{port}")
    text = text.replace("proxy_pass http://127.0.0.1:8000", f"proxy_pass {served.url}")
    assert str(port) in text
    assert served.url in text
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    kept = " ".join(f"{kind}_temp_path {tmp_path}/{kind};" for kind in kinds)
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"daemon off; pid {tmp_path}/pid; error_log {tmp_path}/log; events {{}}\n"
        f"http {{ access_log off; {kept}\n{text} }}"
    )
    command = ["nginx", "-p", str(tmp_path), "-e", str(tmp_path / "log"), "-c", str(config)]
    names = {"Host": "vl2.example.org"}
    body = {"model": "nano", "messages": asking("Hello"), "max_tokens": 100, "stream": True}
    with (
        subprocess.Popen(command, env={**os.environ, "LC_ALL": "C"}) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=names, trust_env=False) as client,
    ):
        try:
            assert wait_for(lambda: _answers(client))
            assert client.get("/health", headers={"Host": "evil.example"}).status_code == 421
            with client.stream("POST", "/v1/chat/completions", json=body) as answer:
                assert answer.status_code == 200
                next(line for line in answer.iter_lines() if "word" in line)
                assert engine.ended == 0
            assert wait_for(lambda: engine.ended == 1)
        finally:
            process.terminate()


def _answers(client):
    try:
        return client.get("/health").status_code == 200
    except httpx.TransportError:
        return False
