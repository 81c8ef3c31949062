"""Where torch cannot be imported, pictures are developed and restored all the same, and are the same."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from lwisp.engines.names import Backend
from tests.conftest import ROOT, SAMPLE, require

CODE = """
import sys
from dataclasses import replace
{hide}
import numpy as np
import lwisp
from lwisp.engines.engine import Engine

target, source, backend, windows = sys.argv[1:]
raw = lwisp.read_raw(source)
raw = replace(raw, mosaic=np.ascontiguousarray(raw.mosaic[600:1101, 800:1405]))
rgb = np.random.default_rng(0).random((301, 310, 3), np.float32)
chosen = []
if windows == "windows":
    choose = Engine._choose_window

    def choose_noted(self, height, width, picture):
        needed = self._needed(self._runner, height, width, picture)
        self._free = lambda: needed - 1  # bytes, what `memory` bounds: a little less than the whole picture takes
        chosen.append(choose(self, height, width, picture))
        return chosen[-1]

    Engine._choose_window = choose_noted
made = {{
    "develop": lwisp.develop(lwisp.load("photo"), raw, 0.3, "fp32", backend),
    "denoise": lwisp.denoise(rgb, None, "fp32", backend, passes=1),
    "enhance": lwisp.enhance(rgb, None, "fp32", backend, passes=2),
    "denoise_raw": lwisp.denoise_raw(raw, None, "fp32", backend).mosaic,
}}
assert windows == "whole" or all(chosen), chosen
assert ("torch" in sys.modules and sys.modules["torch"] is not None) is {imports}
np.savez(target, **made)
"""
HIDE = 'sys.modules["torch"] = None  # which makes importing it fail'


def run(folder: Path, backend: Backend, windows: str, hidden: bool) -> dict[str, NDArray[Any]]:
    """Pictures by name, made in a process of its own."""
    target = folder / f"{hidden}.npz"
    code = CODE.format(hide=HIDE if hidden else "import torch", imports=not hidden)
    command = [sys.executable, "-c", code, str(target), str(SAMPLE), backend, windows]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(target) as file:
        return dict(file)


@pytest.mark.slow
@pytest.mark.parametrize("windows", ["whole", "windows"])
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_pictures_are_the_same_without_torch(backend: Backend, windows: str, tmp_path: Path) -> None:
    require(backend)
    with_torch, without = (run(tmp_path, backend, windows, hidden) for hidden in (False, True))
    for name, picture in with_torch.items():
        assert float(picture.std()) > 0.01
        assert np.array_equal(picture, without[name]), name
