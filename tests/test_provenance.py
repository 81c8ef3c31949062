"""What a picture was made of: written into it, read back, compared; a batch goes on where it was stopped."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lwisp.batch import Outcome
from lwisp.development import Settings, develop_files
from lwisp.files.encoding import SUFFIXES, Format
from lwisp.files.pictures import write_picture
from lwisp.planning import plan
from lwisp.provenance import Provenance, Setting, digest, is_made_of, read_provenance
from lwisp.weights import Weights, load
from tests.conftest import WriteDng

RNG = np.random.default_rng(5)
MADE = Provenance("develop", "a" * 64, "photo", "b" * 64, "OpenVINO", {"exposure": 0.5, "format": "jpg"}, "1.2")


@pytest.mark.parametrize("format", ["jpg", "png", "png16", "tiff"])
def test_every_format_carries_what_it_was_made_of(format: Format, tmp_path: Path) -> None:
    path = tmp_path / f"picture{SUFFIXES[format]}"
    rgb = RNG.random((20, 30, 3)).astype(np.float32)
    write_picture(path, rgb, format, properties=MADE.to_properties())
    assert read_provenance(path) == MADE


def test_a_picture_without_it_tells_nothing(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", RNG.random((20, 30, 3)))
    assert read_provenance(tmp_path / "a.jpg") is None
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xff no")
    assert read_provenance(tmp_path / "b.jpg") is None
    assert read_provenance(tmp_path / "missing.jpg") is None


@pytest.mark.parametrize("settings", ["[1]", "{", '{"a": [1]}', "[" * 100_000])
def test_damaged_settings_tell_nothing(settings: str, tmp_path: Path) -> None:
    told = {**MADE.to_properties(), "lwisp:Settings": settings}
    write_picture(tmp_path / "a.png", RNG.random((20, 30, 3)), properties=told)
    assert read_provenance(tmp_path / "a.png") is None


def test_another_file_other_weights_and_other_settings_are_told_apart(tmp_path: Path) -> None:
    source = tmp_path / "source.dng"
    source.write_bytes(b"photosites")
    sha256 = hashlib.sha256(b"photosites").hexdigest()
    assert digest(source) == sha256
    picture = tmp_path / "a.jpg"
    settings: dict[str, Setting] = {"exposure": 0.5, "format": "jpg"}
    made = Provenance("develop", sha256, "photo", "b" * 64, "OpenVINO", settings)
    write_picture(picture, RNG.random((20, 30, 3)), properties=made.to_properties())
    assert is_made_of(picture, "develop", settings, source, lambda: "b" * 64)
    assert not is_made_of(picture, "denoise", settings, source, lambda: "b" * 64)
    assert not is_made_of(picture, "develop", {"format": "jpg"}, source, lambda: "b" * 64)
    assert not is_made_of(picture, "develop", settings, source, lambda: "c" * 64)
    assert not is_made_of(picture, "develop", settings, source, lambda: "")
    source.write_bytes(b"photosites of another shot")
    assert not is_made_of(picture, "develop", settings, source, lambda: "b" * 64)


@pytest.fixture
def photo() -> Weights:
    return load("photo-fast")


def test_what_is_done_is_skipped_and_what_differs_is_not(photo: Weights, write_dng: WriteDng, tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_dng(RNG.integers(64, 4000, (40, 60), dtype=np.uint16), name=f"{name}.dng")
    raws = sorted(tmp_path.glob("*.dng"))

    def run(*sources: Path, exposure: float = 0.0, overwrite: bool = False) -> list[Outcome]:
        jobs = plan(sources, tmp_path / "out", None)
        return list(develop_files(photo, jobs, Settings(exposure), overwrite=overwrite))

    first = run(raws[0])
    assert not first[0].is_done_before
    content = (tmp_path / "out" / "a.jpg").read_bytes()
    again = run(*raws)
    assert [(outcome.is_done_before, outcome.error) for outcome in again] == [(True, ""), (False, "")]
    assert (tmp_path / "out" / "a.jpg").read_bytes() == content
    brighter = run(raws[0], exposure=1.0)
    assert "--overwrite" in brighter[0].error
    assert run(raws[0], overwrite=True)[0].is_done_before is False
    assert (tmp_path / "out" / "a.jpg").read_bytes() == content  # made again, the same


def test_a_cut_or_edited_picture_is_not_taken_for_the_one_that_was_made(tmp_path: Path) -> None:
    """An editor that keeps the packet changes Software; lwisp then neither skips nor replaces the file."""
    path = tmp_path / "a.jpg"
    write_picture(path, RNG.random((20, 30, 3)), properties=MADE.to_properties())
    with Image.open(path) as picture:
        exif = picture.getexif()
        exif[305] = "Editor 1.0"
        picture.save(tmp_path / "b.jpg", exif=exif, xmp=picture.info["xmp"])
    assert read_provenance(tmp_path / "b.jpg") is not None
    from lwisp.files.decoding import is_own

    assert is_own(path)
    assert not is_own(tmp_path / "b.jpg")
