"""How long a training will take: a few steps are timed before it begins."""

import statistics
import time

import torch

from lwisp.baselines.build import build
from lwisp.engines.eager import channels_last
from lwisp.training.devices import Device, accelerator_of, precision_of
from lwisp.training.loop import BETAS
from lwisp.training.objectives import student_objective
from lwisp.training.recipe import Recipe


def step_seconds(recipe: Recipe, rounds: int = 3, device: Device = "cpu") -> float:
    """Median seconds of one training step, on random planes: without reading data, and without a teacher.

    Args:
        recipe: network, losses, crop and batch.
        rounds: steps that are timed, after one to warm up.
        device: what is trained on.

    Raises:
        InputError: where a GPU is asked for and there is none.
    """
    place = accelerator_of(device)
    with torch.random.fork_rng(devices=[]):
        objective = student_objective(channels_last(build(recipe.architecture).train()), None, recipe).to(place)
        channels, scale = recipe.architecture.in_channels, recipe.architecture.scale
        side = recipe.crop // (2 if recipe.architecture.takes in ("raw", "planes") else 1)
        planes = torch.rand(recipe.batch, channels, side, side).to(place)
        target = torch.rand(recipe.batch, recipe.architecture.out_channels, side * scale, side * scale).to(place)
    optimizer = torch.optim.AdamW(objective.parameters(), betas=BETAS, fused=True)
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        with torch.autocast(place, torch.bfloat16, enabled=precision_of(recipe, device) == "bf16"):
            loss, _ = objective(planes, target, recipe.steps - 1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()  # waits for a GPU
        seconds.append(time.perf_counter() - began)
    return statistics.median(seconds[1:])


def hours_of(seconds: float, steps: int) -> float:
    """Hours of so many steps.

    Args:
        seconds: of one step.
        steps: their number.
    """
    return seconds * steps / 3600


def in_words(hours: float) -> str:
    """A time as it is told before work begins: "about 2.4 hours", or minutes below two hours.

    Args:
        hours: the time.
    """
    if hours >= 2:
        return f"about {hours:.3g} hours"
    minutes = max(1, round(60 * hours))
    return f"about {minutes} minute{'' if minutes == 1 else 's'}"
