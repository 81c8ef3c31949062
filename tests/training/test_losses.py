import math

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter
from torch.nn import functional
from torch.nn.functional import avg_pool2d, pixel_shuffle, pixel_unshuffle

from lwisp.model import pad_to_multiple
from lwisp.training import losses


def picture(*values: float) -> torch.Tensor:
    return torch.tensor(values).reshape(1, 1, 1, -1).expand(1, 3, 1, len(values))


def test_equation_4_is_the_mean_absolute_error() -> None:
    rgb, target = picture(0.0, 0.5, 1.0), picture(0.1, 0.5, 0.4)
    assert float(losses.reconstruction(rgb, target)) == pytest.approx((0.1 + 0 + 0.6) / 3)


def test_a_decibel_counts_alike_in_every_picture_of_the_logarithmic_loss() -> None:
    rgb = torch.cat([picture(0.1, 0.3), picture(0.5, 0.51)])
    target = torch.cat([picture(0.1, 0.5), picture(0.5, 0.5)])
    expected = (math.log(0.1 + 5e-4) + math.log(0.005 + 5e-4)) / 2
    assert float(losses.logarithmic(rgb, target)) == pytest.approx(expected, rel=1e-5)
    rgb.requires_grad_()
    (slope,) = torch.autograd.grad(losses.logarithmic(rgb, target), rgb)
    strong, weak = slope.abs().sum((1, 2, 3))
    assert float(weak / strong) == pytest.approx(0.1005 / 0.0055, rel=1e-3)


def test_a_wrong_brightness_counts_once_of_three_where_the_parts_are_taken_apart() -> None:
    torch.manual_seed(0)
    target = torch.rand(2, 3, 32, 48) / 2 + 0.25
    nothing = math.log(5e-4)
    darker, lifted = 0.8 * target, target + 0.1
    of_darker = [float(losses.logarithmic(darker, target)), nothing]
    assert float(losses.apart(target, target)) == pytest.approx(nothing, rel=1e-4)
    of_darker.append(float(losses.logarithmic(darker - _coarse(darker), target - _coarse(target))))
    assert 3 * float(losses.apart(darker, target)) == pytest.approx(sum(of_darker), rel=1e-4)
    gain = target.mean((1, 2, 3), keepdim=True) / lifted.mean((1, 2, 3), keepdim=True)
    of_lifted = [math.log(0.1 + 5e-4), float(losses.logarithmic(gain * lifted, target)), nothing]
    assert 3 * float(losses.apart(lifted, target)) == pytest.approx(sum(of_lifted), rel=1e-4)


@pytest.mark.parametrize(("brightness", "gain"), [(0.02, 5.0), (0.1, 4.0), (0.4, 1.0), (2.0, 0.2), (10.0, 0.2)])
def test_a_picture_is_brought_to_its_targets_mean_by_a_factor_of_5_at_most(brightness: float, gain: float) -> None:
    target = 0.1 * torch.rand(1, 3, 32, 48, generator=torch.Generator().manual_seed(0)) + torch.linspace(0, 1, 48)
    target *= 0.4 / target.mean()
    rgb = target * brightness / 0.4
    parts = [rgb, gain * rgb, rgb - _coarse(rgb)]
    goals = [target, target, target - _coarse(target)]
    expected = [math.log(float((part - goal).abs().mean()) + 5e-4) for part, goal in zip(parts, goals, strict=True)]
    assert float(losses.apart(rgb, target)) == pytest.approx(sum(expected) / 3, rel=1e-4)


def test_a_black_picture_has_a_loss() -> None:
    assert math.isfinite(float(losses.apart(torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16))))


def test_false_color_is_what_differs_from_scipys_mean_over_squares() -> None:
    rgb, target = torch.rand(2, 2, 3, 20, 24, generator=torch.Generator().manual_seed(0)).double().unbind()
    parts = []
    for picture in (rgb - target).numpy():
        for channel in (0, 2):
            apart = picture[channel] - picture[1]
            weight = uniform_filter(np.ones_like(apart), 9, mode="constant")
            parts.append(np.abs(apart - uniform_filter(apart, 9, mode="constant") / weight).mean())
    assert float(losses.chroma(rgb, target)) == pytest.approx(np.mean(parts), rel=1e-9)
    cast = torch.tensor([0.1, 0.0, -0.2])[:, None, None]
    assert float(losses.chroma(target + cast, target)) == pytest.approx(0, abs=1e-12)


