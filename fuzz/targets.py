"""What is fuzzed: each reader of lwisp as a function of an input, with seeds, and the files that it may leave."""

import asyncio
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, MutableMapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fuzz import seeds
from fuzz.mutators import split

MOST_PIXELS = 2**22
"""Of pictures; what claims more is refused, or an input would take a second."""


@dataclass(frozen=True)
class Target:
    """A reader."""

    name: str
    read: Callable[[bytes, Path], object]
    """(input, an empty folder) -> anything; raises `InputError` for what is refused, and nothing else."""
    seeds: Callable[[], Iterator[bytes]]
    """Sound inputs."""
    suffixes: tuple[str, ...] = ()
    """Of files in a folder of more seeds that fit."""
    share: int = 10
    """Of the inputs of a run, beside other targets'."""


def _in_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes, Path], object]:
    """A target that reads a file."""

    def run(data: bytes, folder: Path) -> object:
        path = folder / name
        path.write_bytes(data)
        return read(path)

    return run


def _read_raw(data: bytes, folder: Path) -> None:
    from lwisp.errors import InputError
    from lwisp.files.linear import read_any
    from lwisp.files.raw import read_raw

    path = folder / "photo.dng"
    path.write_bytes(data)
    with contextlib.suppress(InputError):
        read_raw(path)
    read_any(data)


def _read_picture(path: Path) -> None:
    from lwisp.files.pictures import own_format, read_picture

    own_format(path)
    read_picture(path, MOST_PIXELS)


def _read_tags(path: Path) -> None:
    from lwisp.files.decoding import is_own
    from lwisp.files.pictures import read_properties
    from lwisp.files.raw import read_preview
    from lwisp.files.shots import read_shot
    from lwisp.provenance import was_made_by_lwisp

    read_shot(path)
    is_own(path)
    read_properties(path)
    was_made_by_lwisp(path)
    read_preview(path)


def _load(path: Path) -> None:
    from lwisp.weights import describe, load

    load(path)
    describe(path)


def _read_recipe(path: Path) -> None:
    from lwisp.training.recipe import read_stages

    read_stages(path)


def _read_mosaic(data: bytes, folder: Path) -> None:
    from lwisp.files.raw import read_mosaic

    facts, mosaic = split(data, 2)
    (folder / "sensor.toml").write_bytes(facts)
    (folder / "mosaic.raw").write_bytes(mosaic)
    read_mosaic(folder / "mosaic.raw", max_pixels=MOST_PIXELS)


@cache
def _command() -> Any:
    """The command with all its verbs."""
    import typer

    from lwisp.cli import app

    return typer.main.get_command(app)


def _read_defaults(path: Path) -> None:
    from lwisp.cli.defaults import read_defaults

    before = Path.cwd()
    os.chdir(path.parent)
    try:
        read_defaults(_command())
    finally:
        os.chdir(before)


def _read_sidecar(data: bytes, folder: Path) -> None:
    from lwisp.files.iptc import find_resource, read_iptc
    from lwisp.files.raw import read_raw
    from lwisp.files.xmp import editors, read

    packet, block = split(data, 2)
    (folder / "photo.dng").write_bytes(_photo())
    (folder / "photo.xmp").write_bytes(packet)
    read(packet)
    editors(packet)
    read_iptc(block)
    find_resource(block)
    read_raw(folder / "photo.dng")


def _photo() -> bytes:
    return next(seeds.raws())


class _Served:
    """The application in this process, whose workers pretend; asked one thing after the other."""

    def __init__(self, folder: Path) -> None:
        from lwisp.serve.app import create_app
        from lwisp.serve.limits import Limits
        from tests.serve.harness import PRETENDING

        self.folder = folder
        limits = Limits(upload=10**6, patience=5)
        self.app = create_app(folder, limits, worker=[sys.executable, "-I", "-S", "-c", PRETENDING])
        self.store = self.app.state.store
        self.loop = asyncio.new_event_loop()
        self.lifespan = self.app.router.lifespan_context(self.app)
        self.loop.run_until_complete(self.lifespan.__aenter__())

    def ask(self, data: bytes) -> None:
        """Answer one request; raises what the application does, and where it fails for an unforeseen reason."""
        head, _, body = data.partition(b"\n\n")
        first, *lines = head.split(b"\n")
        method, _, path = first.partition(b" ")
        jobs = list(self.store.jobs)
        path = path.replace(b"JOB", jobs[0].encode() if jobs else b"none")
        headers = [(b"host", b"localhost")]
        headers += [
            (name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)
        ]
        plain, _, query = path.partition(b"?")
        scope = {
            **{"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http", "root_path": ""},
            **{"method": method.decode("latin-1").upper() or "GET", "path": plain.decode("utf-8", "replace") or "/"},
            **{"raw_path": plain, "query_string": query, "headers": headers},
            **{"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80)},
        }
        status = self.loop.run_until_complete(asyncio.wait_for(self._answer(scope, body), 20))
        if status == 500:
            raise AssertionError("answered by 500, as what is unforeseen is")

    async def _answer(self, scope: MutableMapping[str, Any], body: bytes) -> int:
        pieces = [body[start : start + 4096] for start in range(0, len(body), 4096)] or [b""]
        messages: list[MutableMapping[str, Any]] = [
            {"type": "http.request", "body": piece, "more_body": True} for piece in pieces
        ]
        messages[-1]["more_body"] = False
        told = 0

        async def receive() -> MutableMapping[str, Any]:
            if messages:
                return messages.pop(0)
            await asyncio.sleep(5 if told == 0 else 0.05)  # then the client goes away
            return {"type": "http.disconnect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            nonlocal told
            if message["type"] == "http.response.start":
                told = message["status"]

        await self.app(scope, receive, send)
        if len(self.store.jobs) > 8:
            for job in list(self.store.jobs.values()):
                self.store.remove(job)
            await asyncio.sleep(0.05)
            assert not self.store.jobs
        return told


@cache
def _server(place: Path) -> _Served:
    folder = place / "server"
    folder.mkdir(mode=0o700, exist_ok=True)
    return _Served(folder)


def _serve(data: bytes, folder: Path) -> None:
    _server(folder.parent).ask(data)


RAW = (".dng", ".cr2", ".cr3", ".crw", ".raf", ".rw2", ".nef", ".orf", ".mrw", ".pef", ".x3f", ".iiq", ".arw", ".kdc")
PICTURES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".heic", ".avif")
TARGETS = {
    target.name: target
    for target in (
        Target("raw", _read_raw, seeds.raws, RAW, share=20),
        Target("picture", _in_file("photo.jpg", _read_picture), seeds.pictures, PICTURES, share=20),
        Target("tags", _in_file("photo.tif", _read_tags), seeds.tagged, (*RAW, *PICTURES)),
        Target("weights", _in_file("weights.safetensors", _load), seeds.weights, (".safetensors",)),
        Target("graph", _in_file("weights.onnx", _load), seeds.graphs, (".onnx",), share=5),
        Target("recipe", _in_file("recipe.toml", _read_recipe), seeds.recipes, (".toml",)),
        Target("mosaic", _read_mosaic, seeds.mosaics),
        Target("defaults", _in_file("lwisp.toml", _read_defaults), seeds.defaults),
        Target("sidecar", _read_sidecar, seeds.sidecars, (".xmp",)),
        Target("server", _serve, seeds.requests),
        Target("xtrans", _read_raw, seeds.xtrans, share=1),
    )
}
"""All of them, by name."""
