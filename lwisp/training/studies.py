"""The paper's comparisons: every variant under one budget on one benchmark; a table, curves and per-picture scores.

Runs are kept by what decides them, so studies share them, and an interrupted study goes on where it stopped.
"""

import hashlib
import json
import math
import statistics
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from lwisp.baselines import build
from lwisp.baselines.config import NETWORKS, Architecture, BaselineConfig, Name
from lwisp.data.cases import Case
from lwisp.data.sources import Data, open_data
from lwisp.engines.cost import count_macs, measure_latency
from lwisp.engines.engine import run_network
from lwisp.errors import InputError
from lwisp.files.optional import need
from lwisp.files.report import Block, Table, to_markdown
from lwisp.files.writing import make_folder, write_csv, write_text, write_whole
from lwisp.imaging import scores
from lwisp.model import LWISPConfig, count_params
from lwisp.training.loop import Device, last_row, run_folder, step_seconds, train, train_teacher
from lwisp.training.recipe import Recipe
from lwisp.weights import Weights, load

UP = ("up2", "up3", "up4")
COST_SIZE = (224, 224)  # packed planes, as in Table 3
SCORES = {score: digits for score, digits in scores.DECIMALS.items() if score not in ("psnr", "ssim")}
PRINTED: dict[Name, float] = {
    "srcnn": 18.56, "srgan": 20.06, "dped": 20.67, "unet": 20.81, "pix2pix": 20.93, "spade": 20.96, "nafnet": 21.12,
    "pynet": 21.19, "awnet": 21.40, "cameranet": 21.35,
}  # fmt: skip
"""PSNR on Zurich in dB, as Tables 1 and 2 print it."""
CHANGES: dict[Name, dict[str, Any]] = {"awnet": {"learning_rate": 1e-4}}  # at 1e-3 it runs away
LATER = {"out_channels": 3, "residual": False, "look": 0, "takes": "raw"}
"""Of an architecture, what it has not had from the beginning, and the value that stands for what it then was."""
DEFAULT_BETA = 0.001  # where the recipe does not distill, but a variant does


@dataclass(frozen=True)
class Variant:
    """One row: what it changes in the recipe, and what the paper prints for it on Zurich, in dB."""

    label: str
    architecture: Architecture = field(default_factory=LWISPConfig)
    distill: tuple[str, ...] = ()
    paper: float | None = None
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A table of the paper's section 4."""

    title: str
    variants: tuple[Variant, ...]
    order: tuple[tuple[int, int], ...] = ()
    """Pairs of rows, of which the paper has the first behind."""
    clock: bool = False
    """Whether variants have the time that the first takes for the recipe's steps, instead of its steps."""
    latency: bool = False


