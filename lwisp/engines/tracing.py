"""torch modules -> ONNX without tensors of the network: its structure, which any weights of this architecture fit.

Needs torch and onnx. The structures of the shipped weights lie in the package (`python -m lwisp.engines.tracing`), so
that nobody needs either to run them.
"""

import io
import json
import threading
import zipfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from lwisp.architecture import LWISPConfig
from lwisp.baselines.build import build
from lwisp.baselines.config import Architecture
from lwisp.engines.developed import OUTPUTS, Preparation
from lwisp.engines.eager import shapes_of
from lwisp.engines.modules import Developed, make_module
from lwisp.engines.names import Pixels, Stored
from lwisp.engines.portable import with_exact_means
from lwisp.engines.stages import ENCODES, EXPOSES, LIGHTS, LINEARS, PREFIX, SHAPES, STAGES, file_of, names_of
from lwisp.files.optional import need
from lwisp.files.writing import quiet, write_whole
from lwisp.model import LWISP

OPSET = 17
"""Of ONNX; what `torch.onnx`'s exporter of traced graphs writes, which takes 0.5 s where the newer one takes 8."""
SIDE = 64
"""Of the planes that a module is traced with."""
CONSTANTS = ("whitening",)
"""Ends of the names of tensors that are part of the structure."""
MOSAICS = ("photosites", "mosaic", "pixels")
"""Inputs of 16-bit integers."""
tracing = threading.Lock()
"""torch traces one module at a time: what it notes meanwhile is the process's."""


def trace(architecture: Architecture | None, name: str) -> bytes:
    """The structure of one module.

    Args:
        architecture: That of the network; None for modules without one, the steps before it.
        name: As in `structures`.

    Returns:
        ONNX with free heights and widths. Tensors of the network's `state_dict` are named there but have no values.
    """
    network = None if architecture is None else _build_filled(architecture)
    module = make_module(network, name)
    inputs = _examples(architecture, network, name)
    outputs = ["picture", "sum"] if name.startswith(("whole", "high")) else ["output"]
    return _trace(module, inputs, outputs, uint16=name.endswith("uint16"))


def trace_developed(architecture: LWISPConfig, preparation: Preparation, pixels: Pixels, precision: Stored) -> bytes:
    """The structure of `modules.Developed`, as `trace` gives others.

    Args:
        architecture: That of the network.
        preparation: What is done before it.
        pixels: Type of the picture's values.
        precision: What the network computes in.
    """
    network = _build_filled(architecture)
    assert isinstance(network, LWISP)
    network = with_exact_means(network)
    module = Developed(network.half() if precision == "fp16" else network, preparation, pixels)
    examples = {
        "mosaic": torch.zeros(2 * SIDE + 1, 2 * SIDE - 5, dtype=torch.int32),  # uint16 in the end: `_strip`
        "black_level": torch.zeros(4),
        "white_level": torch.ones(4),
        "white_balance": torch.ones(3),
        "matrix": torch.eye(3),
        "exposure": torch.zeros(()),
        "offset": torch.tensor([1, 0]),
        "highlights": torch.ones(()),
        "frame": torch.zeros(2),
        "noise": torch.ones(2),
    }
    inputs = {name: examples[name] for name in preparation.inputs}
    return _trace(module, inputs, list(OUTPUTS), uint16=pixels == "uint16")


def _build_filled(architecture: Architecture) -> nn.Module:
    """A network in evaluation mode, each tensor with a value of its own: equal ones would be merged."""
    network = build(architecture).eval()
    with torch.no_grad():
        for index, tensor in enumerate(network.state_dict().values()):
            tensor.fill_(0.5 + index / 1000) if tensor.is_floating_point() else None
    return network


def _trace(module: nn.Module, inputs: dict[str, Tensor], outputs: list[str], uint16: bool) -> bytes:
    """The structure of a module, from example inputs; `uint16` says whether its picture is of that type."""
    onnx = need("onnx")
    free = {key: axes for key, value in inputs.items() if (axes := _free_axes(key, value))}
    buffer = io.BytesIO()
    with tracing, torch.no_grad(), quiet():  # tracing warns of every `if`
        torch.onnx.export(
            module.eval(),
            tuple(inputs.values()),
            buffer,  # type: ignore[arg-type]
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=free,
            opset_version=OPSET,
            do_constant_folding=False,
            dynamo=False,
        )
    model = onnx.load_model_from_string(buffer.getvalue())
    return _strip(onnx, model, uint16)


