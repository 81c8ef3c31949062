import numpy as np
import pytest
import torch
from scipy.optimize import isotonic_regression

from lwisp.imaging import matching, metrics


@pytest.fixture
def pair() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(3, 40, 50, generator=generator)
    return (target + 0.1 * torch.randn(3, 40, 50, generator=generator)).clamp(0, 1), target


def test_the_color_fit_is_numpys_least_squares() -> None:
    generator = torch.Generator().manual_seed(4)
    target = torch.rand(3, 24, 32, generator=generator) * 0.5 + 0.25
    matrix = torch.tensor([[0.8, 0.1, 0.0], [0.05, 0.7, 0.1], [0.0, 0.2, 0.9]])
    rgb = (matrix @ target.flatten(1) + 0.05).reshape(3, 24, 32)
    assert metrics.psnr(matching.fit_colors(rgb, target), target) > 100  # undone exactly
    noisy = (rgb + 0.03 * torch.randn(rgb.shape, generator=generator)).clamp(0, 1)
    columns = np.concatenate([noisy.flatten(1).numpy(), np.ones((1, 768))]).T.astype(np.float64)
    solution = np.linalg.lstsq(columns, target.flatten(1).numpy().T.astype(np.float64), rcond=None)[0]
    expected = torch.from_numpy((columns @ solution).T.reshape(3, 24, 32)).clamp(0, 1)
    assert torch.allclose(matching.fit_colors(noisy, target).double(), expected, atol=1e-5)
    black = torch.zeros(3, 24, 32)
    assert bool(matching.fit_colors(black, target).isfinite().all())  # nothing to fit with but the constant


def test_isotonic_regression_is_scipys() -> None:
    rng = np.random.default_rng(0)
    for count in (1, 2, 40, 256):
        values, weights = rng.normal(size=count) + np.linspace(0, 2, count), rng.uniform(0.1, 5, count)
        found = matching.isotonic(torch.from_numpy(values), torch.from_numpy(weights))
        assert np.allclose(found, isotonic_regression(values, weights=weights).x, atol=1e-9)


def test_a_look_costs_nothing_once_it_is_fitted_but_noise_does(pair: tuple[torch.Tensor, torch.Tensor]) -> None:
    target = torch.nn.functional.interpolate(pair[1][None], (160, 200), mode="bicubic")[0].clamp(0, 1)
    mix = torch.tensor([[0.8, 0.15, 0.05], [0.1, 0.75, 0.15], [0.05, 0.2, 0.7]])
    mixed = (mix @ (target**2.2).flatten(1)).reshape(target.shape)
    look = torch.stack([0.1 + 0.8 * mixed[0] ** 0.4, mixed[1] ** 0.6, 0.9 * mixed[2] ** 0.5])
    assert metrics.psnr(look, target) < 20
    assert metrics.psnr(matching.fit_colors(look, target), target) < 30
    assert metrics.psnr(matching.fit_look(look, target), target) > 38
    noisy = (look + 0.1 * torch.randn(look.shape, generator=torch.Generator().manual_seed(1))).clamp(0, 1)
    assert metrics.psnr(matching.fit_look(noisy, target), target) < 25


def test_a_fitted_curve_rises_and_keeps_what_already_fits() -> None:
    x = torch.arange(256).float() / 255
    assert torch.allclose(matching.fit_curve(x, x), x, atol=1e-6)
    assert torch.allclose(matching.fit_curve(x, 1 - x), torch.tensor(0.5), atol=1e-6)  # it may not fall
    assert torch.allclose(matching.fit_curve(torch.full((4,), 0.3), torch.linspace(0, 1, 4)), torch.tensor(0.5))
