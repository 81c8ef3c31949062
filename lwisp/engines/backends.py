"""The table of back ends: a new one is a file beside this one, a line in `BACKENDS` and a word in `names`."""

from importlib.util import find_spec

import torch
from torch import Tensor, nn

from lwisp.engines.contract import BackEnd, Compiled, CompileError, FileFormat
from lwisp.engines.executorch import EXECUTORCH
from lwisp.engines.litert import LITERT
from lwisp.engines.names import Format, Name
from lwisp.engines.onnxruntime import ONNXRUNTIME
from lwisp.engines.openvino import OPENVINO
from lwisp.engines.torch import TORCH
from lwisp.errors import InputError
from lwisp.files.writing import quiet

BACKENDS: dict[Name, BackEnd] = {
    "torch": TORCH,
    "openvino": OPENVINO,
    "onnxruntime": ONNXRUNTIME,
    "litert": LITERT,
    "executorch": EXECUTORCH,
}
PREFERRED: Name = "openvino"
"""What "auto" takes for LW-ISP on a processor, where it is installed."""

FORMATS: dict[Format, FileFormat] = {
    back_end.file.name: back_end.file for back_end in BACKENDS.values() if back_end.file is not None
}
"""Formats of exported files."""


def network_backends() -> list[Name]:
    """Names of the back ends that run networks of weights files; the others run exported files only."""
    return [name for name, back_end in BACKENDS.items() if name == "torch" or back_end.compile is not None]


def is_installed(name: Name) -> bool:
    """Whether the package of a back end is installed; it is not imported."""
    return find_spec(BACKENDS[name].package) is not None


def compile_module(
    name: Name, module: nn.Module, inputs: tuple[Tensor, ...], bf16: bool, threads: int | None = None
) -> Compiled:
    """Compile a module of float32 weights with a back end.

    Args:
        name: A back end with a `compile` of its own.
        module: A function of tensors, float32 in and out, for batches of one.
        inputs: Tensors of the shapes that the result takes.
        bf16: Compute in bf16 where the back end does.
        threads: Threads that compute; as many as torch uses if not given.

    Returns:
        The module made ready.

    Raises:
        CompileError: The back end is not installed or cannot compile this module.
    """
    compile_with = BACKENDS[name].compile
    assert compile_with is not None
    try:
        with torch.inference_mode(), quiet():  # tracing warns of every `if`
            return compile_with(module, inputs, bf16, threads or torch.get_num_threads())
    except (RuntimeError, ImportError, InputError) as error:  # what back ends raise over what they cannot do
        raise CompileError(f"{name}: {error}") from error
