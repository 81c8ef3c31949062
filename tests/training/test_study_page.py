import json
from dataclasses import replace
from pathlib import Path

import pytest

from lwisp.errors import InputError
from lwisp.files.report import Table, to_csv, to_latex
from lwisp.files.writing import write_csv
from lwisp.imaging.significance import gain_of
from lwisp.training.recipe import Recipe
from lwisp.training.study_page import Cost, Result, Row, facts, gains, gains_table, page, read_rows
from lwisp.training.variants import Study, Variant
from tests.conftest import refusal

STUDY = Study("A study", (Variant("none", paper=20.92), Variant("block"), Variant("other")), ((0, 1),))


def row(variant: str, seed: int, scene: str, picture: str, fitted: float) -> Row:
    return Row(variant, seed, picture, scene, round(fitted - 1, 6), round(fitted, 6), 0.9, 0.9, 0.1, 2.0)


def rows(gain_by_scene: dict[str, float], seeds: int = 4, squares: int = 6) -> list[Row]:
    """Six squares a scene; the block gains what is given, and a little more with every seed; "other" gains nothing."""
    made = []
    for seed in range(seeds):
        for scene, gain in gain_by_scene.items():
            for square in range(squares):
                base = 25 + seed + square
                for variant, more in (("none", 0.0), ("block", gain + 0.01 * seed), ("other", 0.01 * (seed - 1.5))):
                    made.append(row(variant, seed, scene, f"{scene}{square}", base + more))
    return made


def result(found: list[Row]) -> Result:
    costs = [Cost(1000, 10**9), Cost(2000, 2 * 10**9), Cost(3000, 10**9)]
    recipe = Recipe("toy", "MIT", root=Path("data/toys"))
    steps = dict.fromkeys(("none", "block", "other"), 100)
    return Result("toy", STUDY, found, recipe, 9, steps, costs, {"block": 31.234})


def test_scenes_not_their_squares_are_the_units() -> None:
    made = rows({"a": 0.5, "b": 0.3, "c": 0.4})
    over_seeds, over_scenes = gains(made, "none", "block", "psnr_fitted")
    assert (over_seeds.count, over_scenes.count) == (4, 3)
    by_hand = gain_of([0.5 + 0.015, 0.3 + 0.015, 0.4 + 0.015])
    assert over_scenes.p == pytest.approx(by_hand.p, rel=1e-6)
    assert over_seeds.mean == pytest.approx(over_scenes.mean) == pytest.approx(0.415)
    doubled = [*made, *(replace(row, picture=f"{row.picture} again") for row in made)]
    assert gains(doubled, "none", "block", "psnr_fitted")[1].p == pytest.approx(by_hand.p, rel=1e-6)


def test_a_scene_of_one_picture_counts_as_much_as_one_of_six() -> None:
    made = rows({"a": 1.0, "b": 0.0}, seeds=1)
    few = [row for row in made if row.scene == "a" or row.picture == "b0"]
    assert gains(few, "none", "block", "psnr")[1].mean == pytest.approx(0.5)


def test_a_gain_in_one_of_three_scenes_is_not_shown_however_many_seeds() -> None:
    made = rows({"a": 3.0, "b": 0.1, "c": 0.05}, seeds=8)
    over_seeds, over_scenes = gains(made, "none", "block", "psnr_fitted")
    assert over_seeds.p < 0.001
    assert over_scenes.p > 0.05
    lines = gains_table(STUDY, made).rows
    assert lines[0][0] == "none < block"
    assert lines[0][-1] == "not shown"


def test_verdicts_name_the_papers_order_or_who_is_ahead() -> None:
    lines = gains_table(STUDY, rows({"a": 0.5, "b": 0.45, "c": 0.4}, seeds=8)).rows
    assert [line[0] for line in lines] == ["none < block"] * 2 + ["none to other"] * 2
    assert [line[-1] for line in lines] == ["holds", "holds", "not shown", "not shown"]
    flipped = gains_table(replace(STUDY, order=((1, 0),)), rows({"a": 0.5, "b": 0.45, "c": 0.4}, seeds=8)).rows
    assert flipped[0][-1] == "does not hold"
    free = gains_table(replace(STUDY, order=()), rows({"a": 0.5, "b": 0.45, "c": 0.4}, seeds=8)).rows
    assert free[0][-1] == "ahead"


def test_one_seed_shows_nothing() -> None:
    line = gains_table(STUDY, rows({"a": 0.5, "b": 0.45, "c": 0.4}, seeds=1)).rows[0]
    assert line[3:6] == ["-", "-", "-"]
    assert line[-1] == "not shown, one seed"


def test_variants_of_unlike_scenes_are_not_compared() -> None:
    made = [row for row in rows({"a": 0.5, "b": 0.4}) if row.variant == "none" or row.scene == "a"]
    with pytest.raises(InputError, match="the same seeds on the same scenes"):
        gains(made, "none", "block", "psnr")


def test_the_page_says_units_guides_and_the_fitted_score_first() -> None:
    text = page(result(rows({"a": 0.5, "b": 0.45, "c": 0.4}, seeds=2)))
    assert "18 test pictures of 3 scenes" in text
    assert "J -> J; a developer's from the RAW); one for all seeds: block: 31.23." in text
    assert text.index("PSNR dB, colors fitted") < text.index("| PSNR dB |")
    assert "p < 0.05" in text
    assert "| 20.92 |" in text


def test_tables_are_written_for_programs_and_for_papers() -> None:
    told = json.loads(json.dumps(facts(result(rows({"a": 0.5, "b": 0.45}, seeds=1))), allow_nan=False))
    assert told["gains"][0]["over"]["seeds"] == {
        "mean": pytest.approx(0.475), "count": 1, "t": None, "p": None, "low": None, "high": None,
    }  # fmt: skip
    assert told["variants"][1]["imitates_psnr"] == 31.234
    table = Table(["variant", "50 % & more"], [["a_b < c", "±0.1"]])
    assert to_csv(table) == "variant,50 % & more\na_b < c,±0.1\n"
    lines = to_latex(table).splitlines()
    assert lines[0] == r"\begin{tabular}{lr}"
    assert lines[2] == r"variant & 50 \% \& more \\"
    assert lines[4] == r"a\_b $<$ c & $\pm$0.1 \\"


def test_rows_are_read_as_they_were_written(tmp_path: Path) -> None:
    made = rows({"a": 0.5})
    write_csv(tmp_path / "toy.csv", made)
    assert read_rows(tmp_path / "toy.csv") == made
    (tmp_path / "old.csv").write_text("variant,seed,picture,psnr\na,1,0,20\n")
    assert "expected the columns variant, seed, picture, scene" in refusal(
        tmp_path / "old.csv", read_rows, tmp_path / "old.csv"
    )
