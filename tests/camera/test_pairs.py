"""RAW and JPEG found together, and told apart by their tags."""

import io
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import lwisp
from lwisp.camera import pairs
from lwisp.camera.pairs import find_pairs
from tests.conftest import SAMPLE, WriteDng, refusal, require

S40 = SAMPLE.parent / "CRW_0117.CRW"
TIME = "2021:03:26 21:16:32"


def jpeg(picture: Image.Image, exif: Image.Exif | None = None) -> bytes:
    content = io.BytesIO()
    picture.save(content, "JPEG", quality=92, exif=Image.Exif() if exif is None else exif)
    return content.getvalue()


def taken(time: str = TIME, program: str = "") -> Image.Exif:
    exif = Image.Exif()
    exif[306] = time
    if program:
        exif[305] = program
    return exif


def test_tags_of_another_shot_or_another_program_are_refused(tmp_path: Path, write_dng: WriteDng) -> None:
    mosaic = np.random.default_rng(0).integers(0, 4000, (64, 64)).astype(np.uint16)
    picture = Image.new("RGB", (64, 64))
    names = {"same": taken(), "late": taken("2021:03:26 21:17:00"), "edited": taken(program="darktable 4.6")}
    for name, exif in names.items():
        write_dng(mosaic, name=f"{name}.dng", extra=((306, "s", 0, TIME, True),))
        (tmp_path / f"{name}.jpg").write_bytes(jpeg(picture, exif))
    write_dng(mosaic, name="alone.DNG")
    write_dng(mosaic, name="broken.dng")
    (tmp_path / "broken.JPEG").write_bytes(b"\xff\xd8 no")
    (tmp_path / "empty.dng").touch()
    found, refusals = find_pairs(tmp_path)
    assert [pair.raw.name for pair in found] == ["same.dng"]
    assert found[0].camera == "Lwisp Testcam"
    reasons = {refused.path.name: refused.reason for refused in refusals}
    assert "none inside" in reasons.pop("alone.DNG")
    assert "cannot be read" in reasons.pop("broken.dng")
    assert "not by the camera" in reasons.pop("edited.dng")
    assert "another shot" in reasons.pop("late.dng")
    assert "empty" in reasons.pop("empty.dng")
    assert not reasons
    assert all("\n" not in refused.reason for refused in refusals)


def test_a_folder_without_raw_files_is_refused_and_folders_in_it_are_searched(tmp_path: Path) -> None:
    (tmp_path / "2021" / ".trash").mkdir(parents=True)
    shutil.copy(S40, tmp_path / "2021" / ".trash")
    assert "no RAW files" in refusal(tmp_path, find_pairs, tmp_path)
    assert "expected a folder" in refusal(tmp_path / "x", find_pairs, tmp_path / "x")
    os.mkfifo(tmp_path / "pipe.dng")
    shutil.copy(S40, tmp_path / "2021" / "b.crw")
    found, _ = find_pairs(tmp_path)
    assert [pair.raw for pair in found] == [tmp_path / "2021" / "b.crw"]


def test_folders_that_cannot_be_read_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: str) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", deny)
    assert "Permission denied" in refusal(tmp_path, find_pairs, tmp_path)


def test_what_lwisp_made_is_never_taken_for_the_cameras(tmp_path: Path, write_dng: WriteDng) -> None:
    mosaic = np.random.default_rng(0).integers(0, 4000, (64, 64)).astype(np.uint16)
    picture, own = Image.new("RGB", (64, 64)), taken(program="lwisp 0.1.0")
    tag = ((306, "s", 0, TIME, True),)
    for name in ("both", "other", "own", "edited"):
        write_dng(mosaic, name=f"{name}.dng", extra=tag)
    for name, exif in {
        "both.JPG": taken(),
        "both.jpg": own,
        "both-lwisp.jpg": own,
        "other.jpg": own,
        "other.jpeg": taken(),
        "own.jpg": own,
        "edited.JPG": taken(),
        "edited.jpg": taken(program="GIMP 2.10"),
    }.items():
        (tmp_path / name).write_bytes(jpeg(picture, exif))
    shutil.copy(S40, tmp_path)
    (tmp_path / "CRW_0117.jpg").write_bytes(jpeg(picture, own))
    found, (refused,) = find_pairs(tmp_path)
    names = {pair.raw.name: pair.jpeg and pair.jpeg.name for pair in found}
    expected = {"both.dng": "both.JPG", "other.dng": "other.jpeg", "edited.dng": "edited.JPG", "CRW_0117.CRW": None}
    assert names == expected  # of the last the JPEG inside
    assert (refused.path.name, "none inside" in refused.reason) == ("own.dng", True)


