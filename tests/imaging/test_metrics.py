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
    good = torch.rand(3, 16, 16)
    for value in (255.0, 1.01, -0.01, math.nan, math.inf):
        wrong = good.clone()
        wrong[2, 15, 0] = value
        with pytest.raises(ValueError, match=r"^expected the picture in \[0, 1\], got "):
            metric(wrong, good)
        with pytest.raises(ValueError, match=r"^expected the target in \[0, 1\], got "):
            metric(good, wrong)
    with pytest.raises(ValueError, match=r"of one size, got \(3, 16, 16\), \(3, 16, 17\)$"):
        metric(good, torch.rand(3, 16, 17))
    for shape in ((1, 16, 16), (5, 16, 16), (16, 3, 16), (16, 16), (3, 16), (1, 3, 16, 16), (3, 3, 16, 16)):
        with pytest.raises(ValueError, match="of one size"):
            metric(torch.rand(shape), torch.rand(shape))
    flat = torch.ones(3, 16, 16)
    for first, second in ((flat, flat), (0 * flat, 0 * flat), (flat / 2, flat / 2), (flat, 0 * flat)):
        metric(first, second)


def test_psnr_is_of_planes_too() -> None:
    assert metrics.psnr(torch.zeros(4, 3, 5), torch.full((4, 3, 5), 0.1)) == pytest.approx(20)
    with pytest.raises(ValueError, match="of one size"):
        metrics.ssim(torch.zeros(4, 16, 16), torch.zeros(4, 16, 16))


def test_ssim_needs_a_window() -> None:
    for size in ((10, 30), (30, 10)):
        with pytest.raises(ValueError, match=rf"^expected at least 11 px a side, got \({size[0]}, {size[1]}\)$"):
            metrics.ssim(torch.zeros(3, *size), torch.zeros(3, *size))
    assert metrics.ssim(torch.zeros(3, 11, 11), torch.zeros(3, 11, 11)) == 1


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
    rgb[1] = (rgb[1] - 0.2).clamp(0, 1)
    expected = reference(rgb.double(), target.double(), data_range=1, size_average=False)
    assert abs(float(expected[0] - expected[1])) > 0.01
    in_batch = metrics.multiscale_ssim(rgb, target)
    assert in_batch.shape == (2,)
    assert torch.allclose(in_batch, expected.float(), atol=1e-4)


def test_fewer_scales_take_the_first_weights_scaled_to_one() -> None:
    from pytorch_msssim import ms_ssim as reference

    generator = torch.Generator().manual_seed(3)
    target = torch.nn.functional.avg_pool2d(torch.rand(1, 3, 170, 170, generator=generator), 5, 1, 2).double()
    rgb = (target * 0.9 + 0.02 * torch.randn(target.shape, generator=generator)).clamp(0, 1)
    weights = [weight / (0.0448 + 0.2856 + 0.3001) for weight in (0.0448, 0.2856, 0.3001)]
    expected = reference(rgb, target, data_range=1, weights=weights)
    assert float(metrics.multiscale_ssim(rgb, target, 3)) == pytest.approx(float(expected), abs=1e-4)
    for size in ((60, 40), (40, 60)):
        small = torch.zeros(1, 3, *size)
        with pytest.raises(ValueError, match=rf"41 px at least for 3 scales, got \({size[0]}, {size[1]}\)$"):
            metrics.multiscale_ssim(small, small, 3)
    whole = torch.zeros(1, 3, 41, 41)
    assert float(metrics.multiscale_ssim(whole, whole, 3)) == 1
    for scales in (0, 6):
        with pytest.raises(ValueError, match=f"^expected 1 to 5 scales, got {scales}$"):
            metrics.multiscale_ssim(rgb, target, scales)
    assert float(metrics.multiscale_ssim(rgb, target, 1)) == pytest.approx(
        float(reference(rgb, target, data_range=1, weights=[1.0])), abs=1e-6
    )


def test_opposite_pictures_have_a_multiscale_ssim_just_above_0() -> None:
    target = torch.rand(1, 3, 21, 21, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = float(metrics.multiscale_ssim(1 - target, target, 2))  # contrasts below 0 count as 1e-6
    weights = [weight / (0.0448 + 0.2856) for weight in (0.0448, 0.2856)]
    assert found == pytest.approx(1e-6 ** sum(weights), rel=0.2)
    assert [metrics.smallest_side(scales) for scales in (1, 2, 3, 5)] == [11, 21, 41, 161]


def test_delta_e_2000_is_that_of_the_published_pairs() -> None:
    """Sharma, Wu and Dalal, 2005, table 1: pairs where implementations go wrong, to four decimals."""
    first = [(50.0, 2.6772, -79.7751), (50, -1.3802, -84.2814), (50, 0, 0), (50, 2.49, -0.001), (50, 2.49, -0.001)]
    second = [(50.0, 0.0, -82.7485), (50, 0, -82.7485), (50, -1, 2), (50, -2.49, 0.0009), (50, -2.49, 0.0011)]
    expected = [2.0425, 1.0, 2.3669, 7.1792, 7.2195]
    first += [(50, 2.5, 0), (50, 2.5, 0), (60.2574, -34.0099, 36.2677), (22.7233, 20.0904, -46.694)]
    second += [(73, 25, -18), (58, 24, 15), (60.4626, -34.1751, 39.4387), (23.0331, 14.973, -42.5619)]
    expected += [27.1492, 19.4535, 1.2644, 2.0373]
    labs = [torch.tensor(each, dtype=torch.float64).T[:, None] for each in (first, second)]
    assert metrics.delta_e_2000(*labs)[0].tolist() == pytest.approx(expected, abs=5e-5)


def test_delta_e_2000_is_colour_sciences() -> None:
    rng = np.random.default_rng(1)
    first, second = (rng.uniform([0, -90, -90], [100, 90, 90], (4000, 3)) for _ in range(2))
    second[:1000] = first[:1000] + rng.normal(0, 2, (1000, 3))
    first[0], second[0], first[1] = (50, 0, 0), (60, 0, 0), (50, 0, 0)  # grays have no hue
    result = metrics.delta_e_2000(*(torch.from_numpy(lab.T[:, None, :].copy()) for lab in (first, second)))
    assert np.abs(result[0].numpy() - colour.delta_E(first, second, method="CIE 2000")).max() < 1e-4
