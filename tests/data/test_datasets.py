"""The datasets on disk: files written here in their published layout, read back and compared by hand."""

import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from lwisp.data import synthetic
from lwisp.data.datasets import AS_SENSED, SIDD, LoL, Pairs, PolyU, held_out
from lwisp.data.sources import open_data
from lwisp.imaging.bayer import CFAS
from lwisp.imaging.tensors import to_float
from lwisp.weights import InputConvention
from tests.conftest import WriteDng, refusal
from tests.samples import (
    Picture,
    assert_counted,
    colorful,
    cut_short,
    planes_of,
    same,
    save,
    save_hdf5,
    sense,
    write_sidd,
)

TURNS = {1: 0, 3: 2, 6: -1, 8: 1}
"""Quarter turns to the left that show a mosaic of this orientation upright."""


# SIDD


PHONES = {"GP": "BGGR", "IP": "RGGB", "S6": "GRBG", "N6": "BGGR", "G4": "BGGR"}
LETTERS = {"R": 0.1, "G": 0.2, "B": 0.3}


def scene(root: Path, instance: int, number: int, phone: str) -> Path:
    return root / "Data" / f"{instance:04d}_{number:03d}_{phone}_00800_00350_3200_N"


def write_srgb(root: Path, instance: int, number: int, phone: str, takes: tuple[int, ...] = (10, 11)) -> None:
    for take in takes:
        for word in ("NOISY", "GT"):
            picture = np.random.default_rng([instance, take, len(word)]).integers(0, 256, (12, 14, 3), np.uint8)
            save(scene(root, instance, number, phone) / f"{instance:04d}_{word}_SRGB_{take:03d}.PNG", picture)


@pytest.fixture
def sidd(tmp_path: Path) -> Path:
    """Twelve scenes, the first of them taken with two phones, each twice."""
    phones = list(PHONES)
    for index in range(12):
        write_srgb(tmp_path, index + 1, index + 1, phones[index % 5])
    write_srgb(tmp_path, 13, 1, "IP")
    return tmp_path


def test_srgb_pairs_of_sidd_are_read_as_they_are(sidd: Path) -> None:
    pairs = SIDD(sidd)
    assert pairs.takes == "rgb"
    assert len(pairs.names) == len(set(pairs.names)) == 24
    folder = scene(sidd, 1, 1, "GP")
    index = pairs.names.index(f"{folder.name}/0001_NOISY_SRGB_011")
    noisy, clean = map(to_float, pairs.read(index))
    assert same(noisy, planes_of(np.array(Image.open(folder / "0001_NOISY_SRGB_011.PNG"))))
    assert same(clean, planes_of(np.array(Image.open(folder / "0001_GT_SRGB_011.PNG"))))
    assert (pairs.groups[index], pairs.phones[index]) == ("001", "GP")
    assert_counted(pairs.notes, sidd, "26 pairs", "320")
    assert SIDD(sidd / "Data").names == pairs.names


def test_no_scene_of_sidd_is_both_trained_on_and_held_out(sidd: Path) -> None:
    train, test = SIDD(sidd, scenes="train"), SIDD(sidd, scenes="held-out")
    assert set(test.groups) == {"010"}
    assert set(train.groups) == {f"{number:03d}" for number in range(1, 13)} - {"010"}
    assert len(train.names) + len(test.names) == 26
    folder = scene(sidd, 10, 10, "G4")
    assert test.names == tuple(f"{folder.name}/0010_NOISY_SRGB_{take:03d}" for take in (10, 11))
    assert same(to_float(test.read(1)[1]), planes_of(np.array(Image.open(folder / "0010_GT_SRGB_011.PNG"))))


