import csv
import hashlib
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from statistics import mean
from typing import Any, get_args, get_type_hints

import pytest
import torch
from PIL import Image

import lwisp
from lwisp.architecture import LWISPConfig
from lwisp.baselines.config import BaselineConfig
from lwisp.cli.evaluate import reproduce
from lwisp.data import sources, synthetic
from lwisp.model import LWISP, count_params
from lwisp.training import runs, studies
from lwisp.training.estimate import step_seconds
from lwisp.training.loop import DivergedError
from lwisp.training.progress import Reporter
from lwisp.training.recipe import Recipe, read_recipe
from lwisp.training.runs import open_recipe_data
from lwisp.training.variants import STUDIES, Study, Variant
from lwisp.weights import InputConvention, load
from tests.conftest import ROOT, TOY

STUDY = Study(
    "A study of toys",
    (
        Variant("backbone", LWISPConfig(width=4, fgam=False, ccb=False), paper=20.92),
        Variant("all", TOY, ("up3",), paper=21.57),
    ),
    ((0, 1),),
)


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    made = synthetic.pictures(3, 0, 448, 448)
    synthetic.write_zurich(tmp_path / "toys", {"train": made[:2], "test": made[2:]})
    return Recipe(
        name="toy",
        licence="MIT",
        data="zurich",
        convention=InputConvention(white_balance="none", color="camera", exposure="none"),
        steps=3,
        batch=1,
        crop=64,
        scales=2,
        beta=0.01,
        precision="fp32",
        checkpoint_every=1,
        validate_every=1,
    )


