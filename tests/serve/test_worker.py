"""What real workers make: the bytes of `lwisp develop`, and one sentence of what cannot be developed."""

import io
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

from lwisp.serve.limits import Limits
from lwisp.weights import user_folder
from tests.conftest import ROOT, WriteDng
from tests.serve.harness import Served, refusal, served

MOSAIC = np.random.default_rng(0).integers(64, 4000, (48, 64), dtype=np.uint16)


@pytest.fixture
def network(toy_file: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of weights that the server has, and its workers with it."""
    folder = user_folder()
    folder.mkdir(parents=True, exist_ok=True)
    named = folder / "toy.safetensors"
    named.write_bytes(toy_file.read_bytes())
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    yield "toy"
    named.unlink()


@pytest.fixture
def server(network: str, tmp_path: Path) -> Iterator[Served]:
    folder = tmp_path / "served"
    folder.mkdir()
    with served(folder, Limits(), worker=()) as running:
        yield running


def develop(raw: Path, output: Path, *options: str) -> bytes:
    """What the command writes."""
    command = [sys.executable, "-m", "lwisp", "develop", str(raw), "-o", str(output), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return output.read_bytes()


def test_pictures_are_the_bytes_of_the_command(server: Served, write_dng: WriteDng, tmp_path: Path) -> None:
    raw = write_dng(MOSAIC, orientation=6)
    plain = server.develop(raw.read_bytes(), weights="toy")
    assert plain.content == develop(raw, tmp_path / "plain.jpg", "--weights", "toy")
    assert server.develop(raw.read_bytes(), weights="toy").content == plain.content


@pytest.mark.slow
def test_so_are_those_with_other_knobs_and_of_sixteen_bits(server: Served, write_dng: WriteDng, tmp_path: Path) -> None:
    raw = write_dng(MOSAIC, orientation=6)
    knobs = {"exposure": "0.5", "white_balance": "5200,5", "quality": "80"}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in knobs.items()]
    turned = server.develop(raw.read_bytes(), "a b.DNG", weights="toy", format="tiff", crop="none", **knobs)
    assert turned.content == develop(raw, tmp_path / "turned.tif", "--weights", "toy", "--crop", "none", *options)
    with tifffile.TiffFile(io.BytesIO(turned.content)) as tiff:
        assert (tiff.asarray().shape, str(tiff.asarray().dtype)) == ((64, 48, 3), "uint16")


def test_a_photo_comes_with_its_tags_and_what_it_is_compared_with(server: Served, write_dng: WriteDng) -> None:
    jpeg = io.BytesIO()
    Image.new("RGB", (64, 48), (200, 30, 30)).save(jpeg, "JPEG")
    exposure: Any = (33434, "2I", 1, (1, 250), True)
    raw = write_dng(MOSAIC, orientation=6, extra=(exposure,)).read_bytes()
    job = server.begin(raw, weights="toy")
    told = server.end(job)
    assert told["state"] == "done", told
    assert ["Camera", "Lwisp Testcam"] in told["facts"]
    assert ["Size", "48 x 64 px (0.0 MP)"] in told["facts"]
    with Image.open(io.BytesIO(server.client.get(f"/jobs/{job}/before").content)) as before:
        assert before.size == (48, 64)


def huge(path: Path, side: int = 60_000) -> bytes:
    """A DNG of some kilobytes that claims so many photosites along each side."""
    with tifffile.TiffFile(path, mode="r+") as tiff:
        page: Any = tiff.pages[0]
        for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            page.tags[tag].overwrite(side, dtype="I")
    return path.read_bytes()


def test_what_cannot_be_developed_is_one_sentence_with_the_clients_name(
    server: Served, write_dng: WriteDng, tmp_path: Path
) -> None:
    raw = write_dng(MOSAIC)
    jpeg = io.BytesIO()
    Image.new("RGB", (64, 48)).save(jpeg, "JPEG")
    loop = struct.pack("<4sLH", b"II*\0", 8, 1) + struct.pack("<HHLL", 330, 4, 1, 8) + struct.pack("<L", 8)
    bad = {
        "cut.dng": raw.read_bytes()[:-2000],
        "IMG.JPG": jpeg.getvalue(),
        "text.nef": b"not a picture" * 100,
        "loop.dng": loop,
        "huge.dng": huge(write_dng(MOSAIC, name="huge.dng")),
        "large.dng": huge(write_dng(MOSAIC, name="large.dng"), 30_000),
        "empty.cr2": b"",
    }
    for name, content in bad.items():
        answer = server.develop(content, name, weights="toy")
        assert answer.status_code == 422, (name, answer.text)
        sentence = answer.json()["error"]
        assert sentence.startswith(f"{name}: ")
        assert str(tmp_path) not in sentence
        assert "unforeseen" not in sentence
    assert server.develop(raw.read_bytes(), weights="toy").status_code == 200


def test_a_worker_bounds_itself_and_a_file_that_needs_more_fails_alone(
    network: str, write_dng: WriteDng, tmp_path: Path
) -> None:
    script = (
        "import sys, resource; sys.argv[1:] = ['{}']; from lwisp.serve import worker; "
        "worker.limit(worker.bounds_of(worker.Limits(memory=1))); "
        "print(*(resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_AS, resource.RLIMIT_CORE))); "
        "bytearray(20 * 10**9)"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(Limits(memory=1).address_space), "0"]
    assert "MemoryError" in done.stderr
    folder = tmp_path / "served"
    folder.mkdir()
    with served(folder, Limits(memory=0.2), worker=()) as server:
        raw = write_dng(MOSAIC).read_bytes()
        refusal(server.develop(raw, weights="toy"), 422, "memory")


def test_the_command_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None; sys.argv = ['lwisp', 'serve']; from lwisp.cli import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'lwisp[serve]'" in done.stderr


def test_the_command_serves_until_it_is_stopped_and_leaves_nothing(tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "lwisp", "serve", "--port", "0"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://127.0.0.1:" in line
        port = int(line.split(":")[2].split("/")[0])
        taken = subprocess.run(
            [*command[:-1], str(port)], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )
        assert taken.returncode == 2
        assert "--port 0" in taken.stderr
        process.terminate()
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "Traceback" not in errors
    assert [path for path in tmp_path.iterdir() if path.name.startswith(".lwisp")] == []
