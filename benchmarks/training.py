"""Steps per second of the training loop against the plain one (fp32, NCHW), in turn in one run; prints ratios.

    python benchmarks/training.py [ROUNDS]

The student's own work on random crops, and what of a step is spent on making a batch of photographs.
"""

import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.optim import AdamW

from lwisp.data import unprocess
from lwisp.engines.eager import channels_last, has_bf16
from lwisp.imaging import color
from lwisp.model import LWISP
from lwisp.training.loop import BETAS

BATCH, CROP = 16, 128


def make_step(plain: bool, bf16: bool) -> Callable[[Tensor, Tensor], None]:
    """One step of training the full student with equation 4 alone."""
    network = LWISP() if plain else channels_last(LWISP())
    optimizer = AdamW(network.parameters(), betas=BETAS, fused=not plain)

    def step(planes: Tensor, target: Tensor) -> None:
        if not plain:
            planes = planes.to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            rgb = network(planes)
        loss = (rgb.float() - target).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def main(rounds: int) -> None:
    """Time them in turn and print medians and ratios."""
    generator = torch.Generator().manual_seed(0)
    light, frame = torch.rand(BATCH, 3, CROP, CROP), torch.rand(BATCH, 3, color.GRID, color.GRID)
    steps = {"plain fp32": make_step(True, False), "channels_last fp32": make_step(False, False)}
    if has_bf16("cpu"):
        steps["channels_last bf16"] = make_step(False, True)
    seconds: dict[str, list[float]] = {name: [] for name in [*steps, "making the batch"]}
    for _ in range(rounds + 1):
        began = time.perf_counter()
        planes, target = unprocess.simulate(light, frame, generator)
        seconds["making the batch"].append(time.perf_counter() - began)
        for name, step in steps.items():
            began = time.perf_counter()
            step(planes, target)
            seconds[name].append(time.perf_counter() - began)
    plain = statistics.median(seconds["plain fp32"][1:])
    print(f"{torch.get_num_threads()} threads, {BATCH} crops of {CROP} px, {rounds} rounds after one to warm up")
    for name, times in seconds.items():
        middle = statistics.median(times[1:])
        print(f"{name:20} {middle:.3f} s  {plain / middle:5.2f} times as fast as plain fp32")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
