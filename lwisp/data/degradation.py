"""A photograph taken again by a random camera, in poor light: pairs of noisy and clean, of dark and well exposed.

The photograph goes back to light, a random camera sees it (`unprocess`), and its RAW is finished by a plain chain:
demosaicing, balance, matrix, tone, 8 bits, JPEG. What the sensor adds is demosaiced by itself, which a linear
demosaicing allows: the clean picture is the photograph, without any trace of a mosaic.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Generator, Tensor
from torch.nn import functional

from lwisp.data import unprocess
from lwisp.data.simulation import DegradationModel, LowLightModel, Simulation
from lwisp.data.unprocess import Camera, uniform
from lwisp.files.decoding import opened
from lwisp.imaging import color

Task = Literal["denoise", "denoise-raw", "enhance"]
MARGIN = 8  # px that a batch loses on each axis, so that the blocks of JPEG begin anywhere

TAPS = 37  # of the Gaussian kernels
BEST_QUALITY = 100
CASE_DRIFT = 0.07
"""Standard deviation of the log of white-balance errors in the test cases of low light."""
NOISE_LEVELS = {"low": (5e-4, 2e-6), "middle": (2e-3, 1e-5), "high": (1.2e-2, 3e-4)}
"""Shot and read noise of the test cases: about ISO 200, 800 and 6400; the last two as in `synthetic`."""
LIGHT_LEVELS = {"2 EV": 2.0, "3.5 EV": 3.5, "5 EV": 5.0}
"""Stops that the test cases of low light lack."""
DARK_NOISE = (5e-4, 2e-6)


@dataclass(frozen=True)
class Chain:
    """B cameras and what they do to a picture; everything but the camera (B,)."""

    camera: Camera
    shot_noise: Tensor
    read_noise: Tensor
    bits: Tensor
    black_level: Tensor
    """Share of white that lies below black."""
    blur: Tensor
    """(B, 2), standard deviation in px of what smooths the noise of luma and of chroma."""
    kept: Tensor
    """(B, 2), share of that noise that is not smoothed; 1 where the camera leaves it as it is."""
    spared: Tensor
    """Share of what is smoothed that stays where the picture has structure, for a camera would not lose it."""
    chroma_gain: Tensor
    sharpening: Tensor
    """Amount of the unsharp mask on the noise of luma."""
    contrast: Tensor
    drift: Tensor
    """(B, 3), by what the gains are off."""


def random_chain(
    count: int,
    generator: Generator,
    simulation: Simulation = Simulation(),
    model: DegradationModel | None = None,
) -> Chain:
    """So many cameras with chains, the noise that they leave log-uniform.

    `model` stands in for the simulation's degradation.
    """
    model = model or simulation.degradation
    camera = unprocess.random_camera(count, generator, simulation.cameras)
    smooths = torch.rand(count, generator=generator) < model.smoothed_share
    luma_blur = uniform(count, *model.log_luma_blur, generator).exp()
    blur = torch.stack([luma_blur, luma_blur * uniform(count, *model.chroma_wider, generator)], 1)
    kept = torch.tensor([model.luma_kept, model.chroma_kept]) * torch.rand(count, 2, generator=generator)
    kept = torch.where(smooths[:, None], kept, 1.0)
    chroma_gain = torch.where(smooths, uniform(count, *model.chroma_gain, generator), 1.0)
    low, high = model.log_shot
    width = (high - low) * torch.where(smooths, model.remaining_range, 1.0)
    log_shot = low + width * torch.rand(count, generator=generator)
    boost = (1 / power_left(blur, kept)[:, 0]).clamp(max=model.max_boost)
    read_noise = unprocess.read_noise_of(log_shot, generator, simulation.noise)
    bits, black_level = unprocess.random_digitization(count, generator, simulation.cameras)
    return Chain(
        camera,
        log_shot.exp() * boost,
        read_noise * boost,
        bits,
        black_level,
        blur,
        kept,
        torch.zeros(count),
        chroma_gain,
        torch.zeros(count),
        uniform(count, 0.0, model.contrast, generator),
        torch.ones(count, 3),
    )


def decode(rgb: Tensor, contrast: Tensor) -> Tensor:
    """Finished pictures (B, 3, H, W) of these tone curves -> linear sRGB."""
    return color.inverse_tone(rgb, contrast[:, None, None, None])


def finish(linear: Tensor, contrast: Tensor) -> Tensor:
    """Linear sRGB -> finished pictures (B, 3, H, W) in [0, 1]."""
    return color.tone(linear.clamp(0, 1), contrast[:, None, None, None])


def retake(
    light: Tensor,
    chain: Chain,
    exposure: Tensor,
    generator: Generator,
    model: DegradationModel = DegradationModel(),
) -> Tensor:
    """Linear sRGB light (B, 3, H, W), even sides, as the cameras record it at these exposures (B,), linear sRGB."""
    camera = chain.camera
    to_sensor = camera.rgb2cam * exposure[:, None, None] / camera.white_balance[:, :, None] @ color.SRGB_TO_CANONICAL
    sensor = color.apply_matrix(to_sensor, light).clamp(max=1)
    clean = unprocess.take_mosaic(sensor)
    taken = unprocess.add_noise(clean, chain.shot_noise, chain.read_noise, generator)
    taken = unprocess.digitize(taken, chain.bits, chain.black_level)
    error = color.demosaic(taken - clean)
    gains = camera.white_balance * chain.drift
    kept = chain.kept[:, :, None, None]
    kept = kept + (1 - kept) * chain.spared[:, None, None, None] * structure(
        sensor, chain.shot_noise, model.structure_floor
    )
    error = smooth(error * gains[:, :, None, None], chain.blur, kept, chain.chroma_gain)
    error = sharpen(error, chain.sharpening, model.sharpening_blur)
    back = color.CANONICAL_TO_SRGB @ camera.cam2rgb
    return color.apply_matrix(back, sensor * gains[:, :, None, None] + error)


def structure(seen: Tensor, shot_noise: Tensor, floor: float = DegradationModel.structure_floor) -> Tensor:
    """How far the contrast around each pixel of (B, 3, H, W) stands out of shot noise (B,): (B, 1, H, W) in [0, 1].

    Contrast under the level `floor` in [0, 1] does not count.
    """
    level = functional.pad(seen.mean(1, keepdim=True).clamp(min=floor).sqrt(), (1, 1, 1, 1), mode="replicate")
    down, right = level[..., 2:, 1:-1] - level[..., :-2, 1:-1], level[..., 1:-1, 2:] - level[..., 1:-1, :-2]
    contrast = functional.max_pool2d((down.square() + right.square()) / 4, 5, 1, 2)
    contrast = functional.avg_pool2d(contrast, 5, 1, 2, count_include_pad=False)
    return contrast / (contrast + shot_noise[:, None, None, None] / 4)  # of the root the noise is half the root of that


def smooth(rgb: Tensor, blur: Tensor, kept: Tensor, chroma_gain: Tensor) -> Tensor:
    """Noise or pictures (B, 3, H, W) as cameras leave them: luma and chroma blurred by (B, 2) px but for a share kept.

    The shares (B, 2, H, W) may have sides of 1.
    """
    luma = rgb.mean(1, keepdim=True)
    parts = torch.cat([luma, rgb - luma], 1)  # (B, 4, H, W)
    if bool((kept < 1).any()):
        parts = torch.lerp(_blur(parts, blur[:, [0, 1, 1, 1]]), parts, kept[:, [0, 1, 1, 1]])
    return parts[:, :1] + chroma_gain[:, None, None, None] * parts[:, 1:]


def sharpen(noise: Tensor, amount: Tensor, sigma: float = DegradationModel.sharpening_blur) -> Tensor:
    """Noise (B, 3, H, W) as cameras leave it that sharpen luma by so much (B,): an unsharp mask of `sigma` px."""
    if not bool((amount > 0).any()):
        return noise
    luma = noise.mean(1, keepdim=True)
    fine = luma - _blur(luma, torch.full((len(noise), 1), sigma))
    return noise + amount[:, None, None, None] * fine


def power_left(blur: Tensor, kept: Tensor) -> Tensor:
    """What is left of the variance of white noise that is blurred by `blur` px but for a share `kept`; any shape."""
    kernels = _kernels(blur.flatten())
    middle, square = (values.square().reshape(blur.shape) for values in (kernels[:, TAPS // 2], kernels.norm(dim=1)))
    return kept.square() + 2 * kept * (1 - kept) * middle + (1 - kept).square() * square.square()


def _blur(parts: Tensor, blur: Tensor) -> Tensor:
    """Planes (B, C, H, W), each blurred by its own standard deviation (B, C) in px; H and W above TAPS // 2."""
    kernels = _kernels(blur.flatten())
    flat = functional.pad(parts.reshape(1, -1, *parts.shape[-2:]), (TAPS // 2,) * 4, mode="reflect")
    flat = functional.conv2d(flat, kernels[:, None, None], groups=len(kernels))
    flat = functional.conv2d(flat, kernels[:, None, :, None], groups=len(kernels))
    return flat.reshape(parts.shape)


def _kernels(blur: Tensor) -> Tensor:
    """Gaussian kernels (n, TAPS) of these standard deviations (n,) in px."""
    places = torch.arange(TAPS) - TAPS // 2
    return torch.softmax(-(places**2) / (2 * blur.clamp(min=0.05)[:, None] ** 2), -1)


def store(rgb: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1] as files of 8 bits hold them."""
    return (rgb * 255).round() / 255


def compress(rgb: Tensor, generator: Generator, model: DegradationModel = DegradationModel()) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, H, W) in [0, 1] as files hold them, some as JPEGs; and which halve chroma's sides (B,)."""
    rgb, halved = store(rgb), torch.zeros(len(rgb), dtype=torch.bool)
    draw = torch.rand(len(rgb), 3, generator=generator).tolist()
    for index, (chance, quality, sampling) in enumerate(draw):
        if chance < model.compressed_share:
            low, high = model.quality
            halved[index] = sampling < 0.5
            rgb[index] = _through_jpeg(rgb[index], low + int(quality * (high + 1 - low)), bool(halved[index]))
    return rgb, halved


def halve_chroma(rgb: Tensor, halved: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1], those marked (B,) with chroma of half the resolution, as JPEGs have it."""
    marked = zip(rgb, halved.tolist(), strict=True)
    return torch.stack([_through_jpeg(picture, BEST_QUALITY, True) if mark else picture for picture, mark in marked])


def _through_jpeg(rgb: Tensor, quality: int, halved: bool) -> Tensor:
    file = io.BytesIO()
    pixels = (rgb * 255).round().permute(1, 2, 0).to(torch.uint8).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2 if halved else 0)
    with opened(file.getvalue(), formats=("JPEG",)) as picture:
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255


def noisy(photo: Tensor, generator: Generator, simulation: Simulation = Simulation()) -> tuple[Tensor, Tensor]:
    """Photographs (B, 3, H, W) in [0, 1] -> such with a camera's noise, and clean; both lose `MARGIN`.

    What the file of the noisy one loses of chroma, the clean one lacks too: it is no noise, to be taken away.
    """
    count, model = len(photo), simulation.degradation
    photo = unprocess.recolor([photo], generator, simulation.recoloring)[0].clamp(0, 1)
    chain = random_chain(count, generator, simulation)
    sharpens = torch.rand(count, generator=generator) < model.sharpened_share
    sharpening = torch.where(sharpens, uniform(count, 0.0, model.max_sharpening, generator), 0.0)
    chain = replace(chain, spared=torch.rand(count, generator=generator), sharpening=sharpening)
    softness = torch.where((chain.kept < 1).all(1), uniform(count, *model.softness, generator), 0.0)
    softness = torch.stack([softness, softness * uniform(count, *model.chroma_softer, generator)], 1)
    photo = smooth(photo, softness, torch.zeros(count, 2, 1, 1), torch.ones(count)).clamp(0, 1)
    taken = retake(decode(photo, chain.contrast), chain, torch.ones(count), generator, model)
    given, halved = compress(finish(taken, chain.contrast), generator, model)
    return _shift(given, halve_chroma(photo, halved), generator)


def noisy_planes(photo: Tensor, generator: Generator, simulation: Simulation = Simulation()) -> tuple[Tensor, Tensor]:
    """Photographs -> packed planes (B, 4, H/2, W/2) of a camera, unbalanced, with noise and without."""
    model = simulation.denoised_raw
    chain = random_chain(len(photo), generator, simulation)
    exposure = uniform(len(photo), *model.exposure, generator).exp2()
    clean = _sensor_planes(decode(photo, chain.contrast), chain, exposure)
    noise = unprocess.random_noise(len(photo), generator, replace(simulation.noise, log_shot=model.log_shot))
    taken = unprocess.add_noise(clean, *noise, generator)
    return unprocess.digitize(taken, chain.bits, chain.black_level), clean


def dark(photo: Tensor, generator: Generator, simulation: Simulation = Simulation()) -> tuple[Tensor, Tensor]:
    """Photographs (B, 3, H, W) in [0, 1], relit by chance -> such in low light, and exposed; both lose `MARGIN`."""
    count, low_light = len(photo), simulation.low_light
    model = replace(simulation.degradation, log_shot=low_light.log_shot, smoothed_share=low_light.smoothed_share)
    gain = (low_light.relighting * torch.randn(count, generator=generator)).exp()
    photo = color.srgb_encode(_lift(color.srgb_decode(photo), gain))
    chain = random_chain(count, generator, simulation, model)
    stops = uniform(count, *low_light.underexposure, generator)
    begin, full = low_light.error_ramp
    astray = ((stops - begin) / (full - begin)).clamp(0, 1)
    dark_drift = uniform(count, *low_light.dark_drift, generator)
    spread = torch.lerp(torch.tensor(low_light.drift), dark_drift, astray)[:, None]
    drift = (spread * torch.randn(count, 3, generator=generator)).exp()
    chain = replace(chain, contrast=chain.contrast * astray, drift=drift)
    shoulder = 1 + uniform(count, 0.0, low_light.shoulder, generator) * astray
    light = _lift(decode(photo, chain.contrast), 1 / shoulder) * _lamps(photo, generator, low_light)
    taken = retake(light, chain, (-stops).exp2(), generator, model).clamp(0, 1)
    seen = finish(_lift(taken, shoulder), chain.contrast)
    given, _ = compress(seen, generator, model)
    return _shift(given, photo, generator)


def _lamps(photo: Tensor, generator: Generator, model: LowLightModel) -> Tensor:
    """How many times white the blown lights of (B, 3, H, W) were, 1 elsewhere: in the dark they are not blown."""
    some = torch.rand(len(photo), generator=generator) < model.lamps_share
    lit = some * uniform(len(photo), 0.0, model.max_lamp, generator)
    blown = ((photo.amin(1, keepdim=True) - model.blown) / (1 - model.blown)).clamp(min=0)
    return (lit[:, None, None, None] * blown).exp2()


def _lift(light: Tensor, gain: Tensor) -> Tensor:
    """Light (B, 3, H, W) in [0, 1], the dark times `gain` (B,) and white as it is; 1 / gain undoes it."""
    gain = gain[:, None, None, None]
    return gain * light / (1 + (gain - 1) * light)


BATCHES: dict[Task, Callable[[Tensor, Generator, Simulation], tuple[Tensor, Tensor]]] = {
    "denoise": noisy,
    "denoise-raw": noisy_planes,
    "enhance": dark,
}
"""Photographs (B, 3, H, W) in [0, 1] -> what a network is given in training, and what it should make of it."""


def levels_of(task: Task) -> tuple[str, ...]:
    """The names of the levels that the test cases of a task have."""
    return tuple(LIGHT_LEVELS if task == "enhance" else NOISE_LEVELS)


def case(task: Task, photo: Tensor, seed: int, level: str) -> tuple[Tensor, Tensor]:
    """The seeded test case of a photograph (3, H, W) in [0, 1], even sides: what is given, and the truth.

    A random camera of 14 bits with a plain sRGB curve, which smooths nothing; no JPEG. The truth is the photograph, or
    for "denoise-raw" the planes without noise; at every level of a seed the camera is the same.
    """
    generator = torch.Generator().manual_seed(seed)
    camera = unprocess.random_camera(1, generator)
    zero, one = torch.zeros(1), torch.ones(1)
    drift = (CASE_DRIFT * torch.randn(1, 3, generator=generator)).exp() if task == "enhance" else torch.ones(1, 3)
    shot, read = DARK_NOISE if task == "enhance" else NOISE_LEVELS[level]
    bits, black = torch.tensor([14]), torch.tensor([0.03])
    as_it_is = torch.ones(1, 2)
    chain = Chain(camera, shot * one, read * one, bits, black, as_it_is, as_it_is, zero, one, zero, zero, drift)
    light = decode(photo[None], zero)
    exposure = one * 2 ** -LIGHT_LEVELS[level] if task == "enhance" else one
    if task == "denoise-raw":
        clean = _sensor_planes(light, chain, exposure)
        taken = unprocess.add_noise(clean, chain.shot_noise, chain.read_noise, generator)
        return unprocess.digitize(taken, bits, black)[0], clean[0]
    return store(finish(retake(light, chain, exposure, generator), zero))[0], photo


def _sensor_planes(light: Tensor, chain: Chain, exposure: Tensor) -> Tensor:
    canonical = color.apply_matrix(color.SRGB_TO_CANONICAL, light)
    return unprocess.take_mosaic(unprocess.expose(canonical, chain.camera, exposure).clamp(0, 1))


def _shift(picture: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Both without `MARGIN` rows and columns, so many of them taken from the top and the left, by chance."""
    top, left = torch.randint(MARGIN + 1, (2,), generator=generator).tolist()
    rows, columns = slice(top, picture.shape[-2] - MARGIN + top), slice(left, picture.shape[-1] - MARGIN + left)
    return picture[..., rows, columns], target[..., rows, columns]
