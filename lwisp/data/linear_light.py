"""Training pairs and validation cases for networks that take demosaiced light: photographs behind random cameras.

The scene is that of `unprocess.headroom_scene`; between sensor and network stands one of several demosaicings.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Generator, Tensor

from lwisp.data import unprocess
from lwisp.data.cases import Case, crop_middle
from lwisp.data.datasets import read_tensor
from lwisp.data.demosaicing import DEMOSAICINGS, Demosaicing, demosaic_light
from lwisp.data.simulation import DemosaicingModel, Simulation
from lwisp.data.unprocess import Camera
from lwisp.imaging import color, highlights
from lwisp.weights import InputConvention

MEASURED: dict[Demosaicing, float] = {"malvar": 1.0, "bilinear": 1.0, "xtrans": 0.79, "none": 1.0}
"""Variance of the noise as `linear_planes.noise_of` measures it, in that of the sensor (docs/input-convention.md)."""


def random_way(generator: Generator, model: DemosaicingModel = DemosaicingModel()) -> Demosaicing:
    """A random demosaicing.

    Args:
        generator: Random source; one draw.
        model: The shares.
    """
    shares = torch.tensor([getattr(model, f"{way}_share") for way in DEMOSAICINGS])
    return DEMOSAICINGS[int(torch.multinomial(shares, 1, generator=generator))]


def simulate(
    canonical: Tensor, frame: Tensor, convention: InputConvention, generator: Generator, simulation: Simulation
) -> tuple[Tensor, Tensor]:
    """A batch for developing demosaiced light: `unprocess.simulate_headroom` with one demosaicing for all of it.

    Args:
        canonical: (B, 3, H, W), linear light of the crops, even sides of 8 px at least.
        frame: (B, 3, 64, 64), that of their whole photographs.
        convention: headroom, and whether the noise is told.
        generator: of all draws.
        simulation: constants.

    Returns:
        Planes (B, 3, H, W), or (B, 4, H, W) where the noise is told, and sRGB targets (B, 3, H, W) in [0, 1].
    """
    scene = unprocess.headroom_scene(canonical, frame, convention, generator, simulation)
    way = random_way(generator, simulation.demosaicing)
    camera, gain, white = scene.camera, scene.gain[:, None, None, None], scene.white[:, None, None, None]
    sensor = unprocess.expose(scene.light, camera, scene.exposure).clamp(max=1)
    shot, read = unprocess.sensor_noise(scene.gain, generator, simulation)
    seen = demosaic_light(sensor, way, camera.white_balance, shot, read, generator)
    bits, black = unprocess.random_digitization(len(seen), generator, simulation.cameras)
    seen = unprocess.digitize(seen, torch.where(shot + read == 0, simulation.cameras.bits[1], bits), black)
    exposed = gain * _canonical_light(seen, camera, unprocess.parts_of(canonical.shape[-1]))
    planes = color.encode(highlights.shoulder(exposed, white))
    if convention.noise:
        measured = MEASURED[way] * shot, MEASURED[way] * read
        told = unprocess.told_noise(*measured, scene.gain, generator, simulation.telling)
        planes = torch.cat([planes, color.noise_plane(exposed, told)], 1)
    return planes, scene.target


def _canonical_light(seen: Tensor, camera: Camera, parts: int) -> Tensor:
    """Camera RGB (B, 3, H, W) as linear canonical light with rebuilt highlights."""
    return color.apply_matrix(camera.cam2rgb, unprocess.rebuilt(seen, camera, parts))


def linear_cases(photos: Iterable[tuple[int, Path]], side: int | None, convention: InputConvention) -> Iterator[Case]:
    """Photographs as demosaiced light, each without and with noise, by the camera of `unprocess.capture`.

    Args:
        photos: a seed and a file each; the seed decides the demosaicing too.
        side: px of the middle that is taken; None takes whole pictures.
        convention: headroom, though there is no light above white, and whether the noise is told.
    """
    for seed, path in photos:
        truth = crop_middle(read_tensor(path), side)
        for kind in ("clean", "noisy"):
            planes = linear_case(truth, seed, kind == "noisy", DEMOSAICINGS[seed % len(DEMOSAICINGS)], convention)
            yield Case(f"{path.parent.name}/{path.name}", kind, planes, truth)


def linear_case(rgb: Tensor, seed: int, noisy: bool, way: Demosaicing, convention: InputConvention) -> Tensor:
    """A photograph as a network sees it behind a seeded camera, prepared with the true gains, exposure and noise.

    Args:
        rgb: (3, H, W) in [0, 1], even sides of 8 px at least.
        seed: of all draws.
        noisy: whether noise is added, drawn as in `unprocess.capture`.
        way: the demosaicing.
        convention: whether the noise is told.

    Returns:
        Planes (3, H, W), or (4, H, W) where the noise is told.
    """
    generator = torch.Generator().manual_seed(seed)
    camera, exposure = unprocess.case_camera(generator)
    sensor = unprocess.expose(color.unrender(rgb[None]), camera, exposure).clamp(0, 1)
    shot, read = unprocess.random_noise(1, generator) if noisy else (torch.zeros(1), torch.zeros(1))
    seen = demosaic_light(sensor, way, camera.white_balance, shot, read, generator)
    seen = unprocess.digitize(seen, torch.tensor([14]), torch.tensor([0.03]))
    exposed = _canonical_light(seen, camera, color.GRID) / exposure
    planes = color.encode(exposed)
    if convention.noise:
        told = MEASURED[way] * torch.stack([shot / exposure, read / exposure**2], -1)
        planes = torch.cat([planes, color.noise_plane(exposed, told)], 1)
    return planes[0]
