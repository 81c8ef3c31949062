"""Charts of fine detail without color: where a converter invents colors, or breaks lines, these show it first."""

import math

import torch
from torch import Tensor

from lwisp.imaging import color

LINES = 40
"""Of a fan."""
THICKNESS = 1.2
"""px of a fan's lines."""
INNER = 0.15
"""Of a fan's side: the radius at which its lines begin, so that they do not meet."""


def zone_plate(side: int, dark: float = 0.02, light: float = 0.8) -> Tensor:
    """Rings whose frequency rises with the radius, to half a cycle per px at the middle of each border.

    Beyond that radius it is plain, for there is nothing that pixels could show.

    Args:
        side: px.
        dark: Linear light between rings.
        light: Linear light of rings.

    Returns:
        (3, side, side) uint8, sRGB, gray.
    """
    rows, columns = _places(side)
    radius = torch.hypot(rows, columns)
    fading = ((side / 2 - radius) / (0.02 * side)).clamp(0, 1)
    rings = 0.5 + 0.5 * fading * (math.pi * radius**2 / side).cos()
    return _shown(dark + (light - dark) * rings)


def line_fan(side: int, ground: float, line: float) -> Tensor:
    """Thin lines at all angles from the middle outward, antialiased by what they cover.

    Args:
        side: px.
        ground: Linear light around the lines.
        line: Linear light of the lines.

    Returns:
        (3, side, side) uint8, sRGB, gray.
    """
    rows, columns = _places(side)
    radius = torch.hypot(rows, columns)
    step = 2 * math.pi / LINES
    angle = torch.atan2(rows, columns)
    beside = radius * (angle - step * (angle / step).round()).sin().abs()  # px from the nearest line
    cover = (THICKNESS / 2 + 0.5 - beside).clamp(0, 1)
    ends = (radius - INNER * side).clamp(0, 1) * (0.48 * side - radius).clamp(0, 1)
    return _shown(ground + (line - ground) * cover * ends)


def _places(side: int) -> tuple[Tensor, Tensor]:
    """Rows (side, 1) and columns (side,) in px from the middle."""
    places = torch.arange(side) - (side - 1) / 2
    return places[:, None], places


def _shown(linear: Tensor) -> Tensor:
    """Linear light (H, W) as a gray picture (3, H, W) uint8."""
    return (color.srgb_encode(linear) * 255).round().to(torch.uint8).expand(3, -1, -1)
