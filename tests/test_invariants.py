"""Laws that hold for every input, tried on inputs that hypothesis thinks of, from a fixed seed.

Among them are constants of the modules that are loaded, so that not quite all are the same where other
tests ran before.
"""

import math
import unicodedata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from lwisp.engines.frames import WholeFrame, read_reflected
from lwisp.engines.tiles import HALOS, spans
from lwisp.errors import InputError
from lwisp.files.white_balance import parse_balance
from lwisp.files.writing import fold, fold_all
from lwisp.imaging import color, matrices, metrics, mosaic
from lwisp.imaging.bayer import CFA, CFAS, SATURATION, plane_order
from lwisp.imaging.black_levels import BlackLevels
from lwisp.imaging.camera_color import Calibration, CameraColor
from lwisp.imaging.coding import decode_srgb, encode_srgb
from lwisp.imaging.highlights import balance_gains
from lwisp.imaging.matrices import normalize_rows
from lwisp.imaging.packing import GROUPS, PACKINGS, Packing, row_bytes, unpack_bits
from lwisp.imaging.pixels import convert, orient, to_integer, unorient
from lwisp.imaging.white_point import adaptation, light_of, temperature_of, to_xyz
from lwisp.planning import place_of, plan
from tests.conftest import XYZ2CAM
from tests.engines.test_tiles import by_windows, network, whole_picture

law = settings(
    max_examples=50,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],  # of a busy machine
)
sides = st.integers(1, 12)
cfas = st.sampled_from(CFAS)
orientations = st.integers(1, 8)
gains = st.lists(st.floats(0.25, 8, width=32), min_size=3, max_size=3)
units = st.floats(0, 1, width=32)
lights = st.floats(2000, 20000).flatmap(lambda kelvin: st.floats(-40, 40).map(lambda tint: light_of(kelvin, tint)))
cameras = arrays(np.float64, (3, 3), elements=st.floats(-0.05, 0.05)).map(lambda change: XYZ2CAM + change)


def signals(*shape: int) -> st.SearchStrategy[NDArray[np.float32]]:
    """Values in [0, 1]."""
    return arrays(np.float32, shape, elements=units)


@st.composite
def mosaics(draw: st.DrawFn, least: int = 2) -> NDArray[np.uint16]:
    """(H, W) of 16 bits, of any sides."""
    return draw(arrays(np.uint16, (draw(st.integers(least, 12)), draw(st.integers(least, 12)))))


@st.composite
def pairs(draw: st.DrawFn, least: int = 1, most: int = 8) -> tuple[Tensor, Tensor]:
    """Two pictures (3, H, W) of one size in [0, 1]; in large ones there are few values."""
    shape = (3, draw(st.integers(least, most)), draw(st.integers(least, most)))
    first, second = (draw(signals(*shape)) for _ in range(2))
    return torch.from_numpy(first), torch.from_numpy(second)


def tensor(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values.astype(np.float64))


# Geometry of mosaics


@law
@given(sides, sides, st.data())
def test_packing_and_unpacking_undo_each_other(height: int, width: int, data: st.DataObject) -> None:
    whole = tensor(data.draw(arrays(np.uint16, (2 * height, 2 * width))))
    packed = mosaic.pack(whole)
    assert packed.shape == (4, height, width)
    assert torch.equal(mosaic.unpack(packed), whole)
    assert torch.equal(mosaic.pack(mosaic.unpack(packed)), packed)
    for plane, (row, column) in enumerate(plane_order("RGGB")):
        assert torch.equal(packed[plane], whole[row::2, column::2])


@law
@given(cfas)
def test_the_planes_of_a_pattern_are_its_four_photosites(cfa: CFA) -> None:
    order = plane_order(cfa)
    assert sorted(order) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert "".join(cfa[2 * row + column] for row, column in order) == "RGGB"
    assert order[1][0] == order[0][0]  # Gr is on the red row


