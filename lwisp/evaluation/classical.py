"""Classical baselines: a demosaicing chain, denoising, and low light.

Those for denoising and low light take a picture and its ground truth, both (3, H, W) in [0, 1]. Except for plain CLAHE
and histogram equalization, which ignore the ground truth, their parameters are tuned per picture against it (oracle).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lwisp.data import unprocess
from lwisp.evaluation import patches
from lwisp.files.optional import need, need_colour
from lwisp.imaging import color, metrics, mosaic

Filter = Callable[[NDArray[Any], float], NDArray[Any]]
"""A picture (H, W, 3) and the noise's standard deviation -> a picture (H, W, 3), all in [0, 1]."""
Demosaic = Callable[..., Any]
"""A mosaic (H, W) and its CFA as a string -> RGB (H, W, 3)."""


@dataclass(frozen=True)
class Search:
    """Parameters that are tried against the ground truth."""

    sigma_step: float = 2**0.5
    """Ratio of one standard deviation of the noise to the next one."""
    least_sigma: float = 1 / 255
    """Standard deviation that the search begins with where picture and truth are nearer than that."""
    clip_limits: tuple[float, ...] = (0.003, 0.01, 0.03, 0.1)
    """Of CLAHE; scikit-image's own is 0.01."""


SEARCH = Search()


@dataclass(frozen=True)
class Dictionary:
    """Constants of K-SVD; Elad and Aharon's but for the number of patches, the rounds and the patches' colors."""

    side: int = 8
    """Of the patches, in px."""
    atoms: int = 256
    atoms_per_patch: int = 4
    """Of a patch that is learned from."""
    learned_from: int = 2000
    """Patches that the dictionary is learned from."""
    rounds: int = 10
    gain: float = 1.15
    """Root mean square error at which a patch is explained, over the noise's standard deviation."""
    at_once: int = 20_000
    """Patches whose codes are held in memory."""


DICTIONARY = Dictionary()


def develop_with_known_capture(capture: unprocess.Capture, demosaic: Demosaic) -> Tensor:
    """A synthetic RAW developed by a demosaicing that is told the true balance, matrix and exposure (oracle).

    Args:
        capture: The RAW, its camera and its exposure.
        demosaic: From a mosaic (H, W) to RGB (H, W, 3).

    Returns:
        (3, H, W), sRGB in [0, 1].
    """
    balanced = capture.packed * capture.camera.white_balance[:, [0, 1, 1, 2], None, None]
    full = demosaic(mosaic.unpack(balanced)[0].double().numpy(), "RGGB")  # (H, W, 3)
    rgb = torch.from_numpy(np.ascontiguousarray(full.transpose(2, 0, 1))).float()
    return color.render(color.apply_matrix(capture.camera.cam2rgb[0], rgb) / capture.exposure)


def import_menon() -> Demosaic:
    """Menon's demosaicing (Menon et al., TIP 2007), of colour-demosaicing.

    Raises:
        InputError: If that package is not installed.
    """
    menon: Demosaic = need_colour("colour_demosaicing", "the classical chain").demosaicing_CFA_Bayer_Menon2007
    return menon


def denoise_bm3d(picture: Tensor, truth: Tensor) -> Tensor:
    """The picture denoised by BM3D for color (Dabov et al., TIP 2007) at the best sigma.

    The authors' code for white noise, for non-commercial use.

    Args:
        picture: (3, H, W), sRGB in [0, 1].
        truth: Its ground truth, likewise.

    Returns:
        (3, H, W) in [0, 1].

    Raises:
        InputError: If the package bm3d is not installed.
    """
    return _best_sigma(need("bm3d").bm3d_rgb, picture, truth)


