import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import nullcontext
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import lwisp
from lwisp.baselines import Baseline, build
from lwisp.baselines.config import BaselineConfig
from lwisp.data import synthetic
from lwisp.data.cases import Case
from lwisp.data.datasets import AS_SENSED
from lwisp.data.photos import Photos
from lwisp.engines.engine import run_network
from lwisp.errors import OutputError
from lwisp.files import writing
from lwisp.imaging import metrics
from lwisp.model import BLOCKS, LWISP, LWISPConfig, pad_to_multiple
from lwisp.training import loop, losses, objectives, runs, validation
from lwisp.training.devices import precision_of
from lwisp.training.objectives import Adversarial, Distilled, Student, Teacher, student_objective, teacher_of
from lwisp.training.recipe import Recipe, learning_rate, read_recipe, read_stages
from lwisp.training.runs import train, train_stages
from lwisp.training.state import State, run_folder
from lwisp.weights import describe, load
from tests.conftest import ROOT, SAMPLE, TOY, refusal
from tests.samples import write_sidd

RUN = "toy.safetensors.run"


@pytest.fixture
def recipe(photos: Path, tmp_path: Path) -> Recipe:
    root = tmp_path / "root"
    for split in ("train", "val"):
        shutil.copytree(photos, root / split)
    return Recipe(
        name="toy",
        licence="MIT",
        root=root,
        steps=12,
        batch=2,
        crop=32,
        alpha=0,
        warmup=2,
        learning_rate=3e-3,
        checkpoint_every=4,
        validate_every=6,
        precision="fp32",
        architecture=TOY,
    )


@pytest.fixture
def distilled(recipe: Recipe) -> Recipe:
    return replace(recipe, beta=0.01, gamma=0.2, alpha=0.4, scales=1, distill=("up3", "up4"), teacher_steps=8)


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def interrupt_after(steps: int, patch: pytest.MonkeyPatch) -> None:
    original: Callable[..., Any] = loop._step
    calls: list[int] = []

    def interrupted(*args: object) -> Any:
        calls.append(1)
        if len(calls) > steps:
            raise KeyboardInterrupt
        return original(*args)

    patch.setattr(loop, "_step", interrupted)


def test_in_bf16_planes_and_targets_are_not_rounded(recipe: Recipe, tmp_path: Path) -> None:
    seen: list[Tensor] = []

    class Watched(Student):
        def forward(self, planes: Tensor, target: Tensor, step: int) -> tuple[Tensor, dict[str, Tensor]]:
            assert torch.is_autocast_enabled("cpu")
            seen.extend((planes, target))
            return super().forward(planes, target, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objectives, "Student", Watched)
        train(replace(recipe, steps=1, precision="bf16"), tmp_path / "bf16.safetensors")
    batch = Photos(recipe.root, recipe.crop, recipe.batch, recipe.seed)[0]
    assert all(torch.equal(got, whole) for got, whole in zip(seen, batch, strict=True))


def test_a_toy_network_learns_end_to_end(recipe: Recipe, tmp_path: Path) -> None:
    output = tmp_path / "toy.safetensors"
    train(replace(recipe, steps=240, checkpoint_every=40, ema=0.9), output)
    rows = rows_of(tmp_path / RUN)
    assert [row["step"] for row in rows] == list(range(40, 241, 40))
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    assert min(rows[-1]["psnr_clean"], rows[-1]["psnr_noisy"], rows[-1]["psnr_clean_whole"]) > 8
    assert 0 < rows[-1]["data_share"] < 1
    card = load(output).card
    assert (card.name, card.architecture, card.licence) == ("toy", TOY, "MIT")
    assert card.training["recipe"]["steps"] == 240
    assert len(card.photos) == 3
    facts = json.loads((tmp_path / RUN / "run.json").read_text())
    assert facts["recipe"]["seed"] == 0
    assert set(facts) == {"command", "processes", "versions", "recipe"}
    assert list((tmp_path / RUN / "tensorboard").iterdir())


def test_training_leaves_the_global_generator_as_it_was(recipe: Recipe, tmp_path: Path) -> None:
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    train(replace(recipe, steps=2, beta=0.01, gamma=0.0, teacher_steps=1), tmp_path / "toy.safetensors")
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("stop", [5, 11])
def test_stopping_and_going_on_equals_never_stopping(distilled: Recipe, tmp_path: Path, stop: int) -> None:
    whole = train(distilled, tmp_path / "whole.safetensors")
    output = tmp_path / "halves.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(stop, patch)  # in the teacher's 8 steps, or the student's 12
        with pytest.raises(KeyboardInterrupt):
            train(distilled, output)
    assert not output.exists()
    resumed = train(distilled, output)
    for name, value in whole.network.state_dict().items():
        assert torch.equal(resumed.network.state_dict()[name], value)
    assert (tmp_path / "whole.safetensors").read_bytes() == output.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("other", [{"adversarial": 0.005}, {"architecture": BaselineConfig("srgan")}], ids=str)
