import pickle
import subprocess
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import lwisp
from lwisp.architecture import Takes
from lwisp.data.cases import pack_mosaics
from lwisp.data.crops import Crops, cut, step_generator
from lwisp.data.datasets import AS_SENSED, Pairs, Pictures
from lwisp.data.zurich import Zurich
from lwisp.weights import InputConvention
from tests.conftest import WriteDng, refusal
from tests.samples import loaded, save


class Drawn(Pictures):
    """Pictures out of memory: mosaics that tell color and place (see `coded`), or RGB that tells the place."""

    convention = AS_SENSED

    def __init__(self, takes: Takes, *shapes: tuple[int, int]) -> None:
        self.takes: Takes = takes
        self.shapes = shapes
        self.names = self.groups = tuple(str(index) for index in range(len(shapes)))
        self.notes: tuple[str, ...] = ("drawn",)

    def stored(self, index: int) -> tuple[Tensor, Tensor]:
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
        def stored(self, index: int) -> tuple[Tensor, Tensor]:
            reads.append(index)
            return super().stored(index)

    crops = Crops(Counted("rgb", (40, 50), (60, 36)), Drawn("rgb"), crop=32, batch=6)
    kept = [crops[step] for step in range(3)]
    assert sorted(reads) == [0, 1]
    monkeypatch.setattr("lwisp.data.crops.KEPT_BYTES", 2 * 4 * 3 * 40 * 50)  # room for the first alone
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


@pytest.mark.parametrize("kind", ["zurich", "liteispnet", "pynet", "pairs"])
def test_batches_of_stored_integers_are_to_the_bit_those_of_floats(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    if kind == "pairs":
        write_pairs(tmp_path, None)
        train: Pictures = Pairs(tmp_path)
    else:
        for split, index in product(("train", "test"), range(2)):
            save(tmp_path / split / "huawei_raw" / f"{index}.png", rng.integers(0, 1024, (448, 448), np.uint16))
            save(tmp_path / split / "canon" / f"{index}.png", rng.integers(0, 256, (448, 448, 3), np.uint8))
        levels = "sensor" if kind == "zurich" else kind
        black = "keep" if kind == "pynet" else "subtract"
        convention = InputConvention(black, "none", "camera", "none", levels=levels)  # type: ignore[arg-type]
        train = Zurich(tmp_path, "train", convention)
    crops = Crops(train, train, crop=36, batch=8, seed=3)
    assert {part.dtype for part in crops.stored(0)} == (
        {torch.uint8} if kind == "pairs" else {torch.uint8, torch.uint16}
    )
    for step in range(3):
        generator = step_generator(3, step)
        chosen = torch.randint(len(train.names), (8,), generator=generator).tolist()
        pairs = [cut(*floats_of(train, index), 36, generator, True) for index in chosen]
        for found, whole in zip(crops[step], zip(*pairs, strict=True), strict=True):
            assert torch.equal(found, pack_mosaics(torch.stack(whole)))


def floats_of(pictures: Pictures, index: int) -> tuple[Tensor, Tensor]:
    """A pair of files as floats, by NumPy."""
    source, target = (np.array(Image.open(path)) for path in pictures.pairs[pictures.names[index]])  # type: ignore[attr-defined]
    shown = torch.from_numpy(target.transpose(2, 0, 1)) / 255
    if not isinstance(pictures, Zurich):
        return torch.from_numpy(source.transpose(2, 0, 1)) / 255, shown
    black, white = {"sensor": (63.0, 1023.0), "liteispnet": (63.0, 1020.0), "pynet": (0.0, 1020.0)}[
        pictures.convention.levels
    ]
    values = (source.astype(np.float32)[None] - np.float32(black)) / np.float32(white - black)
    return torch.from_numpy(values.clip(0) if pictures.convention.levels == "liteispnet" else values), shown


def test_scenes_of_the_training_pairs_are_held_out_to_choose_by() -> None:
    train = Drawn("raw", *[(40, 50)] * 12)
    train.groups = tuple("aabbccddeeff")
    crops = Crops(train, Drawn("raw", (40, 40)), crop=32, batch=1, seed=4)
    inner = crops.within_train()
    assert inner.names == tuple("0123456789")
    assert [case.name for case in inner.cases()] == ["10", "11"]
    assert (inner.crop, inner.seed, inner.takes) == (32, 4, "raw")
    train.groups = ("a",) * 12
    with pytest.raises(lwisp.InputError, match="all training pairs show one scene"):
        crops.within_train()


def test_what_goes_to_another_process_leaves_kept_pairs_behind() -> None:
    crops = Crops(Drawn("rgb", (40, 50)), Drawn("rgb"), crop=32, batch=2)
    first = crops[0]
    assert crops.kept
    other = pickle.loads(pickle.dumps(crops))
    assert not other.kept
    assert all(torch.equal(one, two) for one, two in zip(first, other[0], strict=True))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_mapped_dataset_of_more_pairs_than_files_may_be_open_is_trained_on(tmp_path: Path) -> None:
    for folder in ("input", "target"):
        (tmp_path / folder).mkdir()
        for index in range(100):
            Image.new("RGB", (32, 32), (index, 0, 0)).save(tmp_path / folder / f"{index}.png")
    script = """
import resource, sys
from pathlib import Path
from lwisp.data import folders
from lwisp.data.crops import Crops
from lwisp.data.datasets import Pairs
folders.KEPT_BYTES = 1000
root = Path(sys.argv[1])
train = Pairs(root, cache=root / "cache")
crops = Crops(train, Pairs(root, "held-out"), crop=32, batch=64).within_train()
crops[0]  # what is imported late is
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
for step in range(8):
    crops[step]
seen = {int(value) for step in range(8) for value in crops.stored(step)[0][:, 0, 0, 0]}
assert len(seen) > 64, len(seen)
assert crops.kept_bytes == 0
"""
    done = subprocess.run([sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_pairs_that_are_more_than_a_process_keeps_are_mapped_from_one_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_pairs(tmp_path, None)
    cache = tmp_path / "cache"
    expected = open_pairs(tmp_path, 5)[0]
    assert not cache.exists()
    assert Pairs(tmp_path, cache=cache).notes == ()  # they fit into memory
    monkeypatch.setattr("lwisp.data.folders.KEPT_BYTES", 6 * 3 * 40 * 48 - 1)
    pairs = Pairs(tmp_path, cache=cache)
    (note,) = pairs.notes
    assert "decoded pictures take" in note
    for _ in range(2):
        crops = Crops(pairs, Pairs(tmp_path, "held-out"), crop=32, batch=2, seed=5)
        assert all(torch.equal(one, two) for one, two in zip(crops[0], expected, strict=True))
    assert all(isinstance(np.load(path, mmap_mode="r"), np.memmap) for path in cache.iterdir())
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    later = Pairs(tmp_path, "all", cache=tmp_path / "other")
    assert later.cache is None
    assert "until then pictures are decoded anew" in later.notes[0]
    assert not any((tmp_path / "other").iterdir())
