"""Build the sdist, of it the wheel, install that into a clean environment, and use it there: `make wheel`.

    python tests/wheel.py

Only Python 3.11 or newer is needed, on Linux, macOS or Windows; pip fetches what lwisp needs.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
NO_SOURCE = {".git", ".venv", "build", "data", "demo", "dist", "mutants", "runs", "lwisp.egg-info"}
"""What may lie at the top of a checkout and is no part of it (`.gitignore`)."""


def main() -> None:
    """Do it, in a temporary folder; raises `CalledProcessError` where something fails."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        tools = new_environment(folder / "tools", "setuptools>=77")
        sdist = build_sdist(ROOT, folder, tools)
        wheel = build_wheel(unpack(sdist, folder / "unpacked"), folder, tools)
        sys.stdout.write(
            f"{wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB, sdist {sdist.stat().st_size / 1e6:.1f} MB\n"
        )
        python = new_environment(folder / "clean", str(wheel))
        try_commands(python, folder / "photos")


def new_environment(folder: Path, *requirements: str) -> Path:
    """Make a virtual environment with packages, and return its Python."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    call(folder, python, "-m", "pip", "--disable-pip-version-check", "install", "-q", *requirements)
    return python


def build_sdist(source: Path, folder: Path, python: Path) -> Path:
    """Build the sdist of a checkout, which is copied before, so that nothing is written into it.

    Args:
        source: The checkout.
        folder: Where the copy and the sdist go.
        python: Of an environment with setuptools.

    Returns:
        The sdist.
    """

    def left_out(place: str, names: list[str]) -> set[str]:
        made = {name for name in names if name == "__pycache__" or name.endswith("_cache")}
        return made | (NO_SOURCE if Path(place) == source else set())

    copy = shutil.copytree(source, folder / "source", ignore=left_out)
    call(copy, python, "-c", f"from setuptools import build_meta; build_meta.build_sdist({str(folder)!r})")
    return next(folder.glob("*.tar.gz"))


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack an sdist, and return the folder in it."""
    with tarfile.open(sdist) as file:
        file.extractall(folder, filter="data")
    return next(folder.iterdir())


def build_wheel(source: Path, folder: Path, python: Path) -> Path:
    """Build the wheel of an unpacked sdist.

    Args:
        source: The folder.
        folder: Where the wheel goes.
        python: Of an environment with setuptools.

    Returns:
        The wheel.
    """
    call(source, python, "-c", f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})")
    return next(folder.glob("*.whl"))


def try_commands(python: Path, folder: Path, env: Mapping[str, str] | None = None) -> None:
    """Use the installed package as somebody new does, in an empty folder.

    Args:
        python: Of an environment with lwisp.
        folder: The folder to make.
        env: More environment variables.
    """
    folder.mkdir()
    for line in ("--help", "sample", "develop photo.dng", "develop photo.dng --fast --output fast.png", "weights list"):
        call(folder, python, "-m", "lwisp", *line.split(), env=env)
    for made in ("photo.dng", "photo-lwisp.jpg", "fast.png"):
        if (folder / made).stat().st_size < 10**5:
            raise SystemExit(f"{made} is no picture")


def call(folder: Path, python: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    """What a command of Python prints; it sees nothing of the checkout.

    Raises:
        CalledProcessError: It fails; what it says of that goes to stderr.
    """
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [str(python), *arguments]
    done = subprocess.run(
        command, cwd=folder, env={**clean, **(env or {})}, stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout


if __name__ == "__main__":
    main()
