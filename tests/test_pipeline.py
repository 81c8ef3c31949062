from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import lwisp
from lwisp import development, pipeline, weights
from lwisp import planes as planes_of_frames
from lwisp.architecture import TEACHER
from lwisp.batch import Outcome
from lwisp.data import unprocess
from lwisp.engines.eager import EagerSteps
from lwisp.engines.engine import prepare_engine
from lwisp.files.raw import RawImage, read_mosaic
from lwisp.imaging import color, matrices, mosaic
from lwisp.imaging.bayer import CFA, CFAS, cfa_offset
from lwisp.imaging.pixels import orient
from lwisp.imaging.shading_maps import Frame, GainMap
from lwisp.model import LWISP
from lwisp.planning import plan
from lwisp.restoration import denoise_raw
from lwisp.weights import Camera, Card, InputConvention, Weights, save
from tests.conftest import SAMPLE, WriteDng, rubbish
from tests.test_restoration import weights as restoring

RNG = np.random.default_rng(0)


def crop(raw: RawImage, top: int, left: int, height: int, width: int, cfa: CFA) -> RawImage:
    return replace(raw, mosaic=raw.mosaic[top : top + height, left : left + width], cfa=cfa, orientation=1)


@pytest.fixture(scope="module")
def sample() -> RawImage:
    return lwisp.read_raw(SAMPLE)


@pytest.fixture(scope="module")
def photo() -> Weights:
    return lwisp.load("photo")


def test_the_bundled_raw_becomes_a_natural_picture(sample: RawImage, photo: Weights) -> None:
    rgb = lwisp.develop(photo, sample)
    assert rgb.shape == (1440, 1920, 3)
    assert rgb.dtype == np.float32
    assert 0 <= rgb.min() < 0.1
    assert 0.9 < rgb.max() <= 1
    assert 0.2 < rgb.mean() < 0.6
    assert np.ptp(rgb.mean((0, 1))) < 0.1  # no cast
    sky = rgb[100:140, 900:1000].mean((0, 1))  # blown out behind the beams
    assert sky.min() > 0.9
    assert sky[2] > sky[1] > sky[0] - 0.01  # a sky is bluish, never pink
    assert np.ptp(sky) < 0.05


def test_it_shows_what_rawpy_shows_the_same_way_round(sample: RawImage, photo: Weights) -> None:
    import rawpy

    with rawpy.imread(str(SAMPLE)) as raw:
        reference = raw.postprocess(use_camera_wb=True)
    ours = lwisp.develop(photo, sample)
    assert reference.shape == ours.shape
    small = [np.asarray(Image.fromarray(np.uint8(x)).convert("L").resize((96, 72))) for x in (reference, ours * 255)]
    assert np.corrcoef(small[0].ravel(), small[1].ravel())[0, 1] > 0.95
    assert np.corrcoef(small[0].ravel(), small[1][:, ::-1].ravel())[0, 1] < 0.6


@pytest.mark.parametrize("cfa", CFAS)
def test_every_phase_gives_the_same_scene(cfa: CFA, sample: RawImage, photo: Weights) -> None:
    """Crops of one RGGB mosaic that begin at another photosite: the pictures agree where they overlap."""
    top, left = {"RGGB": (0, 0), "GRBG": (0, 1), "GBRG": (1, 0), "BGGR": (1, 1)}[cfa]
    whole = lwisp.develop(photo, crop(sample, 400, 400, 258, 259, "RGGB"), precision="fp32")
    part = lwisp.develop(photo, crop(sample, 400 + top, 400 + left, 257, 256, cfa), precision="fp32")
    difference = np.abs(whole[top : top + 257, left : left + 256] - part)[16:-16, 16:-16]
    assert np.median(difference) < 0.004


@pytest.mark.parametrize("size", [(2, 2), (3, 5), (31, 64)])
def test_any_size_from_2x2_works(size: tuple[int, int], sample: RawImage, toy: Weights) -> None:
    assert lwisp.develop(toy, crop(sample, 0, 0, *size, "RGGB")).shape == (*size, 3)