@law
@given(mosaics(), cfas)
def test_padding_to_rggb_keeps_every_photosite_and_every_color(values: NDArray[np.uint16], cfa: CFA) -> None:
    height, width = values.shape
    padded, (top, left) = mosaic.pad_to_rggb(tensor(values), cfa)
    assert [side % 2 for side in padded.shape] == [0, 0]
    assert all(0 <= more - side <= 2 for more, side in zip(padded.shape, values.shape, strict=True))
    assert np.array_equal(padded[top : top + height, left : left + width].numpy(), values)
    letters = np.array(
        [["RGB".index(cfa[2 * (row % 2) + column % 2]) for column in range(width)] for row in range(height)]
    )
    colors = mosaic.pad_to_rggb(tensor(letters), cfa)[0].numpy()
    assert np.array_equal(colors, np.tile([[0, 1], [1, 2]], [side // 2 for side in colors.shape]))


@law
@given(mosaics(), st.integers(0, 2), st.integers(0, 2), st.sampled_from([0, 1]))
def test_mosaics_are_reflected_as_numpy_reflects_them(
    values: NDArray[np.uint16], before: int, after: int, axis: int
) -> None:
    beside = [(before, after) if side == axis else (0, 0) for side in (0, 1)]
    found = mosaic.reflect(tensor(values), axis - 2, before, after)
    assert np.array_equal(found.numpy(), np.pad(values, beside, "reflect"))


@law
@given(st.sampled_from(PACKINGS), sides, sides, st.data())
def test_packed_bits_are_unpacked_to_what_was_packed(
    packing: Packing, height: int, width: int, data: st.DataObject
) -> None:
    bits = int(packing[3:5])
    values = data.draw(arrays(np.uint16, (height, width), elements=st.integers(0, 2**bits - 1)))
    photosites, _ = GROUPS[packing]
    rows = []
    for row in values.tolist():
        content = b""
        if bits == 16:
            content = b"".join(value.to_bytes(2, "little" if packing == "raw16le" else "big") for value in row)
        else:
            low = bits - 8
            row += [0] * (-len(row) % photosites)
            for start in range(0, len(row), photosites):
                group = row[start : start + photosites]
                content += bytes(value >> low for value in group)
                content += bytes([sum(value % 2**low << low * place for place, value in enumerate(group))])
        assert len(content) == row_bytes(packing, width)
        rows.append(np.frombuffer(content, np.uint8))
    assert np.array_equal(unpack_bits(np.stack(rows), packing, width), values)


@law
@given(sides, sides, st.booleans(), orientations)
def test_turning_upright_and_back_undo_each_other(height: int, width: int, is_gray: bool, orientation: int) -> None:
    shape = (height, width) if is_gray else (height, width, 3)
    picture = np.arange(math.prod(shape), dtype=np.uint16).reshape(shape)
    upright = orient(picture, orientation)
    assert upright.shape[:2] == ((width, height) if orientation >= 5 else (height, width))
    assert np.array_equal(unorient(upright, orientation), picture)
    assert np.array_equal(orient(unorient(picture, orientation), orientation), picture)


@law
@given(sides, sides, orientations)
def test_pictures_are_turned_as_pillow_turns_them(height: int, width: int, orientation: int) -> None:
    picture = np.arange(height * width, dtype=np.uint8).reshape(height, width)
    stored = Image.fromarray(picture)
    stored.getexif()[274] = orientation
    assert np.array_equal(orient(picture, orientation), np.asarray(ImageOps.exif_transpose(stored)))


@law
@given(sides, sides, orientations, orientations)
def test_two_turns_are_one(height: int, width: int, first: int, second: int) -> None:
    picture = np.arange(height * width, dtype=np.uint16).reshape(height, width)
    twice = orient(orient(picture, first), second)
    assert any(np.array_equal(twice, orient(picture, one)) for one in range(1, 9))


# Levels and gains


@law
@given(signals(4, 3, 5), st.lists(st.integers(0, 1000), min_size=4, max_size=4), st.integers(1001, 65535))
def test_black_goes_to_0_and_white_to_1_and_all_else_in_between(
    light: NDArray[np.float32], black: list[int], white: int
) -> None:
    black_level, white_level = torch.tensor(black).float(), torch.full((4,), float(white))
    expected = torch.from_numpy(light) * 3 - 1  # below black and above white, too
    sensed = black_level[:, None, None] + expected * (white_level - black_level)[:, None, None]
    assert torch.allclose(mosaic.normalize_levels(sensed, black_level, white_level), expected, atol=1e-3)
    ends = torch.stack([black_level, white_level], -1)[..., None]
    found = mosaic.normalize_levels(ends, black_level, white_level)
    assert torch.allclose(found[:, 0], torch.zeros(4))
    assert torch.allclose(found[:, 1], torch.ones(4))
    with pytest.raises(ValueError, match="white above black"):
        mosaic.normalize_levels(sensed, white_level, white_level)


@law
@given(mosaics(), cfas, st.integers(1, 4), st.integers(1, 4), st.data())
def test_levelling_keeps_how_far_each_photosite_is_above_its_own_black(
    values: NDArray[np.uint16], cfa: CFA, rows: int, columns: int, data: st.DataObject
) -> None:
    height, width = values.shape
    small = st.integers(0, 64).map(float)
    levels = BlackLevels(
        data.draw(arrays(np.float64, (rows, columns), elements=small)),
        data.draw(arrays(np.float64, (height,), elements=small)),
        data.draw(arrays(np.float64, (width,), elements=small)),
    )
    values = np.clip(values, 200, 16000).astype(np.uint16)  # so that nothing is clipped
    even, factor = levels.level(values, cfa, 16383)
    assert factor >= 1
    assert math.log2(factor).is_integer()
    before = values - levels.whole((height, width))
    for mean, (row, column) in zip(levels.of_planes(cfa), plane_order(cfa), strict=True):
        after = even[row::2, column::2] / factor - mean
        assert np.abs(after - before[row::2, column::2]).max() <= 0.5 / factor + 1e-3


@law
@given(gains, st.floats(0.25, 4, width=32))
def test_gains_count_by_their_ratios_and_the_smallest_is_1(three: list[float], scale: float) -> None:
    found = balance_gains(torch.tensor(three))
    assert found.shape == (4, 1, 1)
    assert float(found.min()) == 1
    assert torch.equal(found[1], found[2])
    assert torch.allclose(found, balance_gains(torch.tensor(three) * scale), rtol=1e-5)
    assert math.isclose(float(found[0] / found[3]), three[0] / three[2], rel_tol=1e-5)


@law
@given(gains, signals(2, 3))
def test_what_is_gray_in_the_light_of_the_shot_comes_out_gray(three: list[float], light: NDArray[np.float32]) -> None:
    by_plane = balance_gains(torch.tensor(three))
    gray = torch.from_numpy(light).expand(4, 2, 3) * SATURATION[0] / by_plane.max()  # far from clipped
    balanced = color.balance(gray / by_plane * by_plane.min(), torch.tensor(three))
    assert torch.allclose(balanced, gray, atol=1e-6)


@law
@given(gains, signals(4, 2, 3))
def test_balanced_light_is_not_below_what_was_sensed_nor_above_the_largest_gain(
    three: list[float], light: NDArray[np.float32]
) -> None:
    packed, most = torch.from_numpy(light), max(three) / min(three)
    balanced = color.balance(packed, torch.tensor(three))
    assert bool((balanced >= packed - 1e-6).all())
    assert float(balanced.max()) <= most + 1e-4


@law
@given(gains, st.floats(0.01, 100))
def test_gains_in_words_are_told_with_green_at_1(three: list[float], scale: float) -> None:
    balance = parse_balance(",".join(str(gain * scale) for gain in three))
    assert balance.gains is not None
    assert balance.gains[1] == 1
    assert np.allclose(balance.gains, np.array(three) / three[1], rtol=1e-6)


@law
@given(st.text(max_size=20) | st.lists(st.floats().map(str), max_size=5).map(",".join))
def test_any_words_are_a_white_balance_or_refused_in_a_sentence(words: str) -> None:
    try:
        balance = parse_balance(words)
    except InputError as error:
        assert "expected a white balance" in str(error)
    else:
        assert balance.gains is None or all(0 < gain < math.inf for gain in balance.gains)


@law
@given(arrays(np.float32, (3, 3), elements=st.floats(-4, 4, width=16)))
def test_color_matrices_keep_white_white(matrix: NDArray[np.float32]) -> None:
    assume((np.abs(matrix.sum(-1)) > 0.1).all())
    assert np.allclose(normalize_rows(matrix) @ np.ones(3, np.float32), 1, atol=1e-4)


@law
@given(cameras)
def test_a_cameras_gray_under_daylight_comes_out_gray(xyz2cam: NDArray[np.float64]) -> None:
    camera = xyz2cam.astype(np.float32)
    neutral = camera @ matrices.CANONICAL_TO_XYZ @ np.ones(3, np.float32)  # what it sees of white
    gains = matrices.daylight_gains(camera)
    assert gains[1] == 1
    gray = matrices.cam2rgb_from_xyz(camera) @ (neutral * gains)
    assert np.allclose(gray, gray[1], rtol=1e-3)


@law
@given(lights, lights, arrays(np.float64, 3, elements=st.floats(0, 2)))
def test_adapting_to_another_light_and_back_undo_each_other(
    first: tuple[float, float], second: tuple[float, float], xyz: NDArray[np.float64]
) -> None:
    there = adaptation(first, second)
    assert np.allclose(there @ to_xyz(first), to_xyz(second))
    assert np.allclose(adaptation(second, first) @ there @ xyz, xyz, atol=1e-9)


@law
@given(st.floats(2000, 20000), st.floats(-40, 40))
def test_a_light_has_its_temperature_and_tint(kelvin: float, tint: float) -> None:
    found = temperature_of(light_of(kelvin, tint))
    assert math.isclose(found[0], kelvin, rel_tol=0.01)
    assert math.isclose(found[1], tint, abs_tol=1)


@law
@given(cameras, cameras, st.floats(2500, 9000), st.floats(-15, 15))
def test_gains_and_their_light_belong_together_and_its_gray_is_gray(
    warm: NDArray[np.float64], cold: NDArray[np.float64], kelvin: float, tint: float
) -> None:
    both = CameraColor(Calibration(2850, warm), Calibration(6500, cold))
    white = light_of(kelvin, tint)
    found = both.gains(white)
    assert np.allclose(both.light(found), white, atol=1e-5)
    seen = both.matrix(white) @ to_xyz(white)
    gray = both.cam2rgb(found).astype(np.float64) @ (seen * found)
    assert np.allclose(gray, gray[1], rtol=1e-4)


@law
@given(arrays(np.float32, 3, elements=units), arrays(np.float32, (3, 3), elements=st.floats(-2, 2, width=16)), sides)
def test_even_light_of_any_color_is_mixed_by_the_matrix_alone(
    rgb: NDArray[np.float32], matrix: NDArray[np.float32], side: int
) -> None:
    planes = torch.from_numpy(rgb)[[0, 1, 1, 2], None, None].expand(4, side, side + 1)
    mixed = color.mix_planes(planes, torch.from_numpy(matrix))
    expected = torch.from_numpy(matrix @ rgb)[[0, 1, 1, 2], None, None].expand_as(planes)
    assert torch.allclose(mixed, expected, atol=1e-4)


@law
@given(signals(4, 3, 4), signals(4, 3, 4), st.floats(-2, 2, width=16), signals(3, 3))
def test_mixing_planes_is_linear_and_leaves_them_where_the_matrix_is_one(
    first: NDArray[np.float32], second: NDArray[np.float32], factor: float, matrix: NDArray[np.float32]
) -> None:
    one, other, by = torch.from_numpy(first), torch.from_numpy(second), torch.from_numpy(matrix)
    together = color.mix_planes(one + factor * other, by)
    apart = color.mix_planes(one, by) + factor * color.mix_planes(other, by)
    assert torch.allclose(together, apart, atol=1e-4)
    assert torch.allclose(color.mix_planes(one, torch.eye(3)), one, atol=1e-6)


# Tiles


@settings(law, max_examples=5)
@given(st.integers(6, 20), st.integers(6, 20), st.integers(5, 14), st.integers(0, 2**32 - 1))
def test_windows_of_any_size_give_what_the_whole_frame_gives(rows: int, columns: int, window: int, seed: int) -> None:
    net = network()
    planes = np.random.default_rng(seed).random((1, 4, 16 * rows, 16 * columns), np.float32)
    whole = whole_picture(net, planes)
    assert float(np.abs(by_windows(net, planes, 16 * window) - whole).max()) < 1e-5


@law
@given(st.integers(1, 400), st.integers(1, 200), st.sampled_from(sorted(set(HALOS.values()))))
def test_cores_cover_a_side_once_and_windows_have_their_halos(side: int, window: int, halo: int) -> None:
    side, window = 16 * side, 16 * window
    if window < side and window <= 2 * halo:
        with pytest.raises(ValueError, match="longer than two halos"):
            spans(side, window, halo)
        return
    found = spans(side, window, halo)
    assert [found[0].first, *(span.last for span in found)] == [*(span.first for span in found), side]
    assert len({span.stop - span.start for span in found}) == 1
    for span in found:
        assert all(place % 16 == 0 for place in span)
        assert span.stop - span.start <= window
        assert 0 <= span.start <= span.first < span.last <= span.stop <= side
        assert span.start == 0 or span.first - span.start >= halo
        assert span.stop == side or span.stop - span.last >= halo
    fewest = 1 if window >= side else -(-(side - 2 * halo) // (window - 2 * halo))
    assert len(found) == fewest


@law
@given(sides, sides, st.integers(0, 20), st.integers(0, 20), st.data())
def test_windows_of_a_frame_are_those_of_the_frame_reflected(
    height: int, width: int, below: int, right: int, data: st.DataObject
) -> None:
    planes = np.arange(2 * height * width, dtype=np.float32).reshape(2, height, width)
    whole = np.pad(planes, ((0, 0), (0, below), (0, right)), "reflect" if min(height, width) > 1 else "edge")
    assume(min(height, width) > 1 or height == width == 1)  # numpy reflects all axes or none
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    found = read_reflected(WholeFrame(planes), slice(top, height + below), slice(left, width + right))
    assert np.array_equal(found[0], whole[:, top:, left:])


# Scores


@law
@given(pairs())
def test_psnr_is_symmetric_and_not_negative_and_infinite_of_one_picture(pair: tuple[Tensor, Tensor]) -> None:
    first, second = pair
    assert metrics.psnr(first, second) == metrics.psnr(second, first) >= 0
    assert metrics.psnr(first, first) == math.inf
    if (first - second).abs().max() > 1e-3:
        assert metrics.psnr(first, (first + second) / 2) > metrics.psnr(first, second)


@law
@given(pairs(11, 14))
def test_ssim_is_symmetric_at_most_1_and_1_of_one_picture(pair: tuple[Tensor, Tensor]) -> None:
    first, second = pair
    assert math.isclose(metrics.ssim(first, second), metrics.ssim(second, first), abs_tol=1e-5)
    assert -1 - 1e-4 <= metrics.ssim(first, second) <= 1 + 1e-4
    assert math.isclose(metrics.ssim(first, first), 1, abs_tol=1e-4)


@law
@given(st.integers(1, 3), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_multiscale_ssim_is_symmetric_between_0_and_1_and_1_of_one_picture(
    scales: int, seed: int, strength: float
) -> None:
    random = torch.Generator().manual_seed(seed)
    side = metrics.smallest_side(scales)
    first, noise = torch.rand(2, 1, 3, side, side + 3, dtype=torch.float64, generator=random).unbind()
    second = torch.lerp(first, noise, strength)
    score = float(metrics.multiscale_ssim(first, second, scales))
    assert 0 <= score <= 1 + 1e-12
    assert math.isclose(score, float(metrics.multiscale_ssim(second, first, scales)), rel_tol=1e-9)
    assert math.isclose(float(metrics.multiscale_ssim(first, first, scales)), 1, rel_tol=1e-9)


@law
@given(pairs())
def test_color_differences_are_symmetric_not_negative_and_0_of_one_picture(pair: tuple[Tensor, Tensor]) -> None:
    first, second = pair
    there, back = metrics.delta_e(first, second), metrics.delta_e(second, first)
    assert there >= 0
    assert math.isclose(there, back, rel_tol=1e-6, abs_tol=1e-6)
    assert metrics.delta_e(first, first) == 0
    assert there <= 130  # black and white are 100 apart, the corners of sRGB little more


@law
@given(pairs(), st.floats(-0.5, 0.5, width=32))
def test_false_color_sees_no_even_cast_and_is_symmetric(pair: tuple[Tensor, Tensor], cast: float) -> None:
    first, second = pair
    assert math.isclose(
        metrics.false_color(first, second), metrics.false_color(second, first), rel_tol=1e-5, abs_tol=1e-5
    )
    assert metrics.false_color(first, first) == 0
    tinted = first / 2 + 0.25 + torch.tensor([cast, 0.0, -cast])[:, None, None] / 2
    assert metrics.false_color(tinted, first / 2 + 0.25) < 1e-3


@law
@given(signals(3, 4, 4), st.integers(0, 47), st.sampled_from([math.nan, math.inf, -0.01, 1.01]))
def test_scores_refuse_what_is_not_in_their_range(picture: NDArray[np.float32], place: int, value: float) -> None:
    wrong = torch.from_numpy(picture.copy())
    wrong.view(-1)[place] = value
    for first, second in ((wrong, torch.from_numpy(picture)), (torch.from_numpy(picture), wrong)):
        with pytest.raises(ValueError, match=r"in \[0, 1\]"):
            metrics.psnr(first, second)


@law
@given(pairs(11, 14), st.booleans(), st.lists(st.sampled_from([-1, -2]), unique=True))
def test_scores_do_not_depend_on_how_pictures_are_turned(
    pair: tuple[Tensor, Tensor], is_transposed: bool, axes: list[int]
) -> None:
    def turned(picture: Tensor) -> Tensor:
        flipped = picture.flip(axes)
        return flipped.transpose(-1, -2).contiguous() if is_transposed else flipped

    first, second = pair
    for score in (metrics.psnr, metrics.ssim, metrics.delta_e, metrics.false_color):
        expected = score(first, second)
        found = score(turned(first), turned(second))
        assert found == expected or math.isclose(found, expected, rel_tol=1e-4, abs_tol=1e-4), score


@law
@given(signals(3, 4, 5), st.floats(2**-10, 0.5, width=16))
def test_an_even_difference_has_the_psnr_of_its_decibels(picture: NDArray[np.float32], step: float) -> None:
    first = torch.from_numpy(picture).double() / 2
    assert math.isclose(metrics.psnr(first, first + step), -20 * math.log10(step), rel_tol=1e-9)


# Code values


@law
@given(arrays(np.float64, 20, elements=st.floats(0, 1)))
def test_the_curve_of_srgb_and_its_inverse_undo_each_other_and_rise(values: NDArray[np.float64]) -> None:
    values = np.sort(values)
    ordered = torch.from_numpy(values)
    for curve, inverse in ((color.srgb_encode, color.srgb_decode), (color.srgb_decode, color.srgb_encode)):
        there = curve(ordered)
        assert torch.allclose(inverse(there), ordered, atol=1e-5)
        assert bool((there.diff() >= -1e-7).all())
        assert float(there.min()) >= 0
        assert float(there.max()) <= 1 + 1e-6
    assert np.allclose(decode_srgb(values), color.srgb_decode(ordered).numpy(), atol=1e-9)
    light = values.astype(np.float32)
    assert np.allclose(encode_srgb(light), color.srgb_encode(torch.from_numpy(light)).numpy(), atol=1e-6)


@pytest.mark.parametrize("bits", [8, 16])
def test_every_code_value_survives_the_way_to_light_and_back(bits: Literal[8, 16]) -> None:
    codes = np.arange(2**bits)
    light = decode_srgb(codes.astype(np.float64) / (2**bits - 1))
    again = color.srgb_encode(torch.from_numpy(light)).numpy()
    assert np.array_equal(to_integer(again, bits), codes)


@law
@given(arrays(np.float64, 20, elements=st.floats(0, 1)), st.floats(0, 1))
def test_the_tone_curve_and_its_inverse_undo_each_other(values: NDArray[np.float64], contrast: float) -> None:
    linear = torch.from_numpy(np.sort(values)).reshape(1, 4, 5)
    shown = color.tone(linear, contrast)
    assert bool((shown.flatten().diff() >= -1e-7).all())
    again = color.inverse_tone(shown, contrast)
    assert torch.allclose(color.tone(again, contrast), shown, atol=1e-3)


@law
@given(st.data(), st.sampled_from([np.uint8, np.uint16]))
def test_integers_survive_as_floats(data: st.DataObject, dtype: Any) -> None:
    picture = data.draw(arrays(dtype, (3, 4, 3)))
    floats = convert(picture, np.dtype(np.float32))
    assert floats.dtype == np.float32
    assert 0 <= floats.min() <= floats.max() <= 1
    assert np.array_equal(convert(floats, np.dtype(dtype)), picture)


@law
@given(arrays(np.float32, 12, elements=st.floats(-1e6, 1e6, width=32)), st.sampled_from([8, 16]))
def test_floats_become_the_nearest_integers_in_range(values: NDArray[np.float32], bits: Any) -> None:
    found = to_integer(values, bits).astype(np.float64)
    exact = values.astype(np.float64).clip(0, 1) * (2**bits - 1)
    assert np.abs(found - exact).max() <= 0.5 + 2 ** (bits - 23)


# Names

names = st.text(st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=20)
likely = st.tuples(
    st.sampled_from(["a", "A", "é", "e\u0301", "É", "a_dng", "a-2", "ß"]), st.sampled_from(["dng", "DNG", "nef"])
)


@law
@given(names)
def test_a_folded_name_stays_and_is_that_of_all_its_writings(name: str) -> None:
    folded = fold(name)
    assert fold(folded) == folded
    for form in ("NFC", "NFD"):
        assert fold(unicodedata.normalize(form, name)) == folded
    if name.isascii():
        assert fold(name.upper()) == folded


@law
@given(st.lists(names, unique=True))
def test_every_name_is_in_one_group_of_those_that_fold_alike(listing: list[str]) -> None:
    groups = fold_all(listing)
    assert sorted(name for group in groups.values() for name in group) == sorted(listing)
    assert all(fold(name) == folded for folded, group in groups.items() for name in group)


@law
@given(st.lists(st.tuples(st.sampled_from(["", "x", "y"]), likely), min_size=1, max_size=8, unique=True))
def test_no_two_pictures_of_a_batch_are_one_file_on_any_system(listing: list[tuple[str, tuple[str, str]]]) -> None:
    with TemporaryDirectory() as place:
        root, out = Path(place, "in"), Path(place, "out")
        for folder, (stem, suffix) in listing:
            (root / folder).mkdir(parents=True, exist_ok=True)
            (root / folder / f"{stem}.{suffix}").touch()
        files = sorted(path for path in root.rglob("*") if path.is_file())
        for output in (out, None):
            jobs = plan(files, output, "jpg")
            assert [job.source for job in jobs] == files
            assert len({place_of(job.output) for job in jobs}) == len(files)
            assert plan(files, output, "jpg") == jobs


@law
@given(st.lists(names.map(lambda name: name[:10]), min_size=1, max_size=3, unique=True))
def test_pictures_named_by_a_template_stay_in_their_folder(listing: list[str]) -> None:
    assume(all(name not in (".", "..") for name in listing))
    with TemporaryDirectory() as place:
        out = Path(place, "out")
        files = [Path(place, f"{name}.dng") for name in listing]
        for file in files:
            file.touch()
        files = sorted(path for path in Path(place).iterdir())
        jobs = plan(files, out, "jpg", name="{number}/{stem}")
        for number, job in enumerate(jobs, 1):
            assert job.output.parent == out / str(number)
            assert job.output.suffix == ".jpg"
