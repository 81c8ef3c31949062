"""A server killed by SIGKILL at random moments: the next one works, and clears what the killed one left."""

import contextlib
import http.client
import os
import random
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.faults.kills import SEED
from tests.faults.preload import Fault, Mode
from tests.faults.scenarios import BY_NAME, Scenario
from tests.faults.sweep import Finding, Place, leftovers, surroundings

SERVER = Scenario("serve", BY_NAME["develop"].prepare)
GRACE = 60.0
"""Seconds in which a worker notices that its server is gone."""


class Server:
    """`lwisp serve` as a process, which the caller ends.

    Args:
        place: Where it keeps what it receives.
    """

    def __init__(self, place: Place) -> None:
        variables = {**os.environ, "OMP_NUM_THREADS": "1", **surroundings(place.run)}
        command = [sys.executable, "-m", "lwisp", "serve", "--port", "0", "--backend", "openvino"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=variables, cwd=place.here, text=True
        )
        assert self.process.stdout is not None
        self.address = self.process.stdout.readline().split(" ")[0]

    def develop(self, path: Path) -> bytes | None:
        """The picture of a RAW; None where the server died meanwhile."""
        mark = uuid.uuid4().hex
        head = f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="a.dng"\r\n\r\n'
        body = head.encode() + path.read_bytes() + f"\r\n--{mark}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={mark}"}
        request = urllib.request.Request(f"{self.address}develop", body, kind)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                content: bytes = answer.read()
                return content
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read()) from error
        except (OSError, http.client.HTTPException):  # before it answered, or while it did
            return None

    def workers(self) -> list[int]:
        """Processes that it has started."""
        return children(self.process.pid)

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal, and wait for the end."""
        self.process.send_signal(number)
        self.process.wait(60)
        assert self.process.stdout is not None
        self.process.stdout.close()


def kill_server(place: Place, count: int, seed: int = SEED) -> Iterator[Finding]:
    """Kill a server at random moments while it makes a picture; after each another one is started at the same place.

    Args:
        place: Where it keeps what it receives.
        count: How many moments, drawn over the time that a first picture takes.
        seed: Of the moments.

    Yields:
        What should not be.
    """
    place.prepare(SERVER)
    place.begin()
    raw = place.here / "photos" / "a.dng"
    server = Server(place)
    began = time.monotonic()
    expected = server.develop(raw)
    seconds = time.monotonic() - began
    server.end()
    moments = random.Random(seed)
    for number in range(1, count + 1):
        server = Server(place)
        wrong = [] if len(leftovers(place.run)) == 1 else [f"not cleared: {leftovers(place.run)}"]
        with ThreadPoolExecutor(1) as pool:
            asked = pool.submit(server.develop, raw)
            time.sleep(moments.uniform(0, seconds))
            workers = server.workers()
            server.end(signal.SIGKILL)
            if asked.result() not in (None, expected):
                wrong.append("half a picture was sent")
        wrong += [f"worker {worker} lives on" for worker in workers if not has_ended(worker)]
        yield from (_finding(f"moment {number}", what) for what in wrong)
    server = Server(place)
    if server.develop(raw) != expected:
        yield _finding("in the end", "not the picture of an undisturbed server")
    server.end()
    yield from (_finding("in the end", f"left for good: {name}") for name in leftovers(place.run))


def children(process: int) -> list[int]:
    """Processes that any thread of a process has started, without Python's own that looks after shared memory."""
    found = []
    for listed in Path(f"/proc/{process}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            found += [int(number) for number in listed.read_text().split()]
    return [child for child in found if b"resource_tracker" not in _told(child, "cmdline")]


def has_ended(process: int) -> bool:
    """Whether a process ends within the time that is given to it; one that nobody has asked after yet has ended."""
    deadline = time.monotonic() + GRACE
    while time.monotonic() < deadline:
        state = _told(process, "stat").rpartition(b")")[2].split()
        if not state or state[0] in (b"Z", b"X"):
            return True
        time.sleep(0.05)
    return False


def _told(process: int, name: str) -> bytes:
    """What Linux tells of a process; nothing where there is none."""
    try:
        return Path(f"/proc/{process}/{name}").read_bytes()
    except OSError:
        return b""


def _finding(when: str, what: str) -> Finding:
    return Finding(SERVER.name, Fault(Mode.KILL), when, what, "")
