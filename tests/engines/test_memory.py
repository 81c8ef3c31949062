"""Memory of the system and of this process, as Linux tells it and as psutil does."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import lwisp
from lwisp.engines.memory import free_memory, installed_memory, resident_memory


def test_linux_tells_of_memory_in_its_files(tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text("MemTotal:  2000 kB\nMemAvailable:  1000 kB\n")
    assert free_memory(tmp_path) == 1000 * 1024
    assert installed_memory(tmp_path) == 2000 * 1024


def test_elsewhere_psutil_tells_of_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = SimpleNamespace(
        virtual_memory=lambda: SimpleNamespace(available=5, total=7),
        Process=lambda: SimpleNamespace(memory_info=lambda: SimpleNamespace(rss=3)),
    )
    monkeypatch.setitem(sys.modules, "psutil", told)
    assert (free_memory(tmp_path), installed_memory(tmp_path), resident_memory(tmp_path)) == (5, 7, 3)


def test_who_has_neither_is_told_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(lwisp.InputError, match="pip install psutil"):
        free_memory(tmp_path)
