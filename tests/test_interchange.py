from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from lwisp.architecture import LWISPConfig
from lwisp.baselines.config import BaselineConfig, OwnConfig
from lwisp.errors import InputError
from lwisp.interchange import bare_tensors, read_state_dict, save_weights, write_state_dict
from lwisp.model import LWISP
from lwisp.weights import Card, InputConvention, load
from tests.baselines.test_own import Inline
from tests.conftest import TOY, refusal
from tests.test_cli import call

CARD = Card("toy", TOY, InputConvention(), "MIT")
RECIPE = 'name = "mine"\nlicence = "CC0-1.0"\narchitecture = { width = 4 }\nscales = 1\n'


@pytest.fixture
def network() -> LWISP:
    torch.manual_seed(0)
    return LWISP(TOY).half().float().eval()


@pytest.mark.parametrize("name", ["bare.pth", "bare.safetensors"])
def test_a_state_dict_goes_out_and_comes_back(name: str, network: LWISP, tmp_path: Path) -> None:
    write_state_dict(tmp_path / name, bare_tensors(network))
    found = read_state_dict(tmp_path / name)
    assert found.keys() == network.state_dict().keys()
    assert all(torch.equal(found[key], value) for key, value in network.state_dict().items())
    LWISP(TOY).load_state_dict(found)


@pytest.mark.parametrize("key", ["state_dict", "params", "params_ema", "model"])
def test_tensors_are_found_where_training_codes_put_them(key: str, network: LWISP, tmp_path: Path) -> None:
    wrapped = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"epoch": 3, key: wrapped}, tmp_path / "run.pth")
    assert read_state_dict(tmp_path / "run.pth").keys() == network.state_dict().keys()


def test_a_network_is_saved_with_its_card_and_develops(network: LWISP, tmp_path: Path) -> None:
    save_weights(tmp_path / "toy.safetensors", network, CARD)
    loaded = load(tmp_path / "toy.safetensors")
    assert loaded.card == CARD
    planes = torch.rand(1, 4, 32, 32)
    assert torch.allclose(loaded.network(planes), network(planes), atol=1e-6)


def test_a_network_of_ones_own_is_saved_by_its_own_names(tmp_path: Path) -> None:
    config = OwnConfig(f"{Inline.__module__}:Inline", "rgb")
    own = Inline()
    save_weights(tmp_path / "own.safetensors", own, Card("own", config, InputConvention(), "MIT"))
    loaded = load(tmp_path / "own.safetensors")
    assert bare_tensors(loaded.network).keys() == own.state_dict().keys()
    assert torch.allclose(bare_tensors(loaded.network)["network.weight"], own.network.weight, atol=1e-3)


def test_tensors_of_another_network_are_refused(network: LWISP, tmp_path: Path) -> None:
    path = tmp_path / "toy.safetensors"
    for card, said in (
        (replace(CARD, architecture=LWISPConfig(width=8)), "of another shape"),
        (replace(CARD, architecture=BaselineConfig("srcnn")), "are missing, too many"),
    ):
        with pytest.raises(InputError, match=said):
            save_weights(path, network, card)
    with torch.no_grad():
        network.out.bias.fill_(torch.nan)  # type: ignore[union-attr]
    with pytest.raises(InputError, match="finite"):
        save_weights(path, network, CARD)
    with pytest.raises(InputError, match=r"a torch\.nn\.Module, got dict"):
        save_weights(path, {}, CARD)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"ends in \.safetensors"):
        save_weights(tmp_path / "toy.pth", network, CARD)
    assert not path.exists()


class Harmful:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("harm"),)


def test_hostile_files_are_refused_and_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, content, said in (
        ("code.pth", {"state_dict": Harmful()}, "tensors alone"),
        ("list.pth", [torch.zeros(1)], "expected a state dict"),
        ("empty.pth", {}, "expected a state dict"),
        ("numbers.pth", {"state_dict": {"epoch": 3}}, "expected a state dict"),
    ):
        torch.save(content, tmp_path / name)
        assert said in refusal(tmp_path / name, read_state_dict, tmp_path / name)
    (tmp_path / "text.pth").write_text("not weights")
    (tmp_path / "text.safetensors").write_text("not weights")
    (tmp_path / "text.npz").write_text("not weights")
    for name in ("text.pth", "text.safetensors", "text.npz", "missing.pth"):
        refusal(tmp_path / name, read_state_dict, tmp_path / name)
    assert not (tmp_path / "harm").exists()


def test_a_state_dict_becomes_weights_and_back_on_the_command_line(network: LWISP, tmp_path: Path) -> None:
    save_file(network.state_dict(), tmp_path / "bare.safetensors")
    (tmp_path / "recipe.toml").write_text(RECIPE)
    given = ("weights", "wrap", tmp_path / "bare.safetensors", "--recipe", tmp_path / "recipe.toml")
    result = call(*given, "-o", tmp_path / "mine.safetensors")
    assert result.exit_code == 0, result.output
    card = load(tmp_path / "mine.safetensors").card
    assert (card.name, card.licence, card.architecture) == ("mine", "CC0-1.0", TOY)
    result = call("weights", "bare", tmp_path / "mine.safetensors", "-o", tmp_path / "out.pth")
    assert result.exit_code == 0, result.output
    assert read_state_dict(tmp_path / "out.pth").keys() == network.state_dict().keys()
    result = call("weights", "bare", tmp_path / "mine.safetensors", "-o", tmp_path / "out.pth")
    assert result.exit_code == 2
    assert "exists" in result.stderr
