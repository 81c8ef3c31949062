"""Modules made ready to run: by torch, by OpenVINO, by ONNX Runtime; what these compile is kept in the user's cache.

A compiled module is a function of tensors, float32 in and out, for batches of one. OpenVINO compiles for one shape of
its inputs, since its kernels for shapes not known beforehand took 1.3 times as long (docs/log.md).
"""

import contextlib
import hashlib
import inspect
import io
import os
import platform
import sys
import threading
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lwisp import model
from lwisp.engines import tiles
from lwisp.engines.exported import Pool, cache_folder, need, openvino_core
from lwisp.errors import InputError
from lwisp.files.tensors import digest_of
from lwisp.files.writing import quiet, write_whole

Name = Literal["torch", "openvino", "onnxruntime"]
NAMES: tuple[Name, ...] = get_args(Name)
Call = Callable[..., Tensor]
KEPT = 64
"""Files in the cache, some MB each; the oldest beyond go."""


class CompileError(Exception):
    """A back end that is installed could not make a module ready."""


def is_installed(backend: Name) -> bool:
    """Whether this back end can be had; nothing is imported."""
    return backend == "torch" or find_spec(backend) is not None


class Compiled:
    """A module made ready; any number of threads may use it at once, as many requests as use it at one time."""

    def __init__(self, make_request: Callable[[], Call]) -> None:
        self._requests = Pool(make_request)

    def borrow(self) -> contextlib.AbstractContextManager[Call]:
        """For one thread's use: a function of tensors. The tensor that it gives may be overwritten by its next call."""
        return self._requests.borrow()

    def __call__(self, *tensors: Tensor) -> Tensor:
        """What the module gives, in a tensor of its own."""
        with self.borrow() as call:
            return call(*tensors).clone()


def compile_module(
    backend: Name, module: nn.Module, inputs: tuple[Tensor, ...], bf16: bool, threads: int | None = None
) -> Compiled:
    """Make a module of float32 weights ready for inputs of these shapes, to compute on so many threads.

    Without `threads` these are as many as torch uses. Raises `CompileError`.
    """
    threads = threads or torch.get_num_threads()
    try:
        with torch.inference_mode(), quiet():  # tracing warns of every `if`
            if backend == "openvino":
                return _openvino(module, inputs, bf16, threads)
            return _onnxruntime(module, inputs, threads)
    except (RuntimeError, ImportError, InputError) as error:  # what both raise over what they cannot do
        raise CompileError(f"{backend}: {error}") from error


def _openvino(module: nn.Module, inputs: tuple[Tensor, ...], bf16: bool, threads: int) -> Compiled:
    core = openvino_core()
    config = {
        "INFERENCE_PRECISION_HINT": "bf16" if bf16 else "f32",
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
    }
    shapes = [list(tensor.shape) for tensor in inputs]
    device = core.get_property("CPU", "FULL_DEVICE_NAME")
    path = _cached("openvino", module, shapes, config, device)
    compiled, content = None, _read_cached(path)
    if content is not None:
        with contextlib.suppress(RuntimeError):  # of another build after all: compile again
            compiled = core.import_model(io.BytesIO(content), "CPU", config)
    if compiled is None:
        compiled = core.compile_model(convert(module, _small(shapes), shapes), "CPU", config)
        _write_cached(path, compiled.export_model().getvalue())

    def make_request() -> Call:
        request = compiled.create_infer_request()

        def call(*tensors: Tensor) -> Tensor:
            arrays = {index: tensor.float().contiguous().numpy() for index, tensor in enumerate(tensors)}
            return torch.from_numpy(request.infer(arrays, share_inputs=True, share_outputs=True)[0])

        return call

    return Compiled(make_request)


def convert(module: nn.Module, example: tuple[Tensor, ...], shapes: list[list[int]]) -> Any:
    """The `openvino.Model` of a module for inputs of these shapes, traced on an example.

    By OpenVINO's frontend alone: `openvino.convert_model` around it would report every use to its makers.
    """
    openvino, frontends = need("openvino"), need("openvino.frontend")
    decoders = need("openvino.frontend.pytorch.ts_decoder")
    with _tracing:
        decoder = decoders.TorchScriptPythonDecoder(module, example_input=example if len(example) > 1 else example[0])
        frontend = frontends.FrontEndManager().load_by_framework("pytorch")
        model = frontend.load(decoder)
        for index, shape in enumerate(shapes):
            model.set_partial_shape(model.get_place_by_input_index(index), openvino.PartialShape(shape))
        return frontend.convert(model)


def _onnxruntime(module: nn.Module, inputs: tuple[Tensor, ...], threads: int) -> Compiled:
    onnxruntime = need("onnxruntime")
    shapes = [list(tensor.shape) for tensor in inputs]
    path = _cached("onnxruntime", module)
    content = _read_cached(path)
    if content is None:
        buffer = io.BytesIO()
        small = _small(shapes)
        names = [f"input{index}" for index in range(len(small))]
        axes = {name: {2: "h", 3: "w"} for name, tensor in zip(names, small, strict=True) if tensor.shape[2:] > (1, 1)}
        with _tracing:
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
        _write_cached(path, content)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [entry.name for entry in session.get_inputs()]

    def call(*tensors: Tensor) -> Tensor:
        arrays = {name: tensor.float().contiguous().numpy() for name, tensor in zip(names, tensors, strict=True)}
        return torch.from_numpy(session.run(None, arrays)[0])

    return Compiled(lambda: call)


_tracing = threading.Lock()
"""torch traces one module at a time: what it notes meanwhile is the process's."""


def _small(shapes: list[list[int]]) -> tuple[Tensor, ...]:
    """Inputs for tracing, whose heights and widths stand to one another as those of the shapes do."""
    height, width = (max(shape[side] for shape in shapes if len(shape) == 4) for side in (2, 3))
    return tuple(
        torch.zeros(*shape[:2], 64 * shape[2] // height, 64 * shape[3] // width)
        if len(shape) == 4 and shape[2:] != [1, 1]
        else torch.zeros(shape)
        for shape in shapes
    )


def _cached(backend: str, module: nn.Module, *facts: Any) -> Path:
    """Where the compiled form of a module lies: a name made of all that decides it."""
    digest = hashlib.sha256(digest_of(module.state_dict()).encode())
    digest.update(repr(module).encode())
    for source in (model, tiles, sys.modules[__name__]):
        digest.update(inspect.getsource(source).encode())
    versions = [version("torch"), version("lwisp")]
    with contextlib.suppress(PackageNotFoundError):
        versions.append(version(backend))
    digest.update(repr((versions, platform.machine(), facts)).encode())
    return cache_folder() / f"{backend}-{digest.hexdigest()[:32]}"


def _read_cached(path: Path) -> bytes | None:
    """What was kept, if it is whole: it begins with the SHA-256 of the rest."""
    with contextlib.suppress(OSError):
        content = path.read_bytes()
        if hashlib.sha256(content[32:]).digest() == content[:32]:
            os.utime(path)
            return content[32:]
    return None


def _write_cached(path: Path, content: bytes) -> None:
    """Keep it, and no more than `KEPT` others; without a folder to write to, it is compiled again next time."""
    with contextlib.suppress(OSError, InputError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, lambda file: file.write(hashlib.sha256(content).digest() + content))
        ages = sorted((file.stat().st_mtime, file) for file in path.parent.glob("o*-*"))
        for _, file in ages[:-KEPT]:
            file.unlink(missing_ok=True)
