"""Training objectives: a batch -> the loss and its parts. One class for each way to train a network.

`Student` is equation 3 without distillation, for LW-ISP and any baseline; `Distilled` adds the teacher; `ByLevel`
trains PyNET level by level; `Adversarial` adds Pix2Pix's discriminator to one of these; `Teacher` is equation 7. All
have a `network`, a `critic` (a discriminator that learns beside it, or None), and

    forward(planes, target, step) -> (loss, parts)

for planes (B, 4, h, w) or RGB (B, 3, H, W), and targets (B, 3, H, W) in [0, 1], or clean planes. `parts` are the terms
of the loss by name, for the log. The loss itself is computed in float32, whatever precision the network runs in.
"""

from contextlib import AbstractContextManager
from dataclasses import replace

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
from lwisp.training.recipe import Recipe


class Student(nn.Module):
    """Equation 3 without distillation: reconstruction and structural loss."""

    critic = None

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
    """Equation 3: the student also imitates blocks of a teacher, whose weights are frozen."""

    network: LWISP

    def __init__(self, network: LWISP, teacher: LWISP, recipe: Recipe) -> None:
        super().__init__(network, recipe)
        self.teacher = teacher.requires_grad_(False).eval()

    def compare(self, planes: Tensor, target: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The student's output for a batch, and the terms of the loss before they are weighted.

        Args:
            planes: The network's input, (B, C, h, w) in [0, 1].
            target: (B, 3, H, W) in [0, 1], which the teacher sees as well.

        Returns:
            The output in float32, of the target's shape; and the terms by name: those of `errors`, and "distillation".
        """
        distill = self.recipe.distill
        planes = planes.to(memory_format=torch.channels_last)
        seen = self.network.see(self.network.pad(planes))
        own = self.network.blocks_of(seen, (*distill, "up4"))
        rgb = self.network.finish(own["up4"], seen, (planes.shape[-2], planes.shape[-1]))
        with torch.no_grad():
            guide = self.teacher.blocks(target.to(memory_format=torch.channels_last), distill)
        parts = self.errors(rgb, target)
        with _in_float32(target):
            own = {name: own[name].float() for name in distill}
            guide = {name: guide[name].float() for name in distill}
            if self.recipe.architecture.scale == 2:  # planes of half the size are not padded to the same pixels
                own = losses.within_frame(own, (planes.shape[-2], planes.shape[-1]))
                guide = losses.within_frame(guide, (target.shape[-2], target.shape[-1]))
            parts["distillation"] = losses.distillation(own, guide, distill)
        return rgb.float(), parts


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

    critic = None

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


def student_objective(network: LWISP | Baseline, teacher: LWISP | None, recipe: Recipe) -> Student | Adversarial:
    """The objective that a recipe asks for.

    Args:
        network: the network to train, of the recipe's architecture.
        teacher: its trained teacher, where the recipe distills.
        recipe: decides the losses and their weights.
    """
    if teacher is not None:
        assert isinstance(network, LWISP)
        student: Student = Distilled(network, teacher, recipe)
    else:
        student = ByLevel(network, recipe) if recipe.by_level else Student(network, recipe)
    return Adversarial(student, recipe.adversarial) if recipe.adversarial else student


def teacher_of(architecture: Architecture) -> LWISPConfig:
    """Architecture of a network's teacher (section 3.3): the same, with clean images in and no last upsampling.

    It has no residual: adding its input to its output would leave it nothing to learn.

    Args:
        architecture: the student's.

    Raises:
        InputError: for other networks than LW-ISP.
    """
    if not isinstance(architecture, LWISPConfig):
        raise InputError("only LW-ISP has a teacher; drop beta from the recipe")
    return replace(architecture, in_channels=architecture.out_channels, upsample=False, residual=False)


def _in_float32(tensor: Tensor) -> AbstractContextManager[object]:
    """A context in which autocast is off on the tensor's device."""
    return torch.autocast(tensor.device.type, enabled=False)
