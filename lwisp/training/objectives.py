"""Training objectives: a batch -> the loss and its parts. One class for each way to train a network.

`Student` is equation 3 without distillation, for LW-ISP and any baseline; `Distilled` adds the teacher; `ByLevel`
trains PyNET level by level; `Adversarial` adds Pix2Pix's discriminator to one of these; `Teacher` is equation 7. All
have a `network`, a `critic` (what learns beside it, as a discriminator, or None), a `memory`, and

    forward(planes, target, step) -> (loss, parts)

for planes (B, 4, h, w) or RGB (B, 3, H, W), and targets (B, 3, H, W) in [0, 1], or clean planes. `parts` are the terms
of the loss by name, for the log. The loss itself is computed in float32, whatever precision the network runs in.
"""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from lwisp.architecture import LWISPConfig
from lwisp.baselines.build import Baseline
from lwisp.baselines.config import Architecture
from lwisp.baselines.isps import PyNET
from lwisp.baselines.translation import PatchGAN
from lwisp.data.cases import Case
from lwisp.engines.eager import channels_last
from lwisp.errors import InputError
from lwisp.imaging import color, metrics
from lwisp.model import LWISP, pad_to_multiple
from lwisp.training import losses
from lwisp.training.guides import Guide
from lwisp.training.recipe import Recipe

MEASURED_EVERY = 25
"""Steps from one measurement of the distillation loss's gradient to the next."""


