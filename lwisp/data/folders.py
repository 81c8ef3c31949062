"""Folders of a dataset's files: listed, paired, checked before work begins, and decoded once into a cache."""

import csv
import hashlib
import io
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.nn import functional

from lwisp.errors import DiskFullError, InputError, unreadable
from lwisp.files.decoding import opened
from lwisp.files.writing import DAMAGED, make_folder, read_regular, write_whole
from lwisp.imaging.bayer import CFAS

Kind = Literal["mosaic", "rgb"]
"""What a file holds."""
T = TypeVar("T")

MODES = {"mosaic": ("I;16", "I;16B", "I;16L", "I"), "rgb": ("RGB",)}
"""Pillow's modes of each kind."""
WORDS = {"mosaic": "a grayscale mosaic of 16 bits", "rgb": "an RGB picture of 8 bits a channel"}
ENDS = {"PNG": b"IEND\xaeB`\x82", "JPEG": b"\xff\xd9"}
"""Last bytes of a complete file of each format."""
CFA_MARGIN = 0.7
"""Error of the best Bayer pattern over that of RGGB from which on mosaics are accepted as RGGB."""
COARSE = 4
"""Cells along a side that are averaged for that comparison."""

KEPT_BYTES = 2**30
"""Bytes of decoded pictures that a process keeps in its memory; whole datasets of small ones fit."""
MOST_NAMED = 6
"""Files and folders that a message names."""
SCENES = "scenes.csv"
"""Table of a split that names the scene of each pair."""
AS_DECODED = "decoded"
"""Kind of a cache's entries that hold a picture or a mosaic as its file does."""


