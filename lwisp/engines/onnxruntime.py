"""ONNX Runtime: compiles LW-ISP for any size, exports and runs ONNX files (.onnx)."""

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwisp.architecture import SIZE_MULTIPLE
from lwisp.engines.cache import cached_path, read_cached, write_cached
from lwisp.engines.contract import (
    CARD_KEY,
    SEAL_KEY,
    BackEnd,
    Compiled,
    FileFormat,
    Program,
    Run,
    Size,
    check_seal,
    once,
    seal,
)
from lwisp.engines.names import Computed, Stored
from lwisp.engines.portable import example, portable
from lwisp.engines.tracing import small_inputs, tracing
from lwisp.files.optional import import_dynamo, need
from lwisp.files.writing import quiet
from lwisp.model import LWISP

OPSET = 20
"""Of exported files."""
_EXTERNAL_TENSORS = "session.model_external_initializers_file_folder_path"


def _compile(module: nn.Module, inputs: tuple[Tensor, ...], bf16: bool, threads: int) -> Compiled:
    onnxruntime = need("onnxruntime")
    shapes = [list(tensor.shape) for tensor in inputs]
    path = cached_path("onnxruntime", module, __name__)
    content = read_cached(path)
    if content is None:
        buffer = io.BytesIO()
        small = small_inputs(shapes)
        names = [f"input{index}" for index in range(len(small))]
        axes = {name: {2: "h", 3: "w"} for name, tensor in zip(names, small, strict=True) if tensor.shape[2:] > (1, 1)}
        with tracing:
            torch.onnx.export(  # the older exporter: 0.4 s where the newer takes 8
                module,
                small,
                buffer,  # type: ignore[arg-type]
                input_names=names,
                dynamic_axes=axes,
                opset_version=17,
                dynamo=False,
            )
        content = buffer.getvalue()
        write_cached(path, content)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def call(*tensors: Tensor) -> Tensor:
        arrays = {name: tensor.float().contiguous().numpy() for name, tensor in zip(names, tensors, strict=True)}
        return torch.from_numpy(session.run(None, arrays)[0])

    return Compiled(lambda: call)


def _open(path: Path) -> Program:
    """The card is the last message of the file, which protobuf merges with those before it: they are what is sealed."""
    onnxruntime = need("onnxruntime")
    content = path.read_bytes()
    threads = torch.get_num_threads()

    def open_session(threads: int) -> Any:
        options = onnxruntime.SessionOptions()
        options.add_session_config_entry(_EXTERNAL_TENSORS, os.devnull)  # no folder: other files' tensors are not read
        options.intra_op_num_threads = threads
        options.log_severity_level = 4
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    session = open_session(threads)
    metadata = session.get_modelmeta().custom_metadata_map
    if CARD_KEY in metadata:
        check_seal(content, metadata)
    (planes,), (rgb,) = session.get_inputs(), session.get_outputs()

    def make(_: Computed, wanted: int) -> Run:
        own = session if wanted == threads else open_session(wanted)

        def run(values: NDArray[np.float32]) -> NDArray[np.float32]:
            (result,) = own.run([rgb.name], {planes.name: values})
            return np.asarray(result, np.float32)

        return run

    shape = tuple(side if isinstance(side, int) else None for side in planes.shape)
    return Program("onnxruntime", metadata, shape, once(make))


def onnx_model(network: LWISP, precision: Stored, size: Size) -> Any:
    """The network as an `onnx.ModelProto` without metadata; the same weights give the same bytes.

    Args:
        network: LW-ISP.
        precision: What the file computes in; its input and output are float32.
        size: Of the planes, or None for any multiples of 16 from 32 up.

    Returns:
        A model of input "planes" and output "rgb".
    """
    module = portable(network, slices=size is not None)  # compilers for one size know few operations
    if precision == "fp16":
        module = module.half()
    free = None if size else ({2: SIZE_MULTIPLE * torch.export.Dim("h"), 3: SIZE_MULTIPLE * torch.export.Dim("w")},)
    import_dynamo()
    with quiet():
        program = torch.onnx.export(
            module,
            (example(network, size),),
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


def _export(network: LWISP, metadata: dict[str, str], precision: Stored, size: Size) -> list[bytes]:
    onnx = need("onnx")
    content: bytes = onnx_model(network, precision, size).SerializeToString(deterministic=True)
    card = onnx.ModelProto()
    onnx.helper.set_model_props(card, {**metadata, SEAL_KEY: seal(content)})
    return [content + card.SerializeToString(deterministic=True)]  # protobuf merges messages that follow each other


ONNXRUNTIME = BackEnd(
    "onnxruntime",
    package="onnxruntime",
    bytes_per_pixel={"fp32": 420},
    compile=_compile,
    file=FileFormat(
        "onnx",
        ".onnx",
        packages=("onnx", "onnxscript", "onnxruntime"),
        export=_export,
        open=_open,
        precisions=("fp32", "fp16"),
    ),
)
