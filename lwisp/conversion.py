"""Exports weights as files for other engines, each kept only if its own engine gives what torch gives.

`engines.backends.FORMATS` lists the formats; `engines.exported` has the contract of the files.
"""

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from lwisp.architecture import SIZE_MINIMUM, SIZE_MULTIPLE, Takes
from lwisp.engines.backends import FORMATS
from lwisp.engines.contract import CARD_KEY, Program, Size
from lwisp.engines.developed import contract
from lwisp.engines.exported import Exported, open_program
from lwisp.engines.modules import LIMITS, to_pixels
from lwisp.engines.names import PIXELS, Format, Pixels, Stored
from lwisp.engines.portable import exchange
from lwisp.engines.runners import as_stored
from lwisp.engines.structures import fill
from lwisp.engines.tracing import trace_developed
from lwisp.errors import (
    ArgumentError,
    InputError,
    check_choice,
    check_switches,
    check_type,
    is_whole,
    shown,
    unwritable,
)
from lwisp.files.optional import need
from lwisp.files.raw import RawImage, read_mosaic
from lwisp.files.writing import check_output, temporary_folder, write_whole
from lwisp.imaging import color, highlights, matrices
from lwisp.imaging.bayer import CFAS, SATURATION, cfa_offset
from lwisp.model import LWISP, pad_to_multiple
from lwisp.pipeline import inputs_of, prepare
from lwisp.weights import InputConvention, Weights, to_header

TOLERANCE: dict[Stored, float] = {"fp32": 1e-5, "fp16": 5e-3}
"""Largest difference from torch in fp32, of values in [0, 1], that a file may show; fp16 is stored, or computed in."""
ODD_SIZES = ((33, 50), (71, 32), (80, 112))
"""Of the planes that a file of free size is compared on; each is padded to another multiple of 16."""
MOSAIC_SIZES = ((2, 3), (65, 130), (97, 66), (143, 221))
"""Of the mosaics that a file is compared on."""
MURAL = Path(str(resources.files("lwisp") / "assets" / "mural.png"))
"""A real mosaic for the comparison: 160x224 photosites of samples/gopro_hero6_mural.dng, RGGB, 0 to 16383 DN."""
MURAL_BALANCE = (1.914, 1.0, 1.75)


@dataclass(frozen=True)
class Report:
    """The files of an export, and their differences from torch."""

    files: tuple[Path, ...]
    contract: str
    """Input and output in words."""
    errors: dict[str, float]
    """Largest difference by picture."""
    tolerance: float


def export(
    weights: Weights,
    output: Path,
    format: Format,
    precision: Stored = "fp32",
    size: Size = None,
    overwrite: bool = False,
    pixels: Pixels | None = None,
    planes: bool = False,
) -> Report:
    """Write weights as a file for another engine, with their card in its metadata.

    Of weights that take RAWs, ONNX and OpenVINO files of any size hold the steps before the network too: they take a
    mosaic and give its picture. Other files take planes, and their preprocessing stands in the metadata. A file gets
    its name only after its engine has run it and `verify` or `verify_developed` found it equal.

    Args:
        weights: LW-ISP from a safetensors file.
        output: Where to write; the suffix must be the format's.
        format: One of `FORMATS`.
        precision: fp16 is for ONNX, which computes in it, and OpenVINO, which only stores it; planes and RGB are
            float32 in every file.
        size: (h, w) of the planes for a file of this size alone, which LiteRT and ExecuTorch need; without it any
            multiples of 16 from 32 up serve.
        overwrite: Replace files that exist; companions only if they belong to an export that is replaced.
        pixels: Type of the picture's values in a file that takes mosaics; uint8 if not given.
        planes: Write a file that takes planes, for programs that make them.

    Returns:
        What was written, and how far it is from torch.

    Raises:
        InputError: The file differs from torch, a converter is not installed, or size or output cannot be.
    """
    network, outputs = check(weights, output, format, precision, size, overwrite, pixels, planes)
    wrap = FORMATS[format].wrap
    chosen = None if wrap is None or not _takes_mosaics(weights, format, size, planes) else pixels or "uint8"
    if wrap is None or chosen is None:
        contents = FORMATS[format].export(network, metadata(weights), precision, size)
    else:
        computed = precision if format == "onnx" else "fp32"
        structure = trace_developed(network.config, weights.card.convention.preparation, chosen, computed)
        model = fill(structure, as_stored(network).tensors, np.float16 if computed == "fp16" else np.float32)
        contents = wrap(model, metadata(weights, chosen), precision)
    with temporary_folder(output.parent) as folder:
        for path, content in zip(outputs, contents, strict=True):
            try:
                (folder / path.name).write_bytes(content)
            except OSError as error:
                raise unwritable(path, error) from error
        program = open_program(folder / output.name)
        exported = Exported(network.config, program, chosen)
        tolerance = TOLERANCE[precision] + (1 / LIMITS[chosen] if chosen in LIMITS else 0)
        try:
            if chosen is None:
                errors = verify(network, exported, size, tolerance)
            else:
                errors = verify_developed(network, exported, weights.card.convention, tolerance)
        except InputError as error:
            raise InputError(f"{output}: deleted, because {error}") from error
    for path, content in reversed(list(zip(outputs, contents, strict=True))):  # what others refer to comes first
        write_whole(path, partial(_write, content), overwrite)
    return Report(tuple(outputs), _describe(program, chosen), errors, tolerance)


