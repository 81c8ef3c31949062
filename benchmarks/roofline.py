"""Seconds of each stage beside the machine's roofline, and how they grow; writes roofline.csv and roofline.md.

    python benchmarks/roofline.py [--output docs/results] [--sizes 1,12,50,100] [--threads 1,2] [--memory GB]

Each measurement runs in a process of its own and is written at once: the same command goes on where it was stopped, and
adds a section for another machine. Pictures that `--memory` does not hold as a whole are run by windows, as
`lwisp develop --memory` runs them.
"""

import argparse
import csv
import math
import os
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from lwisp.architecture import LWISPConfig, padded_side
from lwisp.engines import tiles
from lwisp.engines.engine import WINDOWS, Engine, prepare_engine
from lwisp.engines.frames import read_reflected
from lwisp.engines.memory import free_memory
from lwisp.engines.names import Computed
from lwisp.engines.openvino import has_bf16, hints, openvino_core
from lwisp.engines.runners import as_stored, make_runner
from lwisp.engines.structures import fill, structure
from lwisp.engines.threads import available_processors
from lwisp.errors import InputError
from lwisp.evaluation.file_timing import mural_of
from lwisp.evaluation.processes import call_in_new_process, describe_machine
from lwisp.files.optional import need
from lwisp.files.report import Block, Bullets, Command, Heading, Table, to_markdown
from lwisp.files.writing import make_folder, write_csv, write_text
from lwisp.pipeline import Planes
from lwisp.weights import Weights, load

WEIGHTS = ("photo", "photo-fast")
SIDE = 4096
"""Of the matrices whose product shows the processor's peak."""
STREAM = 64_000_000
"""float32 values of each array that memory's bandwidth is measured with."""
OTHER = "other"
"""What belongs to no level: means, vectors, sums, and the layout of the picture's pixels."""


@dataclass(frozen=True)
class Row:
    """One stage at one size, or one peak of the machine."""

    machine: str
    weights: str
    """Name and SHA-256 of the tensors; empty for the machine's peaks."""
    precision: str
    megapixels: float
    threads: int
    window: int
    """Side of the windows in planes' pixels; 0 for the picture as a whole."""
    part: str
    seconds: float
    """Median of the rounds, the fastest for the machine's peaks; NaN for what was counted, not measured."""
    macs: int = 0
    """Multiply-adds of convolutions and products."""
    bytes: int = 0
    """Read and written by them, each value once."""


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts multiply-adds and values of convolutions and products by level."""

    def __init__(self, width: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.width = width
        self.macs: dict[str, int] = defaultdict(int)
        self.values: dict[str, int] = defaultdict(int)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func.overloadpacket in flop_registry:
            level = level_of(out.shape, self.width)
            self.macs[level] += flop_registry[func.overloadpacket](*args, **(kwargs or {}), out_val=out) // 2
            self.values[level] += sum(values.numel() for values in (*args, out) if isinstance(values, Tensor))
        return out


def level_of(shape: Iterable[int], width: int) -> str:
    """The level of features: their size beside the picture's of this width, as "1/4"."""
    sides = tuple(shape)
    if len(sides) != 4 or sides[-1] == 1:
        return OTHER
    return f"1/{2 ** round(math.log2(width / sides[-1]))}"


