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

from lwisp import color, unprocess
from lwisp.pictures import opened
from lwisp.unprocess import Camera, uniform

Task = Literal["denoise", "denoise-raw", "enhance"]
MARGIN = 8  # px that a batch loses on each axis, so that the blocks of JPEG begin anywhere

LOG_SHOT_NOISE = (-10.4, -3.7)  # log 3e-5, log 2.5e-2; from ISO 200 of a large sensor to ISO 12800 of a small one
LOG_DARK_NOISE = (-9.2, -6.2)  # log 1e-4, log 2e-3, where little light falls on it
SMOOTHED_SHARE = 0.55  # of samples whose camera smooths its noise, its chroma more: fine grain goes, blotches stay
DARK_SMOOTHED_SHARE = 0.75  # the same in low light
LOG_LUMA_BLUR, CHROMA_WIDER = (-0.6, 0.9), (1.0, 2.5)  # log 0.55 to log 2.5 px; how much wider the chroma's blur is
LUMA_KEPT, CHROMA_KEPT = 0.5, 0.15  # share of the noise that is not blurred, at most
DARKEST = 1e-4  # of white, under which contrast does not count as structure
SOFTNESS = (0.5, 2.0)  # px of blur of photographs whose camera smooths: its own pictures are of full size, so soft
CHROMA_SOFTER = (1.0, 4.0)  # how much wider their chroma is blurred, for what smooths its noise smooths it as well
SHARPENED_SHARE, MAX_SHARPENING = 0.35, 1.0  # of cameras that sharpen; a photograph is so already, noise is not
SHARPENING_BLUR = 1.0  # px
LEFT_RANGE = 0.67  # share of the range of the log of noise, from its lower end, that is left after smoothing
MAX_BOOST = 40.0  # how much more noise a camera that smooths may begin with, in variance
TAPS = 37
CONTRAST = 0.7  # share of the smoothstep in a camera's tone, at most
COMPRESSED_SHARE, QUALITY, BEST_QUALITY = 0.5, (60, 98), 100
STOPS = (1.5, 6.0)  # EV that are lacking in low light: 2 to 5, and some beyond, where guesses would be too narrow
ASTRAY = (3.5, 5.5)  # EV where a camera's tone and balance begin to be astray, and where they are so as far as they go
RELIT = 0.35  # standard deviation of the log of how bright a photograph is made: else each is learned by heart
LAMPS_SHARE, MAX_LAMP = 0.5, 6.0  # of samples whose blown lights were brighter than white, by so many EV at most
BLOWN = 0.9  # of white in all channels, from where a photograph's light may have been brighter
SHOULDER = 2.5  # by how much more the tone lifts the dark than white, at most: in low light all of it is lifted
DRIFT, DARK_DRIFT = 0.1, (0.05, 0.2)  # standard deviation of the log of gains that are off in low light, in deep dark
CASE_DRIFT = 0.07  # the same of test cases

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
    """How many times what is finer than `SHARPENING_BLUR` is added to the noise of luma."""
    contrast: Tensor
    drift: Tensor
    """(B, 3), by what the gains are off."""


def random_chain(
    count: int,
    generator: Generator,
    log_shot_noise: tuple[float, float] = LOG_SHOT_NOISE,
    smoothed_share: float = SMOOTHED_SHARE,
) -> Chain:
    """So many cameras with chains, the noise that they leave log-uniform."""
    camera = unprocess.random_camera(count, generator)
    smooths = torch.rand(count, generator=generator) < smoothed_share
    luma_blur = uniform(count, *LOG_LUMA_BLUR, generator).exp()
    blur = torch.stack([luma_blur, luma_blur * uniform(count, *CHROMA_WIDER, generator)], 1)
    kept = torch.tensor([LUMA_KEPT, CHROMA_KEPT]) * torch.rand(count, 2, generator=generator)
    kept = torch.where(smooths[:, None], kept, 1.0)
    chroma_gain = torch.where(smooths, uniform(count, 0.3, 1.0, generator), 1.0)
    low, high = log_shot_noise
    log_shot = low + (high - low) * torch.where(smooths, LEFT_RANGE, 1.0) * torch.rand(count, generator=generator)
    boost = (1 / power_left(blur, kept)[:, 0]).clamp(max=MAX_BOOST)
    return Chain(
        camera,
        log_shot.exp() * boost,
        unprocess.read_noise_of(log_shot, generator) * boost,
        torch.randint(10, 15, (count,), generator=generator),
        uniform(count, -0.03, 0.06, generator).clamp(min=0),
        blur,
        kept,
        torch.zeros(count),
        chroma_gain,
        torch.zeros(count),
        uniform(count, 0.0, CONTRAST, generator),
        torch.ones(count, 3),
    )


def decode(rgb: Tensor, contrast: Tensor) -> Tensor:
    """Finished pictures (B, 3, H, W) of these tone curves -> linear sRGB."""
    return color.inverse_tone(rgb, contrast[:, None, None, None])


def finish(linear: Tensor, contrast: Tensor) -> Tensor:
    """Linear sRGB -> finished pictures (B, 3, H, W) in [0, 1]."""
    return color.tone(linear.clamp(0, 1), contrast[:, None, None, None])


def retake(light: Tensor, chain: Chain, exposure: Tensor, generator: Generator) -> Tensor:
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
    kept = kept + (1 - kept) * chain.spared[:, None, None, None] * structure(sensor, chain.shot_noise)
    error = smooth(error * gains[:, :, None, None], chain.blur, kept, chain.chroma_gain)
    error = sharpen(error, chain.sharpening)
    back = color.CANONICAL_TO_SRGB @ camera.cam2rgb
    return color.apply_matrix(back, sensor * gains[:, :, None, None] + error)


