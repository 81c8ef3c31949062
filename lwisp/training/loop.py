"""The one training loop: student, teacher, any network; resumable at any step, on one process or many.

`train` is the paper's system: a teacher learns to map clean pictures to themselves (equation 7), then the student
learns from the data and imitates it (equation 3). Batches and learning rate are functions of the step alone.
"""

import json
import logging
import math
import os
import pickle
import re
import statistics
import struct
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal

import torch
from pydantic import TypeAdapter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional
from torch.utils.data import DataLoader

from lwisp.baselines import Baseline, build
from lwisp.baselines.config import Architecture
from lwisp.baselines.isps import PyNET
from lwisp.baselines.translation import PatchGAN
from lwisp.data import synthetic
from lwisp.data.cases import Case
from lwisp.data.sources import Data, open_data
from lwisp.engines.torch import channels_last, has_bf16
from lwisp.errors import InputError, OutputError, one_line
from lwisp.files.optional import need
from lwisp.files.tensors import digest_of
from lwisp.files.writing import (
    check_output,
    clear_leftovers,
    is_regular,
    make_folder,
    whole_folder,
    write_text,
    write_whole,
)
from lwisp.imaging import color, metrics
from lwisp.model import LWISP, LWISPConfig, Takes, pad_to_multiple
from lwisp.training import losses
from lwisp.training.initialization import center, initialize
from lwisp.training.provenance import versions
from lwisp.training.recipe import Recipe, learning_rate
from lwisp.weights import WAYS, Card, Weights, load, read_card, save

if TYPE_CHECKING:
    from lightning_fabric import Fabric

DAMAGED = (
    OSError, RuntimeError, ValueError, ArithmeticError, EOFError, LookupError, TypeError, AttributeError,
    struct.error, pickle.UnpicklingError,
)  # fmt: skip
"""What torch raises over damaged files."""
BETAS = (0.9, 0.99)  # a short memory of squared gradients: with 0.999 the network, which has no norms, ran away
CASE_SIDE = 256  # px of the validation crops
STRUCTURES: dict[Takes, str] = {
    "raw": "in_channels = 4 and upsample = true",
    "rgb": "in_channels = 3 and upsample = false",
    "planes": "in_channels = 4, out_channels = 4 and upsample = false",
}
"""What a recipe must say for each of `WAYS`."""
MAY_DIFFER = ("steps", "root", "workers", "precision")  # between the beginning of a run and its going on

Device = Literal["auto", "cpu", "cuda"]


def train_stages(stages: Sequence[Recipe], output: Path, root: Path | None = None, device: Device = "auto") -> Weights:
    """Train one stage after the other, each from the weights of the one before, and write the last one's to `output`.

    The others' weights are kept in the run folder as `stage-1.safetensors` and so on, with run folders of their own;
    the same call goes on with the stage that was stopped. The card names the recipes of all. Otherwise as `train`.
    """
    start = stages[0].start
    for number, recipe in enumerate(stages[:-1], 1):
        path = run_folder(output) / f"stage-{number}.safetensors"
        recipe = replace(recipe, start=start)
        if not path.exists():
            train(recipe, path, root, device, earlier=stages[: number - 1])
        elif not _is_of(path, recipe, root, device):
            raise InputError(f"{path}: trained by another recipe; name another --output")
        start = str(path)
    return train(replace(stages[-1], start=start), output, root, device, earlier=stages[:-1])


def _is_of(path: Path, recipe: Recipe, root: Path | None, device: Device) -> bool:
    """Whether weights were trained by this recipe, by what their card says."""
    known = read_card(path).training.get("recipe", {})
    now = _plain(replace(recipe, root=root or recipe.root, precision=_precision(recipe, device)))
    return all(known.get(key) == now[key] for key in now if key not in MAY_DIFFER or key == "steps")


