"""Degraded photographs: pairs of noisy and clean pictures, and of dark and well exposed ones.

A photograph goes back to linear light, a random camera records it (`unprocess`), and its RAW is finished by a plain
chain: demosaicing, white balance, matrix, tone, 8 bits, JPEG. What the sensor adds is demosaiced by itself, which is
possible because the demosaicing is linear: the clean picture is the photograph, without traces of a mosaic. What each
effect is for: docs/training-data.md.
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
MARGIN = 8
"""px that a batch loses on each axis, so that the 8x8 blocks of JPEG begin anywhere."""
TAPS = 37
"""px, length of the Gaussian kernels."""
BEST_QUALITY = 100
"""JPEG quality that loses next to nothing but the resolution of chroma."""


@dataclass(frozen=True)
class Chain:
    """B cameras and what they do to a picture; everything but the camera is (B,) where nothing else is said."""

    camera: Camera
    shot_noise: Tensor
    """Variance of noise per signal, the signal in [0, 1]."""
    read_noise: Tensor
    """Variance of noise without signal."""
    bits: Tensor
    """Bit depth of the RAW."""
    black_level: Tensor
    """Share of white that lies below black."""
    blur: Tensor
    """(B, 2), Gaussian sigma in px that denoising blurs the noise of luma and of chroma with."""
    kept: Tensor
    """(B, 2), share of that noise that is not blurred; 1 where the camera does not denoise."""
    spared: Tensor
    """Share of the blurred noise that stays where the picture has structure, which denoising cameras spare."""
    chroma_gain: Tensor
    """Factor of chroma noise."""
    sharpening: Tensor
    """Amount of the unsharp mask on the noise of luma."""
    contrast: Tensor
    """Share of the smoothstep in the tone curve."""
    drift: Tensor
    """(B, 3), factors by which the white-balance gains are off."""


def random_chain(
    count: int,
    generator: Generator,
    simulation: Simulation = Simulation(),
    model: DegradationModel | None = None,
) -> Chain:
    """Random cameras with chains; the noise that they leave is log-uniform.

    Args:
        count: number B of cameras.
        generator: of all draws.
        simulation: constants.
        model: replaces `simulation.degradation`.
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
    """Undo `finish`: finished pictures as linear sRGB (B, 3, H, W).

    Args:
        rgb: (B, 3, H, W) in [0, 1].
        contrast: (B,), share of the smoothstep in the tone curves.
    """
    return color.inverse_tone(rgb, contrast[:, None, None, None])


def finish(linear: Tensor, contrast: Tensor) -> Tensor:
    """Linear sRGB as finished pictures (B, 3, H, W) in [0, 1].

    Args:
        linear: (B, 3, H, W), is clipped to [0, 1].
        contrast: (B,), share of the smoothstep in the tone curves.
    """
    return color.tone(linear.clamp(0, 1), contrast[:, None, None, None])


def retake(
    light: Tensor,
    chain: Chain,
    exposure: Tensor,
    generator: Generator,
    model: DegradationModel = DegradationModel(),
) -> Tensor:
    """Light as cameras record it: noise, quantization and clipping, their own denoising and sharpening.

    Args:
        light: (B, 3, H, W), linear sRGB in [0, 1], even sides.
        chain: the cameras.
        exposure: (B,), factors.
        generator: of the noise.
        model: constants.

    Returns:
        (B, 3, H, W), linear sRGB, not clipped.
    """
    camera = chain.camera
    to_sensor = camera.rgb2cam * exposure[:, None, None] / camera.white_balance[:, :, None] @ color.SRGB_TO_CANONICAL
    sensor = color.apply_matrix(to_sensor, light).clamp(max=1)
    clean = unprocess.take_mosaic(sensor)
    taken = unprocess.add_noise(clean, chain.shot_noise, chain.read_noise, generator)
    taken = unprocess.digitize(taken, chain.bits, chain.black_level)
    error = color.demosaic(taken - clean)
    gains = camera.white_balance * chain.drift
    kept = chain.kept[:, :, None, None]
    structured = structure(sensor, chain.shot_noise, model.structure_floor)
    kept = kept + (1 - kept) * chain.spared[:, None, None, None] * structured
    error = smooth(error * gains[:, :, None, None], chain.blur, kept, chain.chroma_gain)
    error = sharpen(error, chain.sharpening, model.sharpening_blur)
    back = color.CANONICAL_TO_SRGB @ camera.cam2rgb
    return color.apply_matrix(back, sensor * gains[:, :, None, None] + error)


