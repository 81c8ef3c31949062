"""Engines against plain torch and against what the processor could do, in turn in one run; prints ratios.

    python benchmarks/engines.py [ROUNDS]

The network alone, on planes of 1504x2000 (12 MP), to pixels of 8 bits; `lwisp bench --end-to-end` times whole files.
The roofline is the time that the convolutions of each level would take at the rate of the widest plain bf16
convolution of as many channels, all else being free.
"""

import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import get_args

import numpy as np
import torch

import lwisp
from lwisp.engines.backends import BACKENDS, is_installed
from lwisp.engines.cost import time_in_turn
from lwisp.engines.eager import channels_last
from lwisp.engines.engine import prepare_engine
from lwisp.engines.frames import WholeFrame
from lwisp.engines.names import Backend, Computed

SIZE = (1504, 2000)
PRECISIONS: tuple[Computed, ...] = ("fp32", "bf16")
LEVELS = ((16, 2, 31.9), (16, 1, 62.9), (32, 1 / 2, 47.8), (64, 1 / 4, 47.8), (128, 1 / 8, 47.0), (256, 1 / 16, 6.7))
"""Channels, pixels a side for each of the planes', 10^9 multiply-adds at 1472x1980 planes."""


def roofline() -> float:
    """Seconds of the convolutions of `SIZE` at measured rates."""
    total, height, width = 0.0, *SIZE
    for channels, scale, giga in LEVELS:
        x = torch.rand(1, channels, int(height * scale), int(width * scale), dtype=torch.bfloat16)
        x = x.contiguous(memory_format=torch.channels_last)
        convolution = channels_last(torch.nn.Conv2d(channels, channels, 3, padding=1).bfloat16())
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


def main(rounds: int) -> None:
    """Time plain torch fp32 and every engine there is, in turn; print medians, ratios and the roofline."""
    network = lwisp.load("photo").network
    planes = torch.rand(4, *SIZE)

    def eager() -> None:
        with torch.inference_mode():
            network(planes[None])

    actions: dict[str, Callable[[], object]] = {"plain torch fp32": eager}
    for name in get_args(Backend)[1:]:
        for precision in PRECISIONS:
            if is_installed(name) and precision in BACKENDS[name].bytes_per_pixel:
                engine = prepare_engine(network, name, precision)
                picture = np.empty((2 * SIZE[0], 2 * SIZE[1], 3), np.uint8)
                actions[f"{name} {precision}"] = partial(engine.develop, WholeFrame(planes.numpy()), picture)
    seconds = dict(zip(actions, time_in_turn(list(actions.values()), rounds), strict=True))
    print(f"{torch.get_num_threads()} threads, {rounds} rounds after one to warm up")
    for label, times in seconds.items():
        ratio = statistics.median(plain / own for plain, own in zip(seconds["plain torch fp32"], times, strict=True))
        spread = f"({min(times):.3f} to {max(times):.3f})"
        print(f"{label:20} {statistics.median(times):7.3f} s {spread}  {ratio:6.2f} times as fast as plain torch fp32")
    print(f"roofline {roofline():.3f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
