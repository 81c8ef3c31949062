"""Fitting a camera's look to pixels: the `model.Look` that takes a network's colors nearest to the camera's.

A look is a function of color alone, with a correction of lens shading where that is asked for. A few photos hold few
colors: where they hold none, the look continues as the nearest simple one does (curves, a matrix, curves:
`matching.find_look`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from lwisp.camera.settings import LookFit
from lwisp.imaging import color, matching, metrics
from lwisp.imaging.shading import shading_gain
from lwisp.model import Look

Terms = tuple[float, float, float]
"""Of `shading_gain`."""
NO_SHADING: Terms = (0.0, 0.0, 0.0)


@dataclass(frozen=True)
class Samples:
    """Pixels of one photo: those of the network without a look, and the camera's."""

    rgb: Tensor
    """(3, n) display sRGB in [0, 1]."""
    target: Tensor
    """(3, n), the same."""
    radius: Tensor
    """(n,) squared distance from the frame's center; 1 in its corners."""

    @classmethod
    def from_tensors(cls, kept: dict[str, Tensor]) -> "Samples":
        """Samples from the tensors that `tensors` has made of them.

        Args:
            kept: "rgb" and "radius" in float16, "target" in uint8.

        Returns:
            The samples in float32.
        """
        return cls(kept["rgb"].float(), kept["target"].float() / 255, kept["radius"].float())

    def tensors(self) -> dict[str, Tensor]:
        """The values as they are kept in files: float16, and uint8 for the target."""
        target = (self.target * 255).round().to(torch.uint8)
        return {
            "rgb": self.rgb.half().contiguous(),
            "target": target.contiguous(),
            "radius": self.radius.half().contiguous(),
        }


@dataclass(frozen=True)
class FittedLook:
    """A look, and the lens shading before the network that goes with it."""

    look: Look
    shading: Terms = NO_SHADING

    @torch.no_grad()
    def __call__(self, samples: Samples) -> Tensor:
        """A photo's pixels with the look, (3, n)."""
        return self.look(_shade(samples, self.shading)[None, :, None])[0, :, 0]  # type: ignore[no-any-return]

    def error(self, samples: Samples) -> float:
        """Mean CIE dE2000 of a photo with the look from the camera's pixels.

        Args:
            samples: The photo's pixels, without a look, and the camera's.

        Returns:
            The mean over the pixels; 0 where they are equal.
        """
        return metrics.delta_e(self(samples)[:, None], samples.target[:, None])


def fit(photos: Sequence[Samples], shading: bool = False, seed: int = 0, settings: LookFit = LookFit()) -> FittedLook:
    """The look that takes the photos nearest to their targets; takes a few seconds.

    Args:
        photos: Pixels; every photo counts the same, whatever its number of pixels.
        shading: Whether to fit a correction of lens shading first.
        seed: Of the pixels drawn and the network's initial values; the same input gives the same look.
        settings: Of the fit.
    """
    generator = torch.Generator().manual_seed(seed)
    count = settings.pixels // len(photos)
    drawn = [_draw(photo, count, settings.rarity, generator) for photo in photos]
    samples = Samples(
        torch.cat([part.rgb for part in drawn], 1),
        torch.cat([part.target for part in drawn], 1),
        torch.cat([part.radius for part in drawn]),
    )
    terms = NO_SHADING
    if shading:
        terms = _fit_shading(samples, generator, seed, settings)
    rgb = _shade(samples, terms)
    simple = matching.find_look(rgb[:, None], samples.target[:, None])
    share = settings.synthetic_colors * min(1, settings.photos_enough / len(photos)) ** 2
    synthetic = torch.rand(3, int(settings.pixels * share), generator=generator)
    rgb = torch.cat([rgb, synthetic], 1)
    target = torch.cat([samples.target, simple(synthetic[:, None])[:, 0]], 1)
    look = _new_look(settings.channels, seed)

    def predict(at: Tensor) -> Tensor:
        return look.unbounded(rgb[None, :, None, at])[0, :, 0]

    _minimize(list(look.parameters()), predict, target, settings.steps, settings, generator)
    return FittedLook(look.eval().requires_grad_(False), terms)


def _new_look(channels: int, seed: int) -> Look:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Look(channels)


def _fit_shading(samples: Samples, generator: Generator, seed: int, settings: LookFit) -> Terms:
    """The shading terms that go best with some look; that look is not kept."""
    look = _new_look(settings.channels, seed)
    terms = torch.zeros(3, requires_grad=True)
    linear = color.inverse_tone(samples.rgb)

    def predict(at: Tensor) -> Tensor:
        gain = shading_gain((terms[0], terms[1], terms[2]), samples.radius[at])  # type: ignore[arg-type]
        rgb = color.tone((linear[:, at] * gain).clamp(0, 1))
        return look.unbounded(rgb[None, :, None])[0, :, 0]

    values = [*look.parameters(), terms]
    _minimize(values, predict, samples.target, settings.shading_steps, settings, generator)
    return round_terms(terms)


def round_terms(terms: Tensor) -> Terms:
    """Shading terms (3,) as they stand on a card: with four decimals."""
    first, second, third = terms.tolist()
    return round(first, 4), round(second, 4), round(third, 4)


def _shade(samples: Samples, terms: Terms) -> Tensor:
    """The network's pixels (3, n) as of a frame whose shading was corrected before the network: close, not exact."""
    if not any(terms):
        return samples.rgb
    gain = shading_gain(terms, samples.radius)
    return color.tone((color.inverse_tone(samples.rgb) * gain).clamp(0, 1))


def _minimize(
    values: list[Tensor],
    predict: Callable[[Tensor], Tensor],
    target: Tensor,
    steps: int,
    settings: LookFit,
    generator: Generator,
) -> None:
    """Fit values in place by Adam: L1 in sRGB and in L*a*b* between prediction and target.

    Args:
        values: What is changed.
        predict: Column numbers (batch,) -> colors (3, batch) in sRGB, not clipped.
        target: (3, n) sRGB in [0, 1].
        steps: Of Adam.
        settings: Batch and learning rate.
        generator: Draws the batches.
    """
    optimizer = torch.optim.Adam(values, lr=settings.learning_rate)
    target_lab = _lab(target)
    for step in range(steps):
        warmup = min(1, (step + 1) / settings.warmup)
        decay = 1 + math.cos(math.pi * step / steps)
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * warmup * decay / 2
        at = torch.randint(target.shape[1], (settings.batch,), generator=generator)
        rgb = predict(at)
        in_srgb = (rgb - target[:, at]).abs().mean()
        in_lab = (_lab(rgb.clamp(0, 1)) - target_lab[:, at]).abs().mean()
        loss = 100 * in_srgb + in_lab / 2
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _lab(rgb: Tensor) -> Tensor:
    """CIE L*a*b* (3, n) of sRGB (3, n)."""
    return color.srgb_to_lab(rgb[:, None])[:, 0]


def _draw(photo: Samples, count: int, rarity: float, generator: Generator) -> Samples:
    """Pixels drawn from a photo with replacement, rare colors more often than they occur (`LookFit.rarity`)."""
    red, green, blue = (photo.rgb.clamp(0, 0.999) * 8).long()
    cells = (red * 8 + green) * 8 + blue  # of a color histogram, 8 x 8 x 8
    frequency = torch.bincount(cells, minlength=512)[cells].clamp(min=max(1, len(cells) // 4096))
    at = torch.multinomial(frequency.float() ** -rarity, count, replacement=True, generator=generator)
    return Samples(photo.rgb[:, at], photo.target[:, at], photo.radius[at])
