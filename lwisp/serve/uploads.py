"""Forms with a file, written to disk as they come in: too large, too slow or no form is noticed while it happens."""

import asyncio
import logging
import shutil
from pathlib import Path, PurePosixPath

from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MAX_BOUNDARY_LENGTH, MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from lwisp.errors import ArgumentError, printable, unwritable
from lwisp.files.libraw import TIFF_SUFFIXES
from lwisp.files.raw import RAW_SUFFIXES
from lwisp.serve.refusals import TOO_LARGE, TOO_SLOW, WRONG_TYPE, RefusedError
from lwisp.serve.store import Arrival, Photo, Store, new_id

MOST_PARTS = 40
MOST_TEXT = 1000
"""Bytes of a field's value."""
MOST_AROUND = 64_000
"""Bytes of a form around its file."""
LONGEST_NAME = 100
"""Letters of a file's name that are shown."""
SILENT = logging.Logger("forms", logging.CRITICAL + 1)
"""In place of the parser's own logger, by which every damaged form would be told on stderr."""
LINGER = 10.0
"""Seconds in which the rest of a refused form is read."""


def display_name(told: str) -> str:
    """A file's name as it is shown and offered for saving: no path, no control character, not long.

    Args:
        told: What the client calls it.
    """
    name = PurePosixPath(told.replace("\\", "/")).name
    shown = "".join(letter for letter in printable(name) if letter not in '<>:"|?*/\\').strip(" .")
    stem, dot, suffix = shown.rpartition(".")
    if len(shown) > LONGEST_NAME and dot and len(suffix) < 10:
        return f"{stem[: LONGEST_NAME - 10]}.{suffix}"
    return shown[:LONGEST_NAME] or "photo"


class Form:
    """What a multipart form holds, filled by the parser's calls.

    Args:
        place: The file to write; None where the form may have none.
        limit: Bytes of the file at most.
    """

    def __init__(self, place: Path | None, limit: int) -> None:
        self.place, self.limit = place, limit
        self.fields: dict[str, str] = {}
        self.file_name: str | None = None
        self.size = 0
        self.is_whole = False
        self._parts = 0
        self._headers: dict[bytes, bytes] = {}
        self._header, self._value = b"", b""
        self._name, self._text = "", b""
        self._is_file = False
        self._file = place.open("xb") if place is not None else None

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def on_part_begin(self) -> None:
        """A part begins."""
        self._parts += 1
        if self._parts > MOST_PARTS:
            raise ArgumentError(f"expected a form of at most {MOST_PARTS} fields")
        self._headers = {}

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        """A piece of a header's name."""
        self._header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        """A piece of a header's value."""
        self._value += data[start:end]

    def on_header_end(self) -> None:
        """A header is whole."""
        self._headers[self._header.lower()] = self._value
        self._header, self._value = b"", b""

    def on_headers_finished(self) -> None:
        """The content of a part begins."""
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = b"filename" in options
        self._text = b""
        if not self._is_file:
            return
        if self.place is None or self._name != "file" or self.file_name is not None:
            expected = "no file here" if self.place is None else "one file, in the field file"
            raise ArgumentError(f"expected {expected}, got one in the field {self._name[:60]!r}")
        self.file_name = options[b"filename"].decode("utf-8", "replace")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        """A piece of the content."""
        if not self._is_file:
            self._text += data[start:end]
            if len(self._text) > MOST_TEXT:
                raise ArgumentError(f"expected at most {MOST_TEXT} bytes in the field {self._name[:60]!r}")
            return
        self.size += end - start
        if self.size > self.limit:
            raise too_large(self.limit)
        assert self._file is not None
        self._file.write(data[start:end])

    def on_part_end(self) -> None:
        """A part is whole."""
        if self._is_file:
            return
        if self._name in self.fields:
            raise ArgumentError(f"the field {self._name[:60]!r} is told twice")
        self.fields[self._name] = self._text.decode("utf-8", "replace")

    def on_end(self) -> None:
        """The form is whole."""
        self.is_whole = True

    def parser(self, boundary: bytes) -> MultipartParser:
        """What reads a form and fills this one.

        Args:
            boundary: What lies between the parts.
        """
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self.on_part_begin,
                "on_header_field": self.on_header_field,
                "on_header_value": self.on_header_value,
                "on_header_end": self.on_header_end,
                "on_headers_finished": self.on_headers_finished,
                "on_part_data": self.on_part_data,
                "on_part_end": self.on_part_end,
                "on_end": self.on_end,
            },
        )
        parser.logger = SILENT
        return parser


