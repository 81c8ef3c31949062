"""`lwisp bench`: time and memory of the network and its peers, of whole files, and how both grow.

What is compared runs in turn, round by round in one process, so that what else the machine does hurts all alike; the
ratio is the median of the rounds' own ratios. Cold times and peak memory come from a process of their own for each.
"""

import contextlib
import json
import multiprocessing
import os
import platform
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar, get_args

import numpy as np
import rawpy
import torch
from PIL import Image
from torch import Tensor

from lwisp.baselines import Baseline, BaselineConfig, Name, build
from lwisp.conversion import MURAL, MURAL_BALANCE
from lwisp.engines.compiled import convert
from lwisp.engines.cost import count_multiply_adds, time_in_turn
from lwisp.engines.engine import Engine, prepare
from lwisp.engines.exported import Exported, import_dynamo, need, openvino_core
from lwisp.errors import InputError, one_line
from lwisp.evaluation import darktable, rawtherapee
from lwisp.evaluation.commands import run_command
from lwisp.files import report as report_writer
from lwisp.files.pictures import write_rgb
from lwisp.files.raw import read_mosaic, read_raw, write_dng
from lwisp.files.report import Block, Bullets, Command, Heading, Table
from lwisp.files.writing import check_outputs, make_folder, quiet, temporary_folder, write_text, write_whole
from lwisp.model import LWISP, count_params, pad_to_multiple
from lwisp.pipeline import develop_with
from lwisp.weights import Weights, load

EAGER = "eager"
"""The network in plain torch: fp32, NCHW, nothing made ready."""
ENGINES = (EAGER, "auto", "torch-fp32", "torch-bf16", "openvino-fp32", "openvino-bf16", "onnxruntime-fp32")
"""What `--engines` may name; auto is what `lwisp develop` takes."""

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One network in one engine, or one tool."""

    name: str
    engine: str
    seconds: list[float]
    """Of every round, warm."""
    ratio: float = 0.0
    """How many times as long as the first row takes, median over the rounds."""
    engine_ratio: float | None = None
    """The same beside lwisp in the same engine."""
    cold_seconds: float | None = None
    """From making ready to the first picture, in a new process, everything imported."""
    peak_memory_mib: float | None = None
    """Largest resident memory of that process, whole."""
    params: int | None = None
    macs: int | None = None
    """Multiply-adds of convolutions and products."""
    failure: str = ""


@dataclass(frozen=True)
class Point:
    """A whole file developed in a process of its own."""

    megapixels: float
    threads: int
    seconds: float = 0.0
    peak_memory_mib: float = 0.0
    failure: str = ""


@dataclass(frozen=True)
class Report:
    """All that was measured, and on what."""

    command: str
    machine: dict[str, str]
    weights: str
    planes: tuple[int, int, int, int]
    """Shape of the input of `networks`."""
    networks: tuple[Row, ...]
    tools: tuple[Row, ...] = ()
    file: str = ""
    """What `tools` developed."""
    by_size: tuple[Point, ...] = ()
    by_threads: tuple[Point, ...] = ()


def bench(
    name_or_path: str = "photo",
    size: tuple[int, int] = (736, 992),
    engines: Sequence[str] = (EAGER, "auto"),
    against: Sequence[str] = (),
    rounds: int = 5,
    file: Path | None = None,
    megapixels: Sequence[float] = (),
    threads: Sequence[int] = (),
    memory: float | None = None,
) -> Report:
    """Measure a network on planes of `size` in some engines, `against` networks of `baselines` in the same.

    With `file`, a RAW, also from file to file beside rawpy, darktable and RawTherapee where they are installed. With
    `megapixels`, whole files of these sizes, in `memory` GB; with `threads`, `size` on so many. Raises `InputError`
    for unknown engines and networks and what is not installed, before anything is measured.
    """
    _check(size, engines, against, rounds, file, megapixels, threads)
    import_dynamo()  # which counting operations does
    weights = load(name_or_path)
    named = _resolve(weights, engines)
    contenders = [(peer, engine) for peer in (None, *against) for engine in named]
    area = 4 * size[0] * size[1] / 1e6
    return Report(
        " ".join(["lwisp", *sys.argv[1:]]),
        _machine(),
        f"{weights.card.name} (SHA-256 of the tensors {weights.sha256[:16]})",
        (1, 4, *size),
        tuple(_networks(str(name_or_path), contenders, size, rounds)),
        tuple(_tools(weights, file, rounds)) if file else (),
        file.name if file else "",
        tuple(_grow(str(name_or_path), each, torch.get_num_threads(), memory) for each in megapixels),
        tuple(_grow(str(name_or_path), area, count, memory) for count in threads),
    )


def _check(
    size: tuple[int, int],
    engines: Sequence[str],
    against: Sequence[str],
    rounds: int,
    file: Path | None,
    megapixels: Sequence[float],
    threads: Sequence[int],
) -> None:
    for given, known in ((engines, ENGINES), (against, get_args(Name))):
        for name in given:
            if name not in known:
                raise InputError(f"expected names out of {', '.join(known)}, got {name!r}")
    if not engines or rounds < 1 or min(size) < 1:
        raise InputError(f"expected an engine, rounds and sides from 1 up, got {engines}, {rounds} and {size}")
    if any(not 0.01 <= area <= 2000 for area in megapixels):
        raise InputError(f"expected sizes of 0.01 to 2000 megapixels, got {', '.join(map(str, megapixels))}")
    processors = os.cpu_count() or 1
    if any(not 1 <= count <= processors for count in threads):
        raise InputError(f"expected 1 to {processors} threads, got {', '.join(map(str, threads))}")
    if file is not None:
        read_raw(file)


def _resolve(weights: Weights, engines: Sequence[str]) -> list[str]:
    """The engines by name, so that peers run in what auto took; raises `InputError` for one that cannot run here."""
    resolved = []
    for engine in engines:
        if engine != EAGER:
            backend, _, precision = engine.partition("-")
            ready = prepare(weights.network, backend, precision or "auto")  # type: ignore[arg-type]
            engine = f"{ready.backend}-{ready.precision}"
        elif isinstance(weights.network, Exported):
            raise InputError("an exported file has no network for torch; drop the engine eager")
        if engine not in resolved:
            resolved.append(engine)
    return resolved


def _network(name_or_path: str, peer: str | None) -> LWISP | Baseline | Exported:
    """The weights' network, or a peer with random weights, of which time and memory do not depend."""
    if peer is None:
        return load(name_or_path).network
    torch.manual_seed(0)
    return build(BaselineConfig(peer)).eval()  # type: ignore[arg-type]


