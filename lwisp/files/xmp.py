"""XMP packets: properties of a picture as RDF/XML, built and read.

Read are simple properties, texts in languages (the default one) and lists of texts; structures are left out. A packet
is hostile until it is parsed: document types and entities are refused, and so is one larger than `MOST`.
"""

import io
import struct
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
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
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "lr": "http://ns.adobe.com/lightroom/1.0/",
    "aux": "http://ns.adobe.com/exif/1.0/aux/",
    "lwisp": "https://lwisp.org/ns/1.0/",
}
"""Namespaces of properties, by their usual prefixes."""
OWN = "lwisp:"
"""Prefix of the properties that tell what a picture was made of."""
LANGUAGES = frozenset(["dc:title", "dc:description", "dc:rights", "xmpRights:UsageTerms", "Iptc4xmpExt:Event"])
"""Properties that are texts in languages."""
ORDERED = frozenset(["dc:creator"])
"""Lists whose order means something."""
LISTS = frozenset(
    [
        *("dc:subject", "dc:creator", "lr:hierarchicalSubject", "Iptc4xmpCore:Scene", "Iptc4xmpCore:SubjectCode"),
        *("Iptc4xmpExt:PersonInImage", "Iptc4xmpExt:ModelAge", "Iptc4xmpExt:OrganisationInImageName"),
        *("Iptc4xmpExt:OrganisationInImageCode",),
    ]
)
"""Properties that are lists."""
CAMERA_RAW = "http://ns.adobe.com/camera-raw-settings/1.0/"
CAMERA_RAW_FACTS = frozenset(
    ["Version", "ProcessVersion", "HasSettings", "HasCrop", "AlreadyApplied", "RawFileName", "CropConstrainToWarp"]
)
"""Properties of Camera Raw that are no settings."""
EDITORS = {
    CAMERA_RAW: "Camera Raw",
    "http://darktable.sf.net/": "darktable",
    "http://www.rawtherapee.com/1.0/": "RawTherapee",
    "http://ns.dxo.com/photolab/1.0/": "PhotoLab",
    "http://ns.acdsee.com/developsettings/1.0/": "ACDSee",
}
"""Programs whose settings for developing stand in XMP, by namespace."""
MOST = 2**22
"""Bytes of a packet that is read."""
PART = 2**16
"""Bytes of it that are parsed at once."""
DEEPEST = 64
"""Elements within elements of one; of a photo's are a dozen at most."""
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
    """A text without what XML cannot hold: control characters, lone surrogates, U+FFFE and U+FFFF."""
    return "".join(letter for letter in text if letter in "\t\n\r" or (letter >= " " and not _is_no_letter(letter)))


def _is_no_letter(letter: str) -> bool:
    return "\ud800" <= letter <= "\udfff" or letter in "\ufffe\uffff"


class _Strict(TreeBuilder):
    """Refuses document types, and with them all entities, and what would fill the memory by its depth."""

    def __init__(self) -> None:
        super().__init__()
        self.depth = 0

    def start(self, tag: str, attrs: dict[str, str], /) -> Element:
        """Begin an element."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise ParseError(f"more than {DEEPEST} elements within each other")
        return super().start(tag, attrs)

    def end(self, tag: str, /) -> Element:
        """End an element."""
        self.depth -= 1
        return super().end(tag)

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise ParseError("a document type, which XMP has none of")


def read(packet: bytes) -> dict[str, Value]:
    """The properties of a packet whose namespaces are known.

    Args:
        packet: The packet, from wherever it lay.

    Returns:
        Values by names, as `build` takes them; empty of a packet that is damaged or too large.
    """
    root = _parse(packet)
    if root is None:
        return {}
    prefixes = {space: prefix for prefix, space in NAMESPACES.items()}
    found: dict[str, Value] = {}
    for about in _abouts(root):
        for key, text in about.attrib.items():
            if (name := _name(key, prefixes)) is not None:
                found[name] = text
        for element in about:
            name = _name(element.tag, prefixes)
            value = _value(element)
            if name is not None and value is not None:
                found[name] = value if name not in LISTS or isinstance(value, tuple) else (value,)
    return found


def _parse(packet: bytes) -> Element | None:
    """The tree of a packet; None of one that is damaged or too large."""
    if len(packet) > MOST:
        return None
    is_wide = packet.startswith((BOM_UTF16_LE, BOM_UTF16_BE))  # as a sidecar may be
    text = packet.decode("utf-16", "replace").encode("utf-8", "replace") if is_wide else packet
    told = text.strip(b"\0 \t\r\n")
    if b"<!DOCTYPE" in told or b"<!ENTITY" in told:
        return None
    parser = XMLParser(target=_Strict(), encoding="utf-8" if is_wide else None)  # whatever the text itself says
    try:
        for start in range(0, len(told), PART):  # what is wrong at the start ends it there
            parser.feed(told[start : start + PART])
        root: Element = parser.close()
    except (ParseError, ValueError, LookupError, RecursionError):
        return None
    return root


def _abouts(root: Element) -> list[Element]:
    """What holds the properties of the picture itself, and not those of a structure in it."""
    return [about for rdf in root.iter(f"{{{RDF}}}RDF") for about in rdf.iterfind(f"{{{RDF}}}Description")]


def is_readable(packet: bytes) -> bool:
    """Whether `read` can read a packet: it is XML, without entities, and not too large."""
    return _parse(packet) is not None


def editors(packet: bytes) -> tuple[str, ...]:
    """The programs whose settings for developing, not yet applied, stand in a packet.

    Args:
        packet: The packet, of a RAW or from beside it.

    Returns:
        Their names, as "darktable"; none for a packet without such settings, or a damaged one.
    """
    root = _parse(packet)
    if root is None:
        return ()
    found: dict[str, dict[str, str]] = {}
    for about in _abouts(root):
        values = [(key, text.strip()) for key, text in about.attrib.items()]
        values += [
            (child.tag, "items" if child.find(f".//{{{RDF}}}li") is not None else (child.text or "").strip())
            for child in about
        ]
        for key, value in values:
            space, _, local = key.removeprefix("{").partition("}")
            if space in EDITORS:
                found.setdefault(space, {})[local] = value
    return tuple(EDITORS[space] for space, values in found.items() if _is_edited(space, values))


def _is_edited(space: str, values: Mapping[str, str]) -> bool:
    """Whether a program's properties, values by names, tell of settings."""
    if space == CAMERA_RAW:
        told = values.get("HasSettings", "").lower(), values.get("AlreadyApplied", "").lower()
        return told[0] != "false" and told[1] != "true" and (told[0] == "true" or bool(set(values) - CAMERA_RAW_FACTS))
    if EDITORS[space] == "darktable":
        return values.get("history") == "items" or values.get("history_end", "0") not in ("", "0", "-1")
    return True


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
