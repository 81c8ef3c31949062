"""The tools that a photographer would pick, lwisp among them: each a `Tool`, all with the same jobs to do.

rawpy is always told to take the camera's white balance, which it would not by itself. darktable and RawTherapee run as
programs of their own, all files at once, apart from the user's settings.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rawpy
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from lwisp.development import Settings, develop_files
from lwisp.engines.names import Precision
from lwisp.errors import DiskFullError, InputError, OutputError
from lwisp.evaluation import darktable, rawtherapee
from lwisp.evaluation.commands import Failures, for_each, read_version, write_png
from lwisp.files.decoding import is_own, opened
from lwisp.files.linear import read_any, size_of
from lwisp.files.pictures import read_rgb, write_picture
from lwisp.imaging import color
from lwisp.imaging.pixels import orient
from lwisp.pipeline import Developer
from lwisp.planes import FrameExposure
from lwisp.planning import Job
from lwisp.weights import Weights

ORIENTATION_TAG = 274  # of EXIF
VERSION_OPTIONS = {program.PROGRAM: program.VERSION_OPTION for program in (darktable, rawtherapee)}

_PLAIN = {"no_auto_bright": True, "gamma": (2.4, 12.92)}  # the sRGB curve
_AHD = {"demosaic_algorithm": rawpy.DemosaicAlgorithm.AHD}
_DCB = {"demosaic_algorithm": rawpy.DemosaicAlgorithm.DCB}
_FBDD = {"fbdd_noise_reduction": rawpy.FBDDNoiseReductionMode.Full}
_IGNORE = {"highlight_mode": rawpy.HighlightMode.Ignore}
_BLEND = {"highlight_mode": rawpy.HighlightMode.Blend}
_RECONSTRUCT = {"highlight_mode": rawpy.HighlightMode.ReconstructDefault}
_MEDIAN = {"median_filter_passes": 3}
RAWPY: dict[str, tuple[str, dict[str, Any]]] = {
    "rawpy default": ("AHD, auto-bright", {}),
    "rawpy tuned": (
        "AHD, FBDD full, one median pass, highlights blended, auto-bright",
        {**_AHD, **_FBDD, "median_filter_passes": 1, **_BLEND},
    ),
    "rawpy AHD": ("sRGB curve, no auto-bright", _PLAIN),
    "rawpy DCB": ("sRGB curve, no auto-bright", {**_PLAIN, **_DCB}),
    "rawpy AHD, ignore": ("as rawpy AHD, highlights left as they are", {**_PLAIN, **_IGNORE}),
    "rawpy AHD, blend": ("as rawpy AHD, highlights blended", {**_PLAIN, **_BLEND}),
    "rawpy AHD, reconstruct": ("as rawpy AHD, highlights reconstructed (mode 5)", {**_PLAIN, **_RECONSTRUCT}),
    "rawpy AHD, ignore, bright": ("AHD, highlights left as they are, auto-bright", _IGNORE),
    "rawpy AHD, blend, bright": ("AHD, highlights blended, auto-bright", _BLEND),
    "rawpy AHD, reconstruct, bright": ("AHD, highlights reconstructed (mode 5), auto-bright", _RECONSTRUCT),
    "rawpy AHD + FBDD": ("as rawpy AHD, with FBDD full", {**_PLAIN, **_FBDD}),
    "rawpy AHD + median": ("as rawpy AHD, with three median passes", {**_PLAIN, **_MEDIAN}),
    "rawpy DCB + FBDD + median": (
        "as rawpy DCB, with FBDD full and three median passes",
        {**_PLAIN, **_DCB, **_FBDD, **_MEDIAN},
    ),
}
"""Name -> options for the reader, and those of `postprocess` beside the camera's white balance.

