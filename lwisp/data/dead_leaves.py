"""Dead leaves: synthetic pictures of flat or evenly shaded shapes that occlude each other, without any noise.

After Lee, Mumford and Huang, "Occlusion Models for Natural Images", IJCV 2001. Photographs keep some grain, which a
network that learns to denoise would learn to keep; large man-made objects look like these pictures.
"""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from lwisp.data.simulation import DeadLeavesModel


def draw(side: int, palette: Tensor, generator: Generator, model: DeadLeavesModel = DeadLeavesModel()) -> Tensor:
    """A picture of ellipses and boxes.

    Args:
        side: px.
        palette: (3, n) in [0, 1], their colors.
        generator: of all draws.
        model: constants.

    Returns:
        (3, side, side) in [0, 1].
    """
    places = torch.arange(side) - (side - 1) / 2
    count = int(torch.randint(model.count[0], model.count[1] + 1, (), generator=generator))
    colors = palette[:, torch.randint(palette.shape[1], (count + 1,), generator=generator)]
    picture = colors[:, -1, None, None].expand(3, side, side)
    for index, values in enumerate(torch.rand(count, 8, generator=generator).tolist()):
        size, form, turn, row, column, kind, shaded, slope = values
        lowest, highest = model.log_radius
        long = math.exp(lowest + (highest - lowest) * size)
        short = long * (model.min_aspect + (1 - model.min_aspect) * form)
        y = (places - (row - 0.5) * (side + long))[:, None]
        x = places - (column - 0.5) * (side + long)
        cosine, sine = math.cos(math.pi * turn), math.sin(math.pi * turn)
        along, across = (x * cosine + y * sine) / long, (y * cosine - x * sine) / short
        if kind < 0.5:
            inside = (1 - torch.hypot(along, across)) * short
        else:
            inside = torch.minimum((1 - along.abs()) * long, (1 - across.abs()) * short)
        cover = (inside + 0.5).clamp(0, 1)  # `inside` is the distance from the border in px: antialiasing
        light = 1 + (model.shading * (2 * slope - 1) if shaded < model.shaded_share else 0.0) * along
        picture = torch.lerp(picture, (colors[:, index, None, None] * light).clamp(0, 1), cover)
    chance, softening = torch.rand(2, generator=generator).tolist()
    if chance < model.soft_share:
        small = max(2, round(side / (1 + (model.max_softening - 1) * softening)))
        for size in (small, side):
            picture = functional.interpolate(picture[None], (size, size), mode="bicubic", antialias=True)[0]
    return picture.clamp(0, 1)
