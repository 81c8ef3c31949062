"""Training batches of random crops out of aligned pairs.

A batch is a function of its step, so the same seed gives the same batches however many workers make them, and training
resumes where it stopped.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Generator, Tensor

from lwisp.data.cases import MAX_CASES, Case, pack_mosaics, pair_cases
from lwisp.data.datasets import Part, Pictures, held_out
from lwisp.data.folders import KEPT_BYTES
from lwisp.errors import InputError
from lwisp.weights import Photo

MIN_CROP = 32
"""px, smallest side of a crop."""


class Crops:
    """Batches of random crops of aligned pairs, flipped and transposed such that the Bayer pattern stays RGGB.

    Args:
        train: pairs to train on.
        held_out: pairs to validate on.
        crop: side of the crops in px, even.
        batch: crops in a batch.
        seed: of all random numbers, together with the step.
        augment: whether crops are flipped and transposed at random.

    Raises:
        InputError: for an odd or too small crop, or without a pair to train on.
    """

    credits: tuple[Photo, ...] = ()

    def __init__(
        self, train: Pictures, held_out: Pictures, crop: int, batch: int, seed: int = 0, augment: bool = True
    ) -> None:
        self.train = train
        self.held_out = held_out
        self.crop = crop
        self.batch = batch
        self.seed = seed
        self.augment = augment
        self.takes = train.takes
        self.convention = train.convention
        self.names = train.names
        self.notes = tuple(dict.fromkeys((*train.notes, *held_out.notes)))
        if not train.names:
            raise InputError("nothing to train on: every picture is held out; add pictures of other scenes")
        check_crop(crop)
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}
        self.room = self.kept_bytes

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step, float32.

        Args:
            step: of the training run, from 0.

        Returns:
            Input, planes (B, 4, H/2, W/2) or RGB (B, 3, H, W), and target, RGB (B, 3, H, W) or clean planes.

        Raises:
            InputError: for a pair that cannot be read or is smaller than a crop.
        """
        source, target = self.stored(step)
        return self.to_float(source), self.to_float(target)

    def to_float(self, picture: Tensor) -> Tensor:
        """What `stored` gives as float32 in [0, 1].

        Args:
            picture: Input or target.
        """
        return self.train.to_float(picture)

    def stored(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step as `__getitem__` gives it, but of the types that the dataset stores.

        Args:
            step: of the training run, from 0.

        Returns:
            Input and target, uint8, uint16 or float32.

        Raises:
            InputError: for a pair that cannot be read or is smaller than a crop.
        """
        generator = step_generator(self.seed, step)
        chosen = torch.randint(len(self.names), (self.batch,), generator=generator)
        inputs, targets = [], []
        for index in chosen.tolist():
            picture, target = self._read(index)
            if min(picture.shape[-2:]) < self.crop:
                raise InputError(
                    f"{self.names[index]}: {tuple(picture.shape[-2:])}, too small for crops of {self.crop}"
                )
            picture, target = cut(picture, target, self.crop, generator, self.augment)
            inputs.append(picture.clone())  # a part of a mapped picture would keep its file open
            targets.append(target.clone())
        return pack_mosaics(torch.stack(inputs)), pack_mosaics(torch.stack(targets))

    def __getstate__(self) -> dict[str, Any]:
        """For another process: without the pairs that this one keeps."""
        return {**self.__dict__, "kept": {}, "room": self.kept_bytes}

    @property
    def kept_bytes(self) -> int:
        """Bytes of decoded pairs that a process keeps, at most; none where they are mapped from a cache."""
        return KEPT_BYTES if self.train.cache is None else 0

    def within_train(self) -> "Crops":
        """The training pairs alone, every tenth scene of them held out: to choose by without a look at the test pairs.

        Raises:
            InputError: where all of them show one scene.
        """
        held = held_out(self.train.groups)
        if not held:
            raise InputError("all training pairs show one scene; expected two, so that one can be held out")
        train = Part(self.train, [place for place, group in enumerate(self.train.groups) if group not in held])
        test = Part(self.train, [place for place, group in enumerate(self.train.groups) if group in held])
        return Crops(train, test, self.crop, self.batch, self.seed, self.augment)

    def _read(self, index: int) -> tuple[Tensor, Tensor]:
        """A training pair; one that is not mapped from a cache is decoded once while there is room."""
        if index in self.kept:
            return self.kept[index]
        pair = self.train.stored(index)
        size = sum(part.nbytes for part in pair)
        if size <= self.room:
            self.kept[index] = pair
            self.room -= size
        return pair

    def __len__(self) -> int:
        return 2**31  # steps do not run out

    def cases(self, side: int | None = None, limit: int | None = MAX_CASES) -> Iterator[Case]:
        """Validation cases of the held-out pairs; see `cases.pair_cases`.

        Args:
            side: px of the middle that is taken; None takes whole pictures.
            limit: how many pairs are taken, evenly spread; None takes all.
        """
        return pair_cases(self.held_out, side, limit)


def cut(picture: Tensor, target: Tensor, crop: int, generator: Generator, augment: bool) -> tuple[Tensor, Tensor]:
    """The same random square of input and target.

    A mosaic stays RGGB: it is cut at even places, or, to be flipped, at odd ones, so that a red photosite comes first
    again; where the picture leaves no room for that it is not flipped.

    Args:
        picture: (C, H, W); one channel is a mosaic, RGGB, a second one the noise that is told.
        target: (C, H, W).
        crop: side in px.
        generator: of the place, the flips and the transposition.
        augment: whether to flip and transpose at random.

    Returns:
        Both (C, crop, crop).
    """
    bayer = len(picture) < 3
    draws = torch.rand(5, generator=generator).tolist()
    axes = ((-2, draws[0], draws[2]), (-1, draws[1], draws[3]))
    transposed = augment and draws[4] < 0.5
    flipped = []
    for dim, place, chance in axes:
        flip = augment and chance < 0.5
        room = picture.shape[dim] - crop
        shift = 1 if flip and bayer and room > 0 else 0
        step = 2 if bayer else 1
        start = step * int(place * ((room - shift) // step + 1)) + shift
        picture, target = picture.narrow(dim, start, crop), target.narrow(dim, start, crop)
        if flip and (shift or not bayer):
            flipped.append(dim)
    picture, target = _flip(picture, flipped), _flip(target, flipped)
    if transposed:
        picture, target = picture.transpose(-1, -2), target.transpose(-1, -2)
    return picture, target


def _flip(picture: Tensor, dims: list[int]) -> Tensor:
    if picture.dtype == torch.uint16:  # which torch does not flip
        return picture.view(torch.int16).flip(dims).view(torch.uint16)
    return picture.flip(dims)


def check_crop(crop: int) -> None:
    """Check the side of crops.

    Args:
        crop: in px.

    Raises:
        InputError: where it is odd or below 32.
    """
    if crop < MIN_CROP or crop % 2:
        raise InputError(f"expected an even crop of at least {MIN_CROP} px, got {crop}")


def step_generator(seed: int, step: int) -> Generator:
    """The random generator of a training step, the same in every worker process.

    Args:
        seed: of the run.
        step: from 0.
    """
    return torch.Generator().manual_seed(seed * 1_000_003 + step)