def list_files(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """The files of a folder by stem, in natural order.

    Args:
        folder: whose files.
        suffixes: in lower case, with the dot; other files are ignored.

    Raises:
        InputError: for a missing folder, where there are no such files, or two of one stem.
    """
    try:
        found = [path for path in folder.iterdir() if path.suffix.lower() in suffixes]
    except OSError as error:
        raise InputError(
            f"{folder}: expected a folder with {', '.join(suffixes)}: {error.strerror}{_beside(folder)}"
        ) from error
    if not found:
        raise InputError(f"{folder}: no files ({', '.join(suffixes)}) in this folder")
    files: dict[str, Path] = {}
    for path in sorted(found, key=lambda path: (len(path.stem), path.stem, path.suffix)):
        if path.stem in files:
            raise InputError(f"{path}: {files[path.stem].name} lies beside it; keep one file of this name")
        files[path.stem] = path
    return files


def _beside(missing: Path) -> str:
    """What the nearest folder above a missing one holds, for a dataset of another layout; empty where there is none."""
    above = next((parent for parent in missing.parents if parent.is_dir()), None)
    if above is None or missing.is_dir():
        return ""
    with suppress(OSError):
        found = sorted(path.name for path in islice(above.iterdir(), 1000))
        more = ", ..." if len(found) > MOST_NAMED else ""
        return f"; {above} holds {', '.join(found[:MOST_NAMED]) or 'nothing'}{more}"
    return ""


def match(inputs: dict[str, Path], targets: dict[str, Path]) -> dict[str, tuple[Path, Path]]:
    """Pair the files of two folders by stem.

    Args:
        inputs: files by stem.
        targets: files by stem.

    Raises:
        InputError: for the first file without a partner.
    """
    for name, path in [*inputs.items(), *targets.items()]:
        if name not in inputs or name not in targets:
            lonely = next(iter((targets if name in inputs else inputs).values())).parent
            raise InputError(f"{path}: has no partner of this name in {lonely}; remove it or fetch the other")
    return {name: (inputs[name], targets[name]) for name in inputs}


def match_named(files: dict[str, Path], given: str, truth: str) -> dict[str, tuple[Path, Path]]:
    """Pair the files of one folder by patterns of their stems; other files are ignored.

    Args:
        files: by stem.
        given: pattern of the inputs, "NAME_real" for example.
        truth: pattern of the targets, "NAME_mean" for example.

    Raises:
        InputError: without any input, or for the first one without its partner.
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
    """Check the head and the tail of every file: bit depth, size, and that none is truncated.

    Args:
        paths: PNG or JPEG files.
        kind: what they must hold.
        size: (height, width) that they must have; None allows any.

    Raises:
        InputError: for the first file that is not as expected.
    """
    with ThreadPoolExecutor(8) as pool:
        problems = pool.map(lambda path: _problem(path, kind, size), paths)
        console = Console(stderr=True)
        hidden = len(paths) < 2000 or not console.is_terminal
        for path, problem in zip(
            paths, track(problems, "checking", len(paths), transient=True, console=console, disable=hidden), strict=True
        ):
            if problem:
                raise InputError(f"{path}: {problem}")


def _problem(path: Path, kind: Kind, size: tuple[int, int] | None) -> str:
    """What is wrong with a file; empty if nothing is."""
    try:
        with opened(path) as picture:
            mode, (width, height) = picture.mode, picture.size
            whole = _is_whole(path, picture)
    except InputError as error:
        known = "cannot be read as a picture: "
        return known + str(error).removeprefix(f"{path}: ").removeprefix(known)
    if mode not in MODES[kind]:
        return f"expected {WORDS[kind]}, got mode {mode}"
    if size and (height, width) != size:
        return f"expected {size[0]}x{size[1]} (height x width), got {height}x{width}"
    return "" if whole else "the file is cut short; fetch it again"


def _is_whole(path: Path, picture: Image.Image) -> bool:
    """Whether a file is not truncated."""
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
    """Evenly spread items of a sequence, both ends included.

    Args:
        items: the sequence.
        count: how many at most.
    """
    return [items[index] for index in np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)]


def check_cfa(path: Path, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
    """Check that mosaics are RGGB: that no other pattern explains the targets clearly better.

    The planes of each pattern are fitted to the colors that they would stand for. Both are averaged coarsely, because
    phone and camera do not stand in one place. Gray pictures fit all patterns alike.

    Args:
        path: named in the message.
        pairs: planes under RGGB (4, h, w), and targets (3, 2h, 2w).

    Raises:
        InputError: for another pattern.
    """
    errors = dict.fromkeys(CFAS, 0.0)
    for packed, target in pairs:
        planes = functional.avg_pool2d(packed, COARSE).flatten(1)
        planes = planes - planes.mean(1, keepdim=True)
        colors = functional.avg_pool2d(target, 2 * COARSE).flatten(1)
        colors = colors - colors.mean(1, keepdim=True)
        for cfa in CFAS:
            truth = colors[["RGB".index(letter) for letter in cfa]]
            slope = (planes * truth).sum(1, keepdim=True) / planes.square().sum(1, keepdim=True).clamp(min=1e-9)
            errors[cfa] += float((slope * planes - truth).square().mean())
    best = min(errors, key=errors.__getitem__)
    if errors[best] < CFA_MARGIN * errors["RGGB"]:
        raise InputError(f"{path}: its colors fit the target as {best}, not as RGGB; crop the files to start with red")


def scenes_of(split: Path, names: Sequence[str]) -> tuple[str, ...]:
    """The scene of each pair of a split: the photograph that it was cut out of.

    Args:
        split: folder of the split; its `scenes.csv` has the columns `name` and `scene`.
        names: of the pairs.

    Returns:
        One for each name; without a table every pair is a scene of its own.

    Raises:
        InputError: for a table that cannot be read, or lacks a pair.
    """
    table = split / SCENES
    if not table.exists():
        return tuple(names)
    try:
        rows = csv.DictReader(io.StringIO(read_regular(table).decode()))
        known = {row["name"]: row["scene"] or "" for row in rows}
    except (KeyError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: expected a table with the columns name and scene") from error
    missing = next((name for name in names if not known.get(name)), None)
    if missing is not None:
        raise InputError(f"{table}: names no scene of {missing}; add it, or remove the table")
    return tuple(known[name] for name in names)


def choose_cache(root: Path, sizes: Mapping[Path, int], cache: Path | None) -> tuple[Path | None, tuple[str, ...]]:
    """Whether the decoded pictures of a dataset are kept on disk, mapped into the memory of all processes that read it.

    Args:
        root: folder of the dataset, for the note.
        sizes: bytes of each file once it is decoded.
        cache: the cache's folder, if there is any.

    Returns:
        The folder, where the pictures are more than each process keeps in its memory, and the disk has room for them;
        else None. And a note for the user, or none for pictures that are few.
    """
    if cache is None or sum(sizes.values()) <= KEPT_BYTES:
        return None, ()
    make_folder(cache)
    try:
        return cache, (cache_note(root, sizes, cache, AS_DECODED),)
    except DiskFullError as error:
        return None, (f"{error}; until then pictures are decoded anew at each reading",)


def cache_note(root: Path, sizes: Mapping[Path, int], cache: Path, kind: str = "") -> str:
    """What a cache will take, in words, where there is room for it.

    Args:
        root: folder of the dataset, for the message.
        sizes: bytes of each file once it is decoded.
        cache: the cache's folder.
        kind: as for `cached_file`.

    Raises:
        DiskFullError: where the disk has less room than what is not there yet.
    """
    whole = sum(sizes.values())
    missing = sum(size for path, size in sizes.items() if not cached_file(path, cache, kind).exists())
    free = shutil.disk_usage(cache).free
    if missing > free:
        raise DiskFullError(
            f"{cache}: the decoded pictures of {root} take {in_gb(missing)} more, {in_gb(free)} are free; "
            "name an --output on a larger disk"
        )
    return (
        f"{root}: decoded pictures take {in_gb(whole)} in {cache}, {in_gb(missing)} more than now; {in_gb(free)} free"
    )


def in_gb(count: int) -> str:
    """Bytes in GB (10^9), with three digits."""
    return f"{count / 1e9:.3g} GB"


def cached_file(path: Path, cache: Path, kind: str = "") -> Path:
    """Where a decoded file lies in a cache; a file whose size or time has changed lies elsewhere.

    Args:
        path: the file.
        cache: the cache's folder.
        kind: what is made of it, where that is not one thing for all datasets.

    Raises:
        InputError: for a file that cannot be looked at.
    """
    try:
        facts = path.stat()
    except OSError as error:
        raise unreadable(path, error) from error
    told = f"{path.resolve()} {facts.st_size} {facts.st_mtime_ns}{kind and f' {kind}'}"
    known = hashlib.sha256(told.encode()).hexdigest()
    return cache / f"{known[:32]}.npy"


def remember(path: Path, read: Callable[[Path], NDArray[Any]], cache: Path | None, kind: str = "") -> NDArray[Any]:
    """Decode a file once and map the result from a cache afterwards.

    A damaged entry of the cache is decoded anew; so is a file whose size or time has changed.

    Args:
        path: the file.
        read: decodes it.
        cache: the cache's folder; None decodes every time.
        kind: as for `cached_file`.

    Raises:
        InputError: for a file that cannot be read.
    """
    if cache is None:
        return read(path)
    file = cached_file(path, cache, kind)
    if file.exists():
        with suppress(EOFError, *DAMAGED):
            return np.load(file, mmap_mode="c")  # type: ignore[no-any-return]  # torch takes no read-only arrays
    decoded = read(path)

    def write(target: BinaryIO) -> None:
        np.save(target, decoded)

    write_whole(file, write)
    return np.load(file, mmap_mode="c")  # type: ignore[no-any-return]