def test_so_it_is_with_a_discriminator_and_with_other_networks(
    other: dict[str, Any], recipe: Recipe, tmp_path: Path
) -> None:
    recipe = replace(recipe, **other)
    train(recipe, tmp_path / "whole.safetensors")
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(6, patch)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "halves.safetensors")
    weights = train(recipe, tmp_path / "halves.safetensors")
    assert (tmp_path / "whole.safetensors").read_bytes() == (tmp_path / "halves.safetensors").read_bytes()
    assert load(tmp_path / "whole.safetensors").card.architecture == weights.card.architecture == recipe.architecture
    row = rows_of(tmp_path / "whole.safetensors.run")[0]
    expected = row["reconstruction"]
    if "adversarial" in other:
        expected += 0.005 * row["adversarial"] + row["discrimination"]
        assert 0.1 < row["discrimination"] < 3  # 0.69 for a critic that knows nothing
    assert row["loss"] == pytest.approx(expected, rel=1e-5)


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


def test_the_levels_of_pynet_are_trained_from_the_coarsest_to_the_picture(recipe: Recipe) -> None:
    plan = replace(recipe, steps=60, architecture=BaselineConfig("pynet"), by_level=True)
    network = Baseline(BaselineConfig("pynet"))
    objective = student_objective(network, None, plan)
    levels = ("level5", "level4", "level3", "level2", "level1", "last_out")
    planes, target = torch.rand(1, 4, 32, 32), torch.rand(1, 3, 64, 64)
    for step, expected in ((9, 1), (10, 2), (59, 6)):
        objective.zero_grad()
        objective(planes, target, step)[0].backward()
        moved = {name.split(".")[1] for name, value in network.named_parameters() if value.grad is not None}
        assert [name for name in levels if name in moved] == list(levels[:expected])


@pytest.mark.slow
def test_a_process_killed_at_any_moment_leaves_a_run_that_goes_on(recipe: Recipe, tmp_path: Path) -> None:
    toml = tmp_path / "toy.toml"
    toml.write_text(
        f'name = "toy"\nlicence = "MIT"\nroot = "{recipe.root}"\nsteps = 1000\nbatch = 2\ncrop = 32\nalpha = 0\n'
        'precision = "fp32"\ncheckpoint_every = 1\nvalidate_every = 10000\narchitecture = { width = 4 }\n'
    )
    output = tmp_path / "toy.safetensors"
    state = tmp_path / RUN / "state.pt"
    steps = [0]
    for _ in range(2):
        process = subprocess.Popen(
            [sys.executable, "-m", "lwisp", "train", str(toml), "-o", str(output)], stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and (not state.exists() or _step_of(state) <= steps[-1]):
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        steps.append(_step_of(state))
    assert steps[0] < steps[1] < steps[2]
    assert not output.exists()


def _step_of(state: Path) -> int:
    return int(torch.load(state, weights_only=True)["step"])


def test_a_folder_that_another_process_trains_in_is_left_alone(recipe: Recipe, tmp_path: Path) -> None:
    train(recipe, tmp_path / "toy.safetensors")
    before = rows_of(tmp_path / RUN)
    with FileLock(tmp_path / RUN / "lock"), pytest.raises(lwisp.InputError, match="another process is training there"):
        train(replace(recipe, steps=recipe.steps + 4), tmp_path / "toy.safetensors")
    assert rows_of(tmp_path / RUN) == before
    train(replace(recipe, steps=recipe.steps + 4), tmp_path / "toy.safetensors")
    assert len(rows_of(tmp_path / RUN)) > len(before)


def test_a_folder_is_held_from_the_beginning_to_the_end(recipe: Recipe, tmp_path: Path) -> None:
    """Before data are made and a state is looked at, so that two never begin at once."""
    output, run = tmp_path / "toy.safetensors", tmp_path / RUN
    plan = replace(recipe, data="synthetic", convention=AS_SENSED)
    run.mkdir()
    (run / "state.pt").write_bytes(b"being written")
    for begin in (train, runs.train_teacher):
        with FileLock(run / "lock"), pytest.raises(lwisp.InputError, match="another process is training there; wait"):
            begin(plan, output)
    assert sorted(path.name for path in run.iterdir()) == ["lock", "state.pt"]
    held: list[str] = []
    with pytest.MonkeyPatch.context() as patch:

        def tried(*_: object) -> None:
            with pytest.raises(lwisp.InputError, match="another process is training there"):
                train(recipe, output)
            held.append("weights")

        (run / "state.pt").unlink()
        patch.setattr(runs, "save", tried)
        train(replace(recipe, steps=1), output)
    assert held == ["weights"]
    with pytest.raises(lwisp.InputError, match="no such folder"):
        train(replace(recipe, root=tmp_path / "nowhere"), tmp_path / "other.safetensors")
    assert not (tmp_path / "other.safetensors.run").exists()  # let go of, and nothing left of it


def test_the_logarithmic_loss_takes_the_place_of_the_mean(recipe: Recipe, tmp_path: Path) -> None:
    plain = replace(recipe, steps=1, checkpoint_every=1, alpha=0.0)
    logarithmic = replace(plain, logarithmic=True)
    for name, plan in (("a", plain), ("b", logarithmic), ("c", replace(logarithmic, apart=True))):
        train(plan, tmp_path / f"{name}.safetensors")
    rows = [rows_of(tmp_path / f"{name}.safetensors.run")[-1]["reconstruction"] for name in "abc"]
    before, after, apart = rows
    assert before > 0 > after
    assert apart != after
    with pytest.raises(ValueError, match="logarithmic = true with apart"):
        replace(plain, apart=True)


def test_teacher_and_student_are_trained_one_after_the_other(distilled: Recipe, tmp_path: Path) -> None:
    weights = train(distilled, tmp_path / "toy.safetensors")
    teacher = load(tmp_path / RUN / "teacher.safetensors")
    assert teacher.card.architecture == teacher_of(TOY) == replace(TOY, in_channels=3, upsample=False)
    assert teacher.card.training["task"].startswith("clean targets to themselves")
    assert [row["step"] for row in rows_of(tmp_path / RUN / "teacher.safetensors.run")] == [4, 8]
    row = rows_of(tmp_path / RUN)[-1]
    expected = row["reconstruction"] + 0.4 * row["structure"] + 0.01 * row["distillation"]
    assert row["loss"] == pytest.approx(expected, rel=1e-5)
    assert set(weights.card.training["teacher"]) == {"sha256"}


def test_a_teacher_given_is_used_and_must_fit(distilled: Recipe, tmp_path: Path) -> None:
    first = train(distilled, tmp_path / "first.safetensors")
    path = tmp_path / "first.safetensors.run" / "teacher.safetensors"
    second = train(replace(distilled, teacher=str(path)), tmp_path / "second.safetensors")
    assert not (tmp_path / "second.safetensors.run" / "teacher.safetensors").exists()
    assert all(torch.equal(a, b) for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True))
    other = replace(distilled, teacher=str(path), architecture=LWISPConfig(width=4, fgam=False))
    with pytest.raises(lwisp.InputError, match="not the teacher of this architecture"):
        train(other, tmp_path / "third.safetensors")


