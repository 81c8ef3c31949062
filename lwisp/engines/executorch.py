"""ExecuTorch: exports and runs .pte files of one size, through XNNPACK."""

import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lwisp.engines.contract import CARD_KEY, Array, BackEnd, FileFormat, Program, Size
from lwisp.engines.names import Stored
from lwisp.files.optional import import_dynamo, need
from lwisp.files.writing import quiet

if TYPE_CHECKING:
    from lwisp.model import LWISP


def _open(path: Path) -> Program:
    torch = need("torch")
    program = need("executorch.runtime").Runtime.get().load_program(path.read_bytes())
    metadata = {CARD_KEY: program.load_method(CARD_KEY).execute([])[0]} if CARD_KEY in program.method_names else {}
    forward = program.load_method("forward")

    alone = threading.Lock()

    def run(values: Array, program: Any = program) -> list[Array]:  # it must outlive its methods
        with alone:
            (result,) = forward.execute([torch.from_numpy(values)])
            return [np.array(result.numpy(), np.float32)]  # the next call overwrites what it gave

    shape = tuple(forward.metadata.input_tensor_meta(0).sizes())
    return Program("executorch", metadata, {"planes": shape}, lambda precision, threads: run)


def _export(network: "LWISP", metadata: dict[str, str], precision: Stored, size: Size) -> list[bytes]:
    import torch

    from lwisp.engines.portable import example, portable

    exir = need("executorch.exir")
    xnnpack = need("executorch.backends.xnnpack.partition.xnnpack_partitioner")
    import_dynamo()
    with quiet():
        program = torch.export.export(portable(network), (example(network, size),))
        edge = exir.to_edge_transform_and_lower(
            program, partitioner=[xnnpack.XnnpackPartitioner()], constant_methods=metadata
        )
        return [bytes(edge.to_executorch().buffer)]


EXECUTORCH = BackEnd(
    "executorch",
    package="executorch",
    bytes_per_pixel={"fp32": 420},
    file=FileFormat(
        "executorch",
        ".pte",
        packages=("executorch.exir", "executorch.runtime"),
        export=_export,
        open=_open,
        needs_size=True,
    ),
    own_threads=False,
)
