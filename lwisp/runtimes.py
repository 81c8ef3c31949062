"""Networks in the files of other engines, opened and run by these: what `export` writes, `checkpoint.load` reads.

The contract of every such file: one input, planes (1, C, h, w) float32, h and w multiples of 16 and 32 at least; one
output, RGB (1, 3, H, W) float32 in [0, 1]. What pads to such sizes and crops is outside of the file: `Exported`.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwisp.errors import InputError, one_line
from lwisp.model import LWISPConfig, pad_to_multiple

Runtime = Literal["onnxruntime", "openvino", "litert", "executorch"]
Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]

SUFFIXES: dict[str, Runtime] = {".onnx": "onnxruntime", ".xml": "openvino", ".tflite": "litert", ".pte": "executorch"}
CARD_KEY, SEAL_KEY = "lwisp", "lwisp_seal"
"""Names in a file's metadata: the card as in a safetensors file, and the SHA-256 of the bytes that hold the network."""
_EXTERNAL_TENSORS = "session.model_external_initializers_file_folder_path"
DAMAGED = "it is damaged, or no network that this engine can run"

ENVIRONMENT = """\
they need an environment of their own: python -m venv {0} && {0}/bin/pip install 'lwisp[{0}]', then {0}/bin/lwisp"""
INSTALLS: dict[str, str] = {
    "onnx": "pip install 'lwisp[export]'",
    "onnxruntime": "pip install 'lwisp[onnxruntime]'",
    "onnxscript": "pip install 'lwisp[export]'",
    "openvino": "pip install 'lwisp[openvino]'",
    "matplotlib": "pip install matplotlib",
    "flatbuffers": ENVIRONMENT.format("litert"),
    "ai_edge_litert": ENVIRONMENT.format("litert"),
    "litert_torch": ENVIRONMENT.format("litert"),
    "executorch": ENVIRONMENT.format("executorch"),
}
"""How to come by each package, which `need` says; the last two converters hold others to versions of their own."""


def need(module: str) -> Any:
    """Import a module of an optional package; raises `InputError` that says how to install it."""
    package = module.split(".")[0]
    try:
        return import_module(module)
    except ImportError as error:
        raise InputError(f"{package} is not installed; {INSTALLS[package]}") from error


@dataclass(frozen=True)
class Program:
    """A network in another engine's file."""

    runtime: Runtime
    metadata: Mapping[str, str]
    shape: tuple[int | None, ...]
    """Of the planes, (1, C, h, w); None for h and w that are free."""
    ready: Callable[[str], Run]
    """Make it ready to compute in "fp32" or, with OpenVINO, in "bf16"."""


class Exported(nn.Module):
    """A network in another engine's file, with the contract of `LWISP`: any h and w from 1 up, unless they are fixed.

    Planes (1, C, h, w) -> RGB (1, 3, H, W): `forward` reflects to a multiple of 16 as `LWISP` does, and crops.
    """

    def __init__(self, config: LWISPConfig, program: Program) -> None:
        super().__init__()
        self.config, self.program = config, program
        self._runs: dict[str, Run] = {}

    def forward(self, planes: Tensor, precision: str = "fp32") -> Tensor:
        """Raises `InputError` for a picture of another size than the one that the file is made for."""
        height, width = planes.shape[-2:]
        padded = pad_to_multiple(planes)
        size = self.program.shape[2:]
        if None not in size and padded.shape[2:] != size:
            fixed = "x".join(map(str, size))
            raise InputError(
                f"these weights are made for planes of {fixed}, which {height}x{width} do not fill; export a file for "
                f"{padded.shape[2]}x{padded.shape[3]}, or one without --size"
            )
        if precision not in self._runs:
            self._runs[precision] = self.program.ready(precision)
        rgb = torch.from_numpy(self._runs[precision](padded.contiguous().numpy()))
        scale = self.config.scale
        expected = (1, self.config.out_channels, padded.shape[2] * scale, padded.shape[3] * scale)
        if rgb.shape != expected:
            raise InputError(
                f"expected RGB of {expected} from the weights' file, got {tuple(rgb.shape)}; export it again"
            )
        return rgb[..., : height * scale, : width * scale]


