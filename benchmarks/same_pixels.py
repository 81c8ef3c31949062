"""Pixels of one RAW by every way beside those of the library, in fp32; writes same-pixels.csv and same-pixels.md.

    python benchmarks/same_pixels.py [FILE_OR_FOLDER ...] [--output docs/results] [--ways windows,torch]

Without files the bundled ones are taken. Pictures are made by `photo-fast` (`photo-linear` where there is no Bayer
mosaic) in 16 bits, as `--exact` has them, on one thread unless a way says otherwise. It fails where a way differs by
more than its bound. Each row is written at once, and the same command goes on where it was stopped; delete the CSV to
measure anew. A new way is a function and a line in `WAYS`.
"""

import argparse
import csv
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import httpx
import numpy as np
import torch
from numpy.typing import NDArray

import lwisp
from lwisp.conversion import export
from lwisp.development import pick_fast
from lwisp.engines.memory import resident_memory
from lwisp.errors import InputError, OutOfMemoryError
from lwisp.evaluation.processes import describe_machine
from lwisp.files.linear import AnyRaw, LinearImage, read_any, size_of
from lwisp.files.listing import find_files
from lwisp.files.pictures import read_picture
from lwisp.files.raw import RAW_SUFFIXES
from lwisp.files.report import Block, Bullets, Command, Table, to_markdown
from lwisp.files.writing import make_folder, temporary_folder, write_csv, write_text
from lwisp.imaging.pixels import convert, to_integer

SAMPLES = Path(__file__).parent.parent / "samples"
STEP = 0.05
"""GB by which `windows` raises the bound on memory until it suffices."""
MOST = 64
"""GB at which it gives up."""
EXPORTED: dict[Literal["onnx", "openvino"], str] = {"onnx": "photo-fast.onnx", "openvino": "photo-fast.xml"}

ON_CLUSTER = ("--cluster", "local", "--jobs", "1")
Picture = NDArray[np.uint16]


class NoSuchWayError(Exception):
    """A way does not apply to a file."""


@dataclass(frozen=True)
class Photo:
    """A RAW that is made into pictures."""

    path: Path
    raw: AnyRaw
    weights: lwisp.Weights


@dataclass
class Tools:
    """What ways share; it is made when a way first needs it, and ends with `ending`."""

    folder: Path
    ending: ExitStack = field(default_factory=ExitStack)

    @cached_property
    def server(self) -> httpx.Client:
        """Asks a process of `lwisp serve --exact`."""
        return self.ending.enter_context(_serving())

    def exported(self, format: Literal["onnx", "openvino"]) -> lwisp.Weights:
        """`photo-fast` as a file for another engine, of 16 bits."""
        path = self.folder / EXPORTED[format]
        if not path.exists():
            export(lwisp.load("photo-fast"), path, format, pixels="uint16")
        return lwisp.load(path)


def _on_one_thread() -> dict[str, str]:
    """The environment of a process that computes on one thread."""
    return os.environ | {"OMP_NUM_THREADS": "1"}