def test_the_student_imitates_and_the_teacher_stands_still(distilled: Recipe) -> None:
    torch.manual_seed(0)
    teacher = LWISP(teacher_of(TOY))
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = LWISP(TOY)
    objective = Distilled(student, teacher, replace(distilled, alpha=0, beta=2.0))
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

    def blocks(self, x: Tensor, keep: Collection[str] = BLOCKS) -> dict[str, Tensor]:
        padded = pad_to_multiple(x)
        seen = functional.pixel_shuffle(padded, 2) if self.config.upsample else padded[:, :1]
        first = functional.avg_pool2d(seen, 2) if self.config.upsample else seen
        known = {"up2": functional.avg_pool2d(first, 2), "up3": first, "up4": seen}
        return {name: known[name].expand(-1, 4, -1, -1) for name in keep}


@pytest.mark.parametrize("crop", [64, 100, 192, 200])
def test_who_sees_what_the_teacher_sees_has_nothing_to_imitate(crop: int, distilled: Recipe) -> None:
    plan = replace(distilled, crop=crop, distill=("up2", "up3", "up4"))
    target = torch.rand(1, 1, crop, crop, generator=torch.Generator().manual_seed(0)).expand(-1, 3, -1, -1)
    planes = functional.pixel_unshuffle(target[:, :1], 2)
    student, teacher = Seer(TOY), Seer(teacher_of(TOY))
    _, parts = Distilled(student, teacher, plan)(planes, target, 0)
    assert float(parts["distillation"]) < 1e-12


def test_a_crop_of_which_nothing_is_padded_is_compared_as_ever(distilled: Recipe) -> None:
    torch.manual_seed(0)
    student, teacher = LWISP(TOY), LWISP(teacher_of(TOY))
    plan = replace(distilled, crop=192, distill=BLOCKS)
    planes, target = torch.rand(1, 4, 96, 96), torch.rand(1, 3, 192, 192)
    _, parts = Distilled(student, teacher, plan)(planes, target, 0)
    assert torch.equal(
        parts["distillation"], losses.distillation(student.blocks(planes), teacher.blocks(target), BLOCKS)
    )


def test_training_begins_with_other_weights(recipe: Recipe, tmp_path: Path) -> None:
    first = train(recipe, tmp_path / "first.safetensors")
    path = str(tmp_path / "first.safetensors")
    barely = replace(recipe, start=path, steps=1, learning_rate=1e-9)
    second = train(barely, tmp_path / "second.safetensors")
    for a, b in zip(first.network.parameters(), second.network.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-3)  # float16 on disk
    centered = replace(barely, architecture=LWISPConfig(width=4, attention="centered"))
    third = train(centered, tmp_path / "third.safetensors")
    planes = torch.rand(1, 4, 32, 32)
    assert torch.allclose(third.network(planes), first.network(planes), atol=1e-3)
    back = train(replace(barely, start=str(tmp_path / "third.safetensors")), tmp_path / "back.safetensors")
    assert torch.allclose(back.network(planes), first.network(planes), atol=1e-3)
    with pytest.raises(lwisp.InputError, match="weights of another architecture"):
        train(replace(recipe, start="photo"), tmp_path / "fourth.safetensors")


def test_training_for_something_else_begins_with_what_fits(recipe: Recipe, tmp_path: Path) -> None:
    first = train(recipe, tmp_path / "first.safetensors").network.state_dict()
    wanted = LWISPConfig(width=4, in_channels=3, upsample=False, residual=True)
    barely = replace(recipe, data="denoise", architecture=wanted, steps=1, learning_rate=1e-9)
    second = train(replace(barely, start=str(tmp_path / "first.safetensors")), tmp_path / "second.safetensors")
    for name, value in second.network.state_dict().items():
        if name.startswith("out."):
            assert float(value.abs().max()) < 1e-3  # still nothing is added
        elif name != "head.0.weight":
            assert torch.allclose(value, first[name], atol=1e-3)


