"""Tags on their way through the verbs: kept, or left out by --strip, and asked for again by another call."""

from pathlib import Path

import numpy as np
from PIL import Image
from typer.testing import CliRunner, Result

from lwisp.architecture import LWISPConfig
from lwisp.cli.commands import app
from lwisp.data.datasets import AS_SENSED
from lwisp.files.exif import EXIF_IFD
from lwisp.files.pictures import read_picture, read_properties
from lwisp.files.raw import read_raw
from lwisp.files.xmp import build
from lwisp.model import LWISP
from lwisp.weights import Card, save
from tests.conftest import WriteDng

MOSAIC = np.random.default_rng(0).integers(64, 4000, (40, 60), dtype=np.uint16)
NAMES = ((315, "s", 0, "Zoë".encode(), True), (42033, "s", 0, "4711", True), (42036, "s", 0, "18-55mm", True))


def call(*arguments: object) -> Result:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result


def test_develop_keeps_tags_and_sidecar_and_strip_leaves_them_out(
    write_dng: WriteDng, toy_file: Path, tmp_path: Path
) -> None:
    path = write_dng(MOSAIC, extra=NAMES)
    edits = b'crs:Exposure2012="1" xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" rdf:about=""'
    told = build({"dc:subject": ("Möwe",), "xmp:Rating": "4"}).replace(b'rdf:about=""', edits)
    (tmp_path / "photo.xmp").write_bytes(told)
    result = call("develop", path, "-o", tmp_path / "a.jpg", "--weights", toy_file)
    assert "edits of Camera Raw in photo.xmp are ignored" in result.stderr
    kept = read_picture(tmp_path / "a.jpg")
    assert kept.properties == {"dc:subject": ("Möwe",), "xmp:Rating": "4"}
    photo = kept.exif.get_ifd(EXIF_IFD)
    assert (kept.exif[315], photo[42033], photo[42036]) == ("Zoë", "4711", "18-55mm")
    assert read_properties(tmp_path / "a.jpg")["lwisp:Verb"] == "develop"

    call("develop", path, "-o", tmp_path / "b.jpg", "--weights", toy_file, "--strip")
    stripped = read_picture(tmp_path / "b.jpg")
    assert stripped.properties == {"xmp:Rating": "4"}
    assert 315 not in stripped.exif
    assert 42033 not in stripped.exif.get_ifd(EXIF_IFD)
    assert stripped.exif.get_ifd(EXIF_IFD)[42036] == "18-55mm"


def test_a_picture_with_names_is_not_the_one_that_strip_asks_for(
    write_dng: WriteDng, toy_file: Path, tmp_path: Path
) -> None:
    words = ("develop", write_dng(MOSAIC, extra=NAMES), "-o", tmp_path / "out", "--weights", toy_file)
    call(*words)
    content = (tmp_path / "out" / "photo.jpg").read_bytes()
    call(*words)  # it is there
    assert (tmp_path / "out" / "photo.jpg").read_bytes() == content
    again = CliRunner().invoke(app, [*map(str, words), "--strip"])
    assert (again.exit_code, "exists already" in again.stderr) == (1, True)
    call(*words, "--strip", "--overwrite")
    assert "Zoë".encode() not in (tmp_path / "out" / "photo.jpg").read_bytes()


def test_a_denoised_raw_keeps_or_loses_them_too(write_dng: WriteDng, tmp_path: Path) -> None:
    path = write_dng(MOSAIC, extra=NAMES)
    (tmp_path / "photo.dng.xmp").write_bytes(build({"dc:title": "Möwe", "xmp:Rating": "2"}))
    call("denoise-raw", path, "-o", tmp_path / "a.dng")
    kept = read_raw(tmp_path / "a.dng")
    assert kept.properties == {"dc:title": "Möwe", "xmp:Rating": "2"}
    assert (kept.exif[315], kept.exif.get_ifd(EXIF_IFD)[42033]) == ("Zoë", "4711")
    call("denoise-raw", path, "-o", tmp_path / "b.dng", "--strip")
    stripped = read_raw(tmp_path / "b.dng")
    assert stripped.properties == {"xmp:Rating": "2"}
    assert 315 not in stripped.exif
    assert 42033 not in stripped.exif.get_ifd(EXIF_IFD)


def test_denoise_and_enhance_keep_or_lose_them_too(tmp_path: Path) -> None:
    config = LWISPConfig(width=4, in_channels=3, upsample=False, residual=True)
    weights = tmp_path / "toy.safetensors"
    save(weights, LWISP(config), Card("toy", config, AS_SENSED, "MIT"))
    exif = Image.Exif()
    exif[33432] = "© Zoë".encode().decode("latin-1")  # as Pillow has the bytes
    told = build({"dc:title": "Möwe", "xmp:Rating": "2", "lwisp:Verb": "develop"})
    rgb = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    file = tmp_path / "a.jpg"
    Image.fromarray(rgb).save(file, xmp=told, exif=_with_bytes(exif))
    for verb in ("denoise", "enhance"):
        call(verb, file, "-o", tmp_path / f"{verb}.jpg", "--weights", weights)
        kept = read_picture(tmp_path / f"{verb}.jpg")
        assert kept.properties == {"dc:title": "Möwe", "xmp:Rating": "2"}
        assert kept.exif[33432] == "© Zoë"
        assert read_properties(tmp_path / f"{verb}.jpg")["lwisp:Verb"] == verb
        call(verb, file, "-o", tmp_path / f"{verb}.png", "--weights", weights, "--strip")
        stripped = read_picture(tmp_path / f"{verb}.png")
        assert (stripped.properties, 33432 in stripped.exif) == ({"xmp:Rating": "2"}, False)


def _with_bytes(exif: Image.Exif) -> bytes:
    """Tags written with their Latin letters as bytes, which Pillow by itself does not do."""
    text = exif[33432]
    marker = "?" * len(text)
    exif[33432] = marker
    return exif.tobytes().replace(marker.encode(), text.encode("latin-1"))
