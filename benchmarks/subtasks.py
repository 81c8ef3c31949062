"""The page of the subtasks: denoising and low light, beside classical baselines and networks trained like ours.

    python benchmarks/subtasks.py DATA --output docs/results [--baselines runs/KEY.safetensors,...] [--only polyu,...]

DATA holds `polyu/val`, `sidd`, `photos/mcmaster18`, `photos/val` and `lol`. Baselines are what
`lwisp reproduce denoise-clock recipes/denoise-study.toml` trained, `--polyu` what `lwisp train recipes/polyu.toml` did.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

from lwisp.errors import InputError
from lwisp.evaluation.scoring import PictureScores, Report, evaluate
from lwisp.files.report import Block, Heading, Table, to_markdown
from lwisp.files.writing import make_folder, write_csv, write_text
from lwisp.imaging.scores import DECIMALS, TITLES
from lwisp.imaging.significance import Gain, gain_of
from lwisp.weights import load

SCORES = ("psnr", "ssim", "lpips")
FILTERS = ("bm3d", "nlm", "wavelets")
LIGHT = ("equalized", "clahe-plain", "clahe")
NAMES = {
    "once": "the same, one pass",
    "given": "nothing done",
    "bm3d": "BM3D, best sigma by oracle",
    "nlm": "non-local means, best sigma by oracle",
    "wavelets": "wavelets, best sigma by oracle",
    "equalized": "histogram equalization",
    "clahe-plain": "CLAHE",
    "clahe": "CLAHE, best clip limit by oracle",
}
TITLE = "The paper's subtasks: denoising and low light"
HEAD = """\
Made by `python benchmarks/subtasks.py` in one run; every picture: [subtasks.csv](subtasks.csv). In brackets 95 %
intervals over pictures: of means by the bootstrap, of leads by Student's t, with its p. A filter *by oracle* gets,
picture by picture, the setting that is best against the truth, so it is scored better than anyone could use it.

**Better denoisers exist, and far larger ones**: on SIDD the paper prints 39.44 dB for LW-ISP, NAFNet's authors 40.30 dB
for theirs, of fourteen times the parameters. Those are figures of papers, of networks trained on SIDD for days; nothing
on this page was trained on SIDD, LoL or McMaster, and on PolyU only what says so."""

TRAINED = """Networks beside were trained by the same loop on the same photographs for the same time on one machine
(`lwisp reproduce denoise-clock`)."""


@dataclass(frozen=True)
class Section:
    """One protocol on some folders."""

    key: str
    """Its name for `--only`."""
    title: str
    weights: str
    """Name of the shipped weights."""
    protocol: str
    folders: tuple[str, ...]
    """Within DATA."""
    beside: tuple[str, ...] = ()
    """Classical baselines."""
    ours: bool = False
    """Whether the baselines that we trained take part."""
    published: tuple[tuple[str, str, str], ...] = ()
    """Method, PSNR and source of figures that others print for the whole test set."""


LOL = (
    ("CRM (Ying et al., ICCV Workshops 2017)", "17.20", "Zamir et al., MIRNet, ECCV 2020"),
    ("MF (Fu et al., Signal Processing 2016)", "18.79", "the same"),
    ("LW-ISP, trained on LoL", "20.18", "Chen, Ma, LW-ISP, BMVC 2022, section 4.2"),
    ("MIRNet, trained on LoL", "24.14", "Zamir et al., MIRNet, ECCV 2020"),
)
"""Published for LoL's `eval15`, brightness as it comes out."""
SECTIONS = (
    Section("polyu", "PolyU, validation scenes", "denoise", "denoise/polyu", ("polyu/val",), FILTERS, True),
    Section("sidd", "SIDD, four crops", "denoise", "denoise/sidd-crops", ("sidd",), FILTERS, True),
    Section(
        "mcmaster", "McMaster, a camera's noise", "denoise", "denoise/photos", ("photos/mcmaster18",), FILTERS, True
    ),
    Section(
        "raw", "McMaster, RAW to clean RAW", "denoise-raw", "denoise-raw/photos", ("photos/mcmaster18",), ("nlm",)
    ),
    Section(
        "lowlight", "Low light, photographs", "enhance", "lowlight/photos", ("photos/val", "photos/mcmaster18"), LIGHT
    ),
    Section("lol", "Low light, two pairs of LoL", "enhance", "lowlight/pairs", ("lol",), LIGHT, published=LOL),
)  # fmt: skip


