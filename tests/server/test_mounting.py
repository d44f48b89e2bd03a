"""The page beside the API: addresses that are neither's."""

import gc

import pytest
from conftest import serving

pytestmark = pytest.mark.filterwarnings("ignore")  # of the page's framework about its own parts


@pytest.fixture(scope="module")
def served(assistant):
    pytest.importorskip("gradio", reason="gradio is not installed: pip install 'vl2[web]'")
    from vl2.server.page.mounting import mount

    with serving(assistant, mount) as running:
        yield running
    gc.collect()  # what the page's framework left open, while warnings of it are ignored


@pytest.mark.parametrize("path", ["/v1", "/v1/", "/v1/nothing"])
def test_below_v1_everything_is_the_api(served, path):
    with served.client() as client:
        answer = client.get(path)
    assert answer.status_code == 404
    assert "nothing at this address" in answer.json()["error"]["message"]
