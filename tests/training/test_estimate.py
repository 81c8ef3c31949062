from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lwisp.training import runs
from lwisp.training.estimate import hours_of, in_words, step_seconds
from lwisp.training.progress import Reporter
from lwisp.training.recipe import Recipe
from tests.conftest import TOY


@pytest.mark.parametrize(
    ("hours", "said"),
    [(0.001, "about 1 minute"), (0.5, "about 30 minutes"), (2.43, "about 2.43 hours"), (120, "about 120 hours")],
)
def test_times_are_told_in_hours_from_two_on(hours: float, said: str) -> None:
    assert in_words(hours) == said
    assert hours_of(0.36, 20_000) == pytest.approx(2)


def test_timing_a_step_leaves_the_random_numbers_as_they_are(recipe: Recipe) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    assert 0 < step_seconds(replace(recipe, architecture=TOY), rounds=1) < 60
    assert torch.equal(torch.rand(3), expected)


def test_a_long_training_says_how_long_before_its_first_step(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runs, "LONG", 10)
    monkeypatch.setattr(runs, "step_seconds", lambda plan, device: 100.0 * plan.batch)
    stages = (replace(recipe, steps=12), replace(recipe, steps=14, batch=1))
    runs.train_stages(stages, tmp_path / "toy.safetensors", reporter=Reporter())
    told = [line for line in capsys.readouterr().err.splitlines() if "steps, about" in line]
    hours = (12 * 200 + 14 * 100) / 3600
    assert told == [f"toy: 26 steps, about {round(60 * hours)} minutes on this machine; reading data not counted"]
    runs.train_stages(stages, tmp_path / "other.safetensors")
    assert "steps, about" not in capsys.readouterr().err  # from Python only where a reporter is given
    monkeypatch.setattr(runs, "LONG", 400)
    runs.train_stages(stages[:1], tmp_path / "short.safetensors", reporter=Reporter())
    assert "steps, about" not in capsys.readouterr().err
