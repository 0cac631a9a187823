"""The page in a real Chromium: upload, sliders, links, keyboard, names for screen readers, phone and dark mode.

`WEB_SCREENSHOTS=folder` keeps pictures of it.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from playwright.sync_api import expect, sync_playwright

from web_app.handlers import Handlers
from web_app.painting import Painter
from web_app.serve import listen, make_app, prepare_gradio
from web_app.uploads import Limits

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), ""
)
expect.set_options(timeout=120_000)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="there is no Chromium"),
]
LAPTOP, PHONE = {"width": 1366, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def uploads(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("web") / "uploads"


@pytest.fixture(scope="module")
def served(desk, uploads) -> Iterator[tuple[Any, str]]:
    """The running application, and its address."""
    before = dict(os.environ)
    prepare_gradio(uploads.parent)
    app = make_app(Handlers(desk, Limits(upload_mb=2), Painter.load("demo_painter", "fp32")), 8)
    with listen("127.0.0.1", 0) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        yield app, f"http://127.0.0.1:{listening.getsockname()[1]}/"
        server.should_exit = True
        thread.join()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def address(served) -> str:
    return served[1]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream",
                                            "--use-fake-ui-for-media-stream"],
        )  # fmt: skip
        yield started
        started.close()


class Visit:
    """A visitor's page, with the addresses that it asked for and what its console complained of."""

    def __init__(self, browser: Any, address: str, query: str = "", **options: Any):
        self.context = browser.new_context(**{"viewport": LAPTOP, **options})
        self.page = self.context.new_page()
        self.page.set_default_timeout(120_000)  # on a busy machine
        self.asked: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address + query)
        self.page.get_by_role("radio", name="memory_bridge").wait_for()

    def upload(self, path: Path) -> None:
        self.page.locator("input[type=file]").first.set_input_files(str(path))
        self.page.locator("figure.upload img").wait_for()

    def caption(self, method: str) -> str:
        row = self.page.locator("tr", has=self.page.locator("th", has_text=method)).first
        return row.locator("td b").inner_text()

    def keep(self, name: str) -> None:
        if folder := os.environ.get("WEB_SCREENSHOTS"):
            self.page.screenshot(path=str(Path(folder) / f"{name}.png"), full_page=True)


@pytest.fixture
def visit(browser, address) -> Iterator[Any]:
    visits: list[Visit] = []

    def make(query: str = "", **options: Any) -> Visit:
        visits.append(Visit(browser, address, query, **options))
        return visits[-1]

    yield make
    for each in visits:
        each.context.close()


def test_a_photo_is_captioned_and_sliders_change_the_captions(visit, desk, picture, tmp_path):
    path = picture(tmp_path / "dog.png", seed=5, side=300)
    one = visit()
    one.upload(path)
    expected = desk.main.captioner.caption_images(desk.encode([path])["photos"].rows, progress=False)[0]
    assert one.caption("memory_bridge") == expected
    assert one.page.locator("figure.upload img").get_attribute("alt").startswith("The picture dog.png")
    one.keep("laptop")
    slider = one.page.get_by_role("slider", name="image_timestep")
    before = one.page.locator(".charts").inner_text()
    slider.focus()
    slider.press("End")
    one.page.wait_for_function("before => document.querySelector('.charts').innerText != before", arg=before)
    one.page.wait_for_function("() => location.search.includes('timestep=1000')")
    assert all(url.startswith((one.page.url.partition("?")[0], "data:", "blob:")) for url in one.asked)


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_no_file_stays_after_the_answer_and_nothing_of_a_visitor_who_left(visit, served, uploads, picture, tmp_path):
    one = visit()
    sessions = next(route.app for route in served[0].app.app.routes if hasattr(route, "app")).state_holder.session_data
    for name in ("dog.png", "cat.png"):  # a second one, too
        one.page.locator("input[type=file]").first.set_input_files(str(picture(tmp_path / name, seed=5, side=300)))
        one.page.locator("figure.upload figcaption", has_text=name).wait_for()
        assert files_below(uploads) == []
        assert one.page.locator("figure.upload img").evaluate("image => image.naturalWidth") > 0
    assert sessions
    one.context.close()
    deadline = time.monotonic() + 30
    while sessions and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not sessions  # those of the visits before, too


