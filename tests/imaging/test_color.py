import math
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


def test_light_that_the_display_cannot_show_is_cut_off() -> None:
    assert torch.allclose(color.render(torch.full((3, 1, 1), 4.0)), torch.ones(3, 1, 1), atol=1e-6)
    green = color.render(torch.tensor([0.0, 0.9, 0.0])[:, None, None])  # red and blue of sRGB below 0
    assert torch.allclose(green[[0, 2]], torch.zeros(2, 1, 1), atol=1e-6)


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


def test_malvars_filters_are_those_of_an_independent_library() -> None:
    """What one photosite alone gives at each of the four of a cell."""
    kernels = color._malvar()
    expected = np.zeros((4, 3, 6, 6))
    for row, column in np.ndindex(6, 6):
        lone = np.zeros((20, 20))
        lone[8 - 2 + row, 8 - 2 + column] = 1
        cell = demosaicing_CFA_Bayer_Malvar2004(lone)[8:10, 8:10]
        expected[..., row, column] = cell.reshape(4, 3)
    assert kernels.shape == expected.shape
    assert np.allclose(kernels.numpy(), expected, atol=1e-7)
    assert torch.equal(kernels, color.MALVAR)


def test_demosaicing_is_that_of_an_independent_library() -> None:
    planes = torch.rand(2, 4, 9, 12, generator=torch.Generator().manual_seed(0))
    made = color.demosaic(planes)
    assert made.shape == (2, 3, 18, 24)
    assert torch.allclose(color.demosaic(planes.double()).float(), made, atol=1e-6)
    for photosites, picture in zip(mosaic.unpack(planes), made, strict=True):
        expected = demosaicing_CFA_Bayer_Malvar2004(photosites.numpy()).transpose(2, 0, 1)
        assert np.allclose(picture[:, 2:-2, 2:-2], expected[:, 2:-2, 2:-2], atol=1e-6)  # it mirrors the border itself


