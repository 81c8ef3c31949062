"""The page of a study: scores of every variant, and what Student's t says of their differences.

Units are seeds and scenes: pictures that show one scene are averaged first, for they are not independent. A difference
is called shown only where p is below 0.05 over the seeds and over the scenes.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from io import StringIO
from pathlib import Path
from statistics import fmean
from typing import Any

from lwisp.errors import InputError
from lwisp.files.report import Block, Table, to_markdown
from lwisp.files.writing import read_regular
from lwisp.imaging import scores
from lwisp.imaging.significance import Gain, gain_of, verdict
from lwisp.training.estimate import in_words
from lwisp.training.recipe import Recipe
from lwisp.training.variants import Study

COMPARED = ("psnr_fitted", "psnr")
"""Scores whose differences are tested, first that of less chance: the fit takes away how bright a run comes out."""
FURTHER = ("ms_ssim", "lpips", "delta_e")
"""Scores that are printed beside."""
ABOUT_GAINS = """\
Gains are the second variant's score less the first's, by Student's t, two-sided, with 95 % intervals: over seeds (runs
of one seed in pairs, each the mean of its scenes), and over scenes (each the mean of its pictures and seeds). A pair
with < is ordered so by the paper, or by what the study is to show. A verdict other than *not shown* asks for p < 0.05
over both; the p are not corrected for their number."""


@dataclass(frozen=True)
class Row:
    """Scores of one test image by one variant trained from one seed."""

    variant: str
    seed: int
    picture: str
    scene: str
    psnr: float
    psnr_fitted: float
    ssim: float
    ms_ssim: float
    lpips: float
    delta_e: float


@dataclass(frozen=True)
class Cost:
    """Cost of one image for a variant: parameters, operations, seconds of latency."""

    params: int
    macs: int
    seconds: float | None = None


@dataclass(frozen=True)
class Result:
    """What a study found."""

    name: str
    """Stem of the plot's and the tables' file names."""
    study: Study
    rows: Sequence[Row]
    """Scores of every test picture by every variant and seed."""
    recipe: Recipe
    """Data and budget of the runs."""
    pictures: int
    """Number of training pictures."""
    steps: dict[str, int]
    """Training steps by label of the variant."""
    costs: Sequence[Cost]
    """Of each variant, in the order of the study."""
    guides: dict[str, float] = field(default_factory=dict)
    """PSNR in dB of what each variant imitates, by its label: of a teacher J -> J, of a developer RAW -> J."""
    rates: dict[str, dict[float, float]] = field(default_factory=dict)
    """PSNR in dB of held-out training scenes by label and learning rate, where each variant learns at its best one."""
    hours: float | None = None
    """Training time of every run, where that is equal."""

    @property
    def seeds(self) -> list[int]:
        """The seeds, sorted."""
        return sorted({row.seed for row in self.rows})


def means_by_scene(rows: Sequence[Row], label: str, score: str) -> dict[tuple[int, str], float]:
    """A variant's score by seed and scene, the mean of the scene's pictures.

    Args:
        rows: of a study.
        label: of the variant.
        score: name of a field of `Row`.
    """
    values: dict[tuple[int, str], list[float]] = {}
    for row in rows:
        if row.variant == label:
            values.setdefault((row.seed, row.scene), []).append(getattr(row, score))
    return {unit: fmean(found) for unit, found in values.items()}


def mean_by_seed(rows: Sequence[Row], label: str, score: str) -> dict[int, float]:
    """A variant's score by seed, the mean of its scenes; see `means_by_scene`."""
    means = means_by_scene(rows, label, score)
    return {seed: fmean(means[unit] for unit in means if unit[0] == seed) for seed in sorted({s for s, _ in means})}


def gains(rows: Sequence[Row], lower: str, higher: str, score: str) -> tuple[Gain, Gain]:
    """By how much one variant is ahead of another: over seeds, and over scenes.

    Args:
        rows: of a study.
        lower: label of the variant whose score is taken away.
        higher: label of the other.
        score: name of a field of `Row`.

    Raises:
        InputError: where the two were not scored with the same seeds on the same scenes.
    """
    below, above = means_by_scene(rows, lower, score), means_by_scene(rows, higher, score)
    if set(below) != set(above) or not below:
        raise InputError(f"{lower} and {higher}: expected scores with the same seeds on the same scenes")
    seeds, scenes = sorted({seed for seed, _ in below}), sorted({scene for _, scene in below})
    differences = {unit: above[unit] - below[unit] for unit in below}
    over_seeds = [fmean(differences[seed, scene] for scene in scenes) for seed in seeds]
    over_scenes = [fmean(differences[seed, scene] for seed in seeds) for scene in scenes]
    return gain_of(over_seeds), gain_of(over_scenes)


