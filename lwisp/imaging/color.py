"""Color from the sensor to the screen: white balance, highlights, canonical planes, exposure, tone; CIE L*a*b*.

The canonical space, in which every camera looks like one, is linear Rec. 2020 (D65): wide enough for saturated real
colors, and so near a camera's own primaries that the packed planes are mixed little. Planes are not clipped on the
way: noise below black keeps its sign, and light above white its color.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from lwisp.imaging import matrices, mosaic
from lwisp.imaging.bayer import SATURATION
from lwisp.imaging.highlights import balance_gains, ramp

SRGB_TO_XYZ = torch.tensor(matrices.SRGB_TO_XYZ)
CANONICAL_TO_XYZ = torch.tensor(matrices.CANONICAL_TO_XYZ)
CANONICAL_TO_SRGB = torch.tensor(matrices.CANONICAL_TO_SRGB)
SRGB_TO_CANONICAL = torch.tensor(matrices.SRGB_TO_CANONICAL)
BT601_LUMA = torch.tensor([0.299, 0.587, 0.114])
"""Weights of R, G and B in the luma Y of ITU-R BT.601, which JPEG uses too."""

CONTRAST = 0.4
"""Share of the smoothstep in the tone curve: 0 is plain sRGB, 1 the curve of Brooks et al., CVPR 2019."""
BLACK_SLOPE = 12.92 * (1 - CONTRAST)
"""Of the tone curve at black."""
DARKEST = -0.1
"""Light below black that `encode` keeps: of noise more than that is rare, and colors that sRGB cannot show have it."""
NEUTRALITY = (0.5, 0.75)
"""Ratios of darkest to brightest channel between which a clipped color goes from kept to neutral."""

QUICK_OFFSET = 1 / 240
"""Added to linear values before the root is taken: its slope at black is then near that of the tone curve."""
QUICK_TERMS = (1.2484, 0.0366, -0.0419, -0.2198)
"""Of `quick_tone`, by least squares."""

# the exposure rule, see `exposure_gain`
GRID = 64
"""Cells a side that a frame of any size is averaged to."""
WHITE_QUANTILE = 0.99
"""Quantile of the brightest channel that goes to white."""
MIDDLE = 0.16
"""Geometric mean luminance under which middle tones are lifted."""
MAX_LIFT = 2.0
"""Largest extra gain of that: 1 EV."""
MAX_MIDDLE = 0.5
"""Geometric mean luminance beyond which no gain is given: a gray wall is not white."""
MAX_GAIN = 16.0
"""Largest gain: 4 EV."""


def _malvar() -> Tensor:
    """(4, 3, 6, 6): filters for R, G, B at each of the four photosites of a cell, over it and 2 photosites around."""
    green = torch.tensor([[0, 0, -1, 0, 0], [0, 0, 2, 0, 0], [-1, 2, 4, 2, -1], [0, 0, 2, 0, 0], [0, 0, -1, 0, 0]])
    beside = torch.tensor([[0, 0, 1, 0, 0], [0, -2, 0, -2, 0], [-2, 8, 10, 8, -2], [0, -2, 0, -2, 0], [0, 0, 1, 0, 0]])
    across = torch.tensor([[0, 0, -3, 0, 0], [0, 4, 0, 4, 0], [-3, 0, 12, 0, -3], [0, 4, 0, 4, 0], [0, 0, -3, 0, 0]])
    own = torch.zeros(5, 5)
    own[2, 2] = 1
    green, beside, across = green / 8, beside / 16, across / 16
    sites = ((own, green, across), (beside, own, beside.T), (beside.T, own, beside), (across, green, own))
    kernels = torch.zeros(4, 3, 6, 6)
    for site, colors in enumerate(sites):
        row, column = divmod(site, 2)
        kernels[site, :, row : row + 5, column : column + 5] = torch.stack(colors)
    return kernels


MALVAR = _malvar()
"""(4, 3, 6, 6), the linear 5x5 filters of Malvar, He and Cutler, ICASSP 2004, placed for each photosite of a cell."""


def canonicalize(packed: Tensor, white_balance: Tensor, cam2rgb: Tensor) -> Tensor:
    """Camera planes as balanced planes in the canonical space, linear.

    Clipped highlights come out neutral, at 1 or a little above.

    Args:
        packed: (..., 4, h, w), R, Gr, Gb, B, black at 0 and white at 1.
        white_balance: (..., 3), gains of R, G, B.
        cam2rgb: (..., 3, 3), balanced camera RGB to canonical RGB, rows summing to 1.

    Returns:
        Of the shape of `packed`, not clipped.
    """
    return mix_planes(balance(packed, white_balance), cam2rgb)


def balance(packed: Tensor, white_balance: Tensor) -> Tensor:
    """Apply white balance, the smallest gain taken as 1, and turn clipped cells neutral.

    Where a photosite of a 2x2 cell is clipped, the gains would tint what has lost its color (pink skies): there the
    cell goes to its brightest value, clipped to 1, unless it is far from neutral, as a red lamp is.

    Args:
        packed: (..., 4, h, w), R, Gr, Gb, B, black at 0 and white at 1.
        white_balance: (..., 3), gains of R, G, B.
    """
    balanced = packed * balance_gains(white_balance)
    held = balanced.clamp(max=1)
    brightest = held.amax(-3, keepdim=True)
    clipped = ramp(packed.amax(-3, keepdim=True), *SATURATION)
    neutral = ramp(held.amin(-3, keepdim=True) / brightest.clamp(min=1e-6), *NEUTRALITY)
    return torch.lerp(balanced, brightest.expand_as(balanced), clipped * neutral)


def mix_planes(packed: Tensor, matrix: Tensor) -> Tensor:
    """Apply a color matrix to packed planes, each photosite with the other two colors at its own place.

    They are estimated by the linear 5x5 filters of Malvar, He and Cutler ("High-quality linear interpolation for
    demosaicing of Bayer-patterned color images", ICASSP 2004). Mixed with its neighbors' values as they are, half a
    photosite off, a thin colored thing would look different behind every camera.

    Args:
        packed: (..., 4, h, w), R, Gr, Gb, B.
        matrix: (..., 3, 3).
    """
    return mix_photosites(_padded_mosaic(packed), matrix)


def mix_photosites(photosites: Tensor, matrix: Tensor) -> Tensor:
    """`mix_planes` of a mosaic that has two more photosites on each side.

    Args:
        photosites: (..., 2h + 4, 2w + 4), RGGB.
        matrix: (..., 3, 3).

    Returns:
        (..., 4, h, w).
    """
    rows = matrix[..., [0, 1, 1, 2], :]  # the row for each photosite's own color
    kernels = (rows[..., None, None] * MALVAR.to(matrix)).sum(-3)  # (..., 4, 6, 6)
    height, width = photosites.shape[-2:]
    batch = math.prod(photosites.shape[:-2])
    mixed = functional.conv2d(  # a group a picture, because each has its own matrix
        photosites.reshape(1, batch, height, width),
        kernels.expand(*photosites.shape[:-2], 4, 6, 6).reshape(4 * batch, 1, 6, 6),
        stride=2,
        groups=batch,
    )
    return mixed.reshape(*photosites.shape[:-2], 4, height // 2 - 2, width // 2 - 2)


def demosaic(packed: Tensor) -> Tensor:
    """Demosaic packed planes by the filters of `mix_planes`; linear in its input.

    Args:
        packed: (B, 4, h, w), R, Gr, Gb, B.

    Returns:
        (B, 3, 2h, 2w).
    """
    photosites = _padded_mosaic(packed)
    kernels = MALVAR.to(packed).transpose(0, 1).reshape(12, 1, 6, 6)  # color after color, each at four sites
    return functional.pixel_shuffle(functional.conv2d(photosites[:, None], kernels, stride=2), 2)


def _padded_mosaic(packed: Tensor) -> Tensor:
    """Planes (..., 4, h, w) as a mosaic (..., 2h + 4, 2w + 4), reflected by two photosites on each side."""
    photosites = mosaic.unpack(packed)
    for dim in (-2, -1):
        photosites = mosaic.reflect(photosites, dim, 2, 2)
    return photosites


def apply_matrix(matrix: Tensor, planes: Tensor) -> Tensor:
    """Apply a matrix to the channels of each pixel.

    Args:
        matrix: (..., M, N).
        planes: (..., N, h, w).

    Returns:
        (..., M, h, w).
    """
    return (matrix @ planes.flatten(-2)).reshape(*planes.shape[:-3], -1, *planes.shape[-2:])


def exposure_gain(canonical: Tensor) -> Tensor:
    """The exposure rule: one gain for a whole frame.

    On a grid of 64x64 cells, the brightest channel's 99th percentile goes to white; where the middle tones are still
    dark (geometric mean luminance under 0.16), half of what they lack in stops is added, 1 EV at most; where they
    would become bright (over 0.5), less is given. Never below 1 (clipped light stays white), never above 16.

    Args:
        canonical: (..., 4, h, w), balanced canonical planes of the frame.

    Returns:
        (...).
    """
    return grid_gain(functional.adaptive_avg_pool2d(canonical, GRID))


def grid_gain(grid: Tensor) -> Tensor:
    """`exposure_gain` of a frame that has been averaged already.

    Args:
        grid: (..., 4, 64, 64), means over cells.

    Returns:
        (...).
    """
    red, green_r, green_b, blue = grid.unbind(-3)
    rgb = torch.stack([red, (green_r + green_b) / 2, blue], -3).flatten(-2)  # (..., 3, 4096)
    rank = (1 - WHITE_QUANTILE) * (GRID * GRID - 1)  # from the brightest down, between two of them
    brightest = rgb.amax(-2).topk(int(rank) + 2).values
    white = torch.lerp(brightest[..., -2], brightest[..., -1], rank - int(rank)).clamp(1 / MAX_GAIN, 1)
    luminance = (CANONICAL_TO_XYZ[1][:, None] * rgb).sum(-2)
    middle = luminance.clamp(min=1e-3).log().mean(-1).exp()
    lift = (MIDDLE * white / middle).sqrt().clamp(1, MAX_LIFT)
    return torch.minimum(lift / white, MAX_MIDDLE / middle).clamp(1, MAX_GAIN)


def brightest_part(grid: Tensor) -> Tensor:
    """Light of the brightest part of a frame.

    Args:
        grid: (..., 4, 64, 64), means over cells of planes R, Gr, Gb, B.

    Returns:
        (...), of the channel that is brightest there.
    """
    red, green_r, green_b, blue = grid.unbind(-3)
    return torch.stack([red, (green_r + green_b) / 2, blue]).amax((0, -2, -1))


def noise_plane(exposed: Tensor, noise: Tensor) -> Tensor:
    """The plane that tells a network the noise: the root of its standard deviation, cell by cell.

    The root, so that weak noise is told as finely as strong noise.

    Args:
        exposed: (..., C, h, w), planes in linear light: R, Gr, Gb, B, or RGB.
        noise: (..., 2), shot and read noise: variance = shot * light + read.

    Returns:
        (..., 1, h, w).
    """
    shot, read = noise[..., None, None, None].unbind(-4)
    light = exposed.mean(-3, keepdim=True).clamp(min=0)
    return (shot * light + read).sqrt().sqrt()


def render(canonical: Tensor) -> Tensor:
    """Display-referred sRGB of a linear picture: matrix, clip, tone curve.

    Args:
        canonical: Linear canonical RGB (..., 3, H, W).

    Returns:
        (..., 3, H, W) in [0, 1].
    """
    return tone(apply_matrix(CANONICAL_TO_SRGB, canonical).clamp(0, 1))


def encode(canonical: Tensor) -> Tensor:
    """`render`, but light below black goes on linearly, as dark as the sensor's noise makes it.

    Args:
        canonical: Linear canonical RGB (..., 3, H, W).

    Returns:
        Display-referred sRGB (..., 3, H, W), at most 1 and at least -0.78.
    """
    linear = apply_matrix(CANONICAL_TO_SRGB, canonical)
    return tone(linear.clamp(0, 1)) + BLACK_SLOPE * linear.clamp(DARKEST, 0)


def unrender(rgb: Tensor) -> Tensor:
    """Linear canonical RGB of a display-referred picture, the inverse of `render`.

    Args:
        rgb: sRGB (..., 3, H, W) in [0, 1].

    Returns:
        (..., 3, H, W).
    """
    return apply_matrix(SRGB_TO_CANONICAL, inverse_tone(rgb))


def tone(linear: Tensor, contrast: Tensor | float = CONTRAST) -> Tensor:
    """The tone curve, channel by channel: the sRGB curve, then a mild S-curve.

    Args:
        linear: any shape, in [0, 1].
        contrast: share of the smoothstep, 0 to 1; a tensor must broadcast.

    Returns:
        Display-referred values in [0, 1].
    """
    encoded = srgb_encode(linear)
    return encoded + contrast * (smoothstep(encoded) - encoded)


def quick_tone(linear: Tensor) -> Tensor:
    """The tone curve to within 0.003, without powers: a polynomial of the root.

    Args:
        linear: Any shape, in [0, 1].

    Returns:
        Display-referred values of the same shape, in [0, 1] but for 0.003.
    """
    root = torch.sqrt(linear + QUICK_OFFSET) - QUICK_OFFSET**0.5
    first, second, third, fourth = QUICK_TERMS
    display: Tensor = root * (first + root * (second + root * (third + root * fourth)))
    return display


def inverse_tone(display: Tensor, contrast: Tensor | float = CONTRAST) -> Tensor:
    """Undo `tone` to the precision of float32.

    Args:
        display: any shape, in [0, 1].
        contrast: as `tone` was given, at most 0.7.

    Returns:
        Linear values in [0, 1].
    """
    encoded = display
    for _ in range(5):  # Newton on a cubic whose slope stays between 0.3 and 1.35
        error = encoded + contrast * (smoothstep(encoded) - encoded) - display
        encoded = encoded - error / (1 - contrast + 6 * contrast * encoded * (1 - encoded))
    return srgb_decode(encoded.clamp(0, 1))


def smoothstep(x: Tensor) -> Tensor:
    """The S-curve 3x^2 - 2x^3.

    Args:
        x: Any shape, in [0, 1].

    Returns:
        The same shape and range.
    """
    return x * x * (3 - 2 * x)


def srgb_encode(linear: Tensor) -> Tensor:
    """Linear values encoded by the sRGB curve, IEC 61966-2-1.

    Args:
        linear: Any shape, in [0, 1]; nothing is clipped.

    Returns:
        The same shape and range.
    """
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=1e-6) ** (1 / 2.4) - 0.055)


def srgb_decode(encoded: Tensor) -> Tensor:
    """sRGB values decoded to linear light, IEC 61966-2-1.

    Args:
        encoded: Any shape, in [0, 1]; nothing is clipped.

    Returns:
        The same shape and range.
    """
    return torch.where(encoded <= 0.04045, encoded / 12.92, ((encoded.clamp(min=0) + 0.055) / 1.055) ** 2.4)


def srgb_to_lab(rgb: Tensor) -> Tensor:
    """CIE L*a*b* under D65 of an sRGB picture.

    Args:
        rgb: (..., 3, H, W) in [0, 1].

    Returns:
        (..., 3, H, W), L* in [0, 100].
    """
    to_xyz = (SRGB_TO_XYZ / SRGB_TO_XYZ.sum(-1, keepdim=True)).to(rgb)
    xyz = apply_matrix(to_xyz, srgb_decode(rgb))
    f = torch.where(xyz > (6 / 29) ** 3, xyz.clamp(min=1e-9) ** (1 / 3), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = f.unbind(-3)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -3)