class Student(nn.Module):
    """Equation 3 without distillation: reconstruction and structural loss."""

    @property
    def critic(self) -> nn.Module | None:
        """What learns beside the network; None where nothing does."""
        return None

    @property
    def memory(self) -> dict[str, Tensor]:
        """What a run needs to go on beside weights, changed in place."""
        return {}

    def __init__(self, network: LWISP | Baseline, recipe: Recipe) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe
        self.reconstruction = losses.reconstruction
        if recipe.logarithmic:
            self.reconstruction = losses.apart if recipe.apart else losses.logarithmic

    def forward(self, planes: Tensor, target: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        _, parts = self.compare(planes, target)
        return self.weigh(parts), parts

    def compare(self, planes: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The network's output for a batch, and the terms of the loss before they are weighted.

        Args:
            planes: The network's input, (B, C, h, w) in [0, 1].
            target: (B, 3, H, W) in [0, 1], or clean planes (B, 4, h, w).

        Returns:
            The output in float32, of the target's shape; and the terms by name: those of `errors`.
        """
        rgb = self.network(planes.to(memory_format=torch.channels_last))
        return rgb.float(), self.errors(rgb, target)

    def errors(self, rgb: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Reconstruction and structural loss of an output against its target.

        Args:
            rgb: The network's output, (B, 3, H, W), or clean planes (B, 4, h, w); planes are compared after the sRGB
                curve.
            target: Of the same shape, in [0, 1].

        Returns:
            Scalars in float32: "reconstruction" (L_r), "chroma" and "structure" (L_s) if their weights in the recipe
            are not 0.
        """
        with _in_float32(target):
            rgb = rgb.float()
            if self.recipe.architecture.takes == "planes":  # linear errors in shadows would hardly count
                rgb = color.srgb_encode(rgb)
                target = color.srgb_encode(target)
            parts = {"reconstruction": self.reconstruction(rgb, target)}
            if self.recipe.chroma:
                parts["chroma"] = losses.chroma(rgb, target)
            if self.recipe.alpha:
                parts["structure"] = losses.structure(rgb, target, self.recipe.scales)
        return parts

    def weigh(self, parts: dict[str, Tensor]) -> Tensor:
        """The loss of equation 3 from its terms.

        Args:
            parts: Scalars by name, "reconstruction" at least; "structure" and "distillation" count nothing where
                they are missing.

        Returns:
            A scalar.
        """
        structural = parts.get("structure", 0.0)
        distilled = parts.get("distillation", 0.0)
        loss = losses.overall(structural, parts["reconstruction"], distilled, self.recipe.alpha, self.recipe.beta)
        return loss + self.recipe.chroma * parts.get("chroma", 0.0)

    def judge(self, case: Case) -> tuple[Tensor, Tensor]:
        """Output and ground truth of a held-out image, for validation.

        Args:
            case: The image.

        Returns:
            (output, target), each (C, H, W).
        """
        return self.network(case.planes[None])[0], case.target


class Distilled(Student):
    """Equation 3: the student also imitates blocks of a guide, whose weights are frozen: the teacher, or a control."""

    network: LWISP

    def __init__(self, network: LWISP, guide: Guide, recipe: Recipe) -> None:
        super().__init__(network, recipe)
        self.guide = guide
        self.adapters = _adapters(network, guide.network, recipe.distill)
        self.beta: Tensor
        self.register_buffer("beta", torch.tensor(recipe.beta))

    @property
    def critic(self) -> nn.Module | None:
        """The layers between blocks of unequal widths, which learn beside the network; None where there are none."""
        return self.adapters or None

    @property
    def memory(self) -> dict[str, Tensor]:
        """The weight of the distillation loss, where it is measured."""
        return {"beta": self.beta} if self.recipe.distill_share else {}

    def forward(self, planes: Tensor, target: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        _, parts = self.compare(planes, target)
        if not (self.recipe.distill_share or self.recipe.distill_fade):
            return self.weigh(parts), parts
        others = self.weigh({name: part for name, part in parts.items() if name != "distillation"})
        if self.recipe.distill_share and step % MEASURED_EVERY == 0:
            self._measure(others, parts["distillation"])
        fall = fading(step, self.recipe.steps) if self.recipe.distill_fade else 1.0
        beta = self.beta * fall
        return others + beta * parts["distillation"], {**parts, "beta": beta}

    def _measure(self, others: Tensor, distillation: Tensor) -> None:
        """Set `beta` so that the distillation loss moves the network by the recipe's share of what all else does."""
        learned = [value for value in self.network.parameters() if value.requires_grad]
        norms = []
        for loss in (others, distillation):
            gradients = torch.autograd.grad(loss, learned, retain_graph=True, allow_unused=True)
            found = [gradient.float().norm() for gradient in gradients if gradient is not None]
            norms.append(torch.stack(found).norm())
        measured = self.recipe.distill_share * norms[0] / norms[1].clamp(min=1e-12)
        with torch.no_grad():
            self.beta.copy_(torch.where(norms[1] > 0, measured, self.beta))

    def compare(self, planes: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The student's output for a batch, and the terms of the loss before they are weighted.

        Args:
            planes: The network's input, (B, C, h, w) in [0, 1].
            target: (B, 3, H, W) in [0, 1], which the guide sees as well.

        Returns:
            The output in float32, of the target's shape; and the terms by name: those of `errors`, and "distillation".
        """
        distill = self.recipe.distill
        planes = planes.to(memory_format=torch.channels_last)
        seen = self.network.see(self.network.pad(planes))
        own = self.network.blocks_of(seen, (*distill, "up4"))
        rgb = self.network.finish(own, seen, (planes.shape[-2], planes.shape[-1]))
        guide = self.guide(planes, target, distill)
        parts = self.errors(rgb, target)
        with _in_float32(target):
            own = {name: own[name].float() for name in distill}
            guide = {name: guide[name].float() for name in distill}
            if self.recipe.architecture.scale == 2:  # planes of half the size are not padded to the same pixels
                own = losses.within_frame(own, (planes.shape[-2], planes.shape[-1]))
            own = {name: self.adapters[name](x) if name in self.adapters else x for name, x in own.items()}
            parts["distillation"] = losses.distillation(own, guide, distill, self.recipe.distill_normalized)
        return rgb.float(), parts


def fading(step: int, steps: int) -> float:
    """Half a cosine: 1 at first, 0 in the last step.

    Args:
        step: from 0 to `steps` - 1.
        steps: of the whole run.
    """
    return (1 + math.cos(math.pi * (step + 1) / steps)) / 2


def _adapters(network: LWISP, guide: LWISP, blocks: Sequence[str]) -> nn.ModuleDict:
    """1x1 convolutions from the student's blocks to the guide's, for those of unequal widths."""
    own, other = _widths(network.config), _widths(guide.config)
    unequal = [name for name in blocks if own[name] != other[name]]
    return nn.ModuleDict({name: nn.Conv2d(own[name], other[name], 1) for name in unequal})


def _widths(config: LWISPConfig) -> dict[str, int]:
    """Channels of each block's output."""
    growth = 2 if config.fgam else 1
    down = {f"down{level + 1}": growth * config.width << level for level in range(4)}
    up = {f"up{step + 1}": config.width << max(2 - step, 0) for step in range(4)}
    return {**down, **up}


class ByLevel(Student):
    """PyNET's own training: its levels one after the other, the coarsest first, on targets of the level's size."""

    LEVELS = 6

    def forward(self, planes: Tensor, target: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        assert isinstance(self.network, Baseline)
        assert isinstance(self.network.network, PyNET)
        planes = planes.to(memory_format=torch.channels_last)
        level = max(self.LEVELS - 1 - self.LEVELS * step // self.recipe.steps, 0)
        rgb = self.network.network.pictures(pad_to_multiple(planes), level)[-1]
        target = functional.interpolate(target, rgb.shape[-2:], mode="area")
        parts = self.errors(rgb, target)
        return self.weigh(parts), parts

    def errors(self, rgb: Tensor, target: Tensor) -> dict[str, Tensor]:
        """Reconstruction and structural loss of one level's output against its target.

        Args:
            rgb: The network's output, (B, 3, h, w) of the level's size.
            target: Of the same shape, in [0, 1].

        Returns:
            Scalars in float32: "reconstruction" (L_r), and "structure" (L_s) if the size is enough for MS-SSIM and
            alpha of the recipe is not 0.
        """
        if min(rgb.shape[-2:]) >= metrics.smallest_side(self.recipe.scales):
            return super().errors(rgb, target)
        with _in_float32(target):
            return {"reconstruction": self.reconstruction(rgb.float(), target)}


class Adversarial(nn.Module):
    """Pix2Pix: a student's objective and a discriminator's, which learns at the same time."""

    memory: Mapping[str, Tensor] = MappingProxyType({})

    def __init__(self, student: Student, weight: float) -> None:
        super().__init__()
        self.student, self.weight = student, weight
        self.critic = channels_last(PatchGAN())

    @property
    def network(self) -> LWISP | Baseline:
        """The student's network."""
        return self.student.network

    def forward(self, planes: Tensor, target: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        rgb, parts = self.student.compare(planes, target)
        loss = self.student.weigh(parts)
        planes = planes.to(memory_format=torch.channels_last)
        frozen = {name: value.detach() for name, value in self.critic.named_parameters()}
        with _in_float32(target):
            # The network's gain must not move the discriminator, nor the other way around.
            adversarial = losses.adversarial(functional_call(self.critic, frozen, (planes, rgb)))
            discrimination = losses.discrimination(self.critic(planes, target), self.critic(planes, rgb.detach()))
        loss = loss + self.weight * adversarial + discrimination
        return loss, {**parts, "adversarial": adversarial, "discrimination": discrimination}

    def judge(self, case: Case) -> tuple[Tensor, Tensor]:
        """Output and ground truth of a held-out image, for validation.

        Args:
            case: The image.

        Returns:
            (output, target), each (C, H, W).
        """
        return self.student.judge(case)


class Teacher(nn.Module):
    """Equation 7: the teacher learns to map clean images to themselves; planes are not looked at."""

    critic: nn.Module | None = None
    memory: Mapping[str, Tensor] = MappingProxyType({})

    def __init__(self, network: LWISP, recipe: Recipe) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe

    def forward(self, planes: Tensor, target: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        rgb = self.network(target.to(memory_format=torch.channels_last))
        with _in_float32(target):
            loss = losses.teaching(rgb.float(), target, self.recipe.gamma, self.recipe.scales)
        return loss, {}

    def judge(self, case: Case) -> tuple[Tensor, Tensor]:
        """Reconstruction of a held-out clean image, and the image, for validation.

        Args:
            case: The image.

        Returns:
            (reconstruction, target), each (3, H, W).
        """
        return self.network(case.target[None])[0], case.target


Objective = Student | Adversarial | Teacher


def student_objective(network: LWISP | Baseline, guide: Guide | None, recipe: Recipe) -> Student | Adversarial:
    """The objective that a recipe asks for.

    Args:
        network: the network to train, of the recipe's architecture.
        guide: what it imitates, where the recipe distills.
        recipe: decides the losses and their weights.
    """
    if guide is not None:
        assert isinstance(network, LWISP)
        student: Student = Distilled(network, guide, recipe)
    else:
        student = ByLevel(network, recipe) if recipe.by_level else Student(network, recipe)
    return Adversarial(student, recipe.adversarial) if recipe.adversarial else student


def teacher_of(architecture: Architecture) -> LWISPConfig:
    """Architecture of a network's teacher (section 3.3): the same, with clean images in and no last upsampling.

    It has no residual: adding its input to its output would leave it nothing to learn; nor colors of a frame, for the
    student imitates blocks alone.

    Args:
        architecture: the student's.

    Raises:
        InputError: for other networks than LW-ISP.
    """
    if not isinstance(architecture, LWISPConfig):
        raise InputError("only LW-ISP has a teacher; drop beta from the recipe")
    return replace(architecture, in_channels=architecture.out_channels, upsample=False, residual=False, frame_colors=0)


def _in_float32(tensor: Tensor) -> AbstractContextManager[object]:
    """A context in which autocast is off on the tensor's device."""
    return torch.autocast(tensor.device.type, enabled=False)
