"""Scores of held-out photos against their camera's JPEGs: by learned looks, by other tools, by a classical baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwisp.camera.cross_validation import CrossValidation
from lwisp.camera.photos import PairReader, PreparedPair, accepted_pixels, on_target
from lwisp.camera.placement import AlignedPair
from lwisp.camera.settings import ReportSettings
from lwisp.data import folders
from lwisp.evaluation.tools import all_tools
from lwisp.files.pictures import read_rgb
from lwisp.files.raw import RawImage
from lwisp.files.writing import make_folder
from lwisp.imaging import matching, metrics
from lwisp.imaging.alignment import find_shift, shift_image
from lwisp.imaging.pixels import to_integer, unorient
from lwisp.planning import Job
from lwisp.weights import Weights

PLAIN = "rawpy AHD"
"""The tool whose pictures the classical baseline is fitted to."""

ToolPictures = dict[str, dict[str, Path]]
"""Name of a tool -> SHA-256 of a photo's RAW -> PNG, upright."""


@dataclass(frozen=True)
class Score:
    """Scores of one held-out photo, developed one way, against the camera's JPEG at the JPEG's size."""

    photo: str
    way: str
    delta_e: float
    """Mean CIE dE2000."""
    psnr: float
    """dB."""
    ssim: float
    """Mean over tiles."""


