"""The process that opens strangers' files: `python -m lwisp.serve.worker LIMITS` works on requests, one a line.

A request is a JSON object on stdin, every answer one on stdout, the first when it is ready. The process bounds its own
memory and processor time before it reads any, and ends with its stdin. Nothing of what it says is unpickled.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from lwisp.errors import InputError, kind_of, tell_failure
from lwisp.pipeline import Developer
from lwisp.serve.limits import Limits

Told = dict[str, Any]
Tell = Callable[[Told], None]

KEPT_NETWORKS = 3
"""Networks that stay loaded for the next picture."""
MOST_WRITTEN = 4 * 10**9
"""Bytes of a file that a worker may write."""


def main() -> None:
    """Work on requests until stdin ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what libraries print is no answer
    limits = Limits(**json.loads(sys.argv[1]))
    bound_process(limits)
    worker = Worker(limits)
    answers.write('{"ready": true}\n')
    answers.flush()
    for line in sys.stdin:
        answer(worker, json.loads(line), answers)


def answer(worker: "Worker", request: Told, answers: TextIO) -> None:
    """Carry out one request, and write what becomes of it.

    Args:
        worker: Does it.
        request: "task" is "develop" or "before"; see there.
        answers: Gets objects with "step" while it goes on, and at the end one with "done", or with "error" and "kind".
    """

    def tell(told: Told) -> None:
        answers.write(json.dumps(told) + "\n")
        answers.flush()

    source = Path(request["source"])
    try:
        bound_time(worker.limits.seconds)
        task = worker.develop if request["task"] == "develop" else worker.show_before
        tell({"done": task(source, request, tell)})
    except Exception as error:  # any failure is this file's
        tell({"error": without_paths(tell_failure(source, error), source, request["name"]), "kind": kind_of(error)})


def bound_process(limits: Limits) -> None:
    """Bound the memory that this process may map and the files that it may write; no memory is dumped if it dies.

    Windows has no such bounds; there a worker is held to the time that the server waits for it.
    """
    try:
        import resource
    except ImportError:  # Windows
        return
    for kind, most in (
        (resource.RLIMIT_AS, limits.address_space),
        (resource.RLIMIT_FSIZE, MOST_WRITTEN),
        (resource.RLIMIT_CORE, 0),
    ):
        with suppress(ValueError, OSError):  # where the system, as macOS, does not keep such a bound
            _, hard = resource.getrlimit(kind)
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(kind, (most, most))


def bound_time(seconds: float) -> None:
    """Bound the processor time of this process to so many seconds of all processors from now on; not on Windows."""
    try:
        import resource
    except ImportError:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    most = int(used.ru_utime + used.ru_stime + seconds * (os.cpu_count() or 1)) + 1
    with suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))


def without_paths(sentence: str, source: Path, name: str) -> str:
    """A message with the name that the client gave its file in place of the server's paths."""
    return sentence.replace(str(source), name).replace(f"{source.parent}{os.sep}", "")


class Worker:
    """Develops RAWs; the networks stay loaded.

    Args:
        limits: Of the server.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.prepared: list[Developer] = []

    def develop(self, source: Path, request: Mapping[str, Any], tell: Tell) -> Told:
        """Develop a RAW as `lwisp develop` does, by the same function.

        Args:
            source: The RAW.
            request: "knobs" as fields of `Knobs`, "output" the picture to write, "camera" where the camera's own
                picture is to be written, or null.
            tell: Called with {"step": "reading"}, then {"step": "developing"} with facts of the photo.

        Returns:
            "notes", "weights", "seconds", "pixels".

        Raises:
            InputError: As `develop_files`, or the RAW cannot be developed.
        """
        from lwisp.development import develop_files
        from lwisp.files.linear import AnyRaw, read_any
        from lwisp.planning import Job
        from lwisp.serve.knobs import Knobs
        from lwisp.serve.photo_facts import camera_picture, facts_of, frame_of

        knobs = Knobs(**request["knobs"])
        del self.prepared[:-KEPT_NETWORKS]

        def read(path: Path) -> AnyRaw:
            tell({"step": "reading"})
            raw = read_any(path)
            has_camera = request["camera"] is not None and camera_picture(raw, Path(request["camera"]))
            tell({"step": "developing", "facts": facts_of(raw), "frame": frame_of(raw), "has_camera": has_camera})
            return raw

        limits = self.limits
        job = Job(source, Path(request["output"]), knobs.format, is_named=True)
        (outcome,) = develop_files(
            knobs.choice(),
            [job],
            knobs.settings(),
            limits.precision,
            limits.backend,
            limits.memory,
            limits.jobs,
            read=read,
            prepared=self.prepared,
        )
        if outcome.error:
            raise FailedError(outcome.error, outcome.kind)
        notes = [without_paths(note, source, request["name"]) for note in outcome.notes]
        return {
            "notes": notes,
            "weights": outcome.weights,
            "seconds": round(outcome.seconds, 3),
            "pixels": outcome.pixels,
        }

    def show_before(self, source: Path, request: Mapping[str, Any], tell: Tell) -> Told:
        """Write rawpy's default picture of a RAW as a JPEG, of what the developed one shows.

        Args:
            source: The RAW.
            request: "output" the JPEG to write, "frame" from `frame_of`.
            tell: Not called.

        Returns:
            Nothing.

        Raises:
            InputError: LibRaw cannot do it.
        """
        from lwisp.serve.photo_facts import rawpy_picture

        rawpy_picture(source, Path(request["output"]), request["frame"])
        return {}


class FailedError(InputError):
    """What became of a file, as an error again.

    Args:
        message: The sentence.
        kind: One word for programs.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


def command(limits: Limits) -> list[str]:
    """The command that starts a worker.

    Args:
        limits: Of the server.
    """
    return [sys.executable, "-P", "-m", "lwisp.serve.worker", json.dumps(asdict(limits))]  # -P: nothing of this folder


if __name__ == "__main__":
    main()
