"""The page of a comparison of tools: its scores as tables, and what is said about them."""

import math
from dataclasses import dataclass

import numpy as np

from lwisp.evaluation.tools import Tool
from lwisp.files.report import Block, Gallery, Table
from lwisp.imaging.scores import interval


@dataclass(frozen=True)
class ToolScores:
    """Scores of one RAW developed by one tool; nan where there is no ground truth or no chart to score by."""

    picture: str
    case: str
    """The folder it lies in, where the RAWs lie in several."""
    tool: str
    seconds: float
    """Mean over all RAWs of the tool's run, its start included."""
    cpu_seconds: float
    failure: str = ""
    psnr: float = math.nan
    ssim: float = math.nan
    delta_e: float = math.nan
    psnr_fitted: float = math.nan
    """dB after `matching.fit_look`, as the next three scores are."""
    ssim_fitted: float = math.nan
    delta_e_fitted: float = math.nan
    false_color: float = math.nan
    """`metrics.false_color`, of 255."""
    chart: float = math.nan
    """Mean dE2000 of a ColorChecker as shot."""
    chart_balanced: float = math.nan
    """The same with the cast of its grays removed."""


TITLES = {
    "psnr": ("PSNR dB", 2),
    "ssim": ("SSIM", 4),
    "delta_e": ("dE2000", 2),
    "psnr_fitted": ("PSNR dB, fitted", 2),
    "ssim_fitted": ("SSIM, fitted", 4),
    "delta_e_fitted": ("dE2000, fitted", 2),
    "false_color": ("false color", 2),
    "chart": ("chart dE2000, as shot", 2),
    "chart_balanced": ("chart dE2000, cast removed", 2),
}
"""Score -> its title, and the decimals it is printed with."""


@dataclass(frozen=True)
class Comparison:
    """Scores of all tools on all RAW files, and the pictures that are shown."""

    weights: str
    precision: str
    tools: tuple[Tool, ...]
    rows: tuple[ToolScores, ...]
    galleries: tuple[Gallery, ...]
    command: str

    @property
    def failures(self) -> list[str]:
        """Why lwisp itself has no picture, for each RAW that failed."""
        return [row.failure for row in self.rows if row.tool == self.tools[0].name and row.failure]

    @property
    def count(self) -> int:
        """Number of RAW files."""
        return len(self.rows) // len(self.tools)

    def values(self, case: str, tool: str, score: str) -> list[float]:
        """A score of one tool's pictures, in the order of the RAW files.

        Args:
            case: `ToolScores.case` of the pictures.
            tool: Name of the tool.
            score: A field of `ToolScores`, such as the keys of `TITLES`.

        Returns:
            One value for each RAW file; NaN where the tool has no picture.
        """
        return [getattr(row, score) for row in self.rows if (row.case, row.tool) == (case, tool)]

    def mean(self, case: str, tool: str, score: str) -> float:
        """Mean of a score of one tool over all RAW files.

        Args:
            case: `ToolScores.case` of the pictures.
            tool: Name of the tool.
            score: A field of `ToolScores`, such as the keys of `TITLES`.

        Returns:
            The mean, in the unit of the score; NaN where the tool lacks a picture: only means over the same pictures
            can be compared.
        """
        return float(np.mean(self.values(case, tool, score) or [math.nan]))


def describe(comparison: Comparison) -> list[Block]:
    """The page of a comparison: what was done, the tools, the scores, the pictures."""
    blocks: list[Block] = [
        f"{comparison.count} RAW files. Weights {comparison.weights}, {comparison.precision}. "
        f"Command: {comparison.command}",
        _tools_table(comparison),
        "Seconds are a picture's share of the tool's whole run, its start and the writing of a PNG included; CPU "
        "seconds are summed over all cores.",
    ]
    cases = list(dict.fromkeys(row.case for row in comparison.rows))
    if any(not math.isnan(row.psnr) for row in comparison.rows):
        blocks.append(HOW)
        for case in cases:
            blocks += [f"{case or 'All'}: {_lead(comparison, case)}", _scores_table(comparison, case)]
    if any(not math.isnan(row.chart) for row in comparison.rows):
        blocks += [HOW_CHARTS, _charts_table(comparison)]
    return [*blocks, *comparison.galleries]


