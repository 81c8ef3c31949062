"""The inverse pipeline: finished photographs as the RAW that a random camera would have recorded.

After Brooks et al., "Unprocessing Images for Learned Raw Denoising", CVPR 2019, the LW-ISP paper's [5]: tone, color
matrix, gains, exposure, mosaic, noise. The forward pipeline is in `imaging.mosaic` and `imaging.color`. All functions
take batches and a `torch.Generator`, so that a seed fixes every sample.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional

from lwisp.data.simulation import CameraModel, NoiseModel, RawModel, RecoloringModel, Simulation, TellingModel
from lwisp.imaging import color, highlights, matrices
from lwisp.weights import InputConvention

XYZ2CAM = np.array(
    [
        [4716, 603, -830, -7798, 15474, 2480, -1496, 1937, 6651],  # Canon EOS 5D Mark II
        [6722, -635, -963, -4287, 12460, 2028, -908, 2162, 5668],  # Canon EOS 5D Mark III
        [6257, -303, -1000, -7880, 15621, 2396, -1714, 1904, 7046],  # Canon EOS 30D
        [8606, -2573, -949, -8237, 15489, 2974, -2649, 3076, 9100],  # Canon PowerShot S40
        [8139, -2171, -663, -8747, 16541, 2295, -1925, 2008, 8093],  # Nikon D3
        [7309, -1403, -519, -8474, 16008, 2622, -2433, 2826, 8064],  # Nikon D5000
        [6988, -1384, -714, -5631, 13410, 2447, -1485, 2204, 7318],  # Nikon D3300
        [8813, -3210, -1036, -4703, 12868, 2021, -1054, 1940, 6129],  # Nikon D500
    ],
    np.float32,
).reshape(-1, 3, 3) / np.float32(10000)
"""XYZ (D65) to camera, (8, 3, 3): Adobe's matrices of real sensors, as in LibRaw's tables."""
CANON_30D = XYZ2CAM[2]
"""That of the Canon EOS 30D."""
GOPRO_CAM2SRGB = np.array(
    [[1.5330, -0.1789, -0.3542], [-0.2848, 1.6791, -0.3943], [-0.0289, -0.4421, 1.4710]], np.float32
)
"""The matrix that GoPro's HERO6 and HERO7 write into their DNG files."""

ISO_NOISE = {200: (5e-4, 2e-6), 800: (2e-3, 1e-5), 6400: (1.2e-2, 3e-4)}
"""Shot and read noise at about these ISO values, for samples and test cases."""
COLOR_PART = 64
"""Side in px of the parts of a crop in which bright colors are measured: about that of a frame of 12 MP."""
CASE_NOISE = NoiseModel(log_shot=(-9.2103, -4.4228))
"""Noise of the test cases: shot noise of 1e-4 to 1.2e-2, as in [5]."""


@dataclass(frozen=True)
class Camera:
    """A batch of B cameras."""

    rgb2cam: Tensor
    """(B, 3, 3), canonical RGB to balanced camera RGB."""
    white_balance: Tensor
    """(B, 3), as-shot gains, G = 1."""

    @property
    def cam2rgb(self) -> Tensor:
        """(B, 3, 3), balanced camera RGB to canonical RGB."""
        inverse: Tensor = torch.linalg.inv(self.rgb2cam)
        return inverse


def random_camera(count: int, generator: Generator, model: CameraModel = CameraModel()) -> Camera:
    """Random cameras: convex mixtures of real matrices, random gains.

    Args:
        count: number B of cameras.
        generator: of all draws.
        model: constants.
    """
    cam2rgb = np.stack([*matrices.cam2rgb_from_xyz(XYZ2CAM), matrices.cam2rgb_from_srgb(GOPRO_CAM2SRGB)])
    known = torch.linalg.inv(torch.from_numpy(cam2rgb))
    share = -(torch.rand(count, len(known), generator=generator).clamp(min=1e-6).log() ** 3)  # often near one of them
    rgb2cam = torch.einsum("bk,kij->bij", share / share.sum(-1, keepdim=True), known)
    red = uniform(count, *model.red_gain, generator)
    blue = uniform(count, *model.blue_gain, generator)
    return Camera(rgb2cam, torch.stack([red, torch.ones(count), blue], -1))


def random_noise(count: int, generator: Generator, model: NoiseModel = CASE_NOISE) -> tuple[Tensor, Tensor]:
    """Random `shot_noise` and `read_noise` (B,), as in [5]: variance = shot_noise * signal + read_noise.

    Args:
        count: number B of cameras.
        generator: of all draws.
        model: constants.
    """
    log_shot = uniform(count, *model.log_shot, generator)
    return log_shot.exp(), read_noise_of(log_shot, generator, model)


