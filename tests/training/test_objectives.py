from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lwisp.architecture import BLOCKS, LWISPConfig
from lwisp.baselines.build import Baseline, build
from lwisp.baselines.config import BaselineConfig, Name
from lwisp.model import LWISP, Seen
from lwisp.training import loop, losses
from lwisp.training.guides import Guide
from lwisp.training.objectives import Adversarial, Distilled, Teacher, student_objective, teacher_of
from lwisp.training.recipe import Recipe
from tests.conftest import TOY

PLANES = LWISPConfig(width=4, out_channels=4, upsample=False, residual=True)


def test_network_and_discriminator_learn_from_their_own_side_only(recipe: Recipe) -> None:
    objective = student_objective(LWISP(TOY), None, replace(recipe, adversarial=1.0))
    assert isinstance(objective, Adversarial)
    assert objective.critic is not None
    planes, target = torch.rand(2, 4, 32, 32), torch.rand(2, 3, 64, 64)
    _, parts = objective(planes, target, 0)
    parts["adversarial"].backward(retain_graph=True)
    assert all(parameter.grad is None for parameter in objective.critic.parameters())
    assert any(
        float(parameter.grad.abs().max()) > 0
        for parameter in objective.network.parameters()
        if parameter.grad is not None
    )
    objective.zero_grad()
    parts["discrimination"].backward()
    assert all(parameter.grad is None for parameter in objective.network.parameters())
    assert all(parameter.grad is not None for parameter in objective.critic.parameters())


@pytest.mark.parametrize("name", ["pynet", "pynet-ca"])
def test_the_levels_of_pynet_are_trained_from_the_coarsest_to_the_picture(name: Name, recipe: Recipe) -> None:
    plan = replace(recipe, steps=60, architecture=BaselineConfig(name), by_level=True)
    network = Baseline(BaselineConfig(name))
    objective = student_objective(network, None, plan)
    levels = ("level5", "level4", "level3", "level2", "level1", "last_out")
    planes, target = torch.rand(1, 4, 32, 32), torch.rand(1, 3, 64, 64)
    for step, expected in ((9, 1), (10, 2), (59, 6)):
        objective.zero_grad()
        objective(planes, target, step)[0].backward()
        moved = {name.split(".")[1] for name, value in network.named_parameters() if value.grad is not None}
        assert [name for name in levels if name in moved] == list(levels[:expected])


def test_the_student_imitates_and_the_teacher_stands_still(distilled: Recipe) -> None:
    torch.manual_seed(0)
    teacher = LWISP(teacher_of(TOY))
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = LWISP(TOY)
    objective = Distilled(student, Guide(teacher), replace(distilled, alpha=0, beta=2.0))
    planes, target = torch.rand(2, 4, 32, 32), torch.rand(2, 3, 64, 64)
    loss, parts = objective(planes, target, 0)
    loss.backward()
    guide = teacher.blocks(target)
    own = student.blocks(planes)
    pooled = guide["up3"].reshape(2, 4, 32, 2, 32, 2).mean((3, 5))
    by_hand = (own["up3"] - pooled).square().mean() + (own["up4"] - guide["up4"]).square().mean()
    assert float(parts["distillation"].detach()) == pytest.approx(float(by_hand.detach()), rel=1e-5)
    by_hand = (objective.network(planes) - target).abs().mean() + 2 * by_hand
    assert float(loss.detach()) == pytest.approx(float(by_hand.detach()), rel=1e-5)
    assert all(parameter.grad is None for parameter in teacher.parameters())
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


class Seer(LWISP):
    """A network whose blocks are what it sees: of a mosaic, of a picture's first channel."""

    def blocks_of(self, seen: Seen, keep: Collection[str] = BLOCKS) -> dict[str, Tensor]:
        padded = seen.planes
        gray = functional.pixel_shuffle(padded, 2) if self.config.upsample else padded[:, :1]
        first = functional.avg_pool2d(gray, 2) if self.config.upsample else gray
        known = {"up2": functional.avg_pool2d(first, 2), "up3": first, "up4": gray}
        return {name: known[name].expand(-1, 4, -1, -1) for name in keep}