@pytest.mark.slow
def test_a_study_trains_scores_and_tells(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STUDIES, "toy", STUDY)
    output, runs = tmp_path / "results", tmp_path / "runs"
    table = studies.reproduce("toy", recipe, tmp_path / "toys", output, seeds=2, runs=runs)
    text = table.read_text()
    assert "seeds 0, 1" in text
    with (output / "toy.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 2 * 1  # variants, seeds, pictures
    for label in ("backbone", "all"):
        score = mean(float(row["psnr"]) for row in rows if row["variant"] == label)
        line = next(line for line in text.splitlines() if line.startswith(f"| {label} |"))
        assert f"| {score:.2f} |" in line
    assert "| backbone < all | " in text
    assert "t over seeds" in text
    with Image.open(output / "toy.png") as plot:
        assert plot.size > (600, 400)
    (teacher,) = runs.glob("teacher-*.safetensors")  # one for both seeds
    scores = json.loads((Path(f"{teacher}.run") / "log.jsonl").read_text().splitlines()[-1])
    assert f"J -> J; a developer's from the RAW); one for all seeds: all: {scores['psnr_whole']:.2f}." in text
    facts = json.loads((output / "toy.json").read_text())
    assert [variant["label"] for variant in facts["variants"]] == ["backbone", "all"]
    assert facts["gains"][0]["over"]["scenes"]["p"] is None  # one scene
    assert "toy-table.tex" in {path.name for path in output.iterdir()}
    assert (output / "toy-table.csv").read_text().startswith("variant,params,")

    before = {path: path.stat().st_mtime_ns for path in runs.glob("*.safetensors")}
    again = studies.reproduce("toy", recipe, tmp_path / "toys", output, seeds=2, runs=runs)
    assert again.read_text() == text
    assert {path: path.stat().st_mtime_ns for path in runs.glob("*.safetensors")} == before


@pytest.mark.slow
def test_a_study_opens_its_data_once_and_trains_what_train_trains(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(STUDIES, "toy", STUDY)
    opened = []

    def counted(*given: Any) -> Any:
        opened.append(given)
        return sources.open_data(*given)

    monkeypatch.setattr(runs, "open_data", counted)
    folder = tmp_path / "runs"
    studies.reproduce("toy", recipe, tmp_path / "toys", tmp_path / "out", seeds=2, runs=folder)
    assert len(opened) == 1  # for two variants, two seeds and a teacher
    for seed in (0, 1):
        plan = replace(studies.plan_of(recipe, STUDY.variants[0], seed), root=tmp_path / "toys")
        alone = tmp_path / f"{seed}.safetensors"
        runs.train(plan, alone)
        assert load(alone).sha256 == load(folder / f"{studies._key(plan, 0)}.safetensors").sha256


@pytest.mark.slow
def test_networks_are_compared_at_equal_time(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    variants = (Variant("ours", TOY), Variant("SRCNN", BaselineConfig("srcnn"), paper=18.56))
    monkeypatch.setitem(STUDIES, "toy", Study("Networks", variants, clock=True, latency=True))
    monkeypatch.setattr(studies, "step_seconds", lambda plan, device: 2.0 if plan.architecture == TOY else 6.0)
    table = studies.reproduce("toy", recipe, tmp_path / "toys", tmp_path / "out", seeds=1, runs=tmp_path / "runs")
    assert table.read_text().startswith("# Networks, after about 1 minute of training\n")
    lines = table.read_text().partition("Gains are")[0].splitlines()
    titles = next(line for line in lines if line.startswith("| variant")).split(" | ")
    rows = [line.split(" | ") for line in lines if line.startswith(("| ours", "| SRCNN"))]
    assert [row[titles.index("steps")] for row in rows] == ["3", "1"]
    assert [row[titles.index("params")] for row in rows] == [f"{count_params(LWISP(TOY)):,}", "74,435"]
    assert float(rows[1][titles.index("ms at 224x224")]) > 0
    assert rows[1][-1] == "18.56 |"
    with Image.open(tmp_path / "out" / "toy-costs.png") as plot:
        assert plot.size > (600, 400)


def test_what_takes_too_long_gets_the_steps_that_fit(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studies, "step_seconds", lambda plan, device: 1800.0 if plan.architecture == TOY else 0.1)
    study = Study("Networks", (Variant("ours", TOY), Variant("other", BaselineConfig("srcnn"))))
    assert studies._budget(study, recipe, tmp_path, hours=1) == {"ours": 2, "other": 3}


def test_a_step_is_timed(recipe: Recipe) -> None:
    assert 0 < step_seconds(replace(recipe, architecture=TOY), rounds=1) < 60


def test_studies_name_every_row_of_table_5() -> None:
    rows = STUDIES["table5"].variants
    assert [(row.architecture, bool(row.distill)) for row in rows] == [
        (LWISPConfig(fgam=False, ccb=False), False),
        (LWISPConfig(ccb=False, attention="centered"), False),
        (LWISPConfig(fgam=False), False),
        (LWISPConfig(attention="centered"), False),
        (LWISPConfig(fgam=False), True),
        (LWISPConfig(attention="centered"), True),
    ]
    assert [row.paper for row in rows] == [20.92, 21.17, 21.28, 21.36, 21.40, 21.57]


def test_what_came_later_leaves_the_names_of_older_runs_as_they_are(recipe: Recipe) -> None:
    """Runs take hours, and are found again by these names."""
    plan = replace(recipe, root=Path(), architecture=LWISPConfig(width=8))
    architecture = {
        "in_channels": 4, "width": 8, "fgam": True, "ccb": True, "upsample": True, "attention": "add",
        "core_input": "sum", "contrast": "alone", "padding": "reflect",
    }  # fmt: skip
    defaults = asdict(Recipe(plan.name, plan.licence))
    given = {key: value for key, value in asdict(plan).items() if value != defaults[key] and key != "root"}
    content = json.dumps({**given, "architecture": architecture}, default=str, sort_keys=True)
    assert studies._key(plan, 0) == hashlib.sha256(content.encode()).hexdigest()[:12]
    other = replace(plan, architecture=LWISPConfig(width=8, out_channels=4, upsample=False))
    assert studies._key(other, 0) != studies._key(replace(other, architecture=LWISPConfig(width=8, upsample=False)), 0)


@pytest.mark.slow
def test_denoisers_are_compared_at_equal_time_from_scratch(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    for split in ("train", "val"):
        shutil.copytree(photos, root / split)
    for name in ("1.png", "2.png"):
        (root / "val" / name).unlink()
    small = LWISPConfig(width=4, in_channels=3, upsample=False, residual=True)
    variants = (Variant("ours", small), Variant("DnCNN", BaselineConfig("dncnn", "rgb")))
    monkeypatch.setitem(STUDIES, "toy", replace(STUDIES["denoise-clock"], variants=variants, latency=False))
    monkeypatch.setattr(studies, "step_seconds", lambda plan, device: 1.0 if plan.architecture == small else 2.0)
    recipe = Recipe("toy", "MIT", data="denoise", start="photo", steps=2, batch=1, crop=32, alpha=0, precision="fp32")
    table = studies.reproduce("toy", recipe, root, tmp_path / "out", seeds=1, runs=tmp_path / "runs").read_text()
    assert "| DnCNN | 558,336 |" in table
    assert (tmp_path / "out" / "toy.png").is_file()


def test_what_decides_a_run_decides_its_name(recipe: Recipe) -> None:
    keys = {
        studies._key(studies.plan_of(recipe, variant, seed), 1)
        for name in ("table5", "distillation")
        for variant in STUDIES[name].variants
        for seed in (1, 2)
    }
    assert len(keys) == 2 * (6 + 2)  # CCB without distillation, and with up2 to up4, stand in both studies


def test_unknown_studies_and_no_seeds_are_refused(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(lwisp.InputError, match="expected one of table5"):
        studies.reproduce("table9", recipe, tmp_path, tmp_path)
    with pytest.raises(lwisp.InputError, match="at least one seed"):
        studies.reproduce("table5", recipe, tmp_path, tmp_path, seeds=0)


def test_a_benchmark_is_made_of_photographs(photos: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        (tmp_path / "data" / split).mkdir(parents=True)
        for path in photos.iterdir():
            Image.open(path).resize((470, 460)).save(tmp_path / "data" / split / path.name)
    synthetic.synthesize("zurich", [tmp_path / "data"], tmp_path / "zurich")
    assert len(list((tmp_path / "zurich" / "train" / "huawei_raw").glob("*.png"))) == 3
    assert "Synthetic" in (tmp_path / "zurich" / "SYNTHETIC.txt").read_text()
    with pytest.raises(lwisp.InputError, match="exists already"):
        synthetic.synthesize("zurich", [tmp_path / "data"], tmp_path / "zurich")


def test_the_phone_is_dark_and_not_balanced() -> None:
    gray = torch.full((1, 3, 8, 8), 0.5)
    packed = synthetic.sense(gray, synthetic.AS_EVER, torch.Generator().manual_seed(0)).mean((0, 2, 3))
    assert float(packed[0] / packed[1]) == pytest.approx(1 / 2.0, rel=0.05)
    assert float(packed[3] / packed[1]) == pytest.approx(1 / 1.7, rel=0.05)


def test_a_crop_that_a_variant_cannot_be_distilled_from_is_refused_before_any_work(
    recipe: Recipe, tmp_path: Path
) -> None:
    plan = replace(recipe, crop=68)
    with pytest.raises(lwisp.InputError, match=r"does not fit 'down1 \+ down2 \+ down3': .* take 64 or 80"):
        studies.reproduce("distillation", plan, tmp_path / "toys", tmp_path / "results", runs=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_run_killed_after_its_weights_says_its_last_row_when_it_is_asked_for(recipe: Recipe, tmp_path: Path) -> None:
    plan = replace(recipe, root=tmp_path / "toys", architecture=TOY, beta=0.0, steps=2)
    runs = tmp_path / "runs"
    runs.mkdir()
    studied = studies._Studied(plan, runs, "cpu", open_recipe_data(plan, runs), Reporter())
    first = studied.weights(plan, "toy")
    (log,) = runs.glob("*.run/log.jsonl")
    rows = log.read_text()
    for left in ("", rows.splitlines(keepends=True)[0], rows[:-5]):
        log.write_text(left)
        again = studied.weights(plan, "toy")
        assert again.sha256 == first.sha256
        assert [json.loads(row)["step"] for row in log.read_text().splitlines()][-1] == 2
        assert "psnr_whole" in json.loads(log.read_text().splitlines()[-1])


def test_the_command_offers_every_study() -> None:
    annotation = get_type_hints(reproduce)["study"]
    assert sorted(get_args(annotation)) == sorted([*STUDIES, "table3"])


@pytest.mark.parametrize(
    "name", ["fgam", "dilation", "plug-in", "alpha", "beta", "lr", "blocks", "table1", "table1-again"]
)
def test_the_recipe_of_the_ablations_fits_every_row(name: str) -> None:
    study, recipe = STUDIES[name], read_recipe(ROOT / "recipes" / "ablation.toml")
    plans = [studies.plan_of(recipe, variant, 1) for variant in study.variants]
    assert len({studies._key(plan, 1) for plan in plans}) == len(plans)
    assert len({variant.label for variant in study.variants}) == len(plans)
    assert {row for pair in study.order for row in pair} <= set(range(len(plans)))


def test_table_4_fits_a_recipe_for_denoising_and_tells_its_dataset(recipe: Recipe) -> None:
    study = STUDIES["table4"]
    given = read_recipe(ROOT / "recipes" / "denoise-study.toml")
    assert {studies.plan_of(given, variant, 1).architecture.takes for variant in study.variants} == {"rgb"}
    assert (study.printed_for, STUDIES["fgam"].printed_for) == ("SIDD", "Zurich")


@pytest.mark.slow
def test_rows_of_section_4_3_are_trained_and_printed(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (*STUDIES["fgam"].variants[6:], STUDIES["dilation"].variants[3])
    small = tuple(replace(row, architecture=replace(row.architecture, width=4)) for row in rows)  # type: ignore[arg-type]
    monkeypatch.setitem(STUDIES, "toy", Study("Rows", small))
    plan = replace(recipe, steps=1)
    text = studies.reproduce(
        "toy", plan, tmp_path / "toys", tmp_path / "out", seeds=1, runs=tmp_path / "runs"
    ).read_text()
    for row in small:
        assert f"| {row.label} | {count_params(LWISP(row.architecture)):,} |" in text  # type: ignore[arg-type]


def test_test_pictures_too_small_to_score_are_refused_before_any_training(photos: Path, tmp_path: Path) -> None:
    for split in ("train", "val"):
        shutil.copytree(photos, tmp_path / "root" / split)
    with Image.open(photos / "0.png") as picture:
        picture.crop((0, 0, 192, 160)).save(tmp_path / "root" / "val" / "0.png")
    recipe = Recipe("toy", "MIT", data="denoise", steps=1, batch=1, crop=32, alpha=0, precision="fp32")
    with pytest.raises(lwisp.InputError, match=r"0.*: expected test pictures of 161 px at least .*, got 160x192"):
        studies.reproduce("denoise-residual", recipe, tmp_path / "root", tmp_path / "out", runs=tmp_path / "runs")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_each_network_learns_at_the_best_of_the_rates_tried_on_held_out_scenes(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    variants = (Variant("ours", TOY), Variant("backbone", LWISPConfig(width=4, fgam=False, ccb=False)))
    study = Study("Rates", variants, equal=True, rates=(1e-6, 1e-2))
    monkeypatch.setitem(STUDIES, "toy", study)
    asked: list[int] = []

    def score(cases: list[Any], develop: Any) -> float:
        assert {case.name for case in cases} == {"1"}  # of the training pairs
        asked.append(len(cases))
        return {1: 20.0, 2: 25.0, 3: 30.0, 4: 21.0}[len(asked)]

    monkeypatch.setattr(studies, "_mean_psnr", score)
    runs, plan = tmp_path / "runs", replace(recipe, steps=5)
    text = studies.reproduce("toy", plan, tmp_path / "toys", tmp_path / "out", seeds=1, runs=runs).read_text()
    assert "| ours | 20.00 | 25.00 | 0.01 |" in text
    assert "| backbone | 30.00 | 21.00 | 1e-06 |" in text
    assert "learning rate of each network's own" in text
    assert len(list(runs.glob("trial-*.safetensors"))) == 4
    trained = [json.loads((path / "run.json").read_text())["recipe"] for path in runs.glob("*.run")]
    rates = {(one["steps"], one["learning_rate"], one["architecture"]["fgam"]) for one in trained}
    assert rates == {(1, rate, fgam) for rate in (1e-6, 1e-2) for fgam in (True, False)} | {
        (5, 1e-2, True), (5, 1e-6, False)
    }  # fmt: skip
    facts = json.loads((tmp_path / "out" / "toy.json").read_text())
    assert facts["variants"][0]["psnr_by_rate"] == {"1e-06": 20.0, "0.01": 25.0}
    told = capsys.readouterr().err
    assert "trials of learning rates: 4 runs to train" in told
    assert "after them: 2 runs to train" in told


def test_a_rate_at_which_a_network_diverges_is_left_out_and_told(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = replace(recipe, root=tmp_path / "toys", steps=5, beta=0.0)
    study = Study("Rates", (Variant("ours", TOY),), rates=(1e-3, 9.0))
    data = open_recipe_data(plan, tmp_path)
    weights = load("photo")

    def learn(self: Any, one: Recipe, label: str) -> Any:
        if one.learning_rate > worst:
            raise DivergedError("the loss is nan at step 1")
        return weights

    monkeypatch.setattr(studies._Studied, "weights", learn)
    monkeypatch.setattr(studies, "_mean_psnr", lambda cases, develop: 20.0)
    monkeypatch.setattr(studies, "step_seconds", lambda plan, device: 1.0)
    studied = studies._Studied(plan, tmp_path, "cpu", data, Reporter(quiet=True))
    worst = 1.0
    assert studies._try_rates(study, studied, {"ours": 5}, 1) == {"ours": {1e-3: 20.0}}
    worst = 0.0
    with pytest.raises(lwisp.InputError, match=r"ours: diverged at every one of 0\.001, 9"):
        studies._try_rates(study, studied, {"ours": 5}, 1)


def test_equal_steps_are_those_of_the_slowest(recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "step_seconds", lambda plan, device: 1800.0 if plan.architecture == TOY else 0.1)
    study = Study("Networks", (Variant("ours", TOY), Variant("other", BaselineConfig("srcnn"))), equal=True)
    assert studies._budget(study, recipe, tmp_path, hours=1) == {"ours": 2, "other": 2}


def test_table_1_again_fits_its_recipe() -> None:
    study, given = STUDIES["table1-again"], read_recipe(ROOT / "recipes" / "study-table1.toml")
    plans = {row.label: studies.plan_of(given, row, 1) for row in study.variants}
    assert given.crop == 256
    assert [label for label, plan in plans.items() if plan.by_level] == ["PyNET, by level", "PyNET-CA, by level"]
    assert [row.architecture for row in STUDIES["table1"].variants] == [
        row.architecture for row in study.variants if "not the paper's" not in row.label
    ]
    colored = next(plan.architecture for label, plan in plans.items() if "not the paper's" in label)
    plain = plans["LW-ISP"].architecture
    assert isinstance(colored, LWISPConfig)
    assert isinstance(plain, LWISPConfig)
    assert 0 < count_params(LWISP(colored)) - count_params(LWISP(plain)) < 20_000
    assert not any("learning_rate" in row.changes for row in study.variants)