@contextmanager
def _serving() -> Iterator[httpx.Client]:
    command = [sys.executable, "-m", "lwisp", "serve", "--port", "0", "--exact", "--time-limit", "3600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=_on_one_thread()) as process:
        try:
            assert process.stdout is not None
            address = re.match(r"http://\S+", process.stdout.readline())
            if not address:
                raise InputError("lwisp serve did not start")
            with httpx.Client(base_url=address[0], timeout=3600) as client:
                yield client
        finally:
            process.terminate()


def by_develop(photo: Photo, tools: Tools) -> Picture:
    """The picture of `lwisp.develop` in float32, rounded."""
    picture = lwisp.develop(photo.weights, photo.raw, precision="fp32", backend="openvino")
    rounded: Picture = to_integer(picture, 16)
    return rounded


def by_command(photo: Photo, tools: Tools, more: Sequence[str] = ()) -> Picture:
    """The picture that `lwisp develop` writes, with more options."""
    output = tools.folder / "command.png"
    options = ["--output", str(output), "--format", "png16", "--fast", "--exact", "--overwrite", "--quiet", *more]
    subprocess.run(
        [sys.executable, "-m", "lwisp", "develop", str(photo.path), *options], env=_on_one_thread(), check=True
    )
    return read_picture(output).rgb.astype(np.uint16, copy=False)


def by_server(photo: Photo, tools: Tools) -> Picture:
    """The picture that a process of `lwisp serve` answers with."""
    with photo.path.open("rb") as file:
        fields = {"format": "png16", "fast": "true"}
        answer = tools.server.post("/develop", files={"file": (photo.path.name, file)}, data=fields)
    answer.raise_for_status()
    output = tools.folder / "served.png"
    output.write_bytes(answer.content)
    return read_picture(output).rgb.astype(np.uint16, copy=False)


def by_engine(
    photo: Photo, tools: Tools, backend: Literal["openvino", "onnxruntime", "torch"], threads: int
) -> Picture:
    """The picture of the library with another back end or number of threads."""
    return _developed(lwisp.Developer(photo.weights, backend, "fp32", threads=threads), photo)


def by_windows(photo: Photo, tools: Tools) -> Picture:
    """The picture under the least bound on memory that suffices, which makes it go by windows."""
    height, width = size_of(photo.raw)
    planes = (height, width) if isinstance(photo.raw, LinearImage) else (height // 2 + 1, width // 2 + 1)
    memory = resident_memory() / 1e9
    while memory < MOST:
        memory += STEP
        developer = lwisp.Developer(photo.weights, "openvino", "fp32", memory, 1)
        try:
            _, window = developer.engine.forecast(planes, np.empty((height, width, 3), np.uint16))
            if window is None:
                raise NoSuchWayError("it is smaller than a window")
            return _developed(developer, photo)
        except OutOfMemoryError:
            continue
    raise NoSuchWayError("memory does not suffice")


def by_exported(photo: Photo, tools: Tools, format: Literal["onnx", "openvino"]) -> Picture:
    """The picture of an exported file, which runs in its own engine."""
    if isinstance(photo.raw, LinearImage):
        raise NoSuchWayError("files that are exported take mosaics")
    return _developed(lwisp.Developer(tools.exported(format), threads=1), photo)


def _developed(developer: lwisp.Developer, photo: Photo) -> Picture:
    made: Picture = developer.develop(photo.raw, dtype=np.uint16)
    return made


@dataclass(frozen=True)
class Bound:
    """The largest difference that is allowed."""

    steps8: int
    """Steps of 8 bits, of pictures whose 16 bits were rounded to 8."""
    share8: float
    """Share of 8-bit values that may differ at all."""
    steps16: int
    """Steps of 16 bits."""


SAME = Bound(0, 0, 0)
"""One program, one engine, one number of threads."""
CLOSE = Bound(1, 0.003, 2)
"""Differences of 1e-5 of values in [0, 1] at most, as engines are promised to have them: a step of 16 bits is 1.5e-5,
and of 8-bit values 0.26 % lie so near the middle between two steps. Where pixels are not square, the integers are
enlarged by a filter that overshoots, which may make two steps of one."""


@dataclass(frozen=True)
class Way:
    """How a picture is made, and how far it may be from the library's."""

    make: Callable[[Photo, Tools], Picture]
    bound: Bound
    what: str


WAYS: dict[str, Way] = {
    "lwisp.develop": Way(by_develop, CLOSE, "`lwisp.develop`, float32, rounded at last"),
    "command": Way(by_command, SAME, "`lwisp develop FILE --format png16`, the file that it writes"),
    "cluster": Way(partial(by_command, more=ON_CLUSTER), SAME, "`lwisp develop FILE --cluster local --jobs 1`"),
    "server": Way(by_server, SAME, "`POST /develop` to a process of `lwisp serve`"),
    "2 threads": Way(partial(by_engine, backend="openvino", threads=2), CLOSE, "OpenVINO on two threads"),
    "windows": Way(by_windows, CLOSE, "the least `--memory` that suffices, by windows"),
    "onnxruntime": Way(partial(by_engine, backend="onnxruntime", threads=1), CLOSE, "ONNX Runtime"),
    "torch": Way(partial(by_engine, backend="torch", threads=1), CLOSE, "torch"),
    "exported ONNX": Way(partial(by_exported, format="onnx"), CLOSE, "`lwisp export photo-fast --format onnx`"),
    "exported IR": Way(partial(by_exported, format="openvino"), CLOSE, "`lwisp export photo-fast --format openvino`"),
}


@dataclass(frozen=True)
class Difference:
    """How far a picture is from the library's."""

    file: str
    way: str
    steps8: int
    share8: float
    steps16: int
    share16: float
    weights: str
    """Name, and the begin of the SHA-256, of what made it."""

    @property
    def key(self) -> tuple[str, str, str]:
        """What it is a difference of."""
        return self.file, self.way, self.weights

    def breaks(self, bound: Bound) -> bool:
        """Whether it is more than is allowed."""
        return self.steps8 > bound.steps8 or self.share8 > bound.share8 or self.steps16 > bound.steps16


def compare(file: str, way: str, expected: Picture, found: Picture, weights: str = "") -> Difference:
    """How far a picture is from another one of its size.

    Args:
        file: Name of the file.
        way: Name of the way.
        weights: What made both.
        expected: (H, W, 3), or (H, W) of a monochrome one.
        found: Of the same shape, or gray as RGB.

    Raises:
        InputError: The shapes differ.
    """
    if expected.ndim == 2:
        expected = np.broadcast_to(expected[..., None], (*expected.shape, 3))
    if found.shape != expected.shape:
        raise InputError(f"{file}: {way} gave {found.shape}, the library {expected.shape}")
    steps8, share8 = _steps(expected, found, np.uint8)
    steps16, share16 = _steps(expected, found, np.uint16)
    return Difference(file, way, steps8, share8, steps16, share16, weights)


def _steps(expected: Picture, found: Picture, dtype: type[np.uint8] | type[np.uint16]) -> tuple[int, float]:
    """The largest difference of two pictures in steps of a type, and the share of values that differ."""
    first, second = (convert(picture, np.dtype(dtype)).astype(np.int32) for picture in (expected, found))
    steps = np.abs(first - second)
    return int(steps.max()), float((steps > 0).mean())


def measure(path: Path, ways: Sequence[str], tools: Tools, done: Sequence[Difference] = ()) -> Iterator[Difference]:
    """The differences of one file, way by way; what does not apply to it is left out.

    Args:
        path: The RAW.
        ways: Names of `WAYS`.
        tools: What ways share.
        done: What was measured before, and is not measured again.
    """
    raw = read_any(path)
    photo = Photo(path, raw, pick_fast(raw))
    label = f"{photo.weights.card.name} {photo.weights.sha256[:16]}"
    left = [name for name in ways if not any((path.name, name, label) == each.key for each in done)]
    if not left:
        return
    expected = _developed(lwisp.Developer(photo.weights, "openvino", "fp32", threads=1), photo)
    for name in left:
        try:
            found = WAYS[name].make(photo, tools)
        except NoSuchWayError as error:
            print(f"{path.name}: not by {name}: {error}", flush=True)
            continue
        yield compare(path.name, name, expected, found, label)


def read_rows(path: Path) -> list[Difference]:
    """Rows of an earlier run; none where there is no such file."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [
            Difference(
                row["file"],
                row["way"],
                int(row["steps8"]),
                float(row["share8"]),
                int(row["steps16"]),
                float(row["share16"]),
                row["weights"],
            )
            for row in csv.DictReader(file)
            if row["way"] in WAYS
        ]


def describe(differences: Sequence[Difference], command: str) -> str:
    """The report as Markdown: the worst of each way beside its bound, then every file.

    Args:
        differences: Those that were found.
        command: What found them.
    """
    files = list(dict.fromkeys(difference.file for difference in differences))
    ways = [way for way in WAYS if any(difference.way == way for difference in differences)]
    found = {(difference.file, difference.way): difference for difference in differences}
    facts = describe_machine()
    worst = []
    for way in ways:
        ours = [difference for difference in differences if difference.way == way]
        bound = WAYS[way].bound
        worst.append(
            [
                way,
                WAYS[way].what,
                f"{max(each.steps8 for each in ours)} ({bound.steps8})",
                f"{_percent(max(each.share8 for each in ours))} ({_percent(bound.share8)})",
                f"{max(each.steps16 for each in ours)} ({bound.steps16})",
                _percent(max(each.share16 for each in ours)),
                str(len(ours)),
            ]
        )
    rows = [[file, *(_cell(found.get((file, way))) for way in ways)] for file in files]
    blocks: list[Block] = [
        Command(command),
        "One RAW by every way, beside `lwisp.Developer` with OpenVINO on one thread, all in fp32 and by `photo-fast` "
        "(`photo-linear` where there is no Bayer mosaic). Pictures of 16 bits; for 8 bits they are rounded. A value is "
        "one color of one pixel.",
        Bullets([f"{name}: {fact}" for name, fact in facts.items() if name != "threads"]),
        "The worst over the files, and in brackets the bound, beyond which the command fails:",
        Table(
            ["way", "what it is", "8-bit steps", "8-bit values that differ", "16-bit steps", "16-bit values", "files"],
            worst,
        ),
        "Each file: the largest difference in 16-bit steps, and the share of 16-bit values that differ; `-` where a "
        "way does not apply, or was not tried.",
        Table(["file", *ways], rows),
    ]
    return to_markdown("The same pixels by every way", blocks, rule="---")


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _cell(difference: Difference | None) -> str:
    return "-" if difference is None else f"{difference.steps16}, {_percent(difference.share16)}"


def _is_raw(path: Path) -> bool:
    return path.suffix.lower() in RAW_SUFFIXES


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, write the report after each file, and tell what broke its bound; the exit code."""
    parser = argparse.ArgumentParser()
    parser.add_argument("sources", nargs="*", type=Path, default=[SAMPLES])
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    parser.add_argument("--ways", default=",".join(WAYS), help="names with commas between; all if not given")
    options = parser.parse_args(arguments)
    ways = options.ways.split(",")
    if unknown := set(ways) - WAYS.keys():
        parser.error(f"expected ways of {', '.join(WAYS)}, got {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    files: list[Path] = []
    for source in options.sources:
        files += find_files(source, _is_raw) if source.is_dir() else [source]
    make_folder(options.output)
    command = "python benchmarks/same_pixels.py" + " FILE" * (options.sources != [SAMPLES])
    rows = options.output / "same-pixels.csv"
    differences = read_rows(rows)
    with temporary_folder() as folder, ExitStack() as ending:
        tools = Tools(folder, ending)
        for file in sorted(files, key=lambda path: path.stat().st_size):
            for difference in measure(file, ways, tools, differences):
                print(difference, flush=True)
                differences.append(difference)
                write_csv(rows, differences)
                write_text(options.output / "same-pixels.md", describe(differences, command))
    broken = [each for each in differences if each.breaks(WAYS[each.way].bound)]
    for each in broken:
        print(f"{each.file}: by {each.way} it differs by more than {WAYS[each.way].bound}: {each}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