def denoise_non_local_means(picture: Tensor, truth: Tensor) -> Tensor:
    """The picture denoised by non-local means (Buades et al., CVPR 2005; scikit-image) at the best sigma.

    Args:
        picture: (3, H, W), sRGB in [0, 1].
        truth: Its ground truth, likewise.

    Returns:
        (3, H, W) in [0, 1].

    Raises:
        InputError: If scikit-image is not installed.
    """
    restoration = _skimage("restoration")

    def run(rgb: NDArray[Any], sigma: float) -> NDArray[Any]:
        result: NDArray[Any] = restoration.denoise_nl_means(
            rgb, patch_size=5, patch_distance=6, h=0.8 * sigma, sigma=sigma, channel_axis=2
        )
        return result

    return _best_sigma(run, picture, truth)


def denoise_wavelets(picture: Tensor, truth: Tensor) -> Tensor:
    """The picture denoised by BayesShrink on wavelets (Chang et al., TIP 2000; scikit-image) at the best sigma.

    Args:
        picture: (3, H, W), sRGB in [0, 1].
        truth: Its ground truth, likewise.

    Returns:
        (3, H, W) in [0, 1].

    Raises:
        InputError: If scikit-image is not installed.
    """
    restoration = _skimage("restoration")

    def run(rgb: NDArray[Any], sigma: float) -> NDArray[Any]:
        result: NDArray[Any] = restoration.denoise_wavelet(
            rgb, sigma=sigma, convert2ycbcr=True, rescale_sigma=True, channel_axis=2
        )
        return result

    return _best_sigma(run, picture, truth)


def denoise_ksvd(picture: Tensor, truth: Tensor) -> Tensor:
    """The picture denoised by K-SVD (Elad and Aharon, TIP 2006; dictlearn, scikit-learn) at the best sigma.

    The dictionary is learned from the picture's own patches, by approximate K-SVD (Rubinstein et al., 2008).


    Args:
        picture: (3, H, W), sRGB in [0, 1].
        truth: Its ground truth, likewise.

    Returns:
        (3, H, W) in [0, 1].

    Raises:
        InputError: If the package dictlearn is not installed.
    """
    purpose = "K-SVD"
    learning, linear = need("dictlearn", purpose), need("sklearn.linear_model", purpose)

    side = DICTIONARY.side
    rgb = _to_array(picture)
    windows = np.lib.stride_tricks.sliding_window_view(rgb, (side, side), axis=(0, 1))  # (rows, columns, 3, s, s)
    means = windows.mean((-2, -1), keepdims=True)
    centered = (windows - means).reshape(-1, 3 * side * side)
    energies = np.square(centered).sum(1)
    chosen = np.random.default_rng(0).permutation(len(centered))[: DICTIONARY.learned_from]
    fitted = learning.DictionaryLearning(
        DICTIONARY.atoms,
        fit_algorithm="aksvd",
        n_nonzero_coefs=DICTIONARY.atoms_per_patch,
        max_iter=DICTIONARY.rounds,
        random_state=0,
    ).fit(centered[chosen])
    atoms = fitted.components_

    def run(rgb: NDArray[Any], sigma: float) -> NDArray[Any]:
        left = centered.shape[1] * (DICTIONARY.gain * sigma) ** 2  # squared error at which a patch is explained
        rebuilt = np.zeros_like(centered)
        for begin in range(0, len(centered), DICTIONARY.at_once):
            places = begin + np.flatnonzero(energies[begin : begin + DICTIONARY.at_once] > left)
            if len(places):
                codes = linear.orthogonal_mp_gram(
                    atoms @ atoms.T, atoms @ centered[places].T, tol=left, norms_squared=energies[places]
                )
                rebuilt[places] = codes.reshape(len(atoms), -1).T @ atoms
        return _overlapped(rebuilt.reshape(windows.shape) + means, rgb.shape)

    return _best_sigma(run, picture, truth)


def denoise_wnnm(picture: Tensor, truth: Tensor) -> Tensor:
    """The picture denoised by weighted nuclear norm minimization (`patches.wnnm`) at the best sigma.

    Args:
        picture: (3, H, W), sRGB in [0, 1].
        truth: Its ground truth, likewise.

    Returns:
        (3, H, W) in [0, 1].
    """
    return _best_sigma(patches.wnnm, picture, truth)