def _check_size(size: Size) -> None:
    """Raise `ArgumentError` where a file cannot be made for planes of a size."""
    if size is None:
        return
    if not (isinstance(size, tuple | list) and len(size) == 2 and all(is_whole(side, 1) for side in size)):
        raise ArgumentError(f"expected the size (h, w) of planes, got {shown(size)}")
    if any(side % SIZE_MULTIPLE or side < SIZE_MINIMUM for side in size):
        raise ArgumentError(
            f"expected planes of multiples of {SIZE_MULTIPLE} from {SIZE_MINIMUM} up, got {size[0]}x{size[1]}; a file "
            f"serves what is smaller by up to {SIZE_MULTIPLE - 1} too"
        )


def _takes_mosaics(weights: Weights, format: Format, size: Size, planes: bool) -> bool:
    """Whether a file will take mosaics."""
    able = weights.card.architecture.takes == "raw" and FORMATS[format].wrap is not None
    return able and size is None and not planes


def _describe(program: Program, pixels: Pixels | None) -> str:
    if pixels is not None:
        return f"mosaic HxW uint16 -> picture HxWx3 {pixels}"
    sides = "x".join(str(side or letter) for side, letter in zip(program.shape, "bchw", strict=True))
    return f"planes {sides} float32 -> rgb float32"


def check(
    weights: Weights,
    output: Path,
    format: Format,
    precision: Stored,
    size: Size,
    overwrite: bool,
    pixels: Pixels | None = None,
    planes: bool = False,
) -> tuple[LWISP, list[Path]]:
    """The network that `export` will convert and the files that it will write; nothing is converted yet.

    Args:
        weights: As for `export`, like the other arguments.
        output: Likewise.
        format: Likewise.
        precision: Likewise.
        size: Likewise.
        overwrite: Likewise.
        pixels: Likewise.
        planes: Likewise.

    Returns:
        The network, and the files; the one to open comes first, its companions after it.

    Raises:
        InputError: `export` would refuse.
    """
    check_type("weights, from lwisp.load", weights, Weights)
    check_type("the path of a file to write", output, Path)
    check_choice("format", format, tuple(FORMATS))
    check_choice("precision", precision, get_args(Stored))
    check_switches(overwrite=overwrite, planes=planes)
    if pixels is not None:
        check_choice("type of the picture", pixels, PIXELS)
    _check_size(size)
    if isinstance(weights.source, Exported) or not isinstance(weights.network, LWISP):
        raise ArgumentError(
            f"weights {weights.card.name!r} are no LW-ISP in a safetensors file, which alone is exported"
        )
    facts = FORMATS[format]
    if output.suffix.lower() != facts.suffix:
        raise ArgumentError(f"--output {output}: expected a name ending in {facts.suffix}")
    if facts.needs_size and size is None:
        raise ArgumentError(f"{format} takes planes of one size only; name it, as --size 736x992")
    if precision not in facts.precisions:
        able = " and ".join(name for name, other in FORMATS.items() if precision in other.precisions)
        raise ArgumentError(f"{precision} is offered for {able}, not for {format}")
    if pixels is not None and not _takes_mosaics(weights, format, size, planes):
        raise ArgumentError(
            "--pixels is for ONNX and OpenVINO files that take a RAW's mosaic, of any size; leave it out, or leave out "
            "--planes and --size and take weights that develop"
        )
    companions = [output.with_suffix(suffix) for suffix in facts.companions]
    for path in (output, *companions):
        check_output(path, overwrite)
    for module in facts.packages:
        need(module)
    if any(path.exists() for path in companions):
        _check_ours(output, companions)
    return weights.network, [output, *companions]


