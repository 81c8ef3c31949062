"""The process that develops strangers' files: `python -m lwisp.serve.worker LIMITS` works on requests, one a line.

A request is a JSON object on stdin, every answer one on stdout, the first when it is ready. The process bounds its own
memory and processor time before it reads any, opens files in a sandbox (`lwisp.sandbox`) where the system has one, and
ends with its stdin. Nothing of what it says is unpickled.
"""

import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, ParamSpec, TextIO, TypeVar

from lwisp.errors import InputError, kind_of, tell_failure
from lwisp.pipeline import Developer
from lwisp.sandbox.confinement import Bounds, limit, why_unavailable
from lwisp.sandbox.reader import Sandbox
from lwisp.serve.limits import Limits

P = ParamSpec("P")
T = TypeVar("T")
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
    limit(bounds_of(limits))
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
        limit(bounds_of(worker.limits))
        task = worker.develop if request["task"] == "develop" else worker.show_before
        tell({"done": task(source, request, tell)})
    except Exception as error:  # any failure is this file's
        tell({"error": without_paths(tell_failure(source, error), source, request["name"]), "kind": kind_of(error)})


def bounds_of(limits: Limits) -> Bounds:
    """What a worker, and each process that reads a file for it, may take.

    Args:
        limits: Of the server.
    """
    return Bounds(limits.address_space, limits.seconds, MOST_WRITTEN)


def without_paths(sentence: str, source: Path, name: str) -> str:
    """A message with the name that the client gave its file in place of the server's paths."""
    return sentence.replace(str(source), name).replace(f"{source.parent}{os.sep}", "")


class Worker:
    """Develops RAWs; the networks stay loaded. Files are opened in a sandbox where the system has one.

    Args:
        limits: Of the server.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.prepared: list[Developer] = []
        self.sandbox = None if why_unavailable() else Sandbox(bounds_of(limits))
        if self.sandbox is not None:
            self.sandbox.warm()

    def call(self, read: Callable[P, T], *arguments: P.args, **keywords: P.kwargs) -> T:
        """Call what opens a file, in the sandbox if there is one; raises `InputError`."""
        if self.sandbox is None:
            return read(*arguments, **keywords)
        return self.sandbox.call(read, *arguments, **keywords)

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
        from lwisp.serve.photo_facts import decode_camera_picture, facts_of, frame_of, shown_size, write_jpeg

        knobs = Knobs(**request["knobs"])
        del self.prepared[:-KEPT_NETWORKS]

        def read(path: Path) -> AnyRaw:
            tell({"step": "reading"})
            raw = self.call(read_any, path)
            shown = None
            if request["camera"] is not None and raw.jpeg is not None:
                shown = self.call(decode_camera_picture, raw.jpeg, raw.orientation, shown_size(raw))
            has_camera = shown is not None
            if shown is not None:
                write_jpeg(Path(request["camera"]), *shown)
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
        from lwisp.serve.photo_facts import rawpy_picture, write_jpeg

        write_jpeg(Path(request["output"]), self.call(rawpy_picture, source, request["frame"]))
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