def train(
    recipe: Recipe,
    output: Path,
    root: Path | None = None,
    device: Device = "auto",
    data: Data | None = None,
    earlier: Sequence[Recipe] = (),
) -> Weights:
    """Train by the recipe, teacher first if it asks for one, and write weights with their card to `output`.

    Progress is kept in the folder `output` + ".run": `run.json` says how the run was made, `state.pt`, replaced as a
    whole, is where the same call goes on, `log.jsonl` and `tensorboard` tell how it went, `teacher.safetensors` is the
    teacher, with such a folder of its own. `root` stands in for the recipe's folder, `data` for all that lies in it.
    Under torchrun every process takes its share of each batch. `earlier` are the recipes of the stages before, for the
    card. Raises `InputError`.
    """
    with _begin(recipe, output, root, device, data) as (recipe, fabric, data):
        if recipe.architecture.takes != data.takes:
            raise InputError(
                f"{recipe.data} data go {WAYS[data.takes]}; expected an architecture with {STRUCTURES[data.takes]}"
            )
        facts: dict[str, Any] = {"recipe": _plain(recipe), "versions": versions(), "pictures": len(data.names)}
        if earlier:
            facts["stages before"] = [_plain(stage) for stage in earlier]
        teacher = None
        if recipe.beta:
            teacher = _get_teacher(fabric, recipe, data, output)
            facts["teacher"] = {"sha256": digest_of(teacher.state_dict())}  # before it moves to a device
        torch.manual_seed(recipe.seed)
        network = build(recipe.architecture)
        if isinstance(network, LWISP):
            initialize(network, recipe.seed)
        if recipe.start:
            _begin_with(network, recipe.start)
        objective = Student(channels_last(network), teacher, recipe)
        return _learn(fabric, recipe, data, objective, facts, output)


def train_teacher(recipe: Recipe, output: Path, root: Path | None = None, device: Device = "auto") -> Weights:
    """Train the teacher that a recipe's student would have, by itself; otherwise as `train`."""
    with _begin(recipe, output, root, device) as (recipe, fabric, data):
        return _teach(fabric, recipe, data, output)


def run_folder(output: Path) -> Path:
    """Where the progress of a run is kept."""
    return output.with_name(output.name + ".run") if output.name else output