def test_a_link_restores_the_settings_and_not_the_picture(visit):
    one = visit("?method=bridge&timestep=300&steps=7&sentence=a+boat&seed=4")
    expect(one.page.get_by_role("radio", name="bridge", exact=True)).to_be_checked()
    expect(one.page.get_by_role("slider", name="image_timestep")).to_have_value("300")
    expect(one.page.get_by_role("slider", name="image_steps")).to_have_value("7")
    assert one.page.locator("figure.upload").count() == 0 and one.page.get_by_text("is not in it").count()
    wrong = visit("?timestep=nope")
    wrong.page.get_by_text("timestep='nope' must be a whole number from 1 to 1000").wait_for()


def test_a_link_says_no_more_steps_than_its_timestep_allows(visit):
    one = visit("?timestep=20&steps=20")
    slider = one.page.get_by_role("slider", name="image_timestep")
    expect(slider).to_have_value("20")
    slider.focus()
    slider.press("Home")
    one.page.wait_for_function(
        "() => ['timestep', 'steps'].every(name => new URLSearchParams(location.search).get(name) === '1')"
    )


def test_two_visitors_at_once_do_not_mix(visit, desk, picture, tmp_path):
    paths = [picture(tmp_path / f"{seed}.png", seed, side=200) for seed in (1, 2)]
    visits = [visit(), visit()]
    for each, path in zip(visits, paths, strict=True):
        each.page.locator("input[type=file]").first.set_input_files(str(path))
    expected = desk.main.captioner.caption_images(desk.encode(paths)["photos"].rows, progress=False)
    for each, path, caption in zip(visits, paths, expected, strict=True):
        each.page.locator("figure.upload img").wait_for()
        assert path.name in each.page.locator("figure.upload").inner_text()
        assert each.caption("memory_bridge") == caption


def test_a_file_that_is_no_picture_is_refused_in_a_sentence(visit, tmp_path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    one = visit()
    one.page.locator("input[type=file]").first.set_input_files(str(tmp_path / "a.png"))
    one.page.get_by_role("alert").filter(has_text="a.png is no picture that can be read").wait_for()


def test_a_photo_is_taken_with_the_camera(visit):
    one = visit(permissions=["camera"])
    one.page.get_by_role("button", name="Capture from camera").click()
    one.page.get_by_text("Click to Access Webcam").click()
    # Until the first picture has come, there is nothing to capture.
    one.page.wait_for_function("() => [...document.querySelectorAll('video')].some(video => video.videoWidth > 0)")
    one.page.get_by_role("button", name="capture photo").click()
    one.page.locator("figure.upload img").wait_for()
    assert one.caption("memory_bridge")


def test_a_sentence_is_drawn_by_keyboard(visit):
    one = visit(color_scheme="dark")
    one.page.get_by_role("tab", name="Draw a picture").click()
    one.page.get_by_text("40,000 pictures of demo_pictures").wait_for()
    box = one.page.get_by_role("textbox", name="Sentence")
    box.fill("two balloons above a farm at sunset")
    box.press("Enter")
    one.page.get_by_alt_text("Drawn from the sentence: two balloons above a farm at sunset").wait_for()
    one.keep("draw_dark")
    assert "sentence=two+balloons" in one.page.url


def test_everything_has_a_name_and_can_be_reached_by_keyboard(visit):
    one = visit()
    nameless = one.page.evaluate(
        """() => [...document.querySelectorAll("input, button, textarea, [role=tab], img, svg[role=img]")]
            .filter(e => e.offsetParent !== null || e.tagName === "svg")
            .filter(e => !(e.ariaLabel || e.innerText || e.alt || e.title || e.placeholder || (e.labels || []).length
                || e.getAttribute("aria-labelledby") || e.closest("label")))
            .filter(e => e.type !== "file")
            .map(e => e.outerHTML.slice(0, 150))"""
    )
    assert nameless == []
    reached = set()
    for _ in range(30):
        one.page.keyboard.press("Tab")
        reached.add(
            one.page.evaluate("() => document.activeElement.getAttribute('role') || document.activeElement.type")
        )
    assert {"range", "radio", "tab", "number"} <= reached, reached


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(visit, picture, tmp_path, scheme):
    one = visit(viewport=PHONE, color_scheme=scheme, device_scale_factor=2)
    one.upload(picture(tmp_path / "a.png", seed=7, side=300))
    width = one.page.evaluate("() => document.documentElement.scrollWidth")
    assert width <= PHONE["width"]
    time.sleep(0.5)  # transitions
    one.keep(f"phone_{scheme}")
