"""Reproduces the paper's comparisons: every variant under one budget; a page, tables, curves, per-image scores.

Files of runs are named by a digest of what decides them, so studies share runs, and an interrupted study goes on.
"""

import hashlib
import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lwisp.architecture import STUDIED, LWISPConfig
from lwisp.baselines.build import build
from lwisp.baselines.config import Architecture
from lwisp.data.cases import Case
from lwisp.data.crops import Crops
from lwisp.data.sources import Data
from lwisp.engines.cost import count_macs, measure_latency
from lwisp.engines.tensors import run_network
from lwisp.errors import InputError
from lwisp.files.optional import need
from lwisp.files.report import is_page, to_csv, to_latex
from lwisp.files.runs import run_folder
from lwisp.files.writing import check_outputs, make_folder, write_csv, write_text, write_whole
from lwisp.imaging import metrics, scores
from lwisp.model import LWISP, count_params
from lwisp.training.devices import Device, accelerator_of
from lwisp.training.estimate import hours_of, in_words, step_seconds
from lwisp.training.guides import Guide
from lwisp.training.initialization import initialize
from lwisp.training.log import last_step
from lwisp.training.loop import DivergedError
from lwisp.training.objectives import teacher_of
from lwisp.training.progress import Reporter
from lwisp.training.recipe import Recipe
from lwisp.training.runs import UNTRAINED, guide_of, open_recipe_data, train, train_teacher
from lwisp.training.study_page import Cost, Result, Row, facts, gains_table, page, rates_tables, scores_table
from lwisp.training.variants import STUDIES, UP, Study, Variant
from lwisp.weights import Weights, load

COST_SIZE = (224, 224)
"""Height and width of the packed planes that costs are given for, as in Table 3."""
DEFAULT_BETA = 0.001
"""Weight of the distillation loss of variants that distill, where the recipe does not."""
ADDED_LATER = {"out_channels": 3, "residual": False, "look": 0, "takes": "raw", "cell": 2, "detail": 0, **STUDIED}
"""Fields of an architecture that came after the first runs, with the values that these runs had without saying so."""
TRIAL = 5
"""Steps of a run over those of the runs that choose its learning rate."""
FILES = (".md", ".csv", ".png", "-costs.png", "-table.csv", "-table.tex", ".json")
"""Ends of the names of a study's files; the page comes first."""


