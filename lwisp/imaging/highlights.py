"""Highlights: light that the sensor lost in some of its colors, and a shoulder for light above white.

Where one or two colors of a photosite's cell are clipped, the others still tell how much light there was, and bright
places nearby that are not clipped tell its color. So a blown color is given what these two say. Where all colors are
clipped nothing is known, and the cell is white.

What is then brighter than the white of the picture's middle tones is laid below white by a shoulder, so that a
network that ends at white can show it.
"""

import torch
from torch import Tensor

from lwisp.imaging.bayer import SATURATION

SURE = (0.75, 0.85)
"""Levels in [0, 1] between which a photosite's color counts less and less as that of light that is not clipped: near
the limit files have been rounded, compressed and averaged with what is clipped."""
GRID = 64
"""Parts along a side of the frame in which the color of bright light is measured."""
PRIOR = 1e-3
"""Weight of the color of the surroundings against that of one part's bright light."""
DARK = 1e-4
"""Light in [0, 1] under which nothing has a color."""
GREEN = (0.97, 1.1)
"""Of the geometric mean of red and blue: limits of a green that is estimated. Nothing blown is magenta, and little is
greener, while lights go from blue to orange."""
LEAST = 0.1
"""Of a color of bright light, 1 being the mean of its channels."""
SAME_COLOR = 0.5
"""Share of the shoulder that keeps colors, in place of letting them go to white."""
BEYOND = 1.2
"""In the light above the knee that becomes white: more is held there."""
KNEE = 0.4
"""Light, 1 being the white of the middle tones, at which the shoulder begins."""


def ramp(x: Tensor, low: float, high: float) -> Tensor:
    """From 0 at `low` to 1 at `high`, linear, clipped; of any shape."""
    return ((x - low) / (high - low)).clamp(0, 1)


COLORS = {3: [0, 1, 2], 4: [0, 1, 1, 2]}
"""Colors R, G, B of the planes of demosaiced pictures (3) and of mosaics: R, Gr, Gb, B."""


def balance_gains(white_balance: Tensor, planes: int = 4) -> Tensor:
    """Gains of planes (..., planes, 1, 1), as in `COLORS`, the smallest taken as 1, of gains (..., 3) of R, G, B."""
    gains = white_balance / white_balance.amin(-1, keepdim=True)
    return gains[..., COLORS[planes], None, None]


def bright_colors(packed: Tensor, white_balance: Tensor) -> Tensor:
    """Colors of light that is bright but not clipped, and how much it weighs: to be averaged over parts of a frame.

    Args:
        packed: (..., C, h, w), R, Gr, Gb, B or RGB, black at 0 and white at 1.
        white_balance: (..., 3), gains of R, G, B.

    Returns:
        (..., 4, h, w): weighted colors R, G, B, whose mean is the weight, and the weight. It rises with the fourth
        power of the brightest photosite, for what is nearly clipped tells most of what is.
    """
    colors = (packed * balance_gains(white_balance, int(packed.shape[-3]))).clamp(min=0)
    if colors.shape[-3] == 4:
        red, green_r, green_b, blue = colors.unbind(-3)
        colors = torch.stack([red, (green_r + green_b) / 2, blue], -3)
    brightest = packed.amax(-3, keepdim=True).clamp(0, 1)
    weight = brightest**4 * (1 - ramp(brightest, *SURE))
    return torch.cat([weight * colors / colors.mean(-3, keepdim=True).clamp(min=DARK), weight], -3)


def spread_colors(means: Tensor) -> Tensor:
    """The color of bright light in every part of a frame; where there is little, that of the wider surroundings.

    Parts are joined by four until one is left, which leans to neutral; then each takes its own color, leaning to the
    wider one's.

    Args:
        means: (..., 4, 64, 64), means of `bright_colors` over the parts.

    Returns:
        (..., 3, 64, 64), R, G, B, about 1 in the mean.
    """
    levels = [means]
    while levels[-1].shape[-1] > 1:
        levels.append(_halved(levels[-1]))
    wider = torch.ones_like(levels[-1][..., :3, :, :])
    for level in reversed(levels):
        colors, weight = level[..., :3, :, :], level[..., 3:, :, :]
        side = level.shape[-1]
        if wider.shape[-1] != side:
            wider = _doubled(wider)
        wider = (colors + PRIOR * wider) / (weight + PRIOR)
    return wider.clamp(min=LEAST)