"rawpy default" and "rawpy AHD" clip highlights, with and without auto-bright.
"""
FINISHED = ("rawpy default", "rawpy tuned")
"""Of these, what a user takes for a finished picture; the others are there to be scored."""


@dataclass(frozen=True)
class Tool:
    """A RAW converter with one set of options."""

    name: str
    about: str
    """Its options, for the reader."""
    develop: Callable[[list[Job]], Failures]
    """Writes the pictures of its jobs, 8-bit PNGs, upright, and returns why others are missing."""
    program: str = ""
    """The program that must be installed for it; none for those inside this process."""
    finished: bool = False
    """Whether its pictures are finished: what a user gets who changes no setting."""

    @property
    def installed(self) -> bool:
        """Whether its program is installed."""
        return not self.program or shutil.which(self.program) is not None

    @property
    def version(self) -> str:
        """The version that its program states; empty for those inside this process."""
        return read_version(self.program, VERSION_OPTIONS[self.program]) if self.program else ""


def all_tools(weights: Weights, precision: Precision = "auto") -> tuple[Tool, ...]:
    """All tools with all their options that are compared, installed or not; lwisp first.

    Args:
        weights: What lwisp develops with.
        precision: What lwisp's network computes in.
    """
    return (
        *_lwisp_tools(weights, precision),
        *_rawpy_tools(),
        *_darktable_tools(),
        *_rawtherapee_tools(),
        Tool("camera", "the JPEG beside the RAW, or in it, scaled to its size", _camera_jpeg, finished=True),
    )


def _lwisp_tools(weights: Weights, precision: Precision) -> list[Tool]:
    name = f"lwisp {weights.card.name}"
    return [
        Tool(name, "as `lwisp develop --crop none` gives it", partial(_lwisp, weights, precision), finished=True),
        Tool(
            f"{name}, no look",
            "without exposure rule (as --exposure can cancel it), its tone curve undone, the plain sRGB curve put on",
            partial(_lwisp_without_look, weights, precision),
        ),
    ]


def _rawpy_tools() -> list[Tool]:
    return [
        Tool(name, about, partial(_rawpy, options), finished=name in FINISHED)
        for name, (about, options) in RAWPY.items()
    ]


def _darktable_tools() -> list[Tool]:
    tool = partial(Tool, program=darktable.PROGRAM)
    return [
        tool(
            "darktable default",
            "scene-referred: filmic and exposure; what it refuses it gets as a plain DNG of its mosaic",
            partial(darktable.develop, True),
            finished=True,
        ),
        tool(
            "darktable no look",
            "no filmic, no exposure; plain DNGs likewise",
            partial(darktable.develop, False),
        ),
        tool(
            "darktable no look + wavelets",
            "profiled denoising (wavelets, Y0U0V0, bias 0), told the noise model that the file states",
            darktable.develop_denoised,
        ),
    ]


def _rawtherapee_tools() -> list[Tool]:
    tool = partial(Tool, program=rawtherapee.PROGRAM)
    default = partial(rawtherapee.develop, ("-d",))
    neutral = partial(rawtherapee.develop, ())
    iso_high = partial(rawtherapee.develop, ("Auto-Matched Curve - ISO High",))
    film = partial(rawtherapee.develop, ("Standard Film Curve - ISO Low",))
    return [
        tool(
            "RawTherapee default",
            "auto-matched curve, automatic CA correction, sharpening; no lens correction",
            partial(default, ""),
            finished=True,
        ),
        tool(
            "RawTherapee default, no CA",
            "without CA correction, which does harm where there is no CA",
            partial(default, rawtherapee.NO_CA_CORRECTION),
        ),
        tool("RawTherapee neutral", "AMaZE, no look", partial(neutral, "")),
        tool(
            "RawTherapee neutral + denoise",
            "luma 40, chroma automatic",
            partial(neutral, rawtherapee.DENOISING),
        ),
        tool(
            "RawTherapee ISO High",
            "Auto-Matched Curve - ISO High: LMMSE, denoising, median; no lens nor CA correction",
            partial(iso_high, rawtherapee.NO_CA_CORRECTION),
        ),
        tool(
            "RawTherapee Standard Film",
            "Standard Film Curve - ISO Low, CA correction; no lens correction",
            partial(film, ""),
        ),
    ]


def _lwisp(weights: Weights, precision: Precision, jobs: list[Job]) -> Failures:
    outcomes = list(develop_files(weights, jobs, precision=precision, overwrite=True, settings=Settings(crop="none")))
    for outcome in outcomes:
        if outcome.kind in (OutputError.kind, DiskFullError.kind):  # as `for_each` does
            raise OutputError(outcome.error)
    return {outcome.source: outcome.error for outcome in outcomes if outcome.error}


def _lwisp_without_look(weights: Weights, precision: Precision, jobs: list[Job]) -> Failures:
    developer = Developer(weights, precision=precision)

    def make(job: Job) -> None:
        raw = read_any(job.source)
        found = developer.measure(raw)
        unruled = FrameExposure(1.0, found.brightest / found.gain)
        picture = torch.from_numpy(developer.develop(raw, frame=unruled, crop="none"))
        write_picture(job.output, color.srgb_encode(color.inverse_tone(picture)).numpy(), "png", overwrite=True)

    return for_each(jobs, make)


def _rawpy(options: dict[str, Any], jobs: list[Job]) -> Failures:
    def make(job: Job) -> None:
        with rawpy.imread(str(job.source)) as raw:
            rgb = raw.postprocess(use_camera_wb=True, **options)
        write_png(job.output, Image.fromarray(rgb))

    return for_each(jobs, make)


def read_camera_jpeg(source: Path) -> NDArray[np.uint8]:
    """The camera's own picture of a RAW, from beside it or out of it.

    Args:
        source: The RAW file.

    Returns:
        (H, W, 3) sRGB, upright, scaled and cut to the RAW's size.

    Raises:
        InputError: There is none, or a file cannot be read.
    """
    raw = read_any(source)
    beside = [source.with_suffix(suffix) for suffix in (".jpg", ".JPG", ".jpeg", ".JPEG")]
    found = next((path for path in beside if path.is_file() and not is_own(path)), None)
    if found is not None:
        rgb = read_rgb(found)
    elif raw.jpeg is not None:
        with opened(raw.jpeg, f"{source}: the JPEG inside") as picture:
            tagged = ORIENTATION_TAG in picture.getexif()
            rgb = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
        rgb = rgb if tagged else orient(rgb, raw.orientation)
    else:
        raise InputError(f"{source}: there is no JPEG in it, and none beside it")
    height, width = size_of(raw)[:: -1 if raw.orientation >= 5 else 1]
    return np.asarray(ImageOps.fit(Image.fromarray(rgb), (width, height), Image.Resampling.BICUBIC))


def _camera_jpeg(jobs: list[Job]) -> Failures:
    return for_each(jobs, lambda job: write_png(job.output, Image.fromarray(read_camera_jpeg(job.source))))