def read_noise_of(log_shot: Tensor, generator: Generator, model: NoiseModel = CASE_NOISE) -> Tensor:
    """Random `read_noise` (B,), log-normal around a line over the logarithm of shot noise, as in [5].

    Args:
        log_shot: (B,), natural logarithm of shot noise.
        generator: of all draws.
        model: constants.
    """
    line = model.read_slope * log_shot + model.read_offset
    log_read = line + model.read_spread * torch.randn(len(log_shot), generator=generator)
    return log_read.exp()


def expose(canonical: Tensor, camera: Camera, exposure: Tensor) -> Tensor:
    """The signal of the sensors in full color, white at 1, not clipped.

    Args:
        canonical: (B, 3, H, W), linear canonical light.
        camera: B cameras.
        exposure: (B,), factors.

    Returns:
        (B, 3, H, W).
    """
    to_sensor = camera.rgb2cam * exposure[:, None, None] / camera.white_balance[:, :, None]
    return color.apply_matrix(to_sensor, canonical)


def take_mosaic(sensor: Tensor) -> Tensor:
    """Sample one color at each photosite of an RGGB mosaic.

    Args:
        sensor: (B, 3, H, W), even sides.

    Returns:
        Planes (B, 4, H/2, W/2).
    """
    red, green, blue = sensor.unbind(1)
    return torch.stack([red[:, ::2, ::2], green[:, ::2, 1::2], green[:, 1::2, ::2], blue[:, 1::2, 1::2]], 1)


def add_noise(packed: Tensor, shot_noise: Tensor, read_noise: Tensor, generator: Generator) -> Tensor:
    """Add Gaussian noise of variance shot_noise * signal + read_noise.

    Args:
        packed: (B, 4, h, w), black at 0 and white at 1.
        shot_noise: (B,).
        read_noise: (B,).
        generator: of the noise.
    """
    variance = shot_noise[:, None, None, None] * packed.clamp(min=0) + read_noise[:, None, None, None]
    return packed + variance.sqrt() * torch.randn(packed.shape, generator=generator)


def add_defects(packed: Tensor, density: Tensor, generator: Generator) -> Tensor:
    """Make photosites defective: 20 % of these dead (0), 40 % clipped (1), the others uniform between.

    Args:
        packed: (B, 4, h, w), black at 0 and white at 1.
        density: (B,), share of defective photosites.
        generator: of all draws.
    """
    where = torch.rand(packed.shape, generator=generator) < density[:, None, None, None]
    value = (2.5 * torch.rand(packed.shape, generator=generator) - 0.5).clamp(0, 1)
    return torch.where(where, value, packed)


def digitize(packed: Tensor, bits: Tensor, black_level: Tensor) -> Tensor:
    """Quantize, and clip at white and at DN 0.

    Args:
        packed: (B, 4, h, w), black at 0 and white at 1.
        bits: (B,), bit depth.
        black_level: (B,), share of white by which DN 0 lies below black.
    """
    steps = (2**bits - 1)[:, None, None, None]
    floor = -black_level[:, None, None, None]
    return torch.round(packed * steps).div(steps).clamp(max=1).maximum(floor)


def uniform(count: int, low: float, high: float, generator: Generator) -> Tensor:
    """Values drawn from a uniform distribution.

    Args:
        count: How many.
        low: Lower bound.
        high: Upper bound.
        generator: Random source; one draw for each value.

    Returns:
        (count,) float32 between the bounds.
    """
    return low + (high - low) * torch.rand(count, generator=generator)


def random_digitization(count: int, generator: Generator, model: CameraModel) -> tuple[Tensor, Tensor]:
    """Random bit depths (B,) and black levels (B,) in shares of white, for `digitize`.

    Args:
        count: number B of cameras.
        generator: of all draws.
        model: constants.
    """
    lowest, highest = model.bits
    bits = torch.randint(lowest, highest + 1, (count,), generator=generator)
    return bits, uniform(count, *model.black_level, generator).clamp(min=0)


