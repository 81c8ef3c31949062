"""Picture files are opened by one function, which decodes what is expected and nothing else."""

import ast
import io
import os
import struct
import sys
import types
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageFile, JpegImagePlugin, features

import lwisp
from lwisp.camera import pairs, target
from lwisp.data import folders
from lwisp.files import decoding, encoding
from lwisp.files import pictures as image
from lwisp.files.decoding import is_own, opened
from lwisp.files.pictures import write_picture
from lwisp.files.raw import read_mosaic
from tests.conftest import ROOT, WriteDng, refusal

RNG = np.random.default_rng(0)
POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n{} loop\n%%EOF\n"


def jpeg_header(height: int, width: int, process: int = 0xC0) -> bytes:
    """A JPEG of one gray channel without any of its pixels: all that is needed is said, then it ends."""
    buffer = io.BytesIO()
    Image.new("L", (8, 8), 90).save(buffer, "JPEG")
    content = buffer.getvalue()
    frame = content.index(b"\xff\xc0")
    size = struct.pack(">HH", height, width)
    head = content[:frame] + bytes([0xFF, process]) + content[frame + 2 : frame + 5] + size + content[frame + 9 :]
    scan = head.index(b"\xff\xda")
    return head[: scan + 2 + struct.unpack(">H", head[scan + 2 : scan + 4])[0]] + b"\xff\xd9"


def png_chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(height: int, width: int) -> bytes:
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", b"") + png_chunk(b"IEND", b"")


def test_pictures_are_opened_in_one_place() -> None:
    for path in (ROOT / "lwisp").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                assert ast.unparse(node) not in ("Image.open", "PIL.Image.open"), path
                assert node.attr != "register_heif_opener", path
            if isinstance(node, ast.ImportFrom | ast.Import) and path.name != "decoding.py":
                names = {alias.name for alias in node.names}
                assert not names & {"open", "JpegImagePlugin", "PngImagePlugin", "ImageFile", "pillow_heif"}, path