def test_pictures_that_are_rgb_already_need_the_network_without_upsampling(recipe: Recipe, tmp_path: Path) -> None:
    pairs = tmp_path / "pairs"
    for folder in ("input", "target"):
        shutil.copytree(recipe.root / "train", pairs / folder)
    plan = replace(recipe, data="pairs", root=pairs)
    with pytest.raises(lwisp.InputError, match="in_channels = 3 and upsample = false"):
        train(plan, tmp_path / "toy.safetensors")
    weights = train(replace(plan, architecture=teacher_of(TOY)), tmp_path / "toy.safetensors")
    assert weights.network(torch.rand(1, 3, 20, 30)).shape == (1, 3, 20, 30)


def test_two_processes_train_as_one(recipe: Recipe, tmp_path: Path) -> None:
    toml = tmp_path / "toy.toml"
    toml.write_text(
        f'name = "toy"\nlicence = "MIT"\nroot = "{recipe.root}"\nsteps = 4\nbatch = 4\ncrop = 32\nalpha = 0\n'
        'precision = "fp32"\nvalidate_every = 4\narchitecture = { width = 4 }\n'
    )
    output = tmp_path / "two.safetensors"
    command = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "lwisp", "train"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "default"}
    done = subprocess.run(
        [sys.executable, *command, str(toml), "-o", str(output)], capture_output=True, env=environment, text=True
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads((tmp_path / "two.safetensors.run" / "run.json").read_text())
    assert facts["processes"] == 2
    one = replace(recipe, steps=4, batch=4, learning_rate=8e-5, warmup=500, validate_every=4)
    with pytest.MonkeyPatch.context() as patch:
        halves = Photos(recipe.root, 32, 2)

        def both(_: Photos, step: int) -> tuple[torch.Tensor, torch.Tensor]:
            first, second = (original(halves, 2 * step + rank) for rank in (0, 1))
            return torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]])

        original = Photos.__getitem__
        patch.setattr(Photos, "__getitem__", both)
        whole = train(one, tmp_path / "one.safetensors")
    for a, b in zip(whole.network.parameters(), load(output).network.parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-3)


def test_a_finished_run_is_not_trained_again_and_may_be_made_longer(recipe: Recipe, tmp_path: Path) -> None:
    output = tmp_path / "toy.safetensors"
    train(recipe, output)
    log = tmp_path / "toy.safetensors.run" / "log.jsonl"
    rows = len(log.read_text().splitlines())
    train(recipe, output)
    assert len(log.read_text().splitlines()) == rows
    train(replace(recipe, steps=16), output)
    assert len(log.read_text().splitlines()) == rows + 1


def test_another_recipe_does_not_go_on_from_this_one(recipe: Recipe, tmp_path: Path) -> None:
    train(recipe, tmp_path / "toy.safetensors")
    with pytest.raises(lwisp.InputError, match=r"another recipe \(seed\)"):
        train(replace(recipe, seed=9), tmp_path / "toy.safetensors")


def test_other_photos_or_fewer_steps_do_not_go_on_from_this_run(recipe: Recipe, tmp_path: Path) -> None:
    output = tmp_path / "toy.safetensors"
    train(recipe, output)
    with pytest.raises(lwisp.InputError, match="has 12 steps already"):
        train(replace(recipe, steps=6), output)
    (recipe.root / "train" / "2.png").unlink()
    with pytest.raises(lwisp.InputError, match="other photos"):
        train(recipe, output)


def test_a_damaged_state_is_one_clear_error(recipe: Recipe, tmp_path: Path) -> None:
    state = tmp_path / "toy.safetensors.run" / "state.pt"
    state.parent.mkdir()
    for content in (b"", b"no state", b"PK\x03\x04 cut"):
        state.write_bytes(content)
        with pytest.raises(lwisp.InputError, match="damaged"):
            train(recipe, tmp_path / "toy.safetensors")
        assert state.read_bytes() == content


def test_a_state_of_other_things_names_the_file_to_delete(recipe: Recipe, tmp_path: Path) -> None:
    output, state = tmp_path / "toy.safetensors", tmp_path / RUN / "state.pt"
    train(replace(recipe, steps=8), output)
    known = torch.load(state, weights_only=True)
    rows = len(rows_of(state.parent))
    network = LWISP(TOY)
    average = {key: value.clone() for key, value in network.state_dict().items()}
    own = State(recipe, tuple(known["names"]), network, average, torch.optim.AdamW(network.parameters()))
    assert own.resume(state)[0] == 8
    name = next(iter(known["average"]))
    wrong: list[Any] = [torch.zeros(3), [1, 2], {"step": 4}, {**known, "step": float("inf")}, {**known, "step": -1}]
    for key in ("network", "average", "optimizer"):
        wrong += [{**known, key: None}, {**known, key: 3}, {**known, key: {}}]
    wrong += [
        {**known, part: {**known[part], name: torch.zeros(shape)}}
        for part in ("network", "average")
        for shape in ((), (2, 3))
    ]
    wrong += [{**known, "row": 3}, {**known, "recipe": {"name": "toy"}}, {**known, "names": 1}]
    for content in wrong:
        torch.save(content, state)
        with pytest.raises(lwisp.InputError, match=r"state\.pt: cannot go on from this file, it is damaged; delete it"):
            own.resume(state)
    output.unlink()
    state.unlink()
    train(replace(recipe, steps=4), output)
    assert len(rows_of(state.parent)) == 1 < rows  # begun anew, and so is the log


