"""Networks in the files of other engines, opened and run by these: what `export` writes, `checkpoint.load` reads.

The contract of every such file: one input, planes (1, C, h, w) float32, h and w multiples of 16 and 32 at least; one
output, RGB (1, 3, H, W) float32 in [0, 1]. What pads to such sizes and crops is outside of the file: `Exported`.
"""

import contextlib
import hashlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lwisp.errors import InputError, one_line
from lwisp.model import LWISPConfig, pad_to_multiple

Runtime = Literal["onnxruntime", "openvino", "litert", "executorch"]
Run = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Planes -> what the network gives of them, which is the caller's own; any number of threads may call it at once."""
T = TypeVar("T")

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
    "lightning_fabric": "pip install 'lwisp[train]'",
    "flatbuffers": ENVIRONMENT.format("litert"),
    "ai_edge_litert": ENVIRONMENT.format("litert"),
    "litert_torch": ENVIRONMENT.format("litert"),
    "executorch": ENVIRONMENT.format("executorch"),
}
"""How to come by each package, which `need` says; the last two converters hold others to versions of their own."""


def need(module: str) -> Any:
    """Import a module of an optional package; raises `InputError` that says how to install it.

    No package reports to its makers, or writes outside of `cache_folder`, because it is imported here.
    """
    package = module.split(".")[0]
    with _importing:
        guard = contextlib.nullcontext() if package in sys.modules else _GUARDS.get(package, contextlib.nullcontext)()
        try:
            with guard:
                found = import_module(module)
        except ImportError as error:
            raise InputError(f"{package} is not installed; {INSTALLS[package]}") from error
    if package == "onnxruntime":  # for the builds that don't look at the environment, those for Windows
        with contextlib.suppress(AttributeError):
            sys.modules[package].disable_telemetry_events()
    return found


def cache_folder() -> Path:
    """Where compiled modules are kept: `lwisp` in `XDG_CACHE_HOME` or ~/.cache; may be deleted at any time."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lwisp"


_importing = threading.RLock()


@contextlib.contextmanager
def _without_reporter() -> Iterator[None]:
    """OpenVINO imports its reporter of usage if there is one, which forks a process for every event, and tells it."""
    missing = object()
    reporter: Any = sys.modules.get("openvino_telemetry", missing)
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        yield
    finally:
        if reporter is missing:
            del sys.modules["openvino_telemetry"]
        else:
            sys.modules["openvino_telemetry"] = reporter


@contextlib.contextmanager
def with_variable(name: str, value: str) -> Iterator[None]:
    """Set a variable of the environment for as long as it takes to import a package that looks at it once, then."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _matplotlib_folder() -> str:
    """Where it shall keep its list of fonts: where the user wants it, or with what else is kept here."""
    return os.environ.get("MPLCONFIGDIR") or str(cache_folder() / "matplotlib")


_GUARDS: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "openvino": _without_reporter,
    "onnxruntime": lambda: with_variable("ORT_DISABLE_TELEMETRY", "1"),
    "matplotlib": lambda: with_variable("MPLCONFIGDIR", _matplotlib_folder()),
}
"""Around the first import of packages that would connect to their makers or leave files in the user's home."""


def import_dynamo() -> None:
    """Import those parts of torch that make a folder for a cache beside the system's temporary files: make it ours.

    Lightning Fabric and the exporter to ONNX import them; they leave the folder empty.
    """
    folder = os.environ.get("TORCHINDUCTOR_CACHE_DIR") or str(cache_folder() / "torch")
    with _importing, with_variable("TORCHINDUCTOR_CACHE_DIR", folder), contextlib.suppress(ImportError):
        import_module("torch._dynamo")
        import_module("torch._inductor.compiler_bisector")


class Pool(Generic[T]):
    """Things that serve one caller at a time: made where none is idle, and kept for the next."""

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._idle: list[T] = []

    @contextlib.contextmanager
    def borrow(self) -> Iterator[T]:
        """One that nobody else has meanwhile."""
        try:
            one = self._idle.pop()
        except IndexError:
            one = self._make()
        try:
            yield one
        finally:
            self._idle.append(one)


@dataclass(frozen=True)
class Program:
    """A network in another engine's file."""

    runtime: Runtime
    metadata: Mapping[str, str]
    shape: tuple[int | None, ...]
    """Of the planes, (1, C, h, w); None for h and w that are free."""
    ready: Callable[[str, int], Run]
    """Make it ready to compute in "fp32" or, with OpenVINO, in "bf16", on so many threads; once for each."""


