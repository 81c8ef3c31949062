"""Build the sdist, of it the wheel, install that into a clean environment, and use it there: `make wheel`.

    python tests/wheel.py dist

The sdist, the wheel, the wheel's list of parts (SBOM) and their SHA-256 then lie in `dist/`. Both are built twice, and
must have the same bytes. The wheel is used with this Python and, where they are found, with the oldest and the newest
that lwisp promises. Only one of them is needed, on Linux, macOS or Windows; pip fetches what lwisp needs.
"""

import functools
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
NO_SOURCE = {".git", ".venv", "build", "data", "demo", "dist", "mutants", "runs", "lwisp.egg-info"}
"""What may lie at the top of a checkout and is no part of it (`.gitignore`)."""

LICENCES = {"lpips_alex.safetensors": "BSD-2-Clause AND BSD-3-Clause"}
"""Of bundled files that are not under MIT (`NOTICE.md`)."""


def main() -> None:
    """Do it, in a temporary folder; raises `CalledProcessError` where something fails."""
    kept = Path(sys.argv[1] if len(sys.argv) > 1 else "dist")
    os.environ["SOURCE_DATE_EPOCH"] = source_date(ROOT)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place).resolve()
        tools = new_environment(folder / "tools", "--require-hashes", "-r", str(ROOT / "locks" / "tools.txt"))
        sdist, wheel = build(ROOT, folder / "first", tools)
        again = build(folder / "first" / "source", folder / "second", tools)
        check_alike([sdist, wheel], again)
        python = new_environment(folder / "clean", str(wheel))
        try_commands(python, folder / "photos")
        for version in sorted({*oldest_and_newest()} - {running()}):
            base = find_python(version)
            if base is None:
                sys.stdout.write(f"no Python {version} here; the wheel was not tried with it\n")
            else:
                try_commands(new_environment(folder / version, str(wheel), base=base), folder / f"photos-{version}")
        bill = folder / f"{wheel.stem}.cdx.json"
        write_bill(bill, python, tools)
        kept.mkdir(parents=True, exist_ok=True)
        for file in (sdist, wheel, bill):
            shutil.copy(file, kept)
            sys.stdout.write(f"{digest(file)}  {file.name}: {file.stat().st_size / 1e6:.1f} MB\n")


def build(checkout: Path, folder: Path, python: Path) -> tuple[Path, Path]:
    """Build the sdist of a checkout, and the wheel of that.

    Args:
        checkout: The checkout; nothing is written into it.
        folder: The folder to make for them.
        python: Of an environment with setuptools.

    Returns:
        The sdist and the wheel.
    """
    folder.mkdir()
    sdist = build_sdist(checkout, folder, python)
    return sdist, build_wheel(unpack(sdist, folder / "unpacked"), folder, python)


def check_alike(files: Iterable[Path], others: Iterable[Path]) -> None:
    """Check that files have the same bytes.

    Args:
        files: Some files.
        others: As many others.

    Raises:
        SystemExit: Two of them differ.
    """
    for file, other in zip(files, others, strict=True):
        if digest(file) != digest(other):
            raise SystemExit(f"{file.name}: two builds differ")


