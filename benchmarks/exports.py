"""Seconds of exported files beside plain torch (fp32, NCHW) and the torch back end, in turn in one run; prints ratios.

    python benchmarks/exports.py HEIGHTxWIDTH FILE... [--rounds ROUNDS]

Every file that this environment has the engine for, made from `photo`, on planes of that size.
"""

import argparse
import statistics
from collections.abc import Callable
from functools import partial

import torch

import lwisp
from lwisp.engines.cost import time_in_turn
from lwisp.engines.engine import prepare_engine


def main() -> None:
    """Time them in turn and print medians and ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("size")
    parser.add_argument("files", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    planes = torch.rand(4, *map(int, arguments.size.split("x")))
    network = lwisp.load("photo").network

    def plain() -> None:
        with torch.inference_mode():
            network(planes[None])

    calls: dict[str, Callable[[], object]] = {
        "torch, plain": plain,
        "torch back end, fp32": partial(prepare_engine(network, "torch", "fp32"), planes.numpy()),
    }
    calls |= {
        file: partial(prepare_engine(lwisp.load(file).runnable, precision="fp32"), planes.numpy())
        for file in arguments.files
    }
    seconds = dict(zip(calls, time_in_turn(list(calls.values()), arguments.rounds), strict=True))
    for name, times in seconds.items():
        ratios = [first / own for first, own in zip(seconds["torch, plain"], times, strict=True)]
        print(f"{name:30} {statistics.median(times):.3f} s  {statistics.median(ratios):5.2f} times as fast as plain")


if __name__ == "__main__":
    main()
