"""The page in a real Chromium without a window."""

import base64
import json
import re
import shutil
from pathlib import Path

import pytest
from acted import acted, wait_for
from sent import BUNDLED, png
from served import serving

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.filterwarnings("ignore"),  # of the page's framework about its own parts
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed"),
]

POINTED = (
    "<|ref|>the red star<|/ref|><|det|>[[85, 100, 405, 520]]<|/det|> and "
    "<|ref|>a circle<|/ref|><|det|>[[600, 120, 860, 450]]<|/det|>"
)


@pytest.fixture(scope="module")
def mount():
    pytest.importorskip("gradio", reason="gradio is not installed: pip install 'vl2[web]'")
    from vl2.server.page.mounting import mount

    return mount


@pytest.fixture(scope="module")
def chromium():
    library = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    camera = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with library.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", *camera]
        )
        yield browser
        browser.close()


class Page:
    """A page that somebody looks at, and what it asked for elsewhere."""

    def __init__(self, page, url):
        self.page = page
        self.elsewhere = []
        page.on("request", self.note)
        page.goto(url)
        self.question = page.locator("#question textarea")
        self.question.wait_for(timeout=60_000)

    def note(self, request):
        if not re.match(r"(http://127\.0\.0\.1[:/]|data:|blob:)", request.url):
            self.elsewhere.append(request.url)

    def upload(self, *paths):
        self.page.locator("#question input[type=file]").set_input_files([str(p) for p in paths])
        self.page.locator("#question .thumbnail-item").nth(len(paths) - 1).wait_for()

    def ask(self, question):
        self.question.fill(question)
        self.question.press("Enter")

    def tab(self, name):
        self.page.get_by_role("tab", name=name).click()

    def sees(self, selector, text, timeout=20_000):
        self.page.locator(selector, has_text=text).first.wait_for(timeout=timeout)


@pytest.fixture(scope="module")
def window(chromium):
    """Pages in it share what the browser has loaded before."""
    context = chromium.new_context(
        viewport={"width": 1280, "height": 900}, accept_downloads=True, permissions=["camera"]
    )
    yield context
    context.close()


@pytest.fixture(scope="module")
def stage(mount):
    """A server of an acted engine, and both."""
    assistant, engine = acted()
    with serving(assistant, mount) as served:
        yield served, assistant, engine


@pytest.fixture
def look(window, stage):
    """A function that opens the page, behind which an engine acts as it is told to."""
    served, _, engine = stage
    opened = []

    def open_page(**options):
        engine.begin_again(**options)
        opened.append(Page(window.new_page(), served.url))
        return engine, opened[-1]

    yield open_page
    for page in opened:
        page.page.close()
    assert wait_for(lambda: served.answering.gate.inside == 0, seconds=20)


def test_a_picture_is_asked_about_and_nobody_else_is(window, mount, serve, assistant):
    served = serve(assistant, mount)
    page = Page(window.new_page(), served.url)
    expected = assistant.ask(BUNDLED / "shapes.png", "What shape is red?").text
    page.sees("#heading", "nano")
    page.sees("#heading", assistant.dtype)
    page.sees("#heading", assistant.device)
    page.upload(BUNDLED / "shapes.png")
    page.tab("Tiles")
    page.sees("#counted", "93 tokens")
    page.ask("What shape is red?")
    page.sees("#chat", "tokens in")
    page.sees("#chat .bot", expected)
    assert page.elsewhere == []
    with served.client() as client:
        assert "default-src 'self'" in client.get("/").headers["content-security-policy"]
        missing = client.get("/v1/nothing")
        assert missing.status_code == 404
        assert missing.json()["error"]["type"] == "invalid_request_error"


def test_boxes_are_drawn_and_tell_their_text(look):
    _, page = look(pieces=[POINTED[i : i + 7] for i in range(0, len(POINTED), 7)])
    page.page.get_by_text("Finding", exact=True).first.click()
    page.page.locator("#question .thumbnail-item").first.wait_for()
    page.question.press("Enter")
    page.sees("#chat .bot", "the red star and a circle")
    boxed = page.page.locator("#boxed img")
    boxed.wait_for()
    area = boxed.bounding_box()
    boxed.click(position={"x": area["width"] * 0.7, "y": area["height"] * 0.3})
    page.sees("#clicked", "a circle")
    boxed.click(position={"x": area["width"] * 0.2, "y": area["height"] * 0.3})
    page.sees("#clicked", "the red star at 41, 36, 195, 187")
    boxed.click(position={"x": area["width"] * 0.5, "y": area["height"] * 0.95})
    page.sees("#clicked", "Click on a box")


def test_an_answer_streams_and_can_be_stopped_begun_again_and_cleared(look):
    engine, page = look(pace=0.1)
    page.ask("Hello")
    page.sees("#chat .bot", "word word")
    assert engine.ended == 0
    page.page.locator("#question .stop-button").click()
    assert wait_for(lambda: engine.ended == 1)
    assert engine.finished == 0
    page.sees("#chat .bot", "word word")
    page.page.get_by_role("button", name="Regenerate", exact=True).click()
    assert wait_for(lambda: engine.begun == 2)
    page.sees("#chat .bot", "word word")
    page.page.get_by_role("button", name="Clear", exact=True).first.click()
    assert wait_for(lambda: engine.ended == 2)
    page.sees("#chat", "Add pictures")


def test_a_page_that_is_closed_frees_its_work(look, stage):
    served, _, _ = stage
    engine, page = look(pace=0.1)
    page.ask("Hello")
    page.sees("#chat .bot", "word word")
    page.page.close()
    assert wait_for(lambda: engine.ended == 1, seconds=15)
    assert wait_for(lambda: served.answering.gate.inside == 0)


