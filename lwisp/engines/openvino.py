"""OpenVINO: compiles ONNX for one size, exports and runs IR (.xml and .bin).

It compiles for one shape of its inputs, since its kernels for shapes not known beforehand took 1.3 times as long
(docs/log.md).
"""

import contextlib
import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lwisp.engines.cache import cached_path, read_cached, write_cached
from lwisp.engines.contract import (
    CARD_KEY,
    CONTRACT_KEY,
    SEAL_KEY,
    Array,
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
from lwisp.engines.stages import PREFIX
from lwisp.errors import InputError, OutputError
from lwisp.files.optional import importing, need
from lwisp.files.writing import temporary_folder

if TYPE_CHECKING:
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


def has_bf16() -> bool:
    """Whether the processor has instructions for bf16; emulated bf16 is slower than fp32."""
    return "BF16" in openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _compile(model: bytes, shapes: Sequence[tuple[int, ...]], bf16: bool, threads: int) -> Compiled:
    core = openvino_core()
    config = hints(bf16, threads)
    device = core.get_property("CPU", "FULL_DEVICE_NAME")
    path = cached_path("openvino", model, list(shapes), config, device)
    compiled, content = None, read_cached(path)
    if content is not None:
        with contextlib.suppress(RuntimeError):  # of another build after all: compile again
            compiled = core.import_model(io.BytesIO(content), "CPU", config)
    if compiled is None:
        read = core.read_model(model)
        read.reshape(dict(zip(read.inputs, map(list, shapes), strict=True)))
        compiled = core.compile_model(read, "CPU", config)
        write_cached(path, compiled.export_model().getvalue())

    def make_request() -> Call:
        request = compiled.create_infer_request()

        def call(*inputs: Array) -> list[Array]:
            found = request.infer(dict(enumerate(inputs)), share_inputs=True, share_outputs=True)
            return list(found.values())

        return call

    return Compiled(make_request)


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
        for key in (CARD_KEY, SEAL_KEY, CONTRACT_KEY)
        if model.has_rt_info(["lwisp", key])
    }
    if CARD_KEY in metadata:
        check_seal(binary.read_bytes(), metadata)
    inputs = {
        entry.get_any_name(): tuple(None if side.is_dynamic else side.get_length() for side in entry.partial_shape)
        for entry in model.inputs
    }

    def make(precision: Computed, threads: int) -> Run:
        compiled = core.compile_model(model, "CPU", hints(precision == "bf16", threads))
        requests = Pool(compiled.create_infer_request)

        def run(*values: Array) -> list[Array]:
            with requests.borrow() as request:  # whose results its next call overwrites
                found = request.infer(list(values), share_inputs=True, share_outputs=True)
                return [np.array(result) for result in found.values()]

        return run

    return Program("openvino", metadata, inputs, once(make))


def _export(network: "LWISP", metadata: dict[str, str], precision: Stored, size: Size) -> list[bytes]:
    from lwisp.engines.export import onnx_model  # which imports torch

    return _wrap(onnx_model(network, "fp32", size).SerializeToString(), metadata, precision)


def _wrap(content: bytes, metadata: dict[str, str], precision: Stored) -> list[bytes]:
    model = openvino_core().read_model(content)
    if precision == "fp16":
        _halve(model)
    for key, text in metadata.items():
        model.set_rt_info(text, ["lwisp", key])
    with temporary_folder() as folder:
        path = folder / "network.xml"
        for _ in range(2):  # once more with the seal of what the first time gave
            _save(model, path)
            tensors = path.with_suffix(".bin").read_bytes()
            model.set_rt_info(seal(tensors), ["lwisp", SEAL_KEY])
        return [path.read_bytes(), tensors]


def _save(model: Any, path: Path) -> None:
    """Write a model to a temporary file and its companion; raises `OutputError`, for OpenVINO tells no reason."""
    try:
        need("openvino").save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:
        place = path.parent.parent
        raise OutputError(
            f"{place}: OpenVINO could not write temporary files there; make room, or name another folder by TMPDIR"
        ) from error


def _halve(model: Any) -> None:
    """Store the network's tensors in float16, in place; constants of the steps before it stay as they are."""
    operations = need("openvino.opset13")
    for node in model.get_ordered_ops():
        if node.get_type_name() == "Constant" and PREFIX in node.get_friendly_name():
            half = operations.constant(node.get_data().astype(np.float16))
            widened = operations.convert(half, "f32")
            for target in node.output(0).get_target_inputs():
                target.replace_source_output(widened.output(0))


OPENVINO = BackEnd(
    "openvino",
    package="openvino",
    bytes_per_pixel={"fp32": 200, "bf16": 110},
    compile=_compile,
    file=FileFormat(
        "openvino",
        ".xml",
        packages=("onnx", "onnxscript", "openvino"),
        export=_export,
        open=_open,
        wrap=_wrap,
        companions=(".bin",),
        precisions=("fp32", "fp16"),
    ),
)
