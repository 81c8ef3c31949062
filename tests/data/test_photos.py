import shutil
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

import lwisp
from lwisp.data.datasets import AS_SENSED, Pairs
from lwisp.data.photos import Crops, Data, Photos, cut, find_photos, open_data
from lwisp.data.simulation import DeadLeavesModel, Simulation
from lwisp.model import Takes
from lwisp.weights import InputConvention
from tests.conftest import WriteDng, refusal


@pytest.fixture
def root(photos: Path, tmp_path: Path) -> Path:
    """The photographs, all to train on."""
    shutil.copytree(photos, tmp_path / "data" / "train")
    return tmp_path / "data"


class Drawn:
    """Pictures out of memory: mosaics that tell color and place (see `coded`), or RGB that tells the place."""

    convention = AS_SENSED

    def __init__(self, takes: Takes, *shapes: tuple[int, int]) -> None:
        self.takes: Takes = takes
        self.shapes = shapes
        self.names = self.groups = tuple(str(index) for index in range(len(shapes)))
        self.notes: tuple[str, ...] = ("drawn",)

    def read(self, index: int) -> tuple[Tensor, Tensor]:
        mosaic, target = coded(*self.shapes[index])
        return (mosaic, target) if self.takes == "raw" else (target, target)


def coded(height: int, width: int) -> tuple[Tensor, Tensor]:
    """A mosaic with red 1, green 2 and blue 3 plus ten times the place, and a target of the place; a dot in both."""
    rows, columns = np.indices((height, width))
    place = rows * width + columns
    color = np.array([1, 2, 2, 3])[rows % 2 * 2 + columns % 2]
    target = np.stack([place, rows, columns])
    return torch.from_numpy(color + 10 * place)[None].float(), torch.from_numpy(target).float()


def has_phase(mosaic: Tensor) -> bool:
    """Whether a coded mosaic begins with red of RGGB."""
    color = mosaic[0] % 10
    places = ((0, 0, 1), (0, 1, 2), (1, 0, 2), (1, 1, 3))
    return all(bool((color[row::2, column::2] == code).all()) for row, column, code in places)


