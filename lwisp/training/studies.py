"""Reproduces the paper's comparisons: every variant under one budget; a table, curves, per-image scores.

Files of runs are named by a digest of what decides them, so studies share runs, and an interrupted study goes on.
"""

import hashlib
import json
import math
import statistics
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from lwisp.architecture import STUDIED
from lwisp.baselines.build import build
from lwisp.data.cases import Case
from lwisp.data.sources import Data
from lwisp.engines.cost import count_macs, measure_latency
from lwisp.engines.eager import channels_last
from lwisp.engines.tensors import run_network
from lwisp.errors import InputError
from lwisp.files.optional import need
from lwisp.files.report import Block, Table, is_page, to_markdown
from lwisp.files.runs import run_folder
from lwisp.files.writing import check_outputs, make_folder, write_csv, write_text, write_whole
from lwisp.imaging import metrics, scores
from lwisp.model import count_params
from lwisp.training.devices import Device, precision_of
from lwisp.training.log import last_step
from lwisp.training.loop import BETAS
from lwisp.training.objectives import student_objective
from lwisp.training.progress import Reporter
from lwisp.training.recipe import Recipe
from lwisp.training.runs import open_recipe_data, train, train_teacher
from lwisp.training.variants import STUDIES, UP, Study, Variant
from lwisp.weights import Weights, load

COST_SIZE = (224, 224)
"""Height and width of the packed planes that costs are given for, as in Table 3."""
SCORES = {score: digits for score, digits in scores.DECIMALS.items() if score not in ("psnr", "ssim")}
"""Scores of the table besides PSNR, and their decimals."""
DEFAULT_BETA = 0.001
"""Weight of the distillation loss of variants that distill, where the recipe does not."""
ADDED_LATER = {"out_channels": 3, "residual": False, "look": 0, "takes": "raw", "cell": 2, "detail": 0, **STUDIED}
"""Fields of an architecture that came after the first runs, with the values that these runs had without saying so."""


@dataclass(frozen=True)
class Row:
    """Scores of one test image by one variant trained from one seed."""

    variant: str
    seed: int
    picture: str
    psnr: float
    psnr_fitted: float
    ssim: float
    ms_ssim: float
    lpips: float
    delta_e: float


def reproduce(
    name: str,
    recipe: Recipe,
    root: Path,
    output: Path,
    seeds: int = 2,
    runs: Path = Path("runs"),
    device: Device = "auto",
    hours: float = math.inf,
    reporter: Reporter | None = None,
) -> Path:
    """Train and score every variant of a study; write its table, plots and per-image scores.

    Writes `NAME.md`, `NAME.csv` and `NAME.png` (validation curves), and `NAME-costs.png` where latencies are measured.
    Runs are kept in `runs` and shared by studies; an interrupted study goes on where it stopped.

    Args:
        name: one of `STUDIES`.
        recipe: data and budget of every run.
        root: folder of the data.
        output: folder for the table.
        seeds: runs per variant, from the recipe's seed on.
        runs: folder of the runs.
        device: what to train on.
        hours: a run that would take longer here gets the steps that fit, and the table says so.
        reporter: told what is being done; where it is left out, bars are shown on a terminal and no lines elsewhere.

    Returns:
        Path of the table.

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
    files = (f"{name}.md", f"{name}.csv", f"{name}.png", f"{name}-costs.png")
    check_outputs(output, files, True, lambda path: is_page(path, study.title))
    make_folder(runs)
    rows: list[Row] = []
    curves: dict[str, list[list[tuple[int, float]]]] = {}
    reporter.tell(f"{name}: measuring the seconds of a step")
    steps = _budget(study, recipe, runs, hours)
    for seed in range(recipe.seed, recipe.seed + seeds):
        data.seed = seed
        for variant in study.variants:
            plan = plan_of(replace(recipe, steps=steps[variant.label]), variant, seed)
            label = f"{variant.label}, seed {seed}"
            weights = _run(plan, runs, label, device, data, reporter)
            reporter.tell(f"{label}: scoring")
            rows += [_score(variant.label, seed, weights, case) for case in cases]
            log = (run_folder(_file(plan, runs)) / "log.jsonl").read_text(encoding="utf-8").splitlines()
            points = [json.loads(line) for line in log]
            curves.setdefault(variant.label, []).append(_curve(points))
    reporter.tell(f"{name}: measuring costs")
    costs = [_cost(variant) for variant in study.variants]
    if study.latency:
        networks = [build(variant.architecture) for variant in study.variants]
        channels = study.variants[0].architecture.in_channels
        seconds = measure_latency(networks, (1, channels, *COST_SIZE))
        costs = [replace(cost, seconds=value) for cost, value in zip(costs, seconds, strict=True)]
    page, table, plot, costs_plot = (output / file for file in files)
    write_text(page, report(name, study, rows, recipe, data, steps, costs))  # first: it tells that the others are ours
    write_csv(table, rows)
    _plot(plot, study.title, curves)
    if study.latency:
        _plot_costs(costs_plot, study, rows, costs)
    return page


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
        recipe: data and budget.
        variant: what it changes.
        seed: of the run.

    Raises:
        InputError: where the recipe does not fit the variant.
    """
    beta = (recipe.beta or DEFAULT_BETA) if variant.distill else 0.0
    changes = {"seed": seed, "architecture": variant.architecture, "beta": beta, "distill": variant.distill or UP}
    try:
        return replace(recipe, **{**changes, **variant.changes})
    except ValueError as error:
        raise InputError(f"the recipe does not fit {variant.label!r}: {error}") from error