def restrict(threads: int) -> None:
    """Keep this process to so many processors."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    torch.set_num_threads(threads)


def measure_peaks(machine: str, threads: int, rounds: int) -> list[Row]:
    """The processor's rate in products of matrices, and memory's in copies and triads; in a process of its own."""
    restrict(threads)
    operations = need("openvino.opset13")
    values = np.random.default_rng(0).random((SIDE, SIDE), np.float32)
    left = operations.parameter(values.shape, np.float32)
    model = need("openvino").Model([operations.matmul(left, operations.constant(values), False, False)], [left])
    rows = []
    for precision in ("fp32", "bf16") if has_bf16() else ("fp32",):
        compiled = openvino_core().compile_model(model, "CPU", hints(precision == "bf16", threads))
        fastest = min(time_each(partial(compiled, values), rounds))
        rows.append(Row(machine, "", precision, 0, threads, 0, "matmul", fastest, macs=SIDE**3))
    first, second, third = (torch.rand(STREAM) for _ in range(3))
    copied = min(time_each(partial(first.copy_, second), rounds))
    added = min(time_each(partial(torch.add, second, third, alpha=3, out=first), rounds))
    rows.append(Row(machine, "", "fp32", 0, threads, 0, "copy", copied, bytes=2 * first.nbytes))
    return [*rows, Row(machine, "", "fp32", 0, threads, 0, "triad", added, bytes=3 * first.nbytes)]


def time_each(call: Callable[[], object], rounds: int) -> list[float]:
    """Seconds of a call, after one to warm up."""
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - began)
    return seconds[1:]


def measure_network(machine: str, name: str, megapixels: float, threads: int, memory: float, rounds: int) -> list[Row]:
    """The stages of a picture of this size; in a process of its own."""
    restrict(threads)
    weights = load(name)
    engine = prepare_engine(weights.network, "openvino", memory=memory)
    raw = mural_of(megapixels)
    planes = Planes(engine, raw, weights.card.convention)
    config = weights.network.config
    height, width = (padded_side(side, config.size_multiple, config.size_minimum) for side in planes.shape[1:])
    picture = np.empty((*raw.mosaic.shape, 3), np.uint8)
    itemsize = 2 if engine.precision == "bf16" else 4
    window = choose_window(weights, engine.precision, (height, width), memory * 1e9, itemsize)
    run = run_whole if window == 0 else partial(run_windows, window=window)
    found = run(weights, engine, planes, (height, width), picture, rounds=rounds)
    counter = Counter(2 * width)
    with torch.no_grad(), counter:
        weights.network.to("meta")(torch.empty(1, config.in_channels, height, width, device="meta"))
    label = f"{name} {weights.sha256[:16]}"
    row = partial(Row, machine, label, engine.precision, megapixels, threads, window)
    parts = dict.fromkeys([*found, *counter.macs])
    rows = [
        row(part, found.get(part, math.nan), counter.macs.get(part, 0), counter.values.get(part, 0) * itemsize)
        for part in parts
        if part != "network"
    ]
    macs, values = sum(counter.macs.values()), sum(counter.values.values())
    return [row("network", found["network"], macs, values * itemsize), *rows]


def choose_window(weights: Weights, precision: Computed, size: tuple[int, int], free: float, itemsize: int) -> int:
    """Side of the largest windows that memory has room for; 0 for the picture as a whole."""
    config = weights.network.config
    assert isinstance(config, LWISPConfig)
    each = make_runner(weights.network, "openvino", precision, 1).bytes_per_pixel
    if math.prod(size) * each <= free:
        return 0
    kept = math.prod(size) // (config.cell // 2) ** 2 * tiles.STORED * config.width // 16 * itemsize
    return next((side for side in WINDOWS if kept + side**2 * each <= free), WINDOWS[-1])


def run_whole(
    weights: Weights, engine: Engine, planes: Planes, size: tuple[int, int], picture: Any, rounds: int
) -> dict[str, float]:
    """Median seconds of the parts of a picture that is run whole, levels from OpenVINO's profile."""
    stored = as_stored(weights.network)
    model = openvino_core().read_model(fill(structure(stored.config, "whole-uint8"), stored.tensors))
    model.reshape({model.inputs[0]: [1, stored.config.in_channels, *size]})
    settings = {**hints(engine.precision == "bf16", torch.get_num_threads()), "PERF_COUNT": True}
    compiled = openvino_core().compile_model(model, "CPU", settings)
    graph = compiled.get_runtime_model().get_ordered_ops()
    shapes = {node.get_friendly_name(): node.output(0).get_shape() for node in graph if node.get_output_size()}
    request = compiled.create_infer_request()
    seconds: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds + 1):
        times = [time.perf_counter()]
        made = read_reflected(planes, slice(0, size[0]), slice(0, size[1]))
        times.append(time.perf_counter())
        result = request.infer({0: made}, share_inputs=True, share_outputs=True)[0]
        times.append(time.perf_counter())
        copy_pixels(result, picture)
        times.append(time.perf_counter())
        for part, taken in zip(("planes", "network", "output copy"), np.diff(times), strict=True):
            seconds[part].append(float(taken))
        by_level: dict[str, float] = defaultdict(float)
        for node in request.profiling_info:
            by_level[level_of(shapes.get(node.node_name, ()), 2 * size[1])] += node.real_time.total_seconds()
        for level in sorted(by_level):
            seconds[level].append(by_level[level])
    return {part: statistics.median(taken[1:]) for part, taken in seconds.items()}


