"""What a new back end takes: facts, a function that compiles, and a line in the table."""

import importlib
from collections.abc import Sequence

import numpy as np
import pytest
import torch

import lwisp
from lwisp.engines import backends
from lwisp.engines.backends import BACKENDS
from lwisp.engines.contract import BackEnd, Compiled, CompileError
from lwisp.engines.eager import has_bf16
from lwisp.engines.engine import prepare_engine
from lwisp.engines.onnxruntime import ONNXRUNTIME
from lwisp.model import LWISP
from tests.conftest import TOY, require


def test_a_back_end_is_added_by_a_line_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    require("onnxruntime")
    compiled = []

    def compile_with(model: bytes, shapes: Sequence[tuple[int, ...]], bf16: bool, threads: int) -> Compiled:
        assert ONNXRUNTIME.compile is not None
        compiled.append((*shapes, bf16, threads))
        return ONNXRUNTIME.compile(model, shapes, bf16, 1)

    fake = BackEnd("fake", package="torch", bytes_per_pixel={"fp32": 300}, compile=compile_with)  # type: ignore[arg-type]
    monkeypatch.setitem(BACKENDS, "fake", fake)  # type: ignore[misc]
    torch.manual_seed(0)
    network, planes = LWISP(TOY).eval(), torch.rand(4, 20, 30)
    engine = prepare_engine(network, "fake", threads=3)  # type: ignore[arg-type]
    with torch.inference_mode():
        expected = network(planes[None])[0].permute(1, 2, 0).numpy()
    assert np.allclose(engine(planes.numpy()), expected, atol=1e-5)
    assert compiled == [((1, 4, 32, 32), False, 3)]
    assert engine.description == "fake in fp32 on 3 threads"


def test_every_back_end_has_its_own_file() -> None:
    for name, back_end in BACKENDS.items():
        assert back_end.name == name
        assert back_end in vars(importlib.import_module(f"lwisp.engines.{name}")).values()


def test_bf16_is_asked_of_the_device_that_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: False)
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert has_bf16("cpu")
    assert not has_bf16("cuda")


def test_without_any_engine_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "is_installed", lambda name: False)
    with pytest.raises(lwisp.InputError, match="no engine for networks is installed; pip install openvino"):
        prepare_engine(lwisp.load("photo").runnable)


def test_the_only_engine_failing_is_said_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise CompileError("openvino: no")

    monkeypatch.setattr(backends, "is_installed", lambda name: name == "openvino")
    monkeypatch.setattr(backends, "compile_model", fail)
    engine = prepare_engine(lwisp.load("photo").runnable, "auto", "fp32")
    with pytest.raises(lwisp.InputError, match=r"openvino: no; install another engine"):
        engine(np.zeros((4, 32, 32), np.float32))
