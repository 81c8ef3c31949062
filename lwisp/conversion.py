"""Networks for other engines: converted, run by that engine, compared with torch, and kept only where they agree.

ONNX, OpenVINO's IR, LiteRT (.tflite) and ExecuTorch (.pte). What a file expects and gives is said in `exported`.
"""

import copy
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from lwisp.engines.exported import CARD_KEY, SEAL_KEY, Exported, import_dynamo, need, open_program, openvino_core, seal
from lwisp.errors import InputError
from lwisp.files.raw import read_mosaic
from lwisp.files.writing import check_output, quiet, write_whole
from lwisp.imaging import color
from lwisp.model import LWISP, SIZE_MINIMUM, SIZE_MULTIPLE, ReflectConv2d, Takes, pad_to_multiple
from lwisp.pipeline import prepare
from lwisp.weights import InputConvention, Weights, to_header

Format = Literal["onnx", "openvino", "litert", "executorch"]
Precision = Literal["fp32", "fp16"]

M = TypeVar("M", bound=nn.Module)

SUFFIXES: dict[Format, str] = {"onnx": ".onnx", "openvino": ".xml", "litert": ".tflite", "executorch": ".pte"}
Size = tuple[int, int] | None
"""Height and width of the planes of a file for this size alone."""
FIXED: frozenset[Format] = frozenset(["litert", "executorch"])
"""Formats whose planes have one size only."""
MODULES: dict[Format, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
    "litert": ("litert_torch", "ai_edge_litert.interpreter"),
    "executorch": ("executorch.exir", "executorch.runtime"),
}
"""What a format is converted with and run by."""
OPSET = 20
TOLERANCE: dict[Precision, float] = {"fp32": 1e-5, "fp16": 5e-3}
"""Largest difference from torch in fp32, of values in [0, 1], that a file may show; fp16 is stored, or computed in."""
ODD_SIZES = ((33, 50), (71, 32), (80, 112))
"""Of the planes that a file of free size is compared on; each is padded to another multiple of 16."""
MURAL = Path(str(resources.files("lwisp") / "assets" / "mural.png"))
"""A real mosaic for the comparison: 160x224 photosites of samples/gopro_hero6_mural.dng, RGGB, 0 to 16383 DN."""
MURAL_BALANCE = (1.914, 1.0, 1.75)


@dataclass(frozen=True)
class Report:
    """What was exported, and how far the result is from torch."""

    files: tuple[Path, ...]
    planes: str
    """The input, as "1x4xhxw"."""
    errors: dict[str, float]
    """Largest difference by picture."""
    tolerance: float


def export(
    weights: Weights,
    output: Path,
    format: Format,
    precision: Precision = "fp32",
    size: Size = None,
    overwrite: bool = False,
) -> Report:
    """Write weights as a file for another engine, with their card and how to make planes in its metadata.

    `size` (h, w) of the planes makes a file for this size alone, which LiteRT and ExecuTorch need; without it any
    multiples of 16 from 32 up serve. fp16 is for ONNX, which computes in it, and for OpenVINO, which only stores it;
    planes and RGB are float32 in every file. A file gets its name only after its engine has run it and `verify` found
    it equal. Raises `InputError` where it differs, where a converter is not installed, and for a size or output that
    cannot be.
    """
    network, outputs = check(weights, output, format, precision, size, overwrite)
    contents = _CONVERTERS[format](network, metadata(weights), precision, size)
    with tempfile.TemporaryDirectory(prefix=".lwisp-", dir=output.parent) as folder:
        for path, content in zip(outputs, contents, strict=True):
            (Path(folder) / path.name).write_bytes(content)
        program = open_program(Path(folder) / output.name)
        exported = Exported(network.config, program)
        try:
            errors = verify(network, exported, size, TOLERANCE[precision])
        except InputError as error:
            raise InputError(f"{output}: deleted, because {error}") from error
    for path, content in reversed(list(zip(outputs, contents, strict=True))):  # what others refer to comes first
        write_whole(path, partial(_write, content), overwrite)
    planes = "x".join(str(side or letter) for side, letter in zip(program.shape, "bchw", strict=True))
    return Report(tuple(outputs), planes, errors, TOLERANCE[precision])