def test_what_lies_in_the_way_of_a_run_is_one_clear_error(recipe: Recipe, tmp_path: Path) -> None:
    for name in ("state.pt", "log.jsonl", "run.json", "lock"):
        output = tmp_path / f"{name}.safetensors"
        (tmp_path / f"{output.name}.run" / name).mkdir(parents=True)
        with pytest.raises(lwisp.InputError, match=rf"{name}|cannot be locked") as caught:
            train(replace(recipe, steps=1), output)
        assert "\n" not in str(caught.value)
        assert not output.exists()


def fill(patch: pytest.MonkeyPatch, name: str) -> None:
    """The disk is full where a file of that name is written."""

    def full(temporary: Path, path: Path, overwrite: bool) -> None:
        if path.name == name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        temporary.replace(path)

    patch.setattr(writing, "_give_name", full)


@pytest.mark.parametrize("name", ["state.pt", "run.json", "toy.safetensors", "teacher.safetensors", "0.png"])
def test_a_full_disk_is_one_clear_error_and_the_run_goes_on(name: str, distilled: Recipe, tmp_path: Path) -> None:
    output = tmp_path / "toy.safetensors"
    plan = replace(distilled, data="synthetic", convention=AS_SENSED, steps=2, teacher_steps=1, checkpoint_every=1)
    with pytest.MonkeyPatch.context() as patch:
        fill(patch, name)
        with pytest.raises(lwisp.InputError, match=rf"{name}: cannot be written: No space left on device$"):
            train(plan, output)
    assert not output.exists()
    assert not list(tmp_path.rglob("*.tmp"))
    train(plan, output)
    assert load(output).card.name == "toy"


