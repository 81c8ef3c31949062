"""The page in a real browser: a RAW is dropped, the divider moved, the picture saved; it is the command's file."""

import base64
import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lwisp.serve.limits import Limits
from tests.conftest import ROOT, SAMPLE
from tests.serve.accessibility import complaints_of
from tests.serve.harness import Served, served, soon

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no {CHROMIUM}")]
PATIENCE = 300_000  # ms
DROP = """([name, content]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
    const data = new DataTransfer();
    data.items.add(new File([bytes], name));
    window.dispatchEvent(new DragEvent("dragenter", { dataTransfer: data }));
    window.dispatchEvent(new DragEvent("drop", { dataTransfer: data }));
}"""


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    folder = tmp_path / "served"
    folder.mkdir()
    with served(folder, Limits(), worker=()) as running:
        yield running


@contextlib.contextmanager
def browser(address: str, **options: Any) -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(**{"viewport": {"width": 1400, "height": 900}, **options})
        page.set_default_timeout(PATIENCE)
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(address)
        yield page
        browser.close()
        assert complaints == []


@pytest.fixture
def page(server: Served) -> Iterator[Any]:
    with browser(server.url) as page:
        yield page


def drop(page: Any, name: str, content: bytes) -> None:
    page.evaluate(DROP, [name, base64.b64encode(content).decode()])


def save(page: Any, selector: str) -> bytes:
    with page.expect_download() as download:
        page.click(selector)
    return Path(download.value.path()).read_bytes()


def by_command(folder: Path, name: str, *options: str) -> bytes:
    command = [sys.executable, "-m", "lwisp", "develop", str(SAMPLE), "-o", str(folder / name), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return (folder / name).read_bytes()


def test_a_dropped_raw_becomes_the_picture_of_the_command(page: Any, tmp_path: Path) -> None:
    drop(page, "mural.dng", SAMPLE.read_bytes())
    page.wait_for_selector("#jpeg[href]")
    assert save(page, "#jpeg") == by_command(tmp_path, "plain.jpg")
    assert "GoPro" in page.inner_text("#facts")
    page.wait_for_function("() => document.getElementById('other').naturalWidth > 0")
    assert page.evaluate("document.getElementById('after').naturalWidth") == 1920
    page.focus("#split")
    before = page.input_value("#split")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert int(page.input_value("#split")) == int(before) + 5
    left = "getComputedStyle(document.getElementById('other')).clipPath"
    assert "45%" in page.evaluate(left)
    box = page.locator("#split").bounding_box()
    page.mouse.click(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
    assert abs(int(page.input_value("#split")) - 25) <= 1
    first = page.get_attribute("#jpeg", "href")
    page.focus("#exposure")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("first => document.getElementById('jpeg').getAttribute('href') !== first", arg=first)
    page.wait_for_function("() => document.getElementById('working').hidden")
    assert save(page, "#tiff") == by_command(tmp_path, "bright.tif", "--exposure", "0.5")


def test_a_broken_file_shows_a_sentence_and_the_next_one_is_developed(page: Any) -> None:
    page.set_input_files("#files", [{"name": "broken.dng", "mimeType": "", "buffer": SAMPLE.read_bytes()[:300_000]}])
    page.wait_for_selector("#failure:not([hidden])")
    assert page.inner_text("#failure").startswith("broken.dng: ")
    page.set_input_files("#files", [str(SAMPLE)])
    page.click("#photos .pick >> nth=1")
    page.wait_for_selector("#jpeg[href]")
    assert page.is_hidden("#failure")
    page.click("[aria-label='Remove broken.dng']")
    assert page.locator("#photos li").count() == 1


def test_a_tab_that_is_closed_has_its_pictures_cancelled(tmp_path: Path) -> None:
    with served(tmp_path, Limits(grace=0.5)) as server, browser(server.url) as page:
        jobs = server.store.jobs
        endless = {"name": "a.dng", "mimeType": "", "buffer": b"hang"}
        page.set_input_files("#files", [endless] * 5)
        soon(lambda: len(jobs) == 2)  # so many at once
        waiting = list(jobs.values())
        page.close()
        soon(lambda: all(job.state == "cancelled" for job in waiting))
        assert server.develop(b"good").status_code == 200


@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 390)])
def test_axe_finds_nothing(scheme: str, width: int, server: Served) -> None:
    with browser(server.url, color_scheme=scheme, viewport={"width": width, "height": 900}) as page:
        assert complaints_of(page) == []
        page.set_input_files("#files", [{"name": "text.dng", "mimeType": "", "buffer": b"text"}])
        page.wait_for_selector("#failure:not([hidden])")
        assert complaints_of(page) == []
        page.set_input_files("#files", [str(SAMPLE)])
        page.click("#photos .pick >> nth=-1")
        page.wait_for_selector("#jpeg[href]")
        assert complaints_of(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
