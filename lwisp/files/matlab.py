"""MATLAB files, in the old format and as HDF5 (v7.3)."""

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lwisp.errors import InputError, one_line
from lwisp.files.optional import need
from lwisp.files.writing import DAMAGED


def read_mat(path: Path, key: str) -> NDArray[Any]:
    """One array of a MATLAB file, old format or HDF5 (v7.3).

    Args:
        path: The file.
        key: Name of the array in it.

    Returns:
        The values, with MATLAB's order of axes and type.

    Raises:
        InputError: There is no such array, the file is damaged or missing, or h5py or SciPy is not installed.
    """
    with _mat(path, key) as file:
        if file is not None:
            return in_matlabs_order(file[key])
        from scipy.io import loadmat

        with path.open("rb") as source:
            return np.asarray(loadmat(source, variable_names=[key])[key])


def mat_shape(path: Path, key: str) -> tuple[int, ...]:
    """The shape of one array of a MATLAB file; its values are not read.

    Args:
        path: The file.
        key: Name of the array in it.

    Returns:
        The shape of what `read_mat` would give.

    Raises:
        InputError: There is no such array, the file is damaged or missing, or h5py or SciPy is not installed.
    """
    with _mat(path, key) as file:
        if file is not None:
            return tuple(file[key].shape[::-1])
        from scipy.io import whosmat

        with path.open("rb") as source:
            return {name: shape for name, shape, _ in whosmat(source)}[key]  # type: ignore[no-any-return]


def in_matlabs_order(array: Any) -> NDArray[Any]:
    """The values of an HDF5 array that MATLAB has written, large or small: its m(i, j) lies there at [j, i]."""
    return np.asarray(array[()]).T


@contextmanager
def open_hdf5(path: Path, refusal: str) -> Iterator[Any]:
    """An HDF5 file, open to be read in a `with` block.

    Args:
        path: The file.
        refusal: What the message says about a file that cannot be used, as "cannot be read as DND's info".

    Yields:
        The `h5py.File`.

    Raises:
        InputError: h5py is not installed, or the file is missing or damaged; errors of reading in the block become one
            too.
    """
    h5py = need("h5py", "reading .mat files")
    try:
        with h5py.File(path) as file:
            yield file
    except (*DAMAGED, RuntimeError) as error:
        raise InputError(f"{path}: {refusal}: {one_line(error)}") from error


@contextmanager
def _mat(path: Path, key: str) -> Iterator[Any]:
    """The HDF5 file, or None for the old format; what goes wrong on the way is an `InputError`."""
    h5py = need("h5py", "reading .mat files")
    matlab = need("scipy.io.matlab", "reading .mat files")
    try:
        if h5py.is_hdf5(path):
            with h5py.File(path) as file:
                yield file
        else:
            yield None
    except KeyError as error:
        raise InputError(f"{path}: expected an array named {key} in this MATLAB file") from error
    except (*DAMAGED, matlab.MatReadError, zlib.error, NotImplementedError) as error:
        raise InputError(f"{path}: cannot be read as a MATLAB file: {one_line(error)}") from error
