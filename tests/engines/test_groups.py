"""Bounds of control groups, from trees of files as Linux has them in containers of both versions."""

import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lwisp.engines.groups import GROUPS, memory_left, memory_limit, processors
from lwisp.engines.memory import free_memory, installed_memory
from tests.conftest import ROOT, SAMPLE

MIB = 2**20


def system(folder: Path, cgroup: str, files: dict[str, str], free: int = 8000 * MIB) -> tuple[Path, Path]:
    """The places where Linux tells of a process and of its groups."""
    proc, groups = folder / "proc", folder / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text(cgroup)
    (proc / "meminfo").write_text(f"MemTotal: {2 * free // 1024} kB\nMemAvailable: {free // 1024} kB\n")
    (proc / "self" / "statm").write_text("1000 500 1 1 0 1 0\n")
    for name, text in files.items():
        path = groups / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return proc, groups


@pytest.mark.parametrize(
    ("cgroup", "files", "limit", "left"),
    [
        pytest.param(
            "0::/\n",
            {"memory.max": f"{512 * MIB}\n", "memory.current": f"{200 * MIB}\n", "memory.stat": "anon 5\nfile 7\n"},
            512 * MIB,
            312 * MIB,
            id="a container, as it sees itself",
        ),
        pytest.param(
            "0::/a.slice/b.service\n",
            {
                "a.slice/memory.max": f"{300 * MIB}\n",
                "a.slice/memory.current": f"{290 * MIB}\n",
                "a.slice/memory.stat": f"anon 1\ninactive_file {100 * MIB}\nactive_file 3\n",
                "a.slice/b.service/memory.max": "max\n",
                "a.slice/b.service/memory.high": f"{400 * MIB}\n",
                "a.slice/b.service/memory.current": f"{20 * MIB}\n",
            },
            300 * MIB,
            110 * MIB,
            id="the group above has less; what is cached can be dropped",
        ),
        pytest.param(
            "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/\n",
            {"memory/memory.limit_in_bytes": f"{100 * MIB}\n", "memory/memory.usage_in_bytes": f"{120 * MIB}\n"},
            100 * MIB,
            0,
            id="the first version; the path is the host's",
        ),
        pytest.param(
            "4:memory:/x\n",
            {
                "memory/memory.limit_in_bytes": "9223372036854771712\n",
                "memory/x/memory.limit_in_bytes": f"{900 * MIB}\n",
                "memory/x/memory.usage_in_bytes": f"{600 * MIB}\n",
                "memory/x/memory.stat": f"cache 1\ninactive_file 9\ntotal_inactive_file {50 * MIB}\n",
            },
            900 * MIB,
            350 * MIB,
            id="the first version, a group of its own",
        ),
    ],
)
def test_memory_is_bounded_by_the_groups(
    cgroup: str, files: dict[str, str], limit: int, left: int, tmp_path: Path
) -> None:
    proc, groups = system(tmp_path, cgroup, files)
    assert (memory_limit(proc, groups), memory_left(proc, groups)) == (limit, left)
    assert installed_memory(proc, groups) == limit
    assert free_memory(proc, groups) == left


@pytest.mark.parametrize(
    ("cgroup", "files"),
    [
        ("0::/\n", {}),
        ("0::/\n", {"memory.max": "max\n", "cpu.max": "max 100000\n"}),
        ("0::/../..\n", {"memory.max": "nonsense\n", "cpu.max": "0 0\n"}),
        ("", {"memory.max": "1\n"}),
        ("rubbish\n\n::\n", {"cpu.max": ""}),
        ("2:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}),
    ],
)
def test_without_a_limit_there_is_none(cgroup: str, files: dict[str, str], tmp_path: Path) -> None:
    proc, groups = system(tmp_path, cgroup, files)
    assert memory_limit(proc, groups) == memory_left(proc, groups) == processors(proc, groups) == math.inf
    assert free_memory(proc, groups) == 8000 * MIB


@pytest.mark.parametrize(
    ("cgroup", "files", "expected"),
    [
        ("0::/a/b\n", {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1.5),
        ("0::/a/b\n", {"cpu.max": "300000 100000\n", "a/b/cpu.max": "50000 100000\n"}, 0.5),
        (
            "2:cpu,cpuacct:/a\n0::/\n",
            {"cpu,cpuacct/a/cpu.cfs_quota_us": "200000\n", "cpu,cpuacct/a/cpu.cfs_period_us": "100000\n"},
            2.0,
        ),
        ("2:cpu:/a\n", {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
    ],
)
def test_time_of_processors_is_bounded_by_the_groups(
    cgroup: str, files: dict[str, str], expected: float, tmp_path: Path
) -> None:
    assert processors(*system(tmp_path, cgroup, files)) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="Linux bounds address space so")
def test_a_limit_of_address_space_bounds_free_memory(tmp_path: Path) -> None:
    code = """
import resource, sys
from lwisp.engines.memory import free_memory
resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))
print(free_memory())
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 2**30 < int(done.stdout) < 4 * 2**30
    assert resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY  # of the tests themselves


@contextmanager
def bounded(megabytes: int) -> Iterator[Path]:
    """A group whose processes may hold so much memory together; skips the test where none can be made."""
    is_first_version = (GROUPS / "memory").is_dir()
    folder = (GROUPS / "memory" if is_first_version else GROUPS) / f"lwisp-test-{os.getpid()}"
    limit = folder / ("memory.limit_in_bytes" if is_first_version else "memory.max")
    try:
        folder.mkdir()
    except OSError as error:
        pytest.skip(f"no group can be made: {error}")
    try:
        if not (folder / "cgroup.procs").exists() or not limit.exists():
            pytest.skip("no group's memory can be bounded here")
        try:
            limit.write_text(str(megabytes * MIB))
        except OSError as error:
            pytest.skip(f"no group's memory can be bounded: {error}")
        yield folder
    finally:
        _remove(folder)


def _remove(group: Path) -> None:
    """Remove a group, which takes a moment after its last process has ended."""
    until = time.monotonic() + 10
    while True:
        try:
            return group.rmdir()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize(("megabytes", "code"), [(150, 1), (300, 0)])
def test_a_real_limit_is_kept_or_the_file_refused(megabytes: int, code: int, tmp_path: Path) -> None:
    """A file that does not fit is refused in a sentence; the system never has to kill the process."""
    made = tmp_path / "made.jpg"
    with bounded(megabytes) as group:
        command = [sys.executable, "-m", "lwisp", "develop", SAMPLE, "-o", made]
        join = f'echo $$ > {group / "cgroup.procs"} && exec "$@"'
        done = subprocess.run(
            ["sh", "-c", join, "sh", *map(str, command)], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert done.returncode == code, done.stderr
    assert made.exists() == (code == 0)
    assert ("GB are free" in done.stderr) == (code == 1)