def test_a_state_that_finds_no_room_is_one_clear_error(recipe: Recipe, tmp_path: Path) -> None:
    network = torch.nn.Linear(300, 300)
    state = State(recipe, (), network, {}, torch.optim.AdamW(network.parameters()))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))  # torch turns what the system says into its own error
    try:
        with pytest.raises(lwisp.InputError, match=r"state\.pt: cannot be written: File too large$"):
            state.save(tmp_path / "root" / "state.pt", 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert sorted(path.name for path in (tmp_path / "root").iterdir()) == ["train", "val"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_log_that_finds_no_room_keeps_the_weights(recipe: Recipe, tmp_path: Path) -> None:
    output, log = tmp_path / "toy.safetensors", tmp_path / RUN / "log.jsonl"
    log.parent.mkdir()
    log.symlink_to("/dev/full")
    with pytest.raises(lwisp.InputError, match=r"log\.jsonl: cannot be written: No space left on device$"):
        train(replace(recipe, steps=1), output)
    weights = output.read_bytes()
    log.unlink()
    train(replace(recipe, steps=1), output)
    assert output.read_bytes() == weights
    assert [row["step"] for row in rows_of(log.parent)] == [1]


@pytest.mark.parametrize("method", ["__init__", "add_scalar", "add_image", "close"])
def test_tensorboard_that_fails_ends_no_run(
    method: str, recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"torch.utils.tensorboard.SummaryWriter.{method}", fail)
        train(recipe, tmp_path / "toy.safetensors")
    said = capsys.readouterr().err
    assert said.count("tensorboard: no more is written there: [Errno 28] No space left on device") == 1
    assert [row["step"] for row in rows_of(tmp_path / RUN)] == [4, 8, 12]
    assert (tmp_path / "toy.safetensors").exists()


def short(recipe: Recipe) -> Recipe:
    """A run on data that it makes itself."""
    return replace(recipe, data="synthetic", convention=AS_SENSED, steps=1)


@pytest.mark.parametrize("count", [0, 1, 7, 15])
def test_data_whose_making_was_killed_between_any_two_files_are_made_anew(
    count: int, recipe: Recipe, tmp_path: Path
) -> None:
    original, written = synthetic._write_picture, 0

    def killed(path: Path, values: NDArray[Any]) -> None:
        nonlocal written
        if written == count:
            raise KeyboardInterrupt
        written += 1
        original(path, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "_write_picture", killed)
        patch.setattr(shutil, "rmtree", lambda *_, **__: None)  # who is killed tidies nothing up
        with pytest.raises(KeyboardInterrupt):
            train(short(recipe), tmp_path / "toy.safetensors")
    assert not (tmp_path / RUN / "data").exists()
    train(short(recipe), tmp_path / "toy.safetensors")
    assert len(list((tmp_path / RUN / "data").rglob("*.png"))) == 8


@pytest.mark.slow
def test_a_process_killed_while_it_makes_data_leaves_a_run_that_goes_on(recipe: Recipe, tmp_path: Path) -> None:
    toml, output = tmp_path / "toy.toml", tmp_path / "toy.safetensors"
    toml.write_text(
        'name = "toy"\nlicence = "MIT"\ndata = "synthetic"\nsteps = 1\nbatch = 2\ncrop = 32\nalpha = 0\nwarmup = 2\n'
        'learning_rate = 3e-3\ncheckpoint_every = 4\nvalidate_every = 6\nprecision = "fp32"\n'
        "architecture = { width = 4 }\n"
        'convention = { white_balance = "none", color = "camera", exposure = "none" }\n'
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "lwisp", "train", str(toml), "-o", str(output)], stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(tmp_path.glob(f"{RUN}/*/train/*/*.png"))) < 3:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    left = list((tmp_path / RUN).glob(".lwisp-*.tmp"))
    assert len(left) == 1
    assert not (tmp_path / RUN / "data").exists()
    train(replace(read_recipe(toml)), output)
    assert output.exists()
    assert not left[0].exists()


def test_a_run_killed_before_its_weights_were_written_writes_them_and_its_last_row(
    distilled: Recipe, tmp_path: Path
) -> None:
    whole, output = tmp_path / "whole.safetensors", tmp_path / "toy.safetensors"
    train(distilled, whole)

    def killed(path: Path, *_: object) -> None:
        raise KeyboardInterrupt

    for _ in range(2):  # before the teacher's, before the student's
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(runs, "save", killed)
            with pytest.raises(KeyboardInterrupt):
                train(distilled, output)
        if not (tmp_path / RUN / "teacher.safetensors").exists():
            with pytest.MonkeyPatch.context() as patch:
                interrupt_after(0, patch)
                with pytest.raises(KeyboardInterrupt):  # writes the teacher, which has all its steps
                    train(distilled, output)
            assert (tmp_path / RUN / "teacher.safetensors").exists()
    assert not output.exists()
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after(0, patch)  # nothing is trained any more
        train(distilled, output)
    assert output.read_bytes() == whole.read_bytes()
    rows, expected = (rows_of(run) for run in (tmp_path / RUN, tmp_path / "whole.safetensors.run"))
    timed = ("seconds", "data_share")
    rows, expected = ([{k: v for k, v in row.items() if k not in timed} for row in x] for x in (rows, expected))
    assert rows == expected


def test_held_out_pictures_that_cannot_be_scored_cost_nobody_the_weights(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, original = tmp_path / "toy.safetensors", Student.judge

    def judge(self: Student, case: Case) -> tuple[Tensor, Tensor]:
        if case.target.shape[-1] != case.target.shape[-2]:
            raise torch.OutOfMemoryError("a whole picture does not fit\non this GPU")
        return original(self, case)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Student, "judge", judge)
        patch.setattr(validation, "CASE_SIDE", 64)
        train(recipe, output)
    assert "step 12: held-out pictures cannot be scored: a whole picture does not fit on this GPU" in (
        " ".join(capsys.readouterr().err.split())
    )
    row = rows_of(tmp_path / RUN)[-1]
    assert row["step"] == 12
    assert "psnr_clean" in row
    assert "psnr_clean_whole" not in row
    assert output.exists()


def test_a_teacher_that_lies_on_a_device_does_not_keep_the_weights_from_being_written(
    distilled: Recipe, tmp_path: Path
) -> None:
    fit: Callable[..., None] = loop.fit
    train(distilled, tmp_path / "here.safetensors")

    def on_device(run: Any, objective: Any, write: Any) -> None:
        fit(run, objective, write)
        if isinstance(objective, Distilled):
            objective.teacher.to("meta")  # as a GPU: numpy cannot see what lies there

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "fit", on_device)
        train(distilled, tmp_path / "there.safetensors")
    assert (tmp_path / "there.safetensors").read_bytes() == (tmp_path / "here.safetensors").read_bytes()


@pytest.mark.parametrize("emulated", [True, False])
def test_bf16_is_chosen_only_where_a_gpu_has_it(emulated: bool, recipe: Recipe) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or not emulated
        )
        plan = replace(recipe, precision="auto")
        assert precision_of(plan, "cuda") == ("fp32" if emulated else "bf16")
        assert precision_of(replace(recipe, precision="bf16"), "cuda") == "bf16"


PLANES = LWISPConfig(width=4, out_channels=4, upsample=False, residual=True)


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
    teacher = LWISP(teacher_of(plan.architecture)) if plan.beta else None
    objectives.append((student_objective(network, teacher, plan), network))
    if teacher is not None:
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


def test_a_worker_that_finds_no_room_says_it_in_one_sentence() -> None:
    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        raise OutputError("Caught OutputError in worker 0.\nTraceback:\n  x\nlwisp.errors.OutputError: a.npy: full")
        yield

    with pytest.raises(OutputError, match=r"^a\.npy: full$"):
        loop._next(batches())


def test_a_file_of_the_users_is_not_trained_over(recipe: Recipe, tmp_path: Path) -> None:
    mine = tmp_path / "mine.jpg"
    mine.write_text("mine")
    with pytest.raises(lwisp.InputError, match="is not of this run"):
        train(recipe, mine)
    assert mine.read_text() == "mine"
    with pytest.raises(lwisp.InputError, match="this is a folder"):
        train(recipe, tmp_path)


