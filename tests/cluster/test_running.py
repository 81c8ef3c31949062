"""The command on a cluster: the same bytes, workers and schedulers that are lost, workers that do not fit."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lwisp.cli.commands import app
from lwisp.cluster import running
from lwisp.cluster.running import Patience, develop_on
from lwisp.cluster.worker import Named, Refusal, Request, check, develop_one, request_of
from lwisp.development import Settings, pick, pick_fast
from lwisp.errors import InputError
from lwisp.model import LWISP
from lwisp.planning import Job, plan
from lwisp.weights import load, save
from tests.cluster.harness import Cluster, cluster, fill, free_port, soon
from tests.conftest import SAMPLE, TOY, WriteDng, heed_signals, require
from tests.test_cli_batches import digests

require("distributed")
COMMAND = [sys.executable, "-m", "lwisp"]


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A scheduler with two workers, which one death is enough to blame a file in."""
    variables = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "0", "OMP_NUM_THREADS": "1"}
    preload = Path(__file__).with_name("deadly.py")
    with cluster(tmp_path_factory.mktemp("two") / "log", 2, "--preload", str(preload), **variables) as started:
        yield started


def test_workers_on_this_machine_make_the_bytes_of_the_batch(
    write_dng: WriteDng, toy_file: Path, tmp_path: Path
) -> None:
    files = fill(tmp_path / "photos", 5, write_dng)
    files[3].write_text("no RAW")
    manifest = tmp_path / "list.txt"
    manifest.write_text("\n".join([*(f"photos/{file.name}" for file in files), "photos/gone.dng"]))
    assert call("develop", tmp_path / "photos", "-o", tmp_path / "here", "--weights", toy_file).exit_code == 1
    log = tmp_path / "log.jsonl"
    told = ("-o", tmp_path / "there", "--weights", toy_file, "--cluster", "local", "--jobs", "2")
    result = call("develop", manifest, *told, "--json", "--log", log)
    assert result.exit_code == 1, result.output
    assert digests(tmp_path / "there") == digests(tmp_path / "here")
    assert len(digests(tmp_path / "there")) == 4
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert sorted(record.get("status", "end") for record in records) == ["end", "failed", "failed", *["made"] * 4]
    assert len({record["worker"] for record in records if record.get("status") == "made"}) == 2
    assert "gone.dng" in result.stderr
    assert [{**json.loads(line), "time": 0} for line in log.read_text().splitlines()] == [
        {"time": 0, **record} for record in records
    ]


def test_a_file_that_kills_its_worker_fails_alone(
    two: Cluster, write_dng: WriteDng, toy_file: Path, tmp_path: Path
) -> None:
    files = fill(tmp_path / "photos", 5, write_dng)
    shutil.copy(files[0], tmp_path / "photos" / "deadly.dng")
    told = ("-o", tmp_path / "out", "--weights", toy_file, "--cluster", two.address, "--json")
    result = call("develop", tmp_path / "photos", *told)
    assert result.exit_code == 1, result.output
    records = [json.loads(line) for line in result.stdout.splitlines()]
    failures = [record for record in records if record.get("status") == "failed"]
    assert len(failures) == 1, "\n".join(map(str, failures))
    failed = failures[0]
    assert (failed["kind"], failed["source"]) == ("crash", str(tmp_path / "photos" / "deadly.dng"))
    assert "the worker died" in failed["error"]
    assert len(digests(tmp_path / "out")) == 5
    (tmp_path / "photos" / "deadly.dng").unlink()
    again = call("develop", tmp_path / "photos", *told)
    assert (again.exit_code, json.loads(again.stdout.splitlines()[-1])["done_before"]) == (0, 5)


