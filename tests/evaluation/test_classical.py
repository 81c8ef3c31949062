import sys

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

import lwisp
from lwisp.evaluation import classical
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