FULL = LWISPConfig(attention="centered")  # the default's functions, learned faster
BACKBONE, CCB = LWISPConfig(fgam=False, ccb=False), LWISPConfig(fgam=False)
FGAM = replace(FULL, ccb=False)
DENOISER = replace(FULL, in_channels=3, upsample=False, residual=True)
NETWORKS_OF_TABLE_1 = (
    Variant("LW-ISP", FULL, paper=21.57),
    *(
        Variant(network.title, BaselineConfig(name), paper=paper, changes=CHANGES.get(name, {}))
        for name, paper in PRINTED.items()
        for network in [NETWORKS[name]]
    ),
)
BLOCKS = Study(
    "Table 5 without distillation: FGAM and CCB",
    (
        Variant("backbone", BACKBONE, paper=20.92),
        Variant("+ FGAM", FGAM, paper=21.17),
        Variant("+ CCB", CCB, paper=21.28),
        Variant("+ FGAM + CCB", FULL, paper=21.36),
    ),
    ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3)),
)
STUDIES = {
    "table5": Study(
        "Table 5: FGAM, CCB and distillation",
        (
            *BLOCKS.variants,
            Variant("+ CCB + distillation", CCB, UP, 21.40),
            Variant("+ FGAM + CCB + distillation", FULL, UP, 21.57),
        ),
        (*BLOCKS.order, (2, 4), (3, 5), (4, 5)),
    ),
    "blocks": BLOCKS,
    "table1": Study("Tables 1 and 2: other networks, equal steps", NETWORKS_OF_TABLE_1, latency=True),
    "table1-clock": Study(
        "Tables 1 and 2: other networks, equal time on one machine", NETWORKS_OF_TABLE_1, clock=True, latency=True
    ),
    "fgam": Study(
        "Section 4.3: the attention map added or multiplied, on the backbone",
        (
            Variant("backbone", BACKBONE, paper=20.92),
            Variant("FGAM, x + map", replace(FGAM, attention="add"), paper=21.17),
            Variant("FGAM, x + map - 1/2", FGAM, paper=21.17),
            Variant("FGAM, x + x * map", replace(FGAM, attention="multiply"), paper=21.05),
        ),
        ((0, 1), (0, 2), (0, 3), (3, 1), (3, 2)),
    ),
    "distillation": Study(
        "Section 4.3: which blocks the student imitates, with CCB and without FGAM",
        (
            Variant("none", CCB, paper=21.28),
            Variant("down1 + down2 + down3", CCB, ("down1", "down2", "down3"), 21.11),
            Variant("down4 + up1 + up2", CCB, ("down4", "up1", "up2"), 21.33),
            Variant("up2 + up3 + up4", CCB, UP, 21.40),
        ),
        ((1, 0), (0, 2), (2, 3)),
    ),
    "teacher": Study(
        "Section 3.3: with and without a teacher, CCB without FGAM",
        (Variant("none", CCB, paper=21.28), Variant("up2 + up3 + up4", CCB, UP, 21.40)),
        ((0, 1),),
    ),
    "denoise-clock": Study(
        "Denoising: other networks, equal time on one machine",
        (
            Variant("LW-ISP", DENOISER),
            Variant("DnCNN", BaselineConfig("dncnn", "rgb")),
            Variant("NAFNet, width 32", BaselineConfig("nafnet", "rgb")),
        ),
        clock=True,
        latency=True,
    ),
    "denoise-distillation": Study(
        "Denoising: with and without a teacher",
        (Variant("none", DENOISER), Variant("up2 + up3 + up4", DENOISER, UP)),
        ((0, 1),),
    ),
    "denoise-residual": Study(
        "Denoising: the picture itself, or what is to be added to the noisy one",
        (Variant("picture", replace(DENOISER, residual=False)), Variant("residual", DENOISER)),
    ),
    "beta": Study(
        "Figure 6b: the weight of the distillation loss, without the structural loss",
        tuple(
            Variant(f"beta = {beta:g}", FULL, UP if beta else (), changes={"alpha": 0.0, "beta": beta})
            for beta in (0.0, 1e-4, 1e-3, 1e-2, 1e-1)
        ),
    ),
    "lr": Study(
        "Figure 6a: the learning rate, on the backbone",
        tuple(
            Variant(f"learning rate {rate:g}", BACKBONE, changes={"learning_rate": rate})
            for rate in (8e-5, 3e-4, 1e-3, 3e-3)
        ),
    ),
}


@dataclass(frozen=True)
class Row:
    """One picture, developed by one variant trained from one seed."""

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
) -> Path:
    """Train and score every variant of a study and write `NAME.md`, `.csv` and `.png` to the folder `output`.

    The recipe gives data and budget; of every variant `seeds` runs are trained, from the recipe's seed on, and kept in
    the folder `runs`. A run that would take more than `hours` here is given the steps that fit, and the table says so.
    Gives the path of the table. Raises `InputError`.
    """
    if name not in STUDIES:
        raise InputError(f"unknown study {name!r}; expected one of {', '.join(STUDIES)}")
    if seeds < 1:
        raise InputError(f"expected at least one seed, got {seeds}")
    study = STUDIES[name]
    recipe = replace(recipe, root=root, start=None if study.clock else recipe.start)  # others cannot begin with it
    if recipe.data == "synthetic":
        raise InputError("a study needs pictures to learn from; `lwisp synthesize` makes a benchmark of photographs")
    for variant in study.variants:
        plan_of(recipe, variant, recipe.seed)  # refused before any work
    data = open_data(
        recipe.data, root, recipe.crop, recipe.batch, recipe.seed, recipe.convention, recipe.exclude_licences
    )
    pictures = list(data.cases(limit=None))
    make_folder(output)
    make_folder(runs)
    rows: list[Row] = []
    curves: dict[str, list[list[tuple[int, float]]]] = {}
    steps = _budget(study, recipe, runs, hours)
    for seed in range(recipe.seed, recipe.seed + seeds):
        for variant in study.variants:
            plan = plan_of(replace(recipe, steps=steps[variant.label]), variant, seed)
            weights = _run(plan, runs, f"{variant.label}, seed {seed}", device)
            rows += [_score(variant.label, seed, weights, case) for case in pictures]
            log = (run_folder(_file(plan, runs)) / "log.jsonl").read_text(encoding="utf-8").splitlines()
            points = [json.loads(line) for line in log]
            curves.setdefault(variant.label, []).append(_curve(points))
    write_csv(output / f"{name}.csv", rows)
    _plot(output / f"{name}.png", study.title, curves)
    costs = [_cost(variant) for variant in study.variants]
    if study.latency:
        networks = [build(variant.architecture) for variant in study.variants]
        channels = study.variants[0].architecture.in_channels
        seconds = measure_latency(networks, (1, channels, *COST_SIZE))
        costs = [replace(cost, seconds=value) for cost, value in zip(costs, seconds, strict=True)]
        _plot_costs(output / f"{name}-costs.png", study, rows, costs)
    write_text(output / f"{name}.md", report(name, study, rows, recipe, data, steps, costs))
    return output / f"{name}.md"


