"""Every way to a picture gives the same pixels, within the bounds that the benchmark states."""

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conftest import ROOT, WriteDng, require

for package in ("openvino", "onnxruntime", "fastapi"):
    require(package)
SCRIPT = ROOT / "benchmarks" / "same_pixels.py"
WAYS = "command,cluster,server,2 threads,windows,torch,exported ONNX"


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


@pytest.mark.slow
def test_a_picture_is_the_same_by_every_way(write_dng: WriteDng, tmp_path: Path) -> None:
    mosaic = np.random.default_rng(0).integers(300, 4000, (130, 514), dtype=np.uint16)
    write_dng(mosaic, cfa="GRBG", orientation=6, black=(200, 210, 220, 230))
    command = [sys.executable, str(SCRIPT), str(tmp_path), "--output", str(tmp_path / "out"), "--ways", WAYS]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "out" / "same-pixels.md").read_text(encoding="utf-8")
    assert "| photo.dng | 0, 0 % | 0, 0 % | 0, 0 % |" in page  # the command, the cluster and the server
    assert "| exported ONNX |" in page


def test_a_step_more_than_the_bound_is_told(script: dict[str, Any]) -> None:
    compare, close, same = script["compare"], script["CLOSE"], script["SAME"]
    expected = np.full((10, 20, 3), 1000, np.uint16)
    assert not compare("a", "command", expected, expected).breaks(same)
    found = expected.copy()
    found[3, 4, 1] += 1
    one = compare("a", "torch", expected, found)
    assert (one.steps8, one.steps16, one.share16) == (0, 1, 1 / 600)
    assert one.breaks(same)
    assert not one.breaks(close)
    found[3, 4, 1] += 2
    assert compare("a", "torch", expected, found).breaks(close)
    found = expected.copy()
    found[:2] = 1157  # 4.5 of 255 in place of 3.9
    many = compare("a", "torch", expected, found)
    assert (many.steps8, many.share8) == (1, 0.2)
    assert many.breaks(script["Bound"](1, 0.1, 1000))
    assert not many.breaks(script["Bound"](1, 0.2, 1000))


def test_gray_is_compared_with_what_a_file_holds(script: dict[str, Any]) -> None:
    gray = np.arange(6, dtype=np.uint16).reshape(2, 3)
    assert script["compare"]("a", "command", gray, np.repeat(gray[..., None], 3, -1)).steps16 == 0
    with pytest.raises(script["InputError"], match="the library"):
        script["compare"]("a", "command", gray, gray.T[..., None].repeat(3, -1))


def test_an_unknown_way_is_refused(script: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        script["main"](["--ways", "post"])
    assert "expected ways of lwisp.develop, command, cluster, server" in capsys.readouterr().err


def test_a_way_beyond_its_bound_fails(
    script: dict[str, Any], tmp_path: Path, write_dng: WriteDng, capsys: pytest.CaptureFixture[str]
) -> None:
    made_so_far = []

    def other(photo: Any, tools: Any) -> Any:
        made_so_far.append(photo.path)
        made = script["by_engine"](photo, tools, "openvino", 1)
        made[0, 0] = 65535 - made[0, 0]
        return made

    ways = script["main"].__globals__["WAYS"]
    ways["wrong"] = script["Way"](other, script["CLOSE"], "a picture of which a pixel was changed")
    path = write_dng(np.random.default_rng(0).integers(300, 4000, (40, 60), dtype=np.uint16))
    for _ in range(2):  # the second one reads what the first one found
        assert script["main"]([str(path), "--output", str(tmp_path / "out"), "--ways", "wrong"]) == 1
        assert "by wrong it differs by more than" in capsys.readouterr().err
    assert made_so_far == [path]
    del ways["wrong"]
