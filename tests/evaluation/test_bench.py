"""What is measured stands beside what it was measured on; nothing here judges a time."""

import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lwisp.baselines.build import build
from lwisp.baselines.config import BaselineConfig
from lwisp.engines.cost import count_multiply_adds, time_in_turn
from lwisp.evaluation import bench as benches
from lwisp.evaluation import file_timing
from lwisp.evaluation.bench import bench
from lwisp.evaluation.file_timing import FileTiming
from lwisp.evaluation.folder_timing import FolderTiming
from lwisp.model import LWISP, count_params
from tests.conftest import TOY, WriteDng
from tests.test_cli import call

MOSAIC = np.random.default_rng(0).integers(64, 4000, (40, 60), dtype=np.uint16)


@pytest.mark.slow
def test_a_bench_measures_networks_tools_and_growth(
    toy_file: Path, write_dng: WriteDng, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])"
    monkeypatch.setattr(
        file_timing,
        "installed_commands",
        lambda weights, source, output: {
            "copier": [sys.executable, "-c", copy, str(source), str(output)],
            "idler": [sys.executable, "-c", "print('no time today')"],
        },
    )
    folder = tmp_path / "bench"
    arguments = ("bench", toy_file, "--size", "32x48", "--engines", "eager", "--against", "srcnn", "--rounds", 2)
    more = ("--end-to-end", write_dng(MOSAIC), "--sizes", "0.02", "-o", folder)
    result = call(*arguments, *more)
    assert result.exit_code == 0, result.output
    report = json.loads((folder / "bench.json").read_text())
    assert report["planes"] == [1, 4, 32, 48]
    assert set(report["machine"]) == {"processor", "instructions", "threads", "system", "versions"}
    for row, network in zip(report["networks"], (LWISP(TOY), build(BaselineConfig("srcnn"))), strict=True):
        assert row["engine"] == "eager"
        assert row["params"] == count_params(network)
        assert row["macs"] == count_multiply_adds(network, (1, 4, 32, 48))
        assert len(row["seconds"]) == 2
        assert min(*row["seconds"], row["cold_seconds"]) > 0
        assert 100 < row["peak_memory_mib"] < 4000  # torch alone takes more than 100
    assert report["networks"][0]["ratio"] == 1
    assert [row["name"] for row in report["tools"]] == ["lwisp", "rawpy default", "copier", "idler"]
    assert "exit code 0: no time today" in report["tools"][3]["failure"]
    (point,) = report["by_size"]
    assert (round(point["megapixels"], 3), point["failure"]) == (0.02, "")
    page = (folder / "bench.md").read_text()
    assert page == result.stdout
    assert "| lwisp | eager | " in page
    with Image.open(folder / "scaling.png") as picture:
        assert picture.width == 1320
    again = call(*arguments, "-o", folder)
    assert (again.exit_code, "exists already" in again.stderr) == (2, True)


def test_what_cannot_be_measured_is_refused_before_anything_is(toy_file: Path, tmp_path: Path) -> None:
    for arguments, word in (
        (("--against", "pynet,vgg"), "expected names out of srcnn, .* got 'vgg'"),
        (("--engines", "tensorrt"), "expected names out of eager, .* got 'tensorrt'"),
        (("--engines", ""), "one of the arguments is empty"),
        (("--rounds", "0"), "expected an engine, rounds"),
        (("--size", "32"), "HEIGHTxWIDTH"),
        (("--sizes", "many"), "numbers with commas"),
        (("--sizes", "1e9"), "0.01 to 2000 megapixels"),
        (("--threads", "0"), "expected 1 to"),
        (("--end-to-end", tmp_path / "none.dng"), "No such file"),
        (("--folder", "4"), "copies of the file that --end-to-end names"),
        (("--end-to-end", tmp_path / "none.dng", "--folder", "0"), "expected 1 to 10000 copies"),
    ):
        result = call("bench", toy_file, *arguments)
        assert result.exit_code == 2, result.output
        assert re.search(word, result.stderr), result.stderr
        assert result.stderr.count("\n") == 1


def test_calls_take_turns_and_the_first_round_is_not_counted() -> None:
    order: list[str] = []
    seconds = time_in_turn([lambda: order.append("a"), lambda: order.append("b")], rounds=2)
    assert "".join(order) == "ababab"
    assert [len(times) for times in seconds] == [2, 2]


def test_a_failed_size_stands_on_the_page(toy_file: Path) -> None:
    report = bench(str(toy_file), (32, 32), ("eager",), rounds=1)
    failed = FileTiming(200, 2, failure="needs 9 GB")
    page = benches.to_markdown(replace(report, by_size=(failed,)))
    assert "| 200.00 | 2 | needs 9 GB |" in page


def test_a_folder_stands_on_the_page_with_seconds_a_file_and_core_seconds(toy_file: Path) -> None:
    report = bench(str(toy_file), (32, 32), ("eager",), rounds=1)
    lwisp = FolderTiming("lwisp", 1, (8.0, 10.0, 9.0), (15.0, 16.0, 17.0), 1.0)
    failed = FolderTiming("rawpy default", 2, failure="rawpy default made 3 pictures of 4 files")
    page = benches.to_markdown(replace(report, folders=(lwisp, failed), folder=4, file="a.dng"))
    assert "| lwisp | 1 | 9.00 [8.00, 10.00] | 2.25 | 1.00 | 16.0 [15.0, 17.0] |" in page
    assert "| rawpy default | 2 | rawpy default made 3 pictures of 4 files |" in page
