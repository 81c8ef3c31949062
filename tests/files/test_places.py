"""Where the user's files lie, by system."""

from pathlib import Path

import pytest
from platformdirs.api import PlatformDirsABC
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from lwisp.files.places import Kind, bundled_folder, user_folder

SYSTEMS: list[tuple[type[PlatformDirsABC], dict[Kind, str]]] = [
    (Unix, {"cache": ".cache/lwisp", "config": ".config/lwisp", "data": ".local/share/lwisp"}),
    (MacOS, {"cache": "Library/Caches/lwisp", "config": "Library/Application Support/lwisp"}),
    (Windows, {"cache": "local/lwisp/Cache", "config": "local/lwisp", "data": "local/lwisp"}),
]


@pytest.mark.parametrize(("system", "expected"), SYSTEMS)
def test_the_users_folders_are_those_of_the_system(
    system: type[PlatformDirsABC], expected: dict[Kind, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("platformdirs.windows.get_win_folder", lambda name: str(tmp_path / "local"))
    monkeypatch.setattr("platformdirs.PlatformDirs", system)
    for kind, folder in expected.items():
        found = user_folder(kind)
        assert found == tmp_path / folder


@pytest.mark.parametrize("system", [Unix, MacOS, Windows])
def test_where_the_user_wants_them_they_are_on_every_system(
    system: type[PlatformDirsABC], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platformdirs.PlatformDirs", system)
    assert user_folder("data", {"XDG_DATA_HOME": "other"}) == Path("other", "lwisp")


def test_who_has_no_home_has_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    def home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", home)
    assert user_folder("data", {}) is None
    assert user_folder("data", {"XDG_DATA_HOME": "other"}) == Path("other", "lwisp")


def test_recipes_and_a_sample_come_with_lwisp() -> None:
    assert (bundled_folder("recipes") / "tiny.toml").is_file()
    assert (bundled_folder("samples") / "gopro_hero6_mural.dng").is_file()
