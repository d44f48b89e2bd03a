"""`vl2 serve` as a process: it starts, answers, and a signal ends it as it should."""

import json
import signal
import sys
import threading
from pathlib import Path

import httpx
import pytest
from acted import wait_for

from vl2.errors import InputError
from vl2.server.child import served

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no such signals there")


def ask(url, **fields):
    body = {"model": "nano", "messages": [{"role": "user", "content": "Hello"}], **fields}
    return httpx.post(f"{url}/v1/chat/completions", json=body, trust_env=False, timeout=60)


def test_a_signal_lets_an_answer_finish_and_leaves_nothing_behind(nano, tmp_path, monkeypatch):
    """Also of the page: its folder is private and removed."""
    has_page = _has_gradio()
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    with served("--page" if has_page else "--no-page") as child:
        folders = list(tmp_path.glob("vl2-page-*"))
        assert len(folders) == has_page
        assert all(folder.stat().st_mode & 0o777 == 0o700 for folder in folders)
        generation = json.loads((nano / "generation_config.json").read_text())
        never_ends = {str(generation["eos_token_id"]): -100}
        found = []
        asking = threading.Thread(
            target=lambda: found.append(ask(child.url, max_tokens=300, logit_bias=never_ends))
        )
        asking.start()
        assert wait_for(lambda: _unfinished(child.url) == 1, seconds=30)
        child.process.send_signal(signal.SIGTERM)
        asking.join(60)
        (response,) = found
        assert response.status_code == 200
        assert response.json()["usage"]["completion_tokens"] == 300
        child.process.wait(20)
    assert child.process.returncode in (0, -signal.SIGTERM)
    assert list(tmp_path.glob("vl2-page-*")) == []


def test_a_server_that_does_not_start_says_why():
    with pytest.raises(InputError, match=r"(?s)did not start.*--sideways"), served("--sideways"):
        pass


def _unfinished(url):
    text = httpx.get(f"{url}/metrics", trust_env=False).text
    return next(
        float(line.split()[1])
        for line in text.splitlines()
        if line.startswith("vl2_unfinished_answers ")
    )


def _has_gradio():
    try:
        import gradio
    except ImportError:
        return False
    return Path(gradio.__file__).exists()
