import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lwisp.engines import cache as kept
from lwisp.engines.backends import compile_module
from lwisp.engines.contract import CompileError
from lwisp.engines.names import Name
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

    monkeypatch.setattr("lwisp.engines.openvino.convert", refuse)
    monkeypatch.setattr(torch.onnx, "export", refuse)


def expected(net: nn.Module) -> Tensor:
    with torch.inference_mode():
        result: Tensor = net(*INPUTS)
    return result


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_second_start_does_not_compile_again(backend: Name, monkeypatch: pytest.MonkeyPatch) -> None:
    require(backend)
    net = module()
    first = compile_module(backend, net, INPUTS, bf16=False)(*INPUTS).clone()
    assert torch.allclose(first, expected(net), atol=1e-5)
    forbid_compiling(monkeypatch)
    assert torch.equal(compile_module(backend, net, INPUTS, bf16=False)(*INPUTS), first)
    for other, inputs, bf16 in (
        (module(1), INPUTS, False),
        (net, (torch.rand(1, 4, 16, 48),), False),
        (net, INPUTS, True),
    ):
        if backend == "openvino" or other is not net:
            with pytest.raises(AssertionError, match="compiled again"):
                compile_module(backend, other, inputs, bf16)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("damage", ["short", "changed", "empty"])
def test_a_damaged_cache_is_rebuilt(backend: Name, damage: str, cache: Path) -> None:
    require(backend)
    net = module()
    compile_module(backend, net, INPUTS, bf16=False)
    (file,) = cache.iterdir()
    content = file.read_bytes()
    middle = len(content) // 2
    changed = {
        "short": content[:middle],
        "empty": b"",
        "changed": content[:middle] + b"\0\1\2\3" + content[middle + 4 :],
    }
    file.write_bytes(changed[damage])
    found = compile_module(backend, net, INPUTS, bf16=False)(*INPUTS)
    assert torch.allclose(found, expected(net), atol=1e-5)
    assert kept.read_cached(file)


def test_a_cache_of_another_build_is_rebuilt(cache: Path) -> None:
    net = module()
    compile_module("openvino", net, INPUTS, bf16=False)
    (file,) = cache.iterdir()
    kept.write_cached(file, b"whole, but not what OpenVINO writes")
    found = compile_module("openvino", net, INPUTS, bf16=False)(*INPUTS)
    assert torch.allclose(found, expected(net), atol=1e-5)


def test_a_cache_that_cannot_be_written_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    net = module()
    found = compile_module("openvino", net, INPUTS, bf16=False)(*INPUTS)
    assert torch.allclose(found, expected(net), atol=1e-5)


def test_the_oldest_files_of_the_cache_go(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "KEPT", 2)
    cache.mkdir()
    for age, name in enumerate(("openvino-new", "openvino-middle", "onnxruntime-old")):
        (cache / name).touch()
        os.utime(cache / name, (10**9 - age, 10**9 - age))
    kept.write_cached(cache / "openvino-newest", b"x")
    assert {file.name for file in cache.iterdir()} == {"openvino-new", "openvino-newest"}


def test_what_cannot_be_compiled_is_said() -> None:
    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("no such operation")

    with pytest.raises(CompileError, match=r"(?s)openvino: .*no such operation"):
        compile_module("openvino", Odd(), INPUTS, bf16=False)


def test_a_signal_finds_its_stack_after_modules_have_gone() -> None:
    code = """
import os, signal, torch
from lwisp.engines.backends import compile_module
signal.signal(signal.SIGUSR1, lambda *_: print("handled"))
inputs = (torch.rand(1, 4, 16, 32),)
first, second = (compile_module("openvino", torch.nn.Conv2d(4, 8, 3), inputs, True) for _ in range(2))
del first
del second
os.kill(os.getpid(), signal.SIGUSR1)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (run.returncode, run.stdout) == (0, "handled\n"), run.stderr
