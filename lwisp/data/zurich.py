"""The datasets of one camera each: Zurich RAW to RGB, and Mobile AI 2021 in the same layout."""

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwisp.architecture import Takes
from lwisp.data import folders
from lwisp.data.datasets import AS_SENSED, Pictures, count_notes
from lwisp.data.optical_flow import move_onto, preview_planes
from lwisp.errors import InputError
from lwisp.files.optional import need
from lwisp.files.pictures import read_rgb
from lwisp.files.raw import read_mosaic
from lwisp.imaging import mosaic
from lwisp.imaging.pixels import to_integer
from lwisp.imaging.tensors import divide, to_float, to_planes
from lwisp.weights import InputConvention


class Zurich(Pictures):
    """Zurich RAW to RGB: `train|test/huawei_raw/N.png`, `train|test/canon/N.jpg`, 448x448.

    RGGB mosaics of 10 bits in 16-bit PNG, by default black 63 and white 1023. The public loaders take white as
    4 * 255: MW-ISPNet's and LiteISPNet's give max(DN - 63, 0) / (1020 - 63), which is `levels="liteispnet"`; PyNET's
    and AWNet's give DN / 1020, which is `levels="pynet"`. None applies a white balance. PyNET's order of channels (B,
    Gb, R, Gr) is not taken over: planes are always R, Gr, Gb, B.

    A table `scenes.csv` in a split says which photograph each pair was cut out of (`folders.scenes_of`).

    Args:
        root: folder of the dataset.
        split: which part.
        convention: how RAW is prepared; only the levels may be chosen.
        cache: folder that decoded pairs may be kept in.

    Raises:
        InputError: for the first thing that is wrong.
    """

    takes: Takes = "raw"
    SIDE = 448
    FOLDERS = ("huawei_raw", "canon")
    COUNTS: ClassVar[dict[str, int]] = {"train": 46_839, "test": 1_204}
    BLACK_LEVEL, WHITE_LEVEL, LOADERS_WHITE = 63.0, 1023.0, 4 * 255.0
    SPLITS: ClassVar[dict[str, str]] = {"train": "train", "test": "test"}

    def __init__(
        self,
        root: Path,
        split: Literal["train", "test"],
        convention: InputConvention = AS_SENSED,
        cache: Path | None = None,
    ) -> None:
        check_one_camera(convention)
        mosaics = root / self.SPLITS[split] / self.FOLDERS[0]
        shown = root / self.SPLITS[split] / self.FOLDERS[1]
        self.pairs = folders.match(
            folders.list_files(mosaics, [".png"]),
            folders.list_files(shown, [".jpg", ".png"]),
        )
        inputs, targets = zip(*self.pairs.values(), strict=True)
        folders.check_files(inputs, "mosaic", (self.SIDE, self.SIDE))
        folders.check_files(targets, "rgb", (self.SIDE, self.SIDE))
        self.convention = convention
        sizes = {**dict.fromkeys(inputs, 2 * self.SIDE**2), **dict.fromkeys(targets, 3 * self.SIDE**2)}
        self.cache, notes = folders.choose_cache(root, sizes, cache)
        self.names = tuple(self.pairs)
        self.groups = folders.scenes_of(mosaics.parent, self.names)
        self.black_level, self.white_level = self._levels()
        self.notes = count_notes(f"{root}: {split}", len(self.pairs), self.COUNTS.get(split)) + notes
        some = (self.read(self.names.index(name)) for name in folders.sample(self.names))
        folders.check_cfa(mosaics, ((mosaic.pack(values[0]), target) for values, target in some))

    @classmethod
    def full_frames(cls, root: Path) -> list[Path]:
        """The full frames of `full_resolution/`, which have no ground truth, for `develop`; checked.

        Args:
            root: folder of the dataset.

        Raises:
            InputError: for the first thing that is wrong.
        """
        frames = list(folders.list_files(root / "full_resolution" / cls.FOLDERS[0], [".png"]).values())
        folders.check_files(frames, "mosaic")
        return frames

    def _levels(self) -> tuple[float, float]:
        self._extremes()
        return self.BLACK_LEVEL, self.WHITE_LEVEL

    def _extremes(self) -> tuple[float, float]:
        """Smallest (0.1th percentile, to ignore dead sites) and largest DN of some mosaics.

        Raises `InputError` for a value above the white level.
        """
        low, high = np.inf, 0.0
        for name in folders.sample(self.names):
            values = _read_dn(self.pairs[name][0])
            low, high = min(low, float(np.quantile(values, 1e-3))), max(high, float(values.max()))
            if high > self.WHITE_LEVEL:
                raise InputError(
                    f"{self.pairs[name][0]}: holds values up to {high:.0f}, expected {self.WHITE_LEVEL:.0f} at most"
                )
        return low, high

    def stored(self, index: int) -> tuple[Tensor, Tensor]:
        """A RAW and its target.

        Args:
            index: Place in `names`, from 0.

        Returns:
            Mosaic (1, H, W) in DN as uint16, and target (3, H, W) sRGB as uint8.

        Raises:
            InputError: A file cannot be read.
        """
        source, target = self.pairs[self.names[index]]
        return self.mosaic(source, self.cache), to_planes(
            folders.remember(target, read_rgb, self.cache, folders.AS_DECODED)
        )

    @staticmethod
    def mosaic(path: Path, cache: Path | None) -> Tensor:
        """The mosaic in a file, (1, H, W) in DN as uint16.

        Args:
            path: The file.
            cache: Folder that it is kept in, if any.

        Raises:
            InputError: It cannot be read.
        """
        return torch.from_numpy(folders.remember(path, _read_dn, cache, folders.AS_DECODED))[None]

    def to_float(self, picture: Tensor) -> Tensor:
        """A mosaic with black at 0 and white at 1, or a target in [0, 1].

        A mosaic is not clipped but for "liteispnet", which clips below black; where the convention keeps the black
        level, 0 DN lies at 0.

        Args:
            picture: As `stored` gives it, or a part of it: DN as uint16, or uint8.

        Returns:
            float32 of the same shape.
        """
        if picture.dtype != torch.uint16:
            return to_float(picture)
        black = self.black_level if self.convention.black_level == "subtract" else 0.0
        white = self.white_level if self.convention.levels == "sensor" else self.LOADERS_WHITE
        values = divide(picture.float() - black, white - black)
        return values.clamp(min=0) if self.convention.levels == "liteispnet" else values