def score(
    photo: str, way: str, rgb: Tensor, aligned: AlignedPair, settings: ReportSettings = ReportSettings()
) -> Score:
    """The scores of a picture where the JPEG can be trusted.

    Args:
        photo: Name of the photo.
        way: How it was developed.
        rgb: The picture, (3, h, w) in [0, 1], at the JPEG's size.
        aligned: The JPEG.
        settings: How many pixels and tiles are compared.
    """
    target = _target(aligned)
    mask = accepted_pixels(aligned)
    own = rgb[:, mask][:, None]
    expected = target[:, mask][:, None]
    step = -(-own.shape[-1] // settings.pixels)
    tiles = [tile for tile in aligned.tiles if min(tile.height, tile.width) >= metrics.WINDOW]
    similarities = []
    for tile in folders.sample(tiles, settings.tiles):
        rows = slice(tile.top, tile.top + tile.height)
        columns = slice(tile.left, tile.left + tile.width)
        similarities.append(metrics.ssim(rgb[..., rows, columns], target[..., rows, columns]))
    return Score(
        photo,
        way,
        metrics.delta_e(own[..., ::step], expected[..., ::step]),
        metrics.psnr(own, expected),
        float(np.mean(similarities)) if similarities else float("nan"),
    )


def detail(picture: NDArray[np.float32], side: int = ReportSettings.detail_side) -> float:
    """Share of a picture's contrast above half the Nyquist frequency, 0 to 1.

    Args:
        picture: (H, W, 3).
        side: px of the central crop whose luma (mean of the channels, Hann window) is transformed.
    """
    height = min(side, picture.shape[0])
    width = min(side, picture.shape[1])
    top = (picture.shape[0] - height) // 2
    left = (picture.shape[1] - width) // 2
    luma = torch.from_numpy(np.ascontiguousarray(picture[top : top + height, left : left + width])).mean(-1)
    window = torch.outer(torch.hann_window(height), torch.hann_window(width))
    energy = torch.fft.fft2((luma - luma.mean()) * window).abs().square()
    down = torch.fft.fftfreq(height).abs()[:, None]
    across = torch.fft.fftfreq(width).abs()[None]
    fine = torch.maximum(down, across) > 0.25  # cycles/px
    return float(energy[fine].sum() / energy.sum().clamp(min=1e-12))


def run_tools(
    weights: Weights,
    photos: Sequence[PreparedPair],
    baseline_photos: Sequence[PreparedPair],
    tools: Sequence[str],
    folder: Path,
) -> ToolPictures:
    """The pictures that other tools make of the photos.

    Args:
        weights: Of the base network, which is among the tools.
        photos: Developed by all tools.
        baseline_photos: Developed by `PLAIN` too, for the classical baseline is fitted to photos that are not scored.
        tools: Names; those that are not installed are left out.
        folder: Where the pictures go.
    """
    installed = [tool for tool in all_tools(weights) if tool.name in (*tools, PLAIN) and tool.installed]
    pictures: ToolPictures = {}
    for number, tool in enumerate(installed):
        place = folder / str(number)
        make_folder(place)
        wanted = [*photos, *(baseline_photos if tool.name == PLAIN else ())]
        by_digest = {photo.sha256: photo for photo in wanted}
        jobs = {
            digest: Job(photo.pair.raw, place / f"{index}.png", "png")
            for index, (digest, photo) in enumerate(by_digest.items())
        }
        failed = tool.develop(list(jobs.values()))
        pictures[tool.name] = {digest: job.output for digest, job in jobs.items() if job.source not in failed}
    return pictures


def read_tool_picture(path: Path, raw: RawImage, reference: NDArray[np.float32]) -> NDArray[np.float32]:
    """A tool's picture, shifted onto a reference by whole pixels.

    Args:
        path: The picture, upright.
        raw: Its RAW.
        reference: (H, W, 3) in [0, 1], a pixel for each photosite, oriented as the mosaic is stored.

    Returns:
        (H, W, 3) in [0, 1], oriented as the reference.
    """
    stored = _read_stored(path, raw)
    shift = find_shift(stored, to_integer(reference, 8))
    return shift_image(stored, shift, reference.shape[:2]).astype(np.float32) / np.float32(255)


class ClassicalBaseline:
    """Curves, a 3x4 matrix and curves (`matching.find_look`) after the plain picture of rawpy, cross-validated.

    It is fitted to the same photos as the look that it is compared with.
    """

    def __init__(
        self, validation: CrossValidation, reader: PairReader, plain: dict[str, Path], settings: ReportSettings
    ) -> None:
        self.validation = validation
        self.reader = reader
        self.plain = plain
        self.settings = settings
        self._pixels: dict[str, tuple[Tensor, Tensor]] = {}
        self._looks: dict[tuple[str, ...], matching.GlobalLook] = {}

    def develop(
        self, photo: PreparedPair, raw: RawImage, aligned: AlignedPair, reference: NDArray[np.float32]
    ) -> Tensor | None:
        """The baseline's picture of a photo, by a fit to the photos outside of its fold.

        Args:
            photo: The photo.
            raw: Its RAW.
            aligned: Its JPEG.
            reference: (H, W, 3) in [0, 1], a picture of its mosaic onto which rawpy's is shifted.

        Returns:
            (3, h, w) at the JPEG's size; None where rawpy has not developed it, or none of the others.
        """
        fold = next(fold for fold in self.validation.folds if any(photo is member for member in fold))
        others = [other for other in self.validation.without(fold) if other.sha256 in self.plain]
        if photo.sha256 not in self.plain or not others:
            return None
        look = self._fit(others)
        plain = read_tool_picture(self.plain[photo.sha256], raw, reference)
        return look(on_target(plain, aligned))

    def _fit(self, photos: list[PreparedPair]) -> matching.GlobalLook:
        key = tuple(photo.sha256 for photo in photos)
        if key not in self._looks:
            pixels = [self._read_pixels(photo) for photo in photos]
            rgb = torch.cat([source for source, _ in pixels], 1)
            target = torch.cat([target for _, target in pixels], 1)
            self._looks[key] = matching.find_look(rgb[:, None], target[:, None])
        return self._looks[key]

    def _read_pixels(self, photo: PreparedPair) -> tuple[Tensor, Tensor]:
        """Accepted pixels of rawpy's picture and of the camera's, (3, n) each."""
        if photo.sha256 not in self._pixels:
            raw, aligned = self.reader.read(photo.pair)
            stored = _read_stored(self.plain[photo.sha256], raw)
            shift = _centered(stored.shape, raw.mosaic.shape)
            plain = shift_image(stored, shift, raw.mosaic.shape).astype(np.float32) / np.float32(255)
            mask = accepted_pixels(aligned)
            step = -(-int(mask.sum()) // (self.settings.pixels // 10))
            source = on_target(plain, aligned)[:, mask][:, ::step]
            self._pixels[photo.sha256] = source, _target(aligned)[:, mask][:, ::step]
        return self._pixels[photo.sha256]


def _target(aligned: AlignedPair) -> Tensor:
    """The JPEG as (3, h, w) in [0, 1]."""
    return torch.from_numpy(aligned.target).permute(2, 0, 1).float() / 255


def _read_stored(path: Path, raw: RawImage) -> NDArray[np.uint8]:
    """An upright picture, turned as the mosaic is stored."""
    return np.ascontiguousarray(unorient(read_rgb(path), raw.orientation))


def _centered(shape: tuple[int, ...], frame: tuple[int, ...]) -> tuple[int, int]:
    """The shift (rows, columns) of a picture that is cropped equally on opposite sides of the frame."""
    return -((frame[0] - shape[0]) // 2), -((frame[1] - shape[1]) // 2)
