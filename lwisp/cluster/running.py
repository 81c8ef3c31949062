"""The client of a Dask cluster: hands out files, and goes on when workers or the scheduler are lost."""

import contextlib
import queue
import secrets
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

from lwisp.batch import Outcome, checked
from lwisp.cluster.worker import Refusal, Request, Shut, check, develop_one, other_version
from lwisp.engines.backends import preferred
from lwisp.engines.engine import check_request
from lwisp.engines.threads import default_threads, share_of_threads
from lwisp.errors import ArgumentError, InputError, one_line
from lwisp.files.optional import DASK_LOG, need
from lwisp.files.writing import temporary_folder
from lwisp.planning import Job

LOCAL = "local"
"""Address that stands for workers on this machine, which are started and ended with the work."""
CONNECT = 10.0
"""Seconds for a scheduler to answer."""
WAIT = 60.0
"""Seconds for the first worker to join."""
RETURN = 300.0
"""Seconds for a lost scheduler to come back, or for a worker where all are lost."""
TICK = 1.0
"""Seconds after which the scheduler and its workers are looked at where nothing is done meanwhile."""
LOOK = 5.0
"""Seconds after which they are in any case."""
AHEAD = 2
"""Files that a worker's thread has or will have next."""
GONE = ("cancelled", "lost")
"""States of futures of which the scheduler knows nothing any more."""
ATTEMPTS = 3
"""How often a file is handed out where the cluster, and not the file, seems to fail."""
DEATHS = 4
"""How often all workers that might take a file end before it becomes a suspect; Dask's own bound for one of them."""


@dataclass(frozen=True)
class Patience:
    """Seconds to wait for what may come."""

    connect: float = CONNECT
    first: float = WAIT
    again: float = RETURN


def develop_on(
    cluster: str,
    request: Request,
    jobs: list[Job],
    parallel: int = 1,
    tell: Callable[[str], None] = lambda message: None,
    patience: Patience = Patience(),
) -> Iterator[Outcome]:
    """Develop files on a Dask cluster; whatever goes wrong with one, and whichever worker is lost, the others are done.

    Args:
        cluster: Address of a scheduler, as "tcp://host:8786", or `LOCAL`.
        request: What is asked of all workers.
        jobs: From `cluster.sources.plan`.
        parallel: Workers of `LOCAL`, each with its share of the threads.
        tell: Called with what the user should know: workers that are not taken, a scheduler that is lost.
        patience: How long is waited for scheduler and workers.

    Returns:
        What became of each file, as it is done, in no certain order. Closing it ends the work.

    Raises:
        InputError: Before any work: the scheduler does not answer, it has no worker that fits, or the request cannot be
            carried out. While it goes on: the scheduler, or all workers, have gone and do not come back.
    """
    request.settings.check()
    check_request(request.backend, request.precision, request.memory)
    listed = checked(jobs, request.settings.finish)
    if request.settings.same_as is not None:
        raise ArgumentError("a sequence is developed on one machine; drop the cluster, or the common exposure")
    stack = ExitStack()
    try:
        scheduler = stack.enter_context(_local(parallel)) if cluster == LOCAL else _checked_address(cluster)
        run = _Run(scheduler, replace(request, run=secrets.token_hex(8)), listed, tell, patience)
        stack.callback(run.close)
        run.connect(patience.connect)
        run.wait_for_workers(patience.first)
    except _LostError as error:
        stack.close()
        raise InputError(f"{cluster}: the scheduler was lost before any work was begun") from error
    except BaseException:
        stack.close()
        raise
    outcomes = _outcomes(stack, run)
    next(outcomes)  # from now on its end ends the cluster, also where nobody asks for a file
    return outcomes


def _outcomes(stack: ExitStack, run: "_Run") -> Iterator[Any]:
    with stack:
        yield None
        yield from run.outcomes()


def _checked_address(address: str) -> str:
    text = address if "://" in address else f"tcp://{address}"
    scheme, _, rest = text.partition("://")
    host, _, port = rest.rpartition(":")
    if scheme not in ("tcp", "tls", "ws", "wss") or not host or not port.isdecimal() or "," in rest:
        raise ArgumentError(
            f"--cluster {address}: expected the address of one scheduler, as tcp://host:8786, or {LOCAL!r}"
        )
    return text