def _coarse(rgb: torch.Tensor) -> torch.Tensor:
    return functional.interpolate(functional.avg_pool2d(rgb, 16), rgb.shape[-2:], mode="bilinear")


def test_equation_5_is_zero_for_equal_pictures_and_one_for_opposite_ones() -> None:
    torch.manual_seed(0)
    target = torch.rand(2, 3, 24, 24)
    assert float(losses.structure(target, target, scales=1)) == pytest.approx(0, abs=1e-6)
    assert float(losses.structure(1 - target, target, scales=1)) > 0.9


def test_equation_5_refuses_crops_too_small_for_its_scales() -> None:
    with pytest.raises(ValueError, match="161 px"):
        losses.structure(torch.rand(1, 3, 160, 200), torch.rand(1, 3, 160, 200))


def test_equation_6_sums_the_mean_squares_of_the_chosen_blocks() -> None:
    student = {"up3": torch.tensor([[[[1.0, 2.0]]]]), "up4": torch.tensor([[[[3.0, 3.0]]]]), "up1": torch.ones(1)}
    teacher = {"up3": torch.tensor([[[[0.0, 4.0]]]]), "up4": torch.tensor([[[[3.0, 1.0]]]]), "up1": torch.zeros(1)}
    assert float(losses.distillation(student, teacher, ("up3", "up4"))) == pytest.approx((1 + 4) / 2 + (0 + 4) / 2)


def test_equation_6_averages_a_teacher_of_twice_the_size() -> None:
    student = {"up2": torch.tensor([[[[1.0]]]])}
    teacher = {"up2": torch.tensor([[[[1.0, 2.0], [3.0, 6.0]]]])}
    assert float(losses.distillation(student, teacher, ("up2",))) == pytest.approx((1 - 3) ** 2)


def test_equation_6_divides_each_channel_by_its_spread_in_the_teacher_where_it_is_told_to() -> None:
    generator = torch.Generator().manual_seed(0)
    spreads = torch.tensor([1.0, 0.1, 0.001, 0.0])[:, None, None]
    guide = torch.randn(2, 4, 6, 5, generator=generator, dtype=torch.float64) * spreads + 3
    difference = torch.rand(2, 4, 6, 5, generator=generator, dtype=torch.float64)
    own = guide.std((0, 2, 3))
    least = 0.01 * math.sqrt(float(own.square().mean())) + 1e-8  # under which a channel counts as this
    assert own[2] < least < own[1]
    divisors = [float(own[0]), float(own[1]), least, least]
    squares = [float((difference[:, at] / divisor).square().mean()) for at, divisor in enumerate(divisors)]
    found = losses.distillation({"up4": guide + difference}, {"up4": guide}, ("up4",), normalized=True)
    assert float(found) == pytest.approx(sum(squares) / 4, rel=1e-6)
    plain = losses.distillation({"up4": guide + difference}, {"up4": guide}, ("up4",))
    assert float(plain) == pytest.approx(float(difference.square().mean()))
    flat = torch.full((2, 4, 6, 5), 3.0, dtype=torch.float64)
    found = losses.distillation({"up4": flat + difference}, {"up4": flat}, ("up4",), normalized=True)
    assert float(found) == pytest.approx(float((difference / 1e-8).square().mean()), rel=1e-6)


def test_equation_6_averages_blocks_of_any_shape() -> None:
    wide = torch.arange(48.0).reshape(1, 1, 4, 12)
    student = {"up2": functional.avg_pool2d(wide, 2)}
    assert float(losses.distillation(student, {"up2": wide}, ("up2",))) == 0


