"""Nothing leaves the machine, and nothing is written where it is not said to be, whatever the environment.

Each run is a process of its own with an empty home folder, none of the variables by which packages know a CI machine,
and no network: `offline` notes who asks for one.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import offline
from tests.conftest import ROOT, WriteDng, require

DOCUMENTED = (".cache/lwisp", ".local/share/lwisp")
INHERITED = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "SYSTEMROOT")


class Home:
    """An empty home folder, a folder for temporary files, one to work in, and what was noted."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.record = folder, folder / "record"
        for name in ("home", "temporary", "work"):
            (folder / name).mkdir()

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        given = {name: os.environ[name] for name in INHERITED if name in os.environ}
        places = {"HOME": str(self.folder / "home"), "TMPDIR": str(self.folder / "temporary")}
        return subprocess.run(
            [sys.executable, *command],
            cwd=self.folder / "work",
            env={**given, **places},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def run_verbs(self, *verbs: tuple[object, ...]) -> None:
        lists = json.dumps([[str(word) for word in verb] for verb in verbs])
        run = self.run(str(ROOT / "tests" / "offline.py"), str(self.record), lists)
        assert run.returncode == 0, run.stderr

    def noted(self) -> str:
        return self.record.read_text() if self.record.is_file() else ""

    def files(self) -> list[str]:
        """Those that lie where nothing is documented."""
        found = [
            str(path.relative_to(self.folder / "home"))
            for path in (self.folder / "home").rglob("*")
            if path.is_file() or not any(path.iterdir())
        ]
        found = [name for name in found if not name.startswith(DOCUMENTED)]
        return found + [str(path) for name in ("temporary", "work") for path in (self.folder / name).iterdir()]


@pytest.fixture
def home(tmp_path: Path) -> Home:
    folder = tmp_path / "person"
    folder.mkdir()
    return Home(folder)


def test_pictures_are_made_without_a_network(home: Home, write_dng: WriteDng, toy_file: Path, tmp_path: Path) -> None:
    for package in ("openvino", "onnxruntime"):
        require(package)
    values = np.random.default_rng(0).integers(64, 4000, (40, 60), dtype=np.uint16)
    raw, photo = write_dng(values), tmp_path / "photo.png"
    Image.fromarray((values >> 4).astype(np.uint8)).convert("RGB").save(photo)
    out = tmp_path / "out"
    home.run_verbs(
        *(
            ("develop", raw, "--weights", toy_file, "--backend", backend, "-o", out / f"{backend}.png")
            for backend in ("openvino", "onnxruntime")
        ),
        ("denoise", photo, "--backend", "torch", "--passes", 1, "-o", out / "denoised.png"),
        ("denoise-raw", raw, "--backend", "torch", "-o", out / "denoised.dng"),
        ("weights", "list"),
    )
    assert sorted(path.name for path in out.iterdir()) == [
        "denoised.dng", "denoised.png", "onnxruntime.png", "openvino.png"
    ]  # fmt: skip
    assert home.noted() == ""
    assert home.files() == []


@pytest.mark.slow
def test_weights_are_trained_and_exported_without_a_network(home: Home, tmp_path: Path) -> None:
    for package in ("openvino", "onnxscript", "matplotlib"):
        require(package)
    recipe = tmp_path / "short.toml"
    text = (ROOT / "recipes" / "tiny.toml").read_text(encoding="utf-8")
    recipe.write_text(text.replace("60", "2").replace("checkpoint_every = 20", "checkpoint_every = 2"))
    weights = tmp_path / "short.safetensors"
    home.run_verbs(
        ("train", recipe, "-o", weights, "--device", "cpu"),
        ("export", weights, "--format", "openvino", "--size", "32x48", "-o", tmp_path / "short.xml"),
    )
    assert (tmp_path / "short.bin").is_file()
    assert home.noted() == ""
    assert home.files() == []


def test_what_plots_keeps_its_fonts_with_what_else_is_kept(home: Home) -> None:
    require("matplotlib")
    pytest.importorskip("colour_demosaicing")
    run = home.run(
        "-c", "from lwisp.evaluation import classical, color_charts; classical.import_menon(); color_charts._colour()"
    )
    assert run.returncode == 0, run.stderr
    assert list((home.folder / "home" / ".cache" / "lwisp" / "matplotlib").glob("fontlist*"))
    assert home.files() == []


LEAKS = {
    "connects": "socket.create_connection(('127.0.0.1', 9))",
    "looks a name up": "socket.getaddrinfo('example.org', 80)",
    "connects in a child": "os.fork() or socket.socket().connect(('127.0.0.1', 9))",
    "connects in C": "_socket.socket().connect(('127.0.0.1', 9))",
    "connects in C in a thread that swallows it": """
def connect():
    with contextlib.suppress(OSError):
        _socket.socket(_socket.AF_INET6)
thread = threading.Thread(target=connect)
thread.start()
thread.join()""",
    "forks": "os.fork() or os._exit(0)",
}


@pytest.mark.parametrize("leak", LEAKS)
def test_what_would_leave_the_machine_is_noted(leak: str, home: Home) -> None:
    if " in C" in leak and not offline.stops_c_code():
        pytest.skip("only Linux stops C code")
    code = f"import _socket, contextlib, os, pathlib, socket, sys, threading; sys.path.insert(0, {str(ROOT)!r})\n"
    code += f"from tests import offline; offline.watch(pathlib.Path({str(home.record)!r}))\n"
    home.run("-c", code + LEAKS[leak])
    assert home.noted()


def test_a_file_in_the_home_folder_is_noted(home: Home) -> None:
    home.run("-c", "import pathlib; (pathlib.Path.home() / '.id').touch(); (pathlib.Path.home() / '.config').mkdir()")
    assert sorted(home.files()) == [".config", ".id"]
