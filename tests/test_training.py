import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

import lwisp
from lwisp import training
from lwisp.checkpoint import load
from lwisp.training import Recipe, learning_rate, read_recipe, train
from tests.conftest import ROOT, TOY


@pytest.fixture
def recipe(photos: Path) -> Recipe:
    return Recipe(
        name="toy",
        licence="MIT",
        photos=photos,
        validation=photos,
        steps=12,
        batch=2,
        crop=32,
        warmup=2,
        learning_rate=3e-3,
        checkpoint_every=4,
        validate_every=6,
        precision="fp32",
        architecture=TOY,
    )


def test_a_toy_network_learns_end_to_end(recipe: Recipe, tmp_path: Path) -> None:
    output = tmp_path / "toy.safetensors"
    train(replace(recipe, steps=120, checkpoint_every=20, ema=0.9), output)
    rows = [json.loads(line) for line in (tmp_path / "toy.safetensors.run" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == list(range(20, 121, 20))
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert rows[-1]["psnr"] > 8
    card = load(output).card
    assert (card.name, card.architecture, card.licence) == ("toy", TOY, "MIT")
    assert card.training["recipe"]["steps"] == 120
    assert len(card.photos) == 3


def test_stopping_and_going_on_equals_never_stopping(recipe: Recipe, tmp_path: Path) -> None:
    whole = train(recipe, tmp_path / "whole.safetensors")
    output = tmp_path / "halves.safetensors"

    with pytest.MonkeyPatch.context() as patch:
        import lwisp.training as module

        original, calls = module._step, []

        def interrupted(*args: object) -> float:
            calls.append(1)
            if len(calls) == 8:
                raise KeyboardInterrupt
            return original(*args)  # type: ignore[arg-type]

        patch.setattr(module, "_step", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, output)
    assert not output.exists()
    resumed = train(recipe, output)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], value)
    assert (tmp_path / "whole.safetensors").read_bytes() == output.read_bytes()


def test_a_finished_run_is_not_trained_again_and_may_be_made_longer(recipe: Recipe, tmp_path: Path) -> None:
    output = tmp_path / "toy.safetensors"
    train(recipe, output)
    log = tmp_path / "toy.safetensors.run" / "log.jsonl"
    rows = len(log.read_text().splitlines())
    train(recipe, output)
    assert len(log.read_text().splitlines()) == rows
    train(replace(recipe, steps=16), output)
    assert len(log.read_text().splitlines()) == rows + 1


def test_another_recipe_does_not_go_on_from_this_one(recipe: Recipe, tmp_path: Path) -> None:
    train(recipe, tmp_path / "toy.safetensors")
    with pytest.raises(lwisp.InputError, match="another recipe"):
        train(replace(recipe, seed=9), tmp_path / "toy.safetensors")


def test_other_photos_or_fewer_steps_do_not_go_on_from_this_run(recipe: Recipe, tmp_path: Path) -> None:
    output = tmp_path / "toy.safetensors"
    train(recipe, output)
    with pytest.raises(lwisp.InputError, match="has 12 steps already"):
        train(replace(recipe, steps=6), output)
    (recipe.photos / "2.png").unlink()
    with pytest.raises(lwisp.InputError, match="other photos"):
        train(recipe, output)


def test_a_damaged_state_is_one_clear_error(recipe: Recipe, tmp_path: Path) -> None:
    state = tmp_path / "toy.safetensors.run" / "state.pt"
    state.parent.mkdir()
    for content in (b"", b"no state", b"PK\x03\x04 cut"):
        state.write_bytes(content)
        with pytest.raises(lwisp.InputError, match="damaged"):
            train(recipe, tmp_path / "toy.safetensors")


def test_a_file_of_the_users_is_not_trained_over(recipe: Recipe, tmp_path: Path) -> None:
    mine = tmp_path / "mine.jpg"
    mine.write_text("mine")
    with pytest.raises(lwisp.InputError, match="is not of this run"):
        train(recipe, mine)
    assert mine.read_text() == "mine"
    with pytest.raises(lwisp.InputError, match="this is a folder"):
        train(recipe, tmp_path)


def test_small_validation_photos_are_scored_whole(recipe: Recipe, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    with Image.open(recipe.photos / "0.png") as picture:
        picture.crop((0, 0, 61, 45)).save(small / "a.png")
    assert [truth.shape for _, truth in training._validation_set(small)] == [(3, 44, 60)] * 2


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(recipe: Recipe, tmp_path: Path) -> None:
    import lwisp.training as module

    output = tmp_path / "toy.safetensors"
    train(replace(recipe, steps=4), output)
    state = (tmp_path / "toy.safetensors.run" / "state.pt").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_step", lambda *_: float("nan"))
        with pytest.raises(lwisp.InputError, match=r"the loss is nan at step 8; the last good state is in"):
            train(recipe, output)
    assert (tmp_path / "toy.safetensors.run" / "state.pt").read_bytes() == state


def test_the_learning_rate_rises_stays_and_falls(recipe: Recipe) -> None:
    plan = replace(recipe, steps=100, warmup=10, decay=0.5, learning_rate=1.0)
    rates = [learning_rate(plan, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:51] == [1.0] * 42
    assert rates[75] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.02)


def test_the_recipe_of_the_shipped_weights_is_the_one_on_their_card() -> None:
    recipe = read_recipe(ROOT / "recipes" / "photo.toml")
    card = load("photo").card.training["recipe"]
    for key in ("steps", "batch", "crop", "seed", "learning_rate", "warmup", "decay", "clip", "ema"):
        assert card[key] == getattr(recipe, key)


def test_wrong_recipes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    good = 'name = "x"\nlicence = "MIT"\nphotos = "photos"\n'
    for text, word in {
        good + "stepz = 3": "stepz",
        good + "steps = 0": "of 1 at least",
        good + 'precision = "fp8"': "bf16 or fp32",
        good + "ema = 1.0": "ema",
        good + "learning_rate = nan": "positive learning_rate",
        good + "clip = 0.0": "positive clip",
        good + "seed = -1": "a seed of",
        good + "steps = " + "9" * 5000: "not a usable recipe",
        good + "[architecture]\nin_channels = 3": "from RAW to RGB",
        good + "[architecture]\nwidth = 5": "width",
        "name = ": "not a usable recipe",
        'name = "x"': "licence",
    }.items():
        path.write_text(text)
        with pytest.raises(lwisp.InputError, match=word):
            read_recipe(path)
    with pytest.raises(lwisp.InputError, match="cannot read"):
        read_recipe(tmp_path / "none.toml")
