"""How near learned looks come to the camera's own JPEGs, beside what else one could do, on one page.

Every photo is scored by a look that was learned without it. Beside it stand rawpy's default, RawTherapee's (which
matches its curve to the JPEG inside the RAW), both where they run, and the simple rival: rawpy's plain picture with one
curve for each channel, a 3x4 matrix and again curves (`matching.find_look`), fitted to the same photos as the look.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor

from lwisp.batch import Job
from lwisp.camera.pairs import AlignedPair, align
from lwisp.camera.photos import Photo, Workshop, develop, on_target, put_on, usable
from lwisp.data import folders
from lwisp.engines.engine import Engine
from lwisp.errors import printable
from lwisp.evaluation.tools import all_tools
from lwisp.files.pictures import read_rgb
from lwisp.files.raw import RawImage, read_raw
from lwisp.files.report import Block, Gallery, Panel, Table, to_html, to_markdown
from lwisp.files.writing import make_folder, temporary_folder, write_csv, write_text
from lwisp.imaging import matching, metrics
from lwisp.imaging.alignment import find_shift, shift_image
from lwisp.imaging.pixels import orient, to_integer, unorient
from lwisp.model import LWISP
from lwisp.weights import InputConvention, Weights

OWN, ALONE, RIVAL = "lwisp, learned", "lwisp, its look alone", "curves and matrix"
TOOLS = {"rawpy default": "rawpy default", "RawTherapee default": "RawTherapee"}
PLAIN = "rawpy AHD"  # what the rival begins with
PROVEN = 12  # photos that are scored whole, spread evenly over all
SHOWN = 4  # of them that are shown
JUDGED = 300_000  # pixels of a photo whose dE2000 is taken
TILES = 48  # whose SSIM is taken
SIDE = 320  # px of what is shown
DETAIL_SIDE = 1024  # px of the middle whose detail is looked at
STILL_LEARNING = 0.1  # dE2000 that the last doubling of the photos must have gained for more to be advised
FAR_OFF = 1.5  # times the mean, from which on a photo is named as far off


@dataclass(frozen=True)
class Score:
    """How far a held-out photo, developed one way, is from the camera's JPEG, at that one's scale."""

    photo: str
    way: str
    delta_e: float
    psnr: float
    ssim: float


@dataclass(frozen=True)
class Refined:
    """A network that has learned as a whole from other photos than those held out."""

    network: LWISP
    engine: Engine
    convention: InputConvention
    held_out: tuple[Photo, ...]


@dataclass(frozen=True)
class Proof:
    """What is known of one camera's look."""

    name: str
    photos: tuple[str, ...]
    """That were scored."""
    scores: tuple[Score, ...]
    curve: tuple[tuple[int, float], ...]
    """Numbers of photos, with the mean dE2000 of others by what they teach."""
    detail: tuple[float, ...]
    """Of each photo scored: share of fine detail in its contrast, that of the picture without the look being 1."""
    shading: bool
    whole: bool
    """Whether the whole network has learned."""
    galleries: tuple[Gallery, ...]

    @property
    def ways(self) -> list[str]:
        """Ways of developing, the learned one first."""
        return list(dict.fromkeys(score.way for score in self.scores))

    def mean(self, way: str, score: str = "delta_e") -> float:
        """Over the photos that this way has developed."""
        return float(np.mean([getattr(row, score) for row in self.scores if row.way == way]))

    def means(self) -> dict[str, dict[str, float]]:
        """All of them, rounded."""
        return {
            way: {score: round(self.mean(way, score), 4) for score in ("delta_e", "psnr", "ssim")} for way in self.ways
        }


def prove(
    name: str,
    shop: Workshop,
    shading: bool,
    curve: list[tuple[int, float]],
    base: Weights,
    engine: Engine,
    convention: InputConvention,
    refined: Refined | None = None,
) -> Proof:
    """Develop photos by what was learned without them and by other ways, and score all against the camera's JPEGs.

    A network that has learned as a whole is proven on the photos that it was not shown.
    """
    photos = folders.sample(refined.held_out if refined else shop.photos, PROVEN)
    shown = folders.sample(range(len(photos)), SHOWN)
    looks = {photo.sha256: shop.fit(shop.without(fold), shading) for fold in shop.folds for photo in fold}
    folds = {photo.sha256: fold for fold in shop.folds for photo in fold}
    scores: list[Score] = []
    details, galleries, console = [], [], Console(stderr=True)
    with temporary_folder() as bench:
        made = _run_tools(base, photos, folders.sample(shop.photos, PROVEN), bench)
        plain = _Rival(shop, made.get(PLAIN, {}))
        for index, photo in enumerate(track(photos, f"{printable(name)}: scoring", console=console, transient=True)):
            raw, aligned = _open(photo)
            fitted = looks[photo.sha256]
            without = develop(engine, replace(convention, shading=fitted.shading), raw)
            picture = put_on(fitted.look, without)
            ways = {OWN: on_target(picture, aligned)}
            if refined is not None:
                picture = develop(refined.engine, refined.convention, raw)
                ways = {OWN: on_target(picture, aligned), ALONE: ways[OWN]}
            details.append(detail(picture) / detail(without))
            for tool, way in TOOLS.items():
                if photo.sha256 in made.get(tool, {}):
                    ways[way] = on_target(_laid(made[tool][photo.sha256], raw, picture), aligned)
            rival = plain.of(photo, folds[photo.sha256], aligned, raw, picture)
            if rival is not None:
                ways[RIVAL] = rival
            scores += [score(photo.pair.raw.name, way, rgb, aligned) for way, rgb in ways.items()]
            if index in shown:
                galleries.append(_gallery(photo, raw, aligned, ways, scores))
    return Proof(
        name,
        tuple(photo.pair.raw.name for photo in photos),
        tuple(scores),
        tuple(curve),
        tuple(details),
        shading,
        refined is not None,
        tuple(galleries),
    )


