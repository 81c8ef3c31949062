"""ONNX Runtime: runs ONNX of any size, exports and runs ONNX files (.onnx)."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lwisp.engines.contract import (
    CARD_KEY,
    SEAL_KEY,
    Array,
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
from lwisp.engines.threads import default_threads
from lwisp.files.optional import need

if TYPE_CHECKING:
    from lwisp.model import LWISP

_EXTERNAL_TENSORS = "session.model_external_initializers_file_folder_path"


def _compile(model: bytes, shapes: Sequence[tuple[int, ...]], bf16: bool, threads: int) -> Compiled:
    onnxruntime = need("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def call(*inputs: Array) -> list[Array]:
        return list(session.run(None, dict(zip(names, inputs, strict=True))))

    return Compiled(lambda: call)


def _open(path: Path) -> Program:
    """The card is the last message of the file, which protobuf merges with those before it: they are what is sealed."""
    onnxruntime = need("onnxruntime")
    content = path.read_bytes()
    threads = default_threads()

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
    inputs = {
        entry.name: tuple(side if isinstance(side, int) else None for side in entry.shape)
        for entry in session.get_inputs()
    }

    def make(_: Computed, wanted: int) -> Run:
        own = session if wanted == threads else open_session(wanted)

        def run(*values: Array) -> list[Array]:
            return list(own.run(None, dict(zip(inputs, values, strict=True))))

        return run

    return Program("onnxruntime", metadata, inputs, once(make))


def _export(network: "LWISP", metadata: dict[str, str], precision: Stored, size: Size) -> list[bytes]:
    from lwisp.engines.export import onnx_model  # which imports torch

    return _wrap(onnx_model(network, precision, size).SerializeToString(deterministic=True), metadata, precision)


def _wrap(content: bytes, metadata: dict[str, str], precision: Stored) -> list[bytes]:
    onnx = need("onnx")
    card = onnx.ModelProto()
    onnx.helper.set_model_props(card, {**metadata, SEAL_KEY: seal(content)})
    return [content + card.SerializeToString(deterministic=True)]  # protobuf merges messages that follow each other


ONNXRUNTIME = BackEnd(
    "onnxruntime",
    package="onnxruntime",
    bytes_per_pixel={"fp32": 420},
    compile=_compile,
    any_size=True,
    file=FileFormat(
        "onnx",
        ".onnx",
        packages=("onnx", "onnxscript", "onnxruntime"),
        export=_export,
        open=_open,
        wrap=_wrap,
        precisions=("fp32", "fp16"),
    ),
)
