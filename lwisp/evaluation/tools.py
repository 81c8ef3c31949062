"""The tools that a photographer would pick, lwisp among them: each a `Developer`, all with the same jobs to do.

rawpy is always told to take the camera's white balance, which it would not by itself. darktable and RawTherapee run as
commands, all files at once, with configuration and cache in a folder of their own, so that nothing a user has set
changes the result.
"""

import contextlib
import os
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import rawpy
import torch
from PIL import Image, ImageOps

from lwisp.batch import Job
from lwisp.engines.names import Precision
from lwisp.errors import InputError, one_line, tell_failure
from lwisp.files.decoding import is_own, opened
from lwisp.files.dng import NOISE_PROFILE, write_dng
from lwisp.files.pictures import read_rgb, write_picture
from lwisp.files.raw import read_orientation, read_raw
from lwisp.files.writing import temporary_folder, write_whole
from lwisp.imaging import color
from lwisp.imaging.pixels import orient
from lwisp.pipeline import develop, develop_files
from lwisp.weights import Weights

SECONDS = (120, 120)
"""A command is given up after so many seconds, and so many more a picture."""

ORIENTATION, MIRRORED = 274, (2, 4, 5, 7)
"""EXIF's tag, and those of its values that mirror."""

Failures = dict[Path, str]
"""Why there is no picture of a RAW."""


@dataclass(frozen=True)
class Developer:
    """One tool with one set of options. `develop` makes the 8-bit PNGs of its jobs, upright, and says what failed."""

    name: str
    about: str
    """Its options, for the reader."""
    develop: Callable[[list[Job]], Failures]
    program: str = ""
    """The command that must be installed for it."""
    finished: bool = False
    """Whether it gives a finished look, as a user sees it who does nothing more."""

    @property
    def installed(self) -> bool:
        """Whether it can run here."""
        return not self.program or shutil.which(self.program) is not None

    @property
    def version(self) -> str:
        """What its command says of itself; empty for those inside this process."""
        if not self.program:
            return ""
        said = subprocess.run([self.program, VERSION[self.program]], capture_output=True, text=True, check=False)
        return next((word for word in said.stdout.replace(",", " ").split() if word[:1].isdigit()), "unknown")


VERSION = {"darktable-cli": "--version", "rawtherapee-cli": "-v"}


