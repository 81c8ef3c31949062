"""What is learned of color alone, against looks that are known."""

import torch
from torch import Tensor

from lwisp.camera import look
from lwisp.camera.look import Samples
from lwisp.camera.settings import LookFit
from lwisp.imaging import color, matching, metrics
from lwisp.imaging.shading import shading_gain
from lwisp.model import Look


def warm(rgb: Tensor) -> Tensor:
    """A look that no curves and matrix have: blue turns with the brightness of red."""
    red, green, blue = color.smoothstep(rgb)
    return torch.stack([red**0.8, green, blue * (1 - 0.3 * red)])


def samples(seed: int, shading: look.Terms = (0.0, 0.0, 0.0), high: float = 1.0) -> Samples:
    generator = torch.Generator().manual_seed(seed)
    rgb, radius = torch.rand(3, 4000, generator=generator) * high, torch.rand(4000, generator=generator)
    brighter = color.tone((color.inverse_tone(rgb) * shading_gain(shading, radius)).clamp(0, 1))
    return Samples(rgb, warm(brighter), radius)


def test_a_new_look_changes_nothing() -> None:
    rgb = torch.rand(2, 3, 5, 7)
    assert torch.equal(Look(8)(rgb), rgb)


def test_a_look_that_no_curves_and_matrix_have_is_learned() -> None:
    settings = LookFit(steps=250)
    seen, other = samples(0), samples(1)
    fitted = look.fit([seen], settings=settings)
    simple = matching.find_look(seen.rgb[:, None], seen.target[:, None])(other.rgb[:, None])
    assert fitted.error(other) < 1.5 < metrics.delta_e(simple, other.target[:, None])
    again = look.fit([seen], settings=settings)
    assert torch.equal(fitted(other), again(other))


def test_brighter_corners_are_told_from_the_look() -> None:
    settings = LookFit(steps=200)
    terms = (0.1, 0.2, 0.2)
    photos = [samples(seed, terms, 0.7) for seed in (0, 1)]
    fitted = look.fit(photos, shading=True, settings=settings)
    places = torch.tensor([0.2, 0.5, 0.9])
    found, true = shading_gain(fitted.shading, places), shading_gain(terms, places)
    assert torch.allclose(found / found[0], true / true[0], atol=0.06)  # a gain of the whole frame is the look's
    assert fitted.error(samples(2, terms, 0.7)) < look.fit(photos, settings=settings).error(samples(2, terms, 0.7)) / 2


def test_rare_colors_count() -> None:
    settings = LookFit(steps=200)
    gray = torch.rand(1, 4000, generator=torch.Generator().manual_seed(3)).expand(3, -1)
    red = samples(4).rgb[:, :40] * torch.tensor([1.0, 0.2, 0.2])[:, None]
    rgb = torch.cat([gray, red], 1)
    fitted = look.fit([Samples(rgb, warm(rgb), torch.zeros(rgb.shape[1]))], settings=settings)
    assert fitted.error(Samples(red, warm(red), torch.zeros(40))) < 3
