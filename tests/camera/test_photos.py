"""Pairs prepared for fitting a look, and what is kept on the way."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lwisp.camera import photos
from lwisp.camera.network import with_look
from lwisp.camera.pairs import Pair
from lwisp.camera.photos import BaseNetwork, PairReader
from lwisp.camera.placement import AlignedPair, Tile
from lwisp.camera.settings import CameraSettings, LookFit
from lwisp.engines.engine import prepare_engine
from lwisp.files.raw import RawImage
from lwisp.model import LWISP, Look
from lwisp.pipeline import develop
from lwisp.weights import Weights
from tests.conftest import SAMPLE, refusal

PAIR = Pair(Path("a.dng"), None, "", "")


def test_a_look_put_on_later_is_that_of_the_network(toy: Weights) -> None:
    mosaic = np.random.default_rng(0).integers(0, 4095, (70, 90)).astype(np.uint16)
    raw = RawImage(mosaic, "GRBG", (0.0,) * 4, (4095.0,) * 4, (2.0, 1.0, 1.5), orientation=6)
    torch.manual_seed(1)
    learned = Look(LookFit.channels)
    last = learned.layers[-1]
    assert isinstance(last, torch.nn.Conv2d)
    torch.nn.init.normal_(last.weight, std=0.5)
    assert isinstance(toy.network, LWISP)
    card = replace(toy.card, convention=replace(toy.card.convention, exposure="none", shading=(0.1, 0.2, 0.3)))
    whole = develop(
        replace(toy, source=with_look(toy.network, learned, LookFit.channels), card=card), raw, 0, "fp32", "torch"
    )
    engine = prepare_engine(toy.network, "torch", "fp32")
    picture = photos.develop(engine, card.convention, raw)
    later = photos.apply_look(learned, picture)
    assert np.abs(later - picture).max() > 0.05
    assert np.allclose(np.rot90(later, -1), whole, atol=1e-5)


def test_a_picture_is_averaged_onto_a_smaller_jpeg() -> None:
    picture = np.random.default_rng(0).random((80, 120, 3), np.float32)
    target = np.zeros((20, 30, 3), np.uint8)
    tiles = (Tile(0, 0, 10, 30, (0.0, 0.0), 1.0),)
    aligned = AlignedPair(PAIR, target, (0.0, 0.0, 80.0, 120.0), tiles)
    shown = photos.on_target(picture, aligned)
    assert shown.shape == (3, 20, 30)
    assert abs(float(shown.mean()) - float(picture.mean())) < 0.01
    assert float(shown.std()) < float(picture.std()) / 2
    assert photos.accepted_pixels(aligned).sum() == 300


def test_whatever_goes_wrong_with_a_photo_is_a_refusal_that_names_it(
    toy: Weights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(tmp_path / "a.dng", None, "", "")
    pair.raw.touch()
    base = BaseNetwork(toy, prepare_engine(toy.network, "torch", "fp32"), toy.card.convention)
    for error in (RuntimeError("an engine's"), MemoryError(), ZeroDivisionError()):

        def fail(*_: object, raised: Exception = error) -> None:
            raise raised

        monkeypatch.setattr(photos, "read_raw", fail)
        message = refusal(pair.raw, photos.prepare_pair, pair, PairReader(tmp_path), base)
        assert message.startswith(f"{pair.raw}: ")


def test_a_pair_that_was_aligned_before_is_placed_without_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw_file = SAMPLE.parent / "CRW_0117.CRW"
    pair = Pair(raw_file, None, "", "")
    raw, aligned = PairReader(tmp_path).read(pair)
    monkeypatch.setattr(photos, "align", None)
    again, placed = PairReader(tmp_path).read(pair)
    assert np.array_equal(raw.mosaic, again.mosaic)
    assert np.array_equal(aligned.target, placed.target)
    assert replace(aligned, target=placed.target) == placed


def test_photos_are_held_as_long_as_they_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [Pair(tmp_path / f"{index}.crw", None, "", "") for index in range(3)]
    raw, aligned = PairReader(tmp_path).read(Pair(SAMPLE.parent / "CRW_0117.CRW", None, "", ""))
    size = raw.mosaic.nbytes + aligned.target.nbytes
    decoded = []

    def read(path: Path) -> RawImage:
        decoded.append(path.name)
        return raw

    monkeypatch.setattr(photos, "read_raw", read)
    monkeypatch.setattr(photos, "align", lambda *_: aligned)
    for pair in pairs:
        pair.raw.write_bytes(pair.raw.name.encode())
    reader = PairReader(tmp_path, CameraSettings(memory=2 * size - 1), hold=pairs[1:])
    for pair in pairs + pairs:
        reader.read(pair)
    assert decoded == ["0.crw", "1.crw", "2.crw", "0.crw", "2.crw"]
