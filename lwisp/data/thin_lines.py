"""Thin lines drawn over photographs: whiskers, wires, twigs, which photographs of their size hardly have.

At such lines demosaicing goes wrong first: it breaks them into dots and dashes of false color.
"""

import math

import torch
from torch import Generator, Tensor

from lwisp.data.simulation import LinesModel
from lwisp.data.unprocess import uniform


def draw(picture: Tensor, generator: Generator, model: LinesModel) -> Tensor:
    """A picture with thin curved lines over it, in its place in front of everything else.

    Args:
        picture: (3, H, W) in [0, 1].
        generator: of all draws.
        model: constants.

    Returns:
        A picture of the same shape and range.
    """
    lowest, highest = model.count
    count = int(torch.randint(lowest, highest + 1, (), generator=generator))
    height, width = picture.shape[-2:]
    rows = torch.arange(height)[:, None] + 0.5
    columns = torch.arange(width) + 0.5
    side = max(height, width)
    spread = float(torch.rand((), generator=generator)) ** 2  # bundles of nearly one direction, and lines that cross
    main = math.pi * float(torch.rand((), generator=generator))
    angle = main + spread * math.pi * (torch.rand(count, generator=generator) - 0.5)
    place = torch.rand(count, 2, generator=generator) * torch.tensor([height, width])
    bend = model.bend / side * torch.randn(count, generator=generator)
    thickness = uniform(count, *model.thickness, generator)
    half_length = side * uniform(count, *model.half_length, generator)
    gray = torch.rand(count, 1, generator=generator)
    bright = torch.rand(count, 1, generator=generator) < model.bright_share
    gray = torch.where(bright, 0.7 + 0.3 * gray, 0.6 * gray)
    is_colored = torch.rand(count, 1, generator=generator) < model.colored_share
    color = torch.where(is_colored, torch.rand(count, 3, generator=generator), gray.expand(count, 3))
    drawn = picture
    for line in range(count):
        down, across = rows - place[line, 0], columns - place[line, 1]
        along = down * angle[line].sin() + across * angle[line].cos()
        beside = down * angle[line].cos() - across * angle[line].sin() - bend[line] * along**2
        slope = (1 + (2 * bend[line] * along) ** 2).sqrt()  # a curve is nearer than what lies straight beside it
        inside = (thickness[line] / 2 + 0.5 - beside.abs() / slope).clamp(0, 1)
        cover = inside.clamp(max=float(thickness[line])) * (half_length[line] - along.abs()).clamp(0, 1)
        drawn = drawn + cover * (color[line, :, None, None] - drawn)
    return drawn