class Body:
    """The body of a request, piece by piece.

    Args:
        request: The request, of which nothing was read.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.counted = 0
        """Bytes so far."""
        self.is_read = False

    async def read(self) -> bytes:
        """The next piece; raises `ClientDisconnect` where the client went away."""
        message = await self.request.receive()
        if message["type"] == "http.disconnect":
            self.is_read = True
            raise ClientDisconnect
        piece: bytes = message.get("body", b"")
        self.is_read = not message.get("more_body", False)
        self.counted += len(piece)
        return piece

    async def linger(self, limit: int) -> None:
        """Read what is left and throw it away, for a while: browsers read the answer when they have sent all.

        Who asks whether to go on (Expect: 100-continue), as curl does, is answered at once.

        Args:
            limit: Bytes of a file that would be taken; twice as many are read.
        """
        if not self.counted and "expect" in self.request.headers:
            return
        try:
            async with asyncio.timeout(LINGER):
                while not self.is_read and self.counted < 2 * limit:
                    await self.read()
        except TimeoutError:
            return


def too_large(limit: int) -> RefusedError:
    """The refusal of a file of more bytes than the limit."""
    return RefusedError(TOO_LARGE, "too-large", f"expected a file of at most {limit / 1e6:g} MB, got a larger one")


async def receive_photo(request: Request, store: Store) -> tuple[Photo, dict[str, str]]:
    """Receive a form with one file.

    Args:
        request: The request.
        store: Gets the file in a folder of its own, if there is room.

    Returns:
        The photo, and the other fields. Whoever gets it removes it.

    Raises:
        InputError: It is too large, too slow, no such form, or there is no room; nothing is left behind.
        ClientDisconnect: The client went away.
    """
    folder = store.folder / new_id()
    folder.mkdir(mode=0o700)
    try:
        form = await _receive(Body(request), folder / "source", store)
        if form.file_name is None:
            raise ArgumentError("expected a RAW file in the field file, got a form without one")
        name = display_name(form.file_name)
        return Photo(folder, _with_suffix(folder / "source", name), name, form.size), form.fields
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _with_suffix(source: Path, name: str) -> Path:
    """A file with the suffix of a client's name where that is one of a list, for some readers look at it."""
    suffix = PurePosixPath(name).suffix.lower()
    return source.rename(source.with_suffix(suffix)) if suffix in RAW_SUFFIXES | TIFF_SUFFIXES else source


async def receive_fields(request: Request, store: Store) -> dict[str, str]:
    """Receive a form without a file.

    Args:
        request: The request.
        store: Has the limits.

    Returns:
        Texts by name.

    Raises:
        InputError: As `receive_photo`.
        ClientDisconnect: The client went away.
    """
    return (await _receive(Body(request), None, store)).fields


async def _receive(body: Body, place: Path | None, store: Store) -> Form:
    limit = store.limits.upload
    form = Form(place, limit)
    try:
        await _fill(form, body, store)
    except RefusedError as error:
        if error.status != TOO_SLOW:
            await body.linger(limit)
        raise
    except ArgumentError:
        await body.linger(limit)
        raise
    except MultipartParseError as error:
        await body.linger(limit)
        raise ArgumentError("expected a form as multipart/form-data; this one is damaged or cut short") from error
    except OSError as error:
        await body.linger(limit)
        raise unwritable("the file", error) from error
    finally:
        store.received -= body.counted
        form.close()
    return form


async def _fill(form: Form, body: Body, store: Store) -> None:
    """Read a form; nothing of it is read where its head tells already that it is refused."""
    headers = body.request.headers
    most = MOST_AROUND + (form.limit if form.place is not None else 0)
    kind, options = parse_options_header(headers.get("content-type", ""))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        told = kind.decode("latin-1")[:60] or "nothing of the kind"
        raise RefusedError(WRONG_TYPE, "wrong-type", f"expected a form as multipart/form-data, got {told}")
    length = int(headers.get("content-length", 0))  # what is no number the server has refused
    if length > most:
        raise too_large(form.limit)
    if form.place is not None:
        store.check_room()
        store.make_room(length)
    try:
        parser = form.parser(options[b"boundary"])
    except FormParserError as error:
        raise ArgumentError(f"expected a form whose boundary has at most {MAX_BOUNDARY_LENGTH} letters") from error
    limits = store.limits
    now = asyncio.get_running_loop().time
    began = now()
    try:
        async with asyncio.timeout(limits.patience) as time_limit:
            arrival = Arrival(time_limit, began)
            if form.place is not None:
                store.arriving.add(arrival)
            while not body.is_read:
                piece = await body.read()
                store.received += len(piece)
                arrival.counted = body.counted
                if form.place is not None and arrival not in store.arriving:  # it gave way
                    raise TimeoutError
                if body.counted > most:
                    raise too_large(form.limit)
                store.make_room(0)
                time_limit.reschedule(began + limits.patience + body.counted / limits.slowest)
                if piece:
                    parser.write(piece)
    except TimeoutError as error:
        message = f"the file came too slowly: {body.counted / 1e6:.1f} MB in {now() - began:.0f} seconds; send it again"
        raise RefusedError(TOO_SLOW, "too-slow", message) from error
    finally:
        store.arriving.discard(arrival)
    if not form.is_whole:
        raise ArgumentError("expected a form as multipart/form-data; this one is damaged or cut short")