def reproduce(
    name: str,
    recipe: Recipe,
    root: Path,
    output: Path,
    seeds: int = 8,
    runs: Path = Path("runs"),
    device: Device = "auto",
    hours: float = math.inf,
    reporter: Reporter | None = None,
) -> Path:
    """Train and score every variant of a study; write its page, tables, plots and per-image scores.

    Writes `NAME.md`, `NAME.csv` (every picture), `NAME.png` (validation curves), `NAME-table.csv`, `NAME-table.tex`,
    `NAME.json`, and `NAME-costs.png` where latencies are measured. Runs are kept in `runs` and shared by studies; an
    interrupted study goes on where it stopped. How long it will take is told before the first run. Where a study has
    `rates`, they are tried first, for a fifth of the steps, on training pairs of which every tenth scene is held out.

    Args:
        name: one of `STUDIES`.
        recipe: data and budget of every run; the width of its network, beside the default, is that of every LW-ISP.
        root: folder of the data.
        output: folder for the page and the tables.
        seeds: runs per variant, from the recipe's seed on; a teacher is trained from the first alone.
        runs: folder of the runs.
        device: what to train on.
        hours: a run that would take longer here gets the steps that fit, and the page says so; in a study of equal
            steps all runs get those of the slowest.
        reporter: told what is being done; where it is left out, bars are shown on a terminal and no lines elsewhere.

    Returns:
        Path of the page.

    Raises:
        InputError: for an unknown study, a recipe that does not fit it, and whatever `train` raises.
    """
    if name not in STUDIES:
        raise InputError(f"unknown study {name!r}; expected one of {', '.join(STUDIES)}")
    if seeds < 1:
        raise InputError(f"expected at least one seed, got {seeds}")
    reporter = reporter or Reporter()
    study = STUDIES[name]
    recipe = replace(recipe, root=root)
    if study.clock:
        recipe = replace(recipe, start=None)  # other networks cannot start from its weights
    if recipe.data == "synthetic":
        raise InputError("a study needs pictures to learn from; `lwisp synthesize` makes a benchmark of photographs")
    for variant in study.variants:
        plan_of(recipe, variant, recipe.seed)  # refused before any work
    reporter.tell(f"{name}: reading the data")
    data = open_recipe_data(recipe, runs)
    cases = list(data.cases(limit=None))
    for case in cases:
        _check_size(case)
    make_folder(output)
    check_outputs(output, [name + end for end in FILES], True, lambda path: is_page(path, study.title))
    make_folder(runs)
    reporter.tell(f"{name}: measuring the seconds of a step")
    steps = _budget(study, recipe, runs, hours, device)
    studied = _Studied(recipe, runs, device, data, reporter)
    rates: dict[str, dict[float, float]] = {}
    if study.rates:
        rates = _try_rates(study, studied, steps, seeds)
        best = {label: max(found, key=found.__getitem__) for label, found in rates.items()}
        study = replace(study, variants=tuple(_at_rate(one, best[one.label]) for one in study.variants))
    reporter.note(f"{name}: {studied.outlook(study, steps, seeds)}")
    rows: list[Row] = []
    curves: dict[str, list[list[tuple[int, float]]]] = {}
    for seed in range(recipe.seed, recipe.seed + seeds):
        data.seed = seed
        for variant in study.variants:
            plan = plan_of(replace(recipe, steps=steps[variant.label]), variant, seed)
            label = f"{variant.label}, seed {seed}"
            weights = studied.weights(plan, label)
            reporter.tell(f"{label}: scoring")
            rows += [_score(variant.label, seed, weights, case) for case in cases]
            log = (run_folder(studied.file(plan)) / "log.jsonl").read_text(encoding="utf-8").splitlines()
            points = [json.loads(line) for line in log]
            curves.setdefault(variant.label, []).append(_curve(points))
    reporter.tell(f"{name}: scoring what is imitated")
    guides = {}
    for variant in study.variants:
        plan = plan_of(replace(recipe, steps=steps[variant.label]), variant, recipe.seed)
        if plan.beta:
            guides[variant.label] = _score_guide(studied.guide(plan), cases)
    reporter.tell(f"{name}: measuring costs")
    networks = [plan_of(recipe, variant, recipe.seed).architecture for variant in study.variants]
    costs = [_cost(architecture) for architecture in networks]
    if study.latency:
        seconds = measure_latency([build(one) for one in networks], (1, networks[0].in_channels, *COST_SIZE))
        costs = [replace(cost, seconds=value) for cost, value in zip(costs, seconds, strict=True)]
    time = hours_of(_kept_seconds(recipe, study.variants[0], runs, device), recipe.steps) if study.clock else None
    result = Result(name, study, rows, recipe, len(data.names), steps, costs, guides, rates, time)
    write_text(output / f"{name}.md", page(result))  # first: it tells that the others are ours
    write_csv(output / f"{name}.csv", rows)
    tables = [scores_table(result), *rates_tables(result), gains_table(study, rows)]
    write_text(output / f"{name}-table.csv", "\n".join(map(to_csv, tables)))
    write_text(output / f"{name}-table.tex", "\n".join(map(to_latex, tables)))
    write_text(output / f"{name}.json", json.dumps(facts(result), indent=1) + "\n")
    _plot(output / f"{name}.png", study.title, curves)
    if study.latency:
        _plot_costs(output / f"{name}-costs.png", study, rows, costs)
    return output / f"{name}.md"


def _curve(points: list[dict[str, Any]]) -> list[tuple[int, float]]:
    """Steps and PSNR of held-out middles, averaged over kinds where there are several."""
    curve = []
    for point in points:
        scores = [value for name, value in point.items() if name.startswith("psnr") and not name.endswith("_whole")]
        if scores:
            curve.append((point["step"], statistics.mean(scores)))
    return curve


def _check_size(case: Case) -> None:
    height, width = case.target.shape[-2:]
    smallest = metrics.smallest_side(len(metrics.MS_SSIM_WEIGHTS))
    if min(height, width) < smallest:
        raise InputError(
            f"{case.name}: expected test pictures of {smallest} px at least along each side, which MS-SSIM needs, got "
            f"{height}x{width}"
        )


