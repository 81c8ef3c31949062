"""Where the user's files lie, by system."""

from pathlib import Path

import pytest

from lwisp.files.places import Kind, bundled_folder, user_folder

HOME = Path("home")
LOCAL = {"LOCALAPPDATA": "local"}


@pytest.mark.parametrize(
    ("kind", "system", "variables", "expected"),
    [
        ("cache", "linux", {}, HOME / ".cache" / "lwisp"),
        ("config", "darwin", {}, HOME / ".config" / "lwisp"),
        ("data", "linux", LOCAL, HOME / ".local" / "share" / "lwisp"),
        ("data", "linux", {"XDG_DATA_HOME": "other"}, Path("other", "lwisp")),
        ("data", "linux", {"XDG_DATA_HOME": ""}, HOME / ".local" / "share" / "lwisp"),
        ("cache", "win32", LOCAL, Path("local", "lwisp", "cache")),
        ("config", "win32", LOCAL, Path("local", "lwisp")),
        ("data", "win32", {}, HOME / "AppData" / "Local" / "lwisp"),
        ("data", "win32", {"XDG_DATA_HOME": "other", **LOCAL}, Path("other", "lwisp")),
    ],
)
def test_the_users_folders_are_those_of_the_system(
    kind: Kind, system: str, variables: dict[str, str], expected: Path
) -> None:
    assert user_folder(kind, system, variables, HOME) == expected


def test_who_has_no_home_has_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    assert user_folder("data", "linux", {}) is None
    assert user_folder("data", "linux", {"XDG_DATA_HOME": "other"}) == Path("other", "lwisp")


def test_recipes_and_a_sample_come_with_lwisp() -> None:
    assert (bundled_folder("recipes") / "tiny.toml").is_file()
    assert (bundled_folder("samples") / "gopro_hero6_mural.dng").is_file()