class Student(nn.Module):
    """The objective of equation 3: batch -> loss and its parts. `teacher` is held still."""

    def __init__(self, network: LWISP | Baseline, teacher: LWISP | None, recipe: Recipe) -> None:
        super().__init__()
        self.network, self.teacher, self.recipe = network, teacher, recipe
        self.critic = channels_last(PatchGAN()) if recipe.adversarial else None
        if teacher is not None:
            teacher.requires_grad_(False).eval()

    def forward(self, planes: Tensor, target: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        recipe = self.recipe
        planes = planes.to(memory_format=torch.channels_last)
        if recipe.by_level:
            rgb = self._level(planes, step)
            target = functional.interpolate(target, rgb.shape[-2:], mode="area")
        elif self.teacher is None or not isinstance(self.network, LWISP):  # only LW-ISP imitates
            rgb = self.network(planes)
        else:
            blocks = self.network.blocks(planes, (*recipe.distill, "up4"))
            rgb = self.network.finish(blocks["up4"], planes)
            with torch.no_grad():
                guide = self.teacher.blocks(target.to(memory_format=torch.channels_last), recipe.distill)
        with torch.autocast(target.device.type, enabled=False):
            rgb = rgb.float()
            if recipe.architecture.takes == "planes":  # compared as they are seen, or shadows would not count
                rgb, target = color.srgb_encode(rgb), color.srgb_encode(target)
            compare = losses.logarithmic if recipe.logarithmic else losses.reconstruction
            compare = losses.apart if recipe.apart else compare
            parts = {"reconstruction": compare(rgb, target)}
            nothing = torch.zeros_like(parts["reconstruction"])
            structural = distilled = nothing
            tiny = recipe.by_level and min(rgb.shape[-2:]) < metrics.smallest_side(recipe.scales)
            if recipe.alpha and not tiny:
                parts["structure"] = structural = losses.structure(rgb, target, recipe.scales)
            if self.teacher is not None:
                own, guide = ({name: x[name].float() for name in recipe.distill} for x in (blocks, guide))
                if recipe.architecture.scale == 2:  # planes of half the size are not padded to the same pixels
                    own = losses.within_frame(own, (planes.shape[-2], planes.shape[-1]))
                    guide = losses.within_frame(guide, (target.shape[-2], target.shape[-1]))
                parts["distillation"] = distilled = losses.distillation(own, guide, recipe.distill)
            loss = losses.overall(structural, parts["reconstruction"], distilled, recipe.alpha, recipe.beta)
        if self.critic is not None:
            with torch.autocast(target.device.type, enabled=False):
                parts |= _play(self.critic, planes, rgb, target)
            loss = loss + recipe.adversarial * parts["adversarial"] + parts["discrimination"]
        return loss, parts

    def _level(self, planes: Tensor, step: int) -> Tensor:
        """The picture of the level that is trained at this step."""
        assert isinstance(self.network, Baseline)
        assert isinstance(self.network.network, PyNET)
        level = max(5 - 6 * step // self.recipe.steps, 0)
        return self.network.network.pictures(pad_to_multiple(planes), level)[-1]

    def judge(self, case: Case) -> tuple[Tensor, Tensor]:
        """What is compared in validation: what the network makes of a case, and the truth."""
        return self.network(case.planes[None])[0], case.target


def _play(critic: PatchGAN, planes: Tensor, rgb: Tensor, target: Tensor) -> dict[str, Tensor]:
    """Both sides of Pix2Pix's game: what the network has to gain does not move the critic, nor the other way."""
    held = {name: value.detach() for name, value in critic.named_parameters()}
    return {
        "adversarial": losses.adversarial(functional_call(critic, held, (planes, rgb))),
        "discrimination": losses.discrimination(critic(planes, target), critic(planes, rgb.detach())),
    }


class Teacher(nn.Module):
    """The objective of equation 7: only the target counts, J -> J."""

    critic = None

    def __init__(self, network: LWISP, recipe: Recipe) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe

    def forward(self, planes: Tensor, target: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        rgb = self.network(target.to(memory_format=torch.channels_last))
        with torch.autocast(target.device.type, enabled=False):
            loss = losses.teaching(rgb.float(), target, self.recipe.gamma, self.recipe.scales)
        return loss, {}

    def judge(self, case: Case) -> tuple[Tensor, Tensor]:
        """What is compared in validation: the clean picture, mapped to itself."""
        return self.network(case.target[None])[0], case.target


def teacher_of(architecture: Architecture) -> LWISPConfig:
    """The teacher of a network (section 3.3): the same structure, clean targets in, no last upsampling.

    Nothing is handed past it: with a residual it would have nothing to learn.
    """
    if not isinstance(architecture, LWISPConfig):
        raise InputError("only LW-ISP has a teacher; drop beta from the recipe")
    return replace(architecture, in_channels=architecture.out_channels, upsample=False, residual=False)


def step_seconds(recipe: Recipe, rounds: int = 3) -> float:
    """Median seconds of one training step of the recipe's network here, on random planes, without its teacher."""
    objective = Student(channels_last(build(recipe.architecture).train()), None, recipe)
    optimizer = torch.optim.AdamW(objective.parameters(), betas=BETAS, fused=True)
    channels, scale = recipe.architecture.in_channels, recipe.architecture.scale
    size = recipe.crop // (2 if channels == 4 else 1)
    planes = torch.rand(recipe.batch, channels, size, size)
    target = torch.rand(recipe.batch, recipe.architecture.out_channels, size * scale, size * scale)
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16, enabled=_precision(recipe, "cpu") == "bf16"):
            loss, _ = objective(planes, target, recipe.steps - 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


@contextmanager
def alone(run: Path, doing: str) -> Iterator[None]:
    """Keep other processes out of a folder, which is made if need be; the system lets go of it when a process ends.

    A folder that nothing came to lie in is gone afterwards. Raises `InputError` where another process has it.
    """
    from filelock import FileLock, Timeout

    make_folder(run)
    lock = FileLock(run / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"{run}: another process is {doing} there; wait for it, or name another --output") from error
    except (OSError, NotImplementedError) as error:
        raise OutputError(f"{run}: cannot be locked: {one_line(error)}") from error
    try:
        yield
    finally:
        with suppress(OSError):
            if [entry.name for entry in os.scandir(run)] == ["lock"]:
                (run / "lock").unlink()
                run.rmdir()
        lock.release()


@contextmanager
def _begin(
    recipe: Recipe, output: Path, root: Path | None, device: Device, data: Data | None = None
) -> Iterator[tuple[Recipe, "Fabric", Data]]:
    """Check what can be checked before any work; the recipe with what this machine and call decide.

    From the first look at what the run folder holds to the end no other process works in it.
    """
    run = run_folder(output)
    if output.exists() or not output.name:
        check_output(output)
    recipe = replace(recipe, root=root or recipe.root, precision=_precision(recipe, device))
    fabric = _start_fabric(recipe, device)
    first = fabric.is_global_zero
    with alone(run, "training") if first else nullcontext():
        if output.exists() and not (run / "state.pt").exists():
            raise InputError(f"{output} exists already and is not of this run; name another --output")
        if first:
            for folder in (output.parent, run, run / "cache"):
                clear_leftovers(folder)
        data = _open(recipe, run, fabric) if data is None else data
        if first:
            for note in data.notes:
                _say(note)
            _write_facts(run, recipe, fabric.world_size)
        fabric.barrier()
        yield recipe, fabric, data


def _get_teacher(fabric: "Fabric", recipe: Recipe, data: Data, output: Path) -> LWISP:
    """The recipe's teacher, or the one of this run, trained now if need be; always as it lies on disk, rounded."""
    path = Path(recipe.teacher) if recipe.teacher else run_folder(output) / "teacher.safetensors"
    if not recipe.teacher and not path.exists():
        _teach(fabric, recipe, data, path)
        fabric.barrier()
    weights = load(path)
    network = weights.network
    if not isinstance(network, LWISP) or network.config != teacher_of(recipe.architecture):
        raise InputError(f"{path}: not the teacher of this architecture; drop `teacher` to have one trained")
    return channels_last(network)


def _teach(fabric: "Fabric", recipe: Recipe, data: Data, output: Path) -> Weights:
    architecture, steps = teacher_of(recipe.architecture), recipe.teacher_steps or recipe.steps
    plan = replace(recipe, name=f"teacher of {recipe.name}", steps=steps, architecture=architecture, beta=0.0)
    torch.manual_seed(plan.seed)
    network = channels_last(LWISP(architecture))
    initialize(network, recipe.seed)
    if fabric.is_global_zero:
        make_folder(run_folder(output))
        clear_leftovers(run_folder(output))
    fabric.barrier()
    facts = {"task": "clean targets to themselves (equation 7)", "recipe": _plain(plan), "versions": versions()}
    return _learn(fabric, plan, data, Teacher(network, plan), facts, output)


def _learn(
    fabric: "Fabric", recipe: Recipe, data: Data, objective: "Student | Teacher", facts: dict[str, Any], output: Path
) -> Weights:
    """Train the objective's network and write it with its card, whatever becomes of the scores and the log."""
    network = objective.network
    card = Card(recipe.name, recipe.architecture, data.convention, recipe.licence, data.credits, facts)
    _fit(fabric, recipe, data, objective, run_folder(output), lambda: save(output, network, card))
    fabric.barrier()  # what comes next may begin with these weights
    return Weights(network.cpu().eval(), card)


def _begin_with(network: LWISP | Baseline, name: str) -> None:
    """Begin with the tensors of these weights; an LW-ISP for something else lends those that fit, nearly all."""
    weights = load(name)
    lent, akin = weights.network, False
    if isinstance(lent, LWISP) and isinstance(network, LWISP):
        akin = True
        if {lent.config.attention, network.config.attention} == {"add", "centered"}:
            center(lent, back=network.config.attention == "add")
    known, wanted = lent.state_dict(), network.state_dict()
    if weights.card.architecture != network.config:
        if isinstance(network, LWISP) and network.config.residual:  # it makes no picture, but what is added to one
            known = {key: value for key, value in known.items() if not key.startswith("out.")}
        known = {key: value for key, value in known.items() if key in wanted and wanted[key].shape == value.shape}
        if not akin or 2 * len(known) < len(wanted):
            raise InputError(f"start = {name!r}: weights of another architecture; train from scratch or name others")
    network.load_state_dict({**wanted, **known})


def _open(recipe: Recipe, run: Path, fabric: "Fabric") -> Data:
    if recipe.by_level and fabric.world_size > 1:
        raise InputError("by_level trains in one process only; drop it, or torchrun")
    batch, rest = divmod(recipe.batch, fabric.world_size)
    if rest:
        raise InputError(f"a batch of {recipe.batch} does not part evenly over {fabric.world_size} processes")
    root, kind = recipe.root, recipe.data
    if kind == "synthetic":
        root, kind = run / "data", "zurich"
        if fabric.is_global_zero and not root.exists():
            made = synthetic.pictures(8, recipe.seed, 448, 448)
            with whole_folder(root) as folder:
                synthetic.write_zurich(folder, {"train": made[:6], "test": made[6:]})
        fabric.barrier()
    cache = run / "cache" if kind in ("sidd", "sidd-raw") else None
    if cache and fabric.is_global_zero:
        make_folder(cache)
    return open_data(
        kind,
        root,
        recipe.crop,
        batch,
        recipe.seed,
        recipe.convention,
        recipe.exclude_licences,
        recipe.augment,
        cache,
        recipe.simulation,
    )


def _fit(
    fabric: "Fabric", recipe: Recipe, data: Data, objective: Student | Teacher, run: Path, write: Callable[[], None]
) -> None:
    """Train the objective's network to the end and leave its average in it; goes on from the state in `run`.

    The first process calls `write` as soon as that average is there, before the last scores and rows of the log.
    """
    network = objective.network.train()
    learned = [value for value in objective.parameters() if value.requires_grad]  # the critic's too
    optimizer = torch.optim.AdamW(learned, lr=recipe.learning_rate, betas=BETAS, fused=True)
    wrapped, optimizer = fabric.setup(objective, optimizer)
    average = {name: value.clone() for name, value in network.state_dict().items()}
    state = State(recipe, data.names, network, average, optimizer, objective.critic)
    start, row = state.resume(run / "state.pt")
    check_output(run / "state.pt")

    world, rank, first = fabric.world_size, fabric.global_rank, fabric.is_global_zero
    loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(
        data,  # type: ignore[arg-type]
        batch_size=None,
        sampler=range(start * world + rank, recipe.steps * world, world),
        num_workers=recipe.workers,
        multiprocessing_context="forkserver" if recipe.workers else None,  # LibRaw's threads do not outlive a fork
        pin_memory=fabric.device.type == "cuda",
    )
    sums: dict[str, Any] = {}
    began, waited, count = time.monotonic(), 0.0, 0
    with _progress(first) as progress, _Log(run, first, start) as log:
        judge = _Judge(fabric, recipe, data, objective, average, log)
        task = progress.add_task(recipe.name, total=recipe.steps, completed=start, note="")
        if start < recipe.steps:
            judge.prepare()
            judge.report(row)  # what a killed process had no time to say
        batches = iter(loader)
        for done in range(start + 1, recipe.steps + 1):
            asked = time.monotonic()
            planes, target = (fabric.to_device(part) for part in _next(batches))
            waited += time.monotonic() - asked
            rate = learning_rate(recipe, done - 1)
            torch.manual_seed(recipe.seed * 1_000_003 + done)  # so that dropout draws the same after a stop
            parts = _step(fabric, wrapped, optimizer, planes, target, done - 1, rate, recipe)
            _average(average, network, recipe.ema if recipe.start else min(recipe.ema, done / (9 + done)))
            sums = {name: sums.get(name, 0.0) + value for name, value in parts.items()}
            count += 1
            if done % recipe.checkpoint_every == 0 or done == recipe.steps:
                row = {"step": done, **{name: float(total) / count for name, total in sums.items()}}
                if not math.isfinite(row["loss"]):
                    raise InputError(f"the loss is {row['loss']} at step {done}; the last good state is in {run}")
                if not all(bool(value.isfinite().all()) for value in average.values()):
                    raise InputError(f"the network ran away by step {done}; the last good state is in {run}")
                seconds = time.monotonic() - began
                row |= {"rate": rate, "seconds": round(seconds, 1), "data_share": round(waited / seconds, 3)}
                if first:
                    state.save(run / "state.pt", done, row)
                    if done < recipe.steps:
                        judge.report(row)
                sums, count = {}, 0
                progress.update(task, note=f"loss {row['loss']:.4g}")
            progress.update(task, completed=done)
        network.load_state_dict(average)
        if first:
            write()
            judge.report(row)


class _Judge:
    """Scores held-out pictures and writes rows of the log; what fails here is said and ends no run."""

    def __init__(
        self,
        fabric: "Fabric",
        recipe: Recipe,
        data: Data,
        objective: Student | Teacher,
        average: dict[str, Tensor],
        log: "_Log",
    ) -> None:
        self.fabric, self.recipe, self.data, self.objective, self.average, self.log = (
            fabric, recipe, data, objective, average, log,
        )  # fmt: skip
        self.held_out: list[Case] | None = None

    def prepare(self) -> list[Case]:
        """The middles of held-out pictures, on the device; read once. Raises `InputError`."""
        if self.held_out is None:
            self.held_out = [_to(case, self.fabric) for case in self.data.cases(CASE_SIDE)]
        return self.held_out

    def report(self, row: dict[str, Any] | None) -> None:
        """Write the row of a checkpoint with its scores, in the first process, unless it stands in the log already."""
        if row is None or not self.log.active or row["step"] <= self.log.last:
            return
        step = row["step"]
        last = step == self.recipe.steps
        try:
            if last or step % self.recipe.validate_every == 0:
                row = row | _validate(self.objective, self.average, self.prepare(), self.log, step)
            if last:
                cases = (_to(case, self.fabric) for case in self.data.cases())
                whole = _validate(self.objective, self.average, cases, self.log, step)
                row = row | {f"{name}_whole": value for name, value in whole.items()}
        except Exception as error:  # a GPU too small for whole pictures, a file gone: hours of training are worth more
            _say(f"step {step}: held-out pictures cannot be scored: {one_line(error)}")
        self.log.write(row)


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
    for group in optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast(fabric.device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
        loss, parts = objective(planes, target, step)
    optimizer.zero_grad()
    fabric.backward(loss)
    fabric.clip_gradients(objective, optimizer, max_norm=recipe.clip, error_if_nonfinite=False)
    optimizer.step()
    return {"loss": loss.detach(), **{name: part.detach() for name, part in parts.items()}}


def _next(batches: Iterator[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    try:
        return next(batches)
    except InputError as error:  # a worker's comes wrapped in its traceback
        raise type(error)(re.split(r"\b(?:Input|Output)Error: ", str(error).strip())[-1]) from error


@torch.no_grad()
def _average(average: dict[str, Tensor], network: nn.Module, ema: float) -> None:
    current = {name: value for name, value in network.state_dict().items() if value.is_floating_point()}
    torch._foreach_lerp_([average[name] for name in current], list(current.values()), 1 - ema)


@torch.no_grad()
def _validate(
    objective: Student | Teacher, average: dict[str, Tensor], cases: Iterable[Case], log: "_Log", step: int
) -> dict[str, float]:
    """Mean PSNR of the averaged network by kind of case; the first picture of each kind goes to the log."""
    network, current = objective.network, objective.network.state_dict()
    current = {name: value.clone() for name, value in current.items()}
    scores: dict[str, list[float]] = {}
    try:
        network.load_state_dict(average)
        network.eval()
        for case in cases:
            rgb, target = objective.judge(case)
            name = f"psnr_{case.kind}" if case.kind else "psnr"
            if name not in scores:
                log.show(f"{name} {case.name}", torch.cat([rgb, target], -1), step)
            scores.setdefault(name, []).append(metrics.psnr(rgb, target))
    finally:
        network.load_state_dict(current)
        network.train()
    return {name: sum(values) / len(values) for name, values in scores.items()}


def _to(case: Case, fabric: "Fabric") -> Case:
    return replace(case, planes=fabric.to_device(case.planes), target=fabric.to_device(case.target))


@dataclass(frozen=True)
class State:
    """What a run needs to go on, and must not change on the way."""

    recipe: Recipe
    names: tuple[str, ...]
    network: nn.Module
    average: dict[str, Tensor]
    optimizer: torch.optim.Optimizer
    critic: nn.Module | None = None

    def resume(self, path: Path) -> tuple[int, dict[str, Any] | None]:
        """Take up the state in a file, if there is one: the step to go on with, and that one's row for the log.

        Raises `InputError`.
        """
        if not path.is_file():
            return 0, None
        try:
            state = torch.load(path, weights_only=True, map_location="cpu")
            step, names, row = int(state["step"]), list(state["names"]), state.get("row")
            recipe = _plain(TypeAdapter(Recipe).validate_python(state["recipe"]))  # fields of later are as by default
            if step < 1 or not (row is None or int(row["step"]) == step):
                raise ValueError(f"step {step}")
        except DAMAGED as error:
            raise _damaged(path, error) from error
        now = _plain(self.recipe)
        changed = [key for key in now if key not in MAY_DIFFER and recipe[key] != now[key]]
        if changed:
            raise InputError(f"{path}: begun with another recipe ({', '.join(changed)}); name another --output")
        if names != list(self.names):
            raise InputError(f"{path}: begun with other photos or pairs; name another --output")
        if step > self.recipe.steps:
            raise InputError(f"{path}: has {step} steps already, the recipe only {self.recipe.steps}")
        try:
            self.network.load_state_dict(state["network"])
            if self.critic is not None:
                self.critic.load_state_dict(state["critic"])
            self.optimizer.load_state_dict(state["optimizer"])
            with torch.no_grad():
                for name, value in self.average.items():
                    if state["average"][name].shape != value.shape:  # copying would repeat what fits
                        raise ValueError(f"{name}: {tuple(state['average'][name].shape)}")
                    value.copy_(state["average"][name])
        except DAMAGED as error:
            raise _damaged(path, error) from error
        return step, row

    def save(self, path: Path, step: int, row: dict[str, Any] | None = None) -> None:
        """Write the state after a step; a process killed at any moment leaves a whole file. Raises `OutputError`."""
        content = {
            "step": step,
            "row": row,
            "recipe": _plain(self.recipe),
            "names": list(self.names),
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "critic": None if self.critic is None else self.critic.state_dict(),
        }

        def write(file: BinaryIO) -> None:
            try:
                torch.save(content, file)
            except RuntimeError as error:  # of torch's writer, over what the system said: the disk is full
                raise error.__context__ if isinstance(error.__context__, OSError) else error from None

        write_whole(path, write)


def _damaged(path: Path, error: Exception) -> InputError:
    if isinstance(error, OSError) and error.errno is not None:
        return InputError(f"{path}: cannot be read: {error.strerror}")
    return InputError(f"{path}: cannot go on from this file, it is damaged; delete it, and training begins anew")


class _Log:
    """`log.jsonl` and TensorBoard's files in a run folder; silent in all processes but the first.

    Rows behind the step that a run goes on with, and what a killed process wrote of one, are dropped. TensorBoard's
    files are a convenience: where they fail that is said once.
    """

    def __init__(self, run: Path, active: bool, start: int) -> None:
        self.path, self.active, self.start, self.last = run / "log.jsonl", active, start, 0
        self.board: Any = None

    def __enter__(self) -> "_Log":
        if not self.active:
            return self
        try:
            known = is_regular(self.path)
            lines = self.path.read_text(encoding="utf-8", errors="replace").splitlines() if known else []
            kept = [line for line in lines if 0 < _step_of(line) <= self.start]
            if kept != lines:
                write_text(self.path, "".join(f"{line}\n" for line in kept))
            self.last = _step_of(kept[-1]) if kept else 0
            self.file = self.path.open("a", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        try:
            from torch.utils.tensorboard import SummaryWriter

            self.board = SummaryWriter(str(self.path.with_name("tensorboard")))
        except Exception as error:
            self._give_up(error)
        return self

    def __exit__(self, *_: object) -> None:
        if not self.active:
            return
        with suppress(OSError):  # every row was flushed
            self.file.close()
        self._tell(lambda board: board.close())

    def write(self, row: dict[str, Any]) -> None:
        try:
            self.file.write(json.dumps(row) + "\n")
            self.file.flush()
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror or error}") from error
        self.last = row["step"]
        for name, value in row.items():
            if name != "step":
                self._tell(partial(_add_scalar, name=name, value=value, step=row["step"]))

    def show(self, name: str, picture: Tensor, step: int) -> None:
        shown = picture if len(picture) == 3 else picture[[0, 1, 3]]  # of planes R, Gr, B
        shown = shown.clamp(0, 1).cpu()
        self._tell(lambda board: board.add_image(name, shown, step))

    def _tell(self, action: Callable[[Any], object]) -> None:
        if self.board is not None:
            try:
                action(self.board)
            except Exception as error:  # of its thread, whatever became of its files
                self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.board = None
        _say(f"{self.path.with_name('tensorboard')}: no more is written there: {one_line(error)}")


def _add_scalar(board: Any, name: str, value: float, step: int) -> None:
    board.add_scalar(name, value, step)


def last_row(log: Path) -> int:
    """The step of the last row of a run's `log.jsonl`, 0 where there is none, or half of one."""
    try:
        return _step_of(log.read_text(encoding="utf-8", errors="replace").rpartition("\n")[0].rpartition("\n")[2])
    except OSError:
        return 0


def _step_of(line: str) -> int:
    """The step of a row of the log, 0 of what is none."""
    try:
        return int(json.loads(line)["step"])
    except (ValueError, TypeError, LookupError):
        return 0


def _say(note: str) -> None:
    Console(stderr=True).print(note, highlight=False, markup=False, soft_wrap=True)


def _precision(recipe: Recipe, device: Device) -> Literal["bf16", "fp32"]:
    """What a step computes in; "auto" is bf16 only where there are instructions for it: emulated it is slow."""
    if recipe.precision != "auto":
        return recipe.precision
    return "bf16" if has_bf16(_accelerator(device)) else "fp32"


def _accelerator(device: Device) -> Literal["cpu", "cuda"]:
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise InputError("--device cuda: torch finds no GPU here; leave the option out to train on the processor")
    return "cuda" if has_gpu and device != "cpu" else "cpu"


def _start_fabric(recipe: Recipe, device: Device) -> "Fabric":
    """Lightning Fabric for this process, or for this one of those that torchrun started."""
    need("lightning_fabric", "training")
    from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    world, local = (int(os.environ.get(name, 1)) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    fabric = Fabric(
        accelerator=_accelerator(device),
        devices=local,
        num_nodes=max(world // local, 1),
        strategy="ddp" if world > 1 else "auto",
        precision="32-true",  # its bf16-mixed would round planes and targets too: `_step` sees to bf16
    )
    fabric.launch()
    return fabric


def _write_facts(run: Path, recipe: Recipe, processes: int) -> None:
    facts = {"command": sys.argv, "processes": processes, "versions": versions(), "recipe": _plain(recipe)}
    write_text(run / "run.json", json.dumps(facts, indent=1) + "\n")


def _plain(recipe: Recipe) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(asdict(recipe), default=str))
    return content


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
