"""A server in a thread of the tests, with workers that only pretend where nothing need be developed."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from lwisp.serve.app import create_app
from lwisp.serve.limits import Limits
from lwisp.serve.server import listen, make_server
from lwisp.serve.store import Store

PRETENDING = """
import json, os, sys, time

def tell(**told):
    print(json.dumps(told), flush=True)

tell(ready=True)
for line in sys.stdin:
    asked = json.loads(line)
    with open(asked["source"], "rb") as file:
        content = file.read()
    word = content.split(b" ")[0]
    if word in (b"segfault", b"killed"):
        os.kill(os.getpid(), 11 if word == b"segfault" else 9)
    if word == b"hang":
        time.sleep(600)
    if word == b"babble":
        print("x" * 100)
    if word == b"bad":
        tell(error=asked["name"] + ": no picture in it", kind="damaged")
        continue
    if word == b"who":
        content = b"%d" % os.getpid()
    time.sleep(0.15 if word == b"slow" else 0)
    tell(step="reading")
    tell(step="developing", facts=[["Camera", "Testcam"]], frame={"size": [2, 3]}, has_camera=False)
    with open(asked["output"], "wb") as file:
        file.write(asked["task"].encode() + b" " + content)
    tell(done={"notes": ["a note"], "weights": "photo", "seconds": 0.1, "pixels": 6})
"""
"""A worker that does what the first word of a file says."""


@dataclass
class Served:
    """A server that runs."""

    url: str
    client: httpx.Client
    store: Store
    folder: Path

    def develop(self, content: bytes, name: str = "photo.dng", **fields: str) -> httpx.Response:
        return self.client.post("/develop", files={"file": (name, content)}, data=fields)

    def begin(self, content: bytes, name: str = "photo.dng", **fields: str) -> str:
        answer = self.client.post("/jobs", files={"file": (name, content)}, data=fields)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def end(self, id: str) -> dict[str, Any]:
        """What is known of a job when it has ended."""

        def ended() -> dict[str, Any]:
            told: dict[str, Any] = self.client.get(f"/jobs/{id}").json()
            return told if told["state"] in ("done", "failed", "cancelled") else {}

        found: dict[str, Any] = soon(ended)
        return found

    def files(self) -> list[str]:
        """Names of the files below the server's folder; what the server removes meanwhile may be left out."""
        walked = os.walk(self.folder)  # Path.rglob raises where a folder goes away before it is looked into
        return sorted(
            str((Path(where) / name).relative_to(self.folder)) for where, _, names in walked for name in names
        )


def soon(look: Callable[[], Any], seconds: float = 60) -> Any:
    """What a function returns as soon as that is true."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := look():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come about")


@contextlib.contextmanager
def served(folder: Path, limits: Limits = Limits(), worker: Sequence[str] | None = None) -> Iterator[Served]:
    """A server during a `with` block; its workers pretend unless `worker` is ()."""
    pretending = [sys.executable, "-I", "-S", "-c", PRETENDING]
    listening = listen("127.0.0.1", 0)
    app = create_app(folder, limits, worker=pretending if worker is None else worker)
    server = make_server(app)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    soon(lambda: server.started)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, timeout=120) as client:
            yield Served(url, client, app.state.store, folder)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def refusal(answer: httpx.Response, status: int, kind: str) -> str:
    """The sentence of an answer that refuses."""
    assert answer.status_code == status, answer.text
    told = answer.json()
    assert told["kind"] == kind
    sentence = str(told["error"])
    assert sentence
    assert "\n" not in sentence
    return sentence