class Exported(nn.Module):
    """A network in another engine's file, with the contract of `LWISP`: any h and w from 1 up, unless they are fixed.

    Planes (1, C, h, w) -> RGB (1, 3, H, W): `forward` reflects to a multiple of 16 as `LWISP` does, and crops.
    """

    def __init__(self, config: LWISPConfig, program: Program) -> None:
        super().__init__()
        self.config, self.program = config, program

    def forward(self, planes: Tensor, precision: str = "fp32", threads: int | None = None) -> Tensor:
        """On so many threads of the engine, as many as torch uses if not given; from any number of threads at once.

        Raises `InputError` for a picture of another size than the one that the file is made for.
        """
        height, width = planes.shape[-2:]
        padded = pad_to_multiple(planes)
        size = self.program.shape[2:]
        if None not in size and padded.shape[2:] != size:
            fixed = "x".join(map(str, size))
            raise InputError(
                f"these weights are made for planes of {fixed}, which {height}x{width} do not fill; export a file for "
                f"{padded.shape[2]}x{padded.shape[3]}, or one without --size"
            )
        run = self.program.ready(precision, threads or torch.get_num_threads())
        rgb = torch.from_numpy(run(padded.contiguous().numpy()))
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


def _once(make: Callable[[str, int], Run]) -> Callable[[str, int], Run]:
    """The same for every precision and number of threads, but made only once for each, whoever asks for it first."""
    made: dict[tuple[str, int], Run] = {}
    making = threading.Lock()

    def ready(precision: str, threads: int) -> Run:
        with making:
            if (precision, threads) not in made:
                made[precision, threads] = make(precision, threads)
            return made[precision, threads]

    return ready


def _open_onnx(path: Path) -> Program:
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

    def make(_: str, wanted: int) -> Run:
        own = session if wanted == threads else open_session(wanted)

        def run(values: NDArray[np.float32]) -> NDArray[np.float32]:
            (result,) = own.run([rgb.name], {planes.name: values})
            return np.asarray(result, np.float32)

        return run

    shape = tuple(side if isinstance(side, int) else None for side in planes.shape)
    return Program("onnxruntime", metadata, shape, _once(make))


def openvino_core() -> Any:
    """The one `openvino.Core` of this process; raises `InputError` where OpenVINO is not installed.

    Each sets a stack for signals where the processor has AMX. Of two, the one that goes last leaves the other's, which
    is gone, and the next signal that Python handles (Ctrl-C, a worker's end) kills the process (OpenVINO 2026.4).
    """
    with _importing:  # or two threads would make two
        return _openvino_core()


@lru_cache(maxsize=1)
def _openvino_core() -> Any:
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

    def make(precision: str, threads: int) -> Run:
        hints = {
            "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
        }
        requests = Pool(core.compile_model(model, "CPU", hints).create_infer_request)

        def run(values: NDArray[np.float32]) -> NDArray[np.float32]:
            with requests.borrow() as request:  # whose result its next call overwrites
                return np.array(request.infer([values], share_inputs=True, share_outputs=True)[0], np.float32)

        return run

    shape = tuple(None if side.is_dynamic else side.get_length() for side in sides)
    return Program("openvino", metadata, shape, _once(make))


def _open_litert(path: Path) -> Program:
    interpreter_module = need("ai_edge_litert.interpreter")
    content = path.read_bytes()
    threads = torch.get_num_threads()

    def open_interpreter(threads: int) -> Any:
        interpreter = interpreter_module.Interpreter(model_content=content, num_threads=threads)
        interpreter.allocate_tensors()
        return interpreter

    interpreter = open_interpreter(threads)
    (planes,), (rgb,) = interpreter.get_input_details(), interpreter.get_output_details()

    def make(_: str, wanted: int) -> Run:
        own, alone = interpreter if wanted == threads else open_interpreter(wanted), threading.Lock()

        def run(values: NDArray[np.float32]) -> NDArray[np.float32]:
            with alone:
                own.set_tensor(planes["index"], values)
                own.invoke()
                return np.asarray(own.get_tensor(rgb["index"]))  # a copy

        return run

    schema = need("ai_edge_litert.schema_py_generated")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content))
    metadata = {
        entry.name.decode(): bytes(model.buffers[entry.buffer].data).decode()
        for entry in model.metadata or ()
        if entry.name == CARD_KEY.encode()
    }
    return Program("litert", metadata, tuple(map(int, planes["shape"])), _once(make))


def _open_executorch(path: Path) -> Program:
    program = need("executorch.runtime").Runtime.get().load_program(path.read_bytes())
    metadata = {CARD_KEY: program.load_method(CARD_KEY).execute([])[0]} if CARD_KEY in program.method_names else {}
    forward = program.load_method("forward")

    alone = threading.Lock()

    def run(values: NDArray[np.float32], program: Any = program) -> NDArray[np.float32]:  # it must outlive its methods
        with alone:
            (result,) = forward.execute([torch.from_numpy(values)])
            return np.array(result.numpy(), np.float32)  # the next call overwrites what it gave

    shape = tuple(forward.metadata.input_tensor_meta(0).sizes())
    return Program("executorch", metadata, shape, lambda precision, threads: run)


_OPEN: dict[Runtime, Callable[[Path], Program]] = {
    "onnxruntime": _open_onnx,
    "openvino": _open_openvino,
    "litert": _open_litert,
    "executorch": _open_executorch,
}
