"""Training pairs of demosaiced light: what is clean comes out as it went in, and use is as training was."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

import lwisp
from lwisp.architecture import LWISPConfig
from lwisp.data import linear_light, unprocess
from lwisp.data.demosaicing import DEMOSAICINGS, Demosaicing, demosaic_light
from lwisp.data.simulation import DemosaicingModel, LightsModel, RawModel, RecoloringModel, Simulation
from lwisp.data.sources import open_data
from lwisp.engines.eager import EagerSteps
from lwisp.files.linear import DEMOSAICED, LinearImage
from lwisp.imaging import color, metrics
from lwisp.linear_planes import LinearPlanes, noise_of
from lwisp.planes import FrameExposure
from lwisp.training.recipe import Recipe, read_stages
from lwisp.training.runs import train
from lwisp.weights import InputConvention, load
from tests.conftest import ROOT

CONVENTION = InputConvention(headroom=2.0, noise=True, demosaiced=True)
PLAIN = RawModel(clean_share=1.0, overexposed_share=0.0, exposure=(0.0, 0.0), shifted_share=0.0)


def only(way: Demosaicing) -> DemosaicingModel:
    return DemosaicingModel(**{f"{name}_share": float(name == way) for name in DEMOSAICINGS})


def scene(count: int = 2, side: int = 64) -> tuple[Tensor, Tensor]:
    """Smooth light (B, 3, side, side), and its frames."""
    rows, columns = torch.meshgrid(torch.arange(side) / 9, torch.arange(side) / 13, indexing="ij")
    light = torch.stack([0.4 + 0.3 * torch.sin(rows), 0.4 + 0.3 * torch.cos(columns), 0.4 + 0.2 * torch.sin(rows + 1)])
    light = light.expand(count, 3, side, side).contiguous()
    return light, torch.nn.functional.interpolate(light, (64, 64), mode="area")


@pytest.mark.parametrize("way", DEMOSAICINGS)
def test_what_is_clean_is_its_target_already(way: Demosaicing) -> None:
    still = Simulation(
        raw=PLAIN,
        lights=LightsModel(share=0, shifted_share=0),
        recoloring=RecoloringModel(share=0),
        demosaicing=only(way),
    )
    planes, target = linear_light.simulate(*scene(), CONVENTION, torch.Generator().manual_seed(0), still)
    assert planes.shape == (2, 4, 64, 64)
    assert target.shape == (2, 3, 64, 64)
    difference = (planes[:, :3].clamp(0, 1) - target).abs()[..., 6:-6, 6:-6]
    assert float(difference.mean()) < (1e-3 if way == "none" else 8e-3)


def test_batches_follow_from_their_step(photos: Path) -> None:
    (photos.parent / "train").mkdir()
    for path in photos.iterdir():
        path.rename(photos.parent / "train" / path.name)
    data = open_data("linear", photos.parent, 64, 2, 3, CONVENTION)
    assert data.takes == "linear"
    assert all(torch.equal(one, two) for one, two in zip(data[7], data[7], strict=True))
    assert not torch.equal(data[7][0], data[8][0])
    assert data[7][0].shape == (2, 4, 64, 64)
    silent = open_data("linear", photos.parent, 64, 2, 3, replace(CONVENTION, noise=False))
    assert silent[0][0].shape == (2, 3, 64, 64)
    for kind, convention in (("photos", CONVENTION), ("linear", InputConvention(headroom=2.0))):
        with pytest.raises(lwisp.InputError, match='demosaiced = true is for data = "linear"'):
            open_data(kind, photos.parent, 64, 2, 3, convention)  # type: ignore[arg-type]


@pytest.mark.parametrize("way", DEMOSAICINGS)
def test_the_noise_that_is_told_is_what_is_measured_in_use(way: Demosaicing) -> None:
    """Flat light with known noise, demosaiced, then written as a file holds it: the measure is what training tells."""
    light = torch.linspace(0.1, 0.6, 512).expand(1, 3, 512, 512).contiguous()
    generator = torch.Generator().manual_seed(0)
    noise = torch.tensor([4e-3]), torch.tensor([2e-5])
    seen = demosaic_light(light, way, torch.ones(1, 3), *noise, generator)[0]
    rgb = (8000 + 40000 * seen).clamp(0, 65535).permute(1, 2, 0).numpy().astype(np.uint16)
    shot, read = noise_of(LinearImage(rgb, DEMOSAICED, (8000.0,) * 3, (48000.0,) * 3))
    expected = linear_light.MEASURED[way] * (4e-3 * 0.35 + 2e-5)
    assert shot * 0.35 + read == pytest.approx(expected, rel=0.15)


def test_a_case_is_prepared_as_a_file_is() -> None:
    """The case's own camera and exposure, through `LinearPlanes`, without noise: the same planes."""
    rgb = color.render(scene(1, 96)[0])[0]
    planes = linear_light.linear_case(rgb, 5, False, "none", CONVENTION)
    camera, exposure = unprocess.case_camera(torch.Generator().manual_seed(5))
    sensor = unprocess.expose(color.unrender(rgb[None]), camera, exposure).clamp(0, 1)[0]
    dn = (5000 + 50000 * sensor).round().permute(1, 2, 0).numpy().astype(np.uint16)
    gains = camera.white_balance[0].tolist()
    image = LinearImage(
        dn, DEMOSAICED, (5000.0,) * 3, (55000.0,) * 3, (gains[0], 1.0, gains[2]), camera.cam2rgb[0].numpy()
    )
    convention = replace(CONVENTION, noise=False)
    made = LinearPlanes(EagerSteps(), image, convention, frame=FrameExposure(1 / float(exposure)))
    found = np.empty(made.shape, np.float32)
    made.read(slice(0, 96), slice(0, 96), found)
    assert np.abs(found - planes[:3].numpy()).max() < 2e-3
    assert float(metrics.psnr(planes[:3].clamp(0, 1), rgb)) > 45


def test_the_recipe_of_photo_linear_trains(photos: Path, tmp_path: Path) -> None:
    (stage,) = read_stages(ROOT / "recipes" / "photo-linear.toml")
    assert isinstance(stage.architecture, LWISPConfig)
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
        for path in photos.iterdir():
            (tmp_path / name / path.name).write_bytes(path.read_bytes())
    short: Recipe = replace(
        stage, root=tmp_path, exclude_licences=(), steps=2, batch=2, crop=64, warmup=1, validate_every=2,
        architecture=replace(stage.architecture, width=4), start=None, precision="fp32",
    )  # fmt: skip
    train(short, tmp_path / "made.safetensors")
    made = load(tmp_path / "made.safetensors")
    assert made.card.takes == "linear"
    rgb = np.random.default_rng(0).integers(0, 60000, (40, 50, 3), dtype=np.uint16)
    assert lwisp.develop(made, LinearImage(rgb, DEMOSAICED)).shape == (40, 50, 3)
    wrong = replace(short, architecture=replace(stage.architecture, in_channels=3))
    with pytest.raises(lwisp.InputError, match="linear data go from demosaiced light to RGB"):
        train(wrong, tmp_path / "other.safetensors")


def test_its_recipe_begins_with_what_denoises_but_for_a_plane() -> None:
    (stage,) = read_stages(ROOT / "recipes" / "photo-linear.toml")
    lender = load("denoise").card.architecture
    assert isinstance(lender, LWISPConfig)
    assert stage.start == "denoise"
    assert replace(lender, in_channels=4) == stage.architecture
