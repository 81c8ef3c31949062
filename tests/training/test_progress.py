"""Long work tells of itself where no terminal shows a bar."""

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lwisp.training.progress import Reporter
from lwisp.training.recipe import Recipe
from lwisp.training.runs import train, train_stages


def test_a_line_comes_every_interval_with_what_was_told_last(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(0.05) as reporter:
        reporter.tell("a [b] photo")
        time.sleep(0.3)
        reporter.tell("photo 2")
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    texts = [re.fullmatch(r"(.*) \(\d+ s so far\)", line) for line in lines]
    told = [match[1] for match in texts if match]
    assert len(told) == len(lines)
    assert told == sorted(told)  # one after the other
    assert told.count("a [b] photo") >= 2
    assert told.count("photo 2") >= 2
    time.sleep(0.2)
    assert not capsys.readouterr().err


def test_a_quiet_reporter_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(0.01, quiet=True) as reporter:
        reporter.note("a note")
        time.sleep(0.1)
    assert not capsys.readouterr().err
    assert not reporter.has_bars


def test_no_line_is_printed_beside_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(0.02) as reporter:
        reporter.has_bars = True
        with reporter.bar():
            time.sleep(0.2)
    assert not capsys.readouterr().err


def test_training_tells_step_loss_and_seconds_left(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = (replace(recipe, steps=60), replace(recipe, steps=60, name="second"))
    with Reporter(0.02) as reporter:
        train_stages(stages, tmp_path / "toy.safetensors", reporter=reporter)
    told = capsys.readouterr().err
    for name in ("toy", "second"):
        assert re.search(rf"^{name}: step \d+ of 60, loss [\d.e-]+, \d+ s left \(\d+ s so far\)$", told, re.M), told
    assert "reading the data" in told


def test_training_without_a_reporter_prints_no_lines(
    recipe: Recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(replace(recipe, steps=2), tmp_path / "toy.safetensors")
    assert not capsys.readouterr().err
