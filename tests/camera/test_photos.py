"""Photos made ready, looks learned of some and tried on others, and what is kept on the way."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view

from lwisp.camera import look
from lwisp.camera import photos as workshop
from lwisp.camera.learning import with_look
from lwisp.camera.look import Samples
from lwisp.camera.pairs import AlignedPair, Pair, Tile
from lwisp.camera.photos import Photo, Workshop
from lwisp.data.datasets import AS_SENSED
from lwisp.engines.engine import prepare_engine
from lwisp.files.raw import RawImage
from lwisp.imaging.mosaic import CFA, CFAS, cfa_offset
from lwisp.model import LWISP, Look
from lwisp.pipeline import develop
from lwisp.weights import Weights
from tests.camera.test_look import samples
from tests.conftest import refusal

PAIR = Pair(Path("a.dng"), None, "", "")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(look, "STEPS", 40)
    monkeypatch.setattr(look, "SHADING_STEPS", 20)


def shop(run: Path, count: int, wrong: int | None = None) -> Workshop:
    photos = []
    for index in range(count):
        made = samples(index)
        target = made.target if index != wrong else made.target[:, torch.randperm(4000)]
        photos.append(Photo(PAIR, str(index), Samples(made.rgb.half().float(), target, made.radius)))
    return Workshop(tuple(photos), run)


def test_every_photo_is_held_out_once(tmp_path: Path) -> None:
    for count in (2, 5, 9):
        made = shop(tmp_path, count)
        held_out = [photo.sha256 for fold in made.folds for photo in fold]
        assert sorted(held_out) == sorted(photo.sha256 for photo in made.photos)
        assert all(made.without(fold) for fold in made.folds)


def test_a_photo_that_the_others_contradict_is_found(tmp_path: Path) -> None:
    found = shop(tmp_path, 5, wrong=3).outlier()
    assert found is not None
    assert found[0].sha256 == "3"
    assert shop(tmp_path, 5).outlier() is None
    assert shop(tmp_path, 3, wrong=1).outlier() is None  # of three nobody can say which is wrong


def test_what_was_fitted_is_kept_and_a_damaged_file_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = shop(tmp_path, 2)
    fitted = made.fit(made.photos, shading=True)
    (kept,) = tmp_path.iterdir()
    kept.write_bytes(kept.read_bytes()[:100])
    anew = made.fit(made.photos, shading=True)
    monkeypatch.setattr(look, "fit", None)  # nothing is fitted any more
    again = made.fit(made.photos, shading=True)
    for other in (anew, again):
        assert other.shading == fitted.shading
        assert torch.equal(fitted(made.photos[0].samples), other(made.photos[0].samples))


def test_the_curve_ends_with_all_photos_but_one(tmp_path: Path) -> None:
    curve = shop(tmp_path, 4).learning_curve(shading=False)
    assert [count for count, _ in curve] == [1, 2, 3]
    assert all(error > 0 for _, error in curve)


def test_a_look_put_on_later_is_that_of_the_network(toy: Weights) -> None:
    mosaic = np.random.default_rng(0).integers(0, 4095, (70, 90)).astype(np.uint16)
    raw = RawImage(mosaic, "GRBG", (0.0,) * 4, (4095.0,) * 4, (2.0, 1.0, 1.5), orientation=6)
    torch.manual_seed(1)
    learned = Look(look.CHANNELS)
    last = learned.layers[-1]
    assert isinstance(last, torch.nn.Conv2d)
    torch.nn.init.normal_(last.weight, std=0.5)
    assert isinstance(toy.network, LWISP)
    card = replace(toy.card, convention=replace(toy.card.convention, exposure="none", shading=(0.1, 0.2, 0.3)))
    whole = develop(replace(toy, network=with_look(toy.network, learned), card=card), raw, 0, "fp32", "torch")
    engine = prepare_engine(toy.network, "torch", "fp32")
    picture = workshop.develop(engine, card.convention, raw)
    later = workshop.put_on(learned, picture)
    assert np.abs(later - picture).max() > 0.05
    assert np.allclose(np.rot90(later, -1), whole, atol=1e-5)


def test_a_picture_is_averaged_onto_a_smaller_jpeg() -> None:
    picture = np.random.default_rng(0).random((80, 120, 3), np.float32)
    target = np.zeros((20, 30, 3), np.uint8)
    tiles = (Tile(0, 0, 10, 30, (0.0, 0.0), 1.0),)
    aligned = AlignedPair(PAIR, target, (0.0, 0.0, 80.0, 120.0), tiles)
    shown = workshop.on_target(picture, aligned)
    assert shown.shape == (3, 20, 30)
    assert abs(float(shown.mean()) - float(picture.mean())) < 0.01
    assert float(shown.std()) < float(picture.std()) / 2
    assert workshop.usable(aligned).sum() == 300


@pytest.mark.parametrize("cfa", CFAS)
def test_pieces_are_cut_where_raw_and_jpeg_show_the_same(cfa: CFA, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workshop, "PIECE", 32)
    values = np.random.default_rng(0).integers(0, 256, (150, 171))
    raw = RawImage(values.astype(np.uint16), cfa, (0.0,) * 4, (255.0,) * 4, (1.0, 1.0, 1.0))
    shown = values[7:-3, 5:-5].astype(np.uint8)  # 140x161, its content 3 rows above and 1 column left of its box
    target = np.stack([shown] * 3, -1)
    tiles = tuple(Tile(top, 0, 70, 161, (-3.1, -0.9), 1.0) for top in (0, 70))
    aligned = AlignedPair(PAIR, target, (4.0, 4.0, 140.0, 161.0), tiles)
    pieces = workshop.cut_pieces(raw, aligned, AS_SENSED)
    assert pieces is not None
    assert len(pieces) == workshop.PIECES
    assert torch.allclose(pieces.photosites.float() * 255, pieces.target[:, 0].float(), atol=0.1)
    top, left = cfa_offset(cfa)
    reds = {(row, column) for row in range(top, 150, 2) for column in range(left, 171, 2)}
    for piece in pieces.target[:, 0].numpy():
        places = np.argwhere((sliding_window_view(values, (4, 4)) == piece[:4, :4]).all((2, 3)))
        assert len(places) == 1
        assert tuple(places[0]) in reds
    unsteady = tuple(replace(tile, shift=(-3.5, -0.9)) for tile in tiles)
    assert workshop.cut_pieces(raw, replace(aligned, tiles=unsteady), AS_SENSED) is None
    assert workshop.cut_pieces(raw, replace(aligned, tiles=tiles[:1]), AS_SENSED) is not None
    assert workshop.cut_pieces(raw, replace(aligned, box=(4.0, 4.0, 141.0, 162.0)), AS_SENSED) is None


def test_whatever_goes_wrong_with_a_photo_is_a_refusal_that_names_it(
    toy: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(tmp_path / "a.dng", None, "", "")
    pair.raw.touch()
    engine = prepare_engine(toy.network, "torch", "fp32")
    for error in (RuntimeError("an engine's"), MemoryError(), ZeroDivisionError()):

        def fail(*_: object, raised: Exception = error) -> None:
            raise raised

        monkeypatch.setattr(workshop, "read_raw", fail)
        message = refusal(pair.raw, workshop.look_at, pair, "", toy.card.convention, engine, tmp_path)
        assert message.startswith(f"{pair.raw}: ")