def test_a_broken_picture_is_told(look, tmp_path):
    engine, page = look()
    broken = tmp_path / "broken.png"
    broken.write_bytes(png(50, 50)[:60])
    page.upload(broken)
    page.tab("Tiles")
    page.sees("#counted", "broken.png")
    page.ask("What is this?")
    page.sees(".toast-body.error", "broken or incomplete")
    assert engine.begun == 0


def test_too_many_pictures_are_told(window, mount, serve):
    assistant, engine = acted()
    page = Page(window.new_page(), serve(assistant, mount, max_images=1).url)
    page.upload(BUNDLED / "shapes.png", BUNDLED / "sign.png")
    page.ask("What is this?")
    page.sees(".toast-body.error", "2 pictures, more than the allowed 1")
    assert engine.begun == 0


def test_a_conversation_can_be_saved(look, tmp_path):
    _, page = look(pieces=["A ", "star."])
    page.upload(BUNDLED / "shapes.png")
    page.ask("What <b>is</b> it?")
    page.sees("#chat .bot", "A star.")
    page.sees("#chat", "2 tokens in")
    page.sees("#chat .user", "What <b>is</b> it?")
    saved = {}
    for name in ("Save text", "Save JSON"):
        with page.page.expect_download() as download:
            page.page.get_by_role("button", name=name).click()
        target = tmp_path / download.value.suggested_filename
        download.value.save_as(target)
        saved[name] = Path(target).read_text(encoding="utf-8")
    assert "> What <b>is</b> it?" in saved["Save text"]
    assert "A star." in saved["Save text"]
    (turn,) = json.loads(saved["Save JSON"])["turns"]
    assert turn["answer"] == "A star."
    assert turn["pictures"] == ["shapes.png"]


# What a browser sends when somebody pastes or drops a file.
BRING = """async ([kind, data]) => {
  const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
  const carried = new DataTransfer();
  carried.items.add(new File([bytes], "brought.png", {type: "image/png"}));
  const event = kind === "paste"
    ? new ClipboardEvent("paste", {clipboardData: carried, bubbles: true, cancelable: true})
    : new DragEvent("drop", {dataTransfer: carried, bubbles: true, cancelable: true});
  document.querySelector("#question textarea").dispatchEvent(event);
}"""


@pytest.mark.parametrize("kind", ["paste", "drop"])
def test_a_picture_can_be_pasted_and_dropped(look, kind):
    engine, page = look(pieces=["A ", "star."])
    encoded = base64.b64encode((BUNDLED / "shapes.png").read_bytes()).decode()
    page.page.evaluate(BRING, [kind, encoded])
    page.page.locator("#question .thumbnail-item").wait_for()
    page.ask("What is it?")
    page.sees("#chat .bot", "A star.")
    (request,) = engine.requests
    assert request.prompt.image_mask.any()


def test_a_photograph_is_asked_about(look):
    engine, page = look(pieces=["A ", "star."])
    page.tab("Camera")
    page.page.locator("#camera").get_by_text("Click to Access Webcam").click()
    # Before its first picture a camera takes none.
    page.page.wait_for_function("document.querySelector('#camera video')?.readyState >= 2")
    assert "flip" not in page.page.locator("#camera video").get_attribute("class").split()
    page.page.locator("#camera button[aria-label='capture photo']").click()
    page.page.locator("#question .thumbnail-item").wait_for(timeout=20_000)
    page.ask("What is it?")
    page.sees("#chat .bot", "A star.")
    (request,) = engine.requests
    assert request.prompt.image_mask.any()
    assert page.elsewhere == []


def test_what_is_set_is_asked(look, stage):
    _, assistant, _ = stage
    engine, page = look()
    page.tab("Settings")
    for label, value in (("Temperature", 0.7), ("Top-p", 0.5), ("Maximum length", 3)):
        field = page.page.get_by_label(f"number input for {label}")
        field.fill(str(value))
        field.press("Enter")
    page.page.get_by_label("System prompt").fill("Be brief.")
    page.ask("Hello")
    page.sees("#chat .bot", "word word word")
    page.sees("#chat", "cut at its limit, 3 tokens")
    (request,) = engine.requests
    sampling = request.sampling
    assert (sampling.temperature, sampling.top_p, sampling.max_tokens) == (0.7, 0.5, 3)
    text = assistant.processor.tokenizer.decode(request.prompt.token_ids)
    assert text.index("Be brief.") < text.index("Hello")


def test_it_fits_a_phone(look):
    _, page = look(pieces=["word " * 100])
    page.page.set_viewport_size({"width": 390, "height": 844})
    page.upload(BUNDLED / "shapes.png", BUNDLED / "sign.png")
    page.ask("Hello")
    page.sees("#chat .bot", "word word")
    for tab in ("Boxes", "Tiles", "Camera", "Settings"):
        page.tab(tab)
        assert page.page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.page.locator("#question").bounding_box()["width"] > 350


def test_a_key_is_asked_for(chromium, mount, serve):
    served = serve(acted()[0], mount, api_key="secret")
    context = chromium.new_context()
    page = context.new_page()
    page.goto(served.url)
    page.get_by_label("username").fill("me")
    page.get_by_label("password").fill("wrong")
    page.get_by_role("button", name="Login").click()
    page.get_by_text("Incorrect Credentials").wait_for()
    page.get_by_label("username").fill("me")
    page.get_by_label("password").fill("secret")
    page.get_by_role("button", name="Login").click()
    page.locator("#question textarea").wait_for()
    context.close()