def _check_ours(output: Path, companions: Sequence[Path]) -> None:
    """Raise `InputError` where files beside the output do not belong to an export that it replaces."""
    try:
        open_program(output)
    except InputError as error:
        names = ", ".join(path.name for path in companions)
        raise InputError(
            f"--output {output}: {names} beside it belongs to no file of lwisp, so it is not overwritten; move it away "
            "or choose another name"
        ) from error


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def verify(network: LWISP, exported: Exported, size: Size, tolerance: float) -> dict[str, float]:
    """Compare an exported network with torch on flat planes, noise and a real picture, at odd sizes.

    Args:
        network: LW-ISP in evaluation mode, float32.
        exported: The exported network, with the same contract.
        size: (h, w) of the planes if the file serves one size only.
        tolerance: Largest difference allowed, of values in [0, 1].

    Returns:
        Largest absolute difference by picture.

    Raises:
        InputError: A difference is beyond the tolerance; the message says so if the order of a pixel shuffle is the
            cause.
    """
    sizes = ODD_SIZES if size is None else ((size[0] - 3, size[1] - 7), size)
    errors = {}
    for name, planes in _pictures(network.config.in_channels, sizes):
        with torch.inference_mode():
            expected, got = network(planes), torch.from_numpy(exported(planes.numpy()))
        if got.shape != expected.shape:
            raise InputError(f"it gives {tuple(got.shape)} on {name}, where torch gives {tuple(expected.shape)}")
        errors[name] = float((got - expected).abs().max())
        if not errors[name] <= tolerance:  # written so that NaN fails too
            with torch.inference_mode():
                misordered = bool((got - _misordered(network)(planes)).abs().max() <= tolerance)
            cause = "; its pixel shuffles put the channels of a cell in another order" if misordered else ""
            raise InputError(f"it differs from torch by {errors[name]:.2g} on {name}, over {tolerance:.0e}{cause}")
    return errors


def verify_developed(
    network: LWISP, exported: Exported, convention: InputConvention, tolerance: float
) -> dict[str, float]:
    """Compare a file that takes mosaics with torch, on noise and a real mosaic, of odd sizes and all Bayer patterns.

    Args:
        network: LW-ISP in evaluation mode, float32.
        exported: The exported network, with the same contract.
        convention: What the network expects of its input.
        tolerance: Largest difference allowed, of values in [0, 1].

    Returns:
        Largest absolute difference by picture.

    Raises:
        InputError: A difference is beyond the tolerance.
    """
    errors = {}
    pixels = exported.pixels
    assert pixels is not None
    for name, raw, exposure in _mosaics():
        height, width = raw.mosaic.shape
        planes, (top, left) = prepare(raw, convention, exposure)
        with torch.inference_mode():
            rgb = to_pixels(network(torch.from_numpy(planes)[None]), 1, pixels)
        expected = rgb[top : top + height, left : left + width].numpy().astype(pixels)
        facts = inputs_of(raw, convention, exposure)
        picture, _ = exported.develop([facts[name] for name in convention.preparation.inputs])
        difference = np.abs(picture.astype(np.float64) - expected).max() / LIMITS.get(pixels, 1)
        errors[name] = float(difference)
        if not difference <= tolerance:  # written so that NaN fails too
            raise InputError(f"it differs from torch by {difference:.2g} on {name}, over {tolerance:.0e}")
    return errors


def _mosaics() -> Iterator[tuple[str, RawImage, float]]:
    """Mosaics to compare on, with exposures in EV: noise in other levels and colors than the real ones'."""
    mural = read_mosaic(MURAL, "RGGB", 0, 16383, MURAL_BALANCE)
    yield "a real mosaic", mural, 0.0
    generator = np.random.default_rng(0)
    matrix = np.array([[1.6, -0.5, -0.1], [-0.2, 1.5, -0.3], [0.0, -0.6, 1.6]], np.float32)
    for cfa, (height, width) in zip(CFAS, MOSAIC_SIZES, strict=True):
        top, left = cfa_offset(cfa)
        part = mural.mosaic[top : top + height, left : left + width]
        yield f"a real mosaic of {part.shape[0]}x{part.shape[1]}, {cfa}", replace(mural, mosaic=part, cfa=cfa), 0.0
        noise = generator.integers(0, 4096, (height, width), np.uint16)
        black, white = (240.0, 250.0, 260.0, 270.0), (3800.0, 3900.0, 4000.0, 4090.0)
        raw = RawImage(noise, cfa, black, white, (2.1, 1.0, 1.6), matrix)
        yield f"noise of {height}x{width}, {cfa}", raw, -0.7


class _MisorderedShuffle(nn.Module):
    """PixelShuffle(2) as DepthToSpace's DCR mode has it: the channels of a cell lie apart instead of side by side."""

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1] // 4
        return functional.pixel_shuffle(x.reshape(-1, 4, channels, *x.shape[2:]).transpose(1, 2).flatten(1, 2), 2)


def _misordered(network: LWISP) -> LWISP:
    network = copy.deepcopy(network)
    exchange(network, nn.PixelShuffle, lambda _: _MisorderedShuffle())
    return network


