import sys

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

import lwisp
from lwisp.evaluation import classical, patches
from lwisp.imaging import metrics
from tests.conftest import ROOT


def test_patches_that_overlap_give_the_picture_back() -> None:
    rgb = np.random.default_rng(0).random((13, 17, 3))
    windows = sliding_window_view(rgb, (4, 4), axis=(0, 1))
    assert np.allclose(classical._overlapped(windows, rgb.shape), rgb)


def test_a_baseline_whose_package_is_missing_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dictlearn", None)
    picture = torch.rand(3, 16, 16)
    with pytest.raises(lwisp.InputError, match=r"K-SVD needs dictlearn, .*; pip install 'lwisp\[ksvd\]'"):
        classical.denoise_ksvd(picture, picture)


@pytest.mark.slow
def test_k_svd_takes_noise_away_from_a_photograph(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dictlearn")
    monkeypatch.setattr(classical, "DICTIONARY", classical.Dictionary(atoms=64, learned_from=300, rounds=3))
    rgb = np.asarray(Image.open(ROOT / "lwisp" / "assets" / "mural.png").convert("RGB"))[100:140, 100:140]
    truth = torch.from_numpy(rgb.transpose(2, 0, 1).astype(np.float32) / 255)
    noise = torch.randn(truth.shape, generator=torch.Generator().manual_seed(0))
    noisy = (truth + 0.1 * noise).clamp(0, 1)
    assert metrics.psnr(classical.denoise_ksvd(noisy, truth), truth) > metrics.psnr(noisy, truth) + 2


def noisy_mural(sigma: float, side: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A piece of the mural (side, side, 3) in [0, 1], without and with white noise."""
    rgb = np.asarray(Image.open(ROOT / "lwisp" / "assets" / "mural.png").convert("RGB"))[100:, 100:][:side, :side] / 255
    return rgb, rgb + sigma * np.random.default_rng(0).normal(size=rgb.shape)


def error_db(found: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(found - truth).mean()))


@pytest.mark.parametrize("name", ["wnnm", "epll"])
def test_white_noise_is_taken_away_by_models_of_patches(name: str) -> None:
    truth, noisy = noisy_mural(20 / 255)
    found = getattr(patches, name)(noisy, 20 / 255)
    assert found.shape == truth.shape
    assert error_db(found, truth) > error_db(noisy, truth) + 2.5


@pytest.mark.parametrize("name", ["wnnm", "epll"])
def test_a_gray_field_comes_out_even_and_little_noise_changes_little(name: str) -> None:
    denoise = getattr(patches, name)
    field = np.full((24, 24, 3), 0.5) + 0.1 * np.random.default_rng(1).normal(size=(24, 24, 3))
    assert denoise(field, 0.1).std() < 0.3 * 0.1
    truth, _ = noisy_mural(0, 24)
    assert np.abs(denoise(truth, 1e-4) - truth).max() < 0.01


def test_singular_values_are_lowered_as_the_closed_form_says() -> None:
    """Of one group of equal patches and a rank of one, by hand: s -> (s + sqrt(s^2 - 4 C)) / 2."""
    settings = patches.Groups(side=2, similar=4)
    plane = np.add.outer(np.zeros(2), np.array([0.0, 100.0, 0.0, 100.0, 0.0]))
    places = np.array([[0, 1, 2, 3]])
    group = np.array([[0, 100, 0, 100], [100, 0, 100, 0]] * 2, float)
    singular = np.linalg.svd(group - group.mean(0))[1][0]
    variance = 30.0
    lowered = (singular + np.sqrt(singular**2 - 4 * settings.weight * 4**0.5 * 2 * variance)) / 2
    found = patches._lowered(plane, places, np.array([variance]), settings)
    assert np.allclose(found - 50, (plane - 50) * lowered / singular)


def test_a_wiener_filter_is_that_of_the_likeliest_gaussian() -> None:
    rough, smooth = np.diag([100.0, 100.0, 100.0, 100.0]), np.diag([0.01] * 4)
    models = patches._Models(np.array([0.5, 0.5]), np.stack([rough, smooth]), 25.0)
    strong, weak = np.array([[40.0, -40, 40, -40]]), np.array([[1.0, -1, 1, -1]])
    assert np.allclose(models.denoise(strong + 7), strong * 100 / 125 + 7)
    assert np.allclose(models.denoise(weak + 7), weak * 0.01 / 25.01 + 7)


@pytest.mark.parametrize("name", ["wnnm", "epll"])
def test_both_are_offered_beside_weights(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = torch.rand(3, 16, 16)
    monkeypatch.setattr(patches, name, lambda rgb, sigma: rgb)
    assert torch.allclose(classical.BASELINES[name](picture, picture), picture)
