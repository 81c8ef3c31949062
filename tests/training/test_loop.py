import errno
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
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

import lwisp
from lwisp.architecture import LWISPConfig
from lwisp.baselines.config import BaselineConfig
from lwisp.data import synthetic
from lwisp.data.cases import Case
from lwisp.data.datasets import AS_SENSED
from lwisp.data.photos import Photos
from lwisp.engines.tensors import run_network
from lwisp.errors import DamagedError, InputError, OutputError, UnsupportedError
from lwisp.files import writing
from lwisp.files.runs import run_folder
from lwisp.imaging import metrics
from lwisp.model import LWISP
from lwisp.training import loop, objectives, runs, validation
from lwisp.training.objectives import Distilled, Student, teacher_of
from lwisp.training.recipe import Recipe, read_recipe, read_stages
from lwisp.training.runs import train, train_stages
from lwisp.training.state import State
from lwisp.weights import describe, load
from tests.conftest import ROOT, SAMPLE, TOY, refusal
from tests.samples import write_sidd

RUN = "toy.safetensors.run"


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


@pytest.mark.slow
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


def test_a_file_that_came_in_place_of_the_weights_is_kept(recipe: Recipe, tmp_path: Path) -> None:
    output = tmp_path / "toy.safetensors"
    runs.train(replace(recipe, steps=2, checkpoint_every=2), output)
    output.write_bytes(b"somebody's own")
    with pytest.raises(lwisp.InputError, match="exists already and is not of this run"):
        runs.train(replace(recipe, steps=4, checkpoint_every=2), output)
    assert output.read_bytes() == b"somebody's own"


def test_a_name_with_markup_is_a_name(recipe: Recipe, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    runs.train(replace(recipe, name="my [/run] \x1b weights", steps=2), tmp_path / "toy.safetensors")
    assert "\x1b" not in capfd.readouterr().err


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


@pytest.mark.slow
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
            objective.guide.to("meta")  # as a GPU: numpy cannot see what lies there

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runs, "fit", on_device)
        train(distilled, tmp_path / "there.safetensors")
    assert (tmp_path / "there.safetensors").read_bytes() == (tmp_path / "here.safetensors").read_bytes()


def test_a_worker_that_finds_no_room_says_it_in_one_sentence() -> None:
    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        raise OutputError("Caught OutputError in worker 0.\nTraceback:\n  x\nlwisp.errors.OutputError: a.npy: full")
        yield

    with pytest.raises(OutputError, match=r"^a\.npy: full$"):
        loop._next(batches())


@pytest.mark.parametrize("kind", [InputError, DamagedError, UnsupportedError])
def test_errors_of_workers_keep_their_kind_and_lose_their_traceback(kind: type[InputError]) -> None:
    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        name = kind.__name__
        raise kind(f"Caught {name} in worker 0.\nTraceback:\n  x\nlwisp.errors.{name}: a.png: cut short\n")
        yield

    with pytest.raises(kind, match=r"^a\.png: cut short$"):
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
