import shutil
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import lwisp
from lwisp.data.crops import Crops
from lwisp.data.datasets import AS_SENSED
from lwisp.data.sources import open_data
from lwisp.weights import InputConvention
from tests.conftest import refusal
from tests.samples import save


@pytest.fixture
def root(photos: Path, tmp_path: Path) -> Path:
    """The photographs, all to train on."""
    shutil.copytree(photos, tmp_path / "data" / "train")
    return tmp_path / "data"


@pytest.mark.parametrize("augment", [True, False])
def test_the_data_of_a_folder_are_opened_by_their_kind(augment: bool, root: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    dark, picture = (rng.integers(0, 255, (40, 48, 3), np.uint8) for _ in range(2))
    for split in ("our485", "eval15"):
        save(tmp_path / "lol" / split / "low" / "1.png", dark)
        save(tmp_path / "lol" / split / "high" / "1.png", picture)
    for index, (folder, values) in product(range(2), (("input", dark), ("target", picture))):
        save(tmp_path / "pairs" / folder / f"{index}.png", values)
    for index, (word, values) in product(range(2), (("NOISY", dark), ("GT", picture))):
        save(tmp_path / "sidd" / f"000{index}_00{index}_GP_x" / f"000{index}_{word}_SRGB_010.PNG", values)
    for split in ("train", "val"):
        save(tmp_path / "polyu" / split / "1_real.png", dark)
        save(tmp_path / "polyu" / split / "1_mean.png", picture)
    cache = tmp_path / "cache"
    cache.mkdir()
    for kind in ("lol", "pairs", "sidd", "polyu"):
        data = open_data(kind, tmp_path / kind, 40, 2, 0, InputConvention(), (), augment, cache)
        assert isinstance(data, Crops)
        assert (data.takes, len(data.names), len(list(data.cases())), data.augment) == ("rgb", 1, 1, augment)
        source, target = data[0]
        if not augment:
            places = [left for left in range(9) if np.allclose(source[0], scaled(dark, left), atol=1e-6)]
            assert len(places) == 1
            assert np.allclose(target[0], scaled(picture, places[0]), atol=1e-6)
    assert len(list(cache.iterdir())) == 4
    photos = open_data("photos", root, 32, 2, 0, InputConvention())
    assert photos.takes == "raw"
    assert photos[0][0].shape == (2, 4, 16, 16)


def scaled(picture: NDArray[np.uint8], left: int) -> NDArray[np.float32]:
    return (picture[:, left : left + 40].transpose(2, 0, 1) / 255).astype(np.float32)


@pytest.mark.parametrize(("kind", "side", "folders"), [
    ("zurich", 448, ("train/huawei_raw", "train/canon", "test/huawei_raw", "test/canon")),
    ("mai21", 256, ("train/mediatek_raw", "train/fujifilm", "val/mediatek_raw", "val/fujifilm")),
])  # fmt: skip
def test_the_data_of_one_camera_are_opened_at_the_convention_of_the_weights(
    kind: Any, side: int, folders: tuple[str, ...], tmp_path: Path
) -> None:
    for folder in folders:
        values = np.full((side, side), 300, np.uint16) if "raw" in folder else np.full((side, side, 3), 90, np.uint8)
        save(tmp_path / folder / "0.png", values)
    kept = InputConvention("keep", "none", "camera", "none")
    planes, target = open_data(kind, tmp_path, 32, 2, 0, kept)[0]
    assert planes.shape == (2, 4, 16, 16)
    assert planes.flatten().tolist() == pytest.approx([300 / 1023] * planes.numel())
    assert target.flatten().tolist() == pytest.approx([90 / 255] * target.numel())
    planes, _ = open_data(kind, tmp_path, 32, 2, 0, AS_SENSED)[0]
    assert planes.flatten().tolist() == pytest.approx([237 / 960] * planes.numel())
    with pytest.raises(lwisp.InputError, match="its convention must say"):
        open_data(kind, tmp_path, 32, 2, 0, InputConvention())


def test_unknown_kinds_and_missing_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(lwisp.InputError, match="unknown data 'films'; expected one of photos, linear, denoise"):
        open_data("films", tmp_path, 32, 2, 0, InputConvention())  # type: ignore[arg-type]
    nowhere = tmp_path / "nowhere"
    assert "no such folder" in refusal(nowhere, open_data, "lol", nowhere, 32, 2, 0, InputConvention())
