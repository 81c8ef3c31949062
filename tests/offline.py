"""Run `lwisp` verbs in this process and note every attempt to reach a network, and every fork: see `test_offline`.

    python tests/offline.py RECORD '[["develop", "a.dng"], ["weights", "list"]]'

Python's own sockets are replaced. On Linux the system stops whatever asks for an internet socket too, be it C code, a
thread of its own or a child, and `faulthandler` notes what Python was doing then. Nothing that is swallowed is lost.
"""

import ctypes
import faulthandler
import json
import os
import platform
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

SOCKET = {"x86_64": 41, "aarch64": 198}
"""The number of the call `socket` by kind of machine."""
NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2  # linux/prctl.h and linux/seccomp.h
TRAP, ALLOW = 0x00030000, 0x7FFF0000
LOAD, IF_EQUAL, RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h


class _Instruction(ctypes.Structure):
    _fields_ = [
        ("code", ctypes.c_ushort),
        ("if_true", ctypes.c_ubyte),
        ("if_false", ctypes.c_ubyte),
        ("k", ctypes.c_uint),
    ]


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("instructions", ctypes.POINTER(_Instruction))]


def watch(record: Path) -> None:
    """From now on, note in a file whatever this process and its children do to get out, and stop it."""
    file = record.open("a")

    def note(what: str) -> None:
        file.write(f"{what}\n{''.join(traceback.format_stack()[:-2])}\n")
        file.flush()

    def refuse(*arguments: Any, **_: Any) -> NoReturn:
        note(f"network: {arguments[-1:]}")
        raise OSError("no network in this test")

    for holder, name in (
        (socket, "getaddrinfo"),
        (socket, "gethostbyname"),
        (socket, "create_connection"),
        (socket.socket, "connect"),
        (socket.socket, "connect_ex"),
        (socket.socket, "sendto"),
    ):
        setattr(holder, name, refuse)
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(before=lambda: note("fork"))
    if stops_c_code():
        faulthandler.register(signal.SIGSYS, file, all_threads=True)
        _trap_internet_sockets()


def stops_c_code() -> bool:
    """Whether C code is stopped here too."""
    return sys.platform == "linux" and platform.machine() in SOCKET


def _trap_internet_sockets() -> None:
    internet = (2, 10)  # AF_INET, AF_INET6
    lines = (
        (LOAD, 0, 0, 0),  # which call
        (IF_EQUAL, 0, 4, SOCKET[platform.machine()]),
        (LOAD, 0, 0, 16),  # its first argument
        (IF_EQUAL, 1, 0, internet[0]),
        (IF_EQUAL, 0, 1, internet[1]),
        (RETURN, 0, 0, TRAP),
        (RETURN, 0, 0, ALLOW),
    )
    program = _Program(len(lines), (_Instruction * len(lines))(*(_Instruction(*line) for line in lines)))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) or libc.prctl(SET_SECCOMP, FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), "no filter of system calls")


def main() -> None:
    """Run the verbs one after the other; the first that fails ends it."""
    record, verbs = sys.argv[1:]
    watch(Path(record))
    from lwisp.cli.commands import app

    for verb in json.loads(verbs):
        try:
            app(verb)
        except SystemExit as end:
            if end.code:
                raise


if __name__ == "__main__":
    main()
