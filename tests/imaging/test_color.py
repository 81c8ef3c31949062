from typing import Any

import colour
import numpy as np
import pytest
import torch
from colour_demosaicing import demosaicing_CFA_Bayer_Malvar2004

from lwisp.data.unprocess import XYZ2CAM
from lwisp.imaging import color, matrices, mosaic


@pytest.fixture
def cam2rgb() -> torch.Tensor:
    return torch.from_numpy(matrices.cam2rgb_from_xyz(XYZ2CAM[0]))


def colour_science_lab(rgb: torch.Tensor) -> Any:
    """(3, H, W) sRGB -> (H, W, 3) L*a*b*, the matrix computed from the primaries, not rounded."""
    space = colour.RGB_COLOURSPACES["sRGB"].copy()
    space.use_derived_transformation_matrices(True)
    xyz = colour.RGB_to_XYZ(
        rgb.permute(1, 2, 0).double().numpy(), space, apply_cctf_decoding=True, chromatic_adaptation_transform=None
    )
    return colour.XYZ_to_Lab(xyz, colour.CCS_ILLUMINANTS["CIE 1931 2 Degree Standard Observer"]["D65"])


def test_the_srgb_curve_is_the_standards() -> None:
    x = torch.linspace(0, 1, 1001)
    assert np.allclose(color.srgb_encode(x), colour.cctf_encoding(x.numpy(), "sRGB"), atol=1e-6)
    assert np.allclose(color.srgb_decode(x), colour.cctf_decoding(x.numpy(), "sRGB"), atol=1e-6)


def test_render_undoes_unrender() -> None:
    rgb = torch.rand(2, 3, 16, 16)
    assert torch.allclose(color.render(color.unrender(rgb)), rgb, atol=2e-6)
    ends = torch.tensor([0.0, 1.0])
    assert torch.allclose(color.tone(ends), ends, atol=1e-6)


def test_the_canonical_space_holds_colors_that_srgb_does_not() -> None:
    magenta = torch.tensor([0.6, 0.02, 0.5])[:, None, None]  # canonical
    assert bool((color.apply_matrix(color.CANONICAL_TO_SRGB, magenta) < 0).any())
    assert bool((magenta > 0).all())


def test_white_stays_white_through_any_camera(cam2rgb: torch.Tensor) -> None:
    gains = torch.tensor([2.1, 1.0, 1.6])
    gray = (0.18 / gains)[[0, 1, 1, 2], None, None].expand(4, 3, 3)
    assert torch.allclose(color.canonicalize(gray, gains, cam2rgb), torch.full((4, 3, 3), 0.18), atol=1e-6)


def test_the_planes_are_mixed_with_malvars_estimates_at_each_photosite(cam2rgb: torch.Tensor) -> None:
    planes = torch.rand(2, 4, 12, 14)
    both = torch.stack([cam2rgb, torch.eye(3)])
    mixed = color.mix_planes(planes, both)
    for photosites, matrix, ours in zip(mosaic.unpack(planes), both, mixed, strict=True):
        full = torch.from_numpy(demosaicing_CFA_Bayer_Malvar2004(photosites.numpy())).float().permute(2, 0, 1)
        colors = color.apply_matrix(matrix, full)  # every color everywhere
        expected = torch.stack([colors[0, ::2, ::2], colors[1, ::2, 1::2], colors[1, 1::2, ::2], colors[2, 1::2, 1::2]])
        assert torch.allclose(ours[:, 1:-1, 1:-1], expected[:, 1:-1, 1:-1], atol=1e-5)  # it mirrors the border itself
    assert torch.allclose(mixed[1], planes[1], atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 2)])
def test_the_smallest_mosaics_are_mixed_too(size: tuple[int, int], cam2rgb: torch.Tensor) -> None:
    assert torch.allclose(color.mix_planes(torch.full((4, *size), 0.3), cam2rgb), torch.full((4, *size), 0.3))


@pytest.mark.parametrize("gains", [(2.0, 1.0, 1.5), (0.8, 1.0, 2.0), (1.3, 1.0, 1.2)])
@pytest.mark.parametrize("clip", [1.0, 0.955])  # the HERO6 clips below the white level that its files state
def test_a_blown_sky_is_neutral(gains: tuple[float, float, float], clip: float, cam2rgb: torch.Tensor) -> None:
    sky = color.canonicalize(torch.full((4, 2, 2), clip), torch.tensor(gains), cam2rgb)
    assert float(sky.max() - sky.min()) < 1e-5
    assert float(sky.min()) > 0.94


def test_clouds_with_clipped_green_are_neutral_not_green() -> None:
    gains = torch.tensor([1.7, 1.0, 1.4])
    cloud = torch.tensor([0.90 / 1.7, 1.0, 1.0, 0.85 / 1.4])[:, None, None]
    assert torch.allclose(color.balance(cloud, gains), torch.ones(4, 1, 1))


def test_a_clipped_red_lamp_stays_red_and_unclipped_colors_are_only_balanced() -> None:
    gains = torch.tensor([2.0, 1.0, 1.5])
    lamp = torch.tensor([1.0, 0.2, 0.2, 0.05])[:, None, None]
    assert torch.equal(color.balance(lamp, gains), lamp * gains[[0, 1, 1, 2], None, None])
    leaf = torch.tensor([0.3, 0.8, 0.8, 0.1])[:, None, None]
    assert torch.equal(color.balance(leaf, gains), leaf * gains[[0, 1, 1, 2], None, None])


def test_noise_below_black_keeps_its_sign(cam2rgb: torch.Tensor) -> None:
    dark = torch.full((4, 2, 2), -0.01)
    assert bool((color.canonicalize(dark, torch.tensor([2.0, 1.0, 1.5]), cam2rgb) < 0).all())


def test_the_exposure_rule_brings_white_to_one_and_has_limits() -> None:
    frame = torch.linspace(0, 1, 64 * 64).reshape(64, 64).expand(4, 64, 64)
    gain = color.exposure_gain(frame * 0.25)
    assert float(gain) == pytest.approx(4 / 0.99, rel=0.01)  # the 99th percentile goes to white
    assert float(color.exposure_gain(frame)) == pytest.approx(1 / 0.99, rel=0.01)
    assert float(color.exposure_gain(torch.zeros(4, 64, 64))) == color.MAX_GAIN
    assert float(color.exposure_gain(torch.ones(4, 64, 64) * 3)) == 1


def test_a_gray_wall_does_not_become_white() -> None:
    assert float(color.exposure_gain(torch.full((4, 64, 64), 0.18))) == pytest.approx(0.5 / 0.18, rel=1e-5)


def test_the_exposure_rule_lifts_dark_scenes_with_bright_windows_by_one_stop_at_most() -> None:
    room = torch.full((4, 64, 64), 0.01)
    room[:, :, :8] = 1.0
    assert 1.5 < float(color.exposure_gain(room)) <= color.MAX_LIFT


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (300, 500)])
def test_the_exposure_rule_sees_the_scene_not_the_size(size: tuple[int, int]) -> None:
    assert float(color.exposure_gain(torch.full((4, *size), 0.2))) == pytest.approx(2.5, rel=1e-5)


def test_lab_is_colour_sciences() -> None:
    rgb = torch.rand(3, 20, 20, dtype=torch.float64)
    assert np.abs(color.srgb_to_lab(rgb).permute(1, 2, 0).numpy() - colour_science_lab(rgb)).max() < 1e-4