def structure(seen: Tensor, shot_noise: Tensor) -> Tensor:
    """How far the contrast around each pixel of (B, 3, H, W) stands out of shot noise (B,): (B, 1, H, W) in [0, 1]."""
    level = functional.pad(seen.mean(1, keepdim=True).clamp(min=DARKEST).sqrt(), (1, 1, 1, 1), mode="replicate")
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


def sharpen(noise: Tensor, amount: Tensor) -> Tensor:
    """Noise (B, 3, H, W) as cameras leave it that sharpen luma by so much (B,): an unsharp mask."""
    if not bool((amount > 0).any()):
        return noise
    luma = noise.mean(1, keepdim=True)
    fine = luma - _blur(luma, torch.full((len(noise), 1), SHARPENING_BLUR))
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


def compress(rgb: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, H, W) in [0, 1] as files hold them, some as JPEGs; and which halve chroma's sides (B,)."""
    rgb, halved = store(rgb), torch.zeros(len(rgb), dtype=torch.bool)
    draw = torch.rand(len(rgb), 3, generator=generator).tolist()
    for index, (chance, quality, sampling) in enumerate(draw):
        if chance < COMPRESSED_SHARE:
            low, high = QUALITY
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


def noisy(photo: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Photographs (B, 3, H, W) in [0, 1] -> such with a camera's noise, and clean; both lose `MARGIN`.

    What the file of the noisy one loses of chroma, the clean one lacks too: it is no noise, to be taken away.
    """
    count = len(photo)
    photo = unprocess.recolor([photo], generator)[0].clamp(0, 1)
    chain = random_chain(count, generator)
    sharpens = torch.rand(count, generator=generator) < SHARPENED_SHARE
    sharpening = torch.where(sharpens, uniform(count, 0.0, MAX_SHARPENING, generator), 0.0)
    chain = replace(chain, spared=torch.rand(count, generator=generator), sharpening=sharpening)
    softness = torch.where((chain.kept < 1).all(1), uniform(count, *SOFTNESS, generator), 0.0)
    softness = torch.stack([softness, softness * uniform(count, *CHROMA_SOFTER, generator)], 1)
    photo = smooth(photo, softness, torch.zeros(count, 2, 1, 1), torch.ones(count)).clamp(0, 1)
    taken = retake(decode(photo, chain.contrast), chain, torch.ones(count), generator)
    given, halved = compress(finish(taken, chain.contrast), generator)
    return _shift(given, halve_chroma(photo, halved), generator)


def noisy_planes(photo: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Photographs -> packed planes (B, 4, H/2, W/2) of a camera, unbalanced, with noise and without."""
    chain = random_chain(len(photo), generator)
    exposure = uniform(len(photo), -2.0, 0.3, generator).exp2()
    clean = _sensor_planes(decode(photo, chain.contrast), chain, exposure)
    noise = unprocess.random_noise(len(photo), generator)
    taken = unprocess.add_noise(clean, *noise, generator)
    return unprocess.digitize(taken, chain.bits, chain.black_level), clean


def dark(photo: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Photographs (B, 3, H, W) in [0, 1], relit by chance -> such in low light, and exposed; both lose `MARGIN`."""
    count = len(photo)
    gain = (RELIT * torch.randn(count, generator=generator)).exp()
    photo = color.srgb_encode(_lift(color.srgb_decode(photo), gain))
    chain = random_chain(count, generator, LOG_DARK_NOISE, DARK_SMOOTHED_SHARE)
    stops = uniform(count, *STOPS, generator)
    astray = ((stops - ASTRAY[0]) / (ASTRAY[1] - ASTRAY[0])).clamp(0, 1)
    spread = torch.lerp(torch.tensor(DRIFT), uniform(count, *DARK_DRIFT, generator), astray)[:, None]
    drift = (spread * torch.randn(count, 3, generator=generator)).exp()
    chain = replace(chain, contrast=chain.contrast * astray, drift=drift)
    shoulder = 1 + uniform(count, 0.0, SHOULDER, generator) * astray
    light = _lift(decode(photo, chain.contrast), 1 / shoulder) * _lamps(photo, generator)
    taken = retake(light, chain, (-stops).exp2(), generator).clamp(0, 1)
    seen = finish(_lift(taken, shoulder), chain.contrast)
    given, _ = compress(seen, generator)
    return _shift(given, photo, generator)


def _lamps(photo: Tensor, generator: Generator) -> Tensor:
    """How many times white the blown lights of (B, 3, H, W) were, 1 elsewhere: in the dark they are not blown."""
    lit = (torch.rand(len(photo), generator=generator) < LAMPS_SHARE) * uniform(len(photo), 0.0, MAX_LAMP, generator)
    blown = ((photo.amin(1, keepdim=True) - BLOWN) / (1 - BLOWN)).clamp(min=0)
    return (lit[:, None, None, None] * blown).exp2()


def _lift(light: Tensor, gain: Tensor) -> Tensor:
    """Light (B, 3, H, W) in [0, 1], the dark times `gain` (B,) and white as it is; 1 / gain undoes it."""
    gain = gain[:, None, None, None]
    return gain * light / (1 + (gain - 1) * light)


BATCHES: dict[Task, Callable[[Tensor, Generator], tuple[Tensor, Tensor]]] = {
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
