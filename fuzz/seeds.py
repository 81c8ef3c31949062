"""Small sound inputs of every kind, made by lwisp's own writers: what mutations begin with."""

import contextlib
import io
import json
import lzma
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from fuzz.mutators import join
from lwisp.errors import InputError
from lwisp.files.dng_content import build_dng, color_tags, frame_tags, linear_tags, mosaic_tags
from lwisp.files.dng_tags import NOISE_PROFILE, OPCODE_LISTS
from lwisp.files.icc import gray_profile, srgb_profile
from lwisp.files.pictures import write_picture
from lwisp.files.xmp import XMP_TAG, build
from lwisp.imaging.patterns import XTRANS
from tests.lossless import lossless_dng, noisy

ROOT = Path(__file__).parent.parent
OLD = ROOT / "tests" / "old" / "0.1.0"
GAINS, MATRIX = (2.0, 1.0, 1.5), np.eye(3, dtype=np.float32)
PACKET = build({"dc:title": "A title", "xmp:Rating": "3", "dc:subject": ("one", "two"), "dc:creator": ("Nobody",)})
BOUNDARY = b"----lwisp"


def raws() -> Iterator[bytes]:
    """DNGs: Bayer, quad-Bayer and linear, with opcode lists, crops and tags, in strips and lossless tiles."""
    small, pattern = noisy(48, 72), np.array([["R", "G"], ["G", "B"]])
    bayer = mosaic_tags(pattern, (64, 64, 64, 64), 4095) | color_tags(MATRIX, GAINS)
    yield build_dng(small, bayer)
    lists = dict.fromkeys(OPCODE_LISTS, _opcodes())
    told = {NOISE_PROFILE: (1e-4, 1e-6), XMP_TAG: PACKET, 306: "2026:11:28 12:00:00", 34855: 100, 50707: b"\1\3\0\0"}
    yield build_dng(small, {**bayer, **lists, **told, **frame_tags((4, 4, 32, 48), 2.0)})
    quad = pattern.repeat(2, 0).repeat(2, 1)
    yield build_dng(small, mosaic_tags(quad, (64,), 4095) | color_tags(MATRIX, GAINS))
    rgb = np.stack([small] * 3, -1)
    yield build_dng(rgb, linear_tags((64, 64, 64), (4095, 4095, 4095)) | color_tags(MATRIX, GAINS))
    yield build_dng(small, linear_tags((64,), (4095,)))
    yield lossless_dng(small, 24)
    yield _float_dng((rgb / 4095).astype(np.float16))
    yield (OLD / "photo.dng").read_bytes()


def xtrans() -> Iterator[bytes]:
    """A DNG with Fujifilm's pattern, which takes LibRaw long."""
    yield build_dng(noisy(48, 72), mosaic_tags(XTRANS, (64,), 4095) | color_tags(MATRIX, GAINS))


def _float_dng(values: NDArray[np.float16]) -> bytes:
    file = io.BytesIO()
    tags = [(50706, "B", 4, bytes([1, 4, 0, 0]), True), (50708, "s", 0, "Lwisp Testcam", True)]
    tifffile.imwrite(file, values, photometric=34892, metadata=None, extratags=tags, compression="zlib", tile=(16, 16))
    return file.getvalue()


def _opcodes() -> bytes:
    gain_map = struct.pack(">10L4dL", 0, 0, 48, 72, 0, 1, 1, 1, 2, 2, 1, 1, 0, 0, 1) + struct.pack(">4f", 1, 2, 1.5, 1)
    parts = [(9, gain_map), (3, struct.pack(">7d", 0.1, 0, 0, 0, 0, 0.5, 0.5)), (1, bytes(64))]
    coded = [struct.pack(">4L", number, 0x01030000, 1, len(data)) + data for number, data in parts]
    return struct.pack(">L", len(coded)) + b"".join(coded)


