import sys
import textwrap
from pathlib import Path

import pytest
import torch
from torch import nn

from lwisp.baselines.build import Baseline, build
from lwisp.baselines.config import OwnConfig
from lwisp.baselines.own import import_own
from lwisp.engines.tensors import run_network
from lwisp.errors import InputError
from lwisp.records import parse
from lwisp.training.recipe import Recipe, read_recipe
from lwisp.weights import Card, InputConvention, load, save

MODULE = """
import torch
from torch import nn

class Shuffled(nn.Module):
    takes = "raw"
    size_multiple = 4

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(4, 12, 3, padding=1)
        self.register_buffer("scale", torch.ones(1), persistent=False)
        self.register_buffer("order", torch.arange(12))

    def forward(self, planes):
        assert planes.shape[-1] % 4 == 0
        return torch.sigmoid(nn.functional.pixel_shuffle(self.layer(planes)[:, self.order] * self.scale, 2))

class Silent(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Conv2d(4, 12, 3, padding=1)

class Wrong(Silent):
    takes = "mosaic"

class Small(Silent):
    takes = "raw"
    def forward(self, planes):
        return self.layer(planes)

class Pair(Silent):
    takes = "raw"
    def forward(self, planes):
        return planes, planes

class Broken(Silent):
    takes = "raw"
    def forward(self, planes):
        raise KeyError("nothing")

class Asking(nn.Module):
    takes = "raw"
    def __init__(self, width):
        super().__init__()

class Empty(nn.Module):
    takes = "rgb"
    def forward(self, rgb):
        return rgb

class Odd(Silent):
    takes = "raw"
    size_multiple = 0

class NoModule:
    takes = "raw"

value = 3
"""


@pytest.fixture
def mynets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A module of a stranger's, which Python finds."""
    (tmp_path / "mynets.py").write_text(textwrap.dedent(MODULE))
    (tmp_path / "failing.py").write_text("raise ZeroDivisionError('at import')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "mynets", raising=False)
    return tmp_path


def test_a_network_of_ones_own_is_built_padded_cropped_and_saved(mynets: Path, tmp_path: Path) -> None:
    config = import_own("mynets:Shuffled")
    assert config == OwnConfig("mynets:Shuffled", "raw", 4)
    assert (config.in_channels, config.out_channels, config.scale) == (4, 3, 2)
    network = build(config).eval()
    assert isinstance(network, Baseline)
    planes = torch.rand(4, 9, 11)
    assert network(planes[None]).shape == (1, 3, 18, 22)
    save(tmp_path / "own.safetensors", network, Card("own", config, InputConvention(), "MIT"))
    loaded = load(tmp_path / "own.safetensors")
    assert loaded.card.architecture == config
    again = run_network(loaded.runnable, planes, "fp32")
    assert torch.allclose(again, network(planes[None])[0], atol=2e-3)  # stored in float16


def test_a_file_never_imports_what_it_names(mynets: Path, tmp_path: Path) -> None:
    config = import_own("mynets:Shuffled")
    save(tmp_path / "own.safetensors", build(config), Card("own", config, InputConvention(), "MIT"))
    del sys.modules["mynets"]
    with pytest.raises(InputError, match=r"name it with --network, or import mynets before"):
        load(tmp_path / "own.safetensors")
    assert "mynets" not in sys.modules


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mynets", 'expected a network of "module:Class"'),
        ("mynets:", 'expected a network of "module:Class"'),
        ("my nets:Net", 'expected a network of "module:Class"'),
        ("../mynets:Net", 'expected a network of "module:Class"'),
        ("nowhere:Net", "nowhere cannot be imported: No module named 'nowhere'"),
        ("failing:Net", "failing cannot be imported: at import"),
        ("mynets:Missing", "expected a class of torch.nn.Module, got NoneType"),
        ("mynets:value", "expected a class of torch.nn.Module, got int"),
        ("mynets:NoModule", "expected a class of torch.nn.Module"),
        ("mynets:Silent", 'expected an attribute takes, "raw", "rgb" or "planes", that says what it maps; it has none'),
        ("mynets:Wrong", "got 'mosaic'"),
        ("mynets:Asking", "cannot be built without arguments"),
        ("mynets:Empty", "has no parameters to learn"),
        ("mynets:Broken", r"fails on an input of \(1, 4, 32, 32\)"),
        ("mynets:Small", r"expected an output of \(1, 3, 64, 64\) .*, got \(1, 12, 32, 32\)"),
        ("mynets:Pair", "got tuple"),
        ("mynets:Odd", "size_multiple"),
    ],
)
def test_a_network_that_lacks_something_is_refused_in_one_sentence(name: str, said: str, mynets: Path) -> None:
    with pytest.raises(InputError, match=said) as caught:
        import_own(name)
    assert "\n" not in str(caught.value)


def test_recipes_and_cards_hold_such_an_architecture(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('name = "x"\nlicence = "MIT"\nalpha = 0\narchitecture = { module = "a.b:C", takes = "rgb" }\n')
    recipe = read_recipe(path)
    assert recipe.architecture == OwnConfig("a.b:C", "rgb")
    assert parse(Recipe, recipe.to_json()) == recipe
    with pytest.raises(InputError, match=r"does not fit this network: expected beta = 0 for other networks"):
        Recipe("x", "MIT", beta=0.1).with_network(OwnConfig("a:B", "raw"))


class Inline(nn.Module):
    takes = "rgb"

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Conv2d(3, 3, 1)

    def forward(self, rgb: torch.Tensor) -> torch.Tensor:
        return self.network(rgb)  # type: ignore[no-any-return]


def test_a_class_of_a_module_that_is_imported_already_serves() -> None:
    assert import_own(f"{__name__}:Inline").takes == "rgb"
