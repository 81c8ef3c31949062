"""`locks/*.txt`: every package has hashes, versions agree, and nothing that `pyproject.toml` asks for is left out."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.conftest import ROOT

Pins = dict[str, set[str]]
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}\b")


def read(name: str) -> Pins:
    """The versions of each package in a lock; there may be several, for different Pythons."""
    pins: Pins = {}
    for entry in re.split(r"\n(?=\S)", (ROOT / "locks" / name).read_text(encoding="utf-8")):
        if not entry.startswith("#"):
            assert HASH.search(entry), f"locks/{name}: no hash: {entry}"
            needed = Requirement(entry.split("\\")[0])
            pins.setdefault(canonicalize_name(needed.name), set()).add(str(needed.specifier).removeprefix("=="))
    return pins


LOCKS = {name: read(f"{name}.txt") for name in ("core", "dev", "docs")}


def wanted(extra: str) -> list[Requirement]:
    """What the package and an extra ask for, those that the extra includes too."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    lines = [Requirement(line) for line in [*project["dependencies"], *extras.get(extra, [])]]
    below = [name for line in lines if line.name == "lwisp" for name in line.extras]
    return [line for line in lines if line.name != "lwisp"] + [line for name in below for line in wanted(name)]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_has_all_that_its_extra_asks_for(name: str) -> None:
    pins = LOCKS[name]
    for needed in [*wanted(name), Requirement("setuptools>=77")]:
        found = pins.get(canonicalize_name(needed.name), set())
        assert found, f"locks/{name}.txt lacks {needed}; `make locks` writes it anew"
        assert all(Version(version) in needed.specifier for version in found), f"{needed}: `make locks`"


def test_the_locks_have_the_versions_of_the_constraints() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").split()
    known = {str(canonicalize_name(name)): version for name, version in (line.split("==") for line in lines)}
    for lock, pins in LOCKS.items():
        other = {name: found for name, found in pins.items() if name in known and found != {known[name]}}
        assert other == {}, f"locks/{lock}.txt: `make locks`"
    assert known.keys() - LOCKS["dev"].keys() - LOCKS["docs"].keys() == set()


def test_locks_for_one_environment_agree() -> None:
    """`make docs` installs into the environment of `make install`."""
    for name in ("core", "docs"):
        other = {key: found for key, found in LOCKS[name].items() if found != LOCKS["dev"].get(key, found)}
        assert other == {}


def test_no_lock_brings_cuda() -> None:
    left_out = {line for line in (ROOT / "locks" / "excludes.in").read_text().split("\n") if not line.startswith("#")}
    for pins in LOCKS.values():
        assert not [name for name in pins if name.startswith(("nvidia-", "cuda-", "triton")) or name in left_out]