class AlignedZurich(Pictures):
    """Zurich's pairs with the truth moved onto the RAW by optical flow, as protocol zurich/aligned-raw scores them.

    LiteISPNet trains so with a flow network and a mask of where its flow holds; this is TV-L1 and has no mask.

    Args:
        pairs: a split of the dataset.
        cache: folder that the moved truth is kept in; None moves it at every reading.

    Raises:
        InputError: where the disk has less room than the moved truth takes, or scikit-image is not installed.
    """

    takes: Takes = "raw"

    def __init__(self, pairs: Zurich, cache: Path | None = None) -> None:
        need("skimage.registration", "optical flow")
        self.pairs, self.cache = pairs, cache
        self.convention, self.names, self.groups, self.notes = pairs.convention, pairs.names, pairs.groups, pairs.notes
        if cache is not None:
            truths = dict.fromkeys((truth for _, truth in pairs.pairs.values()), 3 * pairs.SIDE**2)
            first = next(iter(truths))
            self.notes += (folders.cache_note(first.parent, truths, cache),)

    def stored(self, index: int) -> tuple[Tensor, Tensor]:
        """A RAW and its target, which lies on it.

        Args:
            index: Place in `names`, from 0.

        Returns:
            Mosaic (1, H, W) in DN as uint16; and target (3, H, W), sRGB as uint8.

        Raises:
            InputError: A file cannot be read.
        """
        source, truth = self.pairs.pairs[self.names[index]]

        def move(_: Path) -> NDArray[np.uint8]:
            values, target = self.pairs.read(index)
            planes = mosaic.pack(values[0])
            return to_integer(move_onto(target, preview_planes(planes, target)).numpy(), 8)

        return self.pairs.mosaic(source, None), torch.from_numpy(folders.remember(truth, move, self.cache))

    def to_float(self, picture: Tensor) -> Tensor:
        """See `Zurich.to_float`."""
        return self.pairs.to_float(picture)


class MAI21(Zurich):
    """Mobile AI 2021 (Fujifilm UltraISP): `train|val/mediatek_raw/N.png`, `train|val/fujifilm/N.png`, 256x256.

    Its public loaders disagree about levels (1023 with black 63, 4095 with black 255), so they are decided from the
    data: 12 bits where a value exceeds 1023, and no black level where values lie well below the published one.
    """

    SIDE = 256
    FOLDERS = ("mediatek_raw", "fujifilm")
    COUNTS: ClassVar[dict[str, int]] = {"train": 24_161}
    SPLITS: ClassVar[dict[str, str]] = {"train": "train", "test": "val"}
    WHITE_LEVEL = 4095.0

    def _levels(self) -> tuple[float, float]:
        if self.convention.levels != "sensor":
            raise InputError(
                f'levels = "{self.convention.levels}" are those of Zurich; expected levels = "sensor" for MAI21'
            )
        low, high = self._extremes()
        black, white = (63.0, 1023.0) if high <= 1023 else (255.0, 4095.0)
        return (black if low > black / 2 else 0.0), white


def check_one_camera(convention: InputConvention) -> None:
    """Check that a convention asks for nothing that a dataset of one camera does not have.

    Args:
        convention: That of a network.

    Raises:
        InputError: It asks for gains, a matrix or the exposure rule.
    """
    expected = (AS_SENSED.white_balance, AS_SENSED.color, AS_SENSED.exposure)
    if (convention.white_balance, convention.color, convention.exposure) != expected:
        raise InputError(
            "this dataset has no gains and no matrix; its convention must say "
            'white_balance = "none", color = "camera", exposure = "none"'
        )


def _read_dn(path: Path) -> NDArray[np.uint16]:
    return read_mosaic(path, "RGGB", 0, 65535, (1.0, 1.0, 1.0)).mosaic
