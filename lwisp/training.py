"""The training loop: resumable at any step, its batches and schedule functions of the step alone."""

import json
import math
import pickle
import struct
import time
import tomllib
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from pydantic import TypeAdapter
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.data import DataLoader

from lwisp import metrics, unprocess
from lwisp.checkpoint import Card, InputConvention, Photo, Weights, save
from lwisp.data import Photos, find_photos
from lwisp.errors import InputError, one_line
from lwisp.files import check_output, make_folder, write_whole
from lwisp.image import read_rgb
from lwisp.inference import channels_last
from lwisp.model import LWISP, LWISPConfig

DAMAGED = (OSError, RuntimeError, ValueError, EOFError, LookupError, TypeError, struct.error, pickle.UnpicklingError)
"""What torch raises over damaged files."""
BETAS = (0.9, 0.99)  # a short memory of squared gradients: with 0.999 the network, which has no norms, ran away


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run; read from TOML."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    name: str
    licence: str
    """Licence of the weights."""
    photos: Path
    """Folder of photographs to train on, from the current folder."""
    validation: Path | None = None
    """Folder of other photographs, scored every `validate_every` steps."""
    exclude_licences: tuple[str, ...] = ()
    """Photographs under these licences (column of LICENCES.tsv) are left out."""
    seed: int = 0
    steps: int = 40_000
    batch: int = 16
    crop: int = 128
    """Side of a crop in photo pixels; packed planes have half."""
    learning_rate: float = 1e-3
    warmup: int = 500
    """Steps of linear rise."""
    decay: float = 0.9
    """Share of the steps, at the end, over which the rate falls linearly to zero."""
    clip: float = 0.5
    """Largest norm of the gradient."""
    ema: float = 0.999
    precision: str = "bf16"
    checkpoint_every: int = 500
    validate_every: int = 2000
    architecture: LWISPConfig = field(default_factory=LWISPConfig)

    def __post_init__(self) -> None:
        for good, expected in (
            (self.precision in ("bf16", "fp32"), f"precision bf16 or fp32, got {self.precision!r}"),
            (
                min(self.steps, self.batch, self.checkpoint_every, self.validate_every) >= 1,
                "steps, batch, checkpoint_every and validate_every of 1 at least",
            ),
            (0 <= self.seed < 2**32, f"a seed of 0 to 2**32 - 1, got {self.seed}"),
            (0 < self.learning_rate < math.inf, f"a positive learning_rate, got {self.learning_rate}"),
            (self.clip > 0, f"a positive clip, got {self.clip}"),
            (self.warmup >= 0, f"a warmup of 0 at least, got {self.warmup}"),
            (0 <= self.decay <= 1, f"decay in [0, 1], got {self.decay}"),
            (0 <= self.ema < 1, f"ema in [0, 1), got {self.ema}"),
            (self.architecture.develops_raw, "an architecture from RAW to RGB: in_channels 4 and upsample"),
        ):
            if not good:
                raise ValueError(f"expected {expected}")


def read_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file; raises `InputError` for unknown fields and values out of range."""
    try:
        return TypeAdapter(Recipe).validate_python(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise InputError(f"{path}: cannot read the recipe: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a usable recipe: {one_line(error)}") from error


def train(recipe: Recipe, output: Path, photos: Path | None = None, validation: Path | None = None) -> Weights:
    """Train by the recipe and write weights with their card to `output`, a safetensors file.

    Progress is kept in the folder `output` + ".run": `state.pt`, replaced as a whole, from which the same call goes
    on, and `log.jsonl`. `photos` and `validation` stand in for the recipe's folders. Raises `InputError`.
    """
    photos, validation = photos or recipe.photos, validation or recipe.validation
    run = output.with_name(output.name + ".run") if output.name else output
    if output.exists() or not output.name:
        check_output(output)
        if not (run / "state.pt").exists():
            raise InputError(f"{output} exists already and is not of this run; name another --output")
    make_folder(run)
    files = find_photos(photos, recipe.exclude_licences)
    dataset = Photos(files, recipe.crop, recipe.batch, recipe.seed)

    torch.manual_seed(recipe.seed)
    network = channels_last(LWISP(recipe.architecture))
    average = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, betas=BETAS, fused=True)
    state = State(recipe, tuple(files.values()), network, average, optimizer)
    start = state.resume(run / "state.pt")

    held_out = _validation_set(validation) if validation else []
    loader: DataLoader[tuple[Tensor, Tensor]] = DataLoader(dataset, batch_size=None, sampler=range(start, recipe.steps))  # type: ignore[arg-type]
    began, losses = time.monotonic(), []
    with _progress() as progress, (run / "log.jsonl").open("a", encoding="utf-8") as log:
        task = progress.add_task("training", total=recipe.steps, completed=start, note="")
        for step, (planes, target) in enumerate(loader, start):
            rate = learning_rate(recipe, step)
            loss = _step(network, optimizer, planes, target, rate, recipe)
            _average(average, network, min(recipe.ema, (1 + step) / (10 + step)))
            losses.append(loss)
            done = step + 1
            if done % recipe.checkpoint_every == 0 or done == recipe.steps:
                row: dict[str, Any] = {"step": done, "loss": sum(losses) / len(losses), "rate": rate}
                row["seconds"] = round(time.monotonic() - began, 1)
                if not math.isfinite(row["loss"]):
                    raise InputError(f"the loss is {row['loss']} at step {done}; the last good state is in {run}")
                if held_out and (done % recipe.validate_every == 0 or done == recipe.steps):
                    row |= _validate(recipe, average, held_out)
                state.save(run / "state.pt", done)
                log.write(json.dumps(row) + "\n")
                log.flush()
                losses = []
                progress.update(task, note=" ".join(f"{key} {row[key]:.4g}" for key in row if key != "step"))
            progress.update(task, completed=done)
    network.load_state_dict(average)
    facts = {"recipe": _plain(recipe), "versions": {"torch": torch.__version__.split("+")[0]}}
    card = Card(recipe.name, recipe.architecture, InputConvention(), recipe.licence, state.photos, facts)
    save(output, network, card)
    return Weights(network.eval(), card)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear rise over `warmup`, a plateau, linear fall to zero over the last `decay` of the steps."""
    rise = (step + 1) / max(recipe.warmup, 1)
    fall = (recipe.steps - step) / max(recipe.decay * recipe.steps, 1)
    return recipe.learning_rate * min(1.0, rise, fall)