HOW = (
    "As is: the 8-bit picture against the truth, laid onto it by whole pixels, 12 px left out on every side; dE2000 on "
    "every fourth pixel. A finished look, of any tool, scores badly so. Fitted: after the rising curve for each "
    "channel, the 3x4 matrix in linear light and again the rising curve for each channel that bring that picture "
    "nearest to its truth, so that nobody is punished for its look: what is left is detail and noise. False color: "
    "the root mean square, of 255, of the error of fine detail (less its Gaussian blur of 3 px) in R - G and B - G, "
    "after the same fit; smaller is better. The tool that is told the noise model is told the true one."
)
HOW_CHARTS = (
    "Charts: mean CIE dE2000 of the 24 patches after one exposure (a scalar in linear light, fitted to L* of the six "
    "neutrals), as shot, and with the cast removed (gains that give the mean of N8 to N3.5 its true color). Reference: "
    "colour-science's ColorChecker 24 after November 2014, D50, Bradford."
)


def _tools_table(comparison: Comparison) -> Table:
    rows = []
    for tool in comparison.tools:
        own = [row for row in comparison.rows if row.tool == tool.name]
        failed = [row.failure for row in own if row.failure]
        done = len(failed) < len(own)
        note = f"{len(failed)} of {len(own)} failed: {failed[0]}" if failed else ""
        times = [f"{own[0].seconds:.2f}", f"{own[0].cpu_seconds:.2f}"] if done else ["", ""]
        rows.append([tool.name, tool.version if tool.installed else "", tool.about, *times, note])
    return Table(["tool", "version", "options", "s", "CPU s", "note"], rows)


def _scores_table(comparison: Comparison, case: str) -> Table:
    names = [name for name in TITLES if not name.startswith("chart")]
    means = {tool.name: [comparison.mean(case, tool.name, name) for name in names] for tool in comparison.tools}
    ranked = sorted(
        (tool for tool in means if not math.isnan(means[tool][0])),
        key=lambda tool: -means[tool][names.index("psnr_fitted")],
    )
    rows = [
        [tool, *(f"{mean:.{TITLES[name][1]}f}" for name, mean in zip(names, means[tool], strict=True))]
        for tool in ranked
    ]
    return Table(["tool", *(TITLES[name][0] for name in names)], rows)


def _lead(comparison: Comparison, case: str) -> str:
    """How far each of lwisp's two is ahead of the best other tool, by means over the same pictures."""
    ours = comparison.tools[:2]
    others = [tool.name for tool in comparison.tools[2:]]
    said = []
    for name, sign, unit in (("psnr_fitted", 1, "dB fitted PSNR"), ("delta_e", -1, "dE2000 as is")):
        scored = [tool for tool in others if not math.isnan(comparison.mean(case, tool, name))]
        if not scored:
            return "no other tool has made all pictures."
        best = max(scored, key=lambda tool: sign * comparison.mean(case, tool, name))
        for own in ours:
            pairs = zip(comparison.values(case, own.name, name), comparison.values(case, best, name), strict=True)
            leads = [sign * (first - second) for first, second in pairs]
            low, high = interval(leads)
            said.append(f"{own.name} {np.mean(leads):+.2f} [{low:+.2f}, {high:+.2f}] {unit} ahead of {best}")
    return "; ".join(said) + " (in brackets 95 % intervals, bootstrap over pictures)."


def _charts_table(comparison: Comparison) -> Table:
    pictures = list(dict.fromkeys(row.picture for row in comparison.rows if not math.isnan(row.chart)))
    rows = []
    for tool in comparison.tools:
        own = {row.picture: row for row in comparison.rows if row.tool == tool.name and not math.isnan(row.chart)}
        if own:
            pairs = [(own[name].chart, own[name].chart_balanced) if name in own else None for name in pictures]
            rows.append([tool.name, *(f"{pair[0]:.1f} / {pair[1]:.1f}" if pair else "" for pair in pairs)])
    return Table(["as shot / cast removed", *pictures], rows)
