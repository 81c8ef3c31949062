"""Photos with their camera's own JPEGs, made ready to learn a look from; learned of some, tried on others.

What takes long is kept in a folder and found there again: the pixels of every photo, every look that was fitted.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from lwisp.camera import look
from lwisp.camera.look import Fitted, Samples
from lwisp.camera.pairs import AlignedPair, Pair, align
from lwisp.data import folders
from lwisp.engines.engine import Engine
from lwisp.errors import InputError, tell_failure
from lwisp.files.raw import RawImage, read_raw
from lwisp.files.tensors import digest_of
from lwisp.files.writing import write_whole
from lwisp.imaging import mosaic
from lwisp.imaging.mosaic import cfa_offset
from lwisp.imaging.placement import view
from lwisp.model import Look
from lwisp.pipeline import Planes
from lwisp.weights import InputConvention

VERSION = 3  # of what is kept; another one is made anew
KEPT = 40_000  # pixels that are kept of a photo
FOLDS = 5  # parts that photos are held out in; up to so many photos are held out one by one
WORTH = 0.05  # dE2000 on held-out photos that brighter corners have to gain, or the whole network
SUSPECT, SUSPECT_TIMES = 6.0, 2.5  # dE2000 of a held-out photo, and times the median, from which on it is an outlier
SUSPECT_AMONG = 4  # photos, below which no outlier can be told from the others
DRAWS = 3  # of so many photos at random for a point of the learning curve
PIECE, PIECES = 256, 12  # px a side of the squares that are kept of a photo for the whole network, and how many at most
FULL_SIZE = 0.002  # by how much of a px a photosite the JPEG's scale may differ, to be of full size
STEADY = 0.35  # px that a square's content may lie off whole px, for it is not moved by fractions, which softens
BAND = 256  # rows that a look is put on at once


@dataclass(frozen=True)
class Pieces:
    """Squares of one photo whose JPEG has a pixel for each photosite, for the whole network to learn from."""

    photosites: Tensor
    """(n, PIECE, PIECE) float16, RGGB: the planes that the network is given, unpacked, without brighter corners."""
    target: Tensor
    """(n, 3, PIECE, PIECE) uint8: the camera's pixels."""
    radius: Tensor
    """(n, PIECE / 2, PIECE / 2) float16, of each cell, as in `Samples`."""

    def __len__(self) -> int:
        return len(self.photosites)


@dataclass(frozen=True)
class Photo:
    """One pair, ready to learn from."""

    pair: Pair
    sha256: str
    """Of the RAW file."""
    samples: Samples
    pieces: Pieces | None = None
    """None where the JPEG is smaller, or nowhere lies steadily on the RAW."""


PARTS = tuple(field.name for field in fields(Pieces))


@dataclass(frozen=True)
class Workshop:
    """The photos of one camera and picture style, and the folder in which what was done is kept."""

    photos: tuple[Photo, ...]
    run: Path

    def fit(self, photos: Sequence[Photo], shading: bool) -> Fitted:
        """`look.fit` of some photos, or what it gave when it was asked before."""
        told = [f"{VERSION} {look.CHANNELS} {look.STEPS} {look.PIXELS} {shading}"]
        digest = hashlib.sha256()
        for part in (*told, *(digest_of(_tensors(photo.samples)) for photo in photos)):
            digest.update(part.encode())
        place = self.run / f"look-{digest.hexdigest()[:32]}.safetensors"
        found = _read(place)
        if found is None:
            fitted = look.fit([photo.samples for photo in photos], shading)
            found = {**fitted.look.state_dict(), "shading": torch.tensor(fitted.shading, dtype=torch.float64)}
            _write(place, found)
        terms = tuple(round(value, 4) for value in found.pop("shading").tolist())
        learned = Look(look.CHANNELS)
        learned.load_state_dict(found)
        return Fitted(learned.eval().requires_grad_(False), terms)

    @property
    def folds(self) -> list[tuple[Photo, ...]]:
        """Every photo in exactly one part, that is held out together."""
        count = min(len(self.photos), FOLDS)
        return [self.photos[index::count] for index in range(count)]

    def without(self, held_out: Sequence[Photo]) -> list[Photo]:
        """What is left to learn from."""
        return [photo for photo in self.photos if all(photo is not other for other in held_out)]

    def errors(self, shading: bool) -> list[float]:
        """Mean dE2000 of every photo by the look that was learned without it, in their order."""
        found: dict[str, float] = {}
        for fold in self.folds:
            fitted = self.fit(self.without(fold), shading)
            found |= {photo.sha256: fitted.error(photo.samples) for photo in fold}
        return [found[photo.sha256] for photo in self.photos]

    def outlier(self) -> tuple[Photo, float, float] | None:
        """The photo that the others contradict, with its dE2000 and the median of all; none where all agree."""
        if len(self.photos) < SUSPECT_AMONG:
            return None
        errors = self.errors(shading=False)
        usual, worst = float(np.median(errors)), int(np.argmax(errors))
        if errors[worst] < max(SUSPECT, SUSPECT_TIMES * usual):
            return None
        return self.photos[worst], errors[worst], usual

    def prefers_shading(self) -> bool:
        """Whether held-out photos come nearer to the camera's with brighter corners."""
        return float(np.mean(self.errors(True))) < float(np.mean(self.errors(False))) - WORTH

    def learning_curve(self, shading: bool) -> list[tuple[int, float]]:
        """Numbers of photos, doubling, with the mean dE2000 of all others by what they teach: three draws of each."""
        total = len(self.photos)
        counts = sorted({1, *(2**power for power in range(1, 8) if 2**power < total - 1), total - 1})
        curve = []
        for count in counts:
            errors = []
            for draw in range(min(DRAWS, total)):
                order = np.random.default_rng(draw).permutation(total)
                chosen = [self.photos[index] for index in sorted(order[:count])]
                fitted = self.fit(chosen, shading)
                errors += [fitted.error(photo.samples) for photo in self.without(chosen)]
            curve.append((count, float(np.mean(errors))))
        return curve