def _ready(network: LWISP | Baseline | Exported, engine: str, size: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    """What turns planes (4, h, w) into RGB, in that engine."""
    if engine == EAGER:

        def plain(planes: Tensor) -> Tensor:
            with torch.inference_mode():
                return network(planes[None])[0]  # type: ignore[no-any-return]

        return plain
    backend, _, precision = engine.partition("-")
    if isinstance(network, Baseline) and backend == "openvino":
        return _in_openvino(network, precision, size)
    return prepare(network, backend, precision)  # type: ignore[arg-type]


def _in_openvino(network: Baseline, precision: str, size: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    """A peer compiled for planes of that size, padded and cropped around it."""
    sizes = network.config.size_multiple, network.config.size_minimum
    padded = pad_to_multiple(torch.empty(1, 4, *size), *sizes).shape
    with torch.inference_mode(), quiet():  # tracing warns of every `if`
        side = max(64, network.config.size_minimum)
        model = convert(network.network, (torch.zeros(1, 4, side, side),), [list(padded)])
    hints = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = openvino_core().compile_model(model, "CPU", hints)

    def run(planes: Tensor) -> Tensor:
        rgb = torch.from_numpy(compiled(pad_to_multiple(planes[None], *sizes).numpy())[0])
        return rgb[0, :, : 2 * size[0], : 2 * size[1]].clamp(0, 1)

    return run


def _planes(size: tuple[int, int]) -> Tensor:
    return torch.rand(4, *size, generator=torch.Generator().manual_seed(0))


def _networks(
    name_or_path: str, contenders: Sequence[tuple[str | None, str]], size: tuple[int, int], rounds: int
) -> list[Row]:
    alone = [_in_new_process(_alone, name_or_path, peer, engine, size) for peer, engine in contenders]
    networks = [_network(name_or_path, peer) for peer, _ in contenders]
    planes = _planes(size)
    calls = [
        partial(_ready(network, engine, size), planes)
        for network, (_, engine) in zip(networks, contenders, strict=True)
    ]
    seconds = time_in_turn(calls, rounds)
    rows = []
    for (peer, engine), network, (cold, peak), times in zip(contenders, networks, alone, seconds, strict=True):
        ours = _ratio(times, seconds[contenders.index((None, engine))])
        row = Row(peer or "lwisp", engine, times, _ratio(times, seconds[0]), ours, cold, peak)
        if not isinstance(network, Exported):
            row = replace(row, params=count_params(network), macs=count_multiply_adds(network, (1, 4, *size)))
        rows.append(row)
    return rows


def _ratio(seconds: list[float], others: list[float]) -> float:
    """How many times as long as another it takes: the median of the rounds."""
    return statistics.median(own / other for own, other in zip(seconds, others, strict=True))


def _alone(name_or_path: str, peer: str | None, engine: str, size: tuple[int, int]) -> tuple[float, float]:
    """Seconds until the first picture, and the process's peak memory in MiB."""
    network, planes = _network(name_or_path, peer), _planes(size)
    began = time.perf_counter()
    _ready(network, engine, size)(planes)
    return time.perf_counter() - began, _peak_memory_mib()


def _tools(weights: Weights, source: Path, rounds: int) -> list[Row]:
    """The RAW to a JPEG by lwisp and rawpy in this process, and by commands, each with its start."""
    with temporary_folder() as folder:
        runs: dict[tuple[str, str], Callable[[], object]] = {
            ("lwisp", "in process"): partial(_develop, prepare(weights.network), weights, source, folder / "lwisp.jpg"),
            ("rawpy default", "in process"): partial(_rawpy, source, folder / "rawpy.jpg"),
        }
        failures = {}
        for tool, arguments in _commands(source, folder / "command.jpg").items():
            runs[tool, "command"] = run = partial(_command, arguments, folder / "command.jpg")
            try:
                run()
            except InputError as error:
                failures[tool, "command"] = Row(tool, "command", [], failure=str(error))
        runs = {key: run for key, run in runs.items() if key not in failures}
        seconds = time_in_turn(list(runs.values()), rounds)
    rows = [Row(tool, how, own, _ratio(own, seconds[0])) for (tool, how), own in zip(runs, seconds, strict=True)]
    return [*rows, *failures.values()]


def _commands(source: Path, output: Path) -> dict[str, list[str]]:
    """The commands from a RAW to a JPEG of quality 95, of the programs that are installed."""
    commands = {
        "lwisp": [sys.executable, "-m", "lwisp", "develop", str(source), "--overwrite", "-o", str(output)],
        darktable.PROGRAM: darktable.jpeg_command(source, output),
        rawtherapee.PROGRAM: rawtherapee.jpeg_command(source, output),
    }
    return {tool: arguments for tool, arguments in commands.items() if shutil.which(arguments[0])}


def _develop(engine: Engine, weights: Weights, source: Path, output: Path) -> None:
    """What `develop_files` does for each of many files."""
    raw = read_raw(source)
    picture = develop_with(engine, weights.card.convention, raw, 0.0, np.uint8)
    write_rgb(output, picture, "jpg", raw.exif, overwrite=True)


def _rawpy(source: Path, output: Path) -> None:
    """Its default with the camera's white balance, in lwisp's kind of JPEG."""
    with rawpy.imread(str(source)) as raw:
        rgb = raw.postprocess(use_camera_wb=True)
    Image.fromarray(rgb).save(output, "JPEG", quality=95, subsampling=0)


def _command(arguments: list[str], output: Path) -> None:
    """Run a command that must write that file; raises `InputError` where it doesn't."""
    output.unlink(missing_ok=True)
    finished = run_command(arguments, output.parent)
    if finished.exit_code or not output.is_file():
        said = one_line(ValueError(finished.error_output or finished.output))
        raise InputError(f"{arguments[0]} failed with exit code {finished.exit_code}: {said}")


def _grow(name_or_path: str, megapixels: float, threads: int, memory: float | None) -> Point:
    """Develop one file of that size in a process of its own: the mural of `export`, side by side."""
    with temporary_folder() as folder:
        source, output = folder / "mosaic.dng", folder / "picture.jpg"
        height, width = (2 * round((megapixels * 1e6 * ratio) ** 0.5 / 2) for ratio in (3 / 4, 4 / 3))
        mural = read_mosaic(MURAL, "RGGB", 0, 16383, MURAL_BALANCE)
        rows, columns = (-(-side // length) for side, length in zip((height, width), mural.mosaic.shape, strict=True))
        write_dng(source, replace(mural, mosaic=np.tile(mural.mosaic, (rows, columns))[:height, :width]))
        area = height * width / 1e6
        try:
            seconds, peak = _in_new_process(_develop_alone, name_or_path, source, output, threads, memory)
        except InputError as error:
            return Point(area, threads, failure=str(error))
        return Point(area, threads, seconds, peak)


def _develop_alone(
    name_or_path: str, source: Path, output: Path, threads: int, memory: float | None
) -> tuple[float, float]:
    """Seconds and peak memory of a file developed in a new process, on so many processors, when it does so again.

    Imports and compiling are not counted; they do not grow with the file.
    """
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])
    torch.set_num_threads(threads)
    weights = load(name_or_path)
    engine = prepare(weights.network, memory=memory)
    for _ in range(2):
        began = time.perf_counter()
        _develop(engine, weights, source, output)
    return time.perf_counter() - began, _peak_memory_mib()


def _in_new_process(call: Callable[..., T], *arguments: object) -> T:
    """Run a function of this module in a process that knows nothing of this one; raises `InputError` if that dies."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(call, *arguments).result()
        except BrokenProcessPool as error:
            raise InputError("the process was killed, which lack of memory does; take a smaller size") from error


def _peak_memory_mib() -> float:
    """Largest resident memory of this process so far."""
    status = Path("/proc/self/status")
    if status.is_file():  # `getrusage` would count what the parent had when it started this process
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


def _machine() -> dict[str, str]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    versions = {}
    for package in ("lwisp", "torch", "openvino", "onnxruntime", "rawpy"):
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "processor": f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores",
        "instructions": " ".join(name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags),
        "threads": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{package} {number}" for package, number in versions.items()),
    }


def to_markdown(report: Report) -> str:
    """The report as a page."""
    machine = [f"{key}: {value}" for key, value in report.machine.items()]
    blocks: list[Block] = [Command(report.command), Bullets([*machine, f"weights: {report.weights}"])]
    blocks += _networks_section(report)
    if report.tools:
        blocks += _tools_section(report)
    if report.by_size or report.by_threads:
        blocks += _growth_section(report)
    return report_writer.to_markdown("What it costs", blocks, rule="---")


def _networks_section(report: Report) -> list[Block]:
    height, width = report.planes[2:]
    about = (
        f"Planes of {'x'.join(map(str, report.planes))} float32, a picture of {2 * height}x{2 * width}, in turn, "
        f"{len(report.networks[0].seconds)} rounds after one to warm up: median [fastest, slowest]. *Times*: how long "
        "beside the first row, and beside lwisp in the same engine, median of the rounds' ratios. *Cold*, *peak*: in a "
        "process of its own, from making ready to the first picture; the whole process, imports too."
    )
    megapixels = 4 * height * width / 1e6
    rows = [_network_cells(row, megapixels) for row in report.networks]
    head = ["network", "engine", "parameters", "multiply-adds", "cold s", "ms", "MP/s", "peak MiB", "times"]
    return [Heading("The network alone"), about, Table([*head, "in its engine"], rows)]


def _network_cells(row: Row, megapixels: float) -> list[str]:
    return [
        row.name,
        row.engine,
        f"{row.params:,}" if row.params else "",
        f"{row.macs / 1e9:,.1f} G" if row.macs else "",
        f"{row.cold_seconds:.2f}",
        _spread(row.seconds, 1000),
        f"{megapixels / statistics.median(row.seconds):.2f}",
        f"{row.peak_memory_mib:,.0f}",
        f"{row.ratio:.3g}",
        f"{row.engine_ratio:.3g}",
    ]


def _tools_section(report: Report) -> list[Block]:
    rows = []
    for row in report.tools:
        figures = [row.failure] if row.failure else [_spread(row.seconds, 1), f"{row.ratio:.2f}"]
        rows.append([row.name, row.engine, *figures])
    return [
        Heading(f"From file to file: {report.file}"),
        "RAW to JPEG of quality 95, in turn. Commands are started anew every time.",
        Table(["tool", "run as", "s", "times"], rows),
    ]


def _growth_section(report: Report) -> list[Block]:
    rows = []
    for point in (*report.by_size, *report.by_threads):
        speed = point.megapixels / point.seconds if point.seconds else 0.0
        measured = [f"{point.seconds:.2f}", f"{speed:.2f}", f"{point.peak_memory_mib:,.0f}"]
        figures = [point.failure] if point.failure else measured
        rows.append([f"{point.megapixels:.2f}", str(point.threads), *figures])
    return [
        Heading("How it grows"),
        "A plain DNG to a JPEG, the second of two times, each size in a process of its own; imports and compiling "
        "count in its memory but not in its time.",
        Table(["megapixels", "threads", "s", "MP/s", "peak MiB"], rows),
    ]


def _spread(seconds: list[float], scale: float) -> str:
    middle, low, high = (scale * value for value in (statistics.median(seconds), min(seconds), max(seconds)))
    decimals = 0 if middle >= 100 else 1 if middle >= 10 else 2
    return f"{middle:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"


def check_report(folder: Path, overwrite: bool = False) -> None:
    """Make the folder of a report; raises `InputError` where something is in the way that is not replaced.

    With `overwrite` that is what is no report of ours: `bench.json` tells.
    """
    make_folder(folder)
    check_outputs(folder, ("bench.json", "bench.md", "scaling.png"), overwrite, _is_report)


def _is_report(path: Path) -> bool:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and {"machine", "by_size", "by_threads"} <= set(content)


def write_report(folder: Path, report: Report, overwrite: bool = False) -> None:
    """Write `bench.md`, `bench.json`, and `scaling.png` where growth was measured; raises `InputError`."""
    check_report(folder, overwrite)
    write_text(folder / "bench.json", json.dumps(asdict(report), indent=1) + "\n", overwrite)
    write_text(folder / "bench.md", to_markdown(report), overwrite)
    if report.by_size or report.by_threads:
        _plot(folder / "scaling.png", report, overwrite)


def _plot(path: Path, report: Report, overwrite: bool) -> None:
    """Time and memory against megapixels, time against threads."""
    sizes = [point for point in report.by_size if not point.failure]
    counts = [point for point in report.by_threads if not point.failure]
    panels = {
        ("megapixels", "seconds"): [(point.megapixels, point.seconds) for point in sizes],
        ("megapixels", "peak memory, MiB"): [(point.megapixels, point.peak_memory_mib) for point in sizes],
        ("threads", "seconds"): [(float(point.threads), point.seconds) for point in counts],
    }
    figure = need("matplotlib.figure").Figure(figsize=(12, 4), layout="constrained")
    for axes, (labels, values) in zip(figure.subplots(1, 3), panels.items(), strict=True):
        axes.plot([across for across, _ in values], [up for _, up in values], marker="o")
        axes.set(xlabel=labels[0], ylabel=labels[1], xlim=(0, None), ylim=(0, None))
        axes.grid(alpha=0.3)
    figure.suptitle(report.machine["processor"], fontsize=9)
    write_whole(path, lambda file: figure.savefig(file, format="png", dpi=110), overwrite)