@contextlib.contextmanager
def _local(workers: int) -> Iterator[Any]:
    """Worker processes on this machine, with a scheduler in this process that nobody else can talk to."""
    preferred()  # an engine that is missing is said before anything is started
    distributed = need("distributed", "a cluster")
    need("cryptography", "a cluster on this machine, whose connections are encrypted,")
    security = need("distributed.security").Security.temporary()
    threads = share_of_threads(workers) or default_threads()
    with temporary_folder() as folder:
        private = need("dask").config.set(
            {
                "temporary-directory": str(folder),  # else a common one, which is searched for modules
                "distributed.scheduler.http.routes": [],
                "distributed.worker.http.routes": [],
            }
        )
        try:
            with private:
                cluster = distributed.LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    host="127.0.0.1",
                    security=security,
                    protocol="tls://",
                    dashboard_address="127.0.0.1:0",
                    worker_dashboard_address="127.0.0.1:0",
                    memory_limit=0,  # --memory bounds it
                    local_directory=str(folder),
                    silence_logs=50,
                    preload=["lwisp.cluster.preload"],
                    env={"OMP_NUM_THREADS": str(threads), DASK_LOG: "critical"},
                )
        except (OSError, RuntimeError, TimeoutError) as error:
            raise InputError(f"workers cannot be started on this machine: {one_line(error)}") from error
        try:
            yield cluster
        finally:
            with contextlib.suppress(Exception):
                cluster.close(timeout=10)


class _LostError(Exception):
    """The scheduler, or the connection to it, is gone."""


