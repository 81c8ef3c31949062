"""Load for `lwisp serve`: good and bad files from many clients at once, for minutes, on this machine alone.

    python benchmarks/serve_load.py [--clients 32] [--seconds 600]

Starts `lwisp serve` with a temporary folder of its own and develops each good file once: what that gives is expected
ever after. Then each client sends one file after the other, good ones and bad ones mixed. 429 is heeded: the client
waits as long as it was told, and sends the file again. At the end the server is told to stop (SIGTERM) while all of
them are at it. Prints what was answered, the times, the memory of the server with its workers over time, and what was
left behind; the exit code is 1 where a good file was not developed to the same bytes, a bad one got another answer than
its own, a process or a file was left, or the server did not end cleanly. Needs Linux, and `pip install 'lwisp[dev]'`.
"""

import argparse
import io
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from lwisp.files.dng import write_dng
from lwisp.files.raw import RawImage

LARGEST = 2
"""MB that the server takes."""
SHARE_GOOD = 0.6
"""Of all requests."""
STOPPED, LAST_WORDS = 143, "lwisp: stopped by SIGTERM\n"
"""Exit code and stderr of what SIGTERM has ended in order."""
EVERY = 1.0
"""Seconds between two looks at the memory."""
ENDING = 5.0
"""Seconds in which what a worker started must end after it."""
WARMING = 0.2
"""Share of the time that is left out of the slope: allocators and caches fill."""


@dataclass(frozen=True)
class Ask:
    """One request, and the answer it is to get."""

    kind: str
    content: bytes
    status: int
    form: bool = True
    """Whether it is sent as a form."""


@dataclass
class Told:
    """What became of one request."""

    kind: str
    seconds: float
    """From the last try to its answer."""
    waited: float
    """From the first try to the last answer."""
    postponed: int
    """How often the answer was 429."""
    failure: str
    """What was wrong with the answer; empty where it was the right one."""


@dataclass
class Load:
    """The clients, and what they were told."""

    url: str
    asks: tuple[Ask, ...]
    expected: Mapping[bytes, bytes]
    """Pictures by the content of their files."""
    is_over: threading.Event = field(default_factory=threading.Event)
    told: list[Told] = field(default_factory=list)

    def run(self, seed: int) -> None:
        """Be one client until the load is over.

        Args:
            seed: Of its choice of files.
        """
        chance = random.Random(seed)
        good = [ask for ask in self.asks if ask.status == 200]
        bad = [ask for ask in self.asks if ask.status != 200]
        with httpx.Client(base_url=self.url, timeout=300) as client:
            while not self.is_over.is_set():
                ask = chance.choice(good if chance.random() < SHARE_GOOD else bad)
                told = self.send(client, ask)
                if not self.is_over.is_set():
                    self.told.append(told)

    def send(self, client: httpx.Client, ask: Ask) -> Told:
        """Send one file until it is not told to come again.

        Args:
            client: Sends it.
            ask: What is sent.
        """
        began = time.monotonic()
        for postponed in range(10_000):
            sent = time.monotonic()
            try:
                answer = post(client, ask)
            except httpx.HTTPError as error:
                now = time.monotonic()
                return Told(ask.kind, now - sent, now - began, postponed, f"{type(error).__name__}: {error}")
            if answer.status_code != 429 or self.is_over.wait(float(answer.headers["Retry-After"])):
                break
        now = time.monotonic()
        failure = ""
        if answer.status_code != ask.status:
            failure = f"{answer.status_code}: {answer.text[:200]}"
        elif ask.status == 200 and answer.content != self.expected.get(ask.content, answer.content):
            failure = "other bytes than before"
        elif ask.status != 200 and not answer.json()["error"]:
            failure = "no sentence"
        return Told(ask.kind, now - sent, now - began, postponed, failure)


def post(client: httpx.Client, ask: Ask) -> httpx.Response:
    """Send a file to be developed."""
    if ask.form:
        return client.post("/develop", files={"file": (f"{ask.kind}.dng", ask.content)})
    return client.post("/develop", content=ask.content, headers={"content-type": "image/x-adobe-dng"})


