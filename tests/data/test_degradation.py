from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from lwisp.data import cases, degradation, synthetic, unprocess
from lwisp.data.degradation import Task
from lwisp.data.simulation import DegradationModel, LowLightModel, Simulation
from lwisp.imaging import color

TASKS = get_args(Task)
WHOLE = torch.ones(1, 2)  # of smoothing: nothing
PHOTOS = torch.stack(synthetic.pictures(4, 0, 136, 144)) / 255


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def psnr(first: torch.Tensor, second: torch.Tensor) -> float:
    return -10 * float((first - second).square().mean().log10())


@pytest.mark.parametrize("task", TASKS)
def test_a_batch_is_a_function_of_its_generator(task: Task) -> None:
    given, target = degradation.BATCHES[task](PHOTOS, seeded(), Simulation())
    again, same = degradation.BATCHES[task](PHOTOS, seeded(), Simulation())
    assert torch.equal(given, again)
    assert torch.equal(target, same)
    assert given.shape == target.shape == ((4, 4, 68, 72) if task == "denoise-raw" else (4, 3, 128, 136))
    assert not torch.equal(given, degradation.BATCHES[task](PHOTOS, seeded(1), Simulation())[0])
    assert 0 <= float(target.min()) <= float(target.max()) <= 1


def test_without_noise_a_photograph_comes_back_as_it_was() -> None:
    chain = degradation.random_chain(4, seeded(4))  # cameras that see none of these colors as less than black
    nothing, bits, whole = torch.zeros(4), torch.full((4,), 16), torch.ones(4, 2)
    quiet = replace(
        chain, shot_noise=nothing, read_noise=nothing, bits=bits, black_level=nothing, blur=whole, kept=whole,
        chroma_gain=torch.ones(4),
    )  # fmt: skip
    light = degradation.decode(PHOTOS, chain.contrast)
    back = degradation.finish(degradation.retake(light, quiet, torch.ones(4), seeded()), chain.contrast)
    assert psnr(back, PHOTOS) > 60  # no trace of a mosaic
    darker = degradation.retake(light, quiet, torch.full((4,), 0.25), seeded())
    assert float((darker - light / 4).abs().max()) < 2e-3


def test_noise_in_flat_gray_is_what_arithmetic_says() -> None:
    """Green at a green site: balance and matrix leave the mean of gray alone, the variance is known."""
    gray = torch.full((1, 3, 400, 400), 0.5)
    zero, one = torch.zeros(1), torch.ones(1)
    neutral = unprocess.Camera(color.SRGB_TO_CANONICAL.inverse()[None], torch.ones(1, 3))  # sensor colors are sRGB
    shot, read = 2e-3, 1e-4
    chain = degradation.Chain(
        neutral, shot * one, read * one, torch.tensor([16]), zero + 0.5, WHOLE, WHOLE, zero, one, zero, zero,
        torch.ones(1, 3),
    )  # fmt: skip
    light = color.srgb_decode(gray)
    noise = degradation.retake(light, chain, one, seeded()) - light
    at_green = noise[0, 1, ::2, 1::2]
    expected = shot * float(light[0, 0, 0, 0]) + read
    assert float(at_green.var()) == pytest.approx(expected, rel=0.03)
    assert abs(float(noise.mean())) < 3e-4
    estimated = noise[0, 1, ::2, ::2]  # Malvar's green at red is a mean of neighbors
    assert float(estimated.var()) < 0.8 * expected


def test_cameras_smooth_noise_as_scipy_does() -> None:
    noise = torch.randn(1, 3, 80, 90, generator=seeded())
    blur, kept = torch.tensor([[1.2, 2.9]]), torch.tensor([[0.25, 0.1]])
    left = degradation.smooth(noise, blur, kept[..., None, None], torch.tensor([0.4]))[0].numpy()
    luma = noise[0].mean(0).numpy()
    expected = 0.25 * luma + 0.75 * gaussian_filter(luma, 1.2, mode="mirror", truncate=6)
    for channel in range(3):
        chroma = noise[0, channel].numpy() - luma
        chroma = 0.4 * (0.1 * chroma + 0.9 * gaussian_filter(chroma, 2.9, mode="mirror", truncate=6))
        assert np.abs(left[channel] - expected - chroma).max() < 1e-4
    same = degradation.smooth(noise, blur, WHOLE[..., None, None], torch.ones(1))
    assert torch.allclose(same, noise, atol=1e-6)


def test_cameras_sharpen_the_noise_of_luma_as_scipy_does() -> None:
    noise = torch.randn(2, 3, 80, 90, generator=seeded())
    sharpened = degradation.sharpen(noise, torch.tensor([0.0, 0.7])).numpy()
    assert np.array_equal(sharpened[0], noise[0].numpy())
    luma = noise[1].mean(0).numpy()
    fine = luma - gaussian_filter(luma, DegradationModel.sharpening_blur, mode="mirror", truncate=8)
    assert np.abs(sharpened[1] - noise[1].numpy() - 0.7 * fine).max() < 1e-4