def developers(weights: Weights, precision: Precision = "auto") -> tuple[Developer, ...]:
    """All of them, installed or not, lwisp first."""
    name = f"lwisp {weights.card.name}"
    plain = {"no_auto_bright": True, "gamma": (2.4, 12.92)}
    ahd, dcb = rawpy.DemosaicAlgorithm.AHD, rawpy.DemosaicAlgorithm.DCB
    fbdd, blend = rawpy.FBDDNoiseReductionMode.Full, rawpy.HighlightMode.Blend
    tuned = {"demosaic_algorithm": ahd, "fbdd_noise_reduction": fbdd, "median_filter_passes": 1}
    dt = partial(Developer, program="darktable-cli")
    rt = partial(Developer, program="rawtherapee-cli")
    return (
        Developer(name, "as `lwisp develop` gives it", partial(_lwisp, weights, precision), finished=True),
        Developer(
            f"{name}, no look",
            "without exposure rule (as --exposure can cancel it), its tone curve undone, the plain sRGB curve put on",
            partial(_lwisp_without_look, weights, precision),
        ),
        Developer("rawpy default", "AHD, auto-bright", partial(_libraw, {}), finished=True),
        Developer(
            "rawpy tuned",
            "AHD, FBDD full, one median pass, highlights blended, auto-bright",
            partial(_libraw, {**tuned, "highlight_mode": blend}),
            finished=True,
        ),
        Developer("rawpy AHD", "sRGB curve, no auto-bright", partial(_libraw, plain)),
        Developer("rawpy DCB", "sRGB curve, no auto-bright", partial(_libraw, {**plain, "demosaic_algorithm": dcb})),
        Developer(
            "rawpy AHD + FBDD",
            "as rawpy AHD, with FBDD full",
            partial(_libraw, {**plain, "fbdd_noise_reduction": fbdd}),
        ),
        Developer(
            "rawpy AHD + median",
            "as rawpy AHD, with three median passes",
            partial(_libraw, {**plain, "median_filter_passes": 3}),
        ),
        Developer(
            "rawpy DCB + FBDD + median",
            "as rawpy DCB, with FBDD full and three median passes",
            partial(
                _libraw,
                {**plain, "demosaic_algorithm": dcb, "fbdd_noise_reduction": fbdd, "median_filter_passes": 3},
            ),
        ),
        dt(
            "darktable default",
            "scene-referred: filmic and exposure; what it refuses it gets as a plain DNG of its mosaic",
            partial(_darktable, True),
            finished=True,
        ),
        dt("darktable no look", "no filmic, no exposure; plain DNGs likewise", partial(_darktable, False)),
        dt(
            "darktable no look + wavelets",
            "profiled denoising (wavelets, Y0U0V0, bias 0), told the noise model that the file states",
            _darktable_denoising,
        ),
        rt(
            "RawTherapee default",
            "auto-matched curve, automatic CA correction, sharpening; no lens correction",
            partial(_rawtherapee, ("-d",), ""),
            finished=True,
        ),
        rt(
            "RawTherapee default, no CA",
            "without CA correction, which does harm where there is no CA",
            partial(_rawtherapee, ("-d",), RT_NO_CA),
        ),
        rt("RawTherapee neutral", "AMaZE, no look", partial(_rawtherapee, (), "")),
        rt(
            "RawTherapee neutral + denoise",
            "luma 40, chroma automatic",
            partial(_rawtherapee, (), RT_DENOISE),
        ),
        rt(
            "RawTherapee ISO High",
            "Auto-Matched Curve - ISO High: LMMSE, denoising, median; no lens nor CA correction",
            partial(_rawtherapee, ("Auto-Matched Curve - ISO High",), RT_NO_CA),
        ),
        rt(
            "RawTherapee Standard Film",
            "Standard Film Curve - ISO Low, CA correction; no lens correction",
            partial(_rawtherapee, ("Standard Film Curve - ISO Low",), ""),
        ),
        Developer("camera", "the JPEG beside the RAW, or in it, scaled to its size", _camera, finished=True),
    )


def _lwisp(weights: Weights, precision: Precision, jobs: list[Job]) -> Failures:
    outcomes = develop_files(weights, jobs, precision=precision, overwrite=True)
    return {outcome.source: outcome.error for outcome in outcomes if outcome.error}


def _lwisp_without_look(weights: Weights, precision: Precision, jobs: list[Job]) -> Failures:
    convention = replace(weights.card.convention, exposure="none")
    unruled = replace(weights, card=replace(weights.card, convention=convention))

    def make(job: Job) -> None:
        picture = torch.from_numpy(develop(unruled, read_raw(job.source), precision=precision))
        write_picture(job.output, color.srgb_encode(color.inverse_tone(picture)).numpy(), "png", overwrite=True)

    return _each(jobs, make)


def _libraw(options: dict[str, Any], jobs: list[Job]) -> Failures:
    def make(job: Job) -> None:
        with rawpy.imread(str(job.source)) as raw:
            rgb = raw.postprocess(use_camera_wb=True, **options)
        _write_png(job.output, Image.fromarray(rgb))

    return _each(jobs, make)


def _camera(jobs: list[Job]) -> Failures:
    def make(job: Job) -> None:
        raw = read_raw(job.source)
        beside = [job.source.with_suffix(suffix) for suffix in (".jpg", ".JPG", ".jpeg", ".JPEG")]
        found = next((path for path in beside if path.is_file() and not is_own(path)), None)
        if found is not None:
            rgb = read_rgb(found)
        elif raw.jpeg is not None:
            with opened(raw.jpeg, f"{job.source}: the JPEG inside") as picture:
                tagged = ORIENTATION in picture.getexif()
                rgb = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
            rgb = rgb if tagged else orient(rgb, raw.orientation)
        else:
            raise InputError(f"{job.source}: there is no JPEG in it, and none beside it")
        height, width = orient(raw.mosaic, raw.orientation).shape
        _write_png(job.output, ImageOps.fit(Image.fromarray(rgb), (width, height), Image.Resampling.BICUBIC))

    return _each(jobs, make)


