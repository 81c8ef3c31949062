"""What takes noise or darkness away without having learned it: settings are chosen by an oracle, but for plain CLAHE.

All of them take a picture (3, H, W) in [0, 1] and the truth, which nothing but the choice of the setting sees.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwisp.files.optional import need
from lwisp.imaging import metrics

Filter = Callable[[NDArray[Any], float], NDArray[Any]]
"""A picture (H, W, 3) and a setting -> a picture."""

STEP = 2**0.5  # from one setting of noise to the next that is tried
CLIP_LIMITS = (0.003, 0.01, 0.03, 0.1)


def denoise_bm3d(picture: Tensor, truth: Tensor) -> Tensor:
    """BM3D for color (Dabov et al., TIP 2007), of white noise; authors' code, for non-commercial use."""
    return _best_sigma(need("bm3d").bm3d_rgb, picture, truth)


def denoise_non_local_means(picture: Tensor, truth: Tensor) -> Tensor:
    """Non-local means (Buades et al., CVPR 2005), of scikit-image."""
    restoration = _skimage("restoration")

    def run(rgb: NDArray[Any], sigma: float) -> NDArray[Any]:
        result: NDArray[Any] = restoration.denoise_nl_means(
            rgb, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, channel_axis=2
        )
        return result

    return _best_sigma(run, picture, truth)


def denoise_wavelets(picture: Tensor, truth: Tensor) -> Tensor:
    """BayesShrink on wavelets of luma and chroma (Chang et al., TIP 2000), of scikit-image."""
    restoration = _skimage("restoration")

    def run(rgb: NDArray[Any], sigma: float) -> NDArray[Any]:
        result: NDArray[Any] = restoration.denoise_wavelet(
            rgb, sigma=sigma, convert2ycbcr=True, rescale_sigma=True, channel_axis=2
        )
        return result

    return _best_sigma(run, picture, truth)


def equalize(picture: Tensor, truth: Tensor) -> Tensor:
    """Histogram equalization of the value (of HSV), of scikit-image; it has no setting."""
    exposure, colors = _skimage("exposure"), _skimage("color")
    hsv = colors.rgb2hsv(_to_array(picture))
    hsv[..., 2] = exposure.equalize_hist(hsv[..., 2])
    return _to_tensor(colors.hsv2rgb(hsv))


def equalize_locally(picture: Tensor, truth: Tensor) -> Tensor:
    """CLAHE (Zuiderveld, 1994), of scikit-image, with its own clip limit."""
    return _to_tensor(_skimage("exposure").equalize_adapthist(_to_array(picture)))


def equalize_locally_at_best(picture: Tensor, truth: Tensor) -> Tensor:
    """CLAHE with the best of four clip limits."""
    exposure, rgb = _skimage("exposure"), _to_array(picture)
    made = [_to_tensor(exposure.equalize_adapthist(rgb, clip_limit=limit)) for limit in CLIP_LIMITS]
    return max(made, key=lambda result: metrics.psnr(result, truth))


RIVALS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bm3d": denoise_bm3d,
    "nlm": denoise_non_local_means,
    "wavelets": denoise_wavelets,
    "equalized": equalize,
    "clahe-plain": equalize_locally,
    "clahe": equalize_locally_at_best,
}
"""By the name under which reports have them."""


def _best_sigma(run: Filter, picture: Tensor, truth: Tensor) -> Tensor:
    """The best result over standard deviations of the noise, climbing from the true one, in steps of `STEP`."""
    rgb = _to_array(picture)
    true = max(float((picture - truth).std()), 1 / 255)
    tried: dict[int, tuple[float, Tensor]] = {}

    def score(place: int) -> float:
        if place not in tried:
            result = _to_tensor(run(rgb, true * STEP**place))
            tried[place] = metrics.psnr(result, truth), result
        return tried[place][0]

    best = 0
    for way in (1, -1):
        while score(best + way) > score(best):
            best += way
    return tried[best][1]


def _to_array(picture: Tensor) -> NDArray[np.float64]:
    return picture.permute(1, 2, 0).double().numpy()


def _to_tensor(rgb: NDArray[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1), np.float32)).clamp(0, 1)


def _skimage(part: str) -> Any:
    return need(f"skimage.{part}", "a classical baseline")
