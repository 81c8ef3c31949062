"""AVIF, HEIF and JPEG XL: written where the encoder is installed, with profile, tags and XMP; else one sentence."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from lwisp.errors import InputError
from lwisp.files.decoding import WRITTEN, is_own, opened, read_tags
from lwisp.files.encoding import SUFFIXES, Finish, Format
from lwisp.files.icc import srgb_profile
from lwisp.files.pictures import read_properties, write_picture

NEEDS: dict[Format, str] = {"avif": "", "heif": "pillow_heif", "jxl": "pillow_jxl"}
RAMP = np.broadcast_to(np.linspace(0, 255, 96)[None, :, None], (64, 96, 3)).astype(np.uint8)


def can_write(format: Format) -> bool:
    return bool(features.check("avif")) if format == "avif" else find_spec(NEEDS[format]) is not None


@pytest.mark.parametrize("format", ["avif", "heif", "jxl"])
def test_modern_formats_carry_all_that_others_do(format: Format, tmp_path: Path) -> None:
    if not can_write(format):
        pytest.skip(f"no encoder of {format}")
    path = tmp_path / f"a{SUFFIXES[format]}"
    exif = Image.Exif()
    exif[315] = "An artist"
    write_picture(path, RAMP, exif=exif, properties={"lwisp:Verb": "develop"}, finish=Finish(quality=90))
    with opened(path, formats=WRITTEN) as picture:
        pixels = np.asarray(picture.convert("RGB"))
        assert read_tags(picture)[315] == "An artist"
        assert "icc_profile" in picture.info
        assert format == "jxl" or picture.info["icc_profile"] == srgb_profile()  # JPEG XL says the same in its words
    assert abs(pixels.astype(int) - RAMP).mean() < 2
    assert is_own(path)
    assert read_properties(path) == {"lwisp:Verb": "develop"}


@pytest.mark.parametrize("format", ["heif", "jxl"])
def test_without_the_encoder_one_sentence_says_what_to_install(format: Format, tmp_path: Path) -> None:
    if can_write(format):
        pytest.skip("the encoder is there")
    with pytest.raises(InputError, match="pip install"):
        write_picture(tmp_path / f"a{SUFFIXES[format]}", RAMP)
    assert list(tmp_path.iterdir()) == []
