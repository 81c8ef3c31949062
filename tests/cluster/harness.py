"""What the tests of clusters start: schedulers and workers of Dask, and a server of S3 with a door that can be held."""

import contextlib
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from lwisp.files.optional import need
from tests.conftest import ROOT, WriteDng

DENIED = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"


def fill(folder: Path, count: int, write_dng: WriteDng) -> list[Path]:
    """So many small RAWs."""
    folder.mkdir()
    made = []
    for index in range(count):
        written = write_dng(np.random.default_rng(index).integers(64, 4000, (40, 60), dtype=np.uint16))
        made.append(written.rename(folder / f"{index:03}.dng"))
    return made


def soon(look: Callable[[], bool], seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class Cluster:
    """A scheduler and workers, each a process of its own; a worker that ends is started again, as a service would."""

    def __init__(self, folder: Path, workers: int, *options: str, **variables: str) -> None:
        self.folder, self.options = folder, options
        self.port = free_port()
        self.address = f"tcp://127.0.0.1:{self.port}"
        self.variables = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **variables}
        self.ending = False
        self.scheduler = self._start("scheduler", "--port", str(self.port))
        self.workers: list[subprocess.Popen[bytes]] = []
        self.keepers = [threading.Thread(target=self._keep) for _ in range(workers)]
        for keeper in self.keepers:
            keeper.start()

    def _start(self, what: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *options, "--no-dashboard"]
        with (self.folder / f"{what}.log").open("ab") as log:
            return subprocess.Popen(
                [*command, "--host", "127.0.0.1"], env=self.variables, cwd=self.folder, stdout=log, stderr=log
            )

    def _keep(self) -> None:
        while not self.ending:
            self._start_worker(*self.options).wait()

    def _start_worker(self, *options: str) -> subprocess.Popen[bytes]:
        worker = self._start("worker", self.address, "--nthreads", "1", "--no-nanny", "--memory-limit", "0", *options)
        self.workers.append(worker)
        return worker

    def join(self, *options: str) -> None:
        """One more worker, which is there when this returns."""
        there = (self.folder / "worker.log").read_bytes().count(b"Registered to")
        self._start_worker(*options)
        soon(lambda: (self.folder / "worker.log").read_bytes().count(b"Registered to") > there)

    def wait_for(self, workers: int) -> None:
        """Return when so many workers are with the scheduler."""
        with need("distributed").Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(workers, timeout=120)

    def restart_scheduler(self) -> None:
        self.scheduler.kill()
        self.scheduler.wait()
        self.scheduler = self._start("scheduler", "--port", str(self.port))

    def kill_a_worker(self) -> None:
        next(worker for worker in self.workers if worker.poll() is None).kill()

    def end(self) -> None:
        self.ending = True
        for process in (self.scheduler, *self.workers):
            process.kill()
        for keeper in self.keepers:
            while keeper.is_alive():  # one may be starting another
                for worker in self.workers:
                    worker.kill()
                keeper.join(0.1)
        for process in (self.scheduler, *self.workers):
            process.wait()


@contextlib.contextmanager
def cluster(folder: Path, workers: int = 1, *options: str, **variables: str) -> Iterator[Cluster]:
    folder.mkdir()
    started = Cluster(folder, workers, *options, **variables)
    try:
        yield started
    finally:
        started.end()


class Door:
    """Passes requests on to a server; `before` and `after` may answer in its place."""

    def __init__(self, server: str) -> None:
        self.server = urlsplit(server).netloc
        self.seen: list[str] = []
        self.before: Callable[[str, str], int | None] = lambda method, path: None
        self.after: Callable[[str, str], int | None] = lambda method, path: None
        door = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def pass_on(self) -> None:
                content = self._content()
                door.seen.append(f"{self.command} {self.path}")
                status = door.before(self.command, self.path)
                if status is not None:
                    self._answer(status, DENIED if status == 403 and self.command != "HEAD" else b"", {})
                    return
                upstream = http.client.HTTPConnection(door.server, timeout=60)
                upstream.request(self.command, self.path, content, dict(self.headers))
                answer = upstream.getresponse()
                body, told = answer.read(), dict(answer.getheaders())
                upstream.close()
                status = door.after(self.command, self.path)
                if status is not None:
                    self._answer(status, b"", {})
                else:
                    self._answer(answer.status, body, told)

            def _content(self) -> bytes:
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))

            def _answer(self, status: int, body: bytes, told: dict[str, str]) -> None:
                with contextlib.suppress(OSError):  # who asked may have gone
                    self.send_response(status)
                    for name, value in told.items():
                        if name.lower() not in ("transfer-encoding", "connection", "server", "date"):
                            self.send_header(name, value)
                    if "Content-Length" not in told:
                        self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        for method in ("GET", "PUT", "HEAD", "POST", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.pass_on)
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.http.shutdown()
        self.http.server_close()