def test_whatever_is_wrong_with_one_photo_the_others_are_paired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.crw", "b.crw", "c.crw"):
        shutil.copy(S40, tmp_path / name)
    read = lwisp.files.raw.read_preview

    def fail(path: Path) -> object:
        if path.name == "b.crw":
            raise MemoryError
        return read(path)

    monkeypatch.setattr(pairs, "read_preview", fail)
    found, (refused,) = find_pairs(tmp_path)
    assert [pair.raw.name for pair in found] == ["a.crw", "c.crw"]
    assert refused.reason == f"{tmp_path / 'b.crw'}: there is not enough memory for it"


def write_heif(path: Path, picture: Image.Image, exif: Image.Exif | None = None, **coding: int) -> Path:
    tags = None if exif is None else exif.tobytes()
    require("pillow_heif").from_pillow(picture).save(path, quality=90, exif=tags, **coding)
    return path


def test_heif_beside_a_raw_is_its_cameras_picture(tmp_path: Path, write_dng: WriteDng) -> None:
    mosaic = np.random.default_rng(0).integers(0, 4000, (64, 64)).astype(np.uint16)
    picture = Image.new("RGB", (64, 64), (90, 60, 30))
    for name in ("a", "b", "late", "edited", "hdr"):
        write_dng(mosaic, name=f"{name}.dng", extra=((306, "s", 0, TIME, True),))
    write_heif(tmp_path / "a.HEIC", picture, taken())
    write_heif(tmp_path / "b.hif", picture)
    (tmp_path / "b.jpg").write_bytes(jpeg(picture, taken()))
    write_heif(tmp_path / "late.heif", picture, taken("2021:03:26 21:17:00"))
    write_heif(tmp_path / "edited.heic", picture, taken(program="Snapseed 2"))
    write_heif(tmp_path / "hdr.hif", picture, transfer_characteristics=16)
    found, refusals = find_pairs(tmp_path)
    assert {pair.raw.name: pair.jpeg and pair.jpeg.name for pair in found} == {"a.dng": "a.HEIC", "b.dng": "b.jpg"}
    assert found[0].jpeg_name == f"{tmp_path / 'a.HEIC'}: the HEIF"
    reasons = {refused.path.name: refused.reason for refused in refusals}
    assert "another shot" in reasons["late.dng"]
    assert "not by the camera" in reasons["edited.dng"]
    assert reasons["hdr.dng"].startswith(f"{tmp_path / 'hdr.hif'}: an HDR picture (PQ)")
    assert len(reasons) == 3


def test_without_a_reader_of_heif_one_sentence_tells_of_all_such_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "is_there", lambda package: False)
    (tmp_path / "deep").mkdir()
    for name in ("a", "deep/b", "c"):
        shutil.copy(S40, tmp_path / f"{name}.crw")
        (tmp_path / f"{name}.HIF").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "c.jpg").write_bytes(jpeg(Image.new("RGB", (64, 64))))
    (tmp_path / "alone.heic").touch()
    found, (refused,) = find_pairs(tmp_path)
    assert [pair.jpeg and pair.jpeg.name for pair in found] == [None, "c.jpg", None]  # a and b have a JPEG inside
    assert refused.reason.startswith(f"{tmp_path / 'a.HIF'}: the first of 2 HEIF pictures beside RAW files")
    assert refused.reason.endswith("pip install pillow-heif")