def page(result: Result) -> str:
    """The page of a study as Markdown.

    Args:
        result: what it found.
    """
    recipe, rows, name = result.recipe, result.rows, result.name
    scenes = len({row.scene for row in rows})
    rate = "of each network's own" if result.rates else f"{recipe.learning_rate:g}"
    about = (
        f"Benchmark: `{recipe.root.name}`, {result.pictures} training pictures, {len({row.picture for row in rows})} "
        f"test pictures of {scenes} scenes, whole. Budget: {recipe.steps} steps of {recipe.batch} crops of "
        f"{recipe.crop} px, learning rate {rate} ({recipe.schedule}), alpha {recipe.alpha:g}, "
        f"beta {recipe.beta:g}, seeds {', '.join(map(str, result.seeds))}. "
        "PSNR in dB, first after the one affine change of colors that brings a picture nearest to its truth; means of "
        "scenes; MS-SSIM over five scales, fp32. Operations of packed 224x224 under the paper's convention. "
        f"The last column is what the paper prints for {result.study.printed_for}, in dB, not measured here."
    )
    blocks: list[Block] = [about, scores_table(result)]
    if result.guides:
        told = ", ".join(f"{label}: {value:.2f}" for label, value in result.guides.items())
        blocks.append(
            "PSNR in dB of what is imitated, on the test pictures (a teacher's of the clean picture from itself, "
            f"J -> J; a developer's from the RAW); one for all seeds: {told}."
        )
    if result.rates:
        blocks.append(
            "Learning rates: PSNR in dB of held-out scenes of the training pairs, after a fifth of the steps; every "
            "network learned at its best one (-: the run diverged)."
        )
    blocks += [*rates_tables(result), *gains_blocks(result.study, rows), f"![validation curves]({name}.png)"]
    blocks.append(
        f"Every picture: [{name}.csv]({name}.csv). The tables: [CSV]({name}-table.csv), [LaTeX]({name}-table.tex), "
        f"[JSON]({name}.json)."
    )
    time = f", after {in_words(result.hours)} of training" if result.hours is not None else ""
    return to_markdown(result.study.title + time, blocks, rule="---")


def rates_tables(result: Result) -> list[Table]:
    """The table of trials of learning rates, one row for each variant; none where none were tried."""
    if not result.rates:
        return []
    rates = result.study.rates
    rows = []
    for label, found in result.rates.items():
        cells = [f"{found[rate]:.2f}" if rate in found else "-" for rate in rates]
        rows.append([label, *cells, f"{max(found, key=found.__getitem__):g}"])
    return [Table(["variant", *(f"at {rate:g}" for rate in rates), "chosen"], rows)]


def scores_table(result: Result) -> Table:
    """One row for each variant: its cost, steps and scores."""
    study, rows = result.study, result.rows
    latency = ["ms at 224x224"] if study.latency else []
    head = ["variant", "params", "operations", *latency, "steps"]
    for score in COMPARED:
        head += [scores.TITLES[score], "by seed"]
    head += [*(scores.TITLES[score] for score in FURTHER), f"paper, {study.printed_for}"]
    lines = []
    for variant, cost in zip(study.variants, result.costs, strict=True):
        cells = [variant.label, f"{cost.params:,}", f"{cost.macs / 1e9:.3f} G"]
        if cost.seconds:
            cells.append(f"{1000 * cost.seconds:.0f}")
        cells.append(f"{result.steps[variant.label]:,}")
        for score in (*COMPARED, *FURTHER):
            by_seed = list(mean_by_seed(rows, variant.label, score).values())
            cells.append(scores.printed(score, fmean(by_seed)))
            if score in COMPARED:
                cells.append(", ".join(scores.printed(score, value) for value in by_seed))
        lines.append([*cells, f"{variant.paper:.2f}" if variant.paper else "not printed"])
    return Table(head, lines)


def gains_blocks(study: Study, rows: Sequence[Row]) -> list[Block]:
    """What differs, as a sentence about the spread of seeds, an explanation, and the table of gains.

    Args:
        study: its first variant is what all others are compared with, besides the pairs that the paper orders.
        rows: scores.
    """
    blocks: list[Block] = []
    if len({row.seed for row in rows}) > 1:
        spreads = []
        for score in COMPARED:
            by_seed = [mean_by_seed(rows, variant.label, score).values() for variant in study.variants]
            spreads.append(f"{max(max(values) - min(values) for values in by_seed):.2f} dB")
        blocks.append(f"Largest spread between seeds of one variant: {spreads[0]}, without the fit {spreads[1]}.")
    table = gains_table(study, rows)
    return [*blocks, ABOUT_GAINS, table] if table.rows else blocks