class _Run:
    """Files handed out to workers, and taken back from those that are lost."""

    def __init__(
        self, scheduler: Any, request: Request, jobs: list[Job], tell: Callable[[str], None], patience: Patience
    ) -> None:
        self.scheduler, self.request, self.jobs, self.tell, self.patience = scheduler, request, jobs, tell, patience
        self.distributed = need("distributed", "a cluster")
        self.client: Any = None
        self.name = f"develop-{request.run}"
        """Of this work among that of others."""
        self.waiting = deque(range(len(jobs)))
        self.suspects: deque[int] = deque()
        """Files during which workers died: handed out last, one at a time, so that only the guilty one fails."""
        self.alone: set[int] = set()
        """Suspects that are handed out again."""
        self.out: dict[int, Any] = {}
        """Futures of the files that are handed out."""
        self.given: dict[int, frozenset[str]] = {}
        """The workers that may take them: those that fitted when they were handed out."""
        self.deaths: Counter[int] = Counter()
        """How often all of these ended."""
        self.ended: deque[Outcome] = deque()
        """Of files that were given up meanwhile."""
        self.attempts: Counter[int] = Counter()
        self.done: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.threads: dict[str, int] = {}
        """Of each worker."""
        self.unfit: dict[str, str] = {}
        """Why workers are not taken, by their address."""
        self.has_silent = False
        """Whether a worker did not answer when it was last asked, for it is starting or ending."""
        self.looked = time.monotonic()
        self.round = 0
        """How often a file was handed out."""

    def connect(self, seconds: float) -> None:
        """Connect to the scheduler, within so many seconds."""
        found: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def connect() -> None:
            try:
                found.put(self.distributed.Client(self.scheduler, timeout=seconds, set_as_default=False))
            except Exception as error:  # of a scheduler that is none, whatever answers there
                found.put(error)

        threading.Thread(target=connect, daemon=True).start()  # Dask waits for ever for what is silent
        try:
            client = found.get(timeout=seconds + TICK)
        except queue.Empty as error:
            client = error
        if isinstance(client, Exception):
            raise InputError(
                f"{self.scheduler}: no Dask scheduler answers there within {seconds:.0f} s; start one: dask scheduler"
            ) from client
        self.client = client

    def close(self) -> None:
        """Take back what is handed out, and leave the cluster."""
        if self.client is not None:
            with contextlib.suppress(Exception):
                self.client.cancel(list(self.out.values()), force=True)
            with contextlib.suppress(Exception):
                self.client.close(timeout=2)
        self.client = None

    def wait_for_workers(self, seconds: float) -> None:
        """Wait for a worker that fits, within so many seconds.

        Raises:
            InputError: There is none, or none that fits.
        """
        deadline = time.monotonic() + seconds
        while True:
            self._look()
            if self._fit():
                return
            if self.unfit and (not (self.round or self.has_silent) or time.monotonic() > deadline):
                raise InputError(f"no worker can do it; {next(iter(self.unfit.values()))}")
            if time.monotonic() > deadline:
                raise InputError(
                    f"the scheduler has no workers, none came within {seconds:.0f} s; start one: dask worker ADDRESS"
                )
            time.sleep(min(TICK, seconds))

    def _fit(self) -> list[str]:
        return [address for address in self.threads if address not in self.unfit]

    def _look(self) -> None:
        """See which workers there are, and check those that are new."""
        try:
            threads = dict(self.client.nthreads())
            new = [address for address in threads if address not in self.threads]
            silent = self._check(new) if new else []
            for address in silent:
                del threads[address]  # and ask again another time
        except Exception as error:
            raise _LostError from error
        self.looked = time.monotonic()
        self.threads, self.has_silent = threads, bool(silent)
        self.unfit = {address: reason for address, reason in self.unfit.items() if address in threads}

    def _check(self, new: list[str]) -> list[str]:
        """Leave out those of some workers that do not fit.

        Returns:
            Those that did not answer, for they are starting or ending.
        """
        ours = version("lwisp")
        theirs = self.client.run(version, "lwisp", workers=new, on_error="return")
        same, silent = [], []
        for address in new:
            found = theirs.get(address)
            if found == ours:
                same.append(address)
            elif isinstance(found, str):
                self._leave_out(address, other_version(found, ours))
            elif isinstance(found, ImportError):
                self._leave_out(address, f"it has no lwisp; pip install 'lwisp[cluster]=={ours}' there")
            else:
                silent.append(address)
        told = self.client.run(check, self.request, workers=same, on_error="return") if same else {}
        for address in same:
            found = told.get(address)
            if found is None or isinstance(found, OSError):
                silent.append(address)
            elif found:
                reason = f"it cannot be asked: {one_line(found)}" if isinstance(found, Exception) else str(found)
                self._leave_out(address, reason)
        return silent

    def _leave_out(self, address: str, reason: str) -> None:
        if address not in self.unfit:
            self.unfit[address] = f"worker {address} is not taken: {reason}"
            self.tell(self.unfit[address])

    def outcomes(self) -> Iterator[Outcome]:
        """Hand out all files, and give what became of each."""
        while self.waiting or self.suspects or self.out:
            outcome = None
            try:
                if time.monotonic() > self.looked + LOOK:
                    self._check_all()
                self._hand_out()
                number = self._next()
                if number is None:
                    self._check_all()
                else:
                    outcome = self._take(number)
            except _LostError:
                self._come_back()
            if outcome is not None:
                yield outcome
            if isinstance(outcome, Shut):
                yield from self._refused_like(outcome)
            while self.ended:
                yield self.ended.popleft()

    def _refused_like(self, shut: Shut) -> Iterator[Outcome]:
        """Give up all files that wait, and whose pictures would go to the bucket that refused one."""
        for _ in range(len(self.waiting)):
            number = self.waiting.popleft()
            job = self.jobs[number]
            if job.output.parts[:2] == shut.output.parts[:2]:
                yield Outcome(job.source, job.output, shut.error.replace(str(shut.output), str(job.output)), shut.kind)
            else:
                self.waiting.append(number)

    def _next(self) -> int | None:
        """A file of which something is known; None where nothing is for a while."""
        try:
            return self.done.get(timeout=TICK)
        except queue.Empty:
            return None

    def _hand_out(self) -> None:
        if not self.waiting and not self.out and self.suspects:
            self.alone.add(self.suspects[0])
            self.waiting.append(self.suspects.popleft())
        fit = self._fit()
        room = AHEAD * sum(self.threads[address] for address in fit) - len(self.out)
        for _ in range(min(room, len(self.waiting))):
            number = self.waiting.popleft()
            self.round += 1
            key = (self.name, self.round)
            try:
                future = self.client.submit(
                    develop_on_worker, self.request, self.jobs[number], key=key, pure=False, retries=0, workers=fit
                )
            except Exception as error:
                self.waiting.appendleft(number)
                raise _LostError from error
            self.out[number], self.given[number] = future, frozenset(fit)
            future.add_done_callback(lambda _, number=number: self.done.put(number))

    def _check_all(self) -> None:
        """See whether scheduler and workers are there, and which workers have come."""
        if self.client.status != "running" or any(future.status in GONE for future in self.out.values()):
            raise _LostError
        self._look()
        if not self._fit():
            self.wait_for_workers(self.patience.again)
        self._take_back()

    def _take_back(self) -> None:
        """Take back the files whose workers have all ended or no longer fit: no other worker may take them."""
        fit = set(self._fit())
        orphans = [
            number for number, future in self.out.items() if not future.done() and fit.isdisjoint(self.given[number])
        ]
        for number in reversed(orphans):
            future = self.out.pop(number)
            self.deaths[number] += self.given[number].isdisjoint(self.threads)
            if self.deaths[number] < DEATHS:
                self.waiting.appendleft(number)
            elif (outcome := self._suspect(number, DEATHS)) is not None:
                self.ended.append(outcome)
            try:
                self.client.cancel([future], force=True)
            except Exception as error:
                raise _LostError from error

    def _take(self, number: int) -> Outcome | None:
        """What became of a file; None where it is handed out again."""
        future = self.out.get(number)
        if future is None or not future.done():
            return None  # of a future that was given up
        if future.status in GONE:
            raise _LostError
        del self.out[number]
        error = future.exception(timeout=CONNECT) if future.status == "error" else None
        if error is None:
            try:
                result = future.result(timeout=CONNECT)
            except Exception as failure:  # the worker died with it
                error = failure
        if error is not None:
            return self._failed(number, error)
        if isinstance(result, Refusal):
            self._leave_out(result.address, result.reason)
            self.waiting.append(number)  # the worker is to blame, and gets no more
            return None
        assert isinstance(result, Outcome)
        return result

    def _failed(self, number: int, error: BaseException) -> Outcome | None:
        if isinstance(error, self.distributed.scheduler.KilledWorker):
            return self._suspect(number, error.allowed_failures + 1)
        if isinstance(error, ImportError) and self._finds_unfit(number):
            return None
        return self._again(number, one_line(error if isinstance(error, Exception) else Exception(error)))

    def _suspect(self, number: int, deaths: int) -> Outcome | None:
        """Hand out a file again alone, or give it up where it was."""
        if number in self.alone:
            return self._give_up(
                number,
                f"the worker died {deaths} times while it was developed, for want of memory or by a fault in a decoder",
                "crash",
            )
        self.deaths[number] = 0
        self.suspects.append(number)
        return None

    def _finds_unfit(self, number: int) -> bool:
        """Check all workers anew, for Dask does not say which one failed; where one no longer fits, the file waits."""
        before = set(self._fit())
        self.threads = {}
        self.waiting.append(number)
        self._look()
        if before <= set(self._fit()):
            self.waiting.pop()
            return False
        return True

    def _again(self, number: int, reason: str) -> Outcome | None:
        self.attempts[number] += 1
        if self.attempts[number] >= ATTEMPTS:
            return self._give_up(number, reason, "other")
        self.waiting.append(number)
        return None

    def _give_up(self, number: int, reason: str, kind: str) -> Outcome:
        job = self.jobs[number]
        return Outcome(job.source, job.output, f"{job.source}: {reason}", kind)

    def _come_back(self) -> None:
        """Connect again to a scheduler that was lost, and hand out again what was out."""
        self.tell("the scheduler is lost; waiting for it to come back")
        self.waiting.extendleft(reversed(self.out))
        self.close()
        self.out.clear()
        self.threads, self.unfit = {}, {}
        deadline = time.monotonic() + self.patience.again
        while True:
            try:
                self.connect(self.patience.connect)
                self.wait_for_workers(max(0.0, deadline - time.monotonic()))
            except (InputError, _LostError) as error:
                self.close()
                if time.monotonic() > deadline:
                    raise InputError(
                        f"the scheduler is lost, and did not come back within {self.patience.again:.0f} s; the same "
                        "command goes on from what is done"
                    ) from error
                time.sleep(TICK)
            else:
                self.tell("the scheduler is back")
                return


def develop_on_worker(request: Request, job: Job) -> Outcome | Refusal:
    """`develop_one`, with the address of the worker that it runs in."""
    return develop_one(request, job, need("distributed").get_worker().address)
