"""Datasets of aligned pairs on disk, checked as a whole when they are opened: SIDD, PolyU, LoL, any two folders.

Zurich and MAI21 are in `data.zurich`. DND and SIDD's benchmark have no public ground truth: `evaluation.submissions`.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwisp.architecture import Takes
from lwisp.data import folders
from lwisp.errors import InputError
from lwisp.files.decoding import opened
from lwisp.files.matlab import mat_shape, read_mat
from lwisp.files.pictures import read_rgb
from lwisp.files.raw import RAW_SUFFIXES, read_raw
from lwisp.imaging import mosaic
from lwisp.imaging.bayer import CFA, cfa_offset
from lwisp.imaging.pixels import unorient
from lwisp.imaging.tensors import to_float, to_planes, to_tensor
from lwisp.pipeline import prepare
from lwisp.weights import InputConvention

SUFFIXES = (".jpg", ".jpeg", ".png")
"""Of finished pictures."""
AS_SENSED = InputConvention(white_balance="none", color="camera", exposure="none")
"""The convention of datasets of one camera: levels, and nothing else done to the mosaic."""
Box = tuple[int, int, int, int]
"""Top, left, bottom and right in px, counted from 0, open at the end."""
HELD_OUT = 10
"""Every tenth photo or scene is kept for validation where a dataset has no split."""


class Pictures(Protocol):
    """Aligned pairs on disk."""

    takes: Takes
    """What a network for them takes."""
    convention: InputConvention
    """How RAW is prepared."""
    names: tuple[str, ...]
    """Unique names of the pairs."""
    groups: tuple[str, ...]
    """For each pair its scene."""
    notes: tuple[str, ...]
    """Warnings for the user about the folder."""
    cache: Path | None = None
    """Folder that decoded pictures are mapped from, each of which keeps a file open while it is held."""

    def stored(self, index: int) -> tuple[Tensor, Tensor]:
        """Input and target, of one size, as they are stored.

        Args:
            index: place in `names`.

        Returns:
            An RGGB mosaic (1, H, W) or RGB (3, H, W); RGB (3, H, W) or a clean mosaic (1, H, W). uint8 or uint16, a
            half to a quarter of the bytes of floats; or float32 where files hold floats, or RAW is prepared.

        Raises:
            InputError: for a file that cannot be read.
        """

    def to_float(self, picture: Tensor) -> Tensor:
        """What `stored` gives, or a part of it, as float32 in [0, 1].

        Args:
            picture: input or target, of any shape and on any device: each value counts by itself.
        """
        return to_float(picture)

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        """A pair as float32 in [0, 1].

        Args:
            index: place in `names`.

        Returns:
            Input and target, as `stored` gives them.

        Raises:
            InputError: for a file that cannot be read, or where the two differ in size.
        """
        source, target = self.stored(index)
        return self.to_float(source), self.to_float(target)


class Part(Pictures):
    """Some pairs of a dataset.

    Args:
        pictures: the dataset.
        places: which of its pairs, by their place in `names`.
    """

    def __init__(self, pictures: Pictures, places: Sequence[int]) -> None:
        self.pictures, self.places = pictures, tuple(places)
        self.takes, self.convention, self.notes = pictures.takes, pictures.convention, pictures.notes
        self.cache = pictures.cache
        self.names = tuple(pictures.names[place] for place in places)
        self.groups = tuple(pictures.groups[place] for place in places)

    def stored(self, index: int) -> tuple[Tensor, Tensor]:
        """See `Pictures.stored`."""
        return self.pictures.stored(self.places[index])

    def to_float(self, picture: Tensor) -> Tensor:
        """See `Pictures.to_float`."""
        return self.pictures.to_float(picture)


class SIDD(Pictures):
    """SIDD Medium: `Data/I_S_P_.../I_{NOISY,GT}_SRGB_0NN.PNG`, or RAW in `I_{NOISY,GT}_RAW_0NN.MAT`.

    `I` is the instance, `S` the scene, `P` the phone. RAW files are mosaics (key `x`, [0, 1] between the levels) of the
    phone's Bayer pattern; here they are cropped to begin with red.

    Args:
        root: folder of the dataset.
        takes: "rgb" for sRGB, "planes" for RAW.
        scenes: which of them; all where SIDD's own validation blocks are validated on (`SIDDBlocks`).
        cache: folder that decoded pictures are kept in.

    Raises:
        InputError: for the first thing that is not as in SIDD.
    """

    PATTERNS: ClassVar[dict[str, CFA]] = {"GP": "BGGR", "IP": "RGGB", "S6": "GRBG", "N6": "BGGR", "G4": "BGGR"}
    """Bayer patterns of the phones."""
    COUNT = 320
    """Published number of pairs."""
    BLOCKS = (40, 32, 256, 256)
    """Scenes, blocks of each, height and width of the validation and benchmark blocks."""

    def __init__(
        self,
        root: Path,
        takes: Literal["rgb", "planes"] = "rgb",
        scenes: Literal["train", "held-out", "all"] = "train",
        cache: Path | None = None,
    ) -> None:
        self.takes: Takes = takes
        self.cache, self.convention = cache, AS_SENSED
        word, suffix = ("SRGB", "PNG") if takes == "rgb" else ("RAW", "MAT")
        folder = root / "Data" if (root / "Data").is_dir() else root
        self.pairs: dict[str, tuple[Path, Path]] = {}
        phones, groups = [], []
        for noisy in sorted(folder.glob(f"*/*_NOISY_{word}_*.{suffix}")):
            parts = noisy.parent.name.split("_")
            clean = noisy.with_name(noisy.name.replace("NOISY", "GT"))
            if len(parts) < 3 or parts[2] not in self.PATTERNS:
                raise InputError(f"{noisy.parent}: expected a folder named instance_scene_phone_..., as SIDD has them")
            if not clean.exists():
                raise InputError(f"{noisy}: has no partner {clean.name}; fetch the scene again")
            self.pairs[f"{noisy.parent.name}/{noisy.stem}"] = (noisy, clean)
            phones.append(parts[2])
            groups.append(parts[1])
        if not self.pairs:
            raise InputError(f"{folder}: no pairs */*_NOISY_{word}_*.{suffix} as SIDD Medium has them")
        if takes == "rgb":
            folders.check_files([path for pair in self.pairs.values() for path in pair], "rgb")
        else:
            for noisy, clean in self.pairs.values():
                shapes = [mat_shape(path, "x") for path in (noisy, clean)]
                if shapes[0] != shapes[1] or len(shapes[0]) != 2:
                    raise InputError(f"{noisy}: {shapes[0]} and {clean.name} {shapes[1]}; expected mosaics of one size")
        held = held_out(groups)
        is_held = scenes == "held-out"
        chosen = [index for index, group in enumerate(groups) if scenes == "all" or (group in held) == is_held]
        self.names = tuple(list(self.pairs)[index] for index in chosen)
        self.groups = tuple(groups[index] for index in chosen)
        self.phones = tuple(phones[index] for index in chosen)
        self.notes = count_notes(str(root), len(self.pairs), self.COUNT)
        if cache is not None:
            both = [path for pair in self.pairs.values() for path in pair]
            self.notes += (folders.cache_note(root, {path: self._decoded_bytes(path) for path in both}, cache),)

    def _decoded_bytes(self, path: Path) -> int:
        """Bytes of a decoded file: RGB of 8 bits, or a mosaic in float32."""
        if self.takes == "rgb":
            return _rgb_bytes(path)
        return 4 * math.prod(mat_shape(path, "x"))

    def stored(self, index: int) -> tuple[Tensor, Tensor]:
        """A noisy picture and its clean one.

        Args:
            index: Place in `names`, from 0.

        Returns:
            (noisy, clean): each (3, H, W) sRGB as uint8, or a mosaic (1, H, W) float32 that begins with red.

        Raises:
            InputError: A file cannot be read, or the two differ in size.
        """
        read: Callable[[Path], NDArray[Any]] = read_rgb if self.takes == "rgb" else _read_x
        noisy, clean = [folders.remember(path, read, self.cache) for path in self.pairs[self.names[index]]]
        if noisy.shape != clean.shape:
            raise InputError(f"{self.names[index]}: noisy {noisy.shape} and clean {clean.shape} differ in size")
        if self.takes == "rgb":
            return to_planes(noisy), to_planes(clean)
        top, left = cfa_offset(self.PATTERNS[self.phones[index]])
        rows, columns = _even(top, noisy.shape[0]), _even(left, noisy.shape[1])
        return _to_mosaic(noisy[rows, columns]), _to_mosaic(clean[rows, columns])

    @classmethod
    def blocks(cls, path: Path) -> NDArray[Any]:
        """The blocks of a validation or benchmark file.

        Args:
            path: `ValidationNoisyBlocksSrgb.mat` and its like.

        Returns:
            (40, 32, 256, 256, 3) uint8, or RAW (40, 32, 256, 256).

        Raises:
            InputError: for a file that cannot be read or holds something else.
        """
        blocks = read_mat(path, path.stem)
        if blocks.shape[:4] != cls.BLOCKS or (blocks.shape[4:] or (3,)) != (3,):
            raise InputError(f"{path}: expected blocks of {cls.BLOCKS} or {(*cls.BLOCKS, 3)}, got {blocks.shape}")
        return blocks


class SIDDBlocks(Pictures):
    """SIDD's 1,280 validation blocks in sRGB: `ValidationNoisyBlocksSrgb.mat` and `ValidationGtBlocksSrgb.mat`.

    Args:
        root: folder of both.

    Raises:
        InputError: for a file that is missing, cannot be read or holds something else.
    """

    takes: Takes = "rgb"
    convention = AS_SENSED
    notes: tuple[str, ...] = ()

    def __init__(self, root: Path) -> None:
        self.noisy = SIDD.blocks(root / "ValidationNoisyBlocksSrgb.mat")
        self.clean = SIDD.blocks(root / "ValidationGtBlocksSrgb.mat")
        self.places_of = list(np.ndindex(*SIDD.BLOCKS[:2]))
        self.names = tuple(f"{scene:02d}_{block:02d}" for scene, block in self.places_of)
        self.groups = tuple(f"{scene:02d}" for scene, _ in self.places_of)

    def __getstate__(self) -> dict[str, Any]:
        """All but the blocks, half a GB, which no other process needs."""
        return {name: value for name, value in self.__dict__.items() if name not in ("noisy", "clean")}

    def stored(self, index: int) -> tuple[Tensor, Tensor]:
        """A noisy block and its clean one.

        Args:
            index: Place in `names`, from 0.

        Returns:
            (noisy, clean): each (3, 256, 256) sRGB as uint8.
        """
        place = self.places_of[index]
        return to_planes(self.noisy[place]), to_planes(self.clean[place])


class PolyU(Pictures):
    """PolyU, real noise of five cameras (Xu et al., 2018): `train|val/NAME_real`, `NAME_mean`, the mean of many shots.

    It is published in one folder without a split; no scene should be in both.

    Args:
        root: folder with `train` and `val`.
        split: which of them.
        cache: folder that decoded pictures may be kept in.

    Raises:
        InputError: for the first thing that is wrong.
    """

    takes: Takes = "rgb"
    convention = AS_SENSED

    def __init__(self, root: Path, split: Literal["train", "val"], cache: Path | None = None) -> None:
        self.pairs = folders.match_named(folders.list_files(root / split, SUFFIXES), "NAME_real", "NAME_mean")
        files = [path for pair in self.pairs.values() for path in pair]
        folders.check_files(files, "rgb")
        self.names = self.groups = tuple(self.pairs)
        self.cache, self.notes = folders.choose_cache(root, _decoded_bytes(files, cache), cache)

    def stored(self, index: int) -> tuple[Tensor, Tensor]:
        """A noisy picture and its clean one.

        Args:
            index: Place in `names`, from 0.

        Returns:
            (noisy, clean): each (3, H, W) sRGB as uint8.

        Raises:
            InputError: A file cannot be read, or the two differ in size.
        """
        return _same_size(*self.pairs[self.names[index]], self.cache)


class LoL(Pictures):
    """LoL v1, low light to normal: `our485|eval15/{low,high}/N.png`.

    Args:
        root: folder of the dataset.
        split: which part.
        cache: folder that decoded pictures may be kept in.

    Raises:
        InputError: for the first thing that is wrong.
    """

    takes: Takes = "rgb"
    COUNTS: ClassVar[dict[str, int]] = {"our485": 485, "eval15": 15}
    convention = AS_SENSED

    def __init__(self, root: Path, split: Literal["our485", "eval15"], cache: Path | None = None) -> None:
        low = folders.list_files(root / split / "low", [".png"])
        high = folders.list_files(root / split / "high", [".png"])
        self.pairs = folders.match(low, high)
        files = [path for pair in self.pairs.values() for path in pair]
        folders.check_files(files, "rgb")
        self.names = self.groups = tuple(self.pairs)
        self.cache, notes = folders.choose_cache(root, _decoded_bytes(files, cache), cache)
        self.notes = count_notes(f"{root}: {split}", len(self.pairs), self.COUNTS[split]) + notes

    def stored(self, index: int) -> tuple[Tensor, Tensor]:
        """A picture taken in low light and one in normal light.

        Args:
            index: Place in `names`, from 0.

        Returns:
            (dark, normal): each (3, H, W) sRGB as uint8.

        Raises:
            InputError: A file cannot be read, or the two differ in size.
        """
        return _same_size(*self.pairs[self.names[index]], self.cache)


class Pairs(Pictures):
    """Any two folders, `input` and `target`, with files of the same stems; the input is RAW of any camera, or RGB.

    A RAW is prepared by the convention exactly as in `develop`, so the target must show the same pixels, upright as a
    finished picture is, in the size of the RAW's visible area.

    Args:
        root: folder of both.
        scenes: every tenth pair is held out.
        convention: how RAW is prepared.
        cache: folder that decoded pictures may be kept in; not those of RAW.

    Raises:
        InputError: for the first thing that is wrong.
    """

    def __init__(
        self,
        root: Path,
        scenes: Literal["train", "held-out", "all"] = "train",
        convention: InputConvention | None = None,
        cache: Path | None = None,
    ) -> None:
        self.convention = convention or InputConvention()
        inputs = folders.list_files(root / "input", (*SUFFIXES, *RAW_SUFFIXES))
        self.pairs = folders.match(inputs, folders.list_files(root / "target", SUFFIXES))
        kinds = {path.suffix.lower() in RAW_SUFFIXES for path in inputs.values()}
        if len(kinds) > 1:
            raise InputError(f"{root / 'input'}: holds RAW and finished pictures; expected one kind")
        self.takes: Takes = "raw" if kinds.pop() else "rgb"
        folders.check_files([target for _, target in self.pairs.values()], "rgb")
        if self.takes == "rgb":
            folders.check_files([path for path, _ in self.pairs.values()], "rgb")
        held = held_out(list(self.pairs))
        wanted = {"train": set(self.pairs) - held, "held-out": held, "all": set(self.pairs)}[scenes]
        self.names = self.groups = tuple(name for name in self.pairs if name in wanted)
        finished = self.takes == "rgb"
        files = [path for pair in self.pairs.values() for path in pair] if finished else []
        self.cache, self.notes = folders.choose_cache(root, _decoded_bytes(files, cache), cache)

    def stored(self, index: int) -> tuple[Tensor, Tensor]:
        """A picture that goes in and its target.

        Args:
            index: Place in `names`, from 0.

        Returns:
            (source, target): a mosaic (1, H, W) that begins with red, prepared, float32, or RGB (3, H, W) as uint8; and
            RGB (3, H, W) as uint8.

        Raises:
            InputError: A file cannot be read, or the two differ in size.
        """
        source, target = self.pairs[self.names[index]]
        if self.takes == "rgb":
            return _same_size(source, target, self.cache)
        raw = read_raw(source)
        prepared, (top, left) = prepare(raw, self.convention)
        planes = torch.from_numpy(prepared)
        picture = unorient(read_rgb(target), raw.orientation)
        if picture.shape[:2] != raw.mosaic.shape:
            raise InputError(
                f"{target}: {picture.shape[0]}x{picture.shape[1]} px, expected the visible area of {source.name}, "
                f"{raw.mosaic.shape[0]}x{raw.mosaic.shape[1]}"
            )
        rows, columns = _even(top, raw.mosaic.shape[0]), _even(left, raw.mosaic.shape[1])
        shown = to_planes(picture)[:, rows, columns]
        height, width = shown.shape[1:]
        values = mosaic.unpack(planes)[None, 2 * top :, 2 * left :][:, :height, :width]
        return values, shown


def held_out(groups: Sequence[str]) -> set[str]:
    """The groups that are kept for validation: every tenth, one at least where there are two.

    Args:
        groups: photos or scenes in their order, may repeat.
    """
    unique = list(dict.fromkeys(groups))
    return set(unique[HELD_OUT - 1 :: HELD_OUT] or unique[1:][-1:])


def count_notes(what: str, count: int, published: int | None) -> tuple[str, ...]:
    """A note where a dataset holds another number of pairs than the published one.

    Args:
        what: named in the note.
        count: number of pairs.
        published: None where it is not known.
    """
    if published in (None, count):
        return ()
    return (f"{what}: {count:,} {'pair' if count == 1 else 'pairs'}, the published set has {published:,}",)


def _even(start: int, side: int) -> slice:
    """From `start` on an even number of rows or columns, all that `side` leaves."""
    return slice(start, start + (side - start) // 2 * 2)


def _to_mosaic(values: NDArray[Any]) -> Tensor:
    """(H, W) as (1, H, W) float32."""
    return torch.from_numpy(values.astype(np.float32))[None]


def _read_x(path: Path) -> NDArray[np.float32]:
    """The mosaic in a file of SIDD."""
    return read_mat(path, "x").astype(np.float32)


def read_tensor(path: Path) -> Tensor:
    """A finished picture as (3, H, W) float32 sRGB in [0, 1].

    Args:
        path: of any format that `files.pictures` reads.

    Raises:
        InputError: for a file that cannot be read.
    """
    return to_tensor(read_rgb(path))


def read_same_size(source: Path, target: Path) -> tuple[Tensor, Tensor]:
    """Two finished pictures, each (3, H, W) float32 sRGB in [0, 1].

    Args:
        source: input.
        target: what it is compared with.

    Raises:
        InputError: for a file that cannot be read, or where their sizes differ.
    """
    first, second = _same_size(source, target, None)
    return to_float(first), to_float(second)


def _same_size(source: Path, target: Path, cache: Path | None) -> tuple[Tensor, Tensor]:
    """Two finished pictures, each (3, H, W) uint8; raises `InputError` as `read_same_size`."""
    first, second = (
        to_planes(folders.remember(path, read_rgb, cache, folders.AS_DECODED)) for path in (source, target)
    )
    if first.shape != second.shape:
        raise InputError(
            f"{source}: {tuple(first.shape[1:])} px, its target {tuple(second.shape[1:])}; expected one size"
        )
    return first, second


def _decoded_bytes(files: Sequence[Path], cache: Path | None) -> dict[Path, int]:
    """Bytes of finished pictures once they are decoded; looked at only where they may be kept."""
    return {path: _rgb_bytes(path) for path in files} if cache else {}


def _rgb_bytes(path: Path) -> int:
    with opened(path) as picture:
        return 3 * picture.width * picture.height
