"""XMP packets: properties of a picture as RDF/XML, built and read.

Read are simple properties, texts in languages (the default one) and lists of texts; structures are left out. A packet
is hostile until it is parsed: document types and entities are refused, and so is one larger than `MOST`.
"""

import io
import struct
from collections.abc import Mapping
from typing import BinaryIO
from xml.etree.ElementTree import Element, ParseError, SubElement, TreeBuilder, XMLParser, tostring

Value = str | tuple[str, ...]
"""Value of a property: a text, or a list of texts."""

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
META = "adobe:ns:meta/"
NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "lwisp": "https://lwisp.org/ns/1.0/",
}
"""Namespaces of properties, by their usual prefixes."""
OWN = "lwisp:"
"""Prefix of the properties that tell what a picture was made of."""
LANGUAGES = frozenset(["dc:title", "dc:description", "dc:rights"])
"""Properties that are texts in languages."""
ORDERED = frozenset(["dc:creator"])
"""Lists whose order means something."""
LISTS = frozenset(["dc:subject", "dc:creator"])
"""Properties that are lists."""
MOST = 2**20
"""Bytes of a packet that is read."""
HEAD = b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?>'
TAIL = b'<?xpacket end="r"?>'
XMP_TAG = 700
"""TIFF's tag for a packet."""


def build(properties: Mapping[str, Value]) -> bytes:
    """A packet with these properties.

    Args:
        properties: Values by names with the prefixes of `NAMESPACES`, as "dc:subject"; letters that XML does not have
            are left out.

    Returns:
        UTF-8, with the packet's head and tail; b"" for no properties.
    """
    if not properties:
        return b""
    meta = Element("x:xmpmeta", {"xmlns:x": META})
    rdf = SubElement(meta, "rdf:RDF", {"xmlns:rdf": RDF})
    used = sorted({name.partition(":")[0] for name in properties})
    spaces = {f"xmlns:{prefix}": NAMESPACES[prefix] for prefix in used}
    about = SubElement(rdf, "rdf:Description", {"rdf:about": "", **spaces})
    for name, value in sorted(properties.items()):
        _add(SubElement(about, name), name, value)
    body: bytes = tostring(meta, "utf-8")
    return HEAD + body + TAIL


def _add(element: Element, name: str, value: Value) -> None:
    if name in LANGUAGES and isinstance(value, str):
        SubElement(SubElement(element, "rdf:Alt"), "rdf:li", {"xml:lang": "x-default"}).text = _clean(value)
    elif name in LISTS or not isinstance(value, str):
        items = SubElement(element, "rdf:Seq" if name in ORDERED else "rdf:Bag")
        for item in (value,) if isinstance(value, str) else value:
            SubElement(items, "rdf:li").text = _clean(item)
    else:
        element.text = _clean(value)


def _clean(text: str) -> str:
    """A text without what XML cannot hold: control characters and lone surrogates."""
    return "".join(
        letter for letter in text if letter in "\t\n\r" or (letter >= " " and not "\ud800" <= letter <= "\udfff")
    )


class _Strict(TreeBuilder):
    """Refuses document types, and with them all entities."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ParseError("a document type, which XMP has none of")


def read(packet: bytes) -> dict[str, Value]:
    """The properties of a packet whose namespaces are known.

    Args:
        packet: The packet, from wherever it lay.

    Returns:
        Values by names, as `build` takes them; empty of a packet that is damaged or too large.
    """
    if len(packet) > MOST or b"<!DOCTYPE" in packet or b"<!ENTITY" in packet:
        return {}
    parser = XMLParser(target=_Strict())
    try:
        parser.feed(packet.strip(b"\0 \t\r\n"))
        root: Element = parser.close()
    except (ParseError, ValueError, LookupError, RecursionError):
        return {}
    prefixes = {space: prefix for prefix, space in NAMESPACES.items()}
    found: dict[str, Value] = {}
    for about in root.iter(f"{{{RDF}}}Description"):
        for key, text in about.attrib.items():
            if (name := _name(key, prefixes)) is not None:
                found[name] = text
        for element in about:
            name = _name(element.tag, prefixes)
            value = _value(element)
            if name is not None and value is not None:
                found[name] = value if name not in LISTS or isinstance(value, tuple) else (value,)
    return found


def _name(tag: str, prefixes: Mapping[str, str]) -> str | None:
    space, _, local = tag.removeprefix("{").partition("}")
    return f"{prefixes[space]}:{local}" if space in prefixes and local else None


def _value(element: Element) -> Value | None:
    """The value of a property: its text, the text of its default language, or its list; None of a structure."""
    items = [item for kind in ("Alt", "Bag", "Seq") for item in element.iterfind(f"{{{RDF}}}{kind}/{{{RDF}}}li")]
    if element.find(f"{{{RDF}}}Alt") is not None:
        items.sort(key=lambda item: item.get("{http://www.w3.org/XML/1998/namespace}lang") != "x-default")
        return (items[0].text or "") if items else None
    if len(element):
        return tuple(item.text or "" for item in items) or None
    return element.text or ""


def packet_of_boxes(file: BinaryIO) -> bytes:
    """The XMP packet of a file of boxes such as JPEG XL's, whose reader does not give it.

    Args:
        file: The file, open in binary mode.

    Returns:
        b"" where there is none of at most `MOST` bytes.
    """
    size = file.seek(0, io.SEEK_END)
    place = 0
    while place + 8 <= size:
        file.seek(place)
        length, kind = struct.unpack(">I4s", file.read(8))
        if kind == b"xml " and 8 < length <= MOST:
            return file.read(length - 8)
        if length < 8:  # the last box, or one of more than 4 GB
            break
        place += length
    return b""


def own_properties(properties: Mapping[str, Value]) -> dict[str, str]:
    """The properties that tell what a picture was made of, by names without their prefix.

    Args:
        properties: All of a packet.

    Returns:
        Texts.
    """
    return {
        name.removeprefix(OWN): value
        for name, value in properties.items()
        if name.startswith(OWN) and isinstance(value, str)
    }