def _pictures(channels: int, sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[str, Tensor]]:
    """Planes (1, C, h, w) to compare on: flat, noise from below black to above white, and a real picture."""
    raw = read_mosaic(MURAL, "RGGB", 0, 16383, MURAL_BALANCE)
    planes, _ = prepare(raw, InputConvention())
    mural = torch.from_numpy(planes)
    mural = mural[torch.arange(channels) % len(mural)]
    generator = torch.Generator().manual_seed(0)
    for height, width in sizes:
        for level in (0.0, 0.5, 1.0):
            yield f"flat {level} of {height}x{width}", torch.full((1, channels, height, width), level)
        yield f"noise of {height}x{width}", 1.2 * torch.rand(1, channels, height, width, generator=generator) - 0.1
        filled = pad_to_multiple(mural, 1, max(height, width))  # reflected until it is large enough
        yield f"a real picture of {height}x{width}", filled[None, :, :height, :width].contiguous()


def metadata(weights: Weights, pixels: Pixels | None = None) -> dict[str, str]:
    """Metadata of an exported file, as JSON texts by key.

    Args:
        weights: The weights that are exported.
        pixels: Type of the picture's values of a file that takes mosaics; None for one that takes planes.

    Returns:
        The card with the SHA-256 of the tensors under `CARD_KEY`; and the contract under `CONTRACT_KEY`, or
        "lwisp_preprocessing" where it takes planes.
    """
    card = {CARD_KEY: to_header(weights.card, weights.sha256)}
    if pixels is not None:
        return {**card, **contract(weights.card.convention.preparation, pixels)}
    facts = preprocessing(weights.card.convention, weights.card.architecture.takes)
    return {**card, "lwisp_preprocessing": json.dumps(facts)}


def preprocessing(convention: InputConvention, takes: Takes | None = "raw") -> dict[str, Any]:
    """How to make planes for a network and to use its picture, for programs without lwisp.

    docs/architecture.md, "The input convention", explains the steps.

    Args:
        convention: The input convention on the card.
        takes: What the network is for.

    Returns:
        Descriptions in words, and the constants of `color`, by topic; values can be written as JSON.
    """
    facts: dict[str, Any] = {
        "size": f"h and w are multiples of {SIZE_MULTIPLE} from {SIZE_MINIMUM} up; reflect at the bottom and right "
        "(the border left out), crop the picture",
        "rgb": "display-referred sRGB in [0, 1]",
        "tone_contrast": color.CONTRAST,
    }
    if takes == "planes":
        facts["rgb"] = "the planes without noise, white at 1"
    elif takes != "raw":
        return {"planes": "display-referred sRGB in [0, 1]", **facts}
    facts["planes"] = "R, Gr, Gb, B of the 2x2 photosites of RGGB, white at 1, not clipped"
    facts["black_level"] = "subtracted: black at 0" if convention.black_level == "subtract" else "kept: DN over white"
    if convention.levels != "sensor":
        facts["white_level"] = "1020/1023 of the sensor's"
    if convention.levels == "liteispnet":
        facts["black_level"] += "; what is below black is raised to it"
    if convention.white_balance == "as-shot":
        gains = "as-shot gains, the smallest taken as 1; clipped "
        facts["white_balance"] = gains + ("colors are rebuilt" if convention.headroom else "cells turn neutral")
        facts["saturation"] = SATURATION
        if not convention.headroom:
            facts["neutrality"] = color.NEUTRALITY
    if convention.color == "canonical":
        facts["color"] = "mixed by the camera's matrix into linear Rec. 2020 (D65), by Malvar's 5x5 filters"
        facts["canonical_to_xyz"] = [[round(value, 7) for value in row] for row in matrices.CANONICAL_TO_XYZ.tolist()]
    if convention.exposure == "auto":
        facts["exposure"] = {
            "grid": color.GRID,
            "white_quantile": color.WHITE_QUANTILE,
            "middle": color.MIDDLE,
            "max_lift": color.MAX_LIFT,
            "max_middle": color.MAX_MIDDLE,
            "max_gain": color.MAX_GAIN,
        }
    if convention.headroom:
        facts["headroom"] = {
            "ev": convention.headroom,
            "knee": highlights.KNEE,
            "same_color": highlights.SAME_COLOR,
            "beyond": highlights.BEYOND,
        }
    if convention.noise:
        facts["noise"] = "a fifth plane: the fourth root of the variance that is expected of the exposed green light"
    if any(convention.shading):
        facts["shading"] = "planes times 1 + a r2 + b r2^2 + c r2^3; r2: squared distance from the middle, corners 1"
        facts["shading_terms"] = list(convention.shading)
    return facts