def open_program(path: Path) -> Program:
    """Open a file by its suffix, one of `SUFFIXES`.

    Raises `InputError` where its engine is not installed, and where it is damaged, no network of ours, or would read
    other files.
    """
    runtime = SUFFIXES[path.suffix.lower()]
    try:
        program = _OPEN[runtime](path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # each engine has exceptions of its own
        raise InputError(f"{path}: {DAMAGED}: {one_line(error)}") from error
    if CARD_KEY not in program.metadata:
        raise InputError(f"{path}: without a lwisp card; expected a file written by `lwisp export`")
    return program


def check_shapes(path: Path, program: Program, config: LWISPConfig) -> None:
    """Raise `InputError` where a file's input is not what its card says."""
    if len(program.shape) != 4 or program.shape[:2] != (1, config.in_channels):
        raise InputError(f"{path}: expected planes of (1, {config.in_channels}, h, w), got {program.shape}")


def seal(content: bytes) -> str:
    """What is written beside the card: how many bytes hold the network, and their SHA-256."""
    return json.dumps([len(content), hashlib.sha256(content).hexdigest()])


def check_seal(content: bytes, metadata: Mapping[str, str]) -> None:
    """Raise `InputError` where the bytes are not those that were sealed."""
    with contextlib.suppress(ValueError, TypeError):
        length, _ = json.loads(metadata.get(SEAL_KEY, "[]"))
        if isinstance(length, int) and seal(content[:length]) == metadata[SEAL_KEY]:
            return
    raise InputError("its network is not the one that its card was written for (SHA-256 differs); export it again")


def _open_onnx(path: Path) -> Program:
    """The card is the last message of the file, which protobuf merges with those before it: they are what is sealed."""
    onnxruntime = need("onnxruntime")
    content = path.read_bytes()
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(_EXTERNAL_TENSORS, os.devnull)  # no folder: tensors in other files are not read
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    if CARD_KEY in metadata:
        check_seal(content, metadata)
    (planes,), (rgb,) = session.get_inputs(), session.get_outputs()

    def run(values: NDArray[np.float32]) -> NDArray[np.float32]:
        (result,) = session.run([rgb.name], {planes.name: values})
        return np.asarray(result, np.float32)

    shape = tuple(side if isinstance(side, int) else None for side in planes.shape)
    return Program("onnxruntime", metadata, shape, lambda precision: run)


@lru_cache(maxsize=1)
def openvino_core() -> Any:
    """The one `openvino.Core` of this process; raises `InputError` where OpenVINO is not installed.

    Each sets a stack for signals where the processor has AMX. Of two, the one that goes last leaves the other's, which
    is gone, and the next signal that Python handles (Ctrl-C, a worker's end) kills the process (OpenVINO 2026.4).
    """
    return need("openvino").Core()


def _open_openvino(path: Path) -> Program:
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
    (sides,) = (planes.partial_shape for planes in model.inputs)

    def ready(precision: str) -> Run:
        hints = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        }
        compiled = core.compile_model(model, "CPU", hints)

        def run(values: NDArray[np.float32]) -> NDArray[np.float32]:
            return np.array(compiled(values)[0], np.float32)

        return run

    shape = tuple(None if side.is_dynamic else side.get_length() for side in sides)
    return Program("openvino", metadata, shape, ready)


def _open_litert(path: Path) -> Program:
    interpreter_module = need("ai_edge_litert.interpreter")
    content = path.read_bytes()
    interpreter = interpreter_module.Interpreter(model_content=content, num_threads=torch.get_num_threads())
    interpreter.allocate_tensors()
    (planes,), (rgb,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(values: NDArray[np.float32]) -> NDArray[np.float32]:
        interpreter.set_tensor(planes["index"], values)
        interpreter.invoke()
        return np.asarray(interpreter.get_tensor(rgb["index"]))

    schema = need("ai_edge_litert.schema_py_generated")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    metadata = {
        entry.name.decode(): bytes(model.buffers[entry.buffer].data).decode()
        for entry in model.metadata or ()
        if entry.name == CARD_KEY.encode()
    }
    return Program("litert", metadata, tuple(map(int, planes["shape"])), lambda precision: run)


def _open_executorch(path: Path) -> Program:
    program = need("executorch.runtime").Runtime.get().load_program(path.read_bytes())
    metadata = {CARD_KEY: program.load_method(CARD_KEY).execute([])[0]} if CARD_KEY in program.method_names else {}
    forward = program.load_method("forward")

    def run(values: NDArray[np.float32], program: Any = program) -> NDArray[np.float32]:  # it must outlive its methods
        (result,) = forward.execute([torch.from_numpy(values)])
        return np.asarray(result.numpy(), np.float32)

    shape = tuple(forward.metadata.input_tensor_meta(0).sizes())
    return Program("executorch", metadata, shape, lambda precision: run)


_OPEN: dict[Runtime, Callable[[Path], Program]] = {
    "onnxruntime": _open_onnx,
    "openvino": _open_openvino,
    "litert": _open_litert,
    "executorch": _open_executorch,
}
