import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lwisp.architecture import LWISPConfig
from lwisp.data import unprocess
from lwisp.errors import InputError
from lwisp.imaging import color
from lwisp.model import LWISP
from lwisp.training import losses
from lwisp.training.guides import Guide, developable
from lwisp.training.objectives import MEASURED_EVERY, Distilled, fading, teacher_of
from lwisp.training.recipe import Recipe
from lwisp.training.runs import train
from lwisp.weights import Card, InputConvention, save
from tests.conftest import TOY

AS_SENSED = InputConvention(white_balance="none", color="camera", exposure="none")


def batch(count: int = 2, side: int = 64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.rand(count, 4, side // 2, side // 2, generator=generator), torch.rand(
        count, 3, side, side, generator=generator
    )


def test_a_teacher_of_another_picture_sees_the_next_target_of_the_batch() -> None:
    torch.manual_seed(0)
    teacher = LWISP(teacher_of(TOY))
    planes, target = batch()
    own = Guide(teacher)(planes, target, ("up3",))["up3"]
    other = Guide(teacher, "another")(planes, target, ("up3",))["up3"]
    assert torch.allclose(other[0], own[1], atol=1e-6)
    assert torch.allclose(other[1], own[0], atol=1e-6)
    assert not torch.allclose(other[0], own[0], atol=1e-3)


def test_planes_of_any_camera_become_developable() -> None:
    """A camera's mosaic without noise, made canonical by the fit, is what the known camera would have given."""
    generator = torch.Generator().manual_seed(0)
    smooth = torch.nn.functional.interpolate(torch.rand(1, 3, 4, 4, generator=generator), (64, 64), mode="bicubic")
    target = smooth.clamp(0.1, 0.9)
    camera = unprocess.random_camera(1, generator)
    exposure = torch.tensor([0.3])
    packed = unprocess.take_mosaic(unprocess.expose(color.unrender(target), camera, exposure).clamp(0, 1))
    made = developable(packed, target, InputConvention(noise=True))
    assert made.shape == (1, 5, 32, 32)
    known = color.canonicalize(packed, camera.white_balance, camera.cam2rgb) / 0.3
    assert float((made[:, :4] - known.clamp(0, 1)).abs().mean()) < 0.01
    noisy = unprocess.add_noise(packed, torch.tensor([4e-3]), torch.tensor([1e-4]), generator)
    told = developable(noisy, target, InputConvention(noise=True))[:, 4]
    assert float(told.mean()) > 1.3 * float(made[:, 4].mean())


def test_a_black_crop_has_a_matrix_too() -> None:
    made = developable(torch.zeros(1, 4, 32, 32), torch.zeros(1, 3, 64, 64), InputConvention())
    assert bool(made.isfinite().all())


def test_normalized_channels_count_alike_however_strong() -> None:
    generator = torch.Generator().manual_seed(1)
    guide, own = torch.randn(2, 3, 8, 8, generator=generator), torch.randn(2, 3, 8, 8, generator=generator)
    strength = torch.tensor([1.0, 100.0, 1e4])[:, None, None]
    plain = losses.distillation({"up3": own}, {"up3": guide}, ("up3",), normalized=True)
    strong = losses.distillation({"up3": own * strength}, {"up3": guide * strength}, ("up3",), normalized=True)
    by_hand = ((own - guide) / guide.std((0, 2, 3), keepdim=True)).square().mean()
    assert float(plain) == pytest.approx(float(by_hand), rel=1e-5)
    weak = losses.distillation({"up3": own[:, :2] * 50}, {"up3": guide[:, :2] * 50}, ("up3",), normalized=True)
    assert float(strong) < 2 * float(plain)  # the weakest lies below a hundredth of the block's spread
    assert float(weak) == pytest.approx(
        float(losses.distillation({"up3": own[:, :2]}, {"up3": guide[:, :2]}, ("up3",), normalized=True)), rel=1e-4
    )


def test_a_block_that_tells_nothing_divides_by_nothing() -> None:
    flat = {"up3": torch.zeros(1, 2, 4, 4)}
    assert float(losses.distillation(flat, flat, ("up3",), normalized=True)) == 0


def test_beta_gives_the_gradient_its_share(distilled: Recipe) -> None:
    torch.manual_seed(0)
    plan = replace(distilled, distill_share=0.25, distill_normalized=True, crop=64, steps=100)
    objective = Distilled(LWISP(TOY), Guide(LWISP(teacher_of(TOY))), plan)
    planes, target = batch()
    _, parts = objective(planes, target, 0)
    learned = list(objective.network.parameters())

    def norm(loss: Tensor) -> float:
        gradients = torch.autograd.grad(loss, learned, retain_graph=True, allow_unused=True)
        return float(torch.stack([gradient.norm() for gradient in gradients if gradient is not None]).norm())

    others = objective.weigh({name: part for name, part in parts.items() if name in ("reconstruction", "structure")})
    share = norm(parts["beta"].detach() * parts["distillation"]) / norm(others)
    assert share == pytest.approx(0.25, rel=1e-3)
    before = float(objective.beta)
    objective(planes * 0.5, target, 1)
    assert float(objective.beta) == before  # measured from time to time only
    objective(planes * 0.5, target, MEASURED_EVERY)
    assert float(objective.beta) != before


def test_what_fades_is_gone_in_the_last_step(distilled: Recipe) -> None:
    assert fading(99, 100) == 0
    assert fading(49, 100) == pytest.approx(0.5)
    plan = replace(distilled, distill_fade=True, crop=64, steps=10, beta=5.0)
    torch.manual_seed(0)
    objective = Distilled(LWISP(TOY), Guide(LWISP(teacher_of(TOY))), plan)
    planes, target = batch()
    last, parts = objective(planes, target, 9)
    alone = objective.weigh({name: part for name, part in parts.items() if name in ("reconstruction", "structure")})
    assert float(last.detach()) == pytest.approx(float(alone.detach()))
    first, _ = objective(planes, target, 0)
    assert float(first.detach()) > float(last.detach())


def test_blocks_of_unequal_widths_meet_through_a_layer_that_learns(distilled: Recipe) -> None:
    torch.manual_seed(0)
    wide = LWISP(LWISPConfig(width=8))
    plan = replace(distilled, guide="raw", teacher="some", crop=64)
    objective = Distilled(LWISP(TOY), Guide(wide, "raw"), plan)
    assert objective.critic is not None
    shapes = {name: tuple(value.shape) for name, value in objective.adapters.state_dict().items()}
    assert shapes["up3.weight"] == shapes["up4.weight"] == (8, 4, 1, 1)
    loss, parts = objective(*batch(), 0)
    loss.backward()
    assert float(parts["distillation"].detach()) > 0
    assert all(value.grad is not None for value in objective.adapters.parameters())
    assert Distilled(LWISP(TOY), Guide(LWISP(teacher_of(TOY))), distilled).critic is None


@pytest.mark.slow
@pytest.mark.parametrize("guide", ["untrained", "another", "raw"])
def test_a_run_with_a_control_goes_on_to_the_same_bytes(guide: Any, distilled: Recipe, tmp_path: Path) -> None:
    save(
        tmp_path / "wide.safetensors",
        LWISP(LWISPConfig(width=8)),
        Card("wide", LWISPConfig(width=8), InputConvention(), "MIT"),
    )
    teacher = str(tmp_path / "wide.safetensors") if guide == "raw" else None
    plan = replace(
        distilled, guide=guide, teacher=teacher, distill_share=0.3, distill_normalized=True, distill_fade=True, steps=12
    )
    train(plan, tmp_path / "whole.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lwisp.training.loop._check_finite", _stop_at(8))
        with pytest.raises(KeyboardInterrupt):
            train(plan, tmp_path / "parts.safetensors")
    train(plan, tmp_path / "parts.safetensors")
    assert (tmp_path / "parts.safetensors").read_bytes() == (tmp_path / "whole.safetensors").read_bytes()
    log = (tmp_path / "whole.safetensors.run" / "log.jsonl").read_text().splitlines()
    assert 0 < json.loads(log[-1])["beta"] < json.loads(log[0])["beta"] * 10
    assert (tmp_path / "whole.safetensors.run" / "teacher.safetensors").exists() == (guide == "another")


def _stop_at(step: int) -> Any:
    def check(row: dict[str, Any], *_: Any) -> None:
        if row["step"] > step:
            raise KeyboardInterrupt

    return check


def test_weights_that_cannot_guide_are_refused(distilled: Recipe, tmp_path: Path) -> None:
    for name, architecture, said in (
        ("rgb", LWISPConfig(width=4, in_channels=3, upsample=False), "takes an LW-ISP for RAW on cells of 2"),
        ("camera", LWISPConfig(width=8), "prepared for another camera"),
    ):
        path = tmp_path / f"{name}.safetensors"
        save(path, LWISP(architecture), Card(name, architecture, AS_SENSED, "MIT"))
        with pytest.raises(InputError, match=said):
            train(replace(distilled, guide="raw", teacher=str(path), distill=("up3",)), tmp_path / "new.safetensors")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"guide": "raw"}, "a teacher, weights that take RAW"),
        ({"guide": "another", "batch": 1}, "a batch of 2 at least"),
        ({"distill_share": -0.1}, "distill_share"),
        ({"distill_share": 0.1, "adversarial": 0.1}, "adversarial = 0"),
    ],
)
def test_fields_that_do_not_fit_are_refused(changes: dict[str, Any], said: str, distilled: Recipe) -> None:
    with pytest.raises(ValueError, match=said):
        replace(distilled, **changes)
