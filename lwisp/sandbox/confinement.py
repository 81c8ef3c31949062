"""What a process gives up before it opens a stranger's file: other files, the network, other processes, more memory.

Linux alone has what this needs: Landlock (files, since 5.13) and seccomp (system calls), which any user may use, and
which cannot be undone. Both are reached by their system calls, for no library that is kept wraps them.
"""

import contextlib
import ctypes
import errno
import os
import platform
import stat
import struct
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lwisp.errors import InputError


@dataclass(frozen=True)
class Bounds:
    """What reading one file may take."""

    memory: int = 8 * 10**9
    """Bytes of address space."""
    seconds: float = 300.0
    """Time; as much of each processor, too."""
    written: int = 4 * 10**9
    """Bytes of what is given back."""


@dataclass(frozen=True)
class _Calls:
    """A machine's numbers: of its architecture in seccomp, and of system calls."""

    architecture: int
    denied: tuple[int, ...]
    """Sockets, programs, other processes, descriptors of others, kernel interfaces that go round what is denied;
    changes of files that Landlock does not know; memory that no limit counts."""
    opens: tuple[tuple[int, int], ...]
    """Calls that open files, each with the place of the flags among its arguments."""
    openat2: int
    clone: int
    clone3: int
    signal: int
    """tgkill, which a process may send to itself: that is how one aborts."""
    limits: int
    """prlimit64, which tells a process its own."""


CALLS = {
    "x86_64": _Calls(
        0xC000003E,
        (
            *(41, 42, 43, 44, 46, 48, 49, 50, 53, 288, 299, 307),  # sockets
            *(57, 58, 59, 322),  # fork, vfork, execve, execveat
            *(62, 129, 200, 297, 424),  # kill and its like
            *(101, 304, 310, 311, 312, 434, 438, 440),  # ptrace and its like, descriptors of others, handles
            *(160, 425, 426, 427),  # setrlimit, io_uring
            *(155, 161, 165, 166, 246, 248, 249, 250, 272, 298, 308, 321, 323),  # mounts, keys, namespaces, bpf
            *(76, 85, 90, 91, 268, 452, 92, 93, 94, 260),  # truncate, creat, chmod and chown and their like
            *(132, 235, 261, 280, 188, 189, 190, 197, 198, 199, 463, 466, 469),  # times, extended attributes
            *(319, 447, 29, 30, 31, 67, 64, 65, 66, 68, 69, 70, 71, 220, 240),  # memfds, System V's memory and queues
        ),
        opens=((2, 1), (257, 2)),
        openat2=437,
        clone=56,
        clone3=435,
        signal=234,
        limits=302,
    ),
    "aarch64": _Calls(
        0xC00000B7,
        (
            *(198, 199, 200, 201, 202, 203, 206, 210, 211, 242, 243, 269),
            *(221, 281),
            *(129, 130, 138, 240, 424),
            *(117, 270, 271, 272, 434, 438, 440),
            *(164, 425, 426, 427),
            *(39, 40, 41, 51, 97, 104, 217, 218, 219, 241, 265, 268, 280, 282),
            *(45, 52, 53, 54, 55, 452),
            *(88, 5, 6, 7, 14, 15, 16, 463, 466, 469),
            *(279, 447, 180, *range(186, 198)),
        ),
        opens=((56, 2),),
        openat2=437,
        clone=220,
        clone3=435,
        signal=131,
        limits=261,
    ),
}
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
"""Landlock's system calls, the same on every machine."""
NO_NEW_PRIVILEGES, SET_SECCOMP, FILTER = 38, 22, 2
"""Of prctl."""
READ_FILE, READ_FOLDER = 1 << 2, 1 << 3
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many rights on files each version of Landlock knows; later ones as many as the last."""
NETWORK_RIGHTS, SCOPES = 0b11, 0b11
"""Landlock's on TCP, since version 4, and on sockets without a file and signals, since version 6."""
KEPT_CAPABILITIES = 0b110
"""Of root: to read files that others own; Landlock says which."""
THREAD = 0x10000
"""Flag of clone."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC if sys.platform.startswith("linux") else 0
"""Flags of open by which a file may be changed; nothing that reads needs one."""


def why_unavailable() -> str:
    """Why a process cannot be confined here; empty where it can."""
    if not sys.platform.startswith("linux"):
        return "it needs Linux"
    if platform.machine() not in CALLS or ctypes.sizeof(ctypes.c_void_p) != 8:
        return f"it is not made for processors of the kind {platform.machine()}"
    if _landlock_version() < 1:
        return "it needs Landlock, which this Linux does not have switched on (Linux 5.13 has it, and later ones)"
    if _prctl(21) < 0:  # PR_GET_SECCOMP
        return "it needs seccomp, which this Linux does not have"
    return ""


def check_available() -> None:
    """Check that a process can be confined here; raises `InputError`."""
    reason = why_unavailable()
    if reason:
        raise InputError(
            f"no sandbox can be had here: {reason}; without --sandbox files are read by the command itself"
        )


def confine(bounds: Bounds, readable: Iterable[Path]) -> None:
    """Give up for good, in this process of one thread, all but reading these files and Python's code.

    Descriptors that are open stay so, and may be written to and cut short.

    Args:
        bounds: Memory, processor time and bytes written.
        readable: Files that may be opened for reading; folders, and what does not exist, are passed over.

    Raises:
        OSError: The system does not let it; nothing should be read then.
    """
    limit(bounds)
    _drop_capabilities()
    _check(_prctl(NO_NEW_PRIVILEGES, 1), "no_new_privs")
    _restrict_files(readable)
    _restrict_calls(CALLS[platform.machine()])


def limit(bounds: Bounds) -> None:
    """Bound the memory that this process may map, its time and the files that it may write; none is dumped if it dies.

    Windows has no such bounds, macOS not all of them.

    Args:
        bounds: How much; of the time, as much of each processor from now on.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    seconds = int(used.ru_utime + used.ru_stime + bounds.seconds * (os.cpu_count() or 1)) + 1
    for kind, most in (
        (resource.RLIMIT_AS, bounds.memory),
        (resource.RLIMIT_FSIZE, bounds.written),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_CPU, seconds),
    ):
        with contextlib.suppress(ValueError, OSError):  # where the system does not keep such a bound
            _, hard = resource.getrlimit(kind)
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (most, hard if kind == resource.RLIMIT_CPU else most))


