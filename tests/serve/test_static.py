"""The folder of `lwisp serve --static`: what is written and refused; a real browser gives the command's pixels."""

import base64
import contextlib
import functools
import hashlib
import http.server
import io
import json
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from lwisp import InputError
from lwisp.cli import app
from lwisp.serve.static import MANIFEST, PACKAGES, write_static
from tests.conftest import ROOT, SAMPLE
from tests.serve.accessibility import MODULES, complaints_of
from tests.serve.harness import soon

CHROMIUM = Path("/usr/bin/chromium")
PATIENCE = 300_000  # ms


def install(modules: Path, version: str = "") -> Path:
    """A folder node_modules with packages of the right names and versions, whose files are empty."""
    for name, package in PACKAGES.items():
        for file in package.files:
            (modules / name / file).parent.mkdir(parents=True, exist_ok=True)
            (modules / name / file).touch()
        facts = {"name": name, "version": version or "{}.{}.0".format(*package.least)}
        (modules / name / "package.json").write_text(json.dumps(facts))
    return modules


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install(tmp_path_factory.mktemp("npm") / "node_modules")


@pytest.fixture(scope="module")
def site(modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "site"
    write_static(folder, modules)
    return folder


def test_all_that_the_page_asks_for_is_written(site: Path) -> None:
    for program in site.glob("*.js"):
        for name in re.findall(r'(?:from|import\() ?"(\./[^"]+)"', program.read_text()):
            assert (site / name).is_file(), f"{program.name} asks for {name}"
    for name in re.findall(r'(?:href|src)="([^"#]+)"', (site / "index.html").read_text()):
        assert (site / name).is_file()
    for weights in json.loads((site / "weights.json").read_text()):
        assert {path.stem for path in (site / "models" / weights["name"]).iterdir()} == set(weights["modules"])
    assert {path.stem for path in (site / "models" / "light").iterdir()} == {"light-hm", "colors", "gain", "expose-n"}


def test_the_page_connects_to_its_own_server_alone(site: Path) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', (site / "index.html").read_text())
    assert policy is not None
    assert {"default-src 'none'", "connect-src 'self'"} <= set(policy[1].split("; "))
    for program in site.glob("*.js"):
        assert not re.search(r"https?://", program.read_text()), program


def test_the_check_on_load_has_hot_photosites_noise_and_colors(site: Path) -> None:
    known = json.loads((site / "check.json").read_text())
    assert known["repaired"] == 3
    assert min(known["noise"]) >= 0 < max(known["noise"])
    assert [np.sum(color["matrix"]) for color in known["colors"]] == pytest.approx([3, 3], abs=1e-5)
    size = 3 * known["height"] * known["width"]
    assert all(len(base64.b64decode(picture)) == size for picture in known["pictures"].values())


def test_a_second_call_replaces_what_the_first_wrote_and_deletes_what_is_gone(site: Path, modules: Path) -> None:
    manifest = site / MANIFEST
    listed = json.loads(manifest.read_text())["lwisp"]
    old = b"an older page"
    for name in ("page.js", "gone.js"):
        (site / name).write_bytes(old)
        listed[name] = hashlib.sha256(old).hexdigest()
    manifest.write_text(json.dumps({"lwisp": listed}))
    (site / "mine.txt").write_text("mine")
    write_static(site, modules)
    assert (site / "page.js").read_bytes() != old
    assert not (site / "gone.js").exists()
    assert (site / "mine.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["index.html", "models/light/gain.onnx", MANIFEST, "vendor"])
def test_a_file_that_it_did_not_write_is_kept(name: str, modules: Path, tmp_path: Path) -> None:
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=re.escape(f"{tmp_path / name}: ")):
        write_static(tmp_path, modules)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / name).read_text() == "mine"


