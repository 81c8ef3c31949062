"""A folder is timed as a user would develop it: by commands that must make every picture."""

import os
from pathlib import Path

import numpy as np
import pytest

from lwisp.errors import InputError
from lwisp.evaluation.folder_timing import time_folder
from tests.conftest import WriteDng

MOSAIC = np.random.default_rng(0).integers(64, 4000, (40, 60), dtype=np.uint16)


def test_lwisp_and_rawpy_develop_a_folder_in_turn(toy_file: Path, write_dng: WriteDng) -> None:
    lwisp, rawpy = time_folder(toy_file, write_dng(MOSAIC), count=3, rounds=2)
    assert (lwisp.name, lwisp.processes, lwisp.ratio, lwisp.failure) == ("lwisp", 1, 1, "")
    assert (rawpy.name, rawpy.processes) == ("rawpy default", min(len(os.sched_getaffinity(0)), 3))
    assert rawpy.failure == ""
    assert rawpy.ratio is not None
    for row in (lwisp, rawpy):
        assert (len(row.seconds), len(row.core_seconds)) == (2, 2)
        assert min(row.seconds) > 0
        assert min(row.core_seconds) > 0.05  # Python alone takes more to start
    slower = max(mine / other for mine, other in zip(rawpy.seconds, lwisp.seconds, strict=True))
    assert 0 < rawpy.ratio <= slower


def test_a_tool_that_does_not_make_all_pictures_has_no_times(toy_file: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.dng"
    damaged.write_bytes(b"II*\0" + bytes(100))
    for row in time_folder(toy_file, damaged, count=2, rounds=1):
        assert row.failure.startswith(f"{row.name} failed with exit code")
        assert (row.seconds, row.ratio) == ((), None)
    with pytest.raises((InputError, OSError)):
        time_folder(toy_file, tmp_path / "none.dng", count=2, rounds=1)