def structure(seen: Tensor, shot_noise: Tensor, floor: float = DegradationModel.structure_floor) -> Tensor:
    """Structure around each pixel: its contrast against that of shot noise.

    Args:
        seen: (B, 3, H, W), the sensor's signal in [0, 1].
        shot_noise: (B,).
        floor: signal under which contrast does not count.

    Returns:
        (B, 1, H, W), from 0 where there is only noise to 1.
    """
    level = functional.pad(seen.mean(1, keepdim=True).clamp(min=floor).sqrt(), (1, 1, 1, 1), mode="replicate")
    down = level[..., 2:, 1:-1] - level[..., :-2, 1:-1]
    right = level[..., 1:-1, 2:] - level[..., 1:-1, :-2]
    contrast = functional.max_pool2d((down.square() + right.square()) / 4, 5, 1, 2)
    contrast = functional.avg_pool2d(contrast, 5, 1, 2, count_include_pad=False)
    return contrast / (contrast + shot_noise[:, None, None, None] / 4)  # the variance of its square root is a quarter


def smooth(rgb: Tensor, blur: Tensor, kept: Tensor, chroma_gain: Tensor) -> Tensor:
    """Blur luma and chroma, as denoising cameras do.

    Args:
        rgb: (B, 3, H, W), noise or pictures; luma is the mean of the channels.
        blur: (B, 2), Gaussian sigma in px of luma and chroma.
        kept: (B, 2, H, W) or (B, 2, 1, 1), shares that are not blurred.
        chroma_gain: (B,), factor of chroma.
    """
    luma = rgb.mean(1, keepdim=True)
    parts = torch.cat([luma, rgb - luma], 1)  # (B, 4, H, W)
    if bool((kept < 1).any()):
        parts = torch.lerp(_blur(parts, blur[:, [0, 1, 1, 1]]), parts, kept[:, [0, 1, 1, 1]])
    return parts[:, :1] + chroma_gain[:, None, None, None] * parts[:, 1:]


def sharpen(noise: Tensor, amount: Tensor, sigma: float = DegradationModel.sharpening_blur) -> Tensor:
    """Sharpen luma by an unsharp mask.

    Args:
        noise: (B, 3, H, W).
        amount: (B,); 0 leaves a sample as it is.
        sigma: of the mask's Gaussian in px.
    """
    if not bool((amount > 0).any()):
        return noise
    luma = noise.mean(1, keepdim=True)
    fine = luma - _blur(luma, torch.full((len(noise), 1), sigma))
    return noise + amount[:, None, None, None] * fine