def check(
    weights: Weights, output: Path, format: Format, precision: Precision, size: Size, overwrite: bool
) -> tuple[LWISP, list[Path]]:
    """What `export` will convert and write, the file that is opened first; raises `InputError` where it would refuse.

    Nothing is converted yet.
    """
    if not isinstance(weights.network, LWISP):
        raise InputError(f"weights {weights.card.name!r} are no LW-ISP in a safetensors file, which alone is exported")
    if output.suffix.lower() != SUFFIXES[format]:
        raise InputError(f"--output {output}: expected a name ending in {SUFFIXES[format]}")
    if format in FIXED and size is None:
        raise InputError(f"{format} takes planes of one size only; name it, as --size 736x992")
    if format in FIXED and precision == "fp16":
        raise InputError(f"fp16 is offered for onnx and openvino, not for {format}")
    if size is not None and any(side % SIZE_MULTIPLE or side < SIZE_MINIMUM for side in size):
        raise InputError(
            f"expected planes of multiples of {SIZE_MULTIPLE} from {SIZE_MINIMUM} up, got {size[0]}x{size[1]}; a file "
            f"serves what is smaller by up to {SIZE_MULTIPLE - 1} too"
        )
    outputs = [output, output.with_suffix(".bin")] if format == "openvino" else [output]
    for path in outputs:
        check_output(path, overwrite)
    for module in MODULES[format]:
        need(module)
    return weights.network, outputs


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)


def verify(network: LWISP, exported: nn.Module, size: Size, tolerance: float) -> dict[str, float]:
    """The largest difference between the two on each of some pictures, whose planes have odd sizes.

    Raises `InputError` where one is beyond the tolerance; says so where the cause is the order of a pixel shuffle.
    """
    sizes = ODD_SIZES if size is None else ((size[0] - 3, size[1] - 7), size)
    errors = {}
    for name, planes in _pictures(network.config.in_channels, sizes):
        with torch.inference_mode():
            expected, got = network(planes), exported(planes)
        if got.shape != expected.shape:
            raise InputError(f"it gives {tuple(got.shape)} on {name}, where torch gives {tuple(expected.shape)}")
        errors[name] = float((got - expected).abs().max())
        if not errors[name] <= tolerance:  # written so that NaN fails too
            with torch.inference_mode():
                misordered = bool((got - _misordered(network)(planes)).abs().max() <= tolerance)
            cause = "; its pixel shuffles put the channels of a cell in another order" if misordered else ""
            raise InputError(f"it differs from torch by {errors[name]:.2g} on {name}, over {tolerance:.0e}{cause}")
    return errors


def portable(network: LWISP, slices: bool = True) -> nn.Module:
    """The network in operations that every converter knows: a copy with some parameter-free modules exchanged.

    Padding and cropping are left to the caller, means are taken in float32, and the global vector is spread by adding
    it to zeros, because LiteRT refuses to load what its converter makes of `expand_as`.

    Args:
        network: LW-ISP, which is left as it is.
        slices: Reflect borders by concatenating slices, which engines without a reflection of their own compute fast.

    Returns:
        A module in evaluation mode, equal to the network: planes (1, C, h, w) float32, h and w multiples of 16 from 32
        up -> (1, out_channels, H, W) float32 in [0, 1].
    """
    network = copy.deepcopy(network).eval()
    network.pad = nn.Identity()
    network.crop = _Uncropped()
    network.average = _Mean(keepdim=False)
    network.spread = _SpreadByAdding()
    _exchange(network, nn.AdaptiveAvgPool2d, lambda _: _Mean(keepdim=True))
    if slices:
        _exchange(network, ReflectConv2d, _SlicedConv2d)
    return _Portable(network)


def _exchange(network: nn.Module, kind: type[M], make: Callable[[M], nn.Module]) -> None:
    """Put another module in the place of each of a kind."""
    for module in list(network.modules()):
        for name, child in module.named_children():
            if isinstance(child, kind):
                setattr(module, name, make(child))


class _Portable(nn.Module):
    """float32 in and out, whatever the weights are."""

    def __init__(self, network: LWISP) -> None:
        super().__init__()
        self.network = network

    def forward(self, planes: Tensor) -> Tensor:
        network = self.network
        last = network.blocks(planes.to(network.out.weight.dtype), ("up4",))["up4"]
        return network.finish(last, planes).float()


