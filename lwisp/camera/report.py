"""The report on a learned look: held-out photos beside what else one could do, on one page.

Every photo is scored by a look that was fitted without it. Beside it stand rawpy's default, RawTherapee's (which
matches its curve to the JPEG inside the RAW), both where they are installed, and a classical baseline
(`scoring.ClassicalBaseline`).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from lwisp.camera import scoring
from lwisp.camera.cross_validation import CrossValidation
from lwisp.camera.network import RefinedNetwork
from lwisp.camera.photos import BaseNetwork, PairReader, PreparedPair, apply_look, develop, on_target
from lwisp.camera.placement import AlignedPair
from lwisp.camera.scoring import ClassicalBaseline, Score, read_tool_picture
from lwisp.camera.settings import ReportSettings
from lwisp.collection import OWN, TITLE, report_files
from lwisp.data import folders
from lwisp.errors import unmarked
from lwisp.files.raw import RawImage
from lwisp.files.report import Block, Gallery, Panel, Table, to_html, to_markdown
from lwisp.files.writing import temporary_folder, write_csv, write_text
from lwisp.imaging.pixels import orient, to_integer

ALONE = "lwisp, its look alone"
BASELINE = "curves and matrix"
LABELS = {"RawTherapee default": "RawTherapee"}
"""Of tools, where the report names them otherwise."""


@dataclass(frozen=True)
class Report:
    """Scores of one camera's look on held-out photos."""

    name: str
    photos: tuple[str, ...]
    """That were scored."""
    scores: tuple[Score, ...]
    curve: tuple[tuple[int, float], ...]
    """`CrossValidation.learning_curve`."""
    detail: tuple[float, ...]
    """`scoring.detail` of each scored photo, that of its picture without the look being 1."""
    shading: bool
    """Whether lens shading is corrected."""
    whole: bool
    """Whether the whole network was trained."""
    galleries: tuple[Gallery, ...]
    settings: ReportSettings = ReportSettings()

    @property
    def ways(self) -> list[str]:
        """Ways of developing, the learned one first."""
        return list(dict.fromkeys(score.way for score in self.scores))

    def mean(self, way: str, score: str = "delta_e") -> float:
        """The mean of a score over the photos that were developed one way.

        Args:
            way: One of `ways`.
            score: A field of `Score`: "delta_e" (CIE dE2000), "psnr" (dB) or "ssim".

        Returns:
            The mean, in the unit of the score.
        """
        return float(np.mean([getattr(row, score) for row in self.scores if row.way == way]))

    def means(self) -> dict[str, dict[str, float]]:
        """All means by way and score, with four decimals."""
        return {
            way: {score: round(self.mean(way, score), 4) for score in ("delta_e", "psnr", "ssim")} for way in self.ways
        }


def make_report(
    name: str,
    validation: CrossValidation,
    shading: bool,
    curve: Sequence[tuple[int, float]],
    base: BaseNetwork,
    reader: PairReader,
    refined: RefinedNetwork | None = None,
) -> Report:
    """The scores of held-out photos, developed by what was learned without them and in other ways.

    Args:
        name: Of camera and style, for the page.
        validation: The photos.
        shading: Whether lens shading is corrected.
        curve: `CrossValidation.learning_curve`.
        base: The network that the look comes after.
        reader: Decodes photos; names the settings.
        refined: A network that was trained as a whole: it is scored on the photos that it has not seen.

    Raises:
        OutputError: There is no room for temporary files.
    """
    settings = reader.settings.report
    photos = folders.sample(refined.held_out if refined else validation.photos, settings.photos)
    shown = folders.sample(range(len(photos)), settings.shown)
    scores: list[Score] = []
    details: list[float] = []
    galleries: list[Gallery] = []
    console = Console(stderr=True)
    with temporary_folder() as folder:
        baseline_photos = folders.sample(validation.photos, settings.photos)
        made = scoring.run_tools(base.weights, photos, baseline_photos, settings.tools, folder)
        baseline = ClassicalBaseline(validation, reader, made.get(scoring.PLAIN, {}), settings)
        progress = track(photos, f"{unmarked(name)}: scoring", console=console, transient=True)
        for index, photo in enumerate(progress):
            raw, aligned = reader.read(photo.pair)
            plain, pictures = _develop_learned(photo, raw, validation, shading, base, refined)
            learned = pictures[OWN]
            details.append(scoring.detail(learned, settings.detail_side) / scoring.detail(plain, settings.detail_side))
            on_jpeg = {way: on_target(picture, aligned) for way, picture in pictures.items()}
            for tool in settings.tools:
                if photo.sha256 in made.get(tool, {}):
                    picture = read_tool_picture(made[tool][photo.sha256], raw, learned)
                    on_jpeg[LABELS.get(tool, tool)] = on_target(picture, aligned)
            classical = baseline.develop(photo, raw, aligned, learned)
            if classical is not None:
                on_jpeg[BASELINE] = classical
            own = [scoring.score(photo.pair.raw.name, way, rgb, aligned, settings) for way, rgb in on_jpeg.items()]
            scores += own
            if index in shown:
                galleries.append(_gallery(raw, aligned, on_jpeg, own, settings.thumbnail))
    return Report(
        name,
        tuple(photo.pair.raw.name for photo in photos),
        tuple(scores),
        tuple(curve),
        tuple(details),
        shading,
        refined is not None,
        tuple(galleries),
        settings,
    )