def _each(jobs: list[Job], make: Callable[[Job], None]) -> Failures:
    """Make the pictures one after another."""
    failures = {}
    for job in jobs:
        try:
            make(job)
        except (rawpy.LibRawError, rawpy.NotSupportedError) as error:
            failures[job.source] = f"{job.source}: {one_line(error)}"
        except Exception as error:  # whatever is wrong with one file, the others are made
            failures[job.source] = tell_failure(job.source, error)
    return failures


def _darktable(look: bool, jobs: list[Job], xmp: str = "") -> Failures:
    """What darktable refuses gets a second chance as a plain DNG of its mosaic."""
    failures = _run_darktable(look, xmp, jobs, lambda job, place: place.symlink_to(job.source.resolve()))
    again = [job for job in jobs if job.source in failures]
    return {source: failures[source] for source in _run_darktable(look, xmp, again, _put_plain_dng)} if again else {}


def _darktable_denoising(jobs: list[Job]) -> Failures:
    """As many runs as there are noise models."""
    failures: Failures = {}
    groups: dict[tuple[float, float], list[Job]] = {}
    for job in jobs:
        try:
            stated = read_raw(job.source).exif.get(NOISE_PROFILE)
        except Exception as error:
            failures[job.source] = tell_failure(job.source, error)
            continue
        if isinstance(stated, tuple) and len(stated) == 2:
            groups.setdefault(stated, []).append(job)
        else:
            failures[job.source] = f"{job.source}: states no noise model"
    for noise, group in groups.items():
        failures |= _darktable(False, group, darktable_xmp(*noise))
    return failures


def _put_plain_dng(job: Job, place: Path) -> None:
    with contextlib.suppress(Exception):  # what cannot be read here either, stays refused
        write_dng(place.with_suffix(".dng"), read_raw(job.source), overwrite=True)


def _run_darktable(look: bool, xmp: str, jobs: list[Job], put: Callable[[Job, Path], None]) -> Failures:
    with temporary_folder() as folder:
        (folder / "in").mkdir()
        (folder / "out").mkdir()
        for index, job in enumerate(jobs):
            put(job, folder / "in" / f"{index:05d}{job.source.suffix}")
        (folder / "look.xmp").write_text(xmp, encoding="utf-8")
        said = _run(darktable_command(look, folder, bool(xmp)), folder, len(jobs))
        return _collect(jobs, folder / "out", said)


def darktable_command(look: bool, folder: Path, xmp: bool) -> list[str]:
    """darktable-cli for all files in `folder/in` -> `folder/out`, with `folder/look.xmp` if `xmp`."""
    settings = {
        "plugins/darkroom/workflow": "scene-referred" if look else "none",
        "plugins/darkroom/chromatic-adaptation": "modern" if look else "legacy",
        "plugins/imageio/format/png/bpp": "8",
        "plugins/imageio/format/png/compression": "1",
        "write_sidecar_files": "never",
    }
    return [
        *("darktable-cli", "--import", str(folder / "in"), *([str(folder / "look.xmp")] if xmp else [])),
        *(str(folder / "out"), "--out-ext", "png", "--icc-type", "SRGB"),
        *("--core", "--configdir", str(folder / "config"), "--cachedir", str(folder / "cache")),
        *("--library", ":memory:", "--disable-opencl"),
        *(part for key, value in settings.items() for part in ("--conf", f"{key}={value}")),
    ]