def code_folders() -> list[Path]:
    """Folders of Python's own code and of installed packages, whose modules may be imported late."""
    paths = sysconfig.get_paths()
    own = Path(__file__).parent.parent
    return [own, *{Path(paths[name]) for name in ("stdlib", "platstdlib", "purelib", "platlib")}]


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, *values: int) -> int:
    arguments = [ctypes.c_ulong(value) for value in (*values, 0, 0, 0, 0)[:4]]
    return int(_libc().prctl(option, *arguments))


def _check(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _landlock_version() -> int:
    """0 where there is none."""
    found = _libc().syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    return max(int(found), 0)


def _drop_capabilities() -> None:
    """Take root's rights away but for those of `KEPT_CAPABILITIES`."""
    header = struct.pack("<Ii", 0x20080522, 0)  # version 3, of this process
    kept = KEPT_CAPABILITIES if os.geteuid() == 0 else 0
    data = struct.pack("<6I", kept, kept, 0, 0, 0, 0)
    _check(_libc().capset(header, data), "capset")


def _restrict_files(readable: Iterable[Path]) -> None:
    version = _landlock_version()
    rights = (1 << FILE_RIGHTS[min(version, max(FILE_RIGHTS))]) - 1
    attributes = struct.pack("<Q", rights)
    attributes += struct.pack("<Q", NETWORK_RIGHTS) if version >= 4 else b""
    attributes += struct.pack("<Q", SCOPES) if version >= 6 else b""
    call = _libc().syscall
    rules = _check(call(CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)), "Landlock")
    try:
        for path, are_files in (*((path, True) for path in readable), *((path, False) for path in code_folders())):
            with contextlib.suppress(FileNotFoundError), _held(path) as file:
                if are_files and stat.S_ISDIR(os.fstat(file).st_mode):
                    continue
                rule = struct.pack("<Qi", READ_FILE if are_files else READ_FILE | READ_FOLDER, file)
                _check(call(ADD_RULE, rules, ctypes.c_int(1), rule, ctypes.c_uint32(0)), "Landlock")
        _check(call(RESTRICT_SELF, rules, ctypes.c_uint32(0)), "Landlock")
    finally:
        os.close(rules)


@contextlib.contextmanager
def _held(path: Path) -> Iterator[int]:
    file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        yield file
    finally:
        os.close(file)


def _restrict_calls(calls: _Calls) -> None:
    """Let seccomp deny system calls: what reaches other processes, the network, or beyond these bounds."""
    program = _program(calls, os.getpid())
    held = ctypes.create_string_buffer(program, len(program))
    head = struct.pack("@HP", len(program) // 8, ctypes.addressof(held))
    _check(_libc().prctl(SET_SECCOMP, FILTER, head, 0, 0), "seccomp")


def _program(calls: _Calls, process: int) -> bytes:
    """The filter, in the language of Berkeley packets: it sees a call's number, architecture and arguments."""
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, kill, deny, missing = 0x7FFF0000, 0x80000000, 0x50000 | errno.EPERM, 0x50000 | errno.ENOSYS
    number, architecture, first = 0, 4, 16  # an argument has 8 bytes, the lower half first
    lines: list[tuple[int, int, int, int]] = [
        (load, 0, 0, architecture),
        (equal, 1, 0, calls.architecture),
        (give, 0, 0, kill),
        (load, 0, 0, number),
        (at_least, 0, 1, 0x40000000),  # calls of another architecture
        (give, 0, 0, kill),
    ]
    for call in calls.denied:
        lines += [(equal, 0, 1, call), (give, 0, 0, deny)]
    for call in (calls.clone3, calls.openat2):  # clone and openat are tried then, whose flags can be seen
        lines += [(equal, 0, 1, call), (give, 0, 0, missing)]
    for call, place in calls.opens:
        lines += [(equal, 0, 4, call), (load, 0, 0, first + 8 * place), (any_bit, 0, 1, WRITING), (give, 0, 0, deny)]
        lines += [(give, 0, 0, allow)]
    lines += [(equal, 0, 4, calls.clone), (load, 0, 0, first), (any_bit, 1, 0, THREAD), (give, 0, 0, deny)]
    lines += [(give, 0, 0, allow)]
    for call, allowed in ((calls.signal, process), (calls.limits, 0)):
        lines += [(equal, 0, 4, call), (load, 0, 0, first), (equal, 1, 0, allowed), (give, 0, 0, deny)]
        lines += [(give, 0, 0, allow)]
    lines += [(give, 0, 0, allow)]
    return b"".join(struct.pack("@HBBI", *line) for line in lines)