def _examples(architecture: Architecture | None, network: nn.Module | None, name: str) -> dict[str, Tensor]:
    """Inputs by name that a module can be traced with."""
    if name in LIGHTS:
        side = 2 * SIDE + 4
        inputs = {
            "photosites": torch.zeros(side, side + 2, dtype=torch.int32),  # uint16 in the end: `_strip`
            "black": torch.zeros(4),
            "white": torch.ones(4),
        }
        if name.removeprefix("light-")[:1] in ("b", "g", "h"):
            inputs["gains"] = torch.ones(3)
        if "h" in name.removeprefix("light-"):
            inputs["colors"] = torch.ones(3, SIDE + 2, SIDE + 3)
        if "m" in name:
            inputs["matrix"] = torch.eye(3)
        return inputs
    if name == "colors":
        photosites = torch.zeros(2 * SIDE, 2 * SIDE + 2, dtype=torch.int32)
        return {"photosites": photosites, "black": torch.zeros(4), "white": torch.ones(4), "gains": torch.ones(3)}
    if name in LINEARS:
        inputs = {"pixels": torch.zeros(SIDE, SIDE + 2, 3, dtype=torch.int32)}
        inputs |= {"black": torch.zeros(3), "white": torch.ones(3), "gains": torch.ones(3)}
        if name == "linear-h":
            inputs["colors"] = torch.ones(3, SIDE, SIDE + 2)
        return inputs if name == "linear-colors" else inputs | {"matrix": torch.eye(3)}
    if name == "gain":
        return {"grid": torch.ones(1, 4, 64, 64)}
    if name in EXPOSES + ENCODES:
        planes = torch.ones(1, 4 if name in EXPOSES else 3, SIDE, SIDE + 2)
        inputs = {"planes": planes, "gain": torch.ones(()), "white": torch.ones(())}
        return inputs | ({"noise": torch.ones(2)} if name.endswith("n") else {})
    assert architecture is not None
    factor = architecture.size_multiple // 16 if isinstance(architecture, LWISPConfig) else 1
    side = max(factor * SIDE, architecture.size_minimum)
    side = -(-side // architecture.size_multiple) * architecture.size_multiple
    planes = torch.zeros(1, architecture.in_channels, side, side + architecture.size_multiple)
    if name.startswith("whole"):
        return {"planes": planes}
    assert isinstance(architecture, LWISPConfig)
    width = architecture.width
    rows, columns = planes.shape[-2] // factor, planes.shape[-1] // factor  # of the first stage
    known = {"planes": planes}
    for level in range(4):
        scale = 2 << level
        known[f"p{level}"] = torch.zeros(1, width << level, rows // scale, columns // scale)
        known[f"map{level}"] = torch.zeros(1, width << level, 1, 1)
    known["low"] = torch.zeros(1, width << 2, rows // 4, columns // 4)
    known["vector"] = torch.zeros(1, width << 3)
    if name.startswith("map"):
        return {"means": torch.zeros(1, width << int(name[3]))}
    if name == "vector":
        return {"means": torch.zeros(1, width << 4)}
    return {key: known[key] for key in STAGES[name.partition("-")[0]]}


def _free_axes(name: str, value: Tensor) -> dict[int, str]:
    """Heights and widths of an input that may be any."""
    if name in MOSAICS:
        return {0: "H", 1: "W"}
    if name == "colors":
        return {1: "colors_h", 2: "colors_w"}
    if value.ndim == 4 and name != "grid" and value.shape[2:] != (1, 1):
        return {2: f"{name}_h", 3: f"{name}_w"}
    return {}


def is_weight(name: str) -> bool:
    """Whether a tensor of a traced module is one of the network's weights, and no constant.

    Args:
        name: Its name in the ONNX.
    """
    return name.startswith(PREFIX) and not name.endswith(CONSTANTS)


def _strip(onnx: Any, model: Any, uint16: bool) -> bytes:
    """The model without tensors of the network and without notes on its source; integers of 16 bits where they belong.

    torch's exporter knows no uint16, so photosites and pictures are traced as int32.
    """
    kinds = onnx.TensorProto
    for entry in model.graph.input:
        if entry.name in MOSAICS:
            entry.type.tensor_type.elem_type = kinds.UINT16
    for entry in model.graph.output:
        if entry.name == "picture" and uint16:
            entry.type.tensor_type.elem_type = kinds.UINT16
        for dim in entry.type.tensor_type.shape.dim:  # they follow from the inputs
            dim.Clear()
    for node in model.graph.node:
        node.doc_string = ""
        if node.op_type == "Cast" and uint16:
            for attribute in node.attribute:
                if attribute.name == "to" and attribute.i == kinds.INT32:
                    attribute.i = kinds.UINT16
    del model.graph.value_info[:], model.metadata_props[:]
    constants = [tensor for tensor in model.graph.initializer if not is_weight(tensor.name)]
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)
    return model.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


def write_structures(architectures: Iterable[Architecture], folder: Path) -> None:
    """Write the structures of networks, and of the steps before them, as the package holds them.

    Args:
        architectures: Of the networks.
        folder: Gets one ZIP file for each, and one for the steps before. The same source gives the same bytes.
    """
    for architecture in (None, *architectures):
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
            contents = {f"{name}.onnx": trace(architecture, name) for name in names_of(architecture)}
            if architecture is not None:
                contents[SHAPES] = json.dumps(shapes_of(architecture)).encode()
            for name, content in contents.items():
                entry = zipfile.ZipInfo(name)  # without a date
                entry.compress_type = zipfile.ZIP_DEFLATED
                file.writestr(entry, content)
        write_whole(folder / file_of(architecture), partial(_write, archive.getvalue()), True)


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)