def score(photo: str, way: str, rgb: Tensor, aligned: AlignedPair) -> Score:
    """A picture (3, h, w) at the JPEG's scale against the JPEG, where that can be trusted."""
    target = torch.from_numpy(aligned.target).permute(2, 0, 1).float() / 255
    mask = usable(aligned)
    own, wanted = rgb[:, mask][:, None], target[:, mask][:, None]
    step = -(-own.shape[-1] // JUDGED)
    tiles = [tile for tile in aligned.tiles if min(tile.height, tile.width) >= metrics.WINDOW]
    similar = []
    for tile in folders.sample(tiles, TILES):
        part = (..., slice(tile.top, tile.top + tile.height), slice(tile.left, tile.left + tile.width))
        similar.append(metrics.ssim(rgb[part], target[part]))
    near = metrics.delta_e(own[..., ::step], wanted[..., ::step])
    return Score(photo, way, near, metrics.psnr(own, wanted), float(np.mean(similar)) if similar else float("nan"))


def detail(picture: NDArray[np.float32]) -> float:
    """Share of a picture's (H, W, 3) contrast that lies above half the highest frequency, in the luma of its middle."""
    height, width = (min(side, DETAIL_SIDE) for side in picture.shape[:2])
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    luma = torch.from_numpy(np.ascontiguousarray(picture[top : top + height, left : left + width])).mean(-1)
    window = torch.outer(torch.hann_window(height), torch.hann_window(width))
    energy = torch.fft.fft2((luma - luma.mean()) * window).abs().square()
    down, across = torch.fft.fftfreq(height).abs()[:, None], torch.fft.fftfreq(width).abs()[None]
    fine = torch.maximum(down, across) > 0.25
    return float(energy[fine].sum() / energy.sum().clamp(min=1e-12))


def _run_tools(base: Weights, photos: list[Photo], all_photos: list[Photo], bench: Path) -> dict[str, dict[str, Path]]:
    """The pictures of all tools that are here: tool -> photo's SHA-256 -> PNG, upright.

    What the rival begins with is made of `all_photos`, for it learns from those that are not scored too.
    """
    tools = {tool.name: tool for tool in all_tools(base) if tool.name in (*TOOLS, PLAIN) and tool.installed}
    made: dict[str, dict[str, Path]] = {}
    for number, (name, tool) in enumerate(tools.items()):
        make_folder(bench / str(number))
        wanted = {photo.sha256: photo for photo in (*photos, *(all_photos if name == PLAIN else ()))}
        jobs = {
            key: Job(photo.pair.raw, bench / str(number) / f"{i}.png", "png")
            for i, (key, photo) in enumerate(wanted.items())
        }
        failed = tool.develop(list(jobs.values()))
        made[name] = {key: job.output for key, job in jobs.items() if job.source not in failed}
    return made


def _laid(path: Path, raw: RawImage, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """A tool's picture as the mosaic is stored, laid onto ours, (H, W, 3) in [0, 1]."""
    stored = np.ascontiguousarray(unorient(read_rgb(path), raw.orientation))
    shift = find_shift(stored, to_integer(picture, 8))
    return shift_image(stored, shift, picture.shape[:2]).astype(np.float32) / np.float32(255)


def _open(photo: Photo) -> tuple[RawImage, AlignedPair]:
    """A photo and its JPEG laid on; not kept, for a dozen of them may be gigabytes."""
    raw = read_raw(photo.pair.raw)
    return raw, align(photo.pair, raw)


class _Rival:
    """The simple way: curves, a matrix and curves after a plain picture, fitted to the photos that the look saw."""

    def __init__(self, shop: Workshop, plain: dict[str, Path]) -> None:
        self.shop, self.plain = shop, plain
        self.seen: dict[str, tuple[Tensor, Tensor]] = {}
        self.looks: dict[tuple[str, ...], matching.GlobalLook] = {}

    def of(
        self,
        photo: Photo,
        fold: tuple[Photo, ...],
        aligned: AlignedPair,
        raw: RawImage,
        picture: NDArray[np.float32],
    ) -> Tensor | None:
        """The rival's picture of a held-out photo at the JPEG's scale; none where rawpy has not made all."""
        others = [other for other in self.shop.without(fold) if other.sha256 in self.plain]
        if photo.sha256 not in self.plain or not others:
            return None
        key = tuple(other.sha256 for other in others)
        if key not in self.looks:
            pixels = [self._pixels(other) for other in others]
            self.looks[key] = matching.find_look(*(torch.cat(part, 1)[:, None] for part in zip(*pixels, strict=True)))
        return self.looks[key](on_target(_laid(self.plain[photo.sha256], raw, picture), aligned))

    def _pixels(self, photo: Photo) -> tuple[Tensor, Tensor]:
        if photo.sha256 not in self.seen:
            raw, aligned = _open(photo)
            stored = np.ascontiguousarray(unorient(read_rgb(self.plain[photo.sha256]), raw.orientation))
            plain = on_target(
                shift_image(stored, _centered(stored, raw), raw.mosaic.shape).astype(np.float32) / np.float32(255),
                aligned,
            )
            mask = usable(aligned)
            step = -(-int(mask.sum()) // (JUDGED // 10))
            target = torch.from_numpy(aligned.target).permute(2, 0, 1).float() / 255
            self.seen[photo.sha256] = plain[:, mask][:, ::step], target[:, mask][:, ::step]
        return self.seen[photo.sha256]


def _centered(picture: NDArray[np.uint8], raw: RawImage) -> tuple[int, int]:
    """How a picture of another size lies on the mosaic where the same is cut off on both sides."""
    rows, columns = (-((side - own) // 2) for side, own in zip(raw.mosaic.shape, picture.shape[:2], strict=True))
    return rows, columns


def _gallery(
    photo: Photo, raw: RawImage, aligned: AlignedPair, ways: dict[str, Tensor], scores: list[Score]
) -> Gallery:
    panels = [_panel(aligned.target, raw, "the camera's JPEG")]
    for way, rgb in ways.items():
        near = next(row.delta_e for row in reversed(scores) if row.way == way and row.photo == photo.pair.raw.name)
        panels.append(_panel(to_integer(rgb.permute(1, 2, 0).numpy(), 8), raw, f"{way}\ndE2000 {near:.2f}"))
    return Gallery(photo.pair.raw.name, [panels])


def _panel(picture: NDArray[np.uint8], raw: RawImage, caption: str) -> Panel:
    shown = Image.fromarray(np.ascontiguousarray(orient(picture, raw.orientation)))
    shown.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    return Panel(np.asarray(shown), caption)


def write(folder: Path, stem: str, proof: Proof) -> None:
    """The page as Markdown and HTML, and the scores as CSV; replaces what is there."""
    title, blocks = f"The look of {proof.name}", report(proof)
    write_csv(folder / f"{stem}.csv", proof.scores)
    write_text(folder / f"{stem}.md", to_markdown(title, blocks))
    write_text(folder / f"{stem}.html", to_html(title, blocks))


def report(proof: Proof) -> list[Block]:
    """What the page says."""
    ways = sorted(proof.ways, key=proof.mean)
    rows = [
        [way, f"{proof.mean(way):.2f}", f"{proof.mean(way, 'psnr'):.2f}", f"{proof.mean(way, 'ssim'):.4f}"]
        for way in ways
    ]
    each = [
        [photo, *(f"{row.delta_e:.2f}" if (row := _find(proof, photo, way)) else "" for way in ways)]
        for photo in proof.photos
    ]
    what = "a network that has" if proof.whole else "a look that was"
    return [
        f"{len(proof.photos)} photos, each developed by {what} learned without it, against the camera's JPEG "
        "at that one's size, where JPEG and RAW show the same. Lower dE2000 is nearer; 1 is hardly seen.",
        Table(["way", "dE2000", "PSNR dB", "SSIM"], rows),
        Table(["dE2000 of", *ways], each),
        "How the error of a look falls with the number of photos to learn from (others held out, up to three draws):",
        Table(["photos", "dE2000"], [[str(count), f"{error:.2f}"] for count, error in proof.curve]),
        f"Share of fine detail in the contrast, without the look being 1: {min(proof.detail):.2f} to "
        f"{max(proof.detail):.2f}. "
        + ("The corners are brightened as the camera does. " if proof.shading else "The corners are left as they are. ")
        + advice(proof),
        *proof.galleries,
    ]


def advice(proof: Proof) -> str:
    """What more photos would do, as far as the numbers say."""
    said = []
    if len(proof.curve) > 1:
        (before, error), (now, least) = proof.curve[-2:]
        more = "more photos would help" if error - least > STILL_LEARNING else "more of the same kind would hardly help"
        said.append(f"From {before} to {now} photos the error went from {error:.2f} to {least:.2f}: {more}.")
    else:
        said.append("Two photos say little about a third; more would say how far this look can be trusted.")
    mean = proof.mean(OWN)
    said += [
        f"{row.photo} is far off ({row.delta_e:.2f}): photos like it would help."
        for row in proof.scores
        if row.way == OWN and len(proof.photos) > 2 and row.delta_e > FAR_OFF * mean
    ]
    return " ".join(said)


def _find(proof: Proof, photo: str, way: str) -> Score | None:
    return next((row for row in proof.scores if (row.photo, row.way) == (photo, way)), None)