def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_state(recipe: Recipe, tmp_path: Path) -> None:
    output = tmp_path / "toy.safetensors"
    train(replace(recipe, steps=4), output)
    state = (tmp_path / "toy.safetensors.run" / "state.pt").read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_step", lambda *_: {"loss": torch.tensor(float("nan"))})
        with pytest.raises(lwisp.InputError, match=r"the loss is nan at step 8; the last good state is in"):
            train(recipe, output)
    assert (tmp_path / "toy.safetensors.run" / "state.pt").read_bytes() == state


def test_the_learning_rate_rises_stays_and_falls(recipe: Recipe) -> None:
    plan = replace(recipe, steps=100, warmup=10, decay=0.5, learning_rate=1.0, schedule="linear")
    rates = [learning_rate(plan, step) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9:51] == [1.0] * 42
    assert rates[75] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.02)
    curve = [learning_rate(replace(plan, schedule="cosine"), step) for step in range(100)]
    assert curve[:51] == rates[:51]
    assert curve[75] == pytest.approx(0.5)
    assert curve[90] == pytest.approx((1 - 0.8090170) / 2)  # cos(36 degrees)


def test_the_recipe_of_the_shipped_weights_is_the_one_on_their_card() -> None:
    recipe = read_stages(ROOT / "recipes" / "photo.toml")[-1]
    card = load("photo").card.training["recipe"]
    for key in ("steps", "batch", "crop", "seed", "learning_rate", "warmup", "decay", "clip", "ema"):
        assert card[key] == getattr(recipe, key)


def test_stages_are_the_same_runs_one_after_the_other(recipe: Recipe, tmp_path: Path) -> None:
    second = replace(recipe, steps=4, seed=1)
    train_stages((recipe, second), tmp_path / "both.safetensors")
    train(recipe, tmp_path / "first.safetensors")
    alone = train(replace(second, start=str(tmp_path / "first.safetensors")), tmp_path / "second.safetensors")
    both = load(tmp_path / "both.safetensors")
    expected = alone.network.state_dict()
    assert all(torch.equal(value.half(), expected[key].half()) for key, value in both.network.state_dict().items())
    assert [stage["steps"] for stage in both.card.training["stages before"]] == [recipe.steps]
    assert both.card.training["recipe"]["steps"] == 4
    facts = json.loads((tmp_path / "both.safetensors.run" / "run.json").read_text())
    assert facts["stages before"] == both.card.training["stages before"]
    assert facts["recipe"]["simulation"]["cameras"] == both.card.training["recipe"]["simulation"]["cameras"]
    shown = describe(str(tmp_path / "both.safetensors"))
    assert "\n- stages before:\n  - 1:\n    - adversarial: 0.0\n" in shown
    assert "\n    - simulation:\n      - cameras:\n        - " in shown
    assert f"\n  - lwisp: {version('lwisp')}\n" in shown
    assert "{" not in shown