def simulate(
    canonical: Tensor, frame: Tensor, generator: Generator, simulation: Simulation = Simulation()
) -> tuple[Tensor, Tensor]:
    """A batch for developing RAW: crops of photographs behind random cameras, and their targets.

    Args:
        canonical: (B, 3, H, W), linear light of the crops, even sides.
        frame: (B, 3, 64, 64), that of their whole photographs.
        generator: of all draws.
        simulation: constants.

    Returns:
        Canonical planes (B, 4, H/2, W/2) at the frame's exposure, and sRGB targets (B, 3, H, W) in [0, 1].
    """
    count = len(canonical)
    canonical, frame = _recolored(canonical, frame, generator, simulation)
    camera = random_camera(count, generator, simulation.cameras)
    model = simulation.raw
    over, exposure = _random_exposure(count, generator, model)
    seen = color.balance(expose(frame, camera, exposure).clamp(max=1)[:, [0, 1, 1, 2]], camera.white_balance)
    gain = color.exposure_gain(color.apply_matrix(camera.cam2rgb, seen[:, [0, 1, 3]])[:, [0, 1, 1, 2]])
    shift = uniform(count, *model.shift, generator)
    shift = torch.where(over, shift.abs(), shift)  # a darker frame would show what clipping had taken
    gain = gain * torch.where(torch.rand(count, generator=generator) < model.shifted_share, shift, 0.0).exp2()

    packed, _, _ = _take(expose(canonical, camera, exposure), gain, generator, simulation)
    planes = color.canonicalize(packed, camera.white_balance, camera.cam2rgb) * gain[:, None, None, None]
    return planes, color.render(canonical * (exposure * gain)[:, None, None, None])


@dataclass(frozen=True)
class Scene:
    """A batch of B scenes, and how they are exposed in the sensor and in the picture."""

    light: Tensor
    """(B, 3, H, W), linear canonical light, with light above white."""
    camera: Camera
    exposure: Tensor
    """(B,), factors in the sensor."""
    gain: Tensor
    """(B,), factors after it, by the exposure rule and the user."""
    white: Tensor
    """(B,), exposed light that the shoulder makes white."""

    @property
    def target(self) -> Tensor:
        """(B, 3, H, W), what the shoulder makes of the scene, sRGB in [0, 1]."""
        exposed = self.light * self.exposure[:, None, None, None] * self.gain[:, None, None, None]
        return color.render(highlights.shoulder(exposed, self.white[:, None, None, None]))


def headroom_scene(
    canonical: Tensor, frame: Tensor, convention: InputConvention, generator: Generator, simulation: Simulation
) -> Scene:
    """Photographs as scenes with light above white, behind random cameras.

    A photograph has no light above white, and its lights were laid below it by some shoulder. Here they are stretched
    by the inverse of ours, so that they are a scene's again; the target is what our shoulder makes of that scene.

    Args:
        canonical: (B, 3, H, W), linear light of the crops.
        frame: (B, 3, 64, 64), that of their whole photographs.
        convention: headroom.
        generator: of all draws.
        simulation: constants.
    """
    count = len(canonical)
    model, lights = simulation.raw, simulation.lights
    canonical, frame = _recolored(canonical, frame, generator, simulation)
    stretched = torch.rand(count, generator=generator) < lights.share
    top = torch.where(stretched, uniform(count, 0, convention.headroom, generator), 0.0).exp2()[:, None, None, None]
    canonical, frame = (highlights.stretch(light.clamp(max=1), top) for light in (canonical, frame))
    camera = random_camera(count, generator, simulation.cameras)
    over, exposure = _random_exposure(count, generator, model)

    seen = expose(frame, camera, exposure).clamp(max=1)[:, [0, 1, 1, 2]]
    seen = rebuilt(seen, camera, color.GRID)
    grid = color.apply_matrix(camera.cam2rgb, seen[:, [0, 1, 3]])[:, [0, 1, 1, 2]]
    gain = color.exposure_gain(grid)
    shift = uniform(count, *model.shift, generator)
    shift = torch.where(over, shift.abs(), shift)  # a darker frame would show what clipping had taken
    shifted = torch.rand(count, generator=generator) < lights.shifted_share
    gain = gain * torch.where(shifted, shift, 0.0).exp2()
    brightest = grid.amax((1, 2, 3))
    white = (brightest * gain).clamp(1, 2**convention.headroom)
    weakened = torch.rand(count, generator=generator) < lights.weakened_share
    white = white ** torch.where(weakened, torch.rand(count, generator=generator), 1.0)
    return Scene(canonical, camera, exposure, gain, white)