def _step(
    network: LWISP, optimizer: torch.optim.Optimizer, planes: Tensor, target: Tensor, rate: float, recipe: Recipe
) -> float:
    for group in optimizer.param_groups:
        group["lr"] = rate
    with torch.autocast("cpu", torch.bfloat16, enabled=recipe.precision == "bf16"):
        rgb = network(planes.to(memory_format=torch.channels_last))
    loss = (rgb.float() - target).abs().mean()  # equation 4
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
    optimizer.step()
    return float(loss.detach())


@torch.no_grad()
def _average(average: dict[str, Tensor], network: LWISP, ema: float) -> None:
    torch._foreach_lerp_(list(average.values()), list(network.state_dict().values()), 1 - ema)


def _validation_set(folder: Path, side: int = 256) -> list[tuple[Tensor, Tensor]]:
    """Planes and truth of the middle of each photo, clean and noisy in turn."""
    cases = []
    for seed, path in enumerate(find_photos(folder)):
        picture = torch.from_numpy(read_rgb(path)).permute(2, 0, 1) / 255
        height, width = (min(side, size // 2 * 2) for size in picture.shape[-2:])
        top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
        truth = picture[:, top : top + height, left : left + width]
        cases += [(unprocess.capture(truth, seed, noisy).planes, truth) for noisy in (False, True)]
    return cases


@torch.no_grad()
def _validate(recipe: Recipe, average: dict[str, Tensor], cases: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    network = channels_last(LWISP(recipe.architecture))
    network.load_state_dict(average)
    scores = [metrics.psnr(network.eval()(planes)[0], truth) for planes, truth in cases]
    return {name: sum(part) / len(part) for name, part in (("psnr", scores[::2]), ("psnr_noisy", scores[1::2]))}


@dataclass(frozen=True)
class State:
    """What a run needs to go on, and must not change on the way."""

    recipe: Recipe
    photos: tuple[Photo, ...]
    network: LWISP
    average: dict[str, Tensor]
    optimizer: torch.optim.Optimizer

    def resume(self, path: Path) -> int:
        """Take up the state in a file, if there is one; gives the step to go on with. Raises `InputError`."""
        if not path.is_file():
            return 0
        try:
            state = torch.load(path, weights_only=True)
            step, recipe, photos = int(state["step"]), state["recipe"], state["photos"]
        except DAMAGED as error:
            raise InputError(f"{path}: cannot go on from this file, it is damaged; delete its folder") from error
        may_differ = dict.fromkeys(("steps", "photos", "validation"))
        if recipe | may_differ != _plain(self.recipe) | may_differ or photos != [list(astuple(x)) for x in self.photos]:
            raise InputError(f"{path}: begun with another recipe or other photos; name another --output")
        if step > self.recipe.steps:
            raise InputError(f"{path}: has {step} steps already, the recipe only {self.recipe.steps}")
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        for name, value in state["average"].items():
            self.average[name].copy_(value)
        return step

    def save(self, path: Path, step: int) -> None:
        """Write the state after a step; a process killed at any moment leaves a whole file."""
        content = {
            "step": step,
            "recipe": _plain(self.recipe),
            "photos": [list(astuple(photo)) for photo in self.photos],
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        write_whole(path, lambda file: torch.save(content, file))


def _plain(recipe: Recipe) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(json.dumps(asdict(recipe), default=str))
    return content


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
    )