def plan_of(recipe: Recipe, variant: Variant, seed: int) -> Recipe:
    """The recipe of one run. A variant distills with the recipe's beta, or not at all.

    Args:
        recipe: data and budget; the width of its network, beside the default, is that of every LW-ISP.
        variant: what it changes.
        seed: of the run.

    Raises:
        InputError: where the recipe does not fit the variant.
    """
    beta = (recipe.beta or DEFAULT_BETA) if variant.distill else 0.0
    architecture = variant.architecture
    changes: dict[str, Any] = {"seed": seed, "beta": beta, "distill": variant.distill or UP}
    try:
        if isinstance(architecture, LWISPConfig) and isinstance(recipe.architecture, LWISPConfig):
            width = architecture.width * recipe.architecture.width // LWISPConfig().width
            architecture = replace(architecture, width=width)
        return replace(recipe, **{**changes, "architecture": architecture, **variant.changes})
    except ValueError as error:
        raise InputError(f"the recipe does not fit {variant.label!r}: {error}") from error


@dataclass(frozen=True)
class _Studied:
    """The runs of a study: found in their folder, or trained."""

    recipe: Recipe
    """Of the study; the seed of its teachers is this one's."""
    runs: Path
    device: Device
    data: Data
    reporter: Reporter
    is_trial: bool = False
    """Whether scenes of the training pairs are held out, in place of the test pairs."""

    def weights(self, plan: Recipe, label: str) -> Weights:
        """The weights of one run, trained unless they are there already."""
        path = self.file(plan)
        if _is_done(path, plan.steps):
            return load(path)
        if plan.beta and plan.guide in ("target", "another"):
            plan = replace(plan, teacher=str(self.teacher(plan, label)))
        self.reporter.note(f"{label} -> {path}")
        train(plan, path, device=self.device, data=self.data, reporter=self.reporter)
        return load(path)

    def file(self, plan: Recipe) -> Path:
        """Where the weights of a run lie."""
        return self.runs / f"{'trial-' if self.is_trial else ''}{_key(plan, self.recipe.seed)}.safetensors"

    def teacher(self, plan: Recipe, label: str) -> Path:
        """The file of a run's teacher, trained unless it is there already: one for all seeds, shared by variants."""
        learned = _teacher_plan(plan, self.recipe.seed)
        teacher = self.runs / f"teacher-{_key(replace(learned, beta=0.0), self.recipe.seed)}.safetensors"
        if not teacher.exists():
            self.reporter.note(f"teacher of {label} -> {teacher}")
            seed, self.data.seed = self.data.seed, self.recipe.seed
            train_teacher(learned, teacher, device=self.device, data=self.data, reporter=self.reporter)
            self.data.seed = seed
        return teacher

    def guide(self, plan: Recipe) -> Guide:
        """What a run imitates, with its teacher before its own picture."""
        if plan.guide == "untrained":
            network = LWISP(teacher_of(plan.architecture))
            initialize(network, UNTRAINED)
            return Guide(network)
        if plan.guide == "another":
            plan = replace(plan, guide="target")
        name = plan.teacher if plan.guide == "raw" else str(self.teacher(plan, "the page"))
        assert name is not None
        return guide_of(plan, load(name), name, self.data.convention)

    def outlook(self, study: Study, steps: dict[str, int], seeds: int) -> str:
        """How many runs are to be trained, and about how long that takes here, in words."""
        count, hours, longest = 0, 0.0, (0.0, "")
        teachers: set[str] = set()
        for variant in study.variants:
            shown = plan_of(replace(self.recipe, steps=steps[variant.label]), variant, self.recipe.seed)
            plans = [replace(shown, seed=seed) for seed in range(shown.seed, shown.seed + seeds)]
            missing = [plan for plan in plans if not _is_done(self.file(plan), plan.steps)]
            seconds = _kept_seconds(self.recipe, variant, self.runs, self.device) if missing else 0.0
            count += len(missing)
            hours += hours_of(seconds, len(missing) * shown.steps)
            longest = max(longest, (hours_of(seconds, shown.steps), variant.label))
            if missing and shown.beta and shown.guide in ("target", "another"):
                learned = _teacher_plan(shown, shown.seed)
                name = _key(replace(learned, beta=0.0), shown.seed)
                if name not in teachers and not (self.runs / f"teacher-{name}.safetensors").exists():
                    hours += hours_of(seconds, learned.teacher_steps or learned.steps)
                teachers.add(name)
        runs = "1 run" if count == 1 else f"{count} runs"
        worst = f", the longest {longest[1]}, {in_words(longest[0])}" if count > 1 else ""
        return (
            f"{runs} to train, {in_words(hours)} here{worst}; reading data, and a teacher's part of a step, not counted"
        )