def between_parts(cells: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
    """Where cells lie between the middles of the parts of a side, for linear interpolation.

    Args:
        cells: (N,), their numbers; they may lie beyond the side.
        side: Cells along the side.

    Returns:
        The part before (N,), so that there is one after it, and the share of that one (N,) in [0, 1].
    """
    place = ((cells + 0.5) * (GRID / side) - 0.5).clamp(0, GRID - 1)
    first = place.floor().clamp(max=GRID - 2)
    return first.long(), place - first


def _doubled(grid: Tensor) -> Tensor:
    """(..., side, side) with every value four times; `repeat_interleave` would confuse torch's exporter to ONNX."""
    rows = torch.stack([grid, grid], -2).flatten(-3, -2)
    return torch.stack([rows, rows], -1).flatten(-2)


def _halved(grid: Tensor) -> Tensor:
    """Means over 2x2 of (..., side, side)."""
    rows = grid[..., ::2, :] + grid[..., 1::2, :]
    return (rows[..., ::2] + rows[..., 1::2]) / 4


def rebuild(packed: Tensor, white_balance: Tensor, colors: Tensor) -> Tensor:
    """Apply white balance, the smallest gain taken as 1, and give clipped photosites the light that they lost.

    The light of a cell is told by the photosites that are not clipped, and at least that which the clipped ones hold;
    its color is that of bright light nearby, but for a green that its red and blue do not allow. Nothing becomes
    brighter than the largest gain: what is clipped in all colors is white of that level.

    Args:
        packed: (..., C, h, w), R, Gr, Gb, B or RGB, black at 0 and white at 1.
        white_balance: (..., 3), gains of R, G, B.
        colors: (..., 3, h, w), from `spread_colors`, at each cell.

    Returns:
        Of the shape of `packed`.
    """
    count = int(packed.shape[-3])  # a tensor, where it is traced
    gains = balance_gains(white_balance, count)
    white = gains.amax(-3, keepdim=True)
    balanced = packed * gains
    clipped = ramp(packed, *SATURATION)
    colors = colors[..., COLORS[count], :, :]
    valid = 1 - clipped
    told = (valid * balanced).sum(-3, keepdim=True) / (valid * colors).sum(-3, keepdim=True).clamp(min=1e-3)
    held = (clipped * balanced / colors).amax(-3, keepdim=True)
    estimate = torch.maximum(told, held) * colors
    red, *_, blue = _raised(balanced, estimate, clipped, white).unbind(-3)
    between = (red * blue).clamp(min=0).sqrt().unsqueeze(-3)
    green = estimate[..., 1:2, :, :].maximum(GREEN[0] * between).minimum(GREEN[1] * between)
    greens = [green] * (count - 2)
    estimate = torch.cat([estimate[..., :1, :, :], *greens, estimate[..., count - 1 :, :, :]], -3)
    rebuilt = _raised(balanced, estimate, clipped, white)
    return torch.lerp(rebuilt, white.expand_as(rebuilt), clipped.amin(-3, keepdim=True))


def _raised(balanced: Tensor, estimate: Tensor, clipped: Tensor, white: Tensor) -> Tensor:
    """Clipped photosites raised to what is estimated, at most to white."""
    return balanced + clipped * (torch.minimum(estimate, white) - balanced).clamp(min=0)


def shoulder(light: Tensor, white: Tensor) -> Tensor:
    """Lay light above white below it: unchanged up to `KNEE`, then the extended curve of Reinhard et al.

    After "Photographic tone reproduction for digital images", SIGGRAPH 2002, equation 4, begun at the knee with the
    slope 1. It is the identity for a white of 1. Of two ways to apply it the mean is taken (`SAME_COLOR`): to the
    brightest channel, by whose factor the others go along, so that colors stay, and to each channel by itself, which
    lets bright colors go to white as film does.

    Args:
        light: (..., C, h, w), planes R, Gr, Gb, B or RGB, linear, 1 being the white of the middle tones.
        white: The light that becomes 1, from 1 up; must broadcast.

    Returns:
        Of the same shape, linear.
    """
    brightest = _brightest(light)
    factor = _curve(brightest, white) / brightest.clamp(min=KNEE)
    together = torch.where(brightest > KNEE, light * factor, light)
    return torch.lerp(_curve(light, white), together, SAME_COLOR)


def stretch(shown: Tensor, white: Tensor) -> Tensor:
    """A scene's light for a picture's: `shoulder` undone for the brightest channel, with which the others go along.

    Args:
        shown: (..., C, h, w), planes R, Gr, Gb, B or RGB, linear, in [0, 1].
        white: The light that 1 becomes, from 1 up; must broadcast.

    Returns:
        Light of the same shape, up to `white`.
    """
    brightest = _brightest(shown)
    end = (white - KNEE) / (1 - KNEE)
    above = ((brightest - KNEE) / (1 - KNEE)).clamp(min=0)
    half = (above - 1) * end**2 / 2  # of a quadratic in the light above the knee
    raised = brightest.clamp(max=KNEE) + (1 - KNEE) * (half + (half * half + above * end**2).sqrt())
    return torch.where(brightest > KNEE, shown * raised / brightest.clamp(min=KNEE), shown)


def _curve(light: Tensor, white: Tensor) -> Tensor:
    """The curve of `shoulder`, value by value."""
    end = (white - KNEE) / (1 - KNEE)
    above = ((light - KNEE) / (1 - KNEE)).clamp(min=0).minimum(BEYOND * end)
    return light.clamp(max=KNEE) + (1 - KNEE) * above * (1 + above / end**2) / (1 + above)


def _brightest(light: Tensor) -> Tensor:
    """The brightest channel (..., 1, h, w) of RGB, or of planes whose two greens count as one."""
    if light.shape[-3] == 4:
        red, green_r, green_b, blue = light.unbind(-3)
        return torch.maximum(torch.maximum(red, blue), (green_r + green_b) / 2).unsqueeze(-3)
    return light.amax(-3, keepdim=True)
