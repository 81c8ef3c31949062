"""What is installed: its files, its metadata, and that it runs without the checkout and without POSIX."""

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.wheel import (
    build,
    call,
    check_alike,
    complete,
    digest,
    find_python,
    index_answers,
    new_environment,
    oldest_and_newest,
    running,
    try_commands,
)

POSIX = ("fcntl", "grp", "posix_ipc", "pty", "pwd", "resource", "syslog", "termios", "tty")
"""Modules of Python that Windows lacks."""
WITHOUT_POSIX = f"""
import pkgutil
import sys

sys.modules.update(dict.fromkeys({POSIX}))  # None: importing it fails
sys.modules["torch"] = None
import lwisp

core = [
    module.name
    for module in pkgutil.walk_packages(lwisp.__path__, "lwisp.", onerror=lambda name: None)
    if not module.name.endswith("__main__")
]
done = 0
for name in core:
    try:
        __import__(name)
        done += 1
    except ModuleNotFoundError as error:
        assert error.name.split(".")[0] not in {POSIX}, f"{{name}} imports {{error.name}}"
assert done > 100, done

from lwisp.serve.limits import Limits
from lwisp.sandbox.confinement import Bounds, limit, why_unavailable

limit(Bounds(seconds=1.0))
"""


def test_no_module_needs_what_windows_lacks() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_POSIX], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_file_of_others_in_the_wheel_is_named_in_the_notice() -> None:
    notice = (ROOT / "NOTICE.md").read_text(encoding="utf-8")
    ours = {".py", ".typed", ".html", ".css", ".js", ".zip", ".svg", ".toml"}
    shipped = [path for path in (ROOT / "lwisp").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    foreign = [path.name for path in shipped if path.suffix not in ours and path.name != "SHA256SUMS"]
    assert len(foreign) > 5
    for name in [*foreign, *(path.name for path in (ROOT / "samples").iterdir())]:
        assert f"{name}`" in notice, f"{name} is not named in NOTICE.md"
    assert "lwisp/assets/structures/" in notice


def test_the_metadata_say_what_it_is_and_for_whom() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["authors"] == [{"name": "The lwisp authors"}]
    assert "Operating System :: Microsoft :: Windows" in project["classifiers"]
    oldest = project["requires-python"].removeprefix(">=")
    assert f"Programming Language :: Python :: {oldest}" in project["classifiers"]
    assert all(address.startswith("https://") for address in project["urls"].values())


def test_the_list_of_parts_has_the_weights_and_no_installer() -> None:
    packages = [{"name": name, "bom-ref": f"{name}==1", "type": "library"} for name in ("numpy", "pip", "setuptools")]
    rows = [{"ref": part["bom-ref"]} for part in packages]
    bill = complete({"components": packages, "dependencies": rows, "specVersion": "1.6"})
    parts = {part["name"]: part for part in bill["components"]}
    assert not {"pip", "setuptools"} & parts.keys()
    assert bill["dependencies"] == [{"ref": "numpy==1"}]
    photo = parts["lwisp/assets/weights/photo.safetensors"]
    file = ROOT / "lwisp" / "assets" / "weights" / "photo.safetensors"
    assert photo["hashes"] == [{"alg": "SHA-256", "content": digest(file)}]
    assert photo["licenses"] == [{"expression": "MIT"}]
    assert "BSD-2-Clause" in parts["lwisp/assets/lpips_alex.safetensors"]["licenses"][0]["expression"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist and the wheel; the folder that it was built in, "unpacked", lies beside them."""
    return build(ROOT, tmp_path_factory.mktemp("packaging") / "first", Path(sys.executable))


@pytest.mark.slow
def test_a_wheel_built_of_the_sdist_develops_the_sample(built: tuple[Path, Path], tmp_path: Path) -> None:
    """With the packages of this environment, so that nothing is fetched."""
    python = Path(sys.executable)
    sdist, wheel = built
    (source,) = (sdist.parent / "unpacked").iterdir()
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        (metadata,) = (name for name in names if name.endswith(".dist-info/METADATA"))
        told = Parser().parsestr(file.read(metadata).decode())
        file.extractall(tmp_path / "site")
    recipes = {path.name for path in (ROOT / "recipes").glob("*.toml")}
    assert {f"lwisp/assets/recipes/{name}" for name in recipes} <= names
    assert "lwisp/assets/samples/gopro_hero6_mural.dng" in names
    assets = {"SHA256SUMS", "lpips_alex.safetensors", "weights/photo.safetensors"}
    assert {"lwisp/py.typed", *(f"lwisp/assets/{name}" for name in assets)} <= names
    assert {"lwisp/assets/models/photo.md", "lwisp/assets/results/front.csv"} <= names  # for `lwisp hub pack`
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "lwisp").rglob("*.py")}
    assert modules <= names
    assert not [name for name in names if name.startswith(("tests", "recipes", "setup"))]
    assert told["Author"] == "The lwisp authors"
    assert told["Description-Content-Type"] == "text/markdown"

    env = {"PYTHONPATH": str(tmp_path / "site"), "XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    where = call(tmp_path, python, "-c", "import lwisp; print(lwisp.__file__)", env=env)
    assert Path(where.strip()).is_relative_to(tmp_path / "site")
    try_commands(python, tmp_path / "photos", env)
    read = "from pathlib import Path; from lwisp.training.recipe import read_stages; print(read_stages(Path('tiny')))"
    assert "Recipe(name='tiny'" in call(tmp_path / "photos", python, "-c", read, env=env)

    quick = ["tests/test_imports.py", "tests/files/test_places.py", "tests/training/test_recipe.py"]
    told_by_pytest = call(
        source, python, "-m", "pytest", "-p", "no:cacheprovider", *quick, env={"OMP_NUM_THREADS": "1"}
    )
    assert "passed" in told_by_pytest


@pytest.mark.slow
@pytest.mark.parametrize("version", sorted({*oldest_and_newest(), running()}))
def test_the_wheel_works_in_a_clean_environment_of(version: str, built: tuple[Path, Path], tmp_path: Path) -> None:
    base = find_python(version)
    if base is None:
        pytest.skip(f"no Python {version} here")
    if not index_answers():
        pytest.skip("no index of packages answers")
    locked = ("--require-hashes", "-r", str(ROOT / "locks" / "core.txt"))
    python = new_environment(tmp_path / "clean", *locked, base=base)
    call(tmp_path, python, "-m", "pip", "--disable-pip-version-check", "install", "-q", "--no-deps", str(built[1]))
    told = call(tmp_path, python, "-c", "import lwisp, sys; print(sys.version_info[:2], lwisp.__file__)")
    major, minor = version.split(".")
    assert told.startswith(f"({major}, {minor}) {tmp_path / 'clean'}")
    try_commands(python, tmp_path / "photos", {"XDG_CACHE_HOME": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"})


@pytest.mark.slow
def test_two_builds_of_one_checkout_have_the_same_bytes(
    built: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At another time, in another folder, under a umask by which nobody else may read what is made."""
    with tarfile.open(built[0]) as file:
        monkeypatch.setenv("SOURCE_DATE_EPOCH", str(file.getmembers()[0].mtime))
    before = os.umask(0o077)
    try:
        again = build(built[0].parent / "source", tmp_path / "second", Path(sys.executable))
    finally:
        os.umask(before)
    check_alike(built, again)
    again[1].write_bytes(again[1].read_bytes()[:-1])
    with pytest.raises(SystemExit, match="two builds differ"):
        check_alike(built, again)


@pytest.mark.slow
def test_the_sdist_has_what_its_tests_read(built: tuple[Path, Path]) -> None:
    with tarfile.open(built[0]) as file:
        names = {name.partition("/")[2] for name in file.getnames()}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a checkout")
    unneeded = {".gitignore", ".gitattributes"}
    assert set(listed.stdout.splitlines()) - names <= unneeded
