"""The paper's ablations: every variant under one budget on one benchmark; a table, curves and per-picture scores.

Runs are kept by what decides them, so studies share them, and an interrupted study goes on where it stopped.
"""

import hashlib
import json
import statistics
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from lwisp import metrics
from lwisp.checkpoint import Weights, load
from lwisp.data import Case, Data, open_data
from lwisp.errors import InputError
from lwisp.files import make_folder, write_csv, write_text, write_whole
from lwisp.inference import run
from lwisp.model import LWISP, LWISPConfig, count_params
from lwisp.recipe import Recipe
from lwisp.training import Device, run_folder, train, train_teacher

UP = ("up2", "up3", "up4")
DEFAULT_BETA = 0.01  # where the recipe does not distill, but a variant does


@dataclass(frozen=True)
class Variant:
    """One row: what it changes in the recipe, and what the paper prints for it on Zurich, in dB."""

    label: str
    architecture: LWISPConfig = field(default_factory=LWISPConfig)
    distill: tuple[str, ...] = ()
    paper: float | None = None
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """A table of the paper's section 4; `order` are pairs of rows, of which the paper has the first behind."""

    title: str
    variants: tuple[Variant, ...]
    order: tuple[tuple[int, int], ...] = ()


BACKBONE, CCB = LWISPConfig(fgam=False, ccb=False), LWISPConfig(fgam=False)
STUDIES = {
    "table5": Study(
        "Table 5: FGAM, CCB and distillation",
        (
            Variant("backbone", BACKBONE, paper=20.92),
            Variant("+ FGAM", LWISPConfig(ccb=False), paper=21.17),
            Variant("+ CCB", CCB, paper=21.28),
            Variant("+ FGAM + CCB", paper=21.36),
            Variant("+ CCB + distillation", CCB, UP, 21.40),
            Variant("+ FGAM + CCB + distillation", distill=UP, paper=21.57),
        ),
        ((0, 1), (0, 2), (1, 2), (1, 3), (2, 3), (2, 4), (3, 5), (4, 5)),
    ),
    "fgam": Study(
        "Section 4.3: the attention map added or multiplied, on the backbone",
        (
            Variant("backbone", BACKBONE, paper=20.92),
            Variant("FGAM, x + map", LWISPConfig(ccb=False), paper=21.17),
            Variant("FGAM, x + x * map", LWISPConfig(ccb=False, attention="multiply"), paper=21.05),
        ),
        ((0, 1), (0, 2), (2, 1)),
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
    "beta": Study(
        "Figure 6b: the weight of the distillation loss, without the structural loss",
        tuple(
            Variant(f"beta = {beta:g}", distill=UP if beta else (), changes={"alpha": 0.0, "beta": beta})
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
    ms_ssim: float


def reproduce(
    name: str,
    recipe: Recipe,
    root: Path,
    output: Path,
    seeds: int = 2,
    runs: Path = Path("runs"),
    device: Device = "auto",
) -> Path:
    """Train and score every variant of a study and write `NAME.md`, `.csv` and `.png` to the folder `output`.

    The recipe gives data and budget; of every variant `seeds` runs are trained, from the recipe's seed on, and kept in
    the folder `runs`. Gives the path of the table. Raises `InputError`.
    """
    if name not in STUDIES:
        raise InputError(f"unknown study {name!r}; expected one of {', '.join(STUDIES)}")
    if seeds < 1:
        raise InputError(f"expected at least one seed, got {seeds}")
    study = STUDIES[name]
    recipe = replace(recipe, root=root)
    if recipe.data == "synthetic":
        raise InputError("a study needs pictures to learn from; `lwisp synthesize` makes a benchmark of photographs")
    data = open_data(recipe.data, root, recipe.crop, recipe.batch, recipe.seed, recipe.convention)
    pictures = list(data.cases(limit=None))
    make_folder(output)
    make_folder(runs)
    rows: list[Row] = []
    curves: dict[str, list[list[tuple[int, float]]]] = {}
    for seed in range(recipe.seed, recipe.seed + seeds):
        for variant in study.variants:
            plan = plan_of(recipe, variant, seed)
            weights = _run(plan, runs, f"{variant.label}, seed {seed}", device)
            rows += [_score(variant.label, seed, weights, case) for case in pictures]
            log = (run_folder(_file(plan, runs)) / "log.jsonl").read_text(encoding="utf-8").splitlines()
            points = [json.loads(line) for line in log]
            curve = [(point["step"], point["psnr"]) for point in points if "psnr" in point]
            curves.setdefault(variant.label, []).append(curve)
    write_csv(output / f"{name}.csv", rows)
    _plot(output / f"{name}.png", study.title, curves)
    write_text(output / f"{name}.md", to_markdown(name, study, rows, recipe, data))
    return output / f"{name}.md"


def plan_of(recipe: Recipe, variant: Variant, seed: int) -> Recipe:
    """The recipe of one run: a variant distills with the recipe's beta, or not at all."""
    beta = (recipe.beta or DEFAULT_BETA) if variant.distill else 0.0
    plan = replace(recipe, seed=seed, architecture=variant.architecture, beta=beta, distill=variant.distill or UP)
    return replace(plan, **variant.changes)


def _run(plan: Recipe, runs: Path, label: str, device: Device) -> Weights:
    path = _file(plan, runs)
    say = partial(Console(stderr=True).print, highlight=False, markup=False)
    if not path.exists():
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
    """A name for what decides a run."""
    content = json.dumps(asdict(replace(plan, root=Path(), teacher=None)), default=str, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:12]


def _score(label: str, seed: int, weights: Weights, case: Case) -> Row:
    rgb = run(weights.network, case.planes, "fp32")
    return Row(label, seed, case.name, metrics.psnr(rgb, case.target), metrics.ms_ssim(rgb, case.target))


def to_markdown(name: str, study: Study, rows: list[Row], recipe: Recipe, data: Data) -> str:
    """The table, with the spread over seeds, whether the paper's order holds, and how it was made."""
    seeds = sorted({row.seed for row in rows})
    means = {
        variant.label: [
            statistics.mean(row.psnr for row in rows if (row.variant, row.seed) == (variant.label, seed))
            for seed in seeds
        ]
        for variant in study.variants
    }
    base = statistics.mean(means[study.variants[0].label])
    lines = [
        f"# {study.title}",
        "",
        f"Benchmark: `{recipe.root.name}`, {len(data.names)} training pictures, {len({row.picture for row in rows})} "
        f"test pictures, whole. Budget: {recipe.steps} steps of {recipe.batch} crops of {recipe.crop} px, "
        f"learning rate {recipe.learning_rate:g} ({recipe.schedule}), alpha {recipe.alpha:g}, beta {recipe.beta:g}, "
        f"seeds {', '.join(map(str, seeds))}. "
        "PSNR in dB, MS-SSIM over five scales, fp32. "
        "The last column is what the paper prints for Zurich, not measured here.",
        "",
        "| variant | params | PSNR | by seed | to the first row | MS-SSIM | paper, Zurich |",
        "|---|---|---|---|---|---|---|",
    ]
    for variant in study.variants:
        mean = statistics.mean(means[variant.label])
        similarity = statistics.mean(row.ms_ssim for row in rows if row.variant == variant.label)
        lines.append(
            f"| {variant.label} | {count_params(LWISP(variant.architecture)):,} | {mean:.2f} "
            f"| {', '.join(f'{value:.2f}' for value in means[variant.label])} | {mean - base:+.2f} | {similarity:.4f} "
            f"| {variant.paper or 'not printed'} |"
        )
    if len(seeds) > 1:
        spread = max(max(values) - min(values) for values in means.values())
        lines += ["", f"Largest spread between seeds of one variant: {spread:.2f} dB."]
    if study.order:
        lines += ["", "| the paper's order | here | of the seeds |", "|---|---|---|"]
    for lower, higher in study.order:
        first, second = study.variants[lower].label, study.variants[higher].label
        gains = [above - below for below, above in zip(means[first], means[second], strict=True)]
        holds = "holds" if statistics.mean(gains) > 0 else "does not hold"
        lines.append(
            f"| {first} < {second} | {holds} ({statistics.mean(gains):+.2f} dB) "
            f"| {sum(gain > 0 for gain in gains)} of {len(gains)} |"
        )
    lines += ["", f"![validation curves]({name}.png)", "", f"Every picture: [{name}.csv]({name}.csv).", ""]
    return "\n".join(lines)


def _plot(path: Path, title: str, curves: dict[str, list[list[tuple[int, float]]]]) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for number, (label, runs) in enumerate(curves.items()):
        for index, curve in enumerate(runs):
            axes.plot(*zip(*curve, strict=True), color=f"C{number}", label=label if index == 0 else None)
    axes.set(title=title, xlabel="step", ylabel="PSNR of held-out crops, dB")
    axes.grid(alpha=0.3)
    axes.legend()
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=110))