def test_a_worker_that_lacks_what_is_needed_is_told_of_and_none_that_fits_ends_it(
    two: Cluster, write_dng: WriteDng, toy_file: Path, tmp_path: Path
) -> None:
    jobs = plan(fill(tmp_path / "photos", 2, write_dng), tmp_path / "out", None)
    said: list[str] = []
    two.wait_for(2)
    lacking = Request("named", (Named("mine", "0" * 64, tmp_path / "mine.safetensors"),))
    with pytest.raises(
        InputError, match=r"no worker can do it; worker tcp://.* is not taken: it has no weights 'mine'"
    ):
        develop_on(two.address, lacking, jobs, tell=said.append)
    assert len(said) == 2
    request = request_of(load(toy_file), toy_file)
    with pytest.raises(InputError, match="a sequence is developed on one machine"):
        develop_on(two.address, Request("pick", (), Settings(same_as="first")), jobs)
    assert not (tmp_path / "out").exists()
    assert [outcome.error for outcome in develop_on(two.address, request, jobs)] == ["", ""]


def test_what_a_worker_checks(toy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for weights in (pick, pick_fast):
        assert check(request_of(weights)) == ""
    assert check(request_of(load("photo"))) == ""
    asked = request_of(pick)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "data" / "lwisp" / "weights").mkdir(parents=True)
    shutil.copy(toy_file, tmp_path / "data" / "lwisp" / "weights" / "mine.safetensors")
    here = request_of(pick)
    assert [named.name for named in here.needed] == ["photo", "photo-linear", "mine"]
    assert check(here) == ""
    other = Request("pick", asked.needed, backend="openvino")  # of which nothing is kept yet
    assert "has looks that are not here (mine)" in check(other)
    toy = load(toy_file)
    with pytest.raises(InputError, match="weights of a safetensors file"):
        request_of(type(toy)(toy.network, toy.card))
    changed = tmp_path / "toy.safetensors"
    named = request_of(toy, changed)
    save(changed, LWISP(TOY), toy.card)
    (tmp_path / "data" / "lwisp" / "weights" / "mine.safetensors").unlink()
    assert f"it has no weights 'toy' with the SHA-256 {toy.sha256[:16]}" in check(named)


def test_a_worker_of_another_version_is_refused(
    two: Cluster, write_dng: WriteDng, toy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "version", _newer)  # the client's own, for the workers import theirs anew
    jobs = plan(fill(tmp_path / "photos", 1, write_dng), tmp_path / "out", None)
    with pytest.raises(InputError, match=r"it has lwisp 0\.\S+, and 99\.0 is expected; install the same there"):
        develop_on(two.address, request_of(load(toy_file), toy_file), jobs)


OLDER = """
import importlib.metadata
right = importlib.metadata.version
importlib.metadata.version = lambda package: "0.0.1" if package == "lwisp" else right(package)
"""
"""Loaded into a worker: it has another version of lwisp."""
BROKEN = """
from lwisp.cluster import running, worker

called = []

def develop_on_worker(request, job):
    called.append(job)
    raise ImportError("No module named 'lwisp'")

running.develop_on_worker = develop_on_worker
worker.check = lambda request: "it has no lwisp any more" if called else ""
"""
"""Loaded into a worker: it fits, until it gets its first file."""


@pytest.mark.parametrize(("other", "word"), [(OLDER, "it has lwisp 0.0.1, and"), (BROKEN, "it has no lwisp any more")])
def test_a_worker_that_does_not_fit_beside_one_that_does_makes_no_picture(
    other: str, word: str, write_dng: WriteDng, toy_file: Path, tmp_path: Path
) -> None:
    jobs = plan(fill(tmp_path / "photos", 30, write_dng), tmp_path / "out", None)
    (tmp_path / "other.py").write_text(other)
    request = request_of(load(toy_file), toy_file)
    with cluster(tmp_path / "log", 1, OMP_NUM_THREADS="1") as started:
        said: list[str] = []
        made = develop_on(started.address, request, jobs[:1], tell=said.append)
        assert [outcome.error for outcome in made] == [""]
        started.join("--preload", str(tmp_path / "other.py"))
        outcomes = list(develop_on(started.address, request, jobs[1:], tell=said.append))
    assert [outcome.error for outcome in outcomes] == [""] * 29
    assert len({outcome.worker for outcome in outcomes}) == 1
    assert len(said) == 1
    assert word in said[0]


def test_a_worker_of_another_version_refuses_a_file_that_reaches_it(toy_file: Path, tmp_path: Path) -> None:
    request = replace(request_of(load(toy_file), toy_file), lwisp="99.0")
    told = develop_one(request, Job(SAMPLE, tmp_path / "a.jpg", "jpg"), "tcp://here:1")
    assert isinstance(told, Refusal)
    assert "and 99.0 is expected" in told.reason


