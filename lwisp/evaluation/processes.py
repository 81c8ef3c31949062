"""What a benchmark must know of processes and the machine: a fresh process, its peak memory, the processor."""

import contextlib
import multiprocessing
import os
import platform
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypeVar

import torch

from lwisp.errors import InputError
from lwisp.files.optional import need

PACKAGES = ("lwisp", "torch", "openvino", "onnxruntime", "rawpy")
"""Packages whose versions are told."""
INSTRUCTIONS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
"""Instruction sets that are told, as Linux names them."""

T = TypeVar("T")


def call_in_new_process(call: Callable[..., T], *arguments: object) -> T:
    """The result of a function that runs in a process of its own, which shares nothing with this one.

    Args:
        call: A function that can be imported.
        arguments: Its arguments, which can be pickled.

    Raises:
        InputError: If the process dies, which lack of memory does.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(call, *arguments).result()
        except BrokenProcessPool as error:
            raise InputError("the process was killed, which lack of memory does; take a smaller size") from error


def peak_memory_mib() -> float:
    """Largest resident memory of this process so far, in MiB."""
    status = Path("/proc/self/status")
    if status.is_file():  # `getrusage` would count what the parent had when it started this process
        lines = status.read_text(encoding="ascii", errors="replace").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024
    try:
        import resource
    except ImportError:  # Windows
        return float(need("psutil", "measuring memory").Process().memory_info().peak_wset) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # macOS counts bytes


def describe_machine() -> dict[str, str]:
    """Processor, instruction sets, threads, system and versions of packages, each as a text for a report."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "processor": f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores",
        "instructions": " ".join(name for name in INSTRUCTIONS if name in flags),
        "threads": str(torch.get_num_threads()),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": ", ".join(f"{package} {number}" for package, number in versions.items()),
    }
