"""Time and memory of networks on planes of one size, each in one engine."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from lwisp.baselines.build import Baseline, build
from lwisp.baselines.config import BaselineConfig
from lwisp.engines.backends import compile_model
from lwisp.engines.cost import count_multiply_adds, time_in_turn
from lwisp.engines.engine import prepare_engine
from lwisp.engines.exported import Exported
from lwisp.engines.runners import as_stored
from lwisp.engines.structures import fill, structure
from lwisp.errors import InputError
from lwisp.evaluation.processes import call_in_new_process, peak_memory_mib
from lwisp.model import LWISP, count_params, pad_to_multiple
from lwisp.weights import Weights, load

EAGER = "eager"
"""The network in plain torch: fp32, NCHW, nothing made ready."""
ENGINES = (EAGER, "auto", "torch-fp32", "torch-bf16", "openvino-fp32", "openvino-bf16", "onnxruntime-fp32")
"""What `--engines` may name; auto is what `lwisp develop` takes."""

Contender = tuple[str | None, str]
"""A baseline's name, or None for the weights' own network, and an engine's."""


@dataclass(frozen=True)
class Timing:
    """One network in one engine, or one tool."""

    name: str
    engine: str
    seconds: list[float]
    """Of every round, warm."""
    ratio: float = 0.0
    """Times as long as the first row takes, median over the rounds."""
    engine_ratio: float | None = None
    """Times as long as lwisp takes in the same engine, median over the rounds."""
    cold_seconds: float | None = None
    """From making ready to the first picture, in a new process, everything imported."""
    peak_memory_mib: float | None = None
    """Largest resident memory of that process, whole."""
    params: int | None = None
    macs: int | None = None
    """Multiply-adds of convolutions and products."""
    failure: str = ""


def resolve_engines(weights: Weights, engines: Sequence[str]) -> list[str]:
    """Engines by their full names, each once, so that baselines run in what "auto" chose.

    Args:
        weights: What "auto" chooses an engine for.
        engines: Names out of `ENGINES`.

    Raises:
        InputError: If one of them cannot run here.
    """
    resolved = []
    for engine in engines:
        if engine != EAGER:
            backend, _, precision = engine.partition("-")
            ready = prepare_engine(weights.runnable, backend, precision or "auto")  # type: ignore[arg-type]
            engine = f"{ready.backend}-{ready.precision}"
        elif isinstance(weights.source, Exported):
            raise InputError("an exported file has no network for torch; drop the engine eager")
        if engine not in resolved:
            resolved.append(engine)
    return resolved


def time_networks(
    name_or_path: str, contenders: Sequence[Contender], size: tuple[int, int], rounds: int
) -> list[Timing]:
    """Time and memory of networks, warm ones timed in turn in this process, cold ones in processes of their own.

    Args:
        name_or_path: The weights.
        contenders: What is compared; the first row is what all others are related to.
        size: Height and width of the planes.
        rounds: Rounds after one to warm up.
    """
    alone = [call_in_new_process(_time_cold, name_or_path, baseline, engine, size) for baseline, engine in contenders]
    networks = [load_network(name_or_path, baseline) for baseline, _ in contenders]
    calls = []
    for network, (_, engine) in zip(networks, contenders, strict=True):
        calls.append(partial(make_ready(network, engine, size), random_planes(network, size)))
    seconds = time_in_turn(calls, rounds)
    rows = []
    for contender, network, (cold, peak), times in zip(contenders, networks, alone, seconds, strict=True):
        baseline, engine = contender
        ours = seconds[contenders.index((None, engine))]
        name = baseline or "lwisp"
        row = Timing(name, engine, times, ratio(times, seconds[0]), ratio(times, ours), cold, peak)
        if not isinstance(network, Exported):
            planes = (1, network.config.in_channels, *size)
            row = replace(row, params=count_params(network), macs=count_multiply_adds(network, planes))
        rows.append(row)
    return rows


def ratio(seconds: list[float], others: list[float]) -> float:
    """How many times as long one network takes as another: the median of the ratios of all rounds.

    Args:
        seconds: Of one network, one value for each round.
        others: Of the other, from the same rounds, above 0.

    Returns:
        The ratio; above 1 where the first is slower.

    Raises:
        ValueError: The numbers of rounds differ.
    """
    return statistics.median(own / other for own, other in zip(seconds, others, strict=True))


def random_planes(network: LWISP | Baseline | Exported, size: tuple[int, int]) -> Tensor:
    """Planes of random values for a network, the same for every call.

    Args:
        network: What is to be run on them.
        size: Height and width.

    Returns:
        (C, h, w) in [0, 1], as many as the network takes.
    """
    return torch.rand(network.config.in_channels, *size, generator=torch.Generator().manual_seed(0))


def load_network(name_or_path: str, baseline: str | None) -> LWISP | Baseline | Exported:
    """The weights' network, or a baseline with random weights, on which time and memory do not depend.

    Args:
        name_or_path: The weights.
        baseline: Name of a baseline, or None for the weights' own network.
    """
    if baseline is None:
        weights = load(name_or_path)
        return weights.source if isinstance(weights.source, Exported) else weights.network
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build(BaselineConfig(baseline)).eval()  # type: ignore[arg-type]


def make_ready(network: LWISP | Baseline | Exported, engine: str, size: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    """A function from planes (C, h, w) to RGB (3, 2h, 2w) that runs a network in an engine.

    Args:
        network: LW-ISP, a baseline or an exported file.
        engine: Full name of an engine.
        size: Height and width of the planes that it will be given.
    """
    if engine == EAGER:
        assert not isinstance(network, Exported)

        def plain(planes: Tensor) -> Tensor:
            with torch.inference_mode():
                return network(planes[None])[0]  # type: ignore[no-any-return]

        return plain
    backend, _, precision = engine.partition("-")
    if isinstance(network, Baseline) and backend == "openvino":
        return _in_openvino(network, precision, size)
    ready = prepare_engine(network, backend, precision)  # type: ignore[arg-type]

    def run(planes: Tensor) -> Tensor:
        return torch.from_numpy(ready(planes.numpy())).permute(2, 0, 1)

    return run


def _in_openvino(network: Baseline, precision: str, size: tuple[int, int]) -> Callable[[Tensor], Tensor]:
    """A baseline compiled for planes of that size, padded before and cropped after."""
    sizes = network.config.size_multiple, network.config.size_minimum
    padded = tuple(pad_to_multiple(torch.empty(1, network.config.in_channels, *size), *sizes).shape)
    model = fill(structure(network.config, "whole-float32"), as_stored(network).tensors)
    compiled = compile_model("openvino", model, [padded], bf16=precision == "bf16")

    def run(planes: Tensor) -> Tensor:
        picture, _ = compiled(pad_to_multiple(planes[None], *sizes).numpy())
        return torch.from_numpy(picture[: 2 * size[0], : 2 * size[1]]).permute(2, 0, 1)

    return run


def _time_cold(name_or_path: str, baseline: str | None, engine: str, size: tuple[int, int]) -> tuple[float, float]:
    """Seconds until the first picture, and this process's peak memory in MiB."""
    network = load_network(name_or_path, baseline)
    planes = random_planes(network, size)
    began = time.perf_counter()
    make_ready(network, engine, size)(planes)
    return time.perf_counter() - began, peak_memory_mib()