def test_the_same_raw_gives_the_same_pixels(sample: RawImage, photo: Weights) -> None:
    small = crop(sample, 200, 200, 200, 300, "RGGB")
    assert np.array_equal(lwisp.develop(photo, small), lwisp.develop(photo, small))


def test_bf16_stays_within_55_db_of_fp32(sample: RawImage, photo: Weights) -> None:
    small = crop(sample, 200, 600, 600, 800, "RGGB")
    exact, fast = (lwisp.develop(photo, small, precision=precision, backend="torch") for precision in ("fp32", "bf16"))
    assert -10 * np.log10(np.mean((exact - fast) ** 2)) > 55
    assert {value.dtype for value in photo.network.state_dict().values()} == {torch.float32}  # left as it was


def test_exposure_is_in_stops(sample: RawImage, photo: Weights) -> None:
    planes, _ = pipeline.prepare(sample, InputConvention())
    brighter, _ = pipeline.prepare(sample, InputConvention(), exposure=1)
    assert np.allclose(brighter, 2 * planes)
    small = crop(sample, 600, 600, 200, 300, "RGGB")
    assert lwisp.develop(photo, small, exposure=1).mean() > lwisp.develop(photo, small).mean() + 0.05


@pytest.mark.parametrize("exposure", [5.1, -6, float("nan"), float("inf")])
def test_impossible_exposures_are_refused(exposure: float, sample: RawImage, toy: Weights) -> None:
    with pytest.raises(lwisp.InputError, match="expected an exposure of -5 to 5 EV"):
        lwisp.develop(toy, sample, exposure=exposure)


def test_the_convention_decides_what_is_done_to_the_planes(sample: RawImage) -> None:
    bare = InputConvention(black_level="keep", white_balance="none", color="camera", exposure="none")
    raised = replace(sample, black_level=(100.0,) * 4)
    planes, _ = pipeline.prepare(raised, bare)
    assert np.array_equal(planes[0], sample.mosaic[::2, ::2].astype(np.float32) * np.float32(1 / 16383))
    balanced, _ = pipeline.prepare(raised, replace(bare, black_level="subtract", white_balance="as-shot"))
    level = (float(sample.mosaic[1201, 1201]) - 100) / (16383 - 100) * sample.white_balance[2]
    assert float(balanced[3, 600, 600]) == pytest.approx(level, rel=1e-5)
    exposed, _ = pipeline.prepare(sample, InputConvention())
    unexposed, _ = pipeline.prepare(sample, InputConvention(exposure="none"))
    gain = color.exposure_gain(torch.from_numpy(unexposed))
    assert np.allclose(exposed, unexposed * float(gain))


def test_a_network_that_does_not_take_raw_is_refused(sample: RawImage) -> None:
    teacher = Weights(LWISP(TEACHER), Card("teacher", TEACHER, InputConvention(), "MIT"))
    with pytest.raises(lwisp.InputError, match="expected a network from RAW"):
        lwisp.develop(teacher, sample)


