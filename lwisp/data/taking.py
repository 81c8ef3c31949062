"""How a simulated phone takes a scene, for synthetic benchmarks: light, balance, noise and vignetting, drawn by scene.

With all of them the same in every scene, a network could learn them by heart, and a block that averages over the frame
would have nothing to find out.
"""

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from lwisp.data import unprocess
from lwisp.data.simulation import NoiseModel
from lwisp.data.unprocess import Camera


@dataclass(frozen=True)
class Variation:
    """Ranges from which each scene of a benchmark is taken, uniformly. Chosen, not measured."""

    exposure: tuple[float, float] = (-2.0, 0.0)
    """EV of the sensor's exposure beside the target's."""
    warmth: tuple[float, float] = (-0.6, 0.6)
    """EV by which the gain of red rises and that of blue falls: tungsten to shade is about this far."""
    tint: tuple[float, float] = (-0.1, 0.1)
    """EV by which the gains of red and blue rise together."""
    vignetting: tuple[float, float] = (0.0, 1.5)
    """EV that the photograph's corners lack."""
    noise: NoiseModel = NoiseModel(log_shot=(-9.2103, -4.4228))
    """Shot noise of 1e-4 to 1.2e-2: about ISO 100 to 6400."""


@dataclass(frozen=True)
class Taking:
    """How one scene is taken."""

    camera: Camera
    """One camera."""
    exposure: Tensor
    """(1,), factor."""
    shot_noise: Tensor
    """(1,): variance = shot noise * signal + read noise, the signal in [0, 1]."""
    read_noise: Tensor
    """(1,)."""
    vignetting: float = 0.0
    """EV that the corners lack."""

    def falloff(self, height: int, width: int) -> Tensor:
        """The share of light that reaches each pixel.

        Args:
            height: of the photograph in px.
            width: likewise.

        Returns:
            (height, width), 1 in the middle.
        """
        y = torch.linspace(-1, 1, height)[:, None]
        x = torch.linspace(-1, 1, width)
        diagonal = height**2 + width**2
        return torch.exp2(-self.vignetting * ((height * y) ** 2 + (width * x) ** 2) / diagonal)


def draw(camera: Camera, generator: Generator, variation: Variation = Variation()) -> Taking:
    """A random way to take a scene.

    Args:
        camera: one camera, whose balance is changed.
        generator: of all draws.
        variation: the ranges.
    """
    exposure = unprocess.uniform(1, *variation.exposure, generator).exp2()
    warmth = unprocess.uniform(1, *variation.warmth, generator)
    tint = unprocess.uniform(1, *variation.tint, generator)
    gains = torch.stack([tint + warmth, torch.zeros(1), tint - warmth], -1).exp2()
    vignetting = float(unprocess.uniform(1, *variation.vignetting, generator))
    shot_noise, read_noise = unprocess.random_noise(1, generator, variation.noise)
    varied = replace(camera, white_balance=camera.white_balance * gains)
    return Taking(varied, exposure, shot_noise, read_noise, vignetting)
