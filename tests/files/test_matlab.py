"""MATLAB files, against h5py and scipy."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import savemat

from lwisp.files import matlab
from tests.conftest import refusal

ARRAY = np.arange(24, dtype=np.float64).reshape(4, 6)


def write_hdf5(path: Path, content: dict[str, Any]) -> Path:
    """As MATLAB does in version 7.3: with the axes turned round."""
    with h5py.File(path, "w") as file:
        for name, values in content.items():
            file[name] = values.T
    return path


def test_both_kinds_of_matlab_files_give_the_same_array(tmp_path: Path) -> None:
    deep = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    old, new = tmp_path / "old.mat", write_hdf5(tmp_path / "new.mat", {"x": deep, "y": ARRAY})
    savemat(old, {"x": deep, "y": ARRAY}, do_compression=True)
    for path in (old, new):
        for name, expected in (("x", deep), ("y", ARRAY)):
            found = matlab.read_mat(path, name)
            assert found.dtype == expected.dtype
            assert np.array_equal(found, expected)


def test_a_matlab_file_without_the_array_is_named(tmp_path: Path) -> None:
    old, new, group = tmp_path / "old.mat", write_hdf5(tmp_path / "new.mat", {"y": ARRAY}), tmp_path / "group.mat"
    savemat(old, {"y": ARRAY})
    with h5py.File(group, "w") as file:
        file.create_group("x")["y"] = 1
    for path in (old, new):
        assert "expected an array named x" in refusal(path, matlab.read_mat, path, "x")
    assert "cannot be read as a MATLAB file" in refusal(group, matlab.read_mat, group, "x")


def test_damaged_matlab_files_are_named(tmp_path: Path) -> None:
    old, new = tmp_path / "old.mat", write_hdf5(tmp_path / "new.mat", {"x": ARRAY})
    savemat(old, {"x": np.random.default_rng(0).random((40, 40))}, do_compression=True)
    broken = bytearray(old.read_bytes())
    broken[-400:-300] = bytes(100)
    path = tmp_path / "damaged.mat"
    for content in (
        b"",
        b"no MATLAB file",
        bytes(broken),
        old.read_bytes()[:100],
        old.read_bytes()[:-500],
        new.read_bytes()[:1000],
        new.read_bytes()[:-20],
    ):
        path.write_bytes(content)
        assert "cannot be read as a MATLAB file" in refusal(path, matlab.read_mat, path, "x")
    missing = tmp_path / "missing.mat"
    assert "No such file" in refusal(missing, matlab.read_mat, missing, "x")