def digest(file: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def source_date(checkout: Path) -> str:
    """The time that all files in the archives get, in seconds since 1970: that of the newest commit.

    Args:
        checkout: The checkout.

    Returns:
        `SOURCE_DATE_EPOCH`, if that is set; the beginning of 1980, the first that a zip knows, where there is no git.
    """
    chosen = os.environ.get("SOURCE_DATE_EPOCH")
    if chosen:
        return chosen
    try:
        command = ["git", "log", "-1", "--format=%ct"]
        return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "315532800"


def write_bill(path: Path, python: Path, tools: Path) -> None:
    """Write the list of parts of an installed lwisp, as CycloneDX JSON: packages, and what is shipped beside the code.

    Args:
        path: The file.
        python: Of the environment with lwisp.
        tools: Of the environment with cyclonedx-bom.
    """
    project = str(ROOT / "pyproject.toml")
    told = call(
        *(path.parent, tools, "-m", "cyclonedx_py", "environment", "--output-reproducible", "--pyproject", project),
        str(python),
    )
    path.write_text(json.dumps(complete(json.loads(told)), indent=2, sort_keys=True) + "\n", encoding="utf-8")


def complete(bill: dict[str, Any]) -> dict[str, Any]:
    """A list of parts without what only installs, and with the files beside the code.

    Args:
        bill: The content of a CycloneDX file that lists an environment.

    Returns:
        The same with other components and dependencies.
    """
    installers = {part["bom-ref"] for part in bill["components"] if part["name"] in ("pip", "setuptools")}
    parts = [part for part in bill["components"] if part["bom-ref"] not in installers]
    rows = [row for row in bill["dependencies"] if row["ref"] not in installers]
    for line in (ROOT / "lwisp" / "assets" / "SHA256SUMS").read_text(encoding="utf-8").splitlines():
        sha256, _, name = line.partition("  ")
        part = {
            "type": "machine-learning-model" if name.endswith((".safetensors", ".zip")) else "data",
            "bom-ref": f"lwisp/assets/{name}",
            "name": f"lwisp/assets/{name}",
            "hashes": [{"alg": "SHA-256", "content": sha256}],
            "licenses": [{"expression": LICENCES.get(name, "MIT")}],
        }
        parts.append(part)
    return {**bill, "components": parts, "dependencies": rows}


def running() -> str:
    """The version of this Python, as "3.11"."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def oldest_and_newest() -> tuple[str, str]:
    """The first and the last version of Python that the metadata promise, as ("3.11", "3.13")."""
    words = "Programming Language :: Python :: 3."
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    minors = sorted(int(line.removeprefix(words)) for line in project["classifiers"] if line.startswith(words))
    return f"3.{minors[0]}", f"3.{minors[-1]}"


def find_python(version: str) -> Path | None:
    """A Python of a version that can make virtual environments, or None: this one, one of the search path, or pyenv's.

    Args:
        version: As "3.13".
    """
    candidates = [sys.executable] if version == running() else []
    if found := shutil.which(f"python{version}"):
        candidates.append(found)
    candidates += map(str, Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for candidate in candidates:
        asked = [candidate, "-c", "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"]
        try:
            told = subprocess.run(asked, capture_output=True, text=True, check=False)
        except OSError:
            continue
        if told.stdout.strip() == version:  # pyenv's `python3.13` of the search path may be an empty promise
            return Path(candidate)
    return None


@functools.cache
def index_answers() -> bool:
    """Whether pip finds packages, of an index or wherever it is told to look."""
    with tempfile.TemporaryDirectory() as place:
        asked = [sys.executable, "-m", "pip", "download", "-q", "--retries", "0", "--timeout", "10", "--no-deps"]
        done = subprocess.run([*asked, "--dest", place, "shellingham"], capture_output=True, check=False)
        return done.returncode == 0


def new_environment(folder: Path, *requirements: str, base: Path = Path(sys.executable)) -> Path:
    """Make a virtual environment with packages, and return its Python.

    Args:
        folder: The folder to make.
        requirements: What pip is told to install.
        base: The Python whose environment it is.
    """
    call(folder.parent, base, "-m", "venv", str(folder))
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
    made = folder / "made"
    made.mkdir()
    call(copy, python, "-c", f"from setuptools import build_meta; build_meta.build_sdist({str(made)!r})")
    (sdist,) = made.iterdir()
    return settle(sdist, folder / sdist.name, int(source_date(source)))


def settle(sdist: Path, target: Path, time: int) -> Path:
    """Write an sdist again without what differs from build to build: order, times, owners, permissions.

    Args:
        sdist: The sdist.
        target: The file to write.
        time: The time of all that is in it, in seconds since 1970.

    Returns:
        `target`.
    """
    with (
        tarfile.open(sdist) as old,
        target.open("wb") as file,
        gzip.GzipFile("", "wb", 9, file, mtime=time) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda member: member.name):
            settled = tarfile.TarInfo(member.name)
            settled.type, settled.size, settled.mtime = member.type, member.size, time
            settled.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            content = old.extractfile(member)
            new.addfile(settled, io.BytesIO(content.read()) if content else None)
    return target


def unpack(sdist: Path, folder: Path) -> Path:
    """Unpack an sdist, and return the folder in it."""
    with tarfile.open(sdist) as file:
        file.extractall(folder, filter="data")
    return next(folder.iterdir())


def build_wheel(source: Path, folder: Path, python: Path) -> Path:
    """Build a wheel.

    Args:
        source: An unpacked sdist, whose time the files get, or the files of a checkout.
        folder: Where the wheel goes.
        python: Of an environment with setuptools.

    Returns:
        The wheel.
    """
    settled = source / "PKG-INFO"
    time = str(int(settled.stat().st_mtime)) if settled.exists() else source_date(ROOT)  # as `settle` set it
    command = f"from setuptools import build_meta; build_meta.build_wheel({str(folder)!r})"
    call(source, python, "-c", command, env={"SOURCE_DATE_EPOCH": time})
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
        command, cwd=folder, env={**clean, **(env or {})}, stdout=subprocess.PIPE, text=True, check=True, umask=0o022
    )
    return done.stdout


if __name__ == "__main__":
    main()
