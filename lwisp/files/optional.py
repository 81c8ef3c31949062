"""Optional packages: imported on demand, with what to install in the error, and without reports to their makers."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lwisp.errors import InputError
from lwisp.files.places import user_folder
from lwisp.files.writing import quiet

ENVIRONMENT = """\
they need an environment of their own: python -m venv {0} && {0}/bin/pip install 'lwisp[{0}]', then {0}/bin/lwisp"""
DASK_LOG = "DASK_LOGGING__DISTRIBUTED"
"""Variable by which Dask is told what it logs; a user's own value stays."""
INSTALLS: dict[str, str] = {
    "onnx": "pip install 'lwisp[torch]'",
    "onnxruntime": "pip install 'lwisp[onnxruntime]'",
    "onnxscript": "pip install 'lwisp[export]'",
    "colour": "pip install 'lwisp[evaluate]'",
    "colour_demosaicing": "pip install 'lwisp[evaluate]'",
    "huggingface_hub": "pip install 'lwisp[hub]'",
    "h5py": "pip install 'lwisp[train]'",
    "lightning_fabric": "pip install 'lwisp[train]'",
    "matplotlib": "pip install matplotlib",
    "mlflow": "pip install 'lwisp[mlflow]'",
    "wandb": "pip install 'lwisp[wandb]'",
    "pillow_heif": "pip install pillow-heif",
    "scipy": "pip install 'lwisp[train]'",
    "skimage": "pip install 'lwisp[evaluate]'",
    "bm3d": "pip install bm3d (its licence is non-commercial)",
    "dictlearn": "pip install 'lwisp[ksvd]'",
    "sklearn": "pip install 'lwisp[ksvd]'",
    "cryptography": "pip install 'lwisp[cluster]'",
    "distributed": "pip install 'lwisp[cluster]'",
    "fsspec": "pip install 'lwisp[cluster]'",
    "flatbuffers": ENVIRONMENT.format("litert"),
    "ai_edge_litert": ENVIRONMENT.format("litert"),
    "litert_torch": ENVIRONMENT.format("litert"),
    "executorch": ENVIRONMENT.format("executorch"),
}
"""How to install each package, for the message of `need`; any other is installed by its own name."""


def need(module: str, purpose: str = "") -> Any:
    """Import a module of an optional package, without letting the package report to its makers.

    Nothing is written outside of `cache_folder` because of the import either.

    Args:
        module: Full name, as "openvino" or "matplotlib.figure".
        purpose: What it is needed for, for the message, as "reading HEIF".

    Returns:
        The module.

    Raises:
        InputError: The package is not installed; the message says how to install it.
    """
    package = module.split(".")[0]
    with importing:
        guard = contextlib.nullcontext() if package in sys.modules else _GUARDS.get(package, contextlib.nullcontext)()
        try:
            with guard:
                found = import_module(module)
        except ImportError as error:
            install = INSTALLS.get(package, f"pip install {package}")
            missing = f"{purpose} needs {package}, which" if purpose else package
            raise InputError(f"{missing} is not installed; {install}") from error
    if package == "onnxruntime":  # for the builds that don't look at the environment, those for Windows
        with contextlib.suppress(AttributeError):
            sys.modules[package].disable_telemetry_events()
    return found


def is_there(package: str) -> bool:
    """Whether an optional package is installed; it is not imported.

    Args:
        package: Its name in Python.
    """
    return find_spec(package) is not None


def need_colour(module: str, purpose: str) -> Any:
    """`need` for colour-science and colour-demosaicing, without their warnings of plotting libraries that they lack.

    Both import matplotlib where it is installed; it comes first, so that its list of fonts is kept with our cache.
    """
    with contextlib.suppress(InputError):
        need("matplotlib.font_manager")
    with quiet():
        return need(module, purpose)


def cache_folder() -> Path:
    """The folder of compiled modules (`places.user_folder`); it may be deleted at any time.

    Where there is no home folder it is one that cannot exist, so that nothing is kept.
    """
    return user_folder("cache") or Path(os.devnull) / "lwisp"


importing = threading.RLock()
"""Held while a package is imported that must be imported once, with its guard."""


@contextlib.contextmanager
def _without(name: str) -> Iterator[None]:
    """Hide a module during a `with` block, as if it were not installed."""
    missing = object()
    hidden: Any = sys.modules.get(name, missing)
    sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden is missing:
            del sys.modules[name]
        else:
            sys.modules[name] = hidden


def _without_reporter() -> AbstractContextManager[None]:
    """OpenVINO imports its reporter of usage if there is one, which forks a process for every event, and tells it."""
    return _without("openvino_telemetry")


@contextlib.contextmanager
def with_variable(name: str, value: str) -> Iterator[None]:
    """Set an environment variable during a `with` block, for the import of a package that reads it only then.

    Args:
        name: Name of the variable.
        value: Its value in the block; afterwards it has the one that it had before, or none.
    """
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
    "nncf": _without_reporter,
    "onnxruntime": lambda: with_variable("ORT_DISABLE_TELEMETRY", "1"),
    "huggingface_hub": lambda: with_variable("HF_HUB_DISABLE_TELEMETRY", "1"),
    "matplotlib": lambda: with_variable("MPLCONFIGDIR", _matplotlib_folder()),
    "mlflow": lambda: with_variable("MLFLOW_DISABLE_TELEMETRY", "true"),
    "wandb": lambda: with_variable("WANDB_ERROR_REPORTING", "false"),
    "tensorboard": lambda: _without("boto3"),  # which opens a socket as it is imported, to know of IPv6
    "distributed": lambda: with_variable(DASK_LOG, os.environ.get(DASK_LOG, "critical")),
}
"""Around the first import of packages that would connect to their makers, leave files in the user's home, or log to the
terminal."""


def import_dynamo() -> None:
    """Import those parts of torch that make a folder for a cache beside the system's temporary files: make it ours.

    Lightning Fabric and the exporter to ONNX import them; they leave the folder empty.
    """
    folder = os.environ.get("TORCHINDUCTOR_CACHE_DIR") or str(cache_folder() / "torch")
    with importing, with_variable("TORCHINDUCTOR_CACHE_DIR", folder), contextlib.suppress(ImportError):
        import_module("torch._dynamo")
        import_module("torch._inductor.compiler_bisector")