def copy_pixels(made: Any, picture: Any) -> None:
    """Copy the part of a result that the picture shows, as the engine does."""
    pixel = np.dtype((np.void, 3))
    picture.view(pixel)[...] = made[: picture.shape[0], : picture.shape[1]].view(pixel)


def run_windows(
    weights: Weights, engine: Engine, planes: Planes, size: tuple[int, int], picture: Any, window: int, rounds: int
) -> dict[str, float]:
    """Median seconds of the stages of a picture that is run by windows; stages are fetched from the cache anew."""
    config = weights.network.config
    assert isinstance(config, LWISPConfig)
    factor = config.cell // 2
    runner = make_runner(weights.network, "openvino", engine.precision, torch.get_num_threads())
    found: dict[str, list[float]] = defaultdict(list)
    for _ in range(rounds + 1):
        taken: dict[str, float] = defaultdict(float)

        def timed(part: str, run: Callable[[], Any], taken: dict[str, float] = taken) -> Any:
            began = time.perf_counter()
            result = run()
            taken[part] += time.perf_counter() - began
            return result

        def read(rows: slice, columns: slice, timed: Any = timed) -> Any:
            parts = [slice(part.start * factor, part.stop * factor) for part in (rows, columns)]
            return timed("planes", partial(read_reflected, planes, *parts))

        def write(made: Any, total: Any, rows: tiles.Span, columns: tiles.Span, timed: Any = timed) -> None:
            scale = 2 * factor
            core = made[(rows.first - rows.start) * scale :, (columns.first - columns.start) * scale :]
            place = picture[rows.first * scale : rows.last * scale, columns.first * scale : columns.last * scale]
            timed("output copy", partial(copy_pixels, core, place))

        began = time.perf_counter()
        with runner.caller(0) as call:

            def stage(name: str, *inputs: Any, timed: Any = timed, call: Any = call) -> Any:
                part = OTHER if name.startswith(("map", "vector")) else f"stage {name.partition('-')[0]}"
                return timed(part, partial(call, name, *inputs))

            side = window // factor // 16 * 16
            sides = size[0] // factor, size[1] // factor
            tiles.run_tiles(stage, read, write, sides, side, engine.precision == "bf16", "uint8")
        whole = time.perf_counter() - began
        taken["between stages"] = whole - sum(taken.values())
        taken["network"] = whole - taken["planes"] - taken["output copy"]
        for part, value in taken.items():
            found[part].append(value)
    return {part: statistics.median(values[1:]) for part, values in found.items()}


