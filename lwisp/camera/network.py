"""Training of the whole network on a camera's full-size pairs, kept only where it beats a look alone."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec

import numpy as np
import torch
from rich.console import Console
from torch import Tensor

from lwisp.architecture import Takes
from lwisp.camera.cross_validation import CrossValidation
from lwisp.camera.photos import BaseNetwork, PreparedPair
from lwisp.camera.settings import NetworkFit
from lwisp.data.cases import pack_mosaics
from lwisp.data.crops import Crops
from lwisp.data.datasets import Pictures
from lwisp.engines.engine import Engine, prepare_engine
from lwisp.engines.names import Precision
from lwisp.imaging import color, metrics, mosaic
from lwisp.imaging.shading import shading_gain
from lwisp.model import LWISP, Look
from lwisp.training import runs
from lwisp.training.progress import Reporter
from lwisp.training.recipe import Recipe
from lwisp.weights import Card, InputConvention, save


@dataclass(frozen=True)
class RefinedNetwork:
    """A network that was trained as a whole on all photos but those held out."""

    network: LWISP
    engine: Engine
    convention: InputConvention
    held_out: tuple[PreparedPair, ...]


class PieceDataset(Pictures):
    """The pieces of photos (`pieces.cut_pieces`); pieces of one photo are one group."""

    takes: Takes = "raw"
    notes: tuple[str, ...] = ()

    def __init__(self, photos: Sequence[PreparedPair], convention: InputConvention) -> None:
        self.convention = convention
        self.places = []
        groups = []
        names = []
        for photo in photos:
            if photo.pieces is None:
                continue
            for index in range(len(photo.pieces)):
                self.places.append((photo.pieces, index))
                groups.append(photo.sha256)
                names.append(f"{photo.sha256}-{index}")
        self.groups = tuple(groups)
        self.names = tuple(names)

    def stored(self, index: int) -> tuple[Tensor, Tensor]:
        """One piece.

        Returns:
            The mosaic (1, side, side), RGGB, with the convention's lens-shading correction, or (2, side, side) with the
            noise that is told; and the camera's pixels (3, side, side), uint8.
        """
        pieces, at = self.places[index]
        gain = shading_gain(self.convention.shading, pieces.radius[at].float())
        gain = gain.repeat_interleave(2, 0).repeat_interleave(2, 1)  # cells -> photosites
        photosites = (pieces.photosites[at].float() * gain)[None]
        if self.convention.noise:
            told = color.noise_plane(mosaic.pack(photosites), pieces.noise[at])[0]
            photosites = torch.cat([photosites, told.repeat_interleave(2, -1).repeat_interleave(2, -2)])
        return photosites, pieces.target[at]


def with_look(base: LWISP, learned: Look, channels: int) -> LWISP:
    """The network with a look at its end; its own weights are shared.

    Args:
        base: A network without a look.
        learned: The look.
        channels: Of the look's hidden layers.
    """
    network = LWISP(replace(base.config, look=channels)).eval()
    look_state = {f"look.{key}": value for key, value in learned.state_dict().items()}
    network.load_state_dict({**base.state_dict(), **look_state})
    return network


def refine_network(
    validation: CrossValidation,
    shading: bool,
    base: BaseNetwork,
    settings: NetworkFit,
    precision: Precision,
    reporter: Reporter,
) -> RefinedNetwork | None:
    """The whole network, trained on all photos but the first fold.

    Args:
        validation: The photos.
        shading: Whether lens shading is corrected.
        base: The network to start from.
        settings: Of the training.
        precision: Of the engines.
        reporter: Told of the steps.

    Returns:
        None where there are few photos with a full-size JPEG, where the packages for training are not installed, and
        where a look alone is as near to the held-out photos.
    """
    assert isinstance(base.weights.network, LWISP)
    held_out = validation.folds[0]
    photos = validation.without(held_out)
    if sum(photo.pieces is not None for photo in validation.photos) < settings.min_photos:
        return None
    if find_spec("lightning_fabric") is None:
        Console(stderr=True).print("pip install 'lwisp[train]' and learn anew: so many photos teach the whole network")
        return None
    fitted = validation.fit(photos, shading)
    convention = replace(base.convention, shading=fitted.shading)
    train = PieceDataset(photos, convention)
    test = PieceDataset(held_out, convention)
    if not test.names:
        return None
    network = with_look(base.weights.network, fitted.look, validation.look_fit.channels)
    licence = base.weights.card.licence
    start = validation.run / "start.safetensors"
    save(start, network, Card("start", network.config, convention, licence))
    recipe = Recipe(
        "whole network",
        licence,
        data="pairs",
        convention=convention,
        architecture=network.config,
        start=str(start),
        steps=settings.steps,
        batch=settings.batch,
        crop=settings.crop,
        learning_rate=settings.learning_rate,
        warmup=settings.warmup,
        ema=settings.ema,
        alpha=0.0,
        checkpoint_every=settings.checkpoint_every,
        validate_every=settings.steps,
    )
    facts = [base.weights.sha256, *train.names, str(recipe)]
    digest = hashlib.sha256(" ".join(facts).encode()).hexdigest()
    output = validation.run / f"network-{digest[:32]}.safetensors"
    data = Crops(train, test, settings.crop, settings.batch)
    learned = runs.train(recipe, output, data=data, reporter=reporter).network
    assert isinstance(learned, LWISP)
    before = _error(prepare_engine(network, "torch", precision), test)
    after = _error(prepare_engine(learned, "torch", precision), test)
    if after > before - validation.settings.min_gain:
        return None
    return RefinedNetwork(learned, prepare_engine(learned, "auto", precision), convention, held_out)


def _picture(engine: Engine, planes: Tensor) -> Tensor:
    """(4, h, w), or (5, h, w) with the noise that is told -> (3, 2h, 2w)."""
    return torch.from_numpy(engine(planes.float().numpy())).permute(2, 0, 1)


def _error(engine: Engine, pieces: PieceDataset) -> float:
    """Mean dE2000 from the camera's pixels."""
    errors = []
    for index in range(len(pieces.names)):
        photosites, target = pieces.read(index)
        errors.append(metrics.delta_e(_picture(engine, pack_mosaics(photosites)), target))
    return float(np.mean(errors))
