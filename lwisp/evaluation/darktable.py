"""darktable: all files of a run by one start of darktable-cli.

What darktable refuses it gets once more as a plain DNG of the same mosaic.
"""

import contextlib
import struct
from collections.abc import Callable
from pathlib import Path

from lwisp.errors import tell_failure
from lwisp.evaluation.commands import Failures, TimeLimit, collect, run_command
from lwisp.files.dng import write_dng
from lwisp.files.dng_tags import NOISE_PROFILE
from lwisp.files.raw import read_raw
from lwisp.files.writing import temporary_folder
from lwisp.planning import Job

PROGRAM = "darktable-cli"
VERSION_OPTION = "--version"


def develop(look: bool, jobs: list[Job], edit: str = "") -> Failures:
    """Develop RAW files to upright 8-bit PNGs.

    Args:
        look: Whether darktable's scene-referred default look is applied (filmic, exposure).
        jobs: RAW files with the pictures that are wanted of them.
        edit: A sidecar file (XMP) that is applied to all of them; none if empty.

    Returns:
        Why there is no picture, for each RAW that failed.
    """
    failures = _run(look, edit, jobs, _put_link)
    again = [job for job in jobs if job.source in failures]
    if not again:
        return {}
    failures_again = _run(look, edit, again, _put_plain_dng)
    return {source: failures[source] for source in failures_again}


def develop_denoised(jobs: list[Job]) -> Failures:
    """Develop without a look, denoised by the noise model that each file states; one run for each noise model.

    Args:
        jobs: RAW files with the pictures that are wanted of them.

    Returns:
        Why there is no picture, for each RAW that failed; files without a noise model do.
    """
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
        failures |= develop(False, group, profiled_denoising(*noise))
    return failures


def _put_link(job: Job, place: Path) -> None:
    place.symlink_to(job.source.resolve())


def _put_plain_dng(job: Job, place: Path) -> None:
    with contextlib.suppress(Exception):  # what cannot be read here either, stays refused
        write_dng(place.with_suffix(".dng"), read_raw(job.source))


def _run(look: bool, edit: str, jobs: list[Job], put: Callable[[Job, Path], None]) -> Failures:
    with temporary_folder() as folder:
        (folder / "in").mkdir()
        (folder / "out").mkdir()
        for index, job in enumerate(jobs):
            put(job, folder / "in" / f"{index:05d}{job.source.suffix}")
        (folder / "look.xmp").write_text(edit, encoding="utf-8")
        finished = run_command(batch_command(look, folder, bool(edit)), folder, TimeLimit().of(len(jobs)))
        return collect(jobs, folder / "out", finished)


def batch_command(look: bool, folder: Path, edited: bool) -> list[str]:
    """The command for all files in `folder/in`; 8-bit PNGs in sRGB come to `folder/out`.

    Args:
        look: Whether the scene-referred default look is applied.
        folder: Holds `in`, `out`, and darktable's configuration and cache.
        edited: Whether `folder/look.xmp` is applied.
    """
    settings = {
        "plugins/darkroom/workflow": "scene-referred" if look else "none",
        "plugins/darkroom/chromatic-adaptation": "modern" if look else "legacy",
        "plugins/imageio/format/png/bpp": "8",
        "plugins/imageio/format/png/compression": "1",
        "write_sidecar_files": "never",
    }
    sidecar = [str(folder / "look.xmp")] if edited else []
    return [
        *(PROGRAM, "--import", str(folder / "in"), *sidecar),
        *(str(folder / "out"), "--out-ext", "png", "--icc-type", "SRGB"),
        *("--core", "--configdir", str(folder / "config"), "--cachedir", str(folder / "cache")),
        *("--library", ":memory:", "--disable-opencl"),
        *_settings(settings),
    ]


def jpeg_command(source: Path, output: Path) -> list[str]:
    """The command from one RAW to a JPEG of quality 95 with darktable's default look.

    Args:
        source: The RAW.
        output: The JPEG, which is replaced; its folder takes darktable's configuration and cache.
    """
    settings = {"plugins/imageio/format/jpeg/quality": "95", "plugins/imageio/storage/disk/overwrite": "1"}
    return [
        *(PROGRAM, str(source), str(output), "--core", "--library", ":memory:"),
        *("--configdir", str(output.parent), "--cachedir", str(output.parent)),
        *_settings(settings),
    ]


def _settings(settings: dict[str, str]) -> list[str]:
    return [part for key, value in settings.items() for part in ("--conf", f"{key}={value}")]


def profiled_denoising(shot_noise: float, read_noise: float) -> str:
    """A sidecar file (XMP) with "denoise (profiled)", version 11 as darktable 4.2 writes it.

    It sets wavelets in Y0U0V0 at strength 1, with this noise model: variance = shot_noise * signal + read_noise, the
    signal in [0, 1] from black to white.

    Args:
        shot_noise: The variance's slope, the same for all channels.
        read_noise: The variance at signal 0.

    Returns:
        The XML text.
    """
    defaults = (1, 7, 1, 1, 0, 0, 0.1, 1)  # patch, search, strength, shadows, bias, scattering, center, overshooting
    model = (shot_noise,) * 3 + (read_noise,) * 3
    positions = [band / 6 for band in range(7)] * 6  # of seven bands in six channels
    strengths = [0.5] * 42
    wavelets, adaptive_to_balance, repaired, new_transform, in_y0u0v0 = 1, 1, 1, 1, 1
    switches = (adaptive_to_balance, repaired, new_transform, in_y0u0v0)
    params = struct.pack("<14fI84f3iI", *defaults, *model, wavelets, *positions, *strengths, *switches)
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:darktable="http://darktable.sf.net/" darktable:xmp_version="5"
 darktable:auto_presets_applied="0" darktable:history_end="1"><darktable:history><rdf:Seq>
<rdf:li darktable:num="0" darktable:operation="denoiseprofile" darktable:enabled="1" darktable:modversion="11"
 darktable:params="{params.hex()}" darktable:multi_name="" darktable:multi_priority="0"/>
</rdf:Seq></darktable:history></rdf:Description></rdf:RDF></x:xmpmeta>
"""
