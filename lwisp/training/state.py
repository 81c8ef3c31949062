"""The state of a run: what it needs to go on bit for bit."""

import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lwisp.errors import InputError
from lwisp.interchange import write_pickled
from lwisp.records import parse
from lwisp.training.recipe import Recipe

MAY_DIFFER = ("steps", "root", "workers", "precision")
"""Fields of a recipe that may change when a run goes on."""
DAMAGED = (
    OSError, RuntimeError, ValueError, ArithmeticError, EOFError, LookupError, TypeError, AttributeError,
    struct.error, pickle.UnpicklingError,
)  # fmt: skip
"""What torch raises for damaged files."""


@dataclass(frozen=True)
class State:
    """What a run needs to go on, and what must be the same when it does."""

    recipe: Recipe
    names: tuple[str, ...]
    """Everything it is trained on."""
    network: nn.Module
    average: dict[str, Tensor]
    """Moving average of the network's tensors."""
    optimizer: torch.optim.Optimizer
    critic: nn.Module | None = None
    """What learns beside it, where there is something: a discriminator, or layers between unequal blocks."""
    memory: Mapping[str, Tensor] = field(default_factory=dict)
    """What else the objective changes as it goes."""

    def resume(self, path: Path) -> tuple[int, dict[str, Any] | None]:
        """Load a saved state into the network, the average, the optimizer and the critic.

        Args:
            path: the file; where it is missing nothing is loaded.

        Returns:
            The number of steps that were done, and the last one's row for the log; (0, None) without a file.

        Raises:
            InputError: for a damaged file, and for one of another recipe or of other data.
        """
        if not path.is_file():
            return 0, None
        try:
            content = torch.load(path, weights_only=True, map_location="cpu")
            step, row = int(content["step"]), content.get("row")
            names = tuple(content["names"])
            recipe = parse(Recipe, content["recipe"])  # newer fields have their defaults
            if step < 1 or not (row is None or int(row["step"]) == step):
                raise ValueError(f"step {step}")
        except DAMAGED as error:
            raise _damaged(path, error) from error
        self._check_same(path, recipe, names, step)
        try:
            self._load(content)
        except DAMAGED as error:
            raise _damaged(path, error) from error
        return step, row

    def _check_same(self, path: Path, recipe: Recipe, names: tuple[str, ...], step: int) -> None:
        before, now = recipe.to_json(), self.recipe.to_json()
        changed = [key for key in now if key not in MAY_DIFFER and before[key] != now[key]]
        if changed:
            raise InputError(f"{path}: begun with another recipe ({', '.join(changed)}); name another --output")
        if names != self.names:
            raise InputError(f"{path}: begun with other photos or pairs; name another --output")
        if step > self.recipe.steps:
            raise InputError(f"{path}: has {step} steps already, the recipe only {self.recipe.steps}")

    def _load(self, content: dict[str, Any]) -> None:
        self.network.load_state_dict(content["network"])
        if self.critic is not None:
            self.critic.load_state_dict(content["critic"])
        self.optimizer.load_state_dict(content["optimizer"])
        kept = [("average", self.average), ("memory", self.memory)]
        with torch.no_grad():
            for part, name, value in ((part, *item) for part, values in kept for item in values.items()):
                saved = content[part][name]
                if saved.shape != value.shape:  # copy_ would broadcast
                    raise ValueError(f"{name}: {tuple(saved.shape)}")
                value.copy_(saved)

    def save(self, path: Path, step: int, row: dict[str, Any] | None = None) -> None:
        """Write the state after a step; a process killed at any moment leaves a whole file.

        Args:
            path: the file, replaced as a whole.
            step: the number of steps done.
            row: the step's row for the log, which may not be written there yet.

        Raises:
            OutputError: where it cannot be written.
        """
        content = {
            "step": step,
            "row": row,
            "recipe": self.recipe.to_json(),
            "names": list(self.names),
            "network": self.network.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "critic": None if self.critic is None else self.critic.state_dict(),
            "memory": dict(self.memory),
        }
        write_pickled(path, content)


def _damaged(path: Path, error: Exception) -> InputError:
    if isinstance(error, OSError) and error.errno is not None:
        return InputError(f"{path}: cannot be read: {error.strerror}")
    return InputError(f"{path}: cannot go on from this file, it is damaged; delete it, and training begins anew")
