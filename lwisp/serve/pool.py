"""Worker processes and the queue before them; whatever becomes of one, the others and the next job are not harmed."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from lwisp.errors import OutOfMemoryError, log
from lwisp.serve.limits import Limits
from lwisp.serve.refusals import BUSY, FAILED, STOPPED, UNUSABLE, RefusedError
from lwisp.serve.worker import FailedError, command

MOST_LINE = 2**20
"""Bytes of an answer."""
START = 120.0
"""Seconds in which a worker must be ready."""
FIRST_GUESS = 10.0
"""Seconds of a picture before any was made."""

ALLOCATOR = {"MALLOC_ARENA_MAX": "2"}
"""glibc gives each thread a heap of its own, and photos' arrays leave holes in all of them: the memory of a worker grew
by 44 MB in 240 photos, with two heaps by 2."""

Told = dict[str, Any]


class Task:
    """One request to a worker, and what becomes of it.

    Args:
        request: As `worker.answer` takes it.
        tell: Called with each object that has a "step".
    """

    def __init__(self, request: Told, tell: Callable[[Told], None]) -> None:
        self.request = request
        self.tell = tell
        self.result: asyncio.Future[Told] = asyncio.get_running_loop().create_future()
        self.result.add_done_callback(lambda result: result.cancelled() or result.exception())  # it need not be read

    def fail(self, error: Exception) -> None:
        """End it with an error, if it has not ended."""
        if not self.result.done():
            self.result.set_exception(error)


class Pool:
    """Workers, each started anew when it dies; used as `async with`.

    Args:
        limits: How many, how many tasks may wait, how long one may take.
        worker: The command that starts a worker, if it is not lwisp's own.
        is_verbose: Let workers print to stderr.
    """

    def __init__(self, limits: Limits, worker: Sequence[str] = (), is_verbose: bool = False) -> None:
        self.limits = limits
        self.worker = list(worker) or command(limits)
        self.is_verbose = is_verbose
        self.waiting: deque[Task] = deque()
        self.running: dict[Task, asyncio.Task[Told]] = {}
        self.usual_seconds = FIRST_GUESS
        self._arrived = asyncio.Condition()
        self._slots: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> "Pool":
        self._slots = [asyncio.create_task(self._serve()) for _ in range(self.limits.jobs)]
        return self

    async def __aexit__(self, *_: object) -> None:
        for slot in self._slots:
            slot.cancel()
        await asyncio.gather(*self._slots, return_exceptions=True)
        for task in self.waiting:
            task.fail(RefusedError(STOPPED, "stopped", "the server was stopped"))

    @property
    def is_full(self) -> bool:
        """Whether no more tasks may wait."""
        return len(self.waiting) >= self.limits.queue

    def busy(self) -> RefusedError:
        """The refusal of a task for which there is no room, with the time after which there should be."""
        wait = max(1, round(self.usual_seconds * (1 + len(self.waiting) / 2) / self.limits.jobs))
        count = len(self.waiting)
        return RefusedError(BUSY, "busy", f"{count} pictures wait already; try again in {wait} seconds", wait)

    def place_of(self, task: Task | None) -> int:
        """How many are to be worked on before a task that waits; 0 of one that does not."""
        return self.waiting.index(task) + 1 if task is not None and task in self.waiting else 0

    async def submit(self, request: Told, tell: Callable[[Told], None], is_small: bool = False) -> Task:
        """Let a worker carry out a request.

        Args:
            request: As `worker.answer` takes it.
            tell: Called with each object that has a "step".
            is_small: It takes little time: it goes before the others, and is taken however many wait.

        Returns:
            The task; `Task.result` raises `InputError`.

        Raises:
            RefusedError: The queue is full.
        """
        if self.is_full and not is_small:
            raise self.busy()
        task = Task(request, tell)
        if is_small:
            self.waiting.appendleft(task)
        else:
            self.waiting.append(task)
        async with self._arrived:
            self._arrived.notify()
        return task

    def cancel(self, task: Task) -> None:
        """Give up a task; the worker that is at it is ended, for nothing else stops a decoder."""
        with contextlib.suppress(ValueError):
            self.waiting.remove(task)
        task.fail(RefusedError(UNUSABLE, "cancelled", "cancelled"))
        if task in self.running:
            self.running[task].cancel()

    async def _serve(self) -> None:
        """One slot: a worker, and one task after the other for it."""
        process: asyncio.subprocess.Process | None = None
        count = 0
        try:
            while True:
                if process is None or process.returncode is not None:
                    process, count = await self._start(), 0
                if process is None:
                    await self._give_up()
                    continue
                async with self._arrived:
                    await self._arrived.wait_for(lambda: self.waiting)
                    task = self.waiting.popleft()
                count += 1
                if not await self._carry_out(task, process) or count == self.limits.renewal:
                    await _end(process)
        finally:
            if process is not None:
                await _end(process)

    async def _start(self) -> asyncio.subprocess.Process | None:
        """A worker that is ready; None where none can be had."""
        process = None
        try:
            process = await asyncio.create_subprocess_exec(
                *self.worker,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=None if self.is_verbose else asyncio.subprocess.DEVNULL,
                limit=MOST_LINE,
                env={**ALLOCATOR, **os.environ},
                start_new_session=True,  # Ctrl-C is the server's, which ends them
            )
            assert process.stdout is not None
            if await asyncio.wait_for(process.stdout.readline(), START):
                return process
        except (OSError, TimeoutError, ValueError) as error:
            log.debug("worker", exc_info=error)
        except asyncio.CancelledError:
            if process is not None:
                await _end(process)
            raise
        if process is not None:
            await _end(process)
        return None

    async def _give_up(self) -> None:
        """Fail what waits, where no worker can be started, and wait a moment before the next try."""
        message = "no process can be started that opens files; lwisp serve --verbose shows why"
        for task in [*self.waiting]:
            self.waiting.remove(task)
            task.fail(RefusedError(FAILED, "worker", message))
        await asyncio.sleep(1)

    async def _carry_out(self, task: Task, process: asyncio.subprocess.Process) -> bool:
        """Let a worker do a task; whether the worker can go on."""
        began = time.monotonic()
        talk = asyncio.create_task(_talk(task, process))
        self.running[task] = talk
        try:
            done, _ = await asyncio.wait([talk], timeout=self.limits.seconds)
        except asyncio.CancelledError:
            talk.cancel()
            task.fail(RefusedError(STOPPED, "stopped", "the server was stopped"))
            raise
        finally:
            del self.running[task]
        name = task.request["name"]
        if not done:
            talk.cancel()
            task.fail(FailedError(f"{name}: took longer than {self.limits.seconds:g} seconds and was given up", "time"))
            return False
        if talk.cancelled():
            return False
        error = talk.exception()
        if error is None:
            if not task.result.done():
                task.result.set_result(talk.result())
            if task.request["task"] == "develop":
                self.usual_seconds = (self.usual_seconds + time.monotonic() - began) / 2
            return True
        if isinstance(error, FailedError):
            task.fail(error)
            return True
        task.fail(_of_death(name, process.returncode))  # None where it lives still, and talks nonsense
        return False


async def _talk(task: Task, process: asyncio.subprocess.Process) -> Told:
    """What a worker answers at the end; raises `FailedError` where the file fails, another where the worker does."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(task.request).encode() + b"\n")
    await process.stdin.drain()
    while True:
        line = await process.stdout.readline()
        if not line:
            await asyncio.wait_for(process.wait(), 5)
            raise EOFError
        told = json.loads(line)
        if "error" in told:
            raise FailedError(str(told["error"]), str(told["kind"]))
        if "done" in told:
            return dict(told["done"])
        task.tell(told)


def _of_death(name: str, code: int | None) -> FailedError:
    """What is said of a file whose worker died."""
    if _is_signal(code, "SIGXCPU"):
        return FailedError(f"{name}: took more processor time than is allowed", "time")
    if _is_signal(code, "SIGKILL", "SIGABRT"):
        return FailedError(
            f"{name}: the process that read it was ended, which lack of memory does", OutOfMemoryError.kind
        )
    return FailedError(f"{name}: the process that read it died; the file is damaged, or made to do that", "crash")


def _is_signal(code: int | None, *names: str) -> bool:
    """Whether a process that ended with this code was ended by one of these signals, of which Windows has few."""
    return code in [-getattr(signal, name) for name in names if hasattr(signal, name)]


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a worker, whatever it is doing."""
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