def pairs_of(study: Study) -> list[tuple[str, str, bool]]:
    """Labels of the variants that are compared, lower and higher, and whether the paper orders them so."""
    labels = [variant.label for variant in study.variants]
    ordered = [(labels[lower], labels[higher], True) for lower, higher in study.order]
    known = {frozenset(pair[:2]) for pair in ordered}
    others = [(labels[0], label, False) for label in labels[1:] if frozenset((labels[0], label)) not in known]
    return ordered + others


def gains_table(study: Study, rows: Sequence[Row]) -> Table:
    """Two rows for each pair of variants, one a score: the gain, t, p and 95 % interval over seeds and over scenes."""
    units = ["p", "95 %"]
    head = ["pair", "score", "gain, dB", "t over seeds", *units, "t over scenes", *units, "verdict"]
    lines = []
    for lower, higher, is_ordered in pairs_of(study):
        sign = "<" if is_ordered else "to"
        for score in COMPARED:
            over_seeds, over_scenes = gains(rows, lower, higher, score)
            said = verdict(over_seeds, over_scenes)
            if over_seeds.count == 1:
                said = "not shown, one seed"
            elif not is_ordered:
                said = {"holds": "ahead", "does not hold": "behind"}.get(said, said)
            lines.append(
                [
                    f"{lower} {sign} {higher}",
                    "colors fitted" if score == "psnr_fitted" else "PSNR",
                    f"{over_seeds.mean:+.2f}",
                    *_cells(over_seeds),
                    *_cells(over_scenes),
                    said,
                ]
            )
    return Table(head, lines)


def _cells(gain: Gain) -> list[str]:
    """t with its degrees of freedom, p and interval."""
    if gain.count < 2:
        return ["-", "-", "-"]
    p = "< 0.001" if gain.p < 0.001 else f"{gain.p:.3f}"
    return [f"{gain.t:+.2f} ({gain.count - 1})", p, f"[{gain.low:+.2f}, {gain.high:+.2f}]"]


def facts(result: Result) -> dict[str, Any]:
    """The tables of a study as JSON has them; what one seed cannot tell is null.

    Args:
        result: what it found.
    """
    study, rows = result.study, result.rows
    variants = []
    for variant, cost in zip(study.variants, result.costs, strict=True):
        by_score = {}
        for score in (*COMPARED, "ssim", *FURTHER):
            by_seed = mean_by_seed(rows, variant.label, score)
            by_score[score] = {"mean": fmean(by_seed.values()), "by_seed": {str(s): x for s, x in by_seed.items()}}
        told = {"label": variant.label, **asdict(cost), "steps": result.steps[variant.label], "paper": variant.paper}
        if result.rates:
            told["psnr_by_rate"] = {f"{rate:g}": value for rate, value in result.rates[variant.label].items()}
        variants.append({**told, "imitates_psnr": result.guides.get(variant.label), "scores": by_score})
    compared = []
    for lower, higher, is_ordered in pairs_of(study):
        for score in COMPARED:
            tests = gains(rows, lower, higher, score)
            told = {"lower": lower, "higher": higher, "paper_orders": is_ordered, "score": score}
            over = {unit: _finite(asdict(gain)) for unit, gain in zip(("seeds", "scenes"), tests, strict=True)}
            compared.append({**told, "over": over, "verdict": verdict(*tests)})
    return {
        "title": study.title,
        "recipe": result.recipe.to_json(),
        "training_pictures": result.pictures,
        "hours": result.hours,
        "seeds": result.seeds,
        "scenes": sorted({row.scene for row in rows}),
        "variants": variants,
        "gains": compared,
    }


def _finite(values: dict[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def read_rows(path: Path) -> list[Row]:
    """The rows of a study's table of pictures.

    Args:
        path: `NAME.csv` as `reproduce` writes it.

    Raises:
        InputError: for a file that is no such table.
    """
    try:
        table = csv.DictReader(StringIO(read_regular(path).decode()))
        rows = [Row(**{f.name: f.type(line[f.name]) for f in fields(Row)}) for line in table]  # type: ignore[operator]
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise InputError(f"{path}: expected the columns {', '.join(f.name for f in fields(Row))}") from error
    if not rows:
        raise InputError(f"{path}: expected rows below the names of the columns")
    return rows