@pytest.mark.parametrize(("phone", "cfa"), [*PHONES.items(), ("IP", "GBRG")])
@pytest.mark.parametrize("shape", [(8, 10), (9, 11)])
def test_raw_of_every_phone_begins_with_red(
    phone: str, cfa: str, shape: tuple[int, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if cfa == "GBRG":  # which no phone has
        monkeypatch.setitem(SIDD.PATTERNS, phone, cfa)
    rows, columns = np.indices(shape)
    color = np.array([LETTERS[letter] for letter in cfa])[rows % 2 * 2 + columns % 2]
    noisy = color + 1e-3 * (rows * shape[1] + columns)  # tells the color and the place
    folder = scene(tmp_path, 1, 1, phone)
    for word, values in (("NOISY", noisy), ("GT", noisy / 2)):
        save_hdf5(folder / f"0001_{word}_RAW_010.MAT", "x", values.astype(np.float32))
    found, clean = SIDD(tmp_path, "planes").read(0)
    top, left = divmod(cfa.index("R"), 2)
    height, width = (shape[0] - top) // 2 * 2, (shape[1] - left) // 2 * 2
    expected = noisy[None, top : top + height, left : left + width]
    assert same(found, expected)
    assert same(clean, expected / 2)
    place = 1e-3 * (rows * shape[1] + columns)[top : top + height, left : left + width]
    colors = found[0].numpy() - place
    assert np.allclose(colors[0::2, 0::2], LETTERS["R"], atol=1e-6)
    assert np.allclose(colors[0::2, 1::2], LETTERS["G"], atol=1e-6)
    assert np.allclose(colors[1::2, 0::2], LETTERS["G"], atol=1e-6)
    assert np.allclose(colors[1::2, 1::2], LETTERS["B"], atol=1e-6)


def test_raw_of_sidd_may_be_of_either_kind_of_matlab_file(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((8, 10))
    folder = scene(tmp_path, 1, 1, "IP")
    save_hdf5(folder / "0001_NOISY_RAW_010.MAT", "x", values)
    savemat(folder / "0001_GT_RAW_010.MAT", {"x": values}, appendmat=False)
    noisy, clean = SIDD(tmp_path, "planes").read(0)
    assert same(noisy, values[None])
    assert torch.equal(noisy, clean)


def test_what_is_not_as_in_sidd_is_named(sidd: Path) -> None:
    folder = scene(sidd, 3, 3, "S6")
    noisy, clean = (folder / f"0003_{word}_SRGB_010.PNG" for word in ("NOISY", "GT"))
    content = clean.read_bytes()
    clean.unlink()
    assert f"no partner {clean.name}" in refusal(noisy, SIDD, sidd)
    clean.write_bytes(content[:-100])
    assert "cut short" in refusal(clean, SIDD, sidd)
    save(clean, colorful(10, 14))
    pairs = SIDD(sidd)
    name = f"{folder.name}/{noisy.stem}"
    assert "differ in size" in refusal(Path(name), pairs.read, pairs.names.index(name))
    clean.write_bytes(content)
    assert "no pairs */*_NOISY_RAW_*.MAT" in refusal(sidd / "Data", SIDD, sidd, "raw")
    write_srgb(sidd, 20, 20, "X9")
    assert "instance_scene_phone" in refusal(scene(sidd, 20, 20, "X9"), SIDD, sidd)


def test_the_cache_decodes_once_and_gives_the_same(sidd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = sidd / "cache"
    cache.mkdir()
    expected = [SIDD(sidd).read(index) for index in range(3)]
    pairs = SIDD(sidd, cache=cache)
    for _ in range(2):
        for index, (noisy, clean) in enumerate(expected):
            found = pairs.read(index)
            assert torch.equal(found[0], noisy)
            assert torch.equal(found[1], clean)
    assert len(list(cache.iterdir())) == 6

    def refuse(path: Path) -> Picture:
        raise AssertionError(f"{path} is decoded again")

    monkeypatch.setattr("lwisp.data.datasets.read_rgb", refuse)
    assert torch.equal(SIDD(sidd, cache=cache).read(2)[0], expected[2][0])
    with pytest.raises(AssertionError, match="decoded again"):
        pairs.read(3)


def test_raw_of_sidd_comes_out_of_the_cache_too(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((8, 10)).astype(np.float32)
    for word in ("NOISY", "GT"):
        save_hdf5(scene(tmp_path, 1, 1, "GP") / f"0001_{word}_RAW_010.MAT", "x", values)
    cache = tmp_path / "cache"
    cache.mkdir()
    pairs = SIDD(tmp_path, "planes", cache=cache)
    for _ in range(2):
        assert same(pairs.read(0)[1], values[None, 1:7, 1:9])


def test_raw_of_sidd_is_looked_at_when_it_is_opened(tmp_path: Path) -> None:
    noisy, clean = (scene(tmp_path, 1, 1, "GP") / f"0001_{word}_RAW_010.MAT" for word in ("NOISY", "GT"))
    for path in (noisy, clean):
        save_hdf5(path, "x", np.zeros((8, 10), np.float32))
    assert len(SIDD(tmp_path, "planes").names) == 1
    savemat(clean, {"x": np.zeros((8, 12))}, appendmat=False)  # the old format
    assert "(8, 10) and 0001_GT_RAW_010.MAT (8, 12); expected mosaics" in refusal(noisy, SIDD, tmp_path, "raw")
    savemat(clean, {"y": np.zeros((8, 10))}, appendmat=False)
    assert "expected an array named x" in refusal(clean, SIDD, tmp_path, "raw")
    cut_short(noisy, 0.5)
    assert "cannot be read as a MATLAB file" in refusal(noisy, SIDD, tmp_path, "raw")


def test_blocks_of_sidd_are_read_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SIDD, "BLOCKS", (3, 2, 6, 8))
    rng = np.random.default_rng(0)
    srgb, raw = rng.integers(0, 256, (3, 2, 6, 8, 3), np.uint8), rng.random((3, 2, 6, 8), np.float32)
    old, new = tmp_path / "ValidationNoisyBlocksSrgb.mat", tmp_path / "ValidationNoisyBlocksRaw.mat"
    savemat(old, {old.stem: srgb})
    save_hdf5(new, new.stem, raw)
    assert np.array_equal(SIDD.blocks(old), srgb)
    assert np.array_equal(SIDD.blocks(new), raw)
    save_hdf5(new, new.stem, raw[:2])
    assert "expected blocks of (3, 2, 6, 8)" in refusal(new, SIDD.blocks, new)
    save_hdf5(new, new.stem, srgb[..., :2])
    assert "got (3, 2, 6, 8, 2)" in refusal(new, SIDD.blocks, new)
    renamed = new.rename(tmp_path / "blocks.mat")
    assert "expected an array named blocks" in refusal(renamed, SIDD.blocks, renamed)


def test_a_synthetic_sidd_opens_as_sidd_and_raw_lies_on_srgb(tmp_path: Path) -> None:
    small = synthetic.pictures(6, 0, 16, 24)
    write_sidd(tmp_path, small)
    raw, srgb = SIDD(tmp_path, "planes"), SIDD(tmp_path, "rgb")
    assert len(raw.names) == len(srgb.names) == 5  # one scene is held out
    assert set(raw.phones) == set(SIDD.PATTERNS)
    for index in range(5):
        noisy, clean = raw.read(index)
        shown = small[index].numpy() / 255
        height, width = clean.shape[1:]
        assert torch.equal(srgb.stored(index)[1], small[index])
        for row, column, channel in ((0, 0, 0), (0, 1, 1), (1, 0, 1), (1, 1, 2)):
            expected = shown[channel, row:height:2, column:width:2]
            assert np.allclose(clean[0, row::2, column::2], expected, atol=1e-6)
        assert float((noisy - clean).std()) == pytest.approx(0.05, rel=0.3)


# PolyU


def test_polyu_is_told_by_its_names(tmp_path: Path) -> None:
    folder = tmp_path / "train"
    for name in ("Sony_4_200_3200_door_2", "Canon80D_8_8_800_GO_1"):
        save(folder / f"{name}_real.png", colorful(16, 24, len(name)))
        save(folder / f"{name}_mean.png", colorful(16, 24, len(name) + 1))
    save(folder / "notes.png", colorful(8, 8))
    pairs = PolyU(tmp_path, "train")
    assert (pairs.takes, pairs.names) == ("rgb", ("Canon80D_8_8_800_GO_1", "Sony_4_200_3200_door_2"))
    noisy, clean = pairs.read(0)
    assert same(noisy, planes_of(colorful(16, 24, 21)))
    assert same(clean, planes_of(colorful(16, 24, 22)))
    mean = folder / "Sony_4_200_3200_door_2_mean.png"
    cut_short(mean, 0.5)
    assert "cut short" in refusal(mean, PolyU, tmp_path, "train")
    mean.unlink()
    assert f"has no partner {mean.stem}" in refusal(
        folder / mean.name.replace("mean", "real"), PolyU, tmp_path, "train"
    )
    assert "expected a folder" in refusal(tmp_path / "val", PolyU, tmp_path, "val")


# LoL


@pytest.fixture
def lol(tmp_path: Path) -> Path:
    for split, names in (("our485", (2, 5, 10)), ("eval15", (1, 22))):
        for name in names:
            save(tmp_path / split / "low" / f"{name}.png", colorful(16, 24, name) // 8)
            save(tmp_path / split / "high" / f"{name}.png", colorful(16, 24, name))
    return tmp_path


def test_lol_goes_from_dark_to_normal(lol: Path) -> None:
    pairs = LoL(lol, "our485")
    assert (pairs.takes, pairs.names) == ("rgb", ("2", "5", "10"))
    low, high = pairs.read(2)
    assert same(low, planes_of(colorful(16, 24, 10) // 8))
    assert same(high, planes_of(colorful(16, 24, 10)))
    assert LoL(lol, "eval15").names == ("1", "22")
    assert_counted(pairs.notes, lol, "our485", "3 pairs", "has 485")


def test_what_is_not_as_in_lol_is_named(lol: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LoL.COUNTS, "our485", 3)
    assert LoL(lol, "our485").notes == ()
    low = save(lol / "our485" / "low" / "5.png", colorful(16, 22))
    pairs = LoL(lol, "our485")
    assert "(16, 22) px, its target (16, 24)" in refusal(low, pairs.read, 1)
    cut_short(low, 0.5)
    assert "cut short" in refusal(low, LoL, lol, "our485")
    low.unlink()
    assert "no partner" in refusal(lol / "our485" / "high" / "5.png", LoL, lol, "our485")


# Pairs


def test_pairs_of_finished_pictures_are_read_as_they_are(tmp_path: Path) -> None:
    before = save(tmp_path / "input" / "a.png", colorful(16, 24, 1))
    save(tmp_path / "target" / "a.jpg", colorful(16, 24, 2))
    pairs = Pairs(tmp_path)
    assert (pairs.takes, pairs.names, pairs.notes) == ("rgb", ("a",), ())
    source, target = pairs.read(0)
    assert same(source, planes_of(colorful(16, 24, 1)))
    assert same(target, planes_of(np.array(Image.open(tmp_path / "target" / "a.jpg"))))
    save(tmp_path / "target" / "a.jpg", colorful(16, 22))
    assert "expected one size" in refusal(before, Pairs(tmp_path).read, 0)


def test_every_tenth_photo_is_held_out(tmp_path: Path) -> None:
    for index in range(25):
        for folder in ("input", "target"):
            save(tmp_path / folder / f"{index}.png", colorful(8, 8, index))
    train, test, both = Pairs(tmp_path), Pairs(tmp_path, "held-out"), Pairs(tmp_path, "all")
    assert test.names == test.groups == ("9", "19")
    assert train.names == tuple(str(index) for index in range(25) if index not in (9, 19))
    assert both.names == tuple(str(index) for index in range(25))
    assert same(both.read(19)[0], planes_of(colorful(8, 8, 19)))
    assert same(test.read(1)[0], planes_of(colorful(8, 8, 19)))
    assert same(train.read(9)[0], planes_of(colorful(8, 8, 10)))


def test_of_a_few_groups_the_last_is_held_out_and_a_single_one_is_not() -> None:
    assert held_out(["a"]) == set()
    assert held_out(["a", "b"]) == {"b"}
    assert held_out(["a", "a", "c", "b", "c"]) == {"b"}
    assert held_out([str(index) for index in range(10)]) == {"9"}


@pytest.mark.parametrize("cfa", CFAS)
@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("shape", [(24, 36), (25, 37)])
def test_the_target_of_a_raw_lies_on_its_mosaic(
    cfa: str, orientation: int, shape: tuple[int, int], tmp_path: Path, write_dng: WriteDng
) -> None:
    """The target shows where every photosite lies in its green and blue; a dot is bright in both."""
    (tmp_path / "input").mkdir()
    rows, columns = np.indices(shape)
    colors = np.array([{"R": 500, "G": 1000, "B": 1500}[letter] for letter in cfa])
    mosaic = colors[rows % 2 * 2 + columns % 2].astype(np.uint16)
    mosaic[11, 20] = 4000
    seen = np.stack([np.zeros(shape), rows, columns], -1).astype(np.uint8)
    seen[11, 20] = 255
    write_dng(mosaic, cfa, orientation=orientation, name="input/a.dng")
    save(tmp_path / "target" / "a.png", np.rot90(seen, TURNS[orientation]))
    pairs = Pairs(tmp_path, convention=AS_SENSED)
    assert pairs.takes == "raw"
    values, target = pairs.read(0)
    top, left = divmod(cfa.index("R"), 2)
    height, width = (shape[0] - top) // 2 * 2, (shape[1] - left) // 2 * 2
    assert same(values, mosaic[None, top : top + height, left : left + width] / 4095)
    assert same(target, planes_of(seen[top : top + height, left : left + width]))
    assert divmod(int(values.argmax()), width) == divmod(int(target.sum(0).argmax()), width) == (11 - top, 20 - left)
    assert abs(float(values[0, 0, 0]) - 500 / 4095) < 1e-6
    assert abs(float(values[0, 1, 1]) - 1500 / 4095) < 1e-6


@pytest.mark.parametrize("orientation", TURNS)
def test_a_picture_turned_by_its_own_tag_is_turned_first(orientation: int, tmp_path: Path, write_dng: WriteDng) -> None:
    (tmp_path / "input").mkdir()
    (tmp_path / "target").mkdir()
    seen = colorful(24, 36)
    write_dng(sense(seen), orientation=orientation, name="input/a.dng")
    tags = Image.Exif()
    tags[274] = orientation
    Image.fromarray(seen).save(tmp_path / "target" / "a.png", exif=tags)
    assert same(Pairs(tmp_path, convention=AS_SENSED).read(0)[1], planes_of(seen))


def test_a_raw_is_balanced_and_exposed_as_in_use(tmp_path: Path, write_dng: WriteDng) -> None:
    (tmp_path / "input").mkdir()
    gray = np.full((24, 36), 2064, np.uint16)
    gray[0::2, 0::2], gray[1::2, 1::2] = 1064, 1314  # 0.5 and 0.625 of green, above black
    write_dng(gray, black=64, neutral=(0.5, 1.0, 0.625), name="input/a.dng")
    save(tmp_path / "target" / "a.png", colorful(24, 36))
    values = Pairs(tmp_path).read(0)[0]
    assert values.shape == (1, 24, 36)
    assert float(values.max() - values.min()) < 1e-3
    sensed = Pairs(tmp_path, convention=AS_SENSED).read(0)[0]
    assert sensed[0, 0, :2].tolist() == pytest.approx([1000 / 4031, 2000 / 4031])


def test_a_target_of_another_size_than_its_raw_is_named(tmp_path: Path, write_dng: WriteDng) -> None:
    (tmp_path / "input").mkdir()
    write_dng(sense(colorful(24, 36)), orientation=6, name="input/a.dng")
    target = save(tmp_path / "target" / "a.png", colorful(24, 36))  # not upright
    message = refusal(target, Pairs(tmp_path).read, 0)
    assert "36x24 px, expected the visible area of a.dng, 24x36" in message


def test_folders_that_are_no_pairs_are_refused(tmp_path: Path, write_dng: WriteDng) -> None:
    (tmp_path / "input").mkdir()
    dng = write_dng(sense(colorful(24, 36)), name="input/a.dng")
    target = save(tmp_path / "target" / "a.png", colorful(24, 36))
    beside = save(tmp_path / "input" / "a.jpg", colorful(24, 36))
    assert f"{dng.name} lies beside it" in refusal(beside, Pairs, tmp_path)
    beside.rename(beside.with_name("b.jpg"))
    shutil.copy(target, target.with_name("b.png"))
    assert "holds RAW and finished pictures" in refusal(tmp_path / "input", Pairs, tmp_path)
    dng.unlink()
    assert "no partner" in refusal(target, Pairs, tmp_path)
    shutil.rmtree(tmp_path / "target")
    assert "expected a folder" in refusal(tmp_path / "target", Pairs, tmp_path)


def test_a_cache_says_its_size_and_asks_the_disk_before_anything_is_decoded(
    sidd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = sidd / "cache"
    cache.mkdir()
    pairs = SIDD(sidd, cache=cache)
    files = [path for pair in pairs.pairs.values() for path in pair]
    whole = sum(np.asarray(Image.open(path)).nbytes for path in files)
    pairs.read(0)
    kept = sum(np.load(path).nbytes for path in cache.iterdir())
    (note,) = [note for note in SIDD(sidd, cache=cache).notes if "decoded pictures take" in note]
    assert f"{whole / 1e9:.3g} GB in {cache}, {(whole - kept) / 1e9:.3g} GB more than now" in note
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    message = refusal(cache, SIDD, sidd, "rgb", "train", cache)
    assert "name an --output on a larger disk" in message
    assert not any("decoded" in note for note in SIDD(sidd).notes)


def test_all_of_sidd_is_trained_on_where_its_blocks_are_validated_on(
    sidd: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "ValidationNoisyBlocksSrgb.mat" in refusal(
        sidd / "ValidationNoisyBlocksSrgb.mat", open_data, "sidd/all", sidd, 32, 1, 0, InputConvention()
    )
    monkeypatch.setattr(SIDD, "BLOCKS", (2, 3, 36, 40))
    rng = np.random.default_rng(0)
    noisy, clean = (rng.integers(0, 256, (2, 3, 36, 40, 3), np.uint8) for _ in range(2))
    savemat(sidd / "ValidationNoisyBlocksSrgb.mat", {"ValidationNoisyBlocksSrgb": noisy})
    savemat(sidd / "ValidationGtBlocksSrgb.mat", {"ValidationGtBlocksSrgb": clean})
    data = open_data("sidd/all", sidd, 32, 1, 0, InputConvention())
    assert data.names == tuple(SIDD(sidd, scenes="all").names)
    assert set(SIDD(sidd).names) < set(data.names)
    cases = list(data.cases())
    assert [case.name for case in cases] == ["00_00", "00_01", "00_02", "01_00", "01_01", "01_02"]
    assert {case.scene for case in cases} == {"00", "01"}
    assert same(cases[4].planes, planes_of(noisy[1, 1]))
    assert same(cases[4].target, planes_of(clean[1, 1]))
    assert len(pickle.dumps(data)) < noisy.nbytes


def test_all_raw_of_sidd_is_trained_on_without_held_out_pictures(tmp_path: Path) -> None:
    for index in range(2):
        for word in ("NOISY", "GT"):
            values = np.random.default_rng(index).random((40, 44)).astype(np.float32)
            save_hdf5(scene(tmp_path, index, index, "GP") / f"000{index}_{word}_RAW_010.MAT", "x", values)
    data = open_data("sidd-raw/all", tmp_path, 32, 1, 0, AS_SENSED)
    assert (len(data.names), list(data.cases())) == (2, [])
    assert any("nothing is held out" in note for note in data.notes)
    assert data[0][0].shape == (1, 4, 16, 16)
