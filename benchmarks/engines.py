"""Engines against plain torch and against what the processor could do, in turn in one run; prints ratios.

    python benchmarks/engines.py [ROUNDS]            # the network alone, on planes 1504x2000 (12 MP)
    python benchmarks/engines.py [ROUNDS] FILE       # file to file, beside rawpy's default with the same JPEG

The roofline is the time that the convolutions of each level would take at the rate of the widest plain bf16
convolution of as many channels, all else being free.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import rawpy
import torch
from PIL import Image

import lwisp
from lwisp import backends, inference, pipeline
from lwisp.image import write_rgb

SIZE = (1504, 2000)
PRECISIONS: tuple[inference.Precision, ...] = ("fp32", "bf16")
LEVELS = ((16, 2, 31.9), (16, 1, 62.9), (32, 1 / 2, 47.8), (64, 1 / 4, 47.8), (128, 1 / 8, 47.0), (256, 1 / 16, 6.7))
"""Channels, pixels a side for each of the planes', 10^9 multiply-adds at 1472x1980 planes."""


def in_turn(actions: dict[str, Callable[[], object]], rounds: int, against: str) -> None:
    """Time each in turn after one round to warm up; print medians, and ratios of the medians to one of them."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds + 1):
        for name, action in actions.items():
            began = time.perf_counter()
            action()
            seconds[name].append(time.perf_counter() - began)
    first = statistics.median(seconds[against][1:])
    print(f"{torch.get_num_threads()} threads, {rounds} rounds after one to warm up")
    for name, times in seconds.items():
        middle, low, high = statistics.median(times[1:]), min(times[1:]), max(times[1:])
        print(f"{name:32} {middle:7.3f} s ({low:.3f} to {high:.3f})  {first / middle:6.2f} times as fast as {against}")


def roofline() -> float:
    """Seconds of the convolutions of `SIZE` at measured rates."""
    total, height, width = 0.0, *SIZE
    for channels, scale, giga in LEVELS:
        x = torch.rand(1, channels, int(height * scale), int(width * scale), dtype=torch.bfloat16)
        x = x.contiguous(memory_format=torch.channels_last)
        convolution = inference.channels_last(torch.nn.Conv2d(channels, channels, 3, padding=1).bfloat16())
        times = []
        with torch.inference_mode():
            for _ in range(6):
                began = time.perf_counter()
                convolution(x)
                times.append(time.perf_counter() - began)
        rate = x[0, 0].numel() * channels**2 * 9 / min(times[1:])
        total += giga * 1e9 * height * width / (1472 * 1980) / rate
        print(f"{channels:4} channels: {2 * rate / 1e9:6.0f} GFLOP/s in bf16")
    return total


def network_alone(rounds: int) -> None:
    """Plain torch fp32, every engine there is to pixels of 8 bits, and the roofline."""
    network = lwisp.load("photo").network
    planes = torch.rand(4, *SIZE)

    def eager() -> None:
        with torch.inference_mode():
            network(planes[None])

    actions: dict[str, Callable[[], object]] = {"plain torch fp32": eager}
    for name in backends.NAMES:
        for precision in PRECISIONS:
            if backends.is_installed(name) and (name, precision) != ("onnxruntime", "bf16"):
                engine = inference.prepare(network, name, precision)
                picture = np.empty((2 * SIZE[0], 2 * SIZE[1], 3), np.uint8)
                actions[f"{name} {precision}"] = partial(engine.develop, inference._Whole(planes), picture)
    in_turn(actions, rounds, "plain torch fp32")
    print(f"roofline {roofline():.3f} s")


def file_to_file(rounds: int, source: Path) -> None:
    """`lwisp develop` in a process that is warm, against rawpy's default."""
    weights = lwisp.load("photo")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "picture.jpg"
        engine = inference.prepare(weights.network)

        def ours() -> None:
            raw = lwisp.read_raw(source)
            picture = pipeline.develop_with(engine, weights.card.convention, raw, 0.0, np.uint8)
            write_rgb(output, picture, "jpg", raw.exif, overwrite=True)

        def peer() -> None:
            with rawpy.imread(str(source)) as raw:
                rgb = raw.postprocess()
            Image.fromarray(rgb).save(output, "JPEG", quality=95, subsampling=0)

        in_turn({"rawpy's default": peer, "lwisp": ours}, rounds, "rawpy's default")
        print(engine.description)


if __name__ == "__main__":
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    if len(sys.argv) > 2:
        file_to_file(count, Path(sys.argv[2]))
    else:
        network_alone(count)