@pytest.mark.parametrize("crop", [100, 192, 200, 36])
def test_equation_6_compares_the_same_pixels_whatever_the_crop(crop: int) -> None:
    """What both show of the target's pixels differs nowhere, though planes are padded to other pixels than pictures."""
    picture = torch.rand(1, 1, crop, crop, generator=torch.Generator().manual_seed(0))
    seen = pixel_shuffle(pad_to_multiple(pixel_unshuffle(picture, 2)), 2)
    shown = pad_to_multiple(picture)
    student = {"up2": avg_pool2d(seen, 4), "up3": avg_pool2d(seen, 2), "up4": seen}
    teacher = {"up2": avg_pool2d(shown, 2), "up3": shown, "up4": shown}
    own = losses.within_frame(student, (crop // 2, crop // 2))
    guide = losses.within_frame(teacher, (crop, crop))
    assert [block.shape[-1] for block in own.values()] == [crop // 4, crop // 2, crop]
    assert float(losses.distillation(own, guide, ("up2", "up3", "up4"))) < 1e-12
    if crop == 192:  # nothing is padded, nothing cut
        assert all(torch.equal(own[name], student[name]) and torch.equal(guide[name], teacher[name]) for name in own)


def test_a_frame_that_ends_within_a_pixel_of_a_block_is_refused() -> None:
    blocks = {"down4": torch.rand(1, 4, 7, 7)}
    with pytest.raises(ValueError, match=r"a frame of \(100, 100\) px ends within a pixel of down4, \(7, 7\)"):
        losses.within_frame(blocks, (100, 100))
    assert losses.within_frame(blocks, (96, 112))["down4"].shape == (1, 4, 7, 7)


def test_a_frame_need_not_be_square() -> None:
    block = torch.rand(1, 2, 48, 64, generator=torch.Generator().manual_seed(0))
    cut = losses.within_frame({"up4": block, "up3": block[..., ::2, ::2]}, (40, 60))
    assert torch.equal(cut["up4"], block[..., :40, :60])
    assert torch.equal(cut["up3"], block[..., :40:2, :60:2])


def test_equation_3_weighs_its_parts() -> None:
    parts = (torch.tensor(0.5), torch.tensor(0.1), torch.tensor(2.0))
    assert float(losses.overall(*parts, alpha=0.4, beta=0.05)) == pytest.approx(0.1 + 0.4 * 0.5 + 0.05 * 2)


def test_equation_7_is_the_mean_square_with_structure() -> None:
    torch.manual_seed(0)
    target, rgb = torch.rand(1, 3, 16, 16), torch.rand(1, 3, 16, 16)
    square = float((rgb - target).pow(2).mean())
    assert float(losses.teaching(rgb, target, gamma=0, scales=1)) == pytest.approx(square)
    assert float(losses.teaching(rgb, target, gamma=0)) == pytest.approx(square)  # too small for five scales
    structure = float(losses.structure(rgb, target, 1))
    assert float(losses.teaching(rgb, target, gamma=0.3, scales=1)) == pytest.approx(square + 0.3 * structure)


def test_equation_7_has_five_scales_unless_told_otherwise() -> None:
    target, rgb = torch.rand(2, 1, 3, 161, 161, generator=torch.Generator().manual_seed(0)).unbind()
    rgb = 0.9 * target + 0.1 * rgb
    structure = float(losses.structure(rgb, target))
    assert structure == pytest.approx(float(losses.structure(rgb, target, 5)))
    square = float((rgb - target).square().mean())
    assert float(losses.teaching(rgb, target, gamma=0.3)) == pytest.approx(square + 0.3 * structure)


def test_gradients_stay_finite_where_pictures_are_opposite() -> None:
    target = torch.rand(1, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    rgb = (1 - target).requires_grad_()
    losses.structure(rgb, target, 3).backward()  # type: ignore[no-untyped-call]
    assert rgb.grad is not None
    assert bool(rgb.grad.isfinite().all())


def test_the_adversarial_losses_are_logarithms_of_the_odds() -> None:
    judged = torch.tensor([math.log(3), -math.log(3)])  # D = 3/4 and 1/4
    assert float(losses.adversarial(judged)) == pytest.approx(-(math.log(3 / 4) + math.log(1 / 4)) / 2)
    assert float(losses.discrimination(judged[:1], judged[1:])) == pytest.approx(-math.log(3 / 4))
    assert float(losses.discrimination(judged[1:], judged[:1])) == pytest.approx(-math.log(1 / 4))
    assert float(losses.adversarial(torch.tensor([1e4]))) == 0  # and no overflow
    assert float(losses.adversarial(torch.tensor([-1e4]))) == pytest.approx(1e4)
