from dataclasses import replace
from pathlib import Path

import pytest

import lwisp
from lwisp.training.recipe import Recipe, learning_rate, read_recipe, read_stages
from lwisp.weights import load
from tests.conftest import ROOT, refusal


def test_the_learning_rate_rises_stays_and_falls(recipe: Recipe) -> None:
    plan = replace(recipe, steps=100, warmup=10, decay=0.5, learning_rate=1.0, schedule="linear")
    rates = [learning_rate(plan, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:51] == [1.0] * 42
    assert rates[75] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.02)
    curve = [learning_rate(replace(plan, schedule="cosine"), step) for step in range(100)]
    assert curve[:51] == rates[:51]
    assert curve[75] == pytest.approx(0.5)
    assert curve[90] == pytest.approx((1 - 0.8090170) / 2)  # cos(36 degrees)


def test_the_recipe_of_the_shipped_weights_is_the_one_on_their_card() -> None:
    recipe = read_stages(ROOT / "recipes" / "photo.toml")[-1]
    card = load("photo").card.training["recipe"]
    for key in ("steps", "batch", "crop", "seed", "learning_rate", "warmup", "decay", "clip", "ema"):
        assert card[key] == getattr(recipe, key)


def test_a_stage_says_what_differs_from_what_stands_above(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('name = "a"\nlicence = "MIT"\nsteps = 9\n[[stage]]\nseed = 1\n[[stage]]\nsteps = 4\n')
    stages = read_stages(path)
    assert [(stage.seed, stage.steps, stage.name) for stage in stages] == [(1, 9, "a"), (0, 4, "a")]
    assert "expected a recipe of one stage, got 2" in refusal(path, read_recipe, path)
    for wrong, said in (
        ("[[stage]]\n[[stage]]\nstart='photo'", "only the first stage"),
        ("stage = 3", "[[stage]] tables"),
    ):
        path.write_text(f'name = "a"\nlicence = "MIT"\n{wrong}\n')
        assert said in refusal(path, read_stages, path)


def test_every_recipe_of_the_project_reads() -> None:
    names = {path.stem: read_stages(path)[-1] for path in (ROOT / "recipes").glob("*.toml")}
    assert set(names) >= {"zurich", "mai21", "sidd", "lol", "photo", "tiny"}
    assert (names["zurich"].learning_rate, names["zurich"].alpha) == (8e-5, 0.4)
    assert names["zurich"].distill == ("up2", "up3", "up4")


def test_wrong_recipes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    good = 'name = "x"\nlicence = "MIT"\nalpha = 0\n'
    for text, word in {
        good + "stepz = 3": "stepz",
        good + "steps = 0": "of 1 at least",
        good + 'precision = "fp8"': "bf16",
        good + 'data = "imagenet"': "zurich",
        good + 'distill = ["up5"]': "distill out of down1",
        good + "gamma = 0\nbeta = 0.1\ndistill = []": "blocks to distill",
        good + "scales = 6": "1 to 5 scales",
        good + 'gamma = 0\nbeta = 0.1\ncrop = 200\ndistill = ["up4", "down4"]': "of 32 px .* got 200; take 192 or 224",
        good + "gamma = 0\nbeta = 0.1\ncrop = 50": "of 4 px to distill up2, up3, up4, .* take 48 or 52",
        'name = "x"\nlicence = "MIT"\ncrop = 96': "a crop of 161 px at least for 5 scales",
        good + "ema = 1.0": "ema",
        good + "learning_rate = nan": "positive learning_rate",
        good + "clip = 0.0": "positive clip",
        good + "seed = -1": "a seed of",
        good + "steps = " + "9" * 5000: "not a usable recipe",
        good + "[architecture]\nwidth = 5": "width",
        "name = ": "not a usable recipe",
        'name = "x"': "licence",
    }.items():
        path.write_text(text)
        with pytest.raises(lwisp.InputError, match=word):
            read_recipe(path)
    with pytest.raises(lwisp.InputError, match="cannot read"):
        read_recipe(tmp_path / "none.toml")


@pytest.mark.parametrize("name", ["tiny", "tiny.toml", "recipes/tiny.toml", "recipes/tiny"])
def test_recipes_of_lwisp_are_found_by_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_stages(Path(name)) == read_stages(ROOT / "recipes" / "tiny.toml")


def test_ones_own_recipe_goes_before_that_of_lwisp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text('name = "mine"\nlicence = "MIT"\ndata = "synthetic"\n')
    assert read_stages(Path("tiny.toml"))[0].name == "mine"
    Path("broken.toml").symlink_to("nowhere")
    with pytest.raises(lwisp.InputError, match=r"broken\.toml: cannot read the recipe"):
        read_stages(Path("broken.toml"))


def test_who_names_a_recipe_that_there_is_not_is_told_which_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(lwisp.InputError, match=r"tyni: there is no such file, and no such recipe .* tiny, zurich"):
        read_stages(Path("tyni"))
    for elsewhere in (tmp_path / "tiny.toml", Path("mine/tiny.toml"), Path("tiny.json"), Path("../tiny")):
        with pytest.raises(lwisp.InputError, match="cannot read the recipe"):
            read_stages(elsewhere)
