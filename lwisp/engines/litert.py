"""LiteRT: exports and runs .tflite files of one size."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lwisp.engines.contract import CARD_KEY, Array, BackEnd, FileFormat, Program, Run, Size, once
from lwisp.engines.names import Computed, Stored
from lwisp.engines.threads import default_threads
from lwisp.files.optional import import_dynamo, need
from lwisp.files.writing import quiet, temporary_folder

if TYPE_CHECKING:
    from lwisp.model import LWISP


def _open(path: Path) -> Program:
    interpreter_module = need("ai_edge_litert.interpreter")
    content = path.read_bytes()
    threads = default_threads()

    def open_interpreter(threads: int) -> Any:
        interpreter = interpreter_module.Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
        return interpreter

    interpreter = open_interpreter(threads)
    (planes,), (rgb,) = interpreter.get_input_details(), interpreter.get_output_details()

    def make(_: Computed, wanted: int) -> Run:
        own = interpreter if wanted == threads else open_interpreter(wanted)
        alone = threading.Lock()

        def run(values: Array) -> list[Array]:
            with alone:
                own.set_tensor(planes["index"], values)
                own.invoke()
                return [np.asarray(own.get_tensor(rgb["index"]))]  # a copy

        return run

    schema = need("ai_edge_litert.schema_py_generated")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    metadata = {
        entry.name.decode(): bytes(model.buffers[entry.buffer].data).decode()
        for entry in model.metadata or ()
        if entry.name == CARD_KEY.encode()
    }
    return Program("litert", metadata, {"planes": tuple(map(int, planes["shape"]))}, once(make))


def _export(network: "LWISP", metadata: dict[str, str], precision: Stored, size: Size) -> list[bytes]:
    from lwisp.engines.portable import example, portable  # which import torch

    litert_torch, flatbuffers = need("litert_torch"), need("flatbuffers")
    schema = need("ai_edge_litert.schema_py_generated")
    import_dynamo()
    with quiet(), temporary_folder() as folder:
        path = folder / "network.tflite"
        litert_torch.convert(portable(network), (example(network, size),)).export(str(path))
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


LITERT = BackEnd(
    "litert",
    package="ai_edge_litert",
    bytes_per_pixel={"fp32": 420},
    file=FileFormat(
        "litert",
        ".tflite",
        packages=("litert_torch", "ai_edge_litert.interpreter"),
        export=_export,
        open=_open,
        needs_size=True,
    ),
)