def look_at(pair: Pair, weights: str, convention: InputConvention, engine: Engine, run: Path) -> Photo:
    """A pair as its pixels, from what was kept in the run folder where it was looked at before.

    `weights` is the SHA-256 of what the engine runs. Raises `InputError` where the pair cannot be used, for whatever
    reason: the others can.
    """
    try:
        return _look_at(pair, weights, convention, engine, run)
    except InputError:
        raise
    except Exception as error:
        raise InputError(tell_failure(pair.raw, error)) from error


def _look_at(pair: Pair, weights: str, convention: InputConvention, engine: Engine, run: Path) -> Photo:
    try:
        content = [path.read_bytes() for path in (pair.raw, pair.jpeg) if path is not None]
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read: {error.strerror or error}") from error
    digests = [hashlib.sha256(part).hexdigest() for part in content]
    named = hashlib.sha256(" ".join([str(VERSION), str(KEPT), weights, *digests]).encode()).hexdigest()
    place = run / f"photo-{named[:32]}.safetensors"
    found = _read(place)
    if found is None:
        raw = read_raw(pair.raw)
        aligned = align(pair, raw)
        rgb = on_target(develop(engine, convention, raw), aligned)
        found = _tensors(_sample(rgb, aligned, raw))
        pieces = cut_pieces(raw, aligned, convention)
        found |= {} if pieces is None else {f"pieces.{name}": getattr(pieces, name) for name in PARTS}
        _write(place, found)
    pieces = Pieces(*(found[f"pieces.{name}"] for name in PARTS)) if f"pieces.{PARTS[0]}" in found else None
    samples = Samples(found["rgb"].float(), found["target"].float() / 255, found["radius"].float())
    return Photo(pair, digests[0], samples, pieces)


def develop(engine: Engine, convention: InputConvention, raw: RawImage) -> NDArray[np.float32]:
    """What an engine makes of a RAW: (H, W, 3) in [0, 1], not turned upright."""
    picture = np.empty((*raw.mosaic.shape, 3), np.float32)
    engine.develop(Planes(raw, convention), picture, cfa_offset(raw.cfa))
    return picture