def _develop_learned(
    photo: PreparedPair,
    raw: RawImage,
    validation: CrossValidation,
    shading: bool,
    base: BaseNetwork,
    refined: RefinedNetwork | None,
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.float32]]]:
    """The picture (H, W, 3) of a held-out photo without a look; and by way those of what was learned without it."""
    fold = next(fold for fold in validation.folds if any(photo is member for member in fold))
    fitted = validation.fit(validation.without(fold), shading)
    plain = develop(base.engine, replace(base.convention, shading=fitted.shading), raw)
    with_look = apply_look(fitted.look, plain)
    if refined is None:
        return plain, {OWN: with_look}
    return plain, {OWN: develop(refined.engine, refined.convention, raw), ALONE: with_look}


def _gallery(
    raw: RawImage, aligned: AlignedPair, pictures: dict[str, Tensor], scores: list[Score], thumbnail: int
) -> Gallery:
    """One photo as the camera made it and in all other ways (3, h, w), with their scores."""
    panels = [_panel(aligned.target, raw, "the camera's JPEG", thumbnail)]
    for (way, rgb), row in zip(pictures.items(), scores, strict=True):
        picture = to_integer(rgb.permute(1, 2, 0).numpy(), 8)
        panels.append(_panel(picture, raw, f"{way}\ndE2000 {row.delta_e:.2f}", thumbnail))
    return Gallery(aligned.pair.raw.name, [panels])


def _panel(picture: NDArray[np.uint8], raw: RawImage, caption: str, side: int) -> Panel:
    upright = Image.fromarray(np.ascontiguousarray(orient(picture, raw.orientation)))
    upright.thumbnail((side, side), Image.Resampling.LANCZOS)
    return Panel(np.asarray(upright), caption)


def write(folder: Path, stem: str, report: Report) -> None:
    """Write the page as Markdown and HTML, and the scores as CSV; replaces files of these names.

    Args:
        folder: Exists already.
        stem: Of the files' names.
        report: What to write.

    Raises:
        OutputError: A file cannot be written.
    """
    title = f"{TITLE} {report.name}"
    blocks = to_blocks(report)
    page, html, table = (folder / name for name in report_files(stem))
    write_text(page, to_markdown(title, blocks))
    write_text(html, to_html(title, blocks))
    write_csv(table, report.scores)


def to_blocks(report: Report) -> list[Block]:
    """The page's paragraphs, tables and galleries."""
    ways = sorted(report.ways, key=report.mean)
    means = [
        [way, f"{report.mean(way):.2f}", f"{report.mean(way, 'psnr'):.2f}", f"{report.mean(way, 'ssim'):.4f}"]
        for way in ways
    ]
    by_photo = [[photo, *(_error(report, photo, way) for way in ways)] for photo in report.photos]
    what = "a network that has" if report.whole else "a look that was"
    corners = "brightened as the camera does" if report.shading else "left as they are"
    return [
        f"{len(report.photos)} photos, each developed by {what} learned without it, against the camera's JPEG "
        "at that one's size, where JPEG and RAW show the same. Lower dE2000 is nearer; 1 is hardly seen.",
        Table(["way", "dE2000", "PSNR dB", "SSIM"], means),
        Table(["dE2000 of", *ways], by_photo),
        "How the error of a look falls with the number of photos to learn from (others held out, up to three draws):",
        Table(["photos", "dE2000"], [[str(count), f"{error:.2f}"] for count, error in report.curve]),
        f"Share of fine detail in the contrast, without the look being 1: {min(report.detail):.2f} to "
        f"{max(report.detail):.2f}. The corners are {corners}. {advice(report)}",
        *report.galleries,
    ]


def advice(report: Report) -> str:
    """What more photos would gain, as far as the numbers tell."""
    settings = report.settings
    sentences = []
    if len(report.curve) > 1:
        (before, error), (now, least) = report.curve[-2:]
        learning = error - least > settings.still_learning
        gain = "more photos would help" if learning else "more of the same kind would hardly help"
        sentences.append(f"From {before} to {now} photos the error went from {error:.2f} to {least:.2f}: {gain}.")
    else:
        sentences.append("Two photos say little about a third; more would say how far this look can be trusted.")
    limit = settings.far_off * report.mean(OWN)
    sentences += [
        f"{row.photo} is far off ({row.delta_e:.2f}): photos like it would help."
        for row in report.scores
        if row.way == OWN and len(report.photos) > 2 and row.delta_e > limit
    ]
    return " ".join(sentences)


def _error(report: Report, photo: str, way: str) -> str:
    """The dE2000 of a photo developed one way, as a table has it; "" where it was not."""
    found = (row.delta_e for row in report.scores if (row.photo, row.way) == (photo, way))
    error = next(found, None)
    return "" if error is None else f"{error:.2f}"