def make_asks() -> tuple[Ask, ...]:
    """Small RAWs, and files that are none, each with the status of its answer."""
    good = [make_raw(*size) for size in ((64, 48), (242, 318), (480, 640))]
    return (
        *(Ask("good", content, 200) for content in good),
        Ask("truncated", good[1][: len(good[1]) // 2], 422),
        Ask("empty", b"", 422),
        Ask("text", b"not a picture\n" * 1000, 422),
        Ask("wrong type", good[0], 415, form=False),
        Ask("oversize", bytes(int(1.5 * LARGEST * 10**6)), 413),
    )


def make_raw(height: int, width: int) -> bytes:
    """The content of a DNG with noise on a ramp."""
    generator = np.random.default_rng(height)
    mosaic = np.linspace(200, 3000, width) + generator.normal(0, 30, (height, width))
    raw = RawImage(mosaic.astype(np.uint16), "RGGB", (64.0,) * 4, (4095.0,) * 4, (2.0, 1.0, 1.6))
    with tempfile.TemporaryDirectory() as folder:
        write_dng(Path(folder) / "photo.dng", raw)
        return (Path(folder) / "photo.dng").read_bytes()


def still_alive(processes: set[int], seconds: float) -> list[int]:
    """Those that have not ended within so many seconds."""
    until = time.monotonic() + seconds
    while (alive := [one for one in processes if Path(f"/proc/{one}").exists()]) and time.monotonic() < until:
        time.sleep(0.1)
    return alive


def family(first: int) -> dict[int, int]:
    """Resident memory in bytes of a process and all that descend from it, by their ids."""
    parents, sizes = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                sizes[int(entry.name)] = int((entry / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            except OSError:  # it ended meanwhile
                continue
    found = {first}
    while grown := {child for child, parent in parents.items() if parent in found} - found:
        found |= grown
    return {process: sizes[process] for process in found & sizes.keys()}


def slope(times: list[float], sizes: list[float]) -> tuple[float, float]:
    """Least-squares slope and its standard error, in the unit of the sizes per unit of the times.

    Args:
        times: When.
        sizes: What was measured then.
    """
    x = np.asarray(times) - np.mean(times)
    y = np.asarray(sizes) - np.mean(sizes)
    spread = float(x @ x)
    steep = float(x @ y) / spread
    rest = y - steep * x
    return steep, float(np.sqrt((rest @ rest) / max(1, len(times) - 2) / spread))


@contextmanager
def server(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`lwisp serve` and its address.

    Args:
        folder: For its temporary files.
    """
    command = [sys.executable, "-m", "lwisp", "serve", "--port", "0", "--max-upload", str(LARGEST)]
    environment = {**os.environ, "TMPDIR": str(folder)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        line = run.stdout.readline()
        address = re.match(r"(http://\S+)/ ", line)
        if address is None:
            raise SystemExit(f"the server did not start: {line}{run.communicate()[1]}")
        try:
            yield run, address[1]
        finally:
            run.kill()


def main(clients: int, seconds: float) -> int:
    """Load a server, and print what came of it; 0 where all of it is as promised.

    Args:
        clients: How many at once.
        seconds: For how long.
    """
    asks = make_asks()
    with tempfile.TemporaryDirectory() as name, server(Path(name)) as (run, url):
        folder = Path(name)
        expected = {}
        with httpx.Client(base_url=url, timeout=300) as client:
            for ask in asks:
                answer = post(client, ask)
                assert answer.status_code == ask.status, answer.text
                if ask.status == 200:
                    Image.open(io.BytesIO(answer.content)).load()
                    expected[ask.content] = answer.content
        load = Load(url, asks, expected)
        threads = [threading.Thread(target=load.run, args=(seed,)) for seed in range(clients)]
        for thread in threads:
            thread.start()
        times: list[float] = []
        sizes: list[tuple[float, float]] = []
        processes: set[int] = set()
        began = time.monotonic()
        while (now := time.monotonic() - began) < seconds and run.poll() is None:
            held = family(run.pid)
            processes |= held.keys()
            times.append(now)
            server_size = held.get(run.pid, 0) / 1e6
            sizes.append((server_size, sum(held.values()) / 1e6 - server_size))
            time.sleep(EVERY)
        load.is_over.set()
        processes |= family(run.pid).keys()
        stopped = time.monotonic()
        run.terminate()
        _, errors = run.communicate(timeout=60)
        ending = time.monotonic() - stopped
        for thread in threads:
            thread.join()
        left = sorted(path.name for path in folder.iterdir())
        alive = still_alive(processes, ENDING)
    is_clean = (run.returncode, errors) == (STOPPED, LAST_WORDS) and not left and not alive
    print(f"stopped by SIGTERM under load: exit code {run.returncode} after {ending:.1f} s", flush=True)
    print(f"left behind: {left or 'no file'}, {alive or 'no process'}; the last words: {errors.strip()}")
    failures = report(load.told, seconds, times, sizes)
    return int(bool(failures) or not is_clean)


def report(told: list[Told], seconds: float, times: list[float], sizes: list[tuple[float, float]]) -> int:
    """Print what was answered and how fast, and the memory; returns how many answers were wrong.

    Args:
        told: All answers.
        seconds: That they took together.
        times: Seconds at which the memory was looked at.
        sizes: MB then, of the server and of its workers.
    """
    wrong = [one for one in told if one.failure]
    print(f"{len(told)} files in {seconds:g} s, {len(wrong)} wrong answers; 429 was told and heeded", end=" ")
    print(f"{sum(one.postponed for one in told)} times, {max((one.postponed for one in told), default=0)} for one file")
    print(f"{'seconds':12} {'files':>7} {'p50':>7} {'p95':>7} {'p99':>7} {'most':>7}")
    for kind in dict.fromkeys(one.kind for one in told):
        of_kind = [one for one in told if one.kind == kind]
        rows = {kind: [one.seconds for one in of_kind]}
        if kind == "good":
            rows["with waiting"] = [one.waited for one in of_kind]
        for name, values in rows.items():
            shown = " ".join(f"{value:7.2f}" for value in np.percentile(values, [50, 95, 99, 100]))
            print(f"{name:12} {len(of_kind):7} {shown}")
    settled = np.asarray(times) >= WARMING * seconds
    if settled.sum() > 2:
        print(f"memory after the first {WARMING:.0%}:")
        minutes, held = np.asarray(times)[settled] / 60, np.asarray(sizes)[settled]
        for name, values in {"server": held[:, 0], "workers": held[:, 1], "together": held.sum(1)}.items():
            steep, error = slope([*minutes], [*values])
            print(f"{name:12} {values.mean():7.1f} MB in the mean, {values.max():.1f} at most;", end=" ")
            print(f"slope {steep:+.3f} MB a minute (standard error {error:.3f})")
    for failure, count in Counter(f"{one.kind}: {one.failure}" for one in wrong).most_common(10):
        print(f"wrong {count} times: {failure}")
    return len(wrong)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=600)
    options = parser.parse_args()
    raise SystemExit(main(options.clients, options.seconds))