def test_a_picture_too_large_for_memory_is_refused_before_work(
    sample: RawImage, toy: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lwisp.engines.engine.free_memory", lambda: 5 * 10**7)
    with pytest.raises(lwisp.InputError, match=r"1440x1920 needs about 0\.\d\d GB in bf16, 0\.05 GB are free"):
        lwisp.develop(toy, sample, precision="bf16", backend="torch")


@pytest.mark.parametrize("cfa", CFAS)
@pytest.mark.parametrize("size", [(2, 2), (2, 61), (75, 98)])
def test_planes_are_the_same_wherever_they_are_read(
    cfa: CFA, size: tuple[int, int], sample: RawImage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against the plain way: the whole mosaic at once, step after step."""
    raw = replace(crop(sample, 400, 600, *size, cfa), black_level=(100.0, 110.0, 120.0, 130.0))
    monkeypatch.setattr(planes_of_frames, "BAND", 7)
    sides = [
        (before + 2, (before + side) % 2 + 2) for before, side in zip(cfa_offset(cfa), size, strict=True)
    ]  # to whole cells, and one cell more that mixing looks at
    padded = torch.from_numpy(np.pad(raw.mosaic, sides, "reflect").astype(np.float32))
    levels = torch.tensor(raw.black_level), torch.tensor(raw.white_level)
    plain = mosaic.normalize_levels(mosaic.pack(padded), *levels)
    plain = color.balance(plain, torch.tensor(raw.white_balance))
    plain = color.mix_photosites(mosaic.unpack(plain), torch.from_numpy(raw.cam2rgb))
    plain = plain * color.exposure_gain(plain)
    assert pipeline.Planes(EagerSteps(), raw, InputConvention()).shape == plain.shape
    height, width = plain.shape[1:]
    windows = {
        (0, height, 0, width),
        (0, 1, 0, 1),
        (height // 2, height, width // 3, width),
        (height - 1, height, 0, width),
    }
    for top, bottom, left, right in windows:
        # the exposure rule sees the frame whatever is read first
        planes = pipeline.Planes(EagerSteps(), raw, InputConvention())
        found = np.empty((4, bottom - top, right - left), np.float32)
        planes.read(slice(top, bottom), slice(left, right), found)
        assert np.abs(found - plain[:, top:bottom, left:right].numpy()).max() < 1e-5


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_upright_whether_of_floats_or_integers(orientation: int, sample: RawImage, toy: Weights) -> None:
    small = replace(crop(sample, 0, 0, 35, 52, "GRBG"), orientation=orientation)
    engine = prepare_engine(toy.network, "torch", "fp32")
    flat = lwisp.develop(toy, replace(small, orientation=1), precision="fp32", backend="torch")
    for kind, top in ((np.uint8, 255), (np.uint16, 65535)):
        picture = pipeline.develop_with(engine, toy.card.convention, small, 0.0, kind)
        assert picture.flags.c_contiguous
        assert np.abs(picture / top - orient(flat, orientation)).max() < 1 / top


def test_jobs_are_planned_as_users_expect(tmp_path: Path) -> None:
    folder = tmp_path / "raws"
    folder.mkdir()
    for name in ("b.dng", "a.CR2", "notes.txt"):
        (folder / name).touch()
    out = tmp_path / "out"
    a, b = folder / "a.CR2", folder / "b.dng"
    assert [(job.source, job.output) for job in plan([folder], out, "png16")] == [
        (a, out / "a.png"),
        (b, out / "b.png"),
    ]
    assert plan([a], None, None)[0].output == folder / "a-lwisp.jpg"
    assert plan([a], tmp_path / "x.TIF", None)[0].format == "tiff"
    assert plan([a], tmp_path / "x.png", "png16")[0].format == "png16"
    with pytest.raises(lwisp.InputError, match="names one picture for 2 files"):
        plan([folder], tmp_path / "x.jpg", None)
    with pytest.raises(lwisp.InputError, match="disagree"):
        plan([a], tmp_path / "x.jpg", "png")
    assert len(plan([a, a], out, None)) == 1
    assert [job.source.name for job in plan([folder], out, None, frozenset([".txt"]))] == ["notes.txt"]
    with pytest.raises(lwisp.InputError, match="a name ending in"):
        plan([a], tmp_path / "x.bmp", None)
    with pytest.raises(lwisp.InputError, match="cannot be looked at"):
        plan([tmp_path / ("x" * 300)], out, None)
    with pytest.raises(lwisp.InputError, match="no such files"):
        plan([tmp_path], out, None, recursive=False)
    (tmp_path / "file").touch()
    with pytest.raises(lwisp.InputError, match="expected a folder"):
        plan([a], tmp_path / "file", None)


def test_one_bad_file_does_not_stop_the_rest(toy: Weights, write_dng: WriteDng, tmp_path: Path) -> None:
    good = write_dng(RNG.integers(64, 4000, (40, 60), dtype=np.uint16), name="good.dng")
    bad = tmp_path / "bad.dng"
    bad.write_text("no")
    twin = tmp_path / "twin" / "good.nef"
    twin.parent.mkdir()
    twin.write_bytes(good.read_bytes())
    out = tmp_path / "out"
    outcomes = list(development.develop_files(toy, plan([bad, good, twin], out, None)))
    assert [bool(outcome.error) for outcome in outcomes] == [True, False, False]
    assert sorted(path.name for path in out.iterdir()) == ["good_dng.jpg", "good_nef.jpg"]


@pytest.mark.parametrize("memory", [None, 60.0])
def test_files_come_in_their_order_and_as_alone(
    memory: float | None, toy: Weights, write_dng: WriteDng, tmp_path: Path
) -> None:
    raws = [
        write_dng(RNG.integers(64, 4000, (40, 60 + 2 * index), dtype=np.uint16), name=f"{index}.dng")
        for index in range(5)
    ]
    raws.insert(2, tmp_path / "missing.dng")
    jobs = plan(raws, tmp_path / "out", "png16")
    outcomes = list(development.develop_files(toy, jobs, memory=memory, backend="torch"))
    assert [outcome.source for outcome in outcomes] == raws
    assert [bool(outcome.error) for outcome in outcomes] == [False, False, True, False, False, False]
    assert outcomes[0].engine.startswith("torch in ")
    pipeline_alone = plan([raws[4]], tmp_path / "alone.png", "png16")
    list(development.develop_files(toy, pipeline_alone, backend="torch"))
    assert (tmp_path / "alone.png").read_bytes() == (tmp_path / "out" / "3.png").read_bytes()


def test_stopping_in_a_folder_leaves_whole_pictures_only(toy: Weights, write_dng: WriteDng, tmp_path: Path) -> None:
    raws = [write_dng(RNG.integers(64, 4000, (40, 60), dtype=np.uint16), name=f"{index}.dng") for index in range(5)]
    outcomes = development.develop_files(toy, plan(raws, tmp_path / "out", None), backend="torch")
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]
    made = sorted((tmp_path / "out").iterdir())
    assert {"0.jpg"} <= {path.name for path in made} <= {"0.jpg", "1.jpg", "2.jpg"}  # one may overtake another
    for path in made:
        with Image.open(path) as picture:
            picture.load()


def test_a_picture_never_takes_the_place_of_its_raw(toy: Weights, tmp_path: Path) -> None:
    path = tmp_path / "mosaic.png"
    Image.fromarray(RNG.integers(64, 4000, (40, 60), dtype=np.uint16)).save(path)
    content = path.read_bytes()
    jobs = plan([path], path, None, frozenset([".png"]))
    read = partial(read_mosaic, cfa="RGGB", black_level=0, white_level=4095)
    outcomes = development.develop_files(toy, jobs, overwrite=True, read=read)
    assert "is the file itself" in next(outcomes).error
    assert path.read_bytes() == content


def camera_raw(light: torch.Tensor, gains: tuple[float, float, float], read_noise: float = 0.0) -> RawImage:
    """The 14-bit RAW of linear canonical light (3, H, W), clipped at white, of a camera whose matrix is known."""
    generator = torch.Generator().manual_seed(0)
    cam2rgb = matrices.cam2rgb_from_xyz(unprocess.XYZ2CAM[0])
    camera = unprocess.Camera(torch.linalg.inv(torch.from_numpy(cam2rgb))[None], torch.tensor([gains]))
    sensor = unprocess.expose(light[None], camera, torch.ones(1)).clamp(0, 1)
    packed = unprocess.take_mosaic(sensor)
    packed = unprocess.add_noise(packed, torch.tensor([1e-4]), torch.tensor([read_noise]), generator)
    dn = (mosaic.unpack(packed)[0] * 15000 + 1000).round().clamp(0, 16000).numpy().astype(np.uint16)
    return RawImage(dn, "RGGB", (1000,) * 4, (16000,) * 4, gains, cam2rgb)


@pytest.mark.parametrize("gains", [(2.1, 1.0, 1.5), (1.4, 1.0, 2.5), (0.8, 1.0, 1.3)])
def test_blown_sky_and_lamps_have_no_cast(gains: tuple[float, float, float], photo: Weights) -> None:
    """A neutral ramp to three times white above a dark street with white, red and blue lamps."""
    light = torch.full((3, 256, 384), 0.02)
    light[:, :128] = torch.linspace(0.2, 3, 384)
    for left, tint in ((40, (4, 4, 4)), (160, (4, 0.5, 0.3)), (280, (0.1, 0.2, 1.5))):
        light[:, 180:210, left : left + 30] = torch.tensor(tint)[:, None, None]
    rgb = lwisp.develop(photo, camera_raw(light, gains), precision="fp32")
    sky, street = rgb[8:120, 8:-8], rgb[140:170, 8:-8]
    assert np.ptp(sky.mean(0), axis=1).max() < 0.045  # where blue alone tells, it leans to the blue lamp
    red, green, blue = sky.mean(0).T
    assert (np.abs(green - (red + blue) / 2) < 0.02).all()  # neither pink nor green anywhere on the way to white
    assert sky[:, -100:].min() > 0.96
    assert np.ptp(street.mean((0, 1))) < 0.02
    white, red, blue = (rgb[185:205, left + 5 : left + 25].mean((0, 1)) for left in (40, 160, 280))
    assert white.min() > 0.97
    assert red[0] > 0.9 > red[1:].max()
    assert blue[2] > 0.9 > blue[:2].max()


def test_hot_photosites_that_are_kept_leave_faint_dots_at_most(photo: Weights) -> None:
    raw = camera_raw(torch.full((3, 256, 256), 0.18), (2.0, 1.0, 1.6), read_noise=1e-6)
    clean = lwisp.develop(photo, raw, precision="fp32")
    places = np.arange(21, 240, 50)
    for column, place in enumerate(places):  # odd and even rows and columns in turn: all colors
        raw.mosaic[places + column % 2, place + np.arange(len(places)) % 2] = 16000
    dotted = lwisp.develop(photo, raw, precision="fp32", keep_hot_pixels=True)
    before = (raw.mosaic / 16000 - 0.2).max()
    assert np.abs(dotted - clean).max() < 0.25 < before


@pytest.mark.parametrize("value", [16000, 0])
def test_hot_and_dead_photosites_leave_no_dots(value: int, photo: Weights) -> None:
    raw = camera_raw(torch.full((3, 256, 256), 0.18), (2.0, 1.0, 1.6), read_noise=1e-6)
    clean = lwisp.develop(photo, raw, precision="fp32")
    places = np.arange(21, 240, 24)
    rows, columns = np.meshgrid(places, places)
    raw.mosaic[rows, columns + rows % 4 // 2] = value
    assert np.abs(lwisp.develop(photo, raw, precision="fp32") - clean).max() < 0.02
    developer = pipeline.Developer(photo, precision="fp32")
    assert np.abs(developer.develop(raw) - clean).max() < 0.02
    assert np.abs(developer.develop(raw, keep_hot_pixels=True) - clean).max() > 0.05


def test_shipped_weights_are_found_by_name() -> None:
    assert weights.find("photo").is_file()


def test_rubbish_among_learned_weights_stops_nobody(
    toy: Weights, write_dng: WriteDng, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = weights.user_folder()
    folder.mkdir(parents=True)
    raws = [write_dng(RNG.integers(64, 4000, (40, 60), dtype=np.uint16), name=f"{index}.dng") for index in range(3)]
    files = rubbish(folder)
    broken, rgb = folder / "broken.safetensors", folder / "rgb.safetensors"
    camera = Camera("Lwisp Testcam")
    save(broken, toy.network, replace(toy.card, camera=camera))
    broken.write_bytes(broken.read_bytes()[:-2] + b"ab")  # its card is sound, its tensors are not
    save(
        rgb,
        LWISP(replace(TEACHER, width=4)),
        Card("rgb", replace(TEACHER, width=4), InputConvention(), "MIT", camera=camera),
    )
    files += [broken, rgb]

    def outcomes(name: str) -> list[Outcome]:
        return list(development.develop_files(development.pick, plan(raws, tmp_path / name, "png"), backend="torch"))

    made = outcomes("photo")
    assert [(outcome.error, outcome.weights) for outcome in made] == [("", "photo")] * 3
    told = [sum(f"{path} is left out: " in note for note in outcome.notes) for outcome in made for path in files]
    assert told == [1] * len(files) + [0] * 2 * len(files)  # once, with the first
    assert development.pick(lwisp.read_raw(raws[0])).notes == tuple(made[0].notes)
    save(folder / "mine.safetensors", toy.network, replace(toy.card, camera=camera))
    assert [outcome.weights for outcome in outcomes("mine")] == ["toy"] * 3
    with pytest.raises(lwisp.InputError, match="SHA-256 differs"):
        lwisp.load(broken)


def test_weights_are_picked_without_notes_where_all_is_well(write_dng: WriteDng) -> None:
    raw = lwisp.read_raw(write_dng(RNG.integers(64, 4000, (40, 60), dtype=np.uint16)))
    assert development.pick(raw).notes == ()
    assert development.pick(raw) is development.pick(raw)


def test_exports_planes_and_pictures_see_the_mosaic_without_shading(toy: Weights, write_dng: WriteDng) -> None:
    """Gains of one number are a longer exposure: the picture of a darker mosaic with them is that of the other."""
    photosites = (np.random.default_rng(1).integers(200, 1900, (48, 64)) // 2 * 2).astype(np.uint16)
    bright = lwisp.read_raw(write_dng(photosites, white=4000))
    twice = GainMap(Frame(0, 0, 48, 64), (0, 0, 48, 64), (1, 1), (1.0, 1.0), (0.0, 0.0), np.full((1, 1, 1), 2.0, "f4"))
    dark = replace(bright, mosaic=photosites // 2, shading=(twice,))
    expected = lwisp.develop(toy, bright, backend="torch")
    assert np.allclose(lwisp.develop(toy, dark, backend="torch"), expected, atol=1e-5)
    without = lwisp.develop(toy, replace(dark, shading=()), backend="torch")
    assert not np.allclose(without, expected, atol=1e-5)
    planes, _ = pipeline.prepare(dark, InputConvention())
    assert np.allclose(planes, pipeline.prepare(bright, InputConvention())[0], atol=1e-3)
    given = pipeline.inputs_of(dark)
    assert np.array_equal(given["mosaic"], pipeline.without_shading(dark).mosaic)
    assert given["white_level"].tolist() == [65535] * 4
    clean = denoise_raw(dark, restoring("planes", change=0), backend="torch")
    assert clean.shading == dark.shading
    assert np.allclose((clean.mosaic - 4096.0) / (65535 - 4096), dark.mosaic / 4000, atol=2e-5)


def test_a_white_balance_is_the_same_for_function_developer_and_files(
    toy: Weights, write_dng: WriteDng, tmp_path: Path
) -> None:
    path = write_dng(np.random.default_rng(1).integers(200, 3900, (48, 64), dtype=np.uint16))
    raw = lwisp.read_raw(path)
    expected = lwisp.develop(toy, replace(raw, white_balance=(1.5, 1, 2.5)), backend="torch")
    found = lwisp.develop(toy, raw, backend="torch", white_balance="3,2,5")
    assert np.array_equal(found, expected)
    assert not np.allclose(found, lwisp.develop(toy, raw, backend="torch"), atol=1e-4)
    developer = lwisp.Developer(toy, "torch")
    assert np.array_equal(developer.develop(raw, white_balance="3,2,5"), expected)
    jobs = plan([path], tmp_path / "out.png", None)
    (outcome,) = development.develop_files(toy, jobs, development.Settings(white_balance="3,2,5"), backend="torch")
    assert (outcome.error, outcome.notes) == ("", ())
    written = np.asarray(Image.open(tmp_path / "out.png"))
    assert np.array_equal(written, developer.develop(raw, dtype=np.uint8, white_balance="3,2,5"))
    with pytest.raises(lwisp.InputError, match="expected a white balance"):
        development.develop_files(toy, jobs, development.Settings(white_balance="sunny"))


def test_weights_that_balance_by_themselves_take_no_other_balance(toy: Weights, write_dng: WriteDng) -> None:
    raw = lwisp.read_raw(write_dng(np.random.default_rng(1).integers(200, 3900, (48, 64), dtype=np.uint16)))
    bare = replace(toy, card=replace(toy.card, convention=InputConvention(white_balance="none")))
    with pytest.raises(lwisp.InputError, match="expected weights that take a balanced RAW"):
        lwisp.develop(bare, raw, backend="torch", white_balance="5000")
