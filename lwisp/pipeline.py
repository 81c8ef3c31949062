"""Developing: `develop` turns one RAW into a picture, `develop_files` does so for files and folders on disk."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwisp import color, mosaic
from lwisp.checkpoint import InputConvention, Weights, check_takes
from lwisp.errors import InputError
from lwisp.files import check_output, make_folder
from lwisp.image import SUFFIX_FORMATS, SUFFIXES, Format, orient, write_rgb
from lwisp.inference import Precision, run
from lwisp.raw import RAW_SUFFIXES, RawImage, read_raw

MAX_EXPOSURE = 5  # EV


def develop(
    weights: Weights, raw: RawImage, exposure: float = 0.0, precision: Precision = "auto"
) -> NDArray[np.float32]:
    """Develop a RAW: (H, W, 3) display-referred sRGB in [0, 1], upright, the size of the visible area.

    `exposure` in EV comes on top of the exposure rule. The same RAW, weights and precision give the same pixels.
    """
    check_takes(weights.card, "raw")
    check_exposure(exposure)
    planes, (top, left) = prepare(raw, weights.card.convention, exposure)
    rgb = run(weights.network, planes, precision)  # (3, H, W), padded where the mosaic had to be
    height, width = raw.mosaic.shape
    picture = rgb[:, top : top + height, left : left + width].permute(1, 2, 0).numpy()
    return orient(picture, raw.orientation)


def check_exposure(exposure: float) -> None:
    """Raise `InputError` for an exposure beyond what weights are trained for."""
    if not abs(exposure) <= MAX_EXPOSURE:  # written so that NaN fails too
        raise InputError(f"expected an exposure of -{MAX_EXPOSURE} to {MAX_EXPOSURE} EV, got {exposure}")


def prepare(raw: RawImage, convention: InputConvention, exposure: float = 0.0) -> tuple[Tensor, tuple[int, int]]:
    """The planes (4, h, w) that weights of this convention expect, and where the RAW's first photosite lies."""
    padded, offset = mosaic.pad_to_rggb(torch.from_numpy(raw.mosaic.astype(np.float32)), raw.cfa)
    black = torch.tensor(raw.black_level if convention.black_level == "subtract" else (0.0,) * 4)
    planes = mosaic.normalize_levels(mosaic.pack(padded), black, torch.tensor(raw.white_level))
    if convention.white_balance == "as-shot":
        planes = color.balance(planes, torch.tensor(raw.white_balance))
    if convention.color == "canonical":
        planes = color.mix_planes(planes, torch.from_numpy(raw.cam2rgb))
    if convention.exposure == "auto":
        planes = planes * color.exposure_gain(planes)
    return planes * 2.0**exposure, offset


@dataclass(frozen=True)
class Outcome:
    """What became of one file: the picture written, or why not."""

    source: Path
    output: Path
    error: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """One RAW, and the picture to make of it."""

    source: Path
    output: Path
    format: Format


def plan(
    sources: list[Path], output: Path | None, format: Format | None, suffixes: frozenset[str] = RAW_SUFFIXES
) -> list[Job]:
    """Which pictures to make of RAW files, and of those files lying in folders that have one of the suffixes.

    `output` is a file name with its suffix for one file, else a folder, made if need be; without it pictures go
    beside their RAW. Raises `InputError`, before any work, where sources and output make no sense together.
    """
    try:
        files = list(dict.fromkeys(_find_files(sources, suffixes)))  # a file named twice is one file
        names_file = output is not None and not output.is_dir() and output.suffix.lower() in SUFFIX_FORMATS
        if output is not None and not names_file and not output.is_dir() and (output.suffix or output.exists()):
            raise InputError(f"--output {output}: expected a folder, or a name ending in {', '.join(SUFFIX_FORMATS)}")
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be looked at: {error.strerror}") from error
    if output is not None and names_file:
        if len(files) != 1:
            raise InputError(f"--output {output} names one picture for {len(files)} files; name a folder")
        found = SUFFIX_FORMATS[output.suffix.lower()]
        if format not in (None, found) and (format, found) != ("png16", "png"):
            raise InputError(f"--output {output} and --format {format} disagree; drop one of them")
        return [Job(files[0], output, format or found)]
    chosen: Format = format or "jpg"
    return [Job(file, (output or file.parent) / f"{file.stem}{SUFFIXES[chosen]}", chosen) for file in files]


def _find_files(sources: list[Path], suffixes: frozenset[str]) -> Iterator[Path]:
    for source in sources:
        if not source.is_dir():
            yield source
            continue
        files = sorted(path for path in source.iterdir() if path.suffix.lower() in suffixes)
        if not files:
            raise InputError(f"{source}: no files to develop in this folder ({', '.join(sorted(suffixes))})")
        yield from files


def develop_files(
    weights: Weights,
    jobs: Iterable[Job],
    exposure: float = 0.0,
    precision: Precision = "auto",
    overwrite: bool = False,
    read: Callable[[Path], RawImage] = read_raw,
) -> Iterator[Outcome]:
    """Develop the jobs that `plan` made, one after another; a file that cannot be used does not stop the rest.

    No picture is replaced without `overwrite`, and never one that another job has just made.
    """
    written: dict[Path, Path] = {}
    for job in jobs:
        try:
            if job.output in written:
                raise InputError(f"{job.output} was just made from {written[job.output]}; develop this one by itself")
            if job.output.exists() and job.output.samefile(job.source):
                raise InputError(f"{job.output} is the RAW itself; --output names another place")
            make_folder(job.output.parent)
            check_output(job.output, overwrite)
            raw = read(job.source)
            picture = develop(weights, raw, exposure, precision)
            write_rgb(job.output, picture, job.format, raw.exif, overwrite)
            written[job.output] = job.source
            yield Outcome(job.source, job.output, notes=raw.notes)
        except InputError as error:
            yield Outcome(job.source, job.output, error=str(error))
        except OSError as error:
            yield Outcome(job.source, job.output, error=f"{job.source}: {error.strerror or error}")
