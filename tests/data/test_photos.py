import shutil
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import lwisp
from lwisp.data.photos import Photos, find_photos
from lwisp.data.simulation import DeadLeavesModel, Simulation
from tests.conftest import refusal
from tests.samples import loaded


@pytest.fixture
def root(photos: Path, tmp_path: Path) -> Path:
    """The photographs, all to train on."""
    shutil.copytree(photos, tmp_path / "data" / "train")
    return tmp_path / "data"


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 2, 4])
def test_the_same_seed_gives_the_same_batches_however_many_workers(workers: int, root: Path) -> None:
    dataset = Photos(root, crop=32, batch=2, seed=5)
    for step, (planes, target) in enumerate(loaded(dataset, range(3, 9), workers), 3):
        expected_planes, expected_target = dataset[step]
        assert torch.equal(planes, expected_planes)
        assert torch.equal(target, expected_target)
        assert (planes.shape, target.shape) == ((2, 4, 16, 16), (2, 3, 32, 32))
        assert 0 <= float(target.min()) <= float(target.max()) <= 1
    other = Photos(root, crop=32, batch=2, seed=6)
    assert not torch.equal(other[3][0], dataset[3][0])


def test_photos_are_validated_on_their_neighbor_folder(root: Path) -> None:
    photos = Photos(root, crop=32, batch=1)
    assert list(photos.cases()) == []
    assert photos.names == ("0.png", "1.png", "2.png")
    (root / "val").mkdir()
    odd = np.array(Image.open(root / "train" / "1.png"))[:127, :159]
    Image.fromarray(odd).save(root / "val" / "a.png")
    Image.fromarray(np.full((64, 64, 3), 188, np.uint8)).save(root / "val" / "b.png")
    cases = list(photos.cases())
    assert [(case.name, case.kind) for case in cases] == list(product(("val/a.png", "val/b.png"), ("clean", "noisy")))
    expected = odd[:126, :158].transpose(2, 0, 1).astype(np.float32) / 255
    for case in cases[:2]:
        assert np.allclose(case.target, expected, atol=1e-6)
        assert case.planes.shape == (4, 63, 79)
    middle = next(photos.cases(side=32))
    assert np.allclose(middle.target, expected[:, 46:78, 62:94], atol=1e-6)
    assert len(list(photos.cases(limit=1))) == 2
    gray, noisy = (case.planes for case in cases[2:])
    assert float(gray.max() - gray.min()) < 1e-3  # gray is gray behind any camera
    assert 0.45 < float(gray.mean()) < 0.6  # 188 is half of the light, before the S-curve
    assert float(noisy.std()) > 2 * float(gray.std())
    assert torch.equal(noisy, list(photos.cases())[3].planes)


def write_licences(folder: Path, rows: str) -> None:
    (folder / "LICENCES.tsv").write_text("file\tlicence\tauthor\tsource\n" + rows)


def test_excluded_licences_are_left_out(photos: Path) -> None:
    write_licences(photos, "0.png\tCC0-1.0\tA\tS\n1.png\tCC-BY-SA-4.0\tB\tS\n2.png\tCC-BY-4.0\tC\tT\n")
    found = find_photos(photos, ("CC-BY-SA-4.0",))
    assert [(path.name, photo.licence, photo.author) for path, photo in found.items()] == [
        ("0.png", "CC0-1.0", "A"),
        ("2.png", "CC-BY-4.0", "C"),
    ]


def test_a_photo_of_unknown_licence_is_not_trained_on_where_licences_count(photos: Path) -> None:
    write_licences(photos.parent, "photos/0.png\tCC0-1.0\t\t\n")
    with pytest.raises(lwisp.InputError, match=r"1\.png: not named in LICENCES\.tsv"):
        find_photos(photos, ("CC-BY-SA-4.0",))
    assert len(find_photos(photos)) == 3


def test_folders_that_cannot_serve_are_refused(tmp_path: Path) -> None:
    train = tmp_path / "train"
    assert "expected a folder of photographs" in refusal(train, Photos, tmp_path)
    train.mkdir()
    assert "no photographs" in refusal(train, find_photos, train)
    picture = train / "a.png"
    picture.write_text("no")
    assert "not a picture" in refusal(picture, find_photos, train)
    (train / "LICENCES.tsv").write_text("name\tlicense\na.png\tMIT\n")
    assert "expected the columns" in refusal(train / "LICENCES.tsv", find_photos, train)
    (train / "LICENCES.tsv").unlink()
    Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(picture)
    assert "expected 32 px a side" in refusal(picture, Photos, tmp_path, 32)
    with pytest.raises(lwisp.InputError, match="even crop"):
        Photos(tmp_path, crop=33)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_what_denoises_sees_dead_leaves_in_a_photographs_colors_too(
    root: Path, monkeypatch: pytest.MonkeyPatch, share: float
) -> None:
    simulation = Simulation(dead_leaves=DeadLeavesModel(share=share))
    seen: list[int] = []

    def draw(side: int, palette: Tensor, generator: torch.Generator, model: DeadLeavesModel) -> Tensor:
        assert palette.shape[0] == 3
        assert 0 <= float(palette.min()) <= float(palette.max()) <= 1
        seen.append(side)
        return torch.full((3, side, side), 0.5)

    monkeypatch.setattr("lwisp.data.dead_leaves.draw", draw)
    _, target = Photos(root, 32, 4, task="denoise", simulation=simulation)[0]
    assert seen == [40] * int(4 * share)  # 8 px more than the crop, for where JPEG's blocks begin
    assert bool((target.flatten(2).std(-1) < 1 / 255).all()) == bool(share)
    Photos(root, 32, 4, task="enhance", simulation=simulation)[0]
    Photos(root, 32, 4, simulation=simulation)[0]
    assert len(seen) == int(4 * share)
