"""Learning a camera's look from pixels: the `model.Look` that takes a network's colors nearest to the camera's.

What is learned is a function of color alone, and how much brighter the camera makes the frame's corners. A few photos
hold few colors: where they hold none, the look goes on as the simple one does that is nearest to them all (curves and
a matrix, `matching.find_look`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from lwisp.imaging import color, matching, metrics
from lwisp.model import Look

CHANNELS = 16  # of the look's hidden layers
PIXELS = 20_000  # that a look is learned from
EVEN = 0.5  # how far rare colors count as much as common ones: 0 as often as they are, 1 all alike
INVENTED, ENOUGH = 0.3, 4  # share of colors from all over the cube that follow the simple look, up to so many photos
STEPS, SHADING_STEPS, BATCH, RATE = 1000, 400, 2048, 2e-2
WARMUP = 50

Terms = tuple[float, float, float]


@dataclass(frozen=True)
class Samples:
    """Pixels of one photo: what the network gives without a look, and what the camera gave."""

    rgb: Tensor
    """(3, n) display sRGB in [0, 1]."""
    target: Tensor
    """(3, n), the same."""
    radius: Tensor
    """(n,) squared distance from the frame's middle; 1 in its corners."""


@dataclass(frozen=True)
class Fitted:
    """A look, and `color.shading_gain`'s terms."""

    look: Look
    shading: Terms = (0.0, 0.0, 0.0)

    @torch.no_grad()
    def __call__(self, samples: Samples) -> Tensor:
        """What comes of a photo's pixels, (3, n)."""
        return self.look(_shade(samples, self.shading)[None, :, None])[0, :, 0]  # type: ignore[no-any-return]

    def error(self, samples: Samples) -> float:
        """Mean CIE dE2000 from the camera's pixels."""
        return metrics.delta_e(self(samples)[:, None], samples.target[:, None])


def fit(photos: Sequence[Samples], shading: bool = False, seed: int = 0) -> Fitted:
    """The look that takes the photos nearest to their targets; every photo counts alike. The same input, the same look.

    With `shading` what the camera does to the corners is learned first. Takes a few seconds.
    """
    generator = torch.Generator().manual_seed(seed)
    chosen = [_spread(photo, PIXELS // len(photos), generator) for photo in photos]
    samples = Samples(
        torch.cat([part.rgb for part in chosen], 1),
        torch.cat([part.target for part in chosen], 1),
        torch.cat([part.radius for part in chosen]),
    )
    terms: Terms = (0.0, 0.0, 0.0)
    if shading:
        terms = _fit_shading(samples, generator, seed)
    rgb = _shade(samples, terms)
    simple = matching.find_look(rgb[:, None], samples.target[:, None])
    invented = torch.rand(3, int(PIXELS * INVENTED * min(1, ENOUGH / len(photos)) ** 2), generator=generator)
    rgb = torch.cat([rgb, invented], 1)
    target = torch.cat([samples.target, simple(invented[:, None])[:, 0]], 1)
    look = _new(seed)
    _descend(
        list(look.parameters()), lambda at: look.unbounded(rgb[None, :, None, at])[0, :, 0], target, STEPS, generator
    )
    return Fitted(look.eval().requires_grad_(False), terms)


def _new(seed: int) -> Look:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Look(CHANNELS)


def _fit_shading(samples: Samples, generator: Generator, seed: int) -> Terms:
    """The terms that go best with some look; that look is not kept."""
    look, terms = _new(seed), torch.zeros(3, requires_grad=True)
    linear = color.inverse_tone(samples.rgb)

    def predict(at: Tensor) -> Tensor:
        gain = color.shading_gain((terms[0], terms[1], terms[2]), samples.radius[at])  # type: ignore[arg-type]
        return look.unbounded(color.tone((linear[:, at] * gain).clamp(0, 1))[None, :, None])[0, :, 0]

    _descend([*look.parameters(), terms], predict, samples.target, SHADING_STEPS, generator)
    first, second, third = (round(value, 4) for value in terms.tolist())
    return first, second, third


def _shade(samples: Samples, terms: Terms) -> Tensor:
    """The network's pixels as it would give them of a frame with brighter corners: close, not exact."""
    if not any(terms):
        return samples.rgb
    return color.tone((color.inverse_tone(samples.rgb) * color.shading_gain(terms, samples.radius)).clamp(0, 1))


def _descend(
    values: list[Tensor], predict: Callable[[Tensor], Tensor], target: Tensor, steps: int, generator: Generator
) -> None:
    """Change the values so that what is predicted of random pixels comes near the target's, in sRGB and in L*a*b*."""
    optimizer = torch.optim.Adam(values, lr=RATE)
    lab = _lab(target)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1, (step + 1) / WARMUP) * (1 + math.cos(math.pi * step / steps)) / 2
        at = torch.randint(target.shape[1], (BATCH,), generator=generator)
        rgb = predict(at)
        loss = 100 * (rgb - target[:, at]).abs().mean() + (_lab(rgb.clamp(0, 1)) - lab[:, at]).abs().mean() / 2
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _lab(rgb: Tensor) -> Tensor:
    return color.srgb_to_lab(rgb[:, None])[:, 0]


def _spread(photo: Samples, count: int, generator: Generator) -> Samples:
    """So many of a photo's pixels, drawn so that its rare colors count too."""
    red, green, blue = (photo.rgb.clamp(0, 0.999) * 8).long()
    cells = (red * 8 + green) * 8 + blue
    often = torch.bincount(cells, minlength=512)[cells].clamp(min=max(1, len(cells) // 4096))
    at = torch.multinomial(often.float() ** -EVEN, count, replacement=True, generator=generator)
    return Samples(photo.rgb[:, at], photo.target[:, at], photo.radius[at])
