"""Loss and gain of int8: weights and activations quantized after training by NNCF (`pip install nncf`), in OpenVINO.

    python benchmarks/quantization.py CALIBRATION TRUTH [--weights photo-fast] [--rounds ROUNDS]

CALIBRATION and TRUTH are made by `lwisp synthesize dng`, of photographs that were trained on and of others. Scored are
the middles (256 px) of eight RAWs at each level of noise against the photograph, without exposure rule and look, and
against the fp32 picture. Times are those of the network alone on planes of 1504x2000 (12 MP), in turn; what stays out
of int8 there is computed in bf16 where the processor can.
"""

import argparse
import logging
import statistics
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

import lwisp
from lwisp.data.datasets import read_tensor
from lwisp.data.folders import sample
from lwisp.data.synthetic import NOISE_LEVELS
from lwisp.engines.cost import time_in_turn
from lwisp.engines.openvino import has_bf16, hints, openvino_core
from lwisp.engines.runners import as_stored
from lwisp.engines.structures import fill, structure
from lwisp.engines.threads import default_threads
from lwisp.files.optional import need
from lwisp.imaging import color, metrics
from lwisp.pipeline import prepare
from lwisp.weights import Weights

CROP = 128
"""Side of what is calibrated and scored, in planes' pixels."""
CALIBRATED, SCORED = 12, 8
"""RAW files of each level of noise."""
SIZE = (1504, 2000)
"""Planes that times are taken on."""
MIX = ["/[A-Z].*", "/cells/.*", "/fine/.*", "/out/.*"]
FIRST_STAGE = ["/head/.*", "/stages.0/.*", "/down.0.1/.*", "/fuse.2/.*", "/up.2/.*", "/last_up/.*"]
KEPT = {
    "all in int8": [],
    "all but the output's layers": MIX,
    "all but these and the first stage": [*MIX, *FIRST_STAGE],
}
"""Names of operations that stay as they are."""


def planes_of(weights: Weights, path: Path, exposure: Literal["auto", "none"]) -> NDArray[np.float32]:
    """The middle of a RAW's planes (1, C, CROP, CROP)."""
    planes, _ = prepare(lwisp.read_raw(path), replace(weights.card.convention, exposure=exposure))
    top, left = ((side - CROP) // 2 for side in planes.shape[1:])
    return np.ascontiguousarray(planes[None, :, top : top + CROP, left : left + CROP])


def calibration(weights: Weights, folder: Path) -> Iterator[NDArray[np.float32]]:
    """Planes of photographs at each level of noise, exposed by the rule and as they are."""
    for level in NOISE_LEVELS:
        for path in sample(sorted((folder / level).glob("*.dng")), CALIBRATED):
            yield planes_of(weights, path, "auto")
            yield planes_of(weights, path, "none")


def quantize(model: Any, data: list[NDArray[np.float32]], kept: list[str]) -> Any:
    """The model with int8 weights (for each channel) and activations (one range for a tensor), but for some names."""
    nncf = need("nncf")
    nncf.set_log_level(logging.ERROR)
    return nncf.quantize(
        model,
        nncf.Dataset(data),
        preset=nncf.QuantizationPreset.MIXED,
        ignored_scope=nncf.IgnoredScope(patterns=kept, validate=False),
        subset_size=len(data),
    )


def compile_for(model: Any, size: tuple[int, int], bf16: bool = False) -> Any:
    """The model's function of planes of a size."""
    sized = model.clone()
    sized.reshape({sized.inputs[0]: [*sized.inputs[0].partial_shape[:2], *size]})
    return openvino_core().compile_model(sized, "CPU", hints(bf16, default_threads()))


def without_look(picture: NDArray[np.float32]) -> torch.Tensor:
    """(H, W, 3) -> (3, H, W) with the sRGB curve in place of lwisp's tone curve."""
    linear = color.inverse_tone(torch.from_numpy(picture).permute(2, 0, 1)).clamp(0, 1)
    return color.srgb_encode(linear)


def describe_loss(weights: Weights, plain: Any, quantized: Any, folder: Path) -> Iterator[str]:
    """For each level of noise, PSNR of both against the photographs, and of one against the other."""
    for level in NOISE_LEVELS:
        rows = []
        for path in sample(sorted((folder / level).glob("*.dng")), SCORED):
            truth = read_tensor(folder / "truth" / f"{path.stem}.png")
            top, left = ((side // 2 - CROP) // 2 * 2 for side in truth.shape[1:])
            truth = truth[:, top : top + 2 * CROP, left : left + 2 * CROP]
            planes = planes_of(weights, path, "none")
            first, second = (without_look(compiled(planes)[0].copy()) for compiled in (plain, quantized))
            rows.append([metrics.psnr(*pair) for pair in ((first, truth), (second, truth), (second, first))])
        before, after, between = np.mean(rows, 0)
        yield f"  {level:8} {before:6.2f} -> {after:6.2f} dB ({after - before:+.2f}); from fp32 {between:6.2f} dB"


def main() -> None:
    """Quantize each way; print scores and times."""
    parser = argparse.ArgumentParser(description="Loss and gain of int8.")
    parser.add_argument("calibration", type=Path)
    parser.add_argument("truth", type=Path)
    parser.add_argument("--weights", default="photo-fast")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    weights = lwisp.load(options.weights)
    stored = as_stored(weights.network)
    plain = openvino_core().read_model(fill(structure(stored.config, "whole-float32"), stored.tensors))
    channels = stored.config.in_channels
    plain.reshape({plain.inputs[0]: [1, channels, CROP, CROP]})
    data = list(calibration(weights, options.calibration))
    models = {label: quantize(plain, data, kept) for label, kept in KEPT.items()}
    for label, model in models.items():
        print(label)
        compiled = compile_for(plain, (CROP, CROP)), compile_for(model, (CROP, CROP))
        print("\n".join(describe_loss(weights, *compiled, options.truth)))
    planes = np.random.default_rng(0).random((1, channels, *SIZE), np.float32)
    calls = {"fp32": partial(compile_for(plain, SIZE), planes)}
    if has_bf16():
        calls["bf16"] = partial(compile_for(plain, SIZE, bf16=True), planes)
    calls |= {label: partial(compile_for(model, SIZE, has_bf16()), planes) for label, model in models.items()}
    times = dict(zip(calls, time_in_turn(list(calls.values()), options.rounds), strict=True))
    print(f"{default_threads()} threads, {options.rounds} rounds after one to warm up")
    for label, seconds in times.items():
        ratio = statistics.median(first / own for first, own in zip(times["fp32"], seconds, strict=True))
        print(f"{label:34} {statistics.median(seconds):6.3f} s  {ratio:5.2f} times as fast as fp32")


if __name__ == "__main__":
    main()