def test_matrices_and_balance_are_applied_to_any_number_of_frames(cam2rgb: torch.Tensor) -> None:
    planes = torch.rand(2, 3, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    matrices_ = torch.stack([cam2rgb, torch.eye(3)])[:, None].expand(2, 3, 3, 3)
    gains = torch.tensor([[2.0, 1.0, 1.5], [1.0, 1.0, 3.0]])[:, None].expand(2, 3, 3)
    found = color.canonicalize(planes, gains, matrices_)
    assert found.shape == planes.shape
    for first, second in np.ndindex(2, 3):
        alone = color.canonicalize(planes[first, second], gains[first, second], matrices_[first, second])
        assert torch.allclose(found[first, second], alone, atol=1e-6)


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


@pytest.mark.parametrize(
    ("packed", "share"),
    [
        (
            (0.30, 0.915, 0.90, 0.32),
            0.5 * (2 * 0.30 / 0.915 - 0.5) / 0.25,
        ),  # half clipped, and between colored and gray
        ((0.30, 0.99, 0.90, 0.32), (2 * 0.30 / 0.99 - 0.5) / 0.25),
        ((0.50, 0.915, 0.90, 0.60), 0.5),  # gray: only the clipping counts; blue is beyond 1 when balanced
        ((0.20, 0.99, 0.90, 0.20), 0.0),  # colored
        ((0.30, 0.88, 0.80, 0.32), 0.0),  # not clipped
    ],
)
def test_cells_become_neutral_by_how_far_they_are_clipped_and_gray(
    packed: tuple[float, float, float, float], share: float
) -> None:
    """Arithmetic by hand: clipped from 0.88 to 0.95, gray where darkest to brightest goes from 0.5 to 0.75."""
    sensed = np.array(packed)
    balanced = sensed * [2.0, 1.0, 1.0, 2.0]
    brightest = min(balanced.max(), 1.0)
    expected = balanced + share * (brightest - balanced)
    cell = torch.from_numpy(sensed)[:, None, None].expand(4, 1, 1)
    found = color.balance(torch.stack([cell, cell]), torch.tensor([2.0, 1.0, 2.0], dtype=torch.float64))
    assert found.shape == (2, 4, 1, 1)
    assert np.allclose(found[0, :, 0, 0], expected, atol=1e-6)
    assert torch.equal(found[0], found[1])


def test_each_cell_is_balanced_by_itself() -> None:
    gains = torch.tensor([2.0, 1.0, 1.5])
    cells = torch.rand(4, 12, 11, generator=torch.Generator().manual_seed(0))
    together = color.balance(cells, gains)
    for row, column in np.ndindex(12, 11):
        alone = color.balance(cells[:, row : row + 1, column : column + 1], gains)
        assert torch.equal(together[:, row : row + 1, column : column + 1], alone)


def test_a_black_cell_stays_black() -> None:
    assert torch.equal(color.balance(torch.zeros(4, 2, 2), torch.tensor([2.0, 1.0, 1.5])), torch.zeros(4, 2, 2))


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


@pytest.mark.parametrize("level", [0.0004, 0.004, 0.03, 0.1, 0.3, 1.0, 4.0])
def test_the_exposure_rule_is_what_its_words_say(level: float) -> None:
    """Arithmetic by hand, in NumPy: quantile, geometric mean of luminance, limits."""
    grid = level * torch.rand(2, 4, 64, 64, generator=torch.Generator().manual_seed(0)).double() ** 3
    for found, planes in zip(color.grid_gain(grid), grid.numpy(), strict=True):
        rgb = np.stack([planes[0], (planes[1] + planes[2]) / 2, planes[3]])
        white = np.clip(np.quantile(rgb.max(0), 0.99), 1 / 16, 1)
        luminance = np.tensordot(matrices.CANONICAL_TO_XYZ[1], rgb, 1)
        middle = np.exp(np.log(np.maximum(luminance, 1e-3)).mean())
        lift = np.clip(np.sqrt(0.16 * white / middle), 1, 2)
        assert float(found) == pytest.approx(np.clip(min(lift / white, 0.5 / middle), 1, 16), rel=1e-5)


def test_white_lies_between_two_of_the_brightest_cells() -> None:
    """The 0.99-quantile of 4,096 cells is 0.95 of the way from the 41st to the 42nd."""
    grid = torch.full((4, 64, 64), 0.01).double()
    grid[3] = 0.2
    grid[3].view(-1)[:41] = 0.9
    white = 0.9 + 0.95 * (0.2 - 0.9)
    red, green, blue = matrices.CANONICAL_TO_XYZ[1]
    dim, bright = (math.log(0.01 * (red + green) + value * blue) for value in (0.2, 0.9))
    middle = math.exp((41 * bright + 4055 * dim) / 4096)
    lift = min(max(math.sqrt(0.16 * white / middle), 1), 2)
    assert float(color.grid_gain(grid)) == pytest.approx(lift / white, rel=1e-5)


def test_lights_above_white_do_not_keep_a_dark_scene_dark() -> None:
    grid = torch.full((4, 64, 64), 0.05)
    grid[:, :3] = 4.0
    middle = math.exp((3 * math.log(4.0) + 61 * math.log(0.05)) / 64)
    assert float(color.grid_gain(grid)) == pytest.approx(math.sqrt(0.16 / middle), rel=1e-3)


def test_frames_are_exposed_each_by_itself() -> None:
    frames = torch.rand(3, 4, 96, 80, generator=torch.Generator().manual_seed(0))
    frames *= torch.tensor([0.1, 0.4, 0.7])[:, None, None, None]
    found = color.exposure_gain(frames)
    assert found.shape == (3,)
    assert found.tolist() == pytest.approx([float(color.exposure_gain(frame)) for frame in frames])


def test_the_brightest_part_is_of_the_brightest_channel_and_green_is_a_mean() -> None:
    grid = torch.rand(2, 4, 64, 64, generator=torch.Generator().manual_seed(0)) / 2
    grid[0, 1, 3, 4], grid[0, 2, 3, 4] = 0.9, 0.7
    grid[1, 3, 63, 63] = 0.6
    assert torch.allclose(color.brightest_part(grid), torch.tensor([0.8, 0.6]))
    assert torch.allclose(color.brightest_part(grid[0]), torch.tensor(0.8))
    grid[1, 0, 0, 0] = 0.75
    assert torch.allclose(color.brightest_part(grid)[1], torch.tensor(0.75))


def test_the_noise_plane_is_the_root_of_the_deviation_of_the_mean_light() -> None:
    exposed = torch.tensor([0.1, 0.2, 0.3, 0.4])[:, None, None].expand(4, 3, 5)
    both = torch.stack([exposed, -exposed])
    found = color.noise_plane(both, torch.tensor([[0.01, 0.0004], [0.01, 0.0016]]))
    assert found.shape == (2, 1, 3, 5)
    assert torch.allclose(found[0], torch.full((1, 3, 5), (0.01 * 0.25 + 0.0004) ** 0.25))
    assert torch.allclose(found[1], torch.full((1, 3, 5), 0.0016**0.25))  # below black there is read noise alone


def test_encoding_goes_on_below_black_as_steep_as_the_curve_begins() -> None:
    def gray(light: float) -> torch.Tensor:
        return color.encode(torch.full((2, 3, 1, 1), light))[0, :, 0, 0]

    assert torch.allclose(gray(-0.01), torch.full((3,), -0.01 * 12.92 * 0.6), atol=1e-5)
    assert torch.allclose(gray(-5.0), torch.full((3,), -0.1 * 12.92 * 0.6), atol=1e-5)
    assert torch.allclose(gray(0.25), color.render(torch.full((3, 1, 1), 0.25))[:, 0, 0], atol=1e-6)
    assert torch.allclose(gray(3.0), torch.ones(3), atol=1e-6)


def test_the_tone_curve_is_srgb_with_a_share_of_a_smoothstep() -> None:
    light = torch.linspace(0, 1, 101, dtype=torch.float64)
    encoded = colour.cctf_encoding(light.numpy(), "sRGB")
    for share in (0.0, 0.4, 0.7):
        expected = (1 - share) * encoded + share * (3 * encoded**2 - 2 * encoded**3)
        assert np.allclose(color.tone(light, share), expected, atol=1e-7)
        assert np.allclose(color.inverse_tone(torch.from_numpy(expected), share), light, atol=1e-7)
    assert torch.equal(color.tone(light), color.tone(light, 0.4))
    assert torch.equal(color.inverse_tone(light), color.inverse_tone(light, 0.4))


def test_what_is_beyond_the_curve_is_cut_off_where_it_is_undone() -> None:
    beyond = color.inverse_tone(torch.tensor([-0.02, 1.02], dtype=torch.float64))
    assert beyond.tolist() == pytest.approx([0, 1], abs=1e-9)


def test_the_quick_tone_curve_is_near_the_exact_one() -> None:
    light = torch.linspace(0, 1, 10001, dtype=torch.float64)
    difference = (color.quick_tone(light) - color.tone(light)).abs()
    assert float(difference.max()) < 0.003
    assert float(color.quick_tone(torch.zeros(1))) == 0


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
    rgb = torch.rand(3, 20, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    rgb[:, :10] /= 12  # the dark end, where the curves are straight
    rgb[:, 1] = torch.linspace(0.07, 0.1, 20, dtype=torch.float64)  # where straight and curved meet
    rgb[:, 0, :2] = torch.tensor([0.0, 1.0])
    assert np.abs(color.srgb_to_lab(rgb).permute(1, 2, 0).numpy() - colour_science_lab(rgb)).max() < 1e-4
    batch = torch.stack([rgb, rgb.flip(0)])
    assert torch.equal(color.srgb_to_lab(batch), torch.stack([color.srgb_to_lab(one) for one in batch]))