def _curve(points: list[dict[str, Any]]) -> list[tuple[int, float]]:
    """Steps and PSNR of the held-out crops, the mean of its levels where there are several."""
    curve = []
    for point in points:
        scores = [value for name, value in point.items() if name.startswith("psnr") and not name.endswith("_whole")]
        if scores:
            curve.append((point["step"], statistics.mean(scores)))
    return curve


def plan_of(recipe: Recipe, variant: Variant, seed: int) -> Recipe:
    """The recipe of one run: a variant distills with the recipe's beta, or not at all. Raises `InputError`."""
    beta = (recipe.beta or DEFAULT_BETA) if variant.distill else 0.0
    changes = {"seed": seed, "architecture": variant.architecture, "beta": beta, "distill": variant.distill or UP}
    try:
        return replace(recipe, **{**changes, **variant.changes})
    except ValueError as error:
        raise InputError(f"the recipe does not fit {variant.label!r}: {error}") from error


def _run(plan: Recipe, runs: Path, label: str, device: Device) -> Weights:
    path = _file(plan, runs)
    say = partial(Console(stderr=True).print, highlight=False, markup=False)
    run = run_folder(path)
    untold = (run / "state.pt").exists() and last_row(run / "log.jsonl") < plan.steps  # killed after its weights
    if not path.exists() or untold:
        if plan.beta:
            guide = replace(plan, learning_rate=plan.learning_rate, beta=0.0, distill=UP, alpha=0.0)
            teacher = runs / f"teacher-{_key(guide)}.safetensors"
            if not teacher.exists():
                say(f"teacher of {label} -> {teacher}")
                train_teacher(plan, teacher, device=device)
            plan = replace(plan, teacher=str(teacher))
        say(f"{label} -> {path}")
        train(plan, path, device=device)
    return load(path)


def _file(plan: Recipe, runs: Path) -> Path:
    return runs / f"{_key(plan)}.safetensors"


def _key(plan: Recipe) -> str:
    """A name for what decides a run: what is as the defaults have it does not count, so new fields change nothing."""
    given, default = (asdict(replace(x, root=Path(), teacher=None)) for x in (plan, Recipe(plan.name, plan.licence)))
    for recipe in (given, default):
        parts = recipe["architecture"].items()
        recipe["architecture"] = {key: value for key, value in parts if (key, value) not in LATER.items()}
    content = json.dumps({key: given[key] for key in given if given[key] != default[key]}, default=str, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _score(label: str, seed: int, weights: Weights, case: Case) -> Row:
    rgb = run_network(weights.network, case.planes, "fp32", "torch")
    return Row(label, seed, case.name, **scores.score(rgb, case.target))


def _budget(study: Study, recipe: Recipe, runs: Path, hours: float) -> dict[str, int]:
    """Steps of each variant. The seconds a step takes are measured once and kept in `runs`, as the runs are."""
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


@dataclass(frozen=True)
class Cost:
    """What one picture of `COST_SIZE` costs a variant."""

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
    """The page of a study as Markdown: its table, the spread over seeds, and whether the paper's order holds."""
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
        "The last column is what the paper prints for Zurich, in dB, not measured here."
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
    return ["variant", "params", "operations", *latency, "steps", "PSNR", *differences, *titles, "paper, Zurich"]


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
