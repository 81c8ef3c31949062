import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lwisp.engines import compiled
from tests.conftest import require

require("openvino")
INPUTS = (torch.rand(1, 4, 16, 32),)


def module(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Conv2d(4, 8, 3, padding=1)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "lwisp"


def forbid_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(compiled, "convert", refuse)
    monkeypatch.setattr(torch.onnx, "export", refuse)


def expected(net: nn.Module) -> Tensor:
    with torch.inference_mode():
        result: Tensor = net(*INPUTS)
    return result


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_second_start_does_not_compile_again(backend: compiled.Name, monkeypatch: pytest.MonkeyPatch) -> None:
    require(backend)
    net = module()
    first = compiled.compile_module(backend, net, INPUTS, bf16=False)(*INPUTS).clone()
    assert torch.allclose(first, expected(net), atol=1e-5)
    forbid_compiling(monkeypatch)
    assert torch.equal(compiled.compile_module(backend, net, INPUTS, bf16=False)(*INPUTS), first)
    for other, inputs, bf16 in (
        (module(1), INPUTS, False),
        (net, (torch.rand(1, 4, 16, 48),), False),
        (net, INPUTS, True),
    ):
        if backend == "openvino" or other is not net:
            with pytest.raises(AssertionError, match="compiled again"):
                compiled.compile_module(backend, other, inputs, bf16)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("damage", ["short", "changed", "empty"])
def test_a_damaged_cache_is_rebuilt(backend: compiled.Name, damage: str, cache: Path) -> None:
    require(backend)
    net = module()
    compiled.compile_module(backend, net, INPUTS, bf16=False)
    (file,) = cache.iterdir()
    content = file.read_bytes()
    middle = len(content) // 2
    changed = {
        "short": content[:middle],
        "empty": b"",
        "changed": content[:middle] + b"\0\1\2\3" + content[middle + 4 :],
    }
    file.write_bytes(changed[damage])
    found = compiled.compile_module(backend, net, INPUTS, bf16=False)(*INPUTS)
    assert torch.allclose(found, expected(net), atol=1e-5)
    assert compiled._read_cached(file)


def test_a_cache_of_another_build_is_rebuilt(cache: Path) -> None:
    net = module()
    compiled.compile_module("openvino", net, INPUTS, bf16=False)
    (file,) = cache.iterdir()
    compiled._write_cached(file, b"whole, but not what OpenVINO writes")
    found = compiled.compile_module("openvino", net, INPUTS, bf16=False)(*INPUTS)
    assert torch.allclose(found, expected(net), atol=1e-5)


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    net = module()
    found = compiled.compile_module("openvino", net, INPUTS, bf16=False)(*INPUTS)
    assert torch.allclose(found, expected(net), atol=1e-5)


def test_the_oldest_files_of_the_cache_go(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "KEPT", 2)
    cache.mkdir()
    for age, name in enumerate(("openvino-new", "openvino-middle", "onnxruntime-old")):
        (cache / name).touch()
        os.utime(cache / name, (10**9 - age, 10**9 - age))
    compiled._write_cached(cache / "openvino-newest", b"x")
    assert {file.name for file in cache.iterdir()} == {"openvino-new", "openvino-newest"}


def test_what_cannot_be_compiled_is_said() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no such operation")

    with pytest.raises(compiled.CompileError, match=r"(?s)openvino: .*no such operation"):
        compiled.compile_module("openvino", Odd(), INPUTS, bf16=False)


def test_a_signal_finds_its_stack_after_modules_have_gone() -> None:
    code = """
import os, signal, torch
from lwisp.engines import compiled
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
inputs = (torch.rand(1, 4, 16, 32),)
first, second = (compiled.compile_module("openvino", torch.nn.Conv2d(4, 8, 3), inputs, True) for _ in range(2))
del first
del second
os.kill(os.getpid(), signal.SIGUSR1)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (run.returncode, run.stdout) == (0, "handled\n"), run.stderr
