"""Looks fitted to some photos and measured on others, and what is kept of them."""

from pathlib import Path

import pytest
import torch

from lwisp.camera import look
from lwisp.camera.cross_validation import CrossValidation
from lwisp.camera.look import Samples
from lwisp.camera.pairs import Pair
from lwisp.camera.photos import PreparedPair
from lwisp.camera.settings import LookFit
from tests.camera.test_look import samples

PAIR = Pair(Path("a.dng"), None, "", "")


def validation_of(run: Path, count: int, wrong: int | None = None) -> CrossValidation:
    photos = []
    for index in range(count):
        made = samples(index)
        target = made.target if index != wrong else made.target[:, torch.randperm(4000)]
        photos.append(PreparedPair(PAIR, str(index), Samples(made.rgb.half().float(), target, made.radius)))
    return CrossValidation(tuple(photos), run, LookFit(steps=40, shading_steps=20))


def test_every_photo_is_held_out_once(tmp_path: Path) -> None:
    for count in (2, 5, 9):
        made = validation_of(tmp_path, count)
        held_out = [photo.sha256 for fold in made.folds for photo in fold]
        assert sorted(held_out) == sorted(photo.sha256 for photo in made.photos)
        assert all(made.without(fold) for fold in made.folds)


def test_a_photo_that_the_others_contradict_is_found(tmp_path: Path) -> None:
    found = validation_of(tmp_path, 5, wrong=3).outlier()
    assert found is not None
    assert found[0].sha256 == "3"
    assert validation_of(tmp_path, 5).outlier() is None
    assert validation_of(tmp_path, 3, wrong=1).outlier() is None  # of three nobody can say which is wrong


def test_what_was_fitted_is_kept_and_a_damaged_file_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = validation_of(tmp_path, 2)
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
    curve = validation_of(tmp_path, 4).learning_curve(shading=False)
    assert [count for count, _ in curve] == [1, 2, 3]
    assert all(error > 0 for _, error in curve)