def test_noise_stays_where_there_is_structure() -> None:
    """As in PolyU's pictures, where fine noise of luma is three times as strong at borders as in flat places."""
    photo = torch.full((1, 3, 200, 200), 0.35)
    photo[..., 100:] = 0.7
    chain = degradation.random_chain(1, seeded(3), model=DegradationModel(smoothed_share=1.0))
    chain = replace(
        chain, shot_noise=torch.tensor([1e-3]), read_noise=torch.zeros(1), blur=torch.tensor([[1.5, 2.0]]),
        kept=torch.tensor([[0.1, 0.1]]), spared=torch.ones(1), contrast=torch.zeros(1),
    )  # fmt: skip
    light = degradation.decode(photo, chain.contrast)
    one = torch.ones(1)
    spared, smoothed = (
        (degradation.retake(light, cameras, one, seeded()) - light).mean(1)
        for cameras in (chain, replace(chain, spared=torch.zeros(1)))
    )
    flat, border = slice(20, 80), slice(98, 100)
    assert float(spared[..., border].std()) > 2 * float(smoothed[..., border].std())
    assert float(spared[..., flat].std()) < 1.1 * float(smoothed[..., flat].std())
    low, high = degradation.structure(light, torch.tensor([1e-3]))[..., flat], degradation.structure(light, one)
    assert float(low.max()) < 1e-6
    assert 0 < float(high.max()) < 0.2  # hardly anything stands out of so much noise


@pytest.mark.parametrize(("blur", "kept"), [(0.6, 0.0), (1.0, 0.3), (3.0, 0.1), (2.0, 1.0)])
def test_the_power_that_smoothing_leaves_is_that_of_white_noise(blur: float, kept: float) -> None:
    noise = np.random.default_rng(0).standard_normal((500, 500))
    left = kept * noise + (1 - kept) * gaussian_filter(noise, blur, mode="wrap", truncate=6)
    said = degradation.power_left(torch.tensor([[blur, 1.0]]), torch.tensor([[kept, 0.5]]))
    assert float(said[0, 0]) == pytest.approx(left.var(), rel=0.05)


def test_half_of_the_cameras_smooth_and_leave_less_noise_than_others_have() -> None:
    chain = degradation.random_chain(400, seeded())
    smooths = chain.kept[:, 0] < 1
    assert 0.45 < float(smooths.float().mean()) < 0.65
    left = chain.shot_noise * degradation.power_left(chain.blur, chain.kept)[:, 0]
    low, high = DegradationModel.log_shot
    assert float(left[smooths].log().max()) <= low + DegradationModel.remaining_range * (high - low) + 1e-4
    assert float(chain.shot_noise[~smooths].log().max()) <= high
    assert float(chain.blur[:, 1].min()) >= float(chain.blur[:, 0].min())


def test_files_have_eight_bits_and_some_have_been_jpegs() -> None:
    stored = degradation.store(PHOTOS)
    assert torch.equal((stored * 255).round() / 255, stored)
    assert torch.allclose(stored, PHOTOS, atol=0.5 / 255 + 1e-6)
    many = PHOTOS.repeat(10, 1, 1, 1)
    compressed, halved = degradation.compress(many, seeded())
    clean = degradation.halve_chroma(many, halved)
    changed = [not torch.equal(a, b) for a, b in zip(compressed, degradation.store(many), strict=True)]
    assert 0.3 < np.mean(changed) < 0.7
    assert psnr(compressed, many) > 30
    assert psnr(clean, many) > psnr(compressed, many)


def test_clean_pictures_lose_the_resolution_of_chroma_that_their_jpegs_lose() -> None:
    stripes = torch.zeros(60, 3, 32, 32)
    stripes[:, 0, :, ::2], stripes[:, 2, :, 1::2] = 0.8, 0.8  # red, blue, red, blue
    compressed, halved = degradation.compress(stripes, seeded())
    clean = degradation.halve_chroma(stripes, halved)
    lost = [float(picture[0].std()) < 0.3 for picture in clean]  # 0.4 as they were
    assert 0.1 < np.mean(lost) < 0.4
    for picture, file, is_lost in zip(clean, compressed, lost, strict=True):
        assert (float(file[0].std()) < 0.3) == is_lost
        assert is_lost or torch.equal(picture, stripes[0])


def test_clean_pictures_to_denoise_have_colors_that_photographs_lack() -> None:
    def chroma(pictures: torch.Tensor) -> torch.Tensor:
        return (pictures.amax(1) - pictures.amin(1)).flatten(1).quantile(0.9, 1)

    gray = PHOTOS.mean(1, keepdim=True).expand(-1, 3, -1, -1).repeat(8, 1, 1, 1)
    _, target = degradation.noisy(gray, seeded())
    assert 0.3 < float((chroma(target) > 0.05).float().mean()) < 0.9


