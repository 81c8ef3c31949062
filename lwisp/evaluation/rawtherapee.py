"""RawTherapee: all files of a run by one start of rawtherapee-cli, always without lens correction."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from lwisp.evaluation.commands import Failures, TimeLimit, collect, for_each, run_command, write_png
from lwisp.files.pictures import read_rgb
from lwisp.files.raw import read_orientation
from lwisp.files.writing import temporary_folder
from lwisp.imaging.pixels import orient
from lwisp.planning import Job

PROGRAM = "rawtherapee-cli"
VERSION_OPTION = "-v"

NO_LENS_CORRECTION = "[LensProfile]\nLcMode=none\nUseDistortion=false\nUseVignette=false\nUseCA=false\n"
NO_CA_CORRECTION = "[RAW]\nCA=false\n"
DENOISING = (
    "[Directional Pyramid Denoising]\nEnabled=true\nMedian=false\nLuma=40\nLdetail=50\nMethod=Lab\nLMethod=SLI\n"
    "CMethod=AUT\nC2Method=AUTO\nSMethod=shal\nGamma=1.7\nPasses=1\n"
)
MIRRORED = (2, 4, 5, 7)
"""Values of EXIF's orientation that mirror."""


def develop(profile: tuple[str, ...], settings: str, jobs: list[Job]) -> Failures:
    """Develop RAW files to upright 8-bit PNGs.

    Args:
        profile: "-d" for RawTherapee's default profile, the name of a profile that it ships, or nothing (neutral).
        settings: Lines of a processing profile (pp3) that are applied after it.
        jobs: RAW files with the pictures that are wanted of them.

    Returns:
        Why there is no picture, for each RAW that failed.
    """
    with temporary_folder() as folder:
        (folder / "out").mkdir()
        (folder / "settings.pp3").write_text(NO_LENS_CORRECTION + settings, encoding="utf-8")
        links = []
        for index, job in enumerate(jobs):
            links.append(folder / f"{index:05d}{job.source.suffix}")
            links[-1].symlink_to(job.source.resolve())
        finished = run_command(batch_command(profile, folder, links), folder, TimeLimit().of(len(jobs)))
        failures = collect(jobs, folder / "out", finished)
    done = [job for job in jobs if job.source not in failures]
    return failures | for_each(done, _turn_mirrored)


def _turn_mirrored(job: Job) -> None:
    """Turn a mirrored picture upright, which RawTherapee leaves as it is stored."""
    orientation = read_orientation(job.source)
    if orientation in MIRRORED:
        write_png(job.output, Image.fromarray(orient(read_rgb(job.output), orientation)))


def batch_command(profile: tuple[str, ...], folder: Path, files: Iterable[Path]) -> list[str]:
    """The command for some RAW files; 8-bit PNGs come to `folder/out`.

    Args:
        profile: "-d" for RawTherapee's default profile, the name of a profile that it ships, or nothing (neutral).
        folder: Holds `out` and `settings.pp3`, which is applied last.
        files: The RAW files.
    """
    program = Path(shutil.which(PROGRAM) or PROGRAM).resolve()
    shipped = program.parent.parent / "share" / "rawtherapee" / "profiles"
    chosen = []
    for name in profile:
        chosen += [name] if name == "-d" else ["-p", str(shipped / f"{name}.pp3")]
    return [
        *(PROGRAM, "-o", str(folder / "out"), "-n", "-b8", "-Y", *chosen),
        *("-p", str(folder / "settings.pp3"), "-c", *map(str, files)),
    ]


def jpeg_command(source: Path, output: Path) -> list[str]:
    """The command that develops one RAW to a JPEG of quality 95 by RawTherapee's default profile.

    Args:
        source: The RAW.
        output: The JPEG, which is replaced.

    Returns:
        The program and its arguments.
    """
    return [PROGRAM, "-Y", "-o", str(output), "-j95", "-d", "-c", str(source)]
