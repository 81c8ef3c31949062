import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper

from lwisp.architecture import LWISPConfig
from lwisp.engines import cache as kept
from lwisp.engines import structures
from lwisp.engines.backends import compile_model
from lwisp.engines.contract import CompileError
from lwisp.engines.names import Name
from lwisp.engines.openvino import openvino_core
from lwisp.files.writing import temporary_beside
from tests.conftest import require

require("openvino")
INPUT = np.random.default_rng(0).random((1, 4, 16, 32), np.float32)
WEIGHTS = [np.random.default_rng(seed).random((8, 4, 1, 1), np.float32) for seed in range(2)]


def model(seed: int = 0, kind: str = "Conv") -> bytes:
    """ONNX of one 1x1 convolution."""
    weight = helper.make_tensor("w", TensorProto.FLOAT, WEIGHTS[seed].shape, WEIGHTS[seed].ravel())
    graph = helper.make_graph(
        [helper.make_node(kind, ["x", "w"], ["y"])],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, "h", "w"])],
        [weight],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    return bytes(made)


def expected(seed: int = 0) -> NDArray[np.float32]:
    output: NDArray[np.float32] = np.einsum("oi,bihw->bohw", WEIGHTS[seed][..., 0, 0], INPUT)
    return output


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "lwisp"


def compiled(backend: Name, content: bytes, bf16: bool = False) -> NDArray[np.float32]:
    (output,) = compile_model(backend, content, [INPUT.shape], bf16)(INPUT)
    return output


class Forbidden:
    """OpenVINO's core, which must not compile."""

    def __init__(self, core: object) -> None:
        self.core = core

    def __getattr__(self, name: str) -> object:
        assert name not in ("read_model", "compile_model"), "compiled again"
        return getattr(self.core, name)


def test_a_second_start_does_not_compile_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first = compiled("openvino", model())
    assert np.allclose(first, expected(), atol=1e-5)
    core = Forbidden(openvino_core())
    monkeypatch.setattr("lwisp.engines.openvino.openvino_core", lambda: core)
    assert np.array_equal(compiled("openvino", model()), first)
    for content, shape, bf16 in (
        (model(1), INPUT.shape, False),
        (model(), (1, 4, 16, 48), False),
        (model(), INPUT.shape, True),
    ):
        with pytest.raises(AssertionError, match="compiled again"):
            compile_model("openvino", content, [shape], bf16)


@pytest.mark.parametrize("damage", ["short", "changed", "empty"])
def test_a_damaged_cache_is_rebuilt(damage: str, cache: Path) -> None:
    compiled("openvino", model())
    (file,) = cache.iterdir()
    content = file.read_bytes()
    middle = len(content) // 2
    changed = {
        "short": content[:middle],
        "empty": b"",
        "changed": content[:middle] + b"\0\1\2\3" + content[middle + 4 :],
    }
    file.write_bytes(changed[damage])
    assert np.allclose(compiled("openvino", model()), expected(), atol=1e-5)
    assert kept.read_cached(file)


def test_a_cache_of_another_build_is_rebuilt(cache: Path) -> None:
    compiled("openvino", model())
    (file,) = cache.iterdir()
    kept.write_cached(file, b"whole, but not what OpenVINO writes")
    assert np.allclose(compiled("openvino", model()), expected(), atol=1e-5)
    assert kept.read_cached(file) != b"whole, but not what OpenVINO writes"


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert np.allclose(compiled("openvino", model()), expected(), atol=1e-5)


def test_a_structure_that_was_traced_is_not_traced_again(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture, name = LWISPConfig(width=4), "vector"
    first = structures.structure.__wrapped__(architecture, name)
    (file,) = cache.iterdir()

    def refuse(*_: object) -> bytes:
        raise AssertionError("traced again")

    monkeypatch.setattr("lwisp.engines.tracing.trace", refuse)
    assert structures.structure.__wrapped__(architecture, name) == first
    for other in ((LWISPConfig(width=8), name), (architecture, "map0")):
        with pytest.raises(AssertionError, match="traced again"):
            structures.structure.__wrapped__(*other)
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(AssertionError, match="traced again"):
        structures.structure.__wrapped__(architecture, name)


def test_the_oldest_files_of_the_cache_go(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT", 2)
    cache.mkdir()
    for age, name in enumerate(("openvino-new", "openvino-middle", "structure-old")):
        (cache / name).touch()
        os.utime(cache / name, (10**9 - age, 10**9 - age))
    (cache / temporary_beside(cache).name.replace(f"-{os.getpid()}-", "-9999999999-")).touch()  # of a killed process
    being_written = temporary_beside(cache / "structure")
    being_written.touch()
    kept.write_cached(cache / "openvino-newest", b"x")
    assert {file.name for file in cache.iterdir()} == {"openvino-new", "openvino-newest", being_written.name}


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("content", [model(kind="Odd"), b"no ONNX"], ids=["unknown operation", "no model"])
def test_what_cannot_be_compiled_is_said(backend: Name, content: bytes) -> None:
    require(backend)
    with pytest.raises(CompileError, match=f"(?s)^{backend}: "):
        compiled(backend, content)


def test_a_signal_finds_its_stack_after_modules_have_gone() -> None:
    code = """
import os, signal
from lwisp.engines.backends import compile_model
from tests.engines.test_cache import INPUT, model
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
first, second = (compile_model("openvino", model(), [INPUT.shape], True) for _ in range(2))
del first
del second
os.kill(os.getpid(), signal.SIGUSR1)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (run.returncode, run.stdout) == (0, "handled\n"), run.stderr
