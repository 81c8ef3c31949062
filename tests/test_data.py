from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import lwisp
from lwisp import color
from lwisp.data import Photos, find_photos, simulate


@pytest.mark.parametrize("workers", [0, 2])
def test_the_same_seed_gives_the_same_batches_however_many_workers(workers: int, photos: Path) -> None:
    dataset = Photos(find_photos(photos), crop=32, batch=2, seed=5)
    loader: DataLoader[Any] = DataLoader(
        dataset,  # type: ignore[arg-type]
        batch_size=None,
        sampler=range(3, 7),
        num_workers=workers,
    )
    for step, (planes, target) in enumerate(loader, 3):
        expected_planes, expected_target = dataset[step]
        assert torch.equal(planes, expected_planes)
        assert torch.equal(target, expected_target)
        assert (planes.shape, target.shape) == ((2, 4, 16, 16), (2, 3, 32, 32))
        assert 0 <= float(target.min()) <= float(target.max()) <= 1
    other = Photos(find_photos(photos), crop=32, batch=2, seed=6)
    assert not torch.equal(other[3][0], dataset[3][0])


def test_planes_and_target_show_the_same_thing() -> None:
    generator = torch.Generator().manual_seed(0)
    light = torch.rand(64, 3, 1, 1, generator=generator) * 0.6 + 0.02
    planes, target = simulate(light.expand(64, 3, 8, 8), light.expand(64, 3, 64, 64), generator)
    seen = color.render(planes.mean((2, 3))[:, [0, 1, 3], None, None])
    difference = (seen - target[:, :, :1, :1]).abs().amax((1, 2, 3))
    assert float(difference.median()) < 0.03  # noise, defects and clipping shift some


def test_a_single_dot_stays_on_its_spot() -> None:
    light = torch.full((16, 3, 32, 32), 0.05)
    light[:, :, 10:12, 20:22] = 0.8
    frame = torch.full((16, 3, 64, 64), 0.9)
    planes, target = simulate(light, frame, torch.Generator().manual_seed(3))
    for one, truth in zip(planes, target, strict=True):
        assert divmod(int(one.sum(0).argmax()), 16) == (5, 10)
        assert divmod(int(truth.sum(0)[::2, ::2].argmax()), 16) == (5, 10)


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
    with pytest.raises(lwisp.InputError, match="expected a folder of photographs"):
        find_photos(tmp_path / "none")
    with pytest.raises(lwisp.InputError, match="no photographs"):
        find_photos(tmp_path)
    (tmp_path / "a.png").write_text("no")
    with pytest.raises(lwisp.InputError, match="not a picture"):
        find_photos(tmp_path)
    (tmp_path / "LICENCES.tsv").write_text("name\tlicense\na.png\tMIT\n")
    with pytest.raises(lwisp.InputError, match="expected the columns"):
        find_photos(tmp_path)
    (tmp_path / "LICENCES.tsv").unlink()
    Image.fromarray(np.zeros((20, 40, 3), np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(lwisp.InputError, match="expected 32 px a side"):
        Photos(find_photos(tmp_path), crop=32)
    with pytest.raises(lwisp.InputError, match="even crop"):
        Photos(find_photos(tmp_path), crop=33)