def test_pictures_of_cameras_that_smooth_are_soft() -> None:
    """A camera's own picture is of full size; one without its traces was made smaller, so it is crisp."""
    detail: list[float] = []
    luma: list[float] = []
    chroma: list[float] = []
    for share in (0.0, 1.0):
        simulation = Simulation(degradation=DegradationModel(smoothed_share=share))
        _, target = degradation.noisy(PHOTOS, seeded(), simulation)
        steps = target[..., 1:] - target[..., :-1]
        detail.append(float(steps.square().mean()))
        luma.append(float(steps.mean(1).square().mean()))
        chroma.append(float((steps - steps.mean(1, keepdim=True)).square().mean()))
    crisp, soft = detail
    assert soft < 0.6 * crisp
    assert chroma[1] / chroma[0] < 0.9 * luma[1] / luma[0]


def test_low_light_is_dark_and_its_target_is_the_photograph() -> None:
    simulation = Simulation(low_light=LowLightModel(relighting=0.0))
    given, target = degradation.dark(PHOTOS, seeded(), simulation)
    assert float(given.mean()) < 0.5 * float(target.mean())
    windows = PHOTOS.unfold(2, target.shape[-2], 1).unfold(3, target.shape[-1], 1).movedim(1, 3)
    assert any(torch.allclose(window, target, atol=1e-5) for window in windows.flatten(1, 2).movedim(1, 0))


def test_the_photographs_of_low_light_are_relit_one_way_and_the_other() -> None:
    photo = torch.full((200, 3, 64, 64), 0.5)
    photo[..., :32] = 1.0
    _, target = degradation.dark(photo, seeded())
    odds = [color.srgb_decode(picture[:, 0, 0, -1]).logit() for picture in (photo, target)]
    assert abs(float((odds[1] - odds[0]).mean())) < 0.1
    assert 0.25 < float((odds[1] - odds[0]).std()) < 0.45
    assert torch.allclose(target[..., 0], torch.ones(()), atol=1e-5)  # white stays white


def test_lights_that_the_photograph_blew_may_be_lamps_in_the_dark() -> None:
    photo = torch.full((60, 3, 64, 64), 0.8)
    photo[..., 32:] = 1.0
    brightest = {}
    for share in (0.0, 1.0):
        low_light = LowLightModel(underexposure=(4.0, 4.0), lamps_share=share)
        given, target = degradation.dark(photo, seeded(), Simulation(low_light=low_light))
        assert float(target.max()) <= 1
        brightest[share] = given.mean(1)[..., 40:].amax((1, 2)), given.mean(1)[..., :20].mean((1, 2))
    (plain, dim), (lamps, dim_too) = brightest.values()
    assert float(plain.max()) < 0.7
    assert 0.2 < float((lamps > 0.9).float().mean()) < 0.6  # four of six EV, and the rest is not blown
    assert torch.allclose(dim, dim_too, atol=0.01)


def test_tone_and_balance_go_astray_in_deep_dark_only() -> None:
    low_light = LowLightModel(relighting=0.0, log_shot=(-12.0, -12.0), dark_drift=(0.2, 0.2))  # as far as it goes
    photo = torch.full((100, 3, 64, 64), 0.3)
    photo[..., 32:] = 0.8
    true_step = float(color.srgb_decode(photo[0, 0, 0, -1]) / color.srgb_decode(photo[0, 0, 0, 0]))
    steps, casts = {}, {}
    for stops in (2.0, 6.0):
        simulation = Simulation(
            degradation=DegradationModel(contrast=0.0), low_light=replace(low_light, underexposure=(stops, stops))
        )
        given = color.srgb_decode(degradation.dark(photo, seeded(), simulation)[0])
        low, high = given[..., 4:20].mean((2, 3)), given[..., -20:-4].mean((2, 3))
        steps[stops] = high.mean(1) / low.mean(1) / true_step
        casts[stops] = (high / high.mean(1, keepdim=True)).std()
    assert 0.9 < float(steps[2.0].min()) <= float(steps[2.0].max()) < 1.1
    assert float(steps[6.0].quantile(0.75)) > 1.2  # lights of the bright picture were held back, of the dark one not
    assert float(casts[6.0]) > 1.5 * float(casts[2.0])


@pytest.mark.parametrize("task", TASKS)
def test_cases_may_be_smaller_than_what_smooths_noise(task: Task) -> None:
    given, truth = cases.degraded_case(task, PHOTOS[0, :, :12, :12], 0, cases.levels_of(task)[0])
    assert given.shape == truth.shape


@pytest.mark.parametrize("task", TASKS)
def test_cases_are_seeded_and_worse_from_level_to_level(task: Task) -> None:
    photo = PHOTOS[0]
    levels = cases.levels_of(task)
    made = [cases.degraded_case(task, photo, 5, level) for level in levels]
    scores = [psnr(*case) for case in made]
    assert scores == sorted(scores, reverse=True)
    assert all(torch.equal(truth, made[0][1]) for _, truth in made)
    assert torch.equal(cases.degraded_case(task, photo, 5, levels[1])[0], made[1][0])
    assert not torch.equal(cases.degraded_case(task, photo, 6, levels[1])[0], made[1][0])
    if task != "denoise-raw":
        assert torch.equal(made[0][1], photo)
