"""What a new back end takes: facts, a function that compiles, and a line in the table."""

import importlib

import pytest
import torch
from torch import Tensor, nn

from lwisp.engines.backends import BACKENDS
from lwisp.engines.contract import BackEnd, Compiled
from lwisp.engines.eager import has_bf16
from lwisp.engines.engine import prepare_engine
from lwisp.model import LWISP
from tests.conftest import TOY


def test_a_back_end_is_added_by_a_line_in_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def compile_eagerly(module: nn.Module, inputs: tuple[Tensor, ...], bf16: bool, threads: int) -> Compiled:
        compiled.append((inputs[0].shape, bf16, threads))
        return Compiled(lambda: module)

    fake = BackEnd("fake", package="torch", bytes_per_pixel={"fp32": 300}, compile=compile_eagerly)  # type: ignore[arg-type]
    monkeypatch.setitem(BACKENDS, "fake", fake)  # type: ignore[misc]
    torch.manual_seed(0)
    network, planes = LWISP(TOY).eval(), torch.rand(4, 20, 30)
    engine = prepare_engine(network, "fake", threads=3)  # type: ignore[arg-type]
    with torch.inference_mode():
        assert torch.allclose(engine(planes), network(planes[None])[0], atol=1e-6)
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