def darktable_xmp(shot_noise: float, read_noise: float) -> str:
    """An edit of darktable 4.2: "denoise (profiled)", version 11, wavelets in Y0U0V0, strength 1, with this model."""
    defaults = (1, 7, 1, 1, 0, 0, 0.1, 1)  # patch, search, strength, shadows, bias, scattering, center, overshooting
    model = (shot_noise,) * 3 + (read_noise,) * 3
    curves = [band / 6 for band in range(7)] * 6 + [0.5] * 42  # places and forces of seven bands in six channels
    wavelets, adaptive_to_balance, repaired, new_transform, in_y0u0v0 = 1, 1, 1, 1, 1
    params = struct.pack(
        "<14fI84f3iI", *defaults, *model, wavelets, *curves, adaptive_to_balance, repaired, new_transform, in_y0u0v0
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:darktable="http://darktable.sf.net/" darktable:xmp_version="5"
 darktable:auto_presets_applied="0" darktable:history_end="1"><darktable:history><rdf:Seq>
<rdf:li darktable:num="0" darktable:operation="denoiseprofile" darktable:enabled="1" darktable:modversion="11"
 darktable:params="{params.hex()}" darktable:multi_name="" darktable:multi_priority="0"/>
</rdf:Seq></darktable:history></rdf:Description></rdf:RDF></x:xmpmeta>
"""


RT_NO_LENS = "[LensProfile]\nLcMode=none\nUseDistortion=false\nUseVignette=false\nUseCA=false\n"
RT_NO_CA = "[RAW]\nCA=false\n"
RT_DENOISE = (
    "[Directional Pyramid Denoising]\nEnabled=true\nMedian=false\nLuma=40\nLdetail=50\nMethod=Lab\nLMethod=SLI\n"
    "CMethod=AUT\nC2Method=AUTO\nSMethod=shal\nGamma=1.7\nPasses=1\n"
)


def _rawtherapee(profile: tuple[str, ...], settings: str, jobs: list[Job]) -> Failures:
    with temporary_folder() as folder:
        (folder / "out").mkdir()
        (folder / "settings.pp3").write_text(RT_NO_LENS + settings, encoding="utf-8")
        places = []
        for index, job in enumerate(jobs):
            places.append(folder / f"{index:05d}{job.source.suffix}")
            places[-1].symlink_to(job.source.resolve())
        said = _run(rawtherapee_command(profile, folder, places), folder, len(jobs))
        failures = _collect(jobs, folder / "out", said)
    return failures | _each([job for job in jobs if job.source not in failures], _turn_mirrored)


def _turn_mirrored(job: Job) -> None:
    """RawTherapee leaves mirrored pictures as they are stored."""
    if (orientation := read_orientation(job.source)) in MIRRORED:
        _write_png(job.output, Image.fromarray(orient(read_rgb(job.output), orientation)))


def rawtherapee_command(profile: tuple[str, ...], folder: Path, files: Iterable[Path]) -> list[str]:
    """rawtherapee-cli for files -> `folder/out`, by its default ("-d"), a profile that it brings, or none (neutral)."""
    program = Path(shutil.which("rawtherapee-cli") or "rawtherapee-cli").resolve()
    shipped = program.parent.parent / "share" / "rawtherapee" / "profiles"
    chosen = [part for name in profile for part in ([name] if name == "-d" else ["-p", str(shipped / f"{name}.pp3")])]
    return [
        *("rawtherapee-cli", "-o", str(folder / "out"), "-n", "-b8", "-Y", *chosen),
        *("-p", str(folder / "settings.pp3"), "-c", *map(str, files)),
    ]


def _run(command: list[str], home: Path, count: int) -> str:
    """Run a command that knows nothing of the user's settings; gives the last of what it said."""
    places = {"HOME": home, "XDG_CONFIG_HOME": home, "XDG_CACHE_HOME": home, "RT_SETTINGS": home, "RT_CACHE": home}
    environment = {**os.environ, **{name: str(place) for name, place in places.items()}}
    seconds = SECONDS[0] + SECONDS[1] * count
    try:
        said = subprocess.run(command, capture_output=True, env=environment, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return f"{command[0]} was given up after {seconds} s"
    lines = (said.stdout + said.stderr).decode(errors="replace").strip().splitlines()
    return f"{command[0]} (exit code {said.returncode}): {one_line(ValueError(' / '.join(lines[-3:])))}"


def _collect(jobs: list[Job], folder: Path, said: str) -> Failures:
    """Move the pictures that a command made to where the jobs want them."""
    failures = {}
    for index, job in enumerate(jobs):
        made = folder / f"{index:05d}.png"
        if made.is_file():
            shutil.move(made, job.output)
        else:
            failures[job.source] = f"{job.source}: {said}"
    return failures


def _write_png(path: Path, picture: Image.Image) -> None:
    write_whole(path, lambda file: picture.save(file, "PNG", compress_level=1))
