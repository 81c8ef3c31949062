import math

import colour
import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lwisp.imaging import metrics
from tests.imaging.test_color import colour_science_lab


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(3, 40, 50, generator=generator)
    return (target + 0.1 * torch.randn(3, 40, 50, generator=generator)).clamp(0, 1), target


def test_psnr_is_scikit_images(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    rgb, target = pair
    expected = peak_signal_noise_ratio(target.numpy(), rgb.numpy(), data_range=1)
    assert metrics.psnr(rgb, target) == pytest.approx(expected, abs=1e-4)


def test_identical_pictures_have_infinite_psnr(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert metrics.psnr(pair[0], pair[0]) == math.inf
    assert metrics.ssim(pair[0], pair[0]) == pytest.approx(1)
    assert metrics.delta_e(pair[0], pair[0]) == 0


def test_ssim_is_scikit_images(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    rgb, target = (picture.double().numpy() for picture in pair)
    expected = structural_similarity(
        target, rgb, data_range=1, channel_axis=0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert metrics.ssim(*pair) == pytest.approx(expected, abs=1e-6)


def test_delta_e_is_colour_sciences(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    expected = np.mean(colour.delta_E(colour_science_lab(pair[0]), colour_science_lab(pair[1]), method="CIE 2000"))
    assert metrics.delta_e(*pair) == pytest.approx(expected, abs=1e-4)


def test_false_color_is_scipys_high_pass(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    rgb, target = (picture.double().numpy() for picture in pair)
    squares = []
    for channel in (0, 2):
        error = (rgb[channel] - rgb[1]) - (target[channel] - target[1])
        fine = error - gaussian_filter(error, 3, mode="nearest", truncate=4)
        squares.append(np.square(fine).mean())
    assert metrics.false_color(*pair) == pytest.approx(255 * np.sqrt(np.mean(squares)), rel=1e-5)


def test_a_colored_dotted_line_is_false_color_and_a_smooth_cast_is_none() -> None:
    gray = torch.full((3, 64, 64), 0.5)
    cast = gray + torch.tensor([0.1, -0.05, -0.1])[:, None, None]
    ramp = gray + torch.linspace(-0.1, 0.1, 64) * torch.tensor([1.0, 0.0, -1.0])[:, None, None]
    assert metrics.false_color(gray, gray) == 0
    assert metrics.false_color(cast, gray) == pytest.approx(0, abs=1e-3)
    assert metrics.false_color(ramp, gray) < 0.3  # of 15: at the borders alone
    brighter = gray.clone()
    brighter[:, 20] = 0.9
    assert metrics.false_color(brighter, gray) == pytest.approx(0, abs=1e-3)  # detail without color
    dotted = gray.clone()
    dotted[0, 32, ::2] += 0.4
    dotted[2, 32, 1::2] += 0.4
    # 64 dots among the 2 * 64 * 64 values, most of each of which the blur leaves
    assert metrics.false_color(dotted, gray) == pytest.approx(255 * 0.4 * (64 / 8192) ** 0.5, rel=0.1)


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim, metrics.delta_e, metrics.false_color])
def test_wrong_ranges_and_sizes_are_refused(metric: object) -> None:
    assert callable(metric)
    with pytest.raises(ValueError, match="0, 1"):
        metric(torch.full((3, 16, 16), 255.0), torch.rand(3, 16, 16))
    with pytest.raises(ValueError, match="one size"):
        metric(torch.rand(3, 16, 16), torch.rand(3, 16, 17))


@pytest.mark.parametrize("sides", [(176, 192), (177, 203), (161, 161)])
def test_ms_ssim_agrees_with_an_independent_library(sides: tuple[int, int]) -> None:
    from pytorch_msssim import ms_ssim as reference

    generator = torch.Generator().manual_seed(2)
    target = torch.rand(2, 3, *sides, generator=generator)
    target = torch.nn.functional.avg_pool2d(target, 9, 1, 4)
    rgb = (target + 0.05 * torch.randn(target.shape, generator=generator)).clamp(0, 1)
    expected = reference(rgb.double(), target.double(), data_range=1, size_average=False)
    for index in (0, 1):
        assert metrics.ms_ssim(rgb[index], target[index]) == pytest.approx(float(expected[index]), abs=1e-4)
    assert metrics.ms_ssim(target[0], target[0]) == pytest.approx(1)
    in_batch = metrics.multiscale_ssim(rgb, target)
    assert torch.allclose(in_batch, expected.float(), atol=1e-4)


def test_fewer_scales_take_the_first_weights_scaled_to_one() -> None:
    from pytorch_msssim import ms_ssim as reference

    generator = torch.Generator().manual_seed(3)
    target = torch.nn.functional.avg_pool2d(torch.rand(1, 3, 170, 170, generator=generator), 5, 1, 2).double()
    rgb = (target * 0.9 + 0.02 * torch.randn(target.shape, generator=generator)).clamp(0, 1)
    weights = [weight / (0.0448 + 0.2856 + 0.3001) for weight in (0.0448, 0.2856, 0.3001)]
    expected = reference(rgb, target, data_range=1, weights=weights)
    assert float(metrics.multiscale_ssim(rgb, target, 3)) == pytest.approx(float(expected), abs=1e-4)
    with pytest.raises(ValueError, match="41 px at least for 3 scales"):
        metrics.multiscale_ssim(rgb[..., :40], target[..., :40], 3)
    with pytest.raises(ValueError, match="1 to 5 scales"):
        metrics.multiscale_ssim(rgb, target, 6)


def test_delta_e_2000_is_colour_sciences() -> None:
    rng = np.random.default_rng(1)
    first, second = (rng.uniform([0, -90, -90], [100, 90, 90], (4000, 3)) for _ in range(2))
    second[:1000] = first[:1000] + rng.normal(0, 2, (1000, 3))
    first[0], second[0], first[1] = (50, 0, 0), (60, 0, 0), (50, 0, 0)  # grays have no hue
    result = metrics.delta_e_2000(*(torch.from_numpy(lab.T[:, None, :].copy()) for lab in (first, second)))
    assert np.abs(result[0].numpy() - colour.delta_E(first, second, method="CIE 2000")).max() < 1e-4
