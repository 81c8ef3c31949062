"""What a run computes on and in: Lightning Fabric for processor or GPU, one process or many; float32 or bfloat16."""

import logging
import os
from typing import TYPE_CHECKING, Literal

import torch

from lwisp.engines.eager import has_bf16
from lwisp.errors import InputError
from lwisp.files.optional import need
from lwisp.training.recipe import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Device = Literal["auto", "cpu", "cuda"]


def accelerator_of(device: Device) -> Literal["cpu", "cuda"]:
    """The accelerator for a choice of device; "auto" is a GPU where torch finds one.

    Args:
        device: the user's choice.

    Raises:
        InputError: where a GPU is asked for and there is none.
    """
    has_gpu = torch.cuda.is_available()
    if device == "cuda" and not has_gpu:
        raise InputError("--device cuda: torch finds no GPU here; leave the option out to train on the processor")
    return "cuda" if has_gpu and device != "cpu" else "cpu"


def precision_of(recipe: Recipe, device: Device) -> Literal["bf16", "fp32"]:
    """Precision of the forward pass; "auto" is bf16 only where there are instructions for it: emulated it is slow.

    Args:
        recipe: its `precision` counts.
        device: what the run trains on.

    Raises:
        InputError: where a GPU is asked for and there is none.
    """
    if recipe.precision != "auto":
        return recipe.precision
    return "bf16" if has_bf16(accelerator_of(device)) else "fp32"


def start_fabric(device: Device) -> "Fabric":
    """Lightning Fabric for this process, or for this one of those that torchrun started.

    Args:
        device: what the run trains on.

    Raises:
        InputError: where Lightning Fabric is not installed, or there is no such device.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    world_size = int(os.environ.get("WORLD_SIZE", 1))
    local_world_size = int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    fabric: Fabric = need("lightning_fabric", "training").Fabric(
        accelerator=accelerator_of(device),
        devices=local_world_size,
        num_nodes=max(world_size // local_world_size, 1),
        strategy="ddp" if world_size > 1 else "auto",
        precision="32-true",  # its bf16-mixed would round planes and targets too: the loop's step does autocast
    )
    fabric.launch()
    return fabric