class _Uncropped(nn.Module):
    def forward(self, picture: Tensor, height: int, width: int) -> Tensor:
        return picture


class _SpreadByAdding(nn.Module):
    def forward(self, vector: Tensor, features: Tensor) -> Tensor:
        return vector[..., None, None] + 0 * features[:, :1]


class _Mean(nn.Module):
    def __init__(self, keepdim: bool) -> None:
        super().__init__()
        self.keepdim = keepdim

    def forward(self, x: Tensor) -> Tensor:
        return x.float().mean((-2, -1), keepdim=self.keepdim).to(x.dtype)


class _SlicedConv2d(nn.Module):
    """A convolution whose input is reflected as slices side by side."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias, self.dilation = convolution.weight, convolution.bias, convolution.dilation[0]

    def forward(self, x: Tensor) -> Tensor:
        reach = self.dilation * (self.weight.shape[-1] // 2)
        for dim in (-2, -1):
            before = [x.narrow(dim, at, 1) for at in range(reach, 0, -1)]
            after = [x.narrow(dim, x.shape[dim] - 1 - at, 1) for at in range(1, reach + 1)]
            x = torch.cat([*before, x, *after], dim)
        return functional.conv2d(x, self.weight, self.bias, dilation=self.dilation)


class _MisorderedShuffle(nn.Module):
    """PixelShuffle(2) as DepthToSpace's DCR mode has it: the channels of a cell lie apart instead of side by side."""

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1] // 4
        return functional.pixel_shuffle(x.reshape(-1, 4, channels, *x.shape[2:]).transpose(1, 2).flatten(1, 2), 2)


def _misordered(network: LWISP) -> LWISP:
    network = copy.deepcopy(network)
    _exchange(network, nn.PixelShuffle, lambda _: _MisorderedShuffle())
    return network


def _pictures(channels: int, sizes: Sequence[tuple[int, int]]) -> Iterator[tuple[str, Tensor]]:
    """Planes (1, C, h, w) to compare on: flat, noise from below black to above white, and a real picture."""
    raw = read_mosaic(MURAL, "RGGB", 0, 16383, MURAL_BALANCE)
    mural, _ = prepare(raw, InputConvention())
    mural = mural[torch.arange(channels) % len(mural)]
    generator = torch.Generator().manual_seed(0)
    for height, width in sizes:
        for level in (0.0, 0.5, 1.0):
            yield f"flat {level} of {height}x{width}", torch.full((1, channels, height, width), level)
        yield f"noise of {height}x{width}", 1.2 * torch.rand(1, channels, height, width, generator=generator) - 0.1
        filled = pad_to_multiple(mural, 1, max(height, width))  # reflected until it is large enough
        yield f"a real picture of {height}x{width}", filled[None, :, :height, :width].contiguous()


def metadata(weights: Weights) -> dict[str, str]:
    """What travels in an exported file: the card with the SHA-256 of the tensors, and how planes are made, as JSON."""
    facts = preprocessing(weights.card.convention, weights.card.architecture.takes)
    return {CARD_KEY: to_header(weights.card, weights.sha256), "lwisp_preprocessing": json.dumps(facts)}


