import csv
import json
import os
import platform
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import lwisp
from lwisp.training.boards import LIBRARIES, check_logger, open_board
from lwisp.training.recipe import Recipe
from lwisp.training.runs import train_stages
from tests.conftest import ROOT


def test_curves_go_into_a_table_that_holds_what_the_log_holds(recipe: Recipe, tmp_path: Path) -> None:
    plan = replace(recipe, steps=8)
    train_stages([plan], tmp_path / "toy.safetensors", logger="csv")
    folder = tmp_path / "toy.safetensors.run"
    assert not (folder / "tensorboard").exists()
    with (folder / "csv" / "version_0" / "metrics.csv").open() as file:
        found = {int(row["step"]): row for row in csv.DictReader(file)}
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert sorted(found) == [row["step"] for row in log] == [4, 8]
    for row in log:
        assert float(found[row["step"]]["loss"]) == pytest.approx(row["loss"])


@pytest.mark.parametrize("logger", ["mlflow", "wandb"])
def test_a_library_that_is_missing_is_one_sentence_before_any_work(
    logger: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, logger, None)  # as if it were not installed
    with pytest.raises(lwisp.InputError, match=rf"--logger {logger} needs {logger}, which is not installed; pip"):
        train_stages([recipe], tmp_path / "toy.safetensors", logger=logger)  # type: ignore[arg-type]
    assert not (tmp_path / "toy.safetensors.run").exists()


def test_tensorboard_is_no_condition() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, LIBRARIES["tensorboard"], None)
        check_logger("tensorboard")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_mlflow_writes_a_local_database_and_pictures(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    for step in (1, 2):  # as a run that goes on
        board = open_board("mlflow", tmp_path, "toy")
        board.write({"loss": 0.5 / step}, step)
        board.show("psnr a/b", torch.rand(3, 8, 8), step)
        board.close()
    with sqlite3.connect(tmp_path / "mlflow" / "mlflow.db") as base:
        assert base.execute("select key, value, step from metrics order by step").fetchall() == [
            ("loss", 0.5, 1),
            ("loss", 0.25, 2),
        ]
    assert list((tmp_path / "mlflow" / "pictures").rglob("*.png"))


def test_weights_and_biases_stay_offline(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    script = (
        "import sys, torch; from pathlib import Path; from lwisp.training.boards import open_board\n"
        "board = open_board('wandb', Path(sys.argv[1]), 'toy'); board.write({'loss': 0.5}, 1)\n"
        "board.show('psnr', torch.rand(3, 8, 8), 1); print('on the terminal'); board.close()"
    )
    run = tmp_path / "run-folder"
    run.mkdir()
    (tmp_path / "started.py").write_text(script)
    command: list[str | Path] = [sys.executable, tmp_path / "started.py", run, "--told=secretly"]
    subprocess.run(
        command,
        check=True,
        capture_output=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])},
    )
    (kept,) = (run / "wandb").glob("offline-run-*")
    (record,) = kept.glob("*.wandb")
    assert b"loss" in record.read_bytes()
    for path in filter(Path.is_file, kept.rglob("*")):
        if path.parent.name != "logs":  # which are not sent
            for word in ("started.py", "told=secretly", "on the terminal", sys.executable, platform.node()):
                assert word.encode() not in path.read_bytes(), path