def simulate_headroom(
    canonical: Tensor, frame: Tensor, convention: InputConvention, generator: Generator, simulation: Simulation
) -> tuple[Tensor, Tensor]:
    """`simulate` for a network with headroom: light above white, rebuilt highlights, a shoulder, the noise told.

    Args:
        canonical: (B, 3, H, W), linear light of the crops, even sides of 8 px at least.
        frame: (B, 3, 64, 64), that of their whole photographs.
        convention: headroom, and whether the noise is told.
        generator: of all draws.
        simulation: constants.

    Returns:
        Planes (B, 4, H/2, W/2), or (B, 5, H/2, W/2) where the noise is told, and sRGB targets (B, 3, H, W) in [0, 1].
    """
    scene = headroom_scene(canonical, frame, convention, generator, simulation)
    camera, gain, white = scene.camera, scene.gain[:, None, None, None], scene.white[:, None, None, None]
    sensor = expose(scene.light, camera, scene.exposure)
    packed, shot_noise, read_noise = _take(sensor, scene.gain, generator, simulation)
    exposed = gain * color.mix_planes(rebuilt(packed, camera, parts_of(canonical.shape[-1])), camera.cam2rgb)
    planes = highlights.shoulder(exposed, white)
    if convention.noise:
        told = told_noise(shot_noise, read_noise, scene.gain, generator, simulation.telling)
        planes = torch.cat([planes, color.noise_plane(exposed, told)], 1)
    return planes, scene.target


def parts_of(side: int) -> int:
    """Parts along the side of a crop of so many px in which bright colors are measured."""
    return int(max(1, 2 ** round(math.log2(max(side / COLOR_PART, 1)))))


def _recolored(canonical: Tensor, frame: Tensor, generator: Generator, simulation: Simulation) -> tuple[Tensor, Tensor]:
    """Light of crops and of their frames, recolored alike."""
    encoded = [light.clamp(min=1e-6) ** (1 / 2.2) for light in (canonical, frame)]
    recolored = recolor(encoded, generator, simulation.recoloring)
    return recolored[0] ** 2.2, recolored[1] ** 2.2


def _random_exposure(count: int, generator: Generator, model: RawModel) -> tuple[Tensor, Tensor]:
    """Whether samples are overexposed (B,), and their exposure (B,)."""
    over = torch.rand(count, generator=generator) < model.overexposed_share
    above = uniform(count, *model.overexposure, generator)
    below = uniform(count, *model.exposure, generator)
    return over, torch.where(over, above, below).exp2()


def _take(sensor: Tensor, gain: Tensor, generator: Generator, simulation: Simulation) -> tuple[Tensor, Tensor, Tensor]:
    """What the sensor records of a signal (B, 3, H, W) that will be multiplied by `gain` (B,).

    Returns:
        Planes (B, 4, H/2, W/2) with noise and defects, digitized; shot and read noise (B,) of the sensor.
    """
    count, model = len(sensor), simulation.raw
    packed = take_mosaic(sensor.clamp(max=1))
    shot_noise, read_noise = sensor_noise(gain, generator, simulation)
    packed = add_noise(packed, shot_noise, read_noise, generator)
    density = 10 ** uniform(count, *model.log10_defect_density, generator)
    defective = torch.rand(count, generator=generator) < model.defect_share
    packed = add_defects(packed, torch.where(defective, density, 0.0), generator)
    bits, black = random_digitization(count, generator, simulation.cameras)
    clean = shot_noise + read_noise == 0
    packed = digitize(packed, torch.where(clean, simulation.cameras.bits[1], bits), black)
    return packed, shot_noise, read_noise


def sensor_noise(gain: Tensor, generator: Generator, simulation: Simulation) -> tuple[Tensor, Tensor]:
    """Random shot and read noise (B,) of sensors whose signal will be multiplied by a gain; some have none.

    Args:
        gain: (B,).
        generator: of all draws.
        simulation: constants.
    """
    shot_noise, read_noise = random_noise(len(gain), generator, simulation.noise)
    clean = torch.rand(len(gain), generator=generator) < simulation.raw.clean_share
    return torch.where(clean, 0.0, shot_noise / gain), torch.where(clean, 0.0, read_noise / gain**2)


def rebuilt(packed: Tensor, camera: Camera, parts: int) -> Tensor:
    """Balanced planes with rebuilt highlights.

    Args:
        packed: (B, C, h, w), R, Gr, Gb, B or RGB, black at 0 and white at 1.
        camera: B cameras.
        parts: a side, in which bright colors are measured.

    Returns:
        Of the same shape.
    """
    evidence = functional.adaptive_avg_pool2d(highlights.bright_colors(packed, camera.white_balance), parts)
    colors = functional.interpolate(highlights.spread_colors(evidence), packed.shape[-2:], mode="bilinear")
    return highlights.rebuild(packed, camera.white_balance, colors)