def _at_rate(variant: Variant, rate: float) -> Variant:
    return replace(variant, changes={**variant.changes, "learning_rate": rate})


def _try_rates(study: Study, studied: _Studied, steps: dict[str, int], seeds: int) -> dict[str, dict[float, float]]:
    """PSNR in dB of held-out training scenes, by a variant's label and learning rate; rates that diverge are left out.

    Raises `InputError` where all of a variant's do, and for data that are not aligned pairs.
    """
    data, reporter = studied.data, studied.reporter
    if not isinstance(data, Crops):
        raise InputError("this study chooses learning rates on scenes of its training pairs; expected data of pairs")
    trial = replace(studied, data=data.within_train(), is_trial=True)
    short = {label: max(1, count // TRIAL) for label, count in steps.items()}
    tried = [(variant, rate) for variant in study.variants for rate in study.rates]
    trials = replace(study, variants=tuple(_at_rate(*one) for one in tried))
    reporter.note(f"trials of learning rates: {trial.outlook(trials, short, 1)}")
    reporter.note(f"after them: {studied.outlook(study, steps, seeds)}")
    cases = list(trial.data.cases())
    found: dict[str, dict[float, float]] = {}
    for variant, rate in tried:
        label = f"{variant.label} at {rate:g}"
        plan = plan_of(
            replace(studied.recipe, steps=short[variant.label]), _at_rate(variant, rate), studied.recipe.seed
        )
        known = found.setdefault(variant.label, {})
        try:
            weights = trial.weights(plan, label)
        except DivergedError as error:
            reporter.note(f"{label}: {error}")
            continue
        reporter.tell(f"{label}: scoring")
        known[rate] = _mean_psnr(cases, partial(_develop, weights))
    diverged = [label for label, known in found.items() if not known]
    if diverged:
        raise InputError(f"{diverged[0]}: diverged at every one of {', '.join(f'{rate:g}' for rate in study.rates)}")
    return found


def _is_done(path: Path, steps: int) -> bool:
    """Whether weights are there, and their run was not killed before it wrote its last row."""
    folder = run_folder(path)
    return path.exists() and not ((folder / "state.pt").exists() and last_step(folder / "log.jsonl") < steps)


def _teacher_plan(plan: Recipe, seed: int) -> Recipe:
    """The plan of a run's teacher, without what leaves the teacher as it is: the student's losses and its guide."""
    plain = Recipe(plan.name, plan.licence)
    same = ("guide", "distill_normalized", "distill_share", "distill_fade")
    as_it_is = {field: getattr(plain, field) for field in same}
    return replace(plan, seed=seed, distill=UP, alpha=0.0, teacher=None, **as_it_is)


def _key(plan: Recipe, teacher_seed: int) -> str:
    """Digest of what decides a run, by which its files are found again.

    Only fields that differ from a recipe's defaults count, so that new fields leave older runs' names as they are. The
    folder of the data and the teacher's file do not count, but for weights that are imitated on the RAW; the seed of
    the teacher counts where it is another than the run's.
    """
    given = _decisive_fields(plan)
    default = _decisive_fields(Recipe(plan.name, plan.licence))
    changed = {key: value for key, value in given.items() if value != default[key]}
    if plan.beta and plan.guide in ("target", "another") and teacher_seed != plan.seed:
        changed["teacher_seed"] = teacher_seed
    content = json.dumps(changed, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _decisive_fields(recipe: Recipe) -> dict[str, Any]:
    teacher = recipe.teacher if recipe.guide == "raw" else None
    fields = replace(recipe, root=Path(), teacher=teacher).to_json()
    architecture = fields["architecture"].items()
    fields["workers"] = fields["workers"] or None  # none at all, as recipes had it that did not say it
    fields["architecture"] = {key: value for key, value in architecture if (key, value) not in ADDED_LATER.items()}
    return fields


def _develop(weights: Weights, case: Case) -> Tensor:
    return run_network(weights.network, case.planes, "fp32", "torch")


def _score(label: str, seed: int, weights: Weights, case: Case) -> Row:
    rgb = _develop(weights, case)
    return Row(label, seed, case.name, case.scene or case.name, **scores.score(rgb, case.target))


def _score_guide(guide: Guide, cases: Sequence[Case]) -> float:
    """Mean PSNR in dB of what a guide makes of the test pictures, over scenes."""
    return _mean_psnr(cases, lambda case: guide.picture(case.planes[None], case.target[None])[0])


def _mean_psnr(cases: Sequence[Case], develop: Callable[[Case], Tensor]) -> float:
    """Mean PSNR in dB over scenes, of what is made of each case."""
    found: dict[str, list[float]] = {}
    for case in cases:
        found.setdefault(case.scene or case.name, []).append(metrics.psnr(develop(case), case.target))
    return statistics.fmean(map(statistics.fmean, found.values()))


def _budget(study: Study, recipe: Recipe, runs: Path, hours: float, device: Device = "cpu") -> dict[str, int]:
    """Steps of each variant. The seconds that a step takes are measured once and kept in `runs`, as the runs are."""
    if not study.clock and hours == math.inf:
        return {variant.label: recipe.steps for variant in study.variants}
    steps = {}
    for variant in study.variants:
        seconds = _kept_seconds(recipe, variant, runs, device)
        budget = hours * 3600
        if study.clock:
            budget = min(budget, recipe.steps * _kept_seconds(recipe, study.variants[0], runs, device))
        steps[variant.label] = min(recipe.steps, max(1, round(budget / seconds)))
    return dict.fromkeys(steps, min(steps.values())) if study.equal else steps


def _kept_seconds(recipe: Recipe, variant: Variant, runs: Path, device: Device) -> float:
    """Seconds of a variant's step, measured once and kept in `runs`."""
    place = "" if accelerator_of(device) == "cpu" else "-cuda"
    known = runs / f"seconds-{_key(replace(recipe, steps=1, seed=0), 0)}{place}.json"
    seconds: dict[str, float] = json.loads(known.read_text(encoding="utf-8")) if known.exists() else {}
    if variant.label not in seconds:
        seconds[variant.label] = step_seconds(plan_of(recipe, variant, recipe.seed), device=device)
        write_text(known, json.dumps(seconds, indent=1) + "\n")
    return seconds[variant.label]


def _cost(architecture: Architecture) -> Cost:
    with torch.device("meta"):
        network = build(architecture)
    return Cost(count_params(network), count_macs(network, (1, architecture.in_channels, *COST_SIZE)))


def _plot_costs(path: Path, study: Study, rows: list[Row], costs: list[Cost]) -> None:
    """PSNR against operations and against latency, log axes."""
    figure = need("matplotlib.figure").Figure(figsize=(11, 5), layout="constrained")
    figure.suptitle(study.title)
    for axes, title, values in zip(
        figure.subplots(1, 2, sharey=True),
        ("operations at packed 224x224, G", "latency at packed 224x224, ms"),
        ([cost.macs / 1e9 for cost in costs], [1000 * (cost.seconds or 0) for cost in costs]),
        strict=True,
    ):
        for variant, value in zip(study.variants, values, strict=True):
            mean = statistics.mean(row.psnr for row in rows if row.variant == variant.label)
            axes.scatter(value, mean)
            axes.annotate(variant.label, (value, mean), fontsize=8, xytext=(4, 4), textcoords="offset points")
        axes.set(xscale="log", xlabel=title, ylabel="PSNR, dB")
        axes.grid(alpha=0.3)
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=110))


def _plot(path: Path, title: str, curves: dict[str, list[list[tuple[int, float]]]]) -> None:
    figure = need("matplotlib.figure").Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for number, (label, runs) in enumerate(curves.items()):
        style = "-" if number < 10 else "--"  # there are ten colors
        for index, curve in enumerate(runs):
            name = label if index == 0 else None
            axes.plot(*zip(*curve, strict=True), color=f"C{number}", linestyle=style, marker=".", label=name)
    axes.set(title=title, xlabel="step", ylabel="PSNR of held-out crops, dB")
    axes.grid(alpha=0.3)
    axes.legend()
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=110))
