"""Validation: PSNR of the averaged network on held-out images, written to the log with a checkpoint's row."""

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lwisp.data.cases import Case
from lwisp.data.sources import Data
from lwisp.errors import one_line
from lwisp.imaging import metrics
from lwisp.training.log import Log, print_note
from lwisp.training.objectives import Objective
from lwisp.training.recipe import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CASE_SIDE = 256
"""Px; side of the middles of held-out images that a run is validated on before its end."""


class Validation:
    """Scores held-out images and writes rows of the log; a failure to score is reported and ends no run."""

    def __init__(
        self,
        fabric: "Fabric",
        recipe: Recipe,
        data: Data,
        objective: Objective,
        average: dict[str, Tensor],
        log: Log,
    ) -> None:
        self.fabric = fabric
        self.recipe = recipe
        self.data = data
        self.objective = objective
        self.average = average
        self.log = log
        self.middles: list[Case] | None = None

    def prepare(self) -> list[Case]:
        """The middles of held-out images, on the device; read once.

        Raises:
            InputError: where one cannot be read.
        """
        if self.middles is None:
            self.middles = [self._to_device(case) for case in self.data.cases(CASE_SIDE)]
        return self.middles

    def report(self, row: dict[str, Any] | None) -> None:
        """Write a checkpoint's row with its scores, in the first process, unless the log has it already.

        Middles are scored every `validate_every` steps, and whole images too after the last step, because the network
        averages over the frame it is given.

        Args:
            row: values by name, with `step`; None does nothing.

        Raises:
            OutputError: where the log cannot be written.
        """
        if row is None or not self.log.active or row["step"] <= self.log.last:
            return
        step = row["step"]
        is_last = step == self.recipe.steps
        try:
            if is_last or step % self.recipe.validate_every == 0:
                row = row | self._score(self.prepare(), step)
            if is_last:
                whole = self._score(map(self._to_device, self.data.cases()), step)
                row = row | {f"{name}_whole": value for name, value in whole.items()}
        except Exception as error:  # a GPU too small for whole images, a file gone: hours of training are worth more
            print_note(f"step {step}: held-out pictures cannot be scored: {one_line(error)}")
        self.log.write(row)

    @torch.no_grad()
    def _score(self, cases: Iterable[Case], step: int) -> dict[str, float]:
        """Mean PSNR in dB of the averaged network by kind of case; the first image of each kind goes to the log."""
        network = self.objective.network
        current = {name: value.clone() for name, value in network.state_dict().items()}
        scores: dict[str, list[float]] = {}
        try:
            network.load_state_dict(self.average)
            network.eval()
            for case in cases:
                rgb, target = self.objective.judge(case)
                name = f"psnr_{case.kind}" if case.kind else "psnr"
                if name not in scores:
                    self.log.show(f"{name} {case.name}", torch.cat([rgb, target], -1), step)
                scores.setdefault(name, []).append(metrics.psnr(rgb, target))
        finally:
            network.load_state_dict(current)
            network.train()
        return {name: sum(values) / len(values) for name, values in scores.items()}

    def _to_device(self, case: Case) -> Case:
        planes = self.fabric.to_device(case.planes)
        target = self.fabric.to_device(case.target)
        return replace(case, planes=planes, target=target)