def denoise_epll(picture: Tensor, truth: Tensor) -> Tensor:
    """The picture denoised by expected patch log likelihood (`patches.epll`) at the best sigma.

    Args:
        picture: (3, H, W), sRGB in [0, 1].
        truth: Its ground truth, likewise.

    Returns:
        (3, H, W) in [0, 1].
    """
    return _best_sigma(patches.epll, picture, truth)


def _overlapped(windows: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """The mean at every pixel of the patches that lie on it: (rows, columns, 3, s, s) -> (H, W, 3)."""
    total, count = np.zeros(shape), np.zeros((*shape[:2], 1))
    rows, columns, _, side, _ = windows.shape
    for down in range(side):
        for right in range(side):
            total[down : down + rows, right : right + columns] += windows[..., down, right]
            count[down : down + rows, right : right + columns] += 1
    return total / count


def equalize(picture: Tensor, truth: Tensor) -> Tensor:
    """The picture with its value (of HSV) equalized over the histogram (scikit-image).

    Args:
        picture: (3, H, W), sRGB in [0, 1].
        truth: Its ground truth, likewise; not used.

    Returns:
        (3, H, W) in [0, 1].

    Raises:
        InputError: If scikit-image is not installed.
    """
    exposure = _skimage("exposure")
    colors = _skimage("color")
    hsv = colors.rgb2hsv(_to_array(picture))
    hsv[..., 2] = exposure.equalize_hist(hsv[..., 2])
    return _to_tensor(colors.hsv2rgb(hsv))


def equalize_locally(picture: Tensor, truth: Tensor) -> Tensor:
    """The picture after CLAHE (Zuiderveld, 1994) with scikit-image's clip limit.

    Args:
        picture: (3, H, W), sRGB in [0, 1].
        truth: Its ground truth, likewise; not used.

    Returns:
        (3, H, W) in [0, 1].

    Raises:
        InputError: If scikit-image is not installed.
    """
    return _to_tensor(_skimage("exposure").equalize_adapthist(_to_array(picture)))


def equalize_locally_at_best(picture: Tensor, truth: Tensor) -> Tensor:
    """The picture after CLAHE (Zuiderveld, 1994; scikit-image) with the best of the clip limits in `SEARCH`.

    Args:
        picture: (3, H, W), sRGB in [0, 1].
        truth: Its ground truth, likewise.

    Returns:
        (3, H, W) in [0, 1].

    Raises:
        InputError: If scikit-image is not installed.
    """
    exposure = _skimage("exposure")
    rgb = _to_array(picture)
    made = [_to_tensor(exposure.equalize_adapthist(rgb, clip_limit=limit)) for limit in SEARCH.clip_limits]
    return max(made, key=lambda result: metrics.psnr(result, truth))


BASELINES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "bm3d": denoise_bm3d,
    "nlm": denoise_non_local_means,
    "wavelets": denoise_wavelets,
    "ksvd": denoise_ksvd,
    "wnnm": denoise_wnnm,
    "epll": denoise_epll,
    "equalized": equalize,
    "clahe-plain": equalize_locally,
    "clahe": equalize_locally_at_best,
}
"""Baselines for denoising and low light, by their names in reports and on the command line."""


def _best_sigma(run: Filter, picture: Tensor, truth: Tensor) -> Tensor:
    """The result with the highest PSNR: hill climbing over standard deviations of the noise, from the true one on."""
    rgb = _to_array(picture)
    true = max(float((picture - truth).std()), SEARCH.least_sigma)
    tried: dict[int, tuple[float, Tensor]] = {}

    def score(place: int) -> float:
        if place not in tried:
            result = _to_tensor(run(rgb, true * SEARCH.sigma_step**place))
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