def main() -> None:
    """Score every section and write the page."""
    options = _parse()
    baselines = tuple(path for path in options.baselines.split(",") if path)
    wanted = options.only.split(",") if options.only else [section.key for section in SECTIONS]
    make_folder(options.output)
    blocks: list[Block] = [HEAD, *([TRAINED] if baselines else [])]
    rows: list[PictureScores] = []
    for section in SECTIONS:
        if section.key not in wanted:
            continue
        labels = {path: _trained(path) for path in baselines if section.ours}
        if options.polyu and section.key == "polyu":
            labels[options.polyu] = "LW-ISP, trained on PolyU's other scenes (research only)"
        report = _score(section, options, tuple(labels))
        added = describe(section, report, labels, options.side)
        blocks += added
        rows += [replace(row, picture=f"{section.key}: {row.picture}") for row in report.rows]
        print(to_markdown("", added, rule="---"), flush=True)
        write_csv(options.output / "subtasks.csv", rows)
        write_text(options.output / "subtasks.md", to_markdown(TITLE, blocks, rule="---"))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="The page of the subtasks.")
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--baselines", default="", help="weights files, with commas between")
    parser.add_argument("--polyu", help="research weights that PolyU's other scenes trained")
    parser.add_argument("--only", default="", help=f"of {', '.join(section.key for section in SECTIONS)}")
    parser.add_argument("--side", type=int, default=None, help="score the middles of so many px, which is quicker")
    for name in ("denoise", "denoise-raw", "enhance"):
        parser.add_argument(f"--{name}", default=name, help="weights in place of the shipped ones")
    return parser.parse_args()


def _score(section: Section, options: argparse.Namespace, trained: tuple[str, ...]) -> Report:
    """Scores of a section, with those of one pass where the weights are used with several."""
    weights = load(getattr(options, section.weights.replace("-", "_")))
    folders = [options.data / folder for folder in section.folders]
    side = options.side if section.protocol != "denoise-raw/photos" else None  # those are small already
    sheet = options.output / f"subtasks-{section.key}.png"
    beside = (*section.beside, *trained)
    report = evaluate(weights, folders, section.protocol, sheet=sheet, beside=beside, side=side)
    if report.passes == 1:
        return report
    return _with_one_pass(report, evaluate(weights, folders, section.protocol, side=side, passes=1))


def _with_one_pass(report: Report, once: Report) -> Report:
    """The rows of a report, and after the network's those of one pass of it."""
    added = {
        (row.picture, row.case, row.chain): replace(row, chain=row.chain.replace("network", "once"))
        for row in once.rows
        if row.chain.startswith("network")
    }
    rows = [[row, added.get((row.picture, row.case, row.chain))] for row in report.rows]
    return replace(report, rows=tuple(row for pair in rows for row in pair if row is not None))


def _trained(path: str) -> str:
    return f"{getattr(load(path).card.architecture, 'network', 'LW-ISP')}, trained for equal time"


def describe(section: Section, report: Report, labels: dict[str, str], side: int | None) -> list[Block]:
    """The heading of a section, what was scored, and the table of scores."""
    about = (
        f"Protocol `{report.protocol}` (`docs/evaluation.md`), {report.data}"
        + (f", the middles of {side} px" if side else "")
        + f"; weights {report.weights} (SHA-256 of the tensors {report.sha256[:16]}), {report.precision}, "
        f"{report.passes} pass{'es' if report.passes > 1 else ''}."
    )
    names = {"network": f"lwisp {section.weights}", **NAMES, **labels}
    rows = []
    for case, chain in report.groups:
        base, _, scaled = chain.partition(", ")
        label = names.get(base, base) + (", at the truth's mean" if scaled else "")
        rows.append([case or "all", label, *_means(report, case, chain), _lead(report, case, chain)])
    head = ["data", "", *(TITLES[score] for score in SCORES), "ours is ahead by dB"]
    blocks: list[Block] = [Heading(section.title), about, Table(head, rows)]
    if section.published:
        blocks.append("Published for all pairs of the test set, by others than us and not measured here:")
        blocks.append(Table(["method", "PSNR dB", "printed by"], [list(row) for row in section.published]))
    return blocks


def _means(report: Report, case: str, chain: str) -> list[str]:
    low, high = report.interval(case, chain, "psnr")
    cells = [f"{report.mean(case, chain, 'psnr'):.2f} [{low:.2f}, {high:.2f}]"]
    return cells + [f"{report.mean(case, chain, score):.{DECIMALS[score]}f}" for score in SCORES[1:]]


def _lead(report: Report, case: str, chain: str) -> str:
    """By how many dB the network is ahead of a chain, by Student's t over pictures; nothing for the network itself."""
    base, _, scaled = chain.partition(", ")
    if base == "network":
        return ""
    own = f"network, {scaled}" if scaled else "network"
    gains = [a - b for a, b in zip(_psnr(report, case, own), _psnr(report, case, chain), strict=True)]
    return lead(gain_of(gains))


def lead(gain: Gain) -> str:
    """A mean gain in dB with its 95 % interval and p, which one picture alone does not have."""
    if gain.count == 1:
        return f"{gain.mean:+.2f}, one picture"
    p = "< 0.001" if gain.p < 0.001 else f"= {gain.p:.3f}"
    return f"{gain.mean:+.2f} [{gain.low:+.2f}, {gain.high:+.2f}], p {p}"


def _psnr(report: Report, case: str, chain: str) -> list[float]:
    return [row.psnr for row in report.rows if (row.case, row.chain) == (case, chain)]


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        raise SystemExit(f"subtasks: {error}") from error
