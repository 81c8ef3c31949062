"""The one training loop, for student, teacher and any baseline; resumable at any step, in one process or many.

Batches and learning rate are functions of the step alone, so a run that was stopped goes on bit for bit.
"""

import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lwisp.data.sources import Data
from lwisp.errors import InputError, one_line, unmarked
from lwisp.files.runs import run_folder
from lwisp.files.writing import check_output
from lwisp.training.boards import Logger
from lwisp.training.log import Log
from lwisp.training.objectives import Objective
from lwisp.training.progress import Reporter
from lwisp.training.recipe import Recipe, learning_rate
from lwisp.training.state import State
from lwisp.training.validation import Validation
from lwisp.training.workers import choose_workers

if TYPE_CHECKING:
    from lightning_fabric import Fabric

BETAS = (0.9, 0.99)
"""Of AdamW. With 0.999, a longer memory of squared gradients, the network, which has no normalization, diverged."""


class DivergedError(InputError):
    """The loss or the network's average is no longer finite."""


@dataclass(frozen=True)
class Run:
    """One training run: what it trains on and with, and where it writes."""

    fabric: "Fabric"
    recipe: Recipe
    data: Data
    output: Path
    """The weights; `run_folder(output)` keeps the progress."""
    reporter: Reporter = field(default_factory=Reporter)
    """Told of every step."""
    logger: Logger = "tensorboard"
    """Board of the curves."""

    @property
    def folder(self) -> Path:
        """The run folder."""
        return run_folder(self.output)


def fit(run: Run, objective: Objective, write: Callable[[], None]) -> None:
    """Train the objective's network to the end, from the state in the run folder on; leave its moving average in it.

    Args:
        run: what is trained on and with.
        objective: gives the loss of a batch, and holds the network.
        write: called by the first process as soon as the average is final, before the last scores and rows of the log.

    Raises:
        InputError: for a state that cannot be gone on from, and data that cannot be read.
        DivergedError: for a loss that is not finite.
    """
    fabric, recipe, folder, is_first = run.fabric, run.recipe, run.folder, run.fabric.is_global_zero
    network = objective.network.train()
    learned = [value for value in objective.parameters() if value.requires_grad]  # the critic's too
    optimizer = torch.optim.AdamW(learned, lr=recipe.learning_rate, betas=BETAS, fused=True)
    wrapped, optimizer = fabric.setup(objective, optimizer)
    average = {name: value.clone() for name, value in network.state_dict().items()}
    state = State(recipe, run.data.names, network, average, optimizer, objective.critic, objective.memory)
    start, row = state.resume(folder / "state.pt")
    check_output(folder / "state.pt")

    reporter = run.reporter
    shows = is_first and reporter.has_bars
    with (
        reporter.bar(),
        _progress(shows) as progress,
        Log(folder, is_first, start, run.logger, recipe.name) as log,
        _seeded_steps(fabric) as seed_step,
    ):
        validation = Validation(fabric, recipe, run.data, objective, average, log)
        reporter.tell(f"{recipe.name}: reading held-out pictures")
        task = progress.add_task(unmarked(recipe.name), total=recipe.steps, completed=start, note="")
        if start < recipe.steps:
            validation.prepare()
            validation.report(row)  # which a killed process had no time to write
        batches = iter(_loader(run, start))
        reporter.tell(f"{recipe.name}: step {start + 1} of {recipe.steps}")
        steps = _Steps(run, start)
        sums: dict[str, Any] = {}
        count, waited, began = 0, 0.0, time.monotonic()
        for done in range(start + 1, recipe.steps + 1):
            asked = time.monotonic()
            planes, target = _next(batches)
            planes, target = run.data.to_float(fabric.to_device(planes)), run.data.to_float(fabric.to_device(target))
            waited += time.monotonic() - asked

            rate = learning_rate(recipe, done - 1)
            seed_step(recipe.seed * 1_000_003 + done)
            parts = _step(fabric, wrapped, optimizer, planes, target, done - 1, rate, recipe)
            _update_average(average, network, recipe.ema if recipe.start else min(recipe.ema, done / (9 + done)))
            sums = {name: sums.get(name, 0.0) + value for name, value in parts.items()}
            count += 1

            if done % recipe.checkpoint_every == 0 or done == recipe.steps:
                row = {"step": done, **{name: float(total) / count for name, total in sums.items()}}
                _check_finite(row, average, folder)
                seconds = time.monotonic() - began
                row |= {"rate": rate, "seconds": round(seconds, 1), "data_share": round(waited / seconds, 3)}
                if is_first:
                    state.save(folder / "state.pt", done, row)
                    if done < recipe.steps:
                        reporter.tell(f"{recipe.name}: step {done} of {recipe.steps}, held-out pictures")
                        validation.report(row)
                sums, count = {}, 0
                progress.update(task, note=f"loss {row['loss']:.4g}")
            progress.update(task, completed=done)
            steps.tell(done, parts["loss"])
        network.load_state_dict(average)
        if is_first:
            write()
            reporter.tell(f"{recipe.name}: all {recipe.steps} steps are done, held-out pictures")
            validation.report(row)


