"""The licences of the packages that each extra brings, and of what is shipped."""

import re
import tomllib
from collections.abc import Iterator
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT
from tests.wheel import LICENCES

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]

PERMISSIVE = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "MIT-CMU",
    "MPL-2.0",  # binds who changes those files, not who uses them
    "PSF-2.0",
    "Zlib",
}
"""What anyone may use, and ship, in programs of any licence."""
WORDS = {
    "3-clause bsd license": "BSD-3-Clause",
    "apache 2.0": "Apache-2.0",
    "apache software license": "Apache-2.0",
    "bsd": "BSD-3-Clause",  # which of them, the text beside the package says; both are in the list
    "bsd license": "BSD-3-Clause",
    "isc license": "ISC",
    "isc license (iscl)": "ISC",
    "mit license": "MIT",
    "mozilla public license 2.0 (mpl 2.0)": "MPL-2.0",
    "python software foundation license": "PSF-2.0",
}
"""Names in use before SPDX."""
OTHER = {
    "formats": {"pillow-jxl-plugin": "GPL-3.0-or-later"},
    "bm3d": {"bm3d": "non-commercial", "bm4d": "non-commercial"},
}
"""Packages under another licence, by the only extra that may bring them; `dev` has `formats`, for its tests."""
MIXED = {"bm3d", "formats"}
"""Extras that no other may include, but for `dev`."""


def licence_of(found: Distribution) -> str:
    """As SPDX has it, of the expression, else the classifiers, else the old field."""
    told: Any = found.metadata  # of which importlib_metadata, where it is installed, makes another kind
    if expression := told.get("License-Expression"):
        return str(expression)
    classified = [line.split(" :: ")[-1] for line in told.get_all("Classifier", []) if line.startswith("License :: ")]
    known = [WORDS[words.lower()] for words in classified if words.lower() in WORDS]
    if known:
        return " AND ".join(known)
    words = (told.get("License") or "no licence").strip()
    return WORDS.get(words.lower(), words)


def is_permissive(expression: str) -> bool:
    """Whether all parts, or one of several alternatives, are in the list."""
    ways = re.split(r"\s+OR\s+", expression.replace("(", "").replace(")", ""))
    return any(all(part.strip() in PERMISSIVE for part in re.split(r"\s+AND\s+", way)) for way in ways)


def packages_of(extra: str) -> Iterator[Distribution]:
    """What the core and an extra bring on this platform; raises `PackageNotFoundError`."""
    todo = [(Requirement(line), "") for line in [*PROJECT["dependencies"], *EXTRAS.get(extra, [])]]
    seen = set()
    while todo:
        needed, asked_for = todo.pop()
        if needed.marker and not needed.marker.evaluate({"extra": asked_for}):
            continue
        if needed.name == "lwisp":
            todo += [(Requirement(line), "") for name in needed.extras for line in EXTRAS[name]]
            continue
        for wanted in ("", *needed.extras):
            key = canonicalize_name(needed.name), wanted
            if key not in seen:
                seen.add(key)
                found = distribution(needed.name)
                todo += [(Requirement(line), wanted) for line in found.requires or []]
                if not wanted:
                    yield found


def included(extra: str) -> set[str]:
    """The extras that one brings, itself among them."""
    own = [Requirement(line) for line in EXTRAS[extra]]
    return {extra}.union(*(included(name) for line in own if line.name == "lwisp" for name in line.extras))


@pytest.mark.parametrize("extra", ["the core", *EXTRAS])
def test_what_an_extra_brings_may_be_used_by_anyone(extra: str) -> None:
    try:
        brought = {canonicalize_name(found.name): licence_of(found) for found in packages_of(extra)}
    except PackageNotFoundError as error:
        if extra in included("dev") or extra == "the core":
            raise
        pytest.skip(f"[{extra}] is not installed: {error}")
    assert len(brought) >= len(PROJECT["dependencies"]) - 1
    excepted = {name: licence for known in OTHER if extra in (known, "dev") for name, licence in OTHER[known].items()}
    refused = {
        name: licence for name, licence in brought.items() if not is_permissive(licence) and name not in excepted
    }
    assert refused == {}, "see `OTHER` in this file, and say it in NOTICE.md"


def test_extras_with_other_licences_stand_alone_and_are_told() -> None:
    assert {other for extra in EXTRAS if extra != "dev" for other in included(extra) & MIXED if other != extra} == set()
    notice = (ROOT / "NOTICE.md").read_text(encoding="utf-8")
    for extra, packages in OTHER.items():
        assert f"[{extra}]" in notice
        for name, licence in packages.items():
            assert f"`{name}`" in notice
            assert licence.removesuffix("-or-later") in notice


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("MIT", True),
        ("Apache-2.0 OR GPL-2.0", True),
        ("(MIT AND Zlib) OR LGPL-3.0", True),
        ("MIT AND GPL-3.0-or-later", False),
        ("no licence", False),
    ],
)
def test_an_expression_counts_as_permissive_where_one_way_is(expression: str, expected: bool) -> None:
    assert is_permissive(expression) is expected


def test_licences_of_bundled_files_in_the_list_of_parts_are_those_of_the_notice() -> None:
    notice = (ROOT / "NOTICE.md").read_text(encoding="utf-8")
    for name, expression in LICENCES.items():
        (section,) = re.findall(rf"^## [^\n]*{re.escape(name)}`.*?(?=^## |\Z)", notice, re.MULTILINE | re.DOTALL)
        for licence in expression.split(" AND "):
            assert licence.replace("-Clause", "").replace("BSD-", "BSD ") in section
