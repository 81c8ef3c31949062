"""Training batches of random crops out of aligned pairs."""

from collections.abc import Iterator

import torch
from torch import Generator, Tensor

from lwisp.data.cases import MAX_CASES, Case, pack_mosaics, pair_cases
from lwisp.data.datasets import Pictures
from lwisp.errors import InputError
from lwisp.imaging.pixels import to_float
from lwisp.weights import Photo

KEPT_BYTES = 2**30  # of pictures that a process keeps as they were read; whole datasets of small ones fit


class Crops:
    """Training batches out of aligned pairs: random crops, flipped so that the Bayer pattern stays what it is."""

    credits: tuple[Photo, ...] = ()

    def __init__(
        self, train: Pictures, held_out: Pictures, crop: int, batch: int, seed: int = 0, augment: bool = True
    ) -> None:
        self.train, self.held_out, self.crop, self.batch, self.seed, self.augment = (
            train, held_out, crop, batch, seed, augment,
        )  # fmt: skip
        self.takes, self.convention, self.names = train.takes, train.convention, train.names
        self.notes = tuple(dict.fromkeys((*train.notes, *held_out.notes)))
        if not train.names:
            raise InputError("nothing to train on: every picture is held out; add pictures of other scenes")
        check_crop(crop)
        self.kept: dict[int, tuple[Tensor, Tensor]] = {}
        self.room = KEPT_BYTES

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        """The batch of a step."""
        generator = generator_of(self.seed, step)
        chosen = torch.randint(len(self.names), (self.batch,), generator=generator)
        crops = []
        for index in chosen.tolist():
            picture, target = self._read(index)
            if min(picture.shape[-2:]) < self.crop:
                raise InputError(
                    f"{self.names[index]}: {tuple(picture.shape[-2:])}, too small for crops of {self.crop}"
                )
            crops.append(map(to_float, cut(picture, target, self.crop, generator, self.augment)))
        planes, targets = (pack_mosaics(torch.stack(parts)) for parts in zip(*crops, strict=True))
        return planes, targets

    def _read(self, index: int) -> tuple[Tensor, Tensor]:
        """A pair of the training pictures, decoded once while there is room."""
        if index in self.kept:
            return self.kept[index]
        pair = self.train.read(index)
        if (size := sum(part.nbytes for part in pair)) <= self.room:
            self.kept[index] = pair
            self.room -= size
        return pair

    def __len__(self) -> int:
        return 2**31  # steps do not run out

    def cases(self, side: int | None = None, limit: int | None = MAX_CASES) -> Iterator[Case]:
        """So many of the held-out pictures, evenly spread, whole or, with `side`, their middles."""
        return pair_cases(self.held_out, side, limit)


def cut(picture: Tensor, target: Tensor, crop: int, generator: Generator, augment: bool) -> tuple[Tensor, Tensor]:
    """The same random square of input and target (C, H, W), flipped and transposed at random with `augment`.

    A mosaic (one channel, RGGB) stays RGGB: it is cut at even places, or, to be flipped, at odd ones, so that a red
    photosite comes first again; where the picture leaves no room for that it is not flipped.
    """
    bayer = len(picture) == 1
    draw = torch.rand(5, generator=generator).tolist()
    dims = []
    for dim, place, flip in ((-2, draw[0], draw[2] < 0.5), (-1, draw[1], draw[3] < 0.5)):
        room = picture.shape[dim] - crop
        shift = 1 if augment and flip and bayer and room > 0 else 0
        step = 2 if bayer else 1
        start = step * int(place * ((room - shift) // step + 1)) + shift
        picture, target = picture.narrow(dim, start, crop), target.narrow(dim, start, crop)
        if augment and flip and (shift or not bayer):
            dims.append(dim)
    picture, target = picture.flip(dims), target.flip(dims)
    if augment and draw[4] < 0.5:
        picture, target = picture.transpose(-1, -2), target.transpose(-1, -2)
    return picture, target


def check_crop(crop: int) -> None:
    """Raise `InputError` for a side of crops in px that is odd or below 32."""
    if crop < 32 or crop % 2:
        raise InputError(f"expected an even crop of at least 32 px, got {crop}")


def generator_of(seed: int, step: int) -> Generator:
    """The random generator of one training step, whatever process asks for it."""
    return torch.Generator().manual_seed(seed * 1_000_003 + step)