def describe(rows: list[Row]) -> list[Block]:
    """The section of one machine."""
    machine = rows[0].machine
    peaks = {(row.part, row.precision, row.threads): row for row in rows if not row.weights}
    groups: dict[tuple[str, int, float], dict[str, Row]] = defaultdict(dict)
    for row in rows:
        if row.weights:
            groups[row.weights, row.threads, row.megapixels][row.part] = row

    def limit(row: Row) -> float:
        """Seconds that multiply-adds or bytes would take at the peaks, whichever take longer."""
        matmul = peaks["matmul", row.precision, row.threads]
        triad = peaks["triad", "fp32", row.threads]
        return max(row.macs / matmul.macs * matmul.seconds, row.bytes / triad.bytes * triad.seconds)

    def share(part: float, whole: float) -> str:
        return f"{100 * part / whole:.0f} %"

    counts = sorted({row.threads for row in peaks.values()})
    rates = [
        [str(count), *(_rate(peaks.get((part, precision, count))) for part, precision in PEAKS)] for count in counts
    ]
    whole, levels, stages = [], [], []
    names = sorted({row.part for row in rows if row.part.startswith("1/")}, key=lambda name: int(name[2:]))
    for (weights, threads, megapixels), parts in sorted(groups.items()):
        network, others = parts["network"], [parts[name].seconds for name in ("planes", "output copy")]
        floor = sum(limit(row) for name, row in parts.items() if name.startswith("1/"))
        matmul = peaks["matmul", network.precision, threads]
        head = [weights.split()[0], f"{megapixels:g}", str(threads)]
        whole.append([
            *head,
            str(network.window or "whole"),
            *(f"{seconds:.3f}" for seconds in (others[0], network.seconds, others[1])),
            f"{megapixels / (network.seconds + sum(others)):.1f}",
            f"{network.macs / 1e9:.1f}",
            f"{network.bytes / 1e9:.2f}",
            share(network.macs / matmul.macs * matmul.seconds, network.seconds),
            f"{floor:.3f}",
            share(floor, network.seconds),
        ])  # fmt: skip
        if network.window == 0:
            cells = []
            for name in names:
                level = parts.get(name)
                cells.append(f"{level.seconds:.3f} ({share(limit(level), level.seconds)})" if level else "")
            levels.append([*head, *cells, f"{parts[OTHER].seconds:.3f}"])
        else:
            named = [f"{name.removeprefix('stage ')} {parts[name].seconds:.2f}" for name in parts if name in STAGES]
            stages.append([*head, ", ".join(named)])
    head = ["weights", "MP", "threads"]
    blocks: list[Block] = [
        Heading(machine.split(";")[0]),
        Bullets([machine, f"AMX: {'yes' if 'amx' in machine else 'no'}"]),
        Table(["threads", "fp32 GFLOP/s", "bf16 GFLOP/s", "copy GB/s", "triad GB/s"], rates),
        Table(
            [
                *head,
                "run",
                "planes s",
                "network s",
                "output copy s",
                "MP/s",
                "GMAC",
                "GB",
                "of peak",
                "roofline s",
                "of roofline",
            ],
            whole,
        ),
        GROWTH,
        Table(["weights", "threads", "sizes", "planes", "network", "output copy", "all"], _growth(groups)),
        LEVELS,
        Table([*head, *names, OTHER], levels),
    ]
    if stages:
        blocks += ["Pictures run by windows, seconds of each stage:", Table([*head, "stages"], stages)]
    return blocks


PEAKS = (("matmul", "fp32"), ("matmul", "bf16"), ("copy", "fp32"), ("triad", "fp32"))
STAGES = (*(f"stage {name}" for name in tiles.SCALES), OTHER, "between stages")
ABOUT = (
    "Made of RAW files of these sizes, 8-bit pictures, no file read or written; median of the rounds. *Planes*: "
    "levels, balance, canonical color, exposure. *GMAC*, *GB*: multiply-adds of convolutions and products, and what "
    "they read and write once, each value in the precision that is computed in. *Of peak*: of the rate of a large "
    "product of matrices in this precision on as many threads. *Roofline*: the sum over levels of what multiply-adds "
    "take at that rate, or bytes at the triad's, whichever is longer; nothing but convolutions and products is "
    "counted in it. By windows some is computed twice, which does not count as work done."
)
GROWTH = (
    "How seconds grow: the exponent of megapixels, by least squares of logarithms, over whole pictures and windows; 1 "
    "is linear."
)
LEVELS = (
    "The network by level, the size of features beside the picture's: seconds of OpenVINO's own profile, in brackets "
    "how much of that the level's roofline is."
)


