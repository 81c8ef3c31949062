"""Moves a ground truth onto a picture of the same scene by dense optical flow (TV-L1, Zach et al., DAGM 2007)."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from lwisp.files.optional import need
from lwisp.imaging import color, matching

BT601_LUMA = torch.tensor([0.299, 0.587, 0.114])


@dataclass(frozen=True)
class Structure:
    """What is left of a picture for optical flow: local contrast without noise."""

    noise_sigma: float = 1.5
    """px of the Gaussian blur against noise."""
    surroundings_sigma: float = 12.0
    """px of the Gaussian that takes the mean, and the contrast, of a place's surroundings."""
    least_contrast: float = 0.05
    """Added to the contrast that is divided by, so that flat areas stay flat."""


def move_onto(truth: Tensor, picture: Tensor) -> Tensor:
    """The ground truth, warped to where another picture of the scene has its structure.

    Args:
        truth: (3, H, W), sRGB in [0, 1].
        picture: (3, H, W), sRGB in [0, 1]; colors and brightness may differ.

    Returns:
        (3, H, W) in [0, 1].

    Raises:
        InputError: If scikit-image is not installed.
    """
    registration = need("skimage.registration", "optical flow")
    found = registration.optical_flow_tvl1(_structure(picture), _structure(truth), attachment=1, num_warp=3)
    flow = torch.from_numpy(found.astype(np.float32))  # (2, H, W), px
    height, width = truth.shape[-2:]
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    across = 2 * (columns + flow[1]) / (width - 1) - 1
    down = 2 * (rows + flow[0]) / (height - 1) - 1
    places = torch.stack([across, down], -1)  # (H, W, 2) in [-1, 1]
    moved = functional.grid_sample(truth[None], places[None], "bicubic", "reflection", align_corners=True)
    return moved[0].clamp(0, 1)


def preview_planes(planes: Tensor, truth: Tensor) -> Tensor:
    """Packed planes as a coarse picture in the truth's colors, which optical flow can follow.

    Args:
        planes: (4, h, w).
        truth: (3, 2h, 2w), sRGB in [0, 1].

    Returns:
        (3, 2h, 2w), sRGB in [0, 1].
    """
    red, green_r, green_b, blue = color.srgb_encode(planes.clamp(0, 1))
    cells = torch.stack([red, (green_r + green_b) / 2, blue])
    enlarged = functional.interpolate(cells[None], scale_factor=2, mode="bilinear")[0]
    return matching.fit_colors(enlarged, truth)


def _structure(picture: Tensor, settings: Structure = Structure()) -> NDArray[np.float32]:
    """(3, H, W) -> luma (H, W) without noise, and without the brightness and contrast of its surroundings."""
    from skimage.filters import gaussian

    luma = gaussian((BT601_LUMA[:, None, None] * picture).sum(0).numpy(), settings.noise_sigma)
    detail = luma - gaussian(luma, settings.surroundings_sigma)
    contrast = np.sqrt(gaussian(detail**2, settings.surroundings_sigma))
    return detail / (contrast + settings.least_contrast)  # type: ignore[no-any-return]
