"""spandrel runs `denoise` and `enhance` as lwisp does; skipped where it, or torchvision that it needs, is not there."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import pytest
import torch

import lwisp
from lwisp.interchange import bare_tensors, write_state_dict
from lwisp.weights import find
from tests.conftest import ROOT

spandrel: Any = pytest.importorskip("spandrel", exc_type=ImportError)


@pytest.fixture(autouse=True)
def _registered() -> None:
    spec = spec_from_file_location("spandrel_lwisp", ROOT / "examples" / "spandrel_lwisp.py")
    assert spec is not None
    assert spec.loader is not None
    example = module_from_spec(spec)
    spec.loader.exec_module(example)
    example.register()
    example.register()


def load(path: Path) -> Any:
    return spandrel.ModelLoader("cpu").load_from_file(path)


@pytest.mark.parametrize("name", ["denoise", "enhance"])
def test_spandrel_gives_the_same_pixels(name: str, tmp_path: Path) -> None:
    network = lwisp.load(name).network
    write_state_dict(tmp_path / "bare.safetensors", bare_tensors(network))
    picture = torch.rand(1, 3, 50, 70)
    with torch.no_grad():
        expected = network(picture)
    for path in (tmp_path / "bare.safetensors", find(name)):  # with a card too
        model = load(path)
        assert (model.architecture.id, model.purpose, model.scale) == ("LW-ISP", "Restoration", 1)
        assert torch.allclose(model(picture), expected, atol=1e-5)


def test_weights_for_raws_are_not_taken_for_such() -> None:
    with pytest.raises(spandrel.UnsupportedModelError):
        load(find("photo"))
