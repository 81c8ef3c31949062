"""OpenVINO: compiles LW-ISP for one size, exports and runs its IR (.xml and .bin).

It compiles for one shape of its inputs, since its kernels for shapes not known beforehand took 1.3 times as long
(docs/log.md).
"""

import contextlib
import io
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwisp.engines.cache import cached_path, read_cached, write_cached
from lwisp.engines.contract import (
    CARD_KEY,
    SEAL_KEY,
    BackEnd,
    Call,
    Compiled,
    FileFormat,
    Pool,
    Program,
    Run,
    Size,
    check_seal,
    once,
    seal,
)
from lwisp.engines.names import Computed, Stored
from lwisp.engines.onnxruntime import onnx_model
from lwisp.engines.tracing import small_inputs, tracing
from lwisp.errors import InputError
from lwisp.files.optional import importing, need
from lwisp.files.writing import temporary_folder
from lwisp.model import LWISP


def hints(bf16: bool, threads: int) -> dict[str, Any]:
    """Settings of OpenVINO's CPU plugin for one picture at a time.

    Args:
        bf16: Whether to compute in bfloat16 instead of float32.
        threads: Number of threads of one inference.

    Returns:
        Values by the names of OpenVINO's properties.
    """
    return {
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }


def openvino_core() -> Any:
    """The one `openvino.Core` of this process.

    Each core sets a stack for signals where the processor has AMX. Of two, the one that goes last leaves the other's,
    which is gone, and the next signal that Python handles (Ctrl-C, a worker's end) kills the process (OpenVINO 2026.4).

    Raises:
        InputError: OpenVINO is not installed.
    """
    with importing:  # or two threads would make two
        return _openvino_core()


@lru_cache(maxsize=1)
def _openvino_core() -> Any:
    return need("openvino").Core()


def _compile(module: nn.Module, inputs: tuple[Tensor, ...], bf16: bool, threads: int) -> Compiled:
    core = openvino_core()
    config = hints(bf16, threads)
    shapes = [list(tensor.shape) for tensor in inputs]
    device = core.get_property("CPU", "FULL_DEVICE_NAME")
    path = cached_path("openvino", module, __name__, shapes, config, device)
    compiled, content = None, read_cached(path)
    if content is not None:
        with contextlib.suppress(RuntimeError):  # of another build after all: compile again
            compiled = core.import_model(io.BytesIO(content), "CPU", config)
    if compiled is None:
        compiled = core.compile_model(convert(module, small_inputs(shapes), shapes), "CPU", config)
        write_cached(path, compiled.export_model().getvalue())

    def make_request() -> Call:
        request = compiled.create_infer_request()

        def call(*tensors: Tensor) -> Tensor:
            arrays = {index: tensor.float().contiguous().numpy() for index, tensor in enumerate(tensors)}
            return torch.from_numpy(request.infer(arrays, share_inputs=True, share_outputs=True)[0])

        return call

    return Compiled(make_request)


def convert(module: nn.Module, example: tuple[Tensor, ...], shapes: list[list[int]]) -> Any:
    """Convert a module by tracing it, with OpenVINO's frontend alone.

    `openvino.convert_model` around it would report every use to its makers.

    Args:
        module: Any module of float32 weights.
        example: Small inputs to trace it with.
        shapes: Shapes of the inputs that the result takes.

    Returns:
        The `openvino.Model`.
    """
    openvino, frontends = need("openvino"), need("openvino.frontend")
    decoders = need("openvino.frontend.pytorch.ts_decoder")
    with tracing:
        decoder = decoders.TorchScriptPythonDecoder(module, example_input=example if len(example) > 1 else example[0])
        frontend = frontends.FrontEndManager().load_by_framework("pytorch")
        model = frontend.load(decoder)
        for index, shape in enumerate(shapes):
            model.set_partial_shape(model.get_place_by_input_index(index), openvino.PartialShape(shape))
        return frontend.convert(model)


def _open(path: Path) -> Program:
    """The tensors lie in a file beside it, of the same name and .bin: they are what is sealed."""
    need("openvino")
    binary = path.with_suffix(".bin")
    if not binary.is_file():
        raise InputError(f"its tensors are not beside it; expected {binary.name}")
    core = openvino_core()
    model = core.read_model(path, binary)
    metadata = {
        key: model.get_rt_info(["lwisp", key]).astype(str)
        for key in (CARD_KEY, SEAL_KEY)
        if model.has_rt_info(["lwisp", key])
    }
    if CARD_KEY in metadata:
        check_seal(binary.read_bytes(), metadata)
    (planes,) = model.inputs

    def make(precision: Computed, threads: int) -> Run:
        compiled = core.compile_model(model, "CPU", hints(precision == "bf16", threads))
        requests = Pool(compiled.create_infer_request)

        def run(values: NDArray[np.float32]) -> NDArray[np.float32]:
            with requests.borrow() as request:  # whose result its next call overwrites
                return np.array(request.infer([values], share_inputs=True, share_outputs=True)[0], np.float32)

        return run

    shape = tuple(None if side.is_dynamic else side.get_length() for side in planes.partial_shape)
    return Program("openvino", metadata, shape, once(make))


def _export(network: LWISP, metadata: dict[str, str], precision: Stored, size: Size) -> list[bytes]:
    openvino = need("openvino")
    model = openvino_core().read_model(onnx_model(network, "fp32", size).SerializeToString())
    for key, text in metadata.items():
        model.set_rt_info(text, ["lwisp", key])
    with temporary_folder() as folder:
        path = folder / "network.xml"
        for _ in range(2):  # once more with the seal of what the first time gave
            openvino.save_model(model, path, compress_to_fp16=precision == "fp16")
            tensors = path.with_suffix(".bin").read_bytes()
            model.set_rt_info(seal(tensors), ["lwisp", SEAL_KEY])
        return [path.read_bytes(), tensors]


OPENVINO = BackEnd(
    "openvino",
    package="openvino",
    bytes_per_pixel={"fp32": 200, "bf16": 110},
    compile=_compile,
    packs_tail=("bf16",),
    file=FileFormat(
        "openvino",
        ".xml",
        packages=("onnx", "onnxscript", "openvino"),
        export=_export,
        open=_open,
        companions=(".bin",),
        precisions=("fp32", "fp16"),
    ),
)