def test_stages_go_on_with_the_one_that_was_stopped(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = (recipe, replace(recipe, steps=4, seed=1))
    train_stages(stages, tmp_path / "whole.safetensors")
    output = tmp_path / "stopped.safetensors"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        interrupt_after(recipe.steps + 2, patch)
        train_stages(stages, output)
    first = run_folder(output) / "stage-1.safetensors"
    written = first.stat().st_mtime_ns
    train_stages(stages, output)
    assert first.stat().st_mtime_ns == written
    ended, whole = load(output).network.state_dict(), load(tmp_path / "whole.safetensors").network.state_dict()
    assert all(torch.equal(value, whole[key]) for key, value in ended.items())
    with pytest.raises(lwisp.InputError, match="trained by another recipe"):
        train_stages((replace(recipe, seed=7), stages[1]), output)


def test_a_stage_says_what_differs_from_what_stands_above(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('name = "a"\nlicence = "MIT"\nsteps = 9\n[[stage]]\nseed = 1\n[[stage]]\nsteps = 4\n')
    stages = read_stages(path)
    assert [(stage.seed, stage.steps, stage.name) for stage in stages] == [(1, 9, "a"), (0, 4, "a")]
    assert "expected a recipe of one stage, got 2" in refusal(path, read_recipe, path)
    for wrong, said in (
        ("[[stage]]\n[[stage]]\nstart='photo'", "only the first stage"),
        ("stage = 3", "[[stage]] tables"),
    ):
        path.write_text(f'name = "a"\nlicence = "MIT"\n{wrong}\n')
        assert said in refusal(path, read_stages, path)


def test_constants_of_the_simulators_stand_in_the_recipe_and_on_the_card(recipe: Recipe, tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text('name = "a"\nlicence = "MIT"\n[simulation.cameras]\nred_gain = [1.5, 2.0]\n')
    simulation = read_recipe(path).simulation
    assert simulation.cameras.red_gain == (1.5, 2.0)
    weights = train(replace(recipe, simulation=simulation, steps=2), tmp_path / "toy.safetensors")
    plain = train(replace(recipe, steps=2), tmp_path / "plain.safetensors")
    assert weights.card.training["recipe"]["simulation"]["cameras"]["red_gain"] == [1.5, 2.0]
    assert not torch.equal(weights.network.state_dict()["head.0.bias"], plain.network.state_dict()["head.0.bias"])
    for wrong in ("red_gain = [2.0, 1.5]", "green_gain = 1.0", "bits = [10.5, 14]", "red_gain = [1.0, inf]"):
        path.write_text(f'name = "a"\nlicence = "MIT"\n[simulation.cameras]\n{wrong}\n')
        assert "not a usable recipe" in refusal(path, read_recipe, path)


def test_every_recipe_of_the_project_reads() -> None:
    names = {path.stem: read_stages(path)[-1] for path in (ROOT / "recipes").glob("*.toml")}
    assert set(names) >= {"zurich", "mai21", "sidd", "lol", "photo", "tiny"}
    assert (names["zurich"].learning_rate, names["zurich"].alpha) == (8e-5, 0.4)
    assert names["zurich"].distill == ("up2", "up3", "up4")


@pytest.mark.parametrize("name", ["denoise", "denoise-raw", "enhance", "sidd", "sidd-raw", "polyu", "lol"])
def test_recipes_of_subtasks_train_what_the_verbs_take(name: str, recipe: Recipe, tmp_path: Path) -> None:
    plan = read_stages(ROOT / "recipes" / f"{name}.toml")[-1]
    assert isinstance(plan.architecture, LWISPConfig)
    data = tmp_path / "data"
    if name.startswith("sidd"):
        write_sidd(data, synthetic.pictures(4, 0, 48, 64))
    elif name == "polyu":
        for split in ("train", "val"):
            (data / split).mkdir(parents=True)
            for word, picture in zip(("real", "mean"), synthetic.pictures(2, 0, 48, 64), strict=True):
                Image.fromarray(picture.permute(1, 2, 0).numpy()).save(data / split / f"1_{word}.png")
    elif name == "lol":
        made = synthetic.pictures(2, 0, 48, 64)
        synthetic.write_lol(data, {"our485": made, "eval15": made})
    short = replace(
        recipe,
        data=plan.data,
        root=data if data.exists() else recipe.root,
        architecture=replace(plan.architecture, width=4),
        start=None,
        beta=plan.beta,
        scales=1,
        teacher_steps=2,
        steps=4,
    )
    weights = train(short, tmp_path / f"{name}.safetensors")
    loaded = load(tmp_path / f"{name}.safetensors")
    assert loaded.card.convention == AS_SENSED
    row = rows_of(tmp_path / f"{name}.safetensors.run")[-1]
    assert any(key.startswith("psnr") for key in row)
    if loaded.card.architecture.takes == "planes":
        raw = lwisp.denoise_raw(lwisp.read_raw(SAMPLE), loaded)
        assert raw.mosaic.shape == lwisp.read_raw(SAMPLE).mosaic.shape
    else:
        assert lwisp.denoise(np.zeros((40, 50, 3), np.uint8), loaded).shape == (40, 50, 3)
    assert weights.card.architecture == loaded.card.architecture


@pytest.mark.slow
def test_a_small_network_learns_to_denoise(recipe: Recipe, tmp_path: Path) -> None:
    wanted = LWISPConfig(width=8, in_channels=3, upsample=False, residual=True)
    plan = replace(
        recipe, data="denoise", architecture=wanted, steps=150, batch=4, crop=48, ema=0.9, checkpoint_every=50
    )
    weights = train(plan, tmp_path / "denoise.safetensors")
    for case in Photos(recipe.root, 32, task="denoise").cases(96):
        if case.kind != "low":
            before, after = (
                metrics.psnr(x, case.target) for x in (case.planes, run_network(weights.network, case.planes))
            )
            assert after > before + 0.3


def test_a_gpu_that_is_not_there_is_refused(recipe: Recipe, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    with pytest.raises(lwisp.InputError, match="finds no GPU"):
        train(recipe, tmp_path / "toy.safetensors", device="cuda")


def test_wrong_recipes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    good = 'name = "x"\nlicence = "MIT"\nalpha = 0\n'
    for text, word in {
        good + "stepz = 3": "stepz",
        good + "steps = 0": "of 1 at least",
        good + 'precision = "fp8"': "bf16",
        good + 'data = "imagenet"': "zurich",
        good + 'distill = ["up5"]': "distill out of down1",
        good + "gamma = 0\nbeta = 0.1\ndistill = []": "blocks to distill",
        good + "scales = 6": "1 to 5 scales",
        good + 'gamma = 0\nbeta = 0.1\ncrop = 200\ndistill = ["up4", "down4"]': "of 32 px .* got 200; take 192 or 224",
        good + "gamma = 0\nbeta = 0.1\ncrop = 50": "of 4 px to distill up2, up3, up4, .* take 48 or 52",
        'name = "x"\nlicence = "MIT"\ncrop = 96': "a crop of 161 px at least for 5 scales",
        good + "ema = 1.0": "ema",
        good + "learning_rate = nan": "positive learning_rate",
        good + "clip = 0.0": "positive clip",
        good + "seed = -1": "a seed of",
        good + "steps = " + "9" * 5000: "not a usable recipe",
        good + "[architecture]\nwidth = 5": "width",
        "name = ": "not a usable recipe",
        'name = "x"': "licence",
    }.items():
        path.write_text(text)
        with pytest.raises(lwisp.InputError, match=word):
            read_recipe(path)
    with pytest.raises(lwisp.InputError, match="cannot read"):
        read_recipe(tmp_path / "none.toml")