class _Steps:
    """Tells of steps: the number, the loss, and the seconds left.

    The loss is looked at from time to time only, for to look at it is to wait for a GPU.
    """

    def __init__(self, run: Run, start: int) -> None:
        self.reporter, self.name, self.total, self.start = run.reporter, run.recipe.name, run.recipe.steps, start
        self.began = time.monotonic()
        self.looked = -math.inf
        self.loss = ""

    def tell(self, done: int, loss: Tensor) -> None:
        """Tell of a step that is done; `loss` is its own."""
        now = time.monotonic()
        if now - self.looked >= self.reporter.interval / 4:
            self.looked = now
            self.loss = f"loss {float(loss):.4g}"
        left = (now - self.began) / (done - self.start) * (self.total - done)
        self.reporter.tell(f"{self.name}: step {done} of {self.total}, {self.loss}, {left:.0f} s left")


class _Stored(Dataset[tuple[Tensor, Tensor]]):
    """Batches as they are stored: less to be moved between processes and to a device."""

    def __init__(self, data: Data) -> None:
        self.data = data

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        return self.data.stored(step)


def _loader(run: Run, start: int) -> DataLoader[tuple[Tensor, Tensor]]:
    """This process's share of the batches from a step on: number step * processes + rank of the data's."""
    world_size, rank, recipe = run.fabric.world_size, run.fabric.global_rank, run.recipe
    workers = recipe.workers
    if workers is None:
        local = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
        workers = choose_workers(run.fabric.device.type == "cuda", local, run.data.kept_bytes)
    if workers:
        _check_shared_memory(workers)
    return DataLoader(
        _Stored(run.data),
        batch_size=None,
        sampler=range(start * world_size + rank, recipe.steps * world_size, world_size),
        num_workers=workers,
        multiprocessing_context="forkserver" if workers else None,  # LibRaw's threads do not survive a fork
        pin_memory=run.fabric.device.type == "cuda",
    )


def _check_shared_memory(workers: int) -> None:
    """Raise `InputError` where processes cannot share memory, as in a container without /dev/shm."""
    try:
        multiprocessing.get_context("forkserver").Lock()
    except (OSError, ImportError) as error:
        raise InputError(
            f"workers = {workers} needs memory that processes share (/dev/shm), which cannot be had here: "
            f"{one_line(error)}; workers = 0 makes batches without"
        ) from error


def _next(batches: Iterator[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    try:
        return next(batches)
    except InputError as error:  # a worker's comes wrapped in its traceback
        raise type(error)(str(error).strip().rpartition(f"{type(error).__name__}: ")[2]) from error


def _step(
    fabric: "Fabric",
    objective: nn.Module,
    optimizer: torch.optim.Optimizer,
    planes: Tensor,
    target: Tensor,
    step: int,
    rate: float,
    recipe: Recipe,
) -> dict[str, Tensor]:
    """One step of the optimizer; the loss and its parts."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast(fabric.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        loss, parts = objective(planes, target, step)
    optimizer.zero_grad()
    fabric.backward(loss)
    fabric.clip_gradients(objective, optimizer, max_norm=recipe.clip, error_if_nonfinite=False)
    optimizer.step()
    return {"loss": loss.detach(), **{name: part.detach() for name, part in parts.items()}}


@torch.no_grad()
def _update_average(average: dict[str, Tensor], network: nn.Module, ema: float) -> None:
    current = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    torch._foreach_lerp_([average[name] for name in current], list(current.values()), 1 - ema)


def _check_finite(row: dict[str, Any], average: dict[str, Tensor], folder: Path) -> None:
    if not math.isfinite(row["loss"]):
        raise DivergedError(f"the loss is {row['loss']} at step {row['step']}; the last good state is in {folder}")
    if not all(bool(value.isfinite().all()) for value in average.values()):
        raise DivergedError(f"the network ran away by step {row['step']}; the last good state is in {folder}")


@contextmanager
def _seeded_steps(fabric: "Fabric") -> Iterator[Callable[[int], object]]:
    """What seeds a step, so that dropout draws the same after a stop; the generators are put back after training.

    Dropout takes no generator of its own, only torch's global one.
    """
    devices = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield torch.manual_seed


def _progress(active: bool) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        disable=not active,
    )