def test_links_are_not_followed(modules: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for name in ("vendor", "page.js"):
        folder = tmp_path / f"with_{name}"
        folder.mkdir()
        (folder / name).symlink_to(other)
        with pytest.raises(InputError, match="in the way"):
            write_static(folder, modules)
    assert list(other.iterdir()) == []


def test_a_list_that_leads_out_of_the_folder_deletes_nothing_there(modules: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_bytes(b"")
    site = tmp_path / "site"
    site.mkdir()
    empty = hashlib.sha256(b"").hexdigest()
    (site / MANIFEST).write_text(json.dumps({"lwisp": {"../mine.txt": empty, str(mine): empty}}))
    write_static(site, modules)
    assert mine.exists()


@pytest.mark.parametrize("version", ["1.2.0", "9.0.0", "latest"])
def test_runtimes_of_another_version_are_refused(version: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="npm install onnxruntime-web"):
        write_static(tmp_path / "site", install(tmp_path / "node_modules", version))
    assert not (tmp_path / "site").exists()


def test_a_runtime_that_lacks_a_file_is_refused(tmp_path: Path) -> None:
    modules = install(tmp_path / "node_modules")
    (modules / "libraw-wasm" / "dist" / "libraw.wasm").unlink()
    with pytest.raises(InputError, match=r"dist/libraw\.wasm cannot be read"):
        write_static(tmp_path / "site", modules)


def test_the_command_says_how_to_install_the_runtimes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = CliRunner().invoke(app, ["serve", "--static", "site"])
    assert told.exit_code != 0
    assert "npm install onnxruntime-web" in str(told.exception or told.output) + told.output


# ---- in a real browser


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder without a word."""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page is served."""
    if not CHROMIUM.exists() or not (MODULES / "libraw-wasm").is_dir():
        pytest.skip(f"there is no {CHROMIUM}, or no libraw-wasm in {MODULES} (LWISP_NODE_MODULES)")
    pytest.importorskip("playwright.sync_api")
    folder = tmp_path_factory.mktemp("served") / "site"
    write_static(folder, MODULES)
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@contextlib.contextmanager
def browser(address: str, before_worker: str = "", switch: str = "--no-sandbox", **options: Any) -> Iterator[Any]:
    """The page in a browser that is started with a switch; its worker's program begins with `before_worker`."""
    from playwright import sync_api

    with sync_api.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", switch])
        page = browser.new_context(**{"viewport": {"width": 1400, "height": 900}, **options}).new_page()
        page.set_default_timeout(PATIENCE)
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.method + " " + request.url))

        def prepend(route: Any) -> None:
            answer = route.fetch()
            route.fulfill(response=answer, body=before_worker + answer.text())

        if before_worker:
            page.context.route("**/worker.js", prepend)
        page.goto(f"{address}index.html")
        check(page)
        try:
            yield page
            assert all(one.startswith((f"GET {address}", "GET blob:")) for one in asked), asked
        finally:
            browser.close()


@pytest.fixture
def page(address: str) -> Iterator[Any]:
    with browser(address) as page:
        yield page


def check(page: Any) -> None:
    """Wait until the page has checked itself."""
    page.wait_for_function("() => document.body.dataset.engine || document.getElementById('alert').textContent")


def ended(page: Any) -> str:
    page.wait_for_function("() => document.getElementById('jpeg').href || !document.getElementById('failure').hidden")
    return str(page.inner_text("#failure"))