@pytest.mark.parametrize("crop", [64, 100, 192, 200])
def test_who_sees_what_the_teacher_sees_has_nothing_to_imitate(crop: int, distilled: Recipe) -> None:
    plan = replace(distilled, crop=crop, distill=("up2", "up3", "up4"))
    target = torch.rand(1, 1, crop, crop, generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    planes = functional.pixel_unshuffle(target[:, :1], 2)
    student, teacher = Seer(TOY), Seer(teacher_of(TOY))
    _, parts = Distilled(student, Guide(teacher), plan)(planes, target, 0)
    assert float(parts["distillation"]) < 1e-12


def test_a_crop_of_which_nothing_is_padded_is_compared_as_ever(distilled: Recipe) -> None:
    torch.manual_seed(0)
    student, teacher = LWISP(TOY), LWISP(teacher_of(TOY))
    plan = replace(distilled, crop=192, distill=BLOCKS)
    planes, target = torch.rand(1, 4, 96, 96), torch.rand(1, 3, 192, 192)
    _, parts = Distilled(student, Guide(teacher), plan)(planes, target, 0)
    assert torch.equal(
        parts["distillation"], losses.distillation(student.blocks(planes), teacher.blocks(target), BLOCKS)
    )


class OneDevice(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses operations on tensors of several devices, as a GPU does; but for numbers (no dimension) and copies."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = {x.device.type for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor) and x.dim()}
        assert len(found) < 2 or func is torch.ops.aten.copy_.default, f"{func} of {sorted(found)}"
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("changes", "takes"),
    [
        ({"beta": 0.1, "alpha": 0.4, "scales": 2, "crop": 72}, "raw"),
        (
            {
                "beta": 0.1,
                "gamma": 0.0,
                "adversarial": 0.1,
                "architecture": replace(TOY, padding="zeros", attention="centered"),
            },
            "raw",
        ),
        ({"architecture": PLANES, "beta": 0.1, "gamma": 0.0}, "planes"),
        ({"architecture": replace(PLANES, in_channels=3, out_channels=3), "logarithmic": True, "apart": True}, "rgb"),
        ({"architecture": replace(TOY, look=8, fgam=False, ccb=False)}, "raw"),
        ({"architecture": BaselineConfig("pynet"), "by_level": True}, "raw"),
    ],
)
def test_every_tensor_of_a_step_lies_on_the_objectives_device(
    changes: dict[str, Any], takes: str, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step on `meta` in place of a GPU: no operation may be given a tensor of the processor's."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no meta
    plan = replace(recipe, **{"crop": 64, **changes})
    objectives: list[tuple[torch.nn.Module, Any]] = []
    network = build(plan.architecture)
    guide = Guide(LWISP(teacher_of(plan.architecture))) if plan.beta else None
    objectives.append((student_objective(network, guide, plan), network))
    if guide is not None:
        own = LWISP(teacher_of(plan.architecture))
        objectives.append((Teacher(own, plan), own))
    side = plan.crop // 2 if takes in ("raw", "planes") else plan.crop
    target_side = side * plan.architecture.scale
    planes = torch.rand(2, plan.architecture.in_channels, side, side, device="meta")
    target = torch.rand(2, plan.architecture.out_channels, target_side, target_side, device="meta")
    for objective, learner in objectives:
        objective.to("meta")
        with OneDevice():  # type: ignore[no-untyped-call]
            loss, parts = objective(planes, target, 0)
            loss.backward()
            average = {name: value.clone() for name, value in learner.state_dict().items()}
            loop._update_average(average, learner, 0.5)
        assert {part.device.type for part in (loss, *parts.values())} == {"meta"}
        assert any(value.grad is not None for value in learner.parameters())
    with pytest.raises(AssertionError), OneDevice():  # type: ignore[no-untyped-call]
        functional.conv2d(planes, torch.ones(3, plan.architecture.in_channels, 3, 3))