@pytest.fixture
def no_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """A Ghostscript that leaves a trace where it was called."""
    folder = tmp_path / "programs"
    folder.mkdir()
    called = tmp_path / "called"
    for name in ("gs", "gswin64c", "gswin32c"):
        (folder / name).write_text(f"#!/bin/sh\ntouch '{called}'\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    yield called
    assert not called.exists()


def test_postscript_under_a_pictures_name_is_refused_by_name_and_starts_nothing(
    tmp_path: Path, write_dng: WriteDng, no_programs: Path
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(POSTSCRIPT)
    raw = lwisp.read_raw(write_dng(RNG.integers(64, 4000, (120, 120), dtype=np.uint16)))
    pair = pairs.Pair(tmp_path / "photo.dng", path, "", "")
    readers: tuple[Callable[[], object], ...] = (
        lambda: image.read_picture(path),
        lambda: image.read_rgb(path),
        lambda: image.check_picture(path),
        lambda: folders.check_files([path], "rgb"),
        lambda: read_mosaic(path, "RGGB", 0, 4095),
        lambda: target.read_target(pair, raw),
    )
    for reader in readers:
        assert "a file of the format PostScript" in refusal(path, reader)
    assert image.own_format(path) == "jpg"
    found, (refused,) = pairs.find_pairs(tmp_path)
    assert (found, "PostScript" in refused.reason) == ([], True)


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\0\0\0\x20ftypavif" + bytes(50), "AVIF"),
        (b"RIFF\0\0\0\0WEBP" + bytes(50), "WebP"),
        (b"GIF89a" + bytes(50), "GIF"),
        (b"", "not a picture of a known format"),
        (b"text", "not a picture of a known format"),
    ],
)
def test_other_formats_are_refused_by_name(content: bytes, name: str, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    message = refusal(path, image.read_picture, path)
    assert name in message
    assert "expected JPEG, PNG, TIFF or HEIF" in message


def test_a_picture_is_opened_whatever_its_name_says(tmp_path: Path) -> None:
    rgb = RNG.integers(0, 256, (9, 7, 3), dtype=np.uint8)
    write_picture(tmp_path / "a.jpg", rgb, "png")
    assert np.array_equal(image.read_rgb(tmp_path / "a.jpg"), rgb)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_is_no_picture_and_nobody_waits_for_it(tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    os.mkfifo(path)
    assert "no such file" in refusal(path, image.read_picture, path)
    assert image.own_format(path) == "jpg"
    assert not is_own(path)


@contextmanager
def nothing_decoded() -> Iterator[None]:
    def refuse(*_: object) -> None:
        raise AssertionError("decoded")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ImageFile.ImageFile, "load", refuse)
        yield


@pytest.mark.parametrize(
    "content",
    [jpeg_header(13000, 13000), jpeg_header(13000, 13000, 0xC2), png_header(13000, 13000)],
    ids=["JPEG", "progressive JPEG", "PNG"],
)
def test_a_file_too_small_for_its_pixels_is_refused_before_decoding(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with nothing_decoded():
        assert "13000x13000 px in " in refusal(path, image.read_picture, path)


def test_more_pixels_than_allowed_are_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(png_header(20000, 20001))
    with nothing_decoded():
        assert "400 MP), more than the 200 MP" in refusal(path, image.read_picture, path)
    write_picture(tmp_path / "a.png", RNG.random((40, 50, 3)), "png16")
    with nothing_decoded():
        assert "40x50 px" in refusal(tmp_path / "a.png", image.read_picture, tmp_path / "a.png", 1999)
    assert image.read_picture(tmp_path / "a.png", 2000).rgb.shape == (40, 50, 3)
    Image.fromarray(np.zeros((40, 50), np.uint16)).save(tmp_path / "mosaic.png")
    with pytest.raises(lwisp.InputError, match="40x50 px"):
        read_mosaic(tmp_path / "mosaic.png", "RGGB", 0, 4095, max_pixels=1999)


@pytest.mark.parametrize("options", [{"progressive": True}, {}, {"subsampling": 2}], ids=str)
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_no_flat_jpeg_is_taken_for_a_file_that_lacks_something(mode: str, options: dict[str, bool]) -> None:
    """The smallest that there is: one color, the shortest codes."""
    content = io.BytesIO()
    Image.new(mode, (6000, 4000)).save(content, "JPEG", quality=1, optimize=True, **options)
    with opened(content.getvalue()) as picture:
        assert picture.size == (6000, 4000)


@pytest.mark.parametrize(
    ("form", "options"),
    [("PNG", {"compress_level": 9}), ("TIFF", {})]
    + [("TIFF", {"compression": name}) for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg")],
    ids=str,
)
def test_no_flat_picture_is_taken_for_a_file_that_lacks_something(form: str, options: dict[str, object]) -> None:
    if form == "TIFF" and options and not features.check("libtiff"):
        pytest.skip("Pillow lacks libtiff")
    content = io.BytesIO()
    Image.new("L" if form == "PNG" else "RGB", (5000, 3500)).save(content, form, **options)
    with opened(content.getvalue()) as picture:
        assert picture.size == (5000, 3500)


def test_nothing_of_the_process_changes(tmp_path: Path) -> None:
    """Pillow's limit and its list of formats are one for all that runs in the process."""
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)
    write_picture(tmp_path / "a.jpg", RNG.random((30, 40, 3)), "jpg")
    image.read_picture(tmp_path / "a.jpg")
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)


ODD_ERRORS = [
    SyntaxError("broken"),
    struct.error("short"),
    MemoryError(),
    EOFError("end"),
    zlib.error("bad"),
    TypeError("none"),
    ZeroDivisionError("zero"),
    AttributeError("no"),
    AssertionError(),
    RuntimeError("decoder"),
    UserWarning("as an error"),
    Image.DecompressionBombError("large"),
    KeyError("tag"),
]


@pytest.mark.parametrize("error", ODD_ERRORS, ids=lambda error: type(error).__name__)
def test_whatever_a_decoder_raises_is_one_sentence(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.jpg"
    write_picture(path, RNG.random((30, 40, 3)), "jpg")

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(JpegImagePlugin.JpegImageFile, "load", fail)
    for reader in (image.read_picture, image.read_rgb):
        assert "cannot be read as a picture: " in refusal(path, reader, path)


def test_heif_is_read_without_being_made_known_to_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pillow-heif's own reader is called; its registration would let all of the process open HEIF."""
    path = tmp_path / "photo.heic"
    path.write_bytes(b"\0\0\0\x20ftypheic" + bytes(50))
    module = types.ModuleType("pillow_heif")
    module.HeifImageFile = lambda file: Image.new("RGB", (40, len(file.read())))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pillow_heif", module)
    known = set(Image.OPEN)
    with opened(path, formats=pairs.PICTURE_FORMATS) as picture:
        assert picture.size == (40, 62)
    assert set(Image.OPEN) == known
    assert "HEIF" in refusal(path, image.check_picture, path)  # not promised there
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(lwisp.InputError, match="pip install pillow-heif"):
        image.read_picture(path)


def test_lwisp_knows_what_it_wrote(tmp_path: Path, write_dng: WriteDng) -> None:
    rgb = RNG.random((30, 40, 3), dtype=np.float32)
    kinds: tuple[encoding.Format, ...] = ("jpg", "png", "png16", "tiff", "avif")
    for kind in kinds:
        path = tmp_path / f"{kind}{encoding.SUFFIXES[kind]}"
        write_picture(path, rgb, kind)
        assert is_own(path), kind
    other = write_dng(RNG.integers(64, 4000, (40, 60), dtype=np.uint16))
    assert not is_own(other)
    lwisp.write_dng(tmp_path / "own.dng", lwisp.read_raw(other))
    assert is_own(tmp_path / "own.dng")
    exif = Image.Exif()
    exif[305], exif[271] = "Camera firmware 1.0", "lwisp"
    Image.fromarray((rgb * 255).astype(np.uint8)).save(tmp_path / "camera.jpg", exif=exif)
    for name in ("plain.png", "plain.jpg", "plain.tif"):
        Image.fromarray((rgb * 255).astype(np.uint8)).save(tmp_path / name)
    (tmp_path / "text.jpg").write_text("lwisp 0.1.0")
    for name in ("camera.jpg", "plain.png", "plain.jpg", "plain.tif", "text.jpg", "none.jpg", "."):
        assert not is_own(tmp_path / name), name


def add_pages(path: Path, count: int) -> None:
    """Lengthen a TIFF of little endian, with one page, by pages that show the same."""
    content = bytearray(path.read_bytes())
    start = struct.unpack("<I", content[4:8])[0]
    length = 2 + 12 * struct.unpack("<H", content[start : start + 2])[0]
    directory, link = content[start : start + length], start + length
    for _ in range(count):
        content += bytes(len(content) % 2)
        content[link : link + 4] = struct.pack("<I", len(content))
        link = len(content) + length
        content += directory + bytes(4)
    path.write_bytes(content)


def test_of_a_tiff_with_pages_and_tags_the_first_page_is_read_and_the_others_are_told_of(tmp_path: Path) -> None:
    path, exif = tmp_path / "pages.tif", Image.Exif()
    exif[271] = "Make"
    exif.get_ifd(0x8769).update({34855: 200})
    rgb = RNG.integers(0, 65536, (12, 9, 3), dtype=np.uint16)
    write_picture(path, rgb, "tiff", exif)
    assert image.read_picture(path).notes == ()
    add_pages(path, 1)
    assert image.read_picture(path).notes == ("1 further page left out",)
    write_picture(path, rgb, "tiff", exif, overwrite=True)
    add_pages(path, 2)
    picture = image.read_picture(path)
    assert picture.notes == ("2 further pages left out",)
    assert np.array_equal(picture.rgb, rgb)
    assert (picture.exif[271], picture.exif.get_ifd(0x8769)[34855]) == ("Make", 200)


def test_another_pages_tags_do_not_turn_the_first(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    pages = [Image.new("RGB", (12, 9), color) for color in ("red", "green", "blue")]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:], exif=exif)
    picture = image.read_picture(tmp_path / "a.tif")
    assert (picture.rgb.shape, picture.rgb[0, 0].tolist()) == ((12, 9, 3), [255, 0, 0])


def test_a_raw_under_a_pictures_name_is_refused_for_its_preview_is_not_the_photo(
    tmp_path: Path, write_dng: WriteDng
) -> None:
    """Most RAWs are TIFFs that begin with a small finished picture."""
    preview = RNG.integers(0, 256, (12, 16, 3), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "nef.tif", preview, subfiletype=1, photometric="rgb")
    version = [(50706, "B", 4, bytes([1, 4, 0, 0]), True)]
    tifffile.imwrite(tmp_path / "dng.tif", preview, photometric="rgb", extratags=version)
    for name in ("nef.tif", "dng.tif"):
        for reader in (image.read_picture, image.read_rgb, image.check_picture):
            message = refusal(tmp_path / name, reader, tmp_path / name)
            assert "`lwisp develop`" in message
            assert "`lwisp denoise-raw`" in message
    path = write_dng(RNG.integers(64, 4000, (40, 60), dtype=np.uint16), name="photo.tif")
    assert str(path) in refusal(path, image.read_picture, path)


def test_a_damaged_profile_does_not_hinder(tmp_path: Path) -> None:
    rgb = RNG.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    Image.fromarray(rgb).save(tmp_path / "a.png", icc_profile=b"garbage" * 30)
    assert np.array_equal(image.read_picture(tmp_path / "a.png").rgb, rgb)
    assert np.array_equal(image.read_rgb(tmp_path / "a.png"), rgb)
    assert decoding.MAX_PIXELS == 200e6  # what the help of the commands says