@torch.no_grad()
def put_on(learned: Look, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """A picture (H, W, 3) with a look, as the network gives it that has this look at its end."""
    result = np.empty_like(picture)
    for top in range(0, len(picture), BAND):
        rows = torch.from_numpy(picture[top : top + BAND]).permute(2, 0, 1)[None]
        result[top : top + BAND] = learned(rows)[0].permute(1, 2, 0).numpy()
    return result


def on_target(picture: NDArray[np.float32], aligned: AlignedPair) -> Tensor:
    """A picture (H, W, 3) of the mosaic as the camera's JPEG shows it: (3, h, w), averaged where that is smaller."""
    size = aligned.target.shape[:2]
    planes = [view(picture[..., channel], aligned.box, size) for channel in range(3)]
    return torch.from_numpy(np.stack(planes)).clamp(0, 1)


def usable(aligned: AlignedPair) -> Tensor:
    """(h, w) bool: the pixels of the JPEG in tiles that can be trusted."""
    mask = torch.zeros(aligned.target.shape[:2], dtype=torch.bool)
    for tile in aligned.tiles:
        mask[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] = True
    return mask


def _sample(rgb: Tensor, aligned: AlignedPair, raw: RawImage) -> Samples:
    """Pixels that lie evenly over what is usable."""
    places = usable(aligned).flatten().nonzero()[:, 0]
    places = places[torch.linspace(0, len(places) - 1, min(KEPT, len(places))).long()]
    height, width = aligned.target.shape[:2]
    top, left, tall, wide = aligned.box
    down = top + (places // width + 0.5) * tall / height - raw.mosaic.shape[0] / 2
    across = left + (places % width + 0.5) * wide / width - raw.mosaic.shape[1] / 2
    radius = (down.square() + across.square()) * 4 / (raw.mosaic.shape[0] ** 2 + raw.mosaic.shape[1] ** 2)
    target = torch.from_numpy(aligned.target.reshape(-1, 3)).T[:, places]
    return Samples(rgb.flatten(1)[:, places].half().float(), target.float() / 255, radius.half().float())


def cut_pieces(raw: RawImage, aligned: AlignedPair, convention: InputConvention) -> Pieces | None:
    """Squares that lie evenly over what is usable, `PIECES` at most; none where the JPEG is not of full size."""
    if abs(aligned.scale - 1) > FULL_SIZE or not aligned.tiles:
        return None
    sides, offset = raw.mosaic.shape, cfa_offset(raw.cfa)
    boxes = np.array([(tile.top, tile.left, tile.height, tile.width) for tile in aligned.tiles])
    starts, ends = boxes[:, :2], boxes[:, :2] + boxes[:, 2:]
    scales = np.array(aligned.box[2:]) / aligned.target.shape[:2]
    middles = (starts + ends) / 2 - [tile.shift for tile in aligned.tiles]
    moves = np.array(aligned.box[:2]) + middles * scales - (starts + ends) / 2  # from the target to the mosaic
    found = []
    for corner in product(*(range(0, side - PIECE, PIECE) for side in aligned.target.shape[:2])):
        overlaps = (np.minimum(ends, np.add(corner, PIECE)) - np.maximum(starts, corner)).clip(0).prod(1)
        if overlaps.sum() < PIECE**2:
            continue
        move = np.rint(moves[overlaps > 0].mean(0)).astype(int)
        if np.abs(moves[overlaps > 0] - move).max() > STEADY:
            continue
        odd = (corner + move + offset) % 2  # a red photosite comes first
        top, left = corner + odd
        first = corner + odd + move
        if (first >= 0).all() and (first + PIECE <= sides).all():
            found.append((first, aligned.target[top : top + PIECE, left : left + PIECE]))
    if not found:
        return None
    planes, chosen = Planes(raw, convention), folders.sample(found, PIECES)
    cells = [(first + offset) // 2 for first, _ in chosen]
    half = PIECE // 2
    windows = [tuple(slice(start, start + half) for start in place.tolist()) for place in cells]
    photosites = torch.cat([mosaic.unpack(planes.read(*window)[None]) for window in windows])
    radius = torch.stack([planes.radius(*window) for window in windows])
    target = torch.from_numpy(np.stack([pixels for _, pixels in chosen])).permute(0, 3, 1, 2)
    return Pieces(photosites.half(), target.contiguous(), radius.half())


def _tensors(samples: Samples) -> dict[str, Tensor]:
    """Samples as they are kept."""
    target = (samples.target * 255).round().to(torch.uint8)
    kept = {"rgb": samples.rgb.half(), "target": target, "radius": samples.radius.half()}
    return {name: value.contiguous() for name, value in kept.items()}


def _read(path: Path) -> dict[str, Tensor] | None:
    """What was kept in a file; none where there is nothing, or it is damaged."""
    try:
        return from_safetensors(path.read_bytes())
    except (OSError, SafetensorError):
        return None


def _write(path: Path, tensors: dict[str, Tensor]) -> None:
    content = to_safetensors(tensors)
    write_whole(path, lambda file: file.write(content))
