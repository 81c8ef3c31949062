"""The files that datasets consist of: checked by the folder before work begins, read into tensors one by one."""

import hashlib
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from lwisp.files.optional import need
from lwisp.errors import InputError, one_line
from lwisp.files.decoding import opened
from lwisp.files.writing import DAMAGED, write_whole
from lwisp.imaging.mosaic import CFAS

Kind = Literal["mosaic", "rgb"]
T = TypeVar("T")

MODES = {"mosaic": ("I;16", "I;16B", "I;16L", "I"), "rgb": ("RGB",)}
WORDS = {"mosaic": "a grayscale mosaic of 16 bits", "rgb": "an RGB picture of 8 bits a channel"}
ENDS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
"""How a whole file of a format ends."""
CFA_MARGIN = 0.7  # another pattern must explain the targets that much better before mosaics are refused
COARSE = 4  # cells of a mosaic that are seen as one for that


def list_files(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """The files of a folder with one of the suffixes, by stem, in natural order.

    Raises `InputError` where there are none, or two of one stem.
    """
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() in suffixes]
    except OSError as error:
        raise InputError(f"{folder}: expected a folder with {', '.join(suffixes)}: {error.strerror}") from error
    if not found:
        raise InputError(f"{folder}: no files ({', '.join(suffixes)}) in this folder")
    files: dict[str, Path] = {}
    for path in sorted(found, key=lambda path: (len(path.stem), path.stem, path.suffix)):
        if path.stem in files:
            raise InputError(f"{path}: {files[path.stem].name} lies beside it; keep one file of this name")
        files[path.stem] = path
    return files


def match(inputs: dict[str, Path], targets: dict[str, Path]) -> dict[str, tuple[Path, Path]]:
    """Pairs of the same stem; `InputError` names the first file without its partner."""
    for name, path in [*inputs.items(), *targets.items()]:
        if name not in inputs or name not in targets:
            lonely = next(iter((targets if name in inputs else inputs).values())).parent
            raise InputError(f"{path}: has no partner of this name in {lonely}; remove it or fetch the other")
    return {name: (inputs[name], targets[name]) for name in inputs}


def match_named(files: dict[str, Path], given: str, truth: str) -> dict[str, tuple[Path, Path]]:
    """Pairs of one folder, told by their stems: "NAME_real" and "NAME_mean", or the like; other files do not matter.

    `InputError` names the first input without its partner.
    """
    pattern = re.compile(re.escape(given).replace("NAME", "(.+)"))
    names = {stem: match[1] for stem in files if (match := pattern.fullmatch(stem))}
    if not names:
        raise InputError(f"{next(iter(files.values())).parent}: no pictures named {given} in this folder")
    pairs = {}
    for stem, name in names.items():
        partner = truth.replace("NAME", name)
        if partner not in files:
            raise InputError(f"{files[stem]}: has no partner {partner} beside it; remove it or fetch the other")
        pairs[name] = files[stem], files[partner]
    return pairs


def check_files(paths: Sequence[Path], kind: Kind, size: tuple[int, int] | None = None) -> None:
    """Look at the head and the tail of every file; `InputError` names the first that is not as expected.

    Checked are the mode (bit depth), the size (height, width) where one is demanded, and that no file is cut short.
    """
    with ThreadPoolExecutor(8) as pool:
        problems = pool.map(lambda path: _problem(path, kind, size), paths)
        console = Console(stderr=True)
        hidden = len(paths) < 2000 or not console.is_terminal
        for path, problem in zip(
            paths, track(problems, "checking", len(paths), transient=True, console=console, disable=hidden), strict=True
        ):
            if problem:
                raise InputError(problem if problem.startswith(f"{path}: ") else f"{path}: {problem}")


def _problem(path: Path, kind: Kind, size: tuple[int, int] | None) -> str:
    try:
        with opened(path) as picture:
            mode, (width, height) = picture.mode, picture.size
            whole = _is_whole(path, picture)
    except InputError as error:
        return str(error)
    if mode not in MODES[kind]:
        return f"expected {WORDS[kind]}, got mode {mode}"
    if size and (height, width) != size:
        return f"expected {size[0]}x{size[1]} (height x width), got {height}x{width}"
    return "" if whole else "the file is cut short; fetch it again"


def _is_whole(path: Path, picture: Image.Image) -> bool:
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, 64), 2)
        tail = file.read().rstrip(b"\0")
    if tail.endswith(ENDS.get(picture.format or "", b"")):
        return True
    try:
        picture.load()  # some cameras write more after a JPEG's end, so only reading all of it tells
    except Exception:  # Pillow raises nearly anything over damaged files
        return False
    return picture.format == "JPEG"


def sample(items: Sequence[T], count: int = 16) -> list[T]:
    """So many of them, evenly spread."""
    return [items[index] for index in np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)]


def check_cfa(path: Path, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Raise `InputError`, naming `path`, where another Bayer pattern than RGGB explains the targets clearly better.

    Pairs of planes under RGGB (4, h, w) and target (3, 2h, 2w). Each pattern's planes are fitted to the colors they
    would stand for, both seen coarsely, for phone and camera do not stand in one place. Gray pictures fit all alike.
    """
    errors = dict.fromkeys(CFAS, 0.0)
    for packed, target in pairs:
        planes = functional.avg_pool2d(packed, COARSE).flatten(1)
        colors = functional.avg_pool2d(target, 2 * COARSE).flatten(1)
        planes, colors = (values - values.mean(1, keepdim=True) for values in (planes, colors))
        for cfa in CFAS:
            truth = colors[["RGB".index(letter) for letter in cfa]]
            slope = (planes * truth).sum(1, keepdim=True) / planes.square().sum(1, keepdim=True).clamp(min=1e-9)
            errors[cfa] += float((slope * planes - truth).square().mean())
    best = min(errors, key=errors.__getitem__)
    if errors[best] < CFA_MARGIN * errors["RGGB"]:
        raise InputError(f"{path}: its colors fit the target as {best}, not as RGGB; crop the files to start with red")


def read_mat(path: Path, key: str) -> NDArray[Any]:
    """One array of a MATLAB file, old format or HDF5 (v7.3), with MATLAB's order of axes."""
    with _mat(path, key) as file:
        if file is not None:
            return in_matlabs_order(file[key])
        from scipy.io import loadmat

        with path.open("rb") as source:
            return np.asarray(loadmat(source, variable_names=[key])[key])


def mat_shape(path: Path, key: str) -> tuple[int, ...]:
    """The shape of one array of a MATLAB file, as `read_mat` would give it; its values are not read."""
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
    """An HDF5 file to be read; what goes wrong on the way is an `InputError` that says so."""
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


def remember(path: Path, read: Callable[[Path], NDArray[Any]], cache: Path | None) -> NDArray[Any]:
    """What `read` makes of a file; with a cache folder decoded once, and mapped from there ever after.

    What lies damaged in the cache is decoded anew. Raises `InputError`.
    """
    if cache is None:
        return read(path)
    try:
        facts = path.stat()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    known = hashlib.sha256(f"{path.resolve()} {facts.st_size} {facts.st_mtime_ns}".encode()).hexdigest()
    file = cache / f"{known[:32]}.npy"
    if file.exists():
        with suppress(EOFError, *DAMAGED):
            return np.load(file, mmap_mode="c")  # type: ignore[no-any-return]  # torch takes no read-only arrays
    decoded = read(path)

    def write(target: BinaryIO) -> None:
        np.save(target, decoded)

    write_whole(file, write)
    return np.load(file, mmap_mode="c")  # type: ignore[no-any-return]