def _run(plan: Recipe, runs: Path, label: str, device: Device, data: Data, reporter: Reporter) -> Weights:
    """The weights of one run, trained unless they are in `runs` already; teachers are shared by variants."""
    path = _file(plan, runs)
    folder = run_folder(path)
    killed_after_weights = (folder / "state.pt").exists() and last_step(folder / "log.jsonl") < plan.steps
    if path.exists() and not killed_after_weights:
        return load(path)
    if plan.beta:
        what_teaches = replace(plan, beta=0.0, distill=UP, alpha=0.0)  # the student's losses leave the teacher as it is
        teacher = runs / f"teacher-{_key(what_teaches)}.safetensors"
        if not teacher.exists():
            reporter.note(f"teacher of {label} -> {teacher}")
            train_teacher(plan, teacher, device=device, data=data, reporter=reporter)
        plan = replace(plan, teacher=str(teacher))
    reporter.note(f"{label} -> {path}")
    train(plan, path, device=device, data=data, reporter=reporter)
    return load(path)


def _file(plan: Recipe, runs: Path) -> Path:
    return runs / f"{_key(plan)}.safetensors"


def _key(plan: Recipe) -> str:
    """Digest of what decides a run, by which its files are found again.

    Only fields that differ from a recipe's defaults count, so that new fields leave older runs' names as they are. The
    folder of the data and the teacher's file do not count.
    """
    given = _decisive_fields(plan)
    default = _decisive_fields(Recipe(plan.name, plan.licence))
    changed = {key: value for key, value in given.items() if value != default[key]}
    content = json.dumps(changed, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _decisive_fields(recipe: Recipe) -> dict[str, Any]:
    fields = replace(recipe, root=Path(), teacher=None).to_json()
    architecture = fields["architecture"].items()
    fields["architecture"] = {key: value for key, value in architecture if (key, value) not in ADDED_LATER.items()}
    return fields


def _score(label: str, seed: int, weights: Weights, case: Case) -> Row:
    rgb = run_network(weights.network, case.planes, "fp32", "torch")
    return Row(label, seed, case.name, **scores.score(rgb, case.target))


def _budget(study: Study, recipe: Recipe, runs: Path, hours: float) -> dict[str, int]:
    """Steps of each variant. The seconds that a step takes are measured once and kept in `runs`, as the runs are."""
    if not study.clock and hours == math.inf:
        return {variant.label: recipe.steps for variant in study.variants}
    known = runs / f"seconds-{_key(replace(recipe, steps=1, seed=0))}.json"
    seconds: dict[str, float] = json.loads(known.read_text(encoding="utf-8")) if known.exists() else {}
    steps = {}
    for variant in study.variants:
        if variant.label not in seconds:
            seconds[variant.label] = step_seconds(plan_of(recipe, variant, recipe.seed))
            write_text(known, json.dumps(seconds, indent=1) + "\n")
        budget = hours * 3600
        if study.clock:
            budget = min(budget, recipe.steps * seconds[study.variants[0].label])
        steps[variant.label] = min(recipe.steps, max(1, round(budget / seconds[variant.label])))
    return steps


def step_seconds(recipe: Recipe, rounds: int = 3) -> float:
    """Median seconds of one training step on this processor, on random planes, without a teacher.

    Args:
        recipe: network, losses, crop and batch.
        rounds: steps that are timed, after one to warm up.
    """
    objective = student_objective(channels_last(build(recipe.architecture).train()), None, recipe)
    optimizer = torch.optim.AdamW(objective.parameters(), betas=BETAS, fused=True)
    channels, scale = recipe.architecture.in_channels, recipe.architecture.scale
    side = recipe.crop // (2 if channels == 4 else 1)
    planes = torch.rand(recipe.batch, channels, side, side)
    target = torch.rand(recipe.batch, recipe.architecture.out_channels, side * scale, side * scale)
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=precision_of(recipe, "cpu") == "bf16"):
            loss, _ = objective(planes, target, recipe.steps - 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


@dataclass(frozen=True)
class Cost:
    """Cost of one image of `COST_SIZE` for a variant: parameters, operations, seconds of latency."""

    params: int
    macs: int
    seconds: float | None = None


def _cost(variant: Variant) -> Cost:
    with torch.device("meta"):
        network = build(variant.architecture)
    shape = (1, variant.architecture.in_channels, *COST_SIZE)
    return Cost(count_params(network), count_macs(network, shape))


def report(
    name: str, study: Study, rows: list[Row], recipe: Recipe, data: Data, steps: dict[str, int], costs: list[Cost]
) -> str:
    """The page of a study as Markdown: its table, the spread over seeds, and whether the paper's order holds.

    Args:
        name: Stem of the plot's and the table's file names.
        study: The study.
        rows: Scores of every test picture by every variant and seed.
        recipe: Data and budget of the runs.
        data: Its training pictures.
        steps: Training steps by label of the variant.
        costs: Of each variant, in the order of the study.

    Returns:
        The text of the page.
    """
    seeds = sorted({row.seed for row in rows})
    means = {
        variant.label: [
            statistics.mean(row.psnr for row in rows if (row.variant, row.seed) == (variant.label, seed))
            for seed in seeds
        ]
        for variant in study.variants
    }
    about = (
        f"Benchmark: `{recipe.root.name}`, {len(data.names)} training pictures, {len({row.picture for row in rows})} "
        f"test pictures, whole. Budget: {recipe.steps} steps of {recipe.batch} crops of {recipe.crop} px, "
        f"learning rate {recipe.learning_rate:g} ({recipe.schedule}), alpha {recipe.alpha:g}, beta {recipe.beta:g}, "
        f"seeds {', '.join(map(str, seeds))}. "
        "PSNR in dB, MS-SSIM over five scales, fp32. Operations of packed 224x224 under the paper's convention. "
        f"The last column is what the paper prints for {study.printed_for}, in dB, not measured here."
    )
    blocks: list[Block] = [about, _scores_table(study, rows, means, steps, costs)]
    if len(seeds) > 1:
        spread = max(max(values) - min(values) for values in means.values())
        blocks.append(f"Largest spread between seeds of one variant: {spread:.2f} dB.")
    if study.order:
        blocks.append(_order_table(study, means))
    blocks += [f"![validation curves]({name}.png)", f"Every picture: [{name}.csv]({name}.csv)."]
    return to_markdown(study.title, blocks, rule="---")


def _scores_table(
    study: Study, rows: list[Row], means: dict[str, list[float]], steps: dict[str, int], costs: list[Cost]
) -> Table:
    """One row for each variant; `means` are its PSNR, one a seed."""
    base = statistics.mean(means[study.variants[0].label])
    lines = []
    for variant, cost in zip(study.variants, costs, strict=True):
        own = [row for row in rows if row.variant == variant.label]
        mean = statistics.mean(means[variant.label])
        cells = [variant.label, f"{cost.params:,}", f"{cost.macs / 1e9:.3f} G"]
        if cost.seconds:
            cells.append(f"{1000 * cost.seconds:.0f}")
        cells += [f"{steps[variant.label]:,}", f"{mean:.2f}", ", ".join(f"{x:.2f}" for x in means[variant.label])]
        cells.append(f"{mean - base:+.2f}")
        for score, digits in SCORES.items():
            cells.append(f"{statistics.mean(getattr(row, score) for row in own):.{digits}f}")
        cells.append(str(variant.paper or "not printed"))
        lines.append(cells)
    return Table(_head(study), lines)


def _order_table(study: Study, means: dict[str, list[float]]) -> Table:
    """For each pair of rows that the paper orders, what the gains over the seeds say."""
    lines = []
    for lower, higher in study.order:
        first = study.variants[lower].label
        second = study.variants[higher].label
        gains = [above - below for below, above in zip(means[first], means[second], strict=True)]
        lines.append([f"{first} < {second}", *_verdict(gains).split(" | ")])
    return Table(["the paper's order", "here, ± its standard error", "of the seeds"], lines)


def _verdict(gains: list[float]) -> str:
    """What the gains in dB of one variant on another say, one a seed: nothing within two standard errors of 0."""
    mean, ahead = statistics.mean(gains), sum(gain > 0 for gain in gains)
    if len(gains) == 1:
        return f"not shown ({mean:+.2f} dB, one seed) | {ahead} of 1"
    error = statistics.stdev(gains) / math.sqrt(len(gains))
    said = "holds" if mean > 2 * error else "does not hold" if mean < -2 * error else "not shown"
    return f"{said} ({mean:+.2f} ± {error:.2f} dB) | {ahead} of {len(gains)}"


def _head(study: Study) -> list[str]:
    latency = ["ms at 224x224"] if study.latency else []
    titles = [scores.TITLES[score] for score in SCORES]
    differences = ["by seed", "to the first row"]
    return [
        "variant",
        "params",
        "operations",
        *latency,
        "steps",
        "PSNR",
        *differences,
        *titles,
        f"paper, {study.printed_for}",
    ]


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
