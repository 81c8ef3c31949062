"""Pairs of RAW and JPEG prepared for fitting a look: pixels of both on one grid.

What takes long is kept in the run folder: each pair is decoded and aligned once.
"""

from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwisp.camera.cache import cache_path, read_tensors, write_tensors
from lwisp.camera.look import Samples
from lwisp.camera.pairs import Pair
from lwisp.camera.pieces import Pieces, cut_pieces
from lwisp.camera.placement import AlignedPair, KnownPlacement, Tile, align, place
from lwisp.camera.settings import CameraSettings
from lwisp.engines.engine import Engine
from lwisp.errors import InputError, tell_failure
from lwisp.files.raw import RawImage, read_raw
from lwisp.imaging.bayer import cfa_offset
from lwisp.imaging.placement import view
from lwisp.model import Look
from lwisp.pipeline import Planes
from lwisp.provenance import digest
from lwisp.weights import InputConvention, Weights

BAND = 256
"""Rows to which a look is applied at once."""
PIECES = tuple(field.name for field in fields(Pieces))


@dataclass(frozen=True)
class BaseNetwork:
    """The network whose pictures a look is fitted to."""

    weights: Weights
    engine: Engine
    """Runs the network of the weights."""
    convention: InputConvention
    """What the weights expect of their planes, without an exposure rule and headroom: the look has the camera's own."""


@dataclass(frozen=True)
class PreparedPair:
    """One pair, ready to fit a look to."""

    pair: Pair
    sha256: str
    """Of the RAW file."""
    samples: Samples
    pieces: Pieces | None = None
    """None where the JPEG is not of full size, or lies steadily nowhere on the RAW."""


class PairReader:
    """Decodes pairs and aligns them, each at most once in a run.

    Placements (a few KB each) are kept in the run folder, so that a stopped run does not repeat them. Decoded pixels
    are not, for a folder of large photos would fill a disk with them: those of `hold` stay in memory instead, as long
    as they fit. All others are decoded again where they are needed again, and never aligned again.
    """

    def __init__(self, run: Path, settings: CameraSettings = CameraSettings(), hold: Collection[Pair] = ()) -> None:
        self.run = run
        self.settings = settings
        self.hold = hold
        self.room = settings.memory
        self._held: dict[Pair, tuple[RawImage, AlignedPair]] = {}
        self._digests: dict[Pair, tuple[str, ...]] = {}

    def digests(self, pair: Pair) -> tuple[str, ...]:
        """SHA-256 of the RAW file, and of the JPEG file where there is one.

        Raises:
            InputError: A file cannot be read.
        """
        if pair not in self._digests:
            paths = [path for path in (pair.raw, pair.jpeg) if path is not None]
            self._digests[pair] = tuple(digest(path) for path in paths)
        return self._digests[pair]

    def read(self, pair: Pair) -> tuple[RawImage, AlignedPair]:
        """The decoded RAW and its aligned JPEG.

        Raises:
            InputError: A file cannot be read, or the two do not belong together.
        """
        if pair in self._held:
            return self._held[pair]
        raw = read_raw(pair.raw)
        aligned = self._align(pair, raw)
        size = raw.mosaic.nbytes + aligned.target.nbytes
        if pair in self.hold and size <= self.room:
            self.room -= size
            self._held[pair] = raw, aligned
        return raw, aligned

    def _align(self, pair: Pair, raw: RawImage) -> AlignedPair:
        limits = self.settings.pairs
        path = cache_path(self.run, "placement", limits, *self.digests(pair))
        kept = read_tensors(path)
        if kept is not None:
            return place(pair, raw, _from_tensors(kept), limits)
        aligned = align(pair, raw, limits)
        write_tensors(path, _to_tensors(aligned))
        return aligned


def prepare_pair(pair: Pair, reader: PairReader, base: BaseNetwork) -> PreparedPair:
    """A pair's pixels, from the run folder where it was prepared before.

    Args:
        pair: RAW and JPEG.
        reader: Decodes and aligns them; names the run folder and the settings.
        base: The network that the look comes after.

    Raises:
        InputError: The pair cannot be used, for whatever reason: the others can.
    """
    try:
        return _prepare_pair(pair, reader, base)
    except InputError:
        raise
    except Exception as error:
        raise InputError(tell_failure(pair.raw, error)) from error


def _prepare_pair(pair: Pair, reader: PairReader, base: BaseNetwork) -> PreparedPair:
    settings = reader.settings
    decides = (settings.pairs, settings.pixels, settings.pieces, base.convention, base.weights.sha256)
    digests = reader.digests(pair)
    path = cache_path(reader.run, "photo", *decides, *digests)
    kept = read_tensors(path)
    if kept is None:
        raw, aligned = reader.read(pair)
        rgb = on_target(develop(base.engine, base.convention, raw), aligned)
        kept = _sample(rgb, aligned, raw, settings.pixels).tensors()
        pieces = cut_pieces(raw, aligned, base.convention, settings.pieces)
        if pieces is not None:
            kept |= {f"pieces.{name}": getattr(pieces, name) for name in PIECES}
        write_tensors(path, kept)
    pieces = None
    if f"pieces.{PIECES[0]}" in kept:
        pieces = Pieces(*(kept[f"pieces.{name}"] for name in PIECES))
    return PreparedPair(pair, digests[0], Samples.from_tensors(kept), pieces)