def save(path: Path, values: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def loaded(data: Data, steps: range, workers: int, start: str | None = None) -> list[tuple[Tensor, Tensor]]:
    loader: DataLoader[Any] = DataLoader(
        data,  # type: ignore[arg-type]
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        multiprocessing_context=start,
    )
    return list(loader)


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


def write_pairs(root: Path, write_dng: WriteDng | None) -> None:
    """Three pairs of noise, RAW or finished."""
    rng = np.random.default_rng(0)
    for folder in ("input", "target"):
        (root / folder).mkdir()
        for index in range(3):
            if write_dng and folder == "input":
                write_dng(rng.integers(0, 4095, (40, 48)).astype(np.uint16), name=f"input/{index}.dng")
            else:
                save(root / folder / f"{index}.png", rng.integers(0, 255, (40, 48, 3), np.uint8))


def open_pairs(root: Path, seed: int) -> Crops:
    return Crops(Pairs(root), Pairs(root, "held-out"), crop=32, batch=2, seed=seed)


@pytest.mark.filterwarnings("ignore:This DataLoader will create")
@pytest.mark.parametrize("workers", [0, 2, 4])
def test_crops_of_files_are_the_same_however_many_workers(workers: int, tmp_path: Path) -> None:
    write_pairs(tmp_path, None)
    expected = open_pairs(tmp_path, 5)
    for step, (source, target) in enumerate(loaded(open_pairs(tmp_path, 5), range(3, 9), workers), 3):
        assert torch.equal(source, expected[step][0])
        assert torch.equal(target, expected[step][1])
        assert (source.shape, target.shape) == ((2, 3, 32, 32), (2, 3, 32, 32))
    assert not torch.equal(expected[3][0], expected[4][0])
    assert not torch.equal(open_pairs(tmp_path, 6)[3][0], expected[3][0])


def test_crops_of_raw_are_the_same_in_another_process(tmp_path: Path, write_dng: WriteDng) -> None:
    write_pairs(tmp_path, write_dng)
    expected = open_pairs(tmp_path, 5)
    batches = loaded(open_pairs(tmp_path, 5), range(3, 5), 1, "spawn")  # LibRaw must not be forked
    for step, (planes, target) in enumerate(batches, 3):
        assert torch.equal(planes, expected[step][0])
        assert torch.equal(target, expected[step][1])
        assert (planes.shape, target.shape) == ((2, 4, 16, 16), (2, 3, 32, 32))


@pytest.mark.parametrize("shape", [(12, 16), (13, 17), (8, 13), (10, 8)])
def test_every_photosite_stays_on_its_spot_and_in_its_color(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    mosaic, target = coded(*shape)
    places = set()
    for _ in range(800):
        picture, truth = cut(mosaic, target, 8, generator, augment=True)
        assert (picture.shape, truth.shape) == ((1, 8, 8), (3, 8, 8))
        assert torch.equal((picture[0] / 10).floor(), truth[0])
        assert has_phase(picture)
        places.add(int(truth[0].min()))
    rows, columns = (range(size - 7) for size in shape)
    assert places == {row * shape[1] + column for row, column in product(rows, columns)}


def test_a_dot_stays_on_its_spot() -> None:
    generator = torch.Generator().manual_seed(0)
    mosaic, target = torch.zeros(1, 20, 20), torch.zeros(3, 20, 20)
    mosaic[0, 9, 10], target[:, 9, 10] = 1, 1
    spots = set()
    for _ in range(300):
        picture, truth = cut(mosaic, target, 16, generator, augment=True)
        assert int(picture.argmax()) == int(truth[0].argmax())
        spots.add(divmod(int(picture.argmax()), 16))
    assert len(spots) > 12
    assert {(row % 2, column % 2) for row, column in spots} == {(0, 1), (1, 0)}  # green stays green


def test_rgb_is_turned_in_all_eight_ways() -> None:
    generator = torch.Generator().manual_seed(0)
    _, picture = coded(8, 8)
    seen = set()
    for _ in range(200):
        first, second = cut(picture, picture, 8, generator, augment=True)
        assert torch.equal(first, second)
        seen.add(tuple(first[0].flatten().tolist()))
    square = picture[0].numpy()
    ways = [np.rot90(way, turns) for way in (square, square.T) for turns in range(4)]
    assert seen == {tuple(way.ravel().tolist()) for way in ways}


def test_a_mosaic_as_large_as_its_crop_is_transposed_at_most() -> None:
    generator = torch.Generator().manual_seed(0)
    mosaic, target = coded(8, 8)
    seen = set()
    for _ in range(50):
        picture, truth = cut(mosaic, target, 8, generator, augment=True)
        assert torch.equal((picture[0] / 10).floor(), truth[0])
        seen.add(tuple(truth[0].flatten().tolist()))
    square = target[0].numpy()
    assert seen == {tuple(square.ravel().tolist()), tuple(square.T.ravel().tolist())}


@pytest.mark.parametrize("takes", ["raw", "rgb"])
def test_without_augmentation_crops_are_plain(takes: Takes) -> None:
    generator = torch.Generator().manual_seed(0)
    mosaic, target = coded(13, 16)
    starts = set()
    for _ in range(300):
        picture, truth = cut(mosaic if takes == "raw" else target, target, 8, generator, augment=False)
        top, left = int(truth[1, 0, 0]), int(truth[2, 0, 0])
        assert torch.equal(truth, target[:, top : top + 8, left : left + 8])
        assert torch.equal(picture, (mosaic if takes == "raw" else target)[:, top : top + 8, left : left + 8])
        starts.add((top, left))
    step = 2 if takes == "raw" else 1
    assert starts == set(product(range(0, 6, step), range(0, 9, step)))


def test_a_batch_of_mosaics_is_packed() -> None:
    crops = Crops(Drawn("raw", (40, 50), (60, 36)), Drawn("raw"), crop=32, batch=6)
    planes, target = crops[0]
    assert (planes.shape, target.shape) == ((6, 4, 16, 16), (6, 3, 32, 32))
    for plane, (row, column, code) in enumerate(((0, 0, 1), (0, 1, 2), (1, 0, 2), (1, 1, 3))):
        assert torch.equal(planes[:, plane], 10 * target[:, 0, row::2, column::2] + code)
    assert (crops.takes, crops.convention, crops.names, crops.notes) == ("raw", AS_SENSED, ("0", "1"), ("drawn",))


def test_pictures_are_decoded_once_while_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []

    class Counted(Drawn):
        def read(self, index: int) -> tuple[Tensor, Tensor]:
            reads.append(index)
            return super().read(index)

    crops = Crops(Counted("rgb", (40, 50), (60, 36)), Drawn("rgb"), crop=32, batch=6)
    kept = [crops[step] for step in range(3)]
    assert sorted(reads) == [0, 1]
    monkeypatch.setattr("lwisp.data.photos.KEPT_BYTES", 2 * 4 * 3 * 40 * 50)  # room for the first alone
    reads.clear()
    crops = Crops(Counted("rgb", (40, 50), (60, 36)), Drawn("rgb"), crop=32, batch=6)
    for step, batch in enumerate(kept):
        assert all(torch.equal(one, other) for one, other in zip(batch, crops[step], strict=True))
    assert reads.count(0) == 1
    assert reads.count(1) > 1


def test_a_batch_of_pictures_is_not() -> None:
    picture, target = Crops(Drawn("rgb", (40, 50)), Drawn("rgb"), crop=32, batch=6)[0]
    assert picture.shape == (6, 3, 32, 32)
    assert torch.equal(picture, target)


def test_crops_that_cannot_be_cut_are_refused() -> None:
    held_out = Drawn("rgb", (40, 40))
    for crop in (30, 33):
        with pytest.raises(lwisp.InputError, match="even crop"):
            Crops(held_out, held_out, crop=crop, batch=1)
    with pytest.raises(lwisp.InputError, match="every picture is held out"):
        Crops(Drawn("rgb"), held_out, crop=32, batch=1)
    crops = Crops(Drawn("rgb", (31, 40)), held_out, crop=32, batch=1)
    assert "too small for crops of 32" in refusal(Path("0"), crops.__getitem__, 0)


def test_cases_are_the_held_out_pictures_whole_or_their_middles() -> None:
    crops = Crops(Drawn("raw", (40, 40)), Drawn("raw", (41, 50), (44, 36)), crop=32, batch=1)
    cases = list(crops.cases())
    assert [(case.name, case.kind, tuple(case.target.shape)) for case in cases] == [
        ("0", "", (3, 40, 50)),
        ("1", "", (3, 44, 36)),
    ]
    mosaic, target = coded(44, 36)
    assert torch.equal(cases[1].target, target)
    assert torch.equal(cases[1].planes[2], mosaic[0, 1::2, 0::2])
    middle = list(crops.cases(side=16))[1]
    assert torch.equal(middle.target, target[:, 14:30, 10:26])
    assert torch.equal(middle.planes[3], mosaic[0, 15:30:2, 11:26:2])


def test_so_many_cases_are_evenly_spread() -> None:
    crops = Crops(Drawn("rgb", (32, 32)), Drawn("rgb", *[(8, 8)] * 31), crop=32, batch=1)
    assert [case.name for case in crops.cases(limit=4)] == ["0", "10", "20", "30"]
    assert len(list(crops.cases())) == 24
    assert len(list(crops.cases(limit=None))) == 31
    assert list(Crops(Drawn("rgb", (32, 32)), Drawn("rgb"), crop=32, batch=1).cases()) == []


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
    with pytest.raises(lwisp.InputError, match="unknown data 'films'; expected one of photos, denoise"):
        open_data("films", tmp_path, 32, 2, 0, InputConvention())  # type: ignore[arg-type]
    nowhere = tmp_path / "nowhere"
    assert "no such folder" in refusal(nowhere, open_data, "lol", nowhere, 32, 2, 0, InputConvention())


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
