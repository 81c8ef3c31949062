"""XMP packets: what is built is read back, by others too; what is hostile is refused."""

import shutil
import subprocess
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from lwisp.files.pictures import read_properties, write_picture
from lwisp.files.xmp import MOST, Value, build, read

PROPERTIES: dict[str, Value] = {
    "dc:subject": ("sea", "Möwe", "a & b <c>"),
    "dc:creator": ("Zoë", "Al"),
    "dc:title": "Am Meer",
    "xmp:Rating": "4",
    "lwisp:Verb": "develop",
}


def test_what_is_built_is_read_back() -> None:
    assert read(build(PROPERTIES)) == PROPERTIES
    assert build({}) == b""


def test_letters_that_xml_does_not_have_are_left_out() -> None:
    assert read(build({"dc:title": "a\x00b\x1bc\ud800d\ufffee\uffff"})) == {"dc:title": "abcde"}


@pytest.mark.parametrize("order", ["le", "be"])
def test_a_sidecar_in_utf_16_is_read(order: str) -> None:
    """XMP, part 3: a packet outside of a file may be in UTF-16."""
    packet = '<?xml version="1.0" encoding="UTF-16"?>' + build(PROPERTIES).decode().partition("?>")[2]
    assert read(("\ufeff" + packet).encode(f"utf-16-{order}")) == PROPERTIES


def test_people_in_the_picture_are_read_as_a_list() -> None:
    told: dict[str, Value] = {"Iptc4xmpExt:PersonInImage": ("Zoë", "Al"), "Iptc4xmpExt:Event": "Fest"}
    assert read(build(told)) == told


def test_a_packet_of_endless_depth_is_refused_at_once() -> None:
    """Four megabytes of open elements would take 400 MB and ten seconds."""
    tracemalloc.start()
    assert read(b"<a>" * (MOST // 3)) == {}
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2 * MOST


def test_properties_of_others_are_read() -> None:
    """Attributes, as Lightroom writes them; languages; a structure, which is left out."""
    packet = b"""<?xpacket begin='' id='x'?><x:xmpmeta xmlns:x="adobe:ns:meta/">
      <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
       <rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="3"
         xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:other="urn:other" other:Thing="x">
        <dc:title><rdf:Alt><rdf:li xml:lang="de">Hund</rdf:li>
        <rdf:li xml:lang="x-default">dog</rdf:li></rdf:Alt></dc:title>
        <dc:subject><rdf:Seq><rdf:li>one</rdf:li></rdf:Seq></dc:subject>
        <xmp:Thumbnails><rdf:Description><xmp:width>3</xmp:width></rdf:Description></xmp:Thumbnails>
       </rdf:Description></rdf:RDF></x:xmpmeta>"""
    found = read(packet)
    assert found["xmp:Rating"] == "3"
    assert found["dc:title"] == "dog"
    assert found["dc:subject"] == ("one",)
    assert not any(name.startswith("other") for name in found)
    assert "xmp:Thumbnails" not in found


BOMB = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>&b;</dc:title></rdf:Description></rdf:RDF></x:xmpmeta>"""


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"no xml",
        build(PROPERTIES)[:200],
        b"\0" * 100,
        b"<a>" * 100_000,
        BOMB,
        BOMB.decode().replace('version="1.0"', 'version="1.0" encoding="utf-16"').encode("utf-16"),
        build({"dc:title": "x" * MOST}),
    ],
    ids=["empty", "text", "cut", "zeros", "deep", "entities", "entities-utf16", "large"],
)
def test_hostile_packets_tell_nothing(packet: bytes) -> None:
    assert read(packet) == {}


@pytest.mark.skipif(shutil.which("exiftool") is None, reason="exiftool is not installed")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_exiftool_reads_the_packet(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    write_picture(path, np.zeros((20, 30, 3), np.uint8 if suffix != ".tif" else np.uint16), properties=PROPERTIES)
    assert read_properties(path) == PROPERTIES
    command = ["exiftool", "-s3", "-XMP:Rating", "-XMP:Title", "-XMP:Subject", str(path)]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert told == ["4", "Am Meer", "sea, Möwe, a & b <c>"]
