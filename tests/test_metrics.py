import math

import colour
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lwisp import metrics
from tests.test_color import colour_science_lab


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(3, 40, 50, generator=generator)
    return (target + 0.1 * torch.randn(3, 40, 50, generator=generator)).clamp(0, 1), target


def test_psnr_is_scikit_images(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    rgb, target = pair
    expected = peak_signal_noise_ratio(  # type: ignore[no-untyped-call]
        target.numpy(), rgb.numpy(), data_range=1
    )
    assert metrics.psnr(rgb, target) == pytest.approx(expected, abs=1e-4)


def test_identical_pictures_have_infinite_psnr(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert metrics.psnr(pair[0], pair[0]) == math.inf
    assert metrics.ssim(pair[0], pair[0]) == pytest.approx(1)
    assert metrics.delta_e(pair[0], pair[0]) == 0


def test_ssim_is_scikit_images(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    rgb, target = (picture.double().numpy() for picture in pair)
    expected = structural_similarity(  # type: ignore[no-untyped-call]
        target, rgb, data_range=1, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert metrics.ssim(*pair) == pytest.approx(expected, abs=1e-6)


def test_delta_e_is_colour_sciences(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    expected = np.mean(colour.delta_E(colour_science_lab(pair[0]), colour_science_lab(pair[1]), method="CIE 2000"))
    assert metrics.delta_e(*pair) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim, metrics.delta_e])
def test_wrong_ranges_and_sizes_are_refused(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(ValueError, match="0, 1"):
        metric(torch.full((3, 16, 16), 255.0), torch.rand(3, 16, 16))
    with pytest.raises(ValueError, match="one size"):
        metric(torch.rand(3, 16, 16), torch.rand(3, 16, 17))
