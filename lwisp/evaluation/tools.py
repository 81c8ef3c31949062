"""The tools that a photographer would pick, lwisp among them: each a `Tool`, all with the same jobs to do.

rawpy is always told to take the camera's white balance, which it would not by itself. darktable and RawTherapee run as
programs of their own, all files at once, apart from the user's settings.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import rawpy
import torch
from PIL import Image, ImageOps

from lwisp.batch import Job
from lwisp.engines.engine import Precision
from lwisp.errors import InputError
from lwisp.evaluation import darktable, rawtherapee
from lwisp.evaluation.commands import Failures, for_each, read_version, write_png
from lwisp.files.decoding import is_own, opened
from lwisp.files.pictures import read_rgb, write_rgb
from lwisp.files.raw import read_raw
from lwisp.imaging import color
from lwisp.imaging.pixels import orient
from lwisp.pipeline import develop, develop_files
from lwisp.weights import Weights

ORIENTATION_TAG = 274  # of EXIF
VERSION_OPTIONS = {program.PROGRAM: program.VERSION_OPTION for program in (darktable, rawtherapee)}


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
    name = f"lwisp {weights.card.name}"
    plain = {"no_auto_bright": True, "gamma": (2.4, 12.92)}
    ahd, dcb = rawpy.DemosaicAlgorithm.AHD, rawpy.DemosaicAlgorithm.DCB
    fbdd, blend = rawpy.FBDDNoiseReductionMode.Full, rawpy.HighlightMode.Blend
    tuned = {"demosaic_algorithm": ahd, "fbdd_noise_reduction": fbdd, "median_filter_passes": 1}
    dt = partial(Tool, program=darktable.PROGRAM)
    rt = partial(Tool, program=rawtherapee.PROGRAM)
    return (
        Tool(name, "as `lwisp develop` gives it", partial(_lwisp, weights, precision), finished=True),
        Tool(
            f"{name}, no look",
            "without exposure rule (as --exposure can cancel it), its tone curve undone, the plain sRGB curve put on",
            partial(_lwisp_without_look, weights, precision),
        ),
        Tool("rawpy default", "AHD, auto-bright", partial(_rawpy, {}), finished=True),
        Tool(
            "rawpy tuned",
            "AHD, FBDD full, one median pass, highlights blended, auto-bright",
            partial(_rawpy, {**tuned, "highlight_mode": blend}),
            finished=True,
        ),
        Tool("rawpy AHD", "sRGB curve, no auto-bright", partial(_rawpy, plain)),
        Tool("rawpy DCB", "sRGB curve, no auto-bright", partial(_rawpy, {**plain, "demosaic_algorithm": dcb})),
        Tool(
            "rawpy AHD + FBDD",
            "as rawpy AHD, with FBDD full",
            partial(_rawpy, {**plain, "fbdd_noise_reduction": fbdd}),
        ),
        Tool(
            "rawpy AHD + median",
            "as rawpy AHD, with three median passes",
            partial(_rawpy, {**plain, "median_filter_passes": 3}),
        ),
        Tool(
            "rawpy DCB + FBDD + median",
            "as rawpy DCB, with FBDD full and three median passes",
            partial(
                _rawpy,
                {**plain, "demosaic_algorithm": dcb, "fbdd_noise_reduction": fbdd, "median_filter_passes": 3},
            ),
        ),
        dt(
            "darktable default",
            "scene-referred: filmic and exposure; what it refuses it gets as a plain DNG of its mosaic",
            partial(darktable.develop, True),
            finished=True,
        ),
        dt("darktable no look", "no filmic, no exposure; plain DNGs likewise", partial(darktable.develop, False)),
        dt(
            "darktable no look + wavelets",
            "profiled denoising (wavelets, Y0U0V0, bias 0), told the noise model that the file states",
            darktable.develop_denoised,
        ),
        rt(
            "RawTherapee default",
            "auto-matched curve, automatic CA correction, sharpening; no lens correction",
            partial(rawtherapee.develop, ("-d",), ""),
            finished=True,
        ),
        rt(
            "RawTherapee default, no CA",
            "without CA correction, which does harm where there is no CA",
            partial(rawtherapee.develop, ("-d",), rawtherapee.NO_CA_CORRECTION),
        ),
        rt("RawTherapee neutral", "AMaZE, no look", partial(rawtherapee.develop, (), "")),
        rt(
            "RawTherapee neutral + denoise",
            "luma 40, chroma automatic",
            partial(rawtherapee.develop, (), rawtherapee.DENOISING),
        ),
        rt(
            "RawTherapee ISO High",
            "Auto-Matched Curve - ISO High: LMMSE, denoising, median; no lens nor CA correction",
            partial(rawtherapee.develop, ("Auto-Matched Curve - ISO High",), rawtherapee.NO_CA_CORRECTION),
        ),
        rt(
            "RawTherapee Standard Film",
            "Standard Film Curve - ISO Low, CA correction; no lens correction",
            partial(rawtherapee.develop, ("Standard Film Curve - ISO Low",), ""),
        ),
        Tool("camera", "the JPEG beside the RAW, or in it, scaled to its size", _camera_jpeg, finished=True),
    )


def _lwisp(weights: Weights, precision: Precision, jobs: list[Job]) -> Failures:
    outcomes = develop_files(weights, jobs, precision=precision, overwrite=True)
    return {outcome.source: outcome.error for outcome in outcomes if outcome.error}


def _lwisp_without_look(weights: Weights, precision: Precision, jobs: list[Job]) -> Failures:
    convention = replace(weights.card.convention, exposure="none")
    unruled = replace(weights, card=replace(weights.card, convention=convention))

    def make(job: Job) -> None:
        picture = torch.from_numpy(develop(unruled, read_raw(job.source), precision=precision))
        write_rgb(job.output, color.srgb_encode(color.inverse_tone(picture)).numpy(), "png", overwrite=True)

    return for_each(jobs, make)


def _rawpy(options: dict[str, Any], jobs: list[Job]) -> Failures:
    def make(job: Job) -> None:
        with rawpy.imread(str(job.source)) as raw:
            rgb = raw.postprocess(use_camera_wb=True, **options)
        write_png(job.output, Image.fromarray(rgb))

    return for_each(jobs, make)


def _camera_jpeg(jobs: list[Job]) -> Failures:
    def make(job: Job) -> None:
        raw = read_raw(job.source)
        beside = [job.source.with_suffix(suffix) for suffix in (".jpg", ".JPG", ".jpeg", ".JPEG")]
        found = next((path for path in beside if path.is_file() and not is_own(path)), None)
        if found is not None:
            rgb = read_rgb(found)
        elif raw.jpeg is not None:
            with opened(raw.jpeg, f"{job.source}: the JPEG inside") as picture:
                tagged = ORIENTATION_TAG in picture.getexif()
                rgb = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
            rgb = rgb if tagged else orient(rgb, raw.orientation)
        else:
            raise InputError(f"{job.source}: there is no JPEG in it, and none beside it")
        height, width = orient(raw.mosaic, raw.orientation).shape
        write_png(job.output, ImageOps.fit(Image.fromarray(rgb), (width, height), Image.Resampling.BICUBIC))

    return for_each(jobs, make)