def _rate(row: Row | None) -> str:
    """A peak in GFLOP/s or GB/s."""
    return "" if row is None else f"{(2 * row.macs or row.bytes) / row.seconds / 1e9:.1f}"


def _growth(groups: dict[tuple[str, int, float], dict[str, Row]]) -> list[list[str]]:
    found = []
    for weights, threads in sorted({key[:2] for key in groups}):
        sizes = sorted(megapixels for *key, megapixels in groups if tuple(key) == (weights, threads))
        if len(sizes) > 1:
            parts = [groups[weights, threads, size] for size in sizes]
            columns = [[part[name].seconds for part in parts] for name in ("planes", "network", "output copy")]
            columns.append([sum(values) for values in zip(*columns, strict=True)])
            slopes = [np.polyfit(np.log(sizes), np.log(values), 1)[0] for values in columns]
            listed = ", ".join(f"{size:g}" for size in sizes)
            found.append([weights.split()[0], str(threads), listed, *(f"{slope:.2f}" for slope in slopes)])
    return found


def read_rows(path: Path) -> list[Row]:
    """Rows that were measured before."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return [Row(**{each.name: each.type(line[each.name]) for each in fields(Row)}) for line in csv.DictReader(file)]  # type: ignore[operator]


def main() -> None:
    """Measure what is not yet measured on this machine, and write the page."""
    parser = argparse.ArgumentParser(description="Seconds of each stage beside the machine's roofline.")
    parser.add_argument("--output", type=Path, default=Path("docs/results"))
    parser.add_argument("--sizes", default="1,12,50,100", help="megapixels")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=float, help="GB that a picture may take; 0.7 of what is free if not given")
    options = parser.parse_args()
    memory = options.memory or 0.7 * free_memory() / 1e9
    counts = [count for count in map(int, options.threads.split(",")) if count <= available_processors()]
    facts = describe_machine()
    versions = dict(entry.split(" ") for entry in facts["versions"].split(", "))
    machine = f"{facts['processor']}; {facts['instructions']}; OpenVINO {versions['openvino']}"
    make_folder(options.output)
    path = options.output / "roofline.csv"
    rows = read_rows(path)
    done = {(row.machine, row.weights, row.megapixels, row.threads) for row in rows}
    jobs: list[tuple[str, float, int, Callable[[], list[Row]]]] = []
    for threads in counts:
        measure = partial(call_in_new_process, measure_peaks, machine, threads, options.rounds)
        jobs.append(("", 0, threads, measure))
        for megapixels in map(float, options.sizes.split(",")):
            for name in WEIGHTS:
                settings = machine, name, megapixels, threads, memory, options.rounds
                label = f"{name} {load(name).sha256[:16]}"
                jobs.append((label, megapixels, threads, partial(call_in_new_process, measure_network, *settings)))
    for label, megapixels, threads, call in sorted(jobs, key=lambda job: job[1]):
        if (machine, label, megapixels, threads) not in done:
            size = f"{label}, {megapixels:g} MP" if label else "the machine's peaks"
            print(f"{size}, {threads} threads", flush=True)
            try:
                rows += call()
            except InputError as error:  # of one size: the others are measured, and this one by the next call
                print(error, flush=True)
            else:
                write_csv(path, rows)
    blocks: list[Block] = [Command("python benchmarks/roofline.py"), ABOUT]
    for each in dict.fromkeys(row.machine for row in rows):
        blocks += describe([row for row in rows if row.machine == each])
    page = to_markdown(
        "Where the time goes, beside the roofline", [*blocks, "All figures: [roofline.csv](roofline.csv)."], rule="---"
    )
    write_text(options.output / "roofline.md", page)
    print(page)


if __name__ == "__main__":
    main()