def develop(engine: Engine, convention: InputConvention, raw: RawImage) -> NDArray[np.float32]:
    """The picture that an engine makes of a RAW: (H, W, 3) sRGB in [0, 1], oriented as the mosaic is stored.

    Args:
        engine: Runs the network.
        convention: What the network expects of its planes.
        raw: The RAW.
    """
    picture = np.empty((*raw.mosaic.shape, 3), np.float32)
    engine.develop(Planes(engine, raw, convention), picture, cfa_offset(raw.cfa))
    return picture


@torch.no_grad()
def apply_look(learned: Look, picture: NDArray[np.float32]) -> NDArray[np.float32]:
    """A picture with a look applied, the same as by the network that ends with this look.

    Args:
        learned: The look.
        picture: (H, W, 3) float32 sRGB in [0, 1]; it stays as it is.

    Returns:
        (H, W, 3) float32 sRGB in [0, 1].
    """
    result = np.empty_like(picture)
    for top in range(0, len(picture), BAND):
        rows = torch.from_numpy(picture[top : top + BAND]).permute(2, 0, 1)[None]
        result[top : top + BAND] = learned(rows)[0].permute(1, 2, 0).numpy()
    return result


def on_target(picture: NDArray[np.float32], aligned: AlignedPair) -> Tensor:
    """What the camera's JPEG shows of a picture of the mosaic, at the JPEG's size.

    Args:
        picture: (H, W, 3) in [0, 1], a pixel for each photosite.
        aligned: The JPEG.

    Returns:
        (3, h, w), antialiased where the JPEG is smaller.
    """
    size = aligned.target.shape[:2]
    planes = [view(picture[..., channel], aligned.box, size) for channel in range(3)]
    return torch.from_numpy(np.stack(planes)).clamp(0, 1)


def accepted_pixels(aligned: AlignedPair) -> Tensor:
    """Which pixels of a JPEG lie in tiles that can be trusted.

    Args:
        aligned: The JPEG, its target (h, w, 3).

    Returns:
        (h, w) bool.
    """
    mask = torch.zeros(aligned.target.shape[:2], dtype=torch.bool)
    for tile in aligned.tiles:
        mask[tile.top : tile.top + tile.height, tile.left : tile.left + tile.width] = True
    return mask


def _sample(rgb: Tensor, aligned: AlignedPair, raw: RawImage, count: int) -> Samples:
    """Up to `count` pixels (3, n) of a picture (3, h, w) on the target, evenly spread over the accepted ones."""
    places = accepted_pixels(aligned).flatten().nonzero()[:, 0]
    places = places[torch.linspace(0, len(places) - 1, min(count, len(places))).long()]
    height, width = aligned.target.shape[:2]
    top, left, tall, wide = aligned.box
    full_height, full_width = raw.mosaic.shape
    # photosites below and right of the frame's center
    down = top + (places // width + 0.5) * tall / height - full_height / 2
    across = left + (places % width + 0.5) * wide / width - full_width / 2
    radius = (down.square() + across.square()) * 4 / (full_height**2 + full_width**2)
    target = torch.from_numpy(aligned.target.reshape(-1, 3)).T[:, places]
    return Samples(rgb.flatten(1)[:, places].half().float(), target.float() / 255, radius.half().float())


def _to_tensors(aligned: AlignedPair) -> dict[str, Tensor]:
    """A placement as it is kept, without loss."""
    rectangles = [(tile.top, tile.left, tile.height, tile.width) for tile in aligned.tiles]
    values = [(*tile.shift, tile.confidence) for tile in aligned.tiles]
    return {
        "orientation": torch.tensor(aligned.orientation),
        "box": torch.tensor(aligned.box, dtype=torch.float64),
        "rectangles": torch.tensor(rectangles, dtype=torch.int64).reshape(-1, 4),
        "values": torch.tensor(values, dtype=torch.float64).reshape(-1, 3),
    }


def _from_tensors(kept: dict[str, Tensor]) -> KnownPlacement:
    """The opposite of `_to_tensors`."""
    box = kept["box"].tolist()
    tiles = []
    for rectangle, values in zip(kept["rectangles"].tolist(), kept["values"].tolist(), strict=True):
        top, left, height, width = rectangle
        down, right, confidence = values
        tiles.append(Tile(top, left, height, width, (down, right), confidence))
    return KnownPlacement(int(kept["orientation"]), (box[0], box[1], box[2], box[3]), tuple(tiles))