@pytest.mark.slow
@pytest.mark.parametrize("sample", [SAMPLE, ROOT / "samples" / "CRW_0117.CRW"], ids=["DNG", "CRW"])
def test_the_browser_gives_the_pixels_of_the_command_within_one(sample: Path, page: Any, tmp_path: Path) -> None:
    assert page.inner_text("#limits").startswith("Checked: this browser gives lwisp's pixels")
    page.set_input_files("#files", [str(sample)])
    assert ended(page) == ""
    assert "megapixels in" in page.inner_text("#status")
    with page.expect_download() as download:
        page.click("#png")
    found = np.asarray(Image.open(download.value.path()).convert("RGB"), np.int16)
    command = [sys.executable, "-m", "lwisp", "develop", str(sample), "-o", str(tmp_path / "by_command.png")]
    command += ["--weights", "photo-fast", "--precision", "fp32"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    expected = np.asarray(Image.open(tmp_path / "by_command.png"), np.int16)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= 1


@pytest.mark.slow
def test_bad_files_get_one_sentence_each_and_the_next_is_developed(page: Any) -> None:
    sound = SAMPLE.read_bytes()
    picture = io.BytesIO()
    Image.new("RGB", (64, 48)).save(picture, "JPEG")
    huge = bytearray(sound)
    for tag in (256, 257):  # sides of the picture
        huge[(place := sound.index(struct.pack("<HHI", tag, 4, 1))) : place + 12] = struct.pack(
            "<HHII", tag, 4, 1, 60000
        )
    bad = {"empty.dng": b"", "text.dng": b"hello " * 99, "cut.dng": sound[:300_000], "picture.jpg": picture.getvalue()}
    for name, content in {**bad, "huge.dng": bytes(huge)}.items():
        page.set_input_files("#files", [{"name": name, "mimeType": "", "buffer": content}])
        page.click("#photos .pick >> nth=-1")
        sentence = ended(page)
        assert sentence.startswith(f"{name}: ")
        assert ("60000 x 60000" in sentence) == (name == "huge.dng")
    page.set_input_files("#files", [str(SAMPLE)])
    page.click("#photos .pick >> nth=-1")
    assert ended(page) == ""


@pytest.mark.slow
def test_a_browser_whose_memory_is_full_says_so_and_develops_the_next(page: Any) -> None:
    page.workers[0].evaluate("() => { Blob.prototype.arrayBuffer = () => { throw new RangeError('no memory'); }; }")
    page.set_input_files("#files", [str(SAMPLE)])
    assert "the browser's memory cannot hold it" in ended(page)
    page.set_input_files("#files", [str(SAMPLE)])
    page.click("#photos .pick >> nth=-1")
    assert ended(page) == ""


@pytest.mark.slow
def test_neither_the_page_nor_its_workers_can_send_anything_elsewhere(page: Any) -> None:
    tries = "() => fetch('http://127.0.0.1:1/', {mode: 'no-cors'}).then(() => 'sent', (error) => String(error))"
    refused: list[str] = []
    page.on("console", lambda message: refused.append(message.text))
    assert "TypeError" in page.evaluate(tries)
    for worker in page.workers:
        assert "TypeError" in worker.evaluate(tries)
    page.wait_for_timeout(200)
    assert sum("Content Security Policy" in text for text in refused) >= 1 + len(page.workers) >= 2


WITHOUT = {
    "WebAssembly": ("delete self.WebAssembly;", "it needs WebAssembly"),
    "SIMD": ("WebAssembly.validate = () => false;", "it needs SIMD in WebAssembly"),
    "OffscreenCanvas": ("delete self.OffscreenCanvas;", "OffscreenCanvas"),
    "memory": (
        "WebAssembly.Memory = class { constructor() { throw new RangeError('could not allocate memory'); } };",
        "the browser's memory cannot hold it",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", WITHOUT)
def test_a_browser_that_lacks_something_says_so_in_one_sentence(what: str, address: str) -> None:
    prelude, expected = WITHOUT[what]
    with browser(address, prelude) as page:
        sentence = page.inner_text("#alert")
        assert sentence.startswith("This page does not work here: ")
        assert expected in sentence
        assert sentence.count(".") == 1
        assert page.is_disabled("#files")


@pytest.mark.slow
def test_in_a_browser_with_little_memory_the_photo_that_it_cannot_hold_is_told(address: str) -> None:
    with browser(address, switch="--js-flags=--wasm-max-mem-pages=1500") as page:  # 98 MB for each module
        page.set_input_files("#files", [str(SAMPLE)])
        assert "the browser's memory cannot hold it" in ended(page)


@pytest.mark.slow
def test_without_webgpu_it_is_webassembly(address: str) -> None:
    with browser(address, "Object.defineProperty(navigator, 'gpu', { value: undefined });") as page:
        assert page.evaluate("document.body.dataset.engine") == "wasm"
        assert "by WebAssembly" in page.inner_text("#limits")


@pytest.mark.slow
def test_a_page_that_is_left_in_the_middle_of_developing_works_again(page: Any) -> None:
    workers = len(page.workers)
    for leave in (lambda: page.reload(), lambda: (page.goto("about:blank"), page.go_back())):
        page.set_input_files("#files", [str(SAMPLE)] * 3)
        page.wait_for_function("() => document.getElementById('step').textContent.includes('developing')")
        leave()
        check(page)
        assert page.inner_text("#alert") == ""
        soon(lambda: len(page.workers) == workers)
    other = page.context.new_page()
    other.goto(page.url)
    check(other)
    other.set_input_files("#files", [str(SAMPLE)])
    other.wait_for_function("() => document.getElementById('step').textContent.includes('developing')")
    other.close()
    page.set_input_files("#files", [str(SAMPLE)])
    assert ended(page) == ""
    kept = "async () => [localStorage.length, (await indexedDB.databases()).length, (await caches.keys()).length]"
    assert page.evaluate(kept) == [0, 0, 0]


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "width"), [("light", 1400), ("dark", 390)])
def test_axe_finds_nothing(scheme: str, width: int, address: str) -> None:
    with browser(address, color_scheme=scheme, viewport={"width": width, "height": 900}) as page:
        assert complaints_of(page) == []
        page.set_input_files("#files", [{"name": "text.dng", "mimeType": "", "buffer": b"text"}])
        ended(page)
        assert complaints_of(page) == []
        page.set_input_files("#files", [str(SAMPLE)])
        page.click("#photos .pick >> nth=-1")
        assert ended(page) == ""
        assert complaints_of(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