def preprocessing(convention: InputConvention, takes: Takes | None = "raw") -> dict[str, Any]:
    """What is to be known to make planes for a network, and to use its picture, in words and constants of `color`.

    docs/architecture.md, "The input convention", explains the steps.
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
    if convention.white_balance == "as-shot":
        facts["white_balance"] = "as-shot gains, the smallest taken as 1; clipped cells turn neutral"
        facts["saturation"], facts["neutrality"] = color.SATURATION, color.NEUTRALITY
    if convention.color == "canonical":
        facts["color"] = "mixed by the camera's matrix into linear Rec. 2020 (D65), by Malvar's 5x5 filters"
        facts["canonical_to_xyz"] = [[round(value, 7) for value in row] for row in color.CANONICAL_TO_XYZ.tolist()]
    if convention.exposure == "auto":
        facts["exposure"] = {
            "grid": color.GRID,
            "white_quantile": color.WHITE_QUANTILE,
            "middle": color.MIDDLE,
            "max_lift": color.MAX_LIFT,
            "max_middle": color.MAX_MIDDLE,
            "max_gain": color.MAX_GAIN,
        }
    if any(convention.shading):
        facts["shading"] = "planes times 1 + a r2 + b r2^2 + c r2^3; r2: squared distance from the middle, corners 1"
        facts["shading_terms"] = list(convention.shading)
    return facts


def _example(network: LWISP, size: Size) -> Tensor:
    return torch.zeros(1, network.config.in_channels, *(size or (4 * SIZE_MULTIPLE, 6 * SIZE_MULTIPLE)))


def _onnx_model(network: LWISP, precision: Precision, size: Size) -> Any:
    """The network as an `onnx.ModelProto` without metadata; the same weights give the same bytes."""
    module = portable(network, slices=size is not None)  # compilers for one size know few operations
    if precision == "fp16":
        module = module.half()
    free = None if size else ({2: SIZE_MULTIPLE * torch.export.Dim("h"), 3: SIZE_MULTIPLE * torch.export.Dim("w")},)
    import_dynamo()
    with quiet():
        program = torch.onnx.export(
            module,
            (_example(network, size),),
            dynamo=True,
            dynamic_shapes=free,
            input_names=["planes"],
            output_names=["rgb"],
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    del model.metadata_props[:], model.graph.value_info[:]  # shapes follow from the input's
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]  # where in the source each comes from
        part.doc_string = ""
    if size is None:
        for dim, letter in zip(model.graph.output[0].type.tensor_type.shape.dim[2:], "hw", strict=True):
            dim.dim_param = f"{SIZE_MULTIPLE * network.config.scale}*{letter}"
    return model


def _to_onnx(network: LWISP, metadata: dict[str, str], precision: Precision, size: Size) -> list[bytes]:
    onnx = need("onnx")
    content: bytes = _onnx_model(network, precision, size).SerializeToString(deterministic=True)
    card = onnx.ModelProto()
    onnx.helper.set_model_props(card, {**metadata, SEAL_KEY: seal(content)})
    return [content + card.SerializeToString(deterministic=True)]  # protobuf merges messages that follow each other


def _to_openvino(network: LWISP, metadata: dict[str, str], precision: Precision, size: Size) -> list[bytes]:
    openvino = need("openvino")
    model = openvino_core().read_model(_onnx_model(network, "fp32", size).SerializeToString())
    for key, text in metadata.items():
        model.set_rt_info(text, ["lwisp", key])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.xml"
        for _ in range(2):  # once more with the seal of what the first time gave
            openvino.save_model(model, path, compress_to_fp16=precision == "fp16")
            tensors = path.with_suffix(".bin").read_bytes()
            model.set_rt_info(seal(tensors), ["lwisp", SEAL_KEY])
        return [path.read_bytes(), tensors]


def _to_litert(network: LWISP, metadata: dict[str, str], precision: Precision, size: Size) -> list[bytes]:
    litert_torch, flatbuffers = need("litert_torch"), need("flatbuffers")
    schema = need("ai_edge_litert.schema_py_generated")
    import_dynamo()
    with quiet(), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.tflite"
        litert_torch.convert(portable(network), (_example(network, size),)).export(str(path))
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(path.read_bytes()))
    model.metadata = list(model.metadata or ())
    for key, text in metadata.items():
        buffer, entry = schema.BufferT(), schema.MetadataT()
        buffer.data, entry.name, entry.buffer = list(text.encode()), key, len(model.buffers)
        model.buffers.append(buffer)
        model.metadata.append(entry)
    builder = flatbuffers.Builder()
    builder.Finish(model.Pack(builder), b"TFL3")
    return [bytes(builder.Output())]


def _to_executorch(network: LWISP, metadata: dict[str, str], precision: Precision, size: Size) -> list[bytes]:
    exir = need("executorch.exir")
    xnnpack = need("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    import_dynamo()
    with quiet():
        program = torch.export.export(portable(network), (_example(network, size),))
        edge = exir.to_edge_transform_and_lower(
            program, partitioner=[xnnpack.XnnpackPartitioner()], constant_methods=metadata
        )
        return [bytes(edge.to_executorch().buffer)]


_CONVERTERS: dict[Format, Callable[[LWISP, dict[str, str], Precision, Size], list[bytes]]] = {
    "onnx": _to_onnx,
    "openvino": _to_openvino,
    "litert": _to_litert,
    "executorch": _to_executorch,
}