def power_left(blur: Tensor, kept: Tensor) -> Tensor:
    """Share of the variance of white noise that is left after it was blurred.

    Args:
        blur: any shape, Gaussian sigma in px.
        kept: of the same shape, shares of the noise that are not blurred.
    """
    kernels = _kernels(blur.flatten())
    center = kernels[:, TAPS // 2].square().reshape(blur.shape)  # of a kernel in two dimensions
    power = kernels.norm(dim=1).square().reshape(blur.shape)  # in one
    left: Tensor = kept.square() + 2 * kept * (1 - kept) * center + (1 - kept).square() * power.square()
    return left


def _blur(parts: Tensor, blur: Tensor) -> Tensor:
    """Planes (B, C, H, W), each blurred by its own Gaussian sigma (B, C) in px; H and W above TAPS // 2."""
    kernels = _kernels(blur.flatten())
    flat = functional.pad(parts.reshape(1, -1, *parts.shape[-2:]), (TAPS // 2,) * 4, mode="reflect")
    flat = functional.conv2d(flat, kernels[:, None, None], groups=len(kernels))
    flat = functional.conv2d(flat, kernels[:, None, :, None], groups=len(kernels))
    return flat.reshape(parts.shape)


def _kernels(blur: Tensor) -> Tensor:
    """Gaussian kernels (n, TAPS), summing to 1, of sigma (n,) in px."""
    places = torch.arange(TAPS) - TAPS // 2
    return torch.softmax(-(places**2) / (2 * blur.clamp(min=0.05)[:, None] ** 2), -1)


def store(rgb: Tensor) -> Tensor:
    """Pictures rounded to 8 bits.

    Args:
        rgb: (B, 3, H, W) in [0, 1].

    Returns:
        (B, 3, H, W), multiples of 1/255.
    """
    return (rgb * 255).round() / 255


def compress(rgb: Tensor, generator: Generator, model: DegradationModel = DegradationModel()) -> tuple[Tensor, Tensor]:
    """Round pictures to 8 bits and compress some of them.

    Args:
        rgb: (B, 3, H, W) in [0, 1].
        generator: of all draws.
        model: constants.

    Returns:
        The pictures (B, 3, H, W), and which of them have chroma of half the resolution (B,).
    """
    rgb, halved = store(rgb), torch.zeros(len(rgb), dtype=torch.bool)
    lowest, highest = model.quality
    draws = torch.rand(len(rgb), 3, generator=generator).tolist()
    for index, (chance, place, sampling) in enumerate(draws):
        if chance < model.compressed_share:
            quality = lowest + int(place * (highest + 1 - lowest))
            halved[index] = sampling < model.halved_share
            rgb[index] = _through_jpeg(rgb[index], quality, bool(halved[index]))
    return rgb, halved


def halve_chroma(rgb: Tensor, halved: Tensor) -> Tensor:
    """Halve the resolution of chroma of some pictures, as JPEG does.

    Args:
        rgb: (B, 3, H, W) in [0, 1].
        halved: (B,), of which.
    """
    marked = zip(rgb, halved.tolist(), strict=True)
    return torch.stack([_through_jpeg(picture, BEST_QUALITY, True) if mark else picture for picture, mark in marked])


def _through_jpeg(rgb: Tensor, quality: int, halved: bool) -> Tensor:
    """A picture (3, H, W) in [0, 1], compressed and decoded; `halved`: with chroma of half the resolution."""
    file = io.BytesIO()
    pixels = (rgb * 255).round().permute(1, 2, 0).to(torch.uint8).numpy()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling=2 if halved else 0)
    with opened(file.getvalue(), formats=("JPEG",)) as picture:
        return torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255


def noisy(photo: Tensor, generator: Generator, simulation: Simulation = Simulation()) -> tuple[Tensor, Tensor]:
    """A batch for denoising finished pictures.

    Where the noisy picture's file halves the resolution of chroma, the clean one's is halved too: that is no noise.

    Args:
        photo: (B, 3, H, W) in [0, 1], even sides.
        generator: of all draws.
        simulation: constants.

    Returns:
        Noisy and clean pictures (B, 3, H - 8, W - 8) in [0, 1].
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
    """A batch for denoising RAW.

    Args:
        photo: (B, 3, H, W) in [0, 1], even sides.
        generator: of all draws.
        simulation: constants.

    Returns:
        Noisy and clean planes (B, 4, H/2, W/2) as sensed, not balanced, black at 0 and white at 1.
    """
    model = simulation.denoised_raw
    chain = random_chain(len(photo), generator, simulation)
    exposure = uniform(len(photo), *model.exposure, generator).exp2()
    clean = sensor_planes(decode(photo, chain.contrast), chain, exposure)
    noise = unprocess.random_noise(len(photo), generator, replace(simulation.noise, log_shot=model.log_shot))
    taken = unprocess.add_noise(clean, *noise, generator)
    return unprocess.digitize(taken, chain.bits, chain.black_level), clean


def dark(photo: Tensor, generator: Generator, simulation: Simulation = Simulation()) -> tuple[Tensor, Tensor]:
    """A batch for low light.

    Args:
        photo: (B, 3, H, W) in [0, 1], even sides; made brighter or darker at random first.
        generator: of all draws.
        simulation: constants.

    Returns:
        Underexposed and well exposed pictures (B, 3, H - 8, W - 8) in [0, 1].
    """
    count, low_light = len(photo), simulation.low_light
    model = replace(simulation.degradation, log_shot=low_light.log_shot, smoothed_share=low_light.smoothed_share)
    gain = (low_light.relighting * torch.randn(count, generator=generator)).exp()
    photo = color.srgb_encode(_lift(color.srgb_decode(photo), gain))
    chain = random_chain(count, generator, simulation, model)
    stops = uniform(count, *low_light.underexposure, generator)
    begin, full = low_light.error_ramp
    error = ((stops - begin) / (full - begin)).clamp(0, 1)  # of tone and white balance, from none to full strength
    dark_drift = uniform(count, *low_light.dark_drift, generator)
    spread = torch.lerp(torch.tensor(low_light.drift), dark_drift, error)[:, None]
    drift = (spread * torch.randn(count, 3, generator=generator)).exp()
    chain = replace(chain, contrast=chain.contrast * error, drift=drift)
    shoulder = 1 + uniform(count, 0.0, low_light.shoulder, generator) * error
    light = _lift(decode(photo, chain.contrast), 1 / shoulder)
    light = light * _lamps(photo, generator, low_light)
    taken = retake(light, chain, (-stops).exp2(), generator, model).clamp(0, 1)
    given, _ = compress(finish(_lift(taken, shoulder), chain.contrast), generator, model)
    return _shift(given, photo, generator)


def _lamps(photo: Tensor, generator: Generator, model: LowLightModel) -> Tensor:
    """Factors (B, 1, H, W) by which clipped lights of a photo (B, 3, H, W) were brighter than white; 1 elsewhere."""
    some = torch.rand(len(photo), generator=generator) < model.lamps_share
    lit = some * uniform(len(photo), 0.0, model.max_lamp, generator)
    blown = ((photo.amin(1, keepdim=True) - model.blown) / (1 - model.blown)).clamp(min=0)
    return (lit[:, None, None, None] * blown).exp2()


def _lift(light: Tensor, gain: Tensor) -> Tensor:
    """A tone curve with a shoulder: g x / (1 + (g - 1) x); shadows are multiplied by the gain (B,), white is kept.

    `light` is (B, 3, H, W) in [0, 1]; 1 / gain undoes it.
    """
    gain = gain[:, None, None, None]
    return gain * light / (1 + (gain - 1) * light)


BATCHES: dict[Task, Callable[[Tensor, Generator, Simulation], tuple[Tensor, Tensor]]] = {
    "denoise": noisy,
    "denoise-raw": noisy_planes,
    "enhance": dark,
}
"""Makes of photographs (B, 3, H, W) in [0, 1] the input and the target of a batch."""


def sensor_planes(light: Tensor, chain: Chain, exposure: Tensor) -> Tensor:
    """Light as sensors see it without noise, clipped.

    Args:
        light: (B, 3, H, W), linear sRGB, even sides.
        chain: the cameras.
        exposure: (B,), factors.

    Returns:
        Planes (B, 4, H/2, W/2) in [0, 1], not balanced.
    """
    canonical = color.apply_matrix(color.SRGB_TO_CANONICAL, light)
    return unprocess.take_mosaic(unprocess.expose(canonical, chain.camera, exposure).clamp(0, 1))


def _shift(picture: Tensor, target: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Both without `MARGIN` rows and columns, a random number of them removed from the top and the left."""
    top, left = torch.randint(MARGIN + 1, (2,), generator=generator).tolist()
    rows, columns = slice(top, picture.shape[-2] - MARGIN + top), slice(left, picture.shape[-1] - MARGIN + left)
    return picture[..., rows, columns], target[..., rows, columns]
