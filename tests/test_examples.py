"""The examples run, and give what lwisp gives."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import lwisp
from lwisp.conversion import export
from lwisp.imaging.pixels import to_integer
from lwisp.weights import Weights
from tests.conftest import ROOT, SAMPLE, WriteDng, require

require("onnxruntime")
EXAMPLE = ROOT / "examples" / "onnx_only.py"
CRW = ROOT / "samples" / "CRW_0101.CRW"


@pytest.fixture
def exported(toy: Weights, tmp_path: Path) -> Path:
    export(toy, tmp_path / "toy.onnx", "onnx")
    return tmp_path / "toy.onnx"


def run(*arguments: Any) -> None:
    result = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLE, *map(str, arguments)], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def check(exported: Path, toy: Weights, source: Path) -> None:
    """The example gives the picture that lwisp gives of all photosites as they are, upright."""
    output = exported.with_name("example.png")
    run(exported, source, output)
    raw = lwisp.read_raw(source)
    expected = to_integer(lwisp.develop(toy, raw, 0, "fp32", crop="none", keep_hot_pixels=True), 8)
    found = np.array(Image.open(output))
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 1


@pytest.mark.parametrize("source", [SAMPLE, CRW])
def test_onnx_runtime_alone_develops_as_lwisp_does(exported: Path, toy: Weights, source: Path) -> None:
    check(exported, toy, source)
    run(exported, source, exported.with_name("example.jpg"))
    with Image.open(exported.with_name("example.jpg")) as picture:
        assert picture.format == "JPEG"


@pytest.mark.parametrize(("cfa", "orientation"), [("BGGR", 3), ("GRBG", 6), ("GBRG", 8), ("RGGB", 5)])
def test_every_pattern_and_orientation_comes_out_upright(
    exported: Path, toy: Weights, write_dng: WriteDng, cfa: str, orientation: int
) -> None:
    mosaic = np.random.default_rng(0).integers(300, 4000, (70, 94), dtype=np.uint16)
    check(exported, toy, write_dng(mosaic, cfa=cfa, orientation=orientation, black=(200, 210, 220, 230)))


def test_the_example_is_short_and_needs_four_packages() -> None:
    lines = [line for line in EXAMPLE.read_text().splitlines() if line and not line.startswith('"""')]
    assert len(lines) <= 20
    imported = {line.split()[1] for line in lines if line.startswith(("import", "from"))}
    assert imported == {"sys", "numpy", "onnxruntime", "rawpy", "PIL"}


def test_previews_are_small_jpegs_below_the_same_folders_without_places(tmp_path: Path) -> None:
    originals, previews = tmp_path / "originals", tmp_path / "sidecar"
    (originals / "2024").mkdir(parents=True)
    (originals / "2024" / "photo.dng").symlink_to(SAMPLE)
    command = [sys.executable, str(ROOT / "examples" / "previews.py"), str(originals), str(previews)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as watching:
        assert watching.stdout is not None
        try:
            said = watching.stdout.readline().strip()
        finally:
            watching.terminate()
    assert said == str(previews / "2024" / "photo.jpg")
    with Image.open(said) as picture:
        assert (picture.format, max(picture.size)) == ("JPEG", 1920)