def pictures() -> Iterator[bytes]:
    """JPEG, PNG and TIFF of every mode, with profiles, tags and pages; HEIF and AVIF where they can be written."""
    rgb = (noisy(32, 96).reshape(32, 32, 3) >> 3).astype(np.uint8)
    exif = Image.Exif()
    exif[271], exif[274], exif[306] = "Lwisp", 6, "2026:11:28 12:00:00"
    exif.get_ifd(0x8769).update({36867: "2026:11:28 12:00:00", 33434: 0.01, 37500: b"makernote"})
    exif.get_ifd(0x8825).update({1: "N", 2: (1.0, 2.0, 3.0)})
    for mode, form, options in (
        ("RGB", "JPEG", {"icc_profile": srgb_profile(), "exif": exif}),
        ("RGB", "JPEG", {"progressive": True, "xmp": PACKET}),
        ("L", "JPEG", {"icc_profile": gray_profile()}),
        ("CMYK", "JPEG", {}),
        ("RGB", "PNG", {"icc_profile": srgb_profile(), "exif": exif}),
        ("RGBA", "PNG", {}),
        ("P", "PNG", {}),
        ("1", "PNG", {}),
        ("I;16", "PNG", {}),
        ("RGB", "TIFF", {"icc_profile": srgb_profile(), "exif": exif}),
        ("RGB", "TIFF", {"compression": "tiff_lzw"}),
        ("CMYK", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("L", "TIFF", {"compression": "packbits", "save_all": True, "append_images": [Image.new("L", (8, 8))]}),
        ("LAB", "TIFF", {}),
        ("RGB", "TIFF", {"compression": "jpeg"}),
    ):
        file = io.BytesIO()
        picture = Image.fromarray(rgb)
        picture = (
            Image.fromarray(noisy(16, 16)) if mode == "I;16" else picture.convert(mode) if mode != "LAB" else picture
        )
        if mode == "LAB":
            picture = Image.frombytes("LAB", (32, 32), rgb.tobytes())
        picture.save(file, form, **options)
        yield file.getvalue()
    with tempfile.TemporaryDirectory() as folder:
        for suffix in ("png", "tif", "avif", "heic"):
            path = Path(folder, "picture").with_suffix(f".{suffix}")
            with contextlib.suppress(InputError):  # its encoder is not installed
                write_picture(path, rgb / np.float32(255), exif=exif, properties={"dc:title": "A title"})
                yield path.read_bytes()
    yield (OLD / "photo-lwisp.jpg").read_bytes()


def weights() -> Iterator[bytes]:
    """A toy's safetensors file, with a card that says all that cards say."""
    yield lzma.decompress((OLD / "toy.safetensors.xz").read_bytes())


def graphs() -> Iterator[bytes]:
    """The same toy exported, and a graph of one node."""
    yield lzma.decompress((OLD / "toy.onnx.xz").read_bytes())
    yield bytes.fromhex("0808122908") + b"\0" * 3


def recipes() -> Iterator[bytes]:
    """Recipes that come with lwisp."""
    for path in sorted((ROOT / "recipes").glob("*.toml")):
        yield path.read_bytes()


def mosaics() -> Iterator[bytes]:
    """The facts of a sensor, and its mosaic: NumPy, PNG, TIFF, packed bits."""
    small = noisy(16, 16)
    facts = b'cfa = "RGGB"\nblack_level = [64, 64, 64, 64]\nwhite_level = 4095\n'
    more = b"white_balance = [2.0, 1.0, 1.5]\ncolor_matrix = [1, 0, 0, 0, 1, 0, 0, 0, 1]\norientation = 6\n"
    file = io.BytesIO()
    np.save(file, small)
    yield join([facts + more, file.getvalue()])
    file = io.BytesIO()
    np.save(file, np.asfortranarray(small.astype(">i4")))
    yield join([facts, file.getvalue()])
    for form in ("PNG", "TIFF"):
        file = io.BytesIO()
        Image.fromarray(small).save(file, form)
        yield join([facts, file.getvalue()])
    for packing, stride in (("raw10", 20), ("raw12", 24), ("raw16le", 32), ("raw16be", 40)):
        told = f'packing = "{packing}"\nwidth = 16\nheight = 16\nstride = {stride}\n'.encode()
        yield join([b'cfa = "GBRG"\nblack_level = 16\nwhite_level = 1000\n' + told, bytes(range(stride)) * 16])


def defaults() -> Iterator[bytes]:
    """`lwisp.toml` with options of all verbs, and of some."""
    yield b'quality = 90\nprecision = "fp32"\n[develop]\nexposure = 0.5\nlook = "mine"\n[denoise]\npasses = 2\n'
    yield b'jobs = 2\nquiet = true\nname = "{date}/{stem}"\n[enhance]\nsize = 2000\nprofile = "p3"\n'


def sidecars() -> Iterator[bytes]:
    """A RAW's or a picture's XMP beside it, and the IPTC block within a JPEG."""
    iptc = b"\x1c\x02\x05\x00\x05title\x1c\x02\x19\x00\x04word\x1c\x01\x5a\x00\x03\x1b%G"
    yield join([PACKET, iptc])
    described = PACKET.replace(
        b"<rdf:Description",
        b'<rdf:Description xmlns:crs="http://ns.adobe.com/camera-raw-settings/1.0/" crs:Exposure2012="+1.0"',
        1,
    )
    yield join([described, iptc])
    yield join([b"<?xml version='1.0' encoding='UTF-16'?><!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>", iptc[:10]])


def requests() -> Iterator[bytes]:
    """Requests to the server: a line of method and path, lines of headers, an empty line, the body."""
    form = b"Content-Type: multipart/form-data; boundary=" + BOUNDARY
    photo = _part(b'name="file"; filename="a.dng"', b"good " + bytes(40))
    knobs = _part(b'name="exposure"', b"0.5") + _part(b'name="format"', b"tiff") + _part(b'name="weights"', b"photo")
    end = b"--" + BOUNDARY + b"--\r\n"
    for path in (b"/develop", b"/jobs"):
        yield b"POST " + path + b"\n" + form + b"\n\n" + photo + knobs + end
    watcher = _part(b'name="watcher"', b"x" * 10) + _part(b'name="white_balance"', b"5000,10")
    yield b"POST /jobs\n" + form + b"\n\n" + knobs + watcher + photo + end
    yield b"POST /jobs/JOB/again\n" + form + b"\n\n" + knobs + end
    for line in (
        "GET /",
        "GET /docs",
        "GET /settings",
        "GET /jobs/JOB",
        "GET /jobs/JOB/picture",
        "GET /jobs/JOB/before",
    ):
        yield line.encode() + b"\n\n"
    yield b"DELETE /jobs/JOB\n\n"
    yield b"POST /develop\nContent-Type: application/json\n\n" + json.dumps({"file": "a"}).encode()


def _part(disposition: bytes, content: bytes) -> bytes:
    return b"--" + BOUNDARY + b"\r\nContent-Disposition: form-data; " + disposition + b"\r\n\r\n" + content + b"\r\n"


def tagged() -> Iterator[bytes]:
    """Files whose tags are read without their pixels: RAWs and pictures."""
    yield from raws()
    yield from pictures()