def test_the_only_worker_dies_of_one_file_and_comes_back_for_the_others(
    write_dng: WriteDng, toy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "DEATHS", 1)
    files = fill(tmp_path / "photos", 3, write_dng)
    deadly = files[0].rename(tmp_path / "photos" / "deadly.dng")
    jobs = plan([deadly, *files[1:]], tmp_path / "out", None)
    preload = Path(__file__).with_name("deadly.py")
    with cluster(tmp_path / "log", 1, "--preload", str(preload), OMP_NUM_THREADS="1") as started:
        outcomes = list(develop_on(started.address, request_of(load(toy_file), toy_file), jobs))
    assert {outcome.source: outcome.kind for outcome in outcomes} == {deadly: "crash", files[1]: "", files[2]: ""}


def test_the_same_command_again_lists_its_folder_anew(
    two: Cluster, write_dng: WriteDng, toy_file: Path, tmp_path: Path
) -> None:
    jobs = plan(fill(tmp_path / "photos", 4, write_dng), tmp_path / "out", None)
    request = request_of(load(toy_file), toy_file)
    for _ in range(2):
        assert [outcome.error for outcome in develop_on(two.address, request, jobs)] == [""] * 4
        shutil.rmtree(tmp_path / "out")


def test_a_scheduler_that_is_lost_before_any_work_is_one_sentence(
    two: Cluster, toy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look(run: object) -> None:
        raise running._LostError

    monkeypatch.setattr(running._Run, "_look", look)
    jobs = plan([SAMPLE], tmp_path / "out", None)
    with pytest.raises(InputError, match=rf"^{two.address}: the scheduler was lost before any work was begun$"):
        develop_on(two.address, request_of(load(toy_file), toy_file), jobs)


def _newer(package: str) -> str:
    import sys
    from importlib.metadata import version

    return version(package) if "distributed.cli.dask_worker" in " ".join(sys.orig_argv) else "99.0"


@pytest.mark.parametrize("address", ["a", "tcp://a", "http://a:1", "tcp://a:1,tcp://b:1", "tcp://a:x", ":1"])
def test_an_address_that_is_none_is_refused(address: str, toy_file: Path) -> None:
    result = call("develop", SAMPLE, "-o", "x", "--weights", toy_file, "--cluster", address)
    assert result.exit_code == 2
    assert "expected the address of one scheduler, as tcp://host:8786, or 'local'" in result.stderr


def test_what_is_no_scheduler_or_has_no_workers_is_said_in_time(
    toy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    request, jobs = request_of(load(toy_file), toy_file), plan([SAMPLE], tmp_path / "out", None)
    patience = Patience(0.5, 0.5, 0.5)
    with pytest.raises(InputError, match="no Dask scheduler answers there within"):
        develop_on(f"127.0.0.1:{free_port()}", request, jobs, patience=patience)
    silence = pytest.raises(InputError, match="no Dask scheduler answers there within")
    with socket.create_server(("127.0.0.1", 0)) as silent, silence:
        develop_on(f"127.0.0.1:{silent.getsockname()[1]}", request, jobs, patience=patience)
    alone = pytest.raises(InputError, match="the scheduler has no workers, none came within")
    with cluster(tmp_path / "log", workers=0) as empty, alone:
        develop_on(empty.address, request, jobs, patience=Patience(60, 0.5, 0.5))


def test_options_that_do_not_go_together_are_refused(tmp_path: Path) -> None:
    for arguments, word in (
        (("s3://bucket/a.dng",), "lies in a store, which --cluster reads"),
        ((SAMPLE, "-o", "s3://bucket/out"), "lies in a store, which --cluster reads"),
        ((SAMPLE, "--cluster", "local", "--cfa", "RGGB", "--black-level", "0", "--white-level", "9"), "lwisp dng"),
        ((SAMPLE, "--cluster", "tcp://a:1", "--jobs", "2"), "--jobs and an address disagree"),
        ((SAMPLE, "--cluster", "local", "--same-as", "first"), "a sequence is developed on one machine"),
    ):
        result = call("develop", *arguments)
        assert result.exit_code == 2, result.output
        assert word in result.stderr


def test_a_dry_run_asks_no_cluster(tmp_path: Path) -> None:
    result = call("develop", SAMPLE, "-o", "s3://bucket/out", "--cluster", "tcp://nobody:1", "--dry-run")
    assert (result.exit_code, result.stdout) == (0, f"{SAMPLE} -> s3://bucket/out/{SAMPLE.stem}.jpg\n")


def test_ctrl_c_ends_all_workers_tidily(write_dng: WriteDng, toy_file: Path, tmp_path: Path) -> None:
    fill(tmp_path / "photos", 60, write_dng)
    (tmp_path / "temporary").mkdir()
    command = [*COMMAND, "develop", str(tmp_path / "photos"), "-o", str(tmp_path / "out"), "--weights", str(toy_file)]
    process = subprocess.Popen(
        [*command, "--cluster", "local"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(tmp_path / "temporary")},
        start_new_session=True,
        preexec_fn=heed_signals,
    )
    soon(lambda: len(list(tmp_path.glob("out/*.jpg"))) > 2 or process.poll() is not None)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert told.splitlines()[-1].startswith("lwisp: stopped by SIGINT; ")
    assert "Traceback" not in told, told
    soon(lambda: not _is_there(process.pid), 20)
    assert list((tmp_path / "temporary").iterdir()) == []
    assert all(path.suffix == ".jpg" for path in (tmp_path / "out").iterdir())


def _is_there(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_two_commands_with_a_scheduler_each_make_every_picture_once(
    two: Cluster, write_dng: WriteDng, toy_file: Path, tmp_path: Path
) -> None:
    fill(tmp_path / "photos", 12, write_dng)
    command = [*COMMAND, "develop", str(tmp_path / "photos"), "-o", str(tmp_path / "out"), "--weights", str(toy_file)]
    running = [
        subprocess.Popen([*command, "--cluster", scheduler, "--json"], stdout=subprocess.PIPE, text=True)
        for scheduler in ("local", two.address)
    ]
    ends = [json.loads(process.communicate(timeout=120)[0].splitlines()[-1]) for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert sum(end["made"] for end in ends) == 12
    assert sum(end["done_before"] for end in ends) == 12


@pytest.mark.slow
@pytest.mark.parametrize("lost", ["a worker", "the scheduler"])
def test_300_files_are_made_whatever_is_lost(lost: str, write_dng: WriteDng, toy_file: Path, tmp_path: Path) -> None:
    fill(tmp_path / "photos", 300, write_dng)
    made = tmp_path / "out"
    with cluster(tmp_path / "log", 2, OMP_NUM_THREADS="1") as two:

        def lose() -> None:
            soon(lambda: len(list(made.glob("*.jpg"))) > 100)
            two.kill_a_worker() if lost == "a worker" else two.restart_scheduler()

        losing = threading.Thread(target=lose)
        losing.start()
        result = call(
            *("develop", tmp_path / "photos", "-o", made, "--weights", toy_file),
            *("--cluster", two.address, "--json", "--log", tmp_path / "log.jsonl"),
        )
        losing.join()
        count = len(two.workers)
    assert result.exit_code == 0, result.output
    assert count > 2
    end = json.loads(result.stdout.splitlines()[-1])
    assert (end["made"] + end["done_before"], end["failed"]) == (300, 0)
    makers = {json.loads(line).get("worker") for line in result.stdout.splitlines()[:-1]}
    assert len(makers) > 2  # those that joined later, too
    assert ("the scheduler is back" in result.stderr) == (lost == "the scheduler")
    few = tmp_path / "few"
    few.mkdir()
    for index in range(0, 300, 30):
        shutil.copy(tmp_path / "photos" / f"{index:03}.dng", few)
    assert call("develop", few, "-o", tmp_path / "here", "--weights", toy_file).exit_code == 0
    found = digests(made)
    assert len(found) == 300
    assert {name: found[name] for name in digests(tmp_path / "here")} == digests(tmp_path / "here")