def told_noise(
    shot_noise: Tensor, read_noise: Tensor, gain: Tensor, generator: Generator, model: TellingModel
) -> Tensor:
    """The noise of exposed planes that a network is told: that of the sensor, more or less.

    Args:
        shot_noise: (B,), of the sensor.
        read_noise: (B,).
        gain: (B,), that the planes are multiplied by.
        generator: of all draws.
        model: constants.

    Returns:
        (B, 2), shot and read noise.
    """
    count = len(gain)
    factor = (2 * model.error * torch.randn(count, generator=generator)).exp()  # of the variance
    floor = (2 * uniform(count, *model.log_floor, generator)).exp()
    silent = torch.rand(count, generator=generator) < model.silent_share
    shot, read = factor * gain * shot_noise, factor * gain**2 * read_noise
    read = torch.where((shot + read == 0) & ~silent, floor, read)
    return torch.stack([shot, read], -1)


def recolor(
    pictures: Sequence[Tensor], generator: Generator, model: RecoloringModel = RecoloringModel()
) -> list[Tensor]:
    """Randomly recolor a subset of the samples; the same transform is applied to every batch in `pictures`.

    Channels are mixed so that gray stays gray, then black and white of each are shifted: dark twigs before a sky
    become green before violet, and detail in luminance becomes detail in color.

    Args:
        pictures: batches (B, 3, H, W) of display-referred values in [0, 1].
        generator: of all draws.
        model: constants.

    Returns:
        Batches of the same shapes; values may reach 1.2.
    """
    count = len(pictures[0])
    some = (torch.rand(count, generator=generator) < model.share)[:, None, None, None]
    mix = model.mixing * torch.randn(count, 3, 3, generator=generator)
    mix = torch.eye(3) + mix - mix.mean(-1, keepdim=True)
    black, fall = model.level_shift * torch.rand(2, count, 3, 1, 1, generator=generator) ** 2
    return [
        torch.where(some, black + (1 - fall - black) * color.apply_matrix(mix, picture).clamp(0, 1.2), picture)
        for picture in pictures
    ]


@dataclass(frozen=True)
class Capture:
    """One synthetic RAW and how it was made."""

    packed: Tensor
    """(1, 4, H/2, W/2), black at 0 and white at 1."""
    camera: Camera
    """One camera."""
    exposure: Tensor
    """(1,), factor."""
    noise: Tensor
    """(1, 2), shot and read noise; 0 for none."""

    def planes(self, convention: InputConvention = InputConvention()) -> Tensor:
        """A network's input, prepared with the true gains, matrix, exposure and noise.

        Args:
            convention: headroom, though there is no light above white, and whether the noise is told.

        Returns:
            Canonical planes (1, 4, H/2, W/2), or (1, 5, H/2, W/2) where the noise is told.
        """
        if not convention.headroom:
            return color.canonicalize(self.packed, self.camera.white_balance, self.camera.cam2rgb) / self.exposure
        planes = color.mix_planes(rebuilt(self.packed, self.camera, color.GRID), self.camera.cam2rgb) / self.exposure
        if not convention.noise:
            return planes
        told = self.noise / torch.stack([self.exposure, self.exposure**2], -1)
        return torch.cat([planes, color.noise_plane(planes, told)], 1)


def case_camera(generator: Generator) -> tuple[Camera, Tensor]:
    """A random camera, and an exposure (1,) of 0.8 of white (standard deviation 0.1) as in [5], for a test case.

    Args:
        generator: of all draws.
    """
    camera = random_camera(1, generator)
    return camera, (0.8 + 0.1 * torch.randn(1, generator=generator)).clamp(0.5, 1)


def capture(rgb: Tensor, seed: int, noisy: bool) -> Capture:
    """The seeded synthetic RAW of a photograph: the test case of evaluation.

    A random camera, exposure 0.8 of white (standard deviation 0.1) as in [5], 14 bits above a black level of 3 % of
    white. Noise is drawn last: both cases of a seed share the camera.

    Args:
        rgb: (3, H, W) in [0, 1], even sides.
        seed: of all draws.
        noisy: whether noise is added, drawn as in [5].
    """
    generator = torch.Generator().manual_seed(seed)
    camera, exposure = case_camera(generator)
    packed = take_mosaic(expose(color.unrender(rgb[None]), camera, exposure).clamp(0, 1))
    noise = torch.zeros(1), torch.zeros(1)
    if noisy:
        noise = random_noise(1, generator)
        packed = add_noise(packed, *noise, generator)
    digitized = digitize(packed, torch.tensor([14]), torch.tensor([0.03]))
    return Capture(digitized, camera, exposure, torch.stack(noise, -1))
