"""The table of back ends: a new one is a file beside this one, a line in `BACKENDS` and a word in `names`."""

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from lwisp.engines import openvino
from lwisp.engines.contract import BackEnd, Compiled, CompileError, FileFormat
from lwisp.engines.executorch import EXECUTORCH
from lwisp.engines.litert import LITERT
from lwisp.engines.names import Format, Name
from lwisp.engines.onnxruntime import ONNXRUNTIME
from lwisp.engines.openvino import OPENVINO
from lwisp.engines.threads import default_threads
from lwisp.engines.torch import TORCH
from lwisp.errors import InputError
from lwisp.files.optional import is_there, need

GPU_DRIVER = Path("/dev/nvidiactl")
"""There on Linux where NVIDIA's driver is."""

BACKENDS: dict[Name, BackEnd] = {
    "torch": TORCH,
    "openvino": OPENVINO,
    "onnxruntime": ONNXRUNTIME,
    "litert": LITERT,
    "executorch": EXECUTORCH,
}
ORDER: tuple[Name, ...] = ("openvino", "onnxruntime", "torch")
"""What "auto" takes for LW-ISP on a processor: the first that is installed."""

FORMATS: dict[Format, FileFormat] = {
    back_end.file.name: back_end.file for back_end in BACKENDS.values() if back_end.file is not None
}
"""Formats of exported files."""


def network_backends() -> list[Name]:
    """Names of the back ends that run networks of weights files; the others run exported files only."""
    return [name for name, back_end in BACKENDS.items() if name == "torch" or back_end.compile is not None]


def is_installed(name: Name) -> bool:
    """Whether the package of a back end is installed; it is not imported."""
    return is_there(BACKENDS[name].package)


def preferred() -> Name:
    """What "auto" takes for LW-ISP.

    Raises:
        InputError: None is installed.
    """
    if has_gpu():
        return "torch"
    for name in ORDER:
        if is_installed(name):
            return name
    raise InputError("no engine for networks is installed; pip install openvino, or onnxruntime")


def warm(name: Name) -> None:
    """Import a back end's package, which takes some tenths of a second; nothing is raised where it cannot be."""
    with contextlib.suppress(InputError):
        if name == "openvino":
            openvino.openvino_core().get_property("CPU", "FULL_DEVICE_NAME")
        elif name == "onnxruntime":
            need(name)


def others(failed: Name) -> list[Name]:
    """What is installed beside a back end that failed, in the order of preference, behind it."""
    behind = ORDER[ORDER.index(failed) + 1 :] if failed in ORDER else ()
    return [name for name in behind if is_installed(name)]


def has_gpu() -> bool:
    """Whether torch computes on a GPU. torch is imported only where the system has a driver for one."""
    if not is_installed("torch") or not (GPU_DRIVER.exists() or "torch" in sys.modules):
        return False
    from lwisp.engines.eager import device

    return device() == "cuda"


def has_bf16(name: Name) -> bool:
    """Whether a back end computes in bf16 by instructions of the processor or GPU; emulated it is slower than fp32."""
    if "bf16" not in BACKENDS[name].bytes_per_pixel:
        return False
    if name == "openvino":
        return openvino.has_bf16()
    from lwisp.engines import eager

    return eager.has_bf16(eager.device())


def compile_model(
    name: Name, model: bytes, shapes: Sequence[tuple[int, ...]], bf16: bool, threads: int | None = None
) -> Compiled:
    """Compile ONNX with a back end.

    Args:
        name: A back end with a `compile` of its own.
        model: The ONNX file, with weights.
        shapes: Shapes of the inputs that the result takes.
        bf16: Compute in bf16 where the back end does.
        threads: Threads that compute; `threads.default_threads` if not given.

    Returns:
        It made ready.

    Raises:
        CompileError: The back end is not installed or cannot compile it.
    """
    compile_with = BACKENDS[name].compile
    assert compile_with is not None
    try:
        return compile_with(model, shapes, bf16, threads or default_threads())
    except (RuntimeError, ImportError, InputError) as error:  # what back ends raise over what they cannot do
        raise CompileError(f"{name}: {error}") from error
    except Exception as error:
        if type(error).__module__.startswith("onnxruntime"):  # its exceptions have no other base
            raise CompileError(f"{name}: {error}") from error
        raise
