"""Files in stores: a real server of S3, one that refuses, answers slowly or twice, and stores that rename."""

import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lwisp.cluster import stores
from lwisp.cluster.sources import plan
from lwisp.cluster.stores import Version, fetch, files_below, files_like, version_of, write_once
from lwisp.cluster.urls import Url
from lwisp.cluster.worker import check, develop_one, request_of
from lwisp.development import Settings, develop_files
from lwisp.errors import InputError, NotFoundError, OutputError
from lwisp.files.optional import need
from lwisp.planning import Job
from lwisp.provenance import read_provenance
from lwisp.weights import load
from tests.cluster.harness import Door, cluster, fill
from tests.conftest import WriteDng, require

moto = require("moto.server")
require("s3fs")
fsspec = need("fsspec")
PICTURE = Url("s3:", "photos", "out", "a.jpg")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    started = moto.ThreadedMotoServer(port=0, verbose=False)
    started.start()
    host, port = started.get_host_and_port()
    yield f"http://{host}:{port}"
    started.stop()


@pytest.fixture
def door(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    """What stands before the server, with a bucket "photos"; settings come by variables, as on workers."""
    opened = Door(server)
    for name, value in {
        "AWS_ENDPOINT_URL": opened.url,
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(stores, "PAUSE", 0.01)
    need("s3fs").S3FileSystem.clear_instance_cache()
    system = fsspec.filesystem("s3", use_listings_cache=False)
    system.mkdir("photos")
    yield opened
    opened.before = opened.after = lambda method, path: None
    system.rm("photos", recursive=True)
    opened.close()


def put(name: str, content: bytes) -> Url:
    fsspec.filesystem("s3", use_listings_cache=False).pipe_file(f"photos/{name}", content)
    return Url("s3:", "photos", *name.split("/"))


def content(url: Url, folder: Path) -> bytes:
    fetch(url, folder / "fetched")
    return (folder / "fetched").read_bytes()


def test_files_of_a_bucket_are_listed_fetched_and_written_once(door: Door, tmp_path: Path) -> None:
    names = ["a b.dng", "sub/c.dng", "sub/deep/d.CR2"]
    urls = [put(name, name.encode() * 1000) for name in names]
    assert files_below(Url("s3:", "photos"), recursive=True) == urls
    assert files_below(Url("s3:", "photos", "sub"), recursive=False) == urls[1:2]
    assert files_below(urls[0], recursive=True) is None
    assert files_like(Url("s3:", "photos", "**", "*.dng")) == urls[:2]
    assert content(urls[1], tmp_path) == names[1].encode() * 1000
    made = tmp_path / "made"
    made.write_bytes(b"picture")
    assert version_of(PICTURE) is None
    assert write_once(made, PICTURE, None)
    there = version_of(PICTURE)
    assert there is not None
    assert content(PICTURE, tmp_path) == b"picture"
    made.write_bytes(b"another")
    assert not write_once(made, PICTURE, None)  # the store itself refuses
    assert not write_once(made, PICTURE, Version(7, "another"))
    assert content(PICTURE, tmp_path) == b"picture"
    assert write_once(made, PICTURE, there)
    assert content(PICTURE, tmp_path) == b"another"


def test_of_many_writers_one_wins(door: Door, tmp_path: Path) -> None:
    won: list[int] = []

    def write(number: int) -> None:
        file = tmp_path / str(number)
        file.write_text(str(number))
        if write_once(file, PICTURE, None):
            won.append(number)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(won) == 1
    assert content(PICTURE, tmp_path) == str(won[0]).encode()


def test_what_a_bucket_refuses_is_one_sentence_and_is_not_asked_again(door: Door, tmp_path: Path) -> None:
    url = put("a.dng", b"raw")
    for missing in (Url("s3:", "photos", "none.dng"), Url("s3:", "nobucket", "a.dng")):
        with pytest.raises(NotFoundError, match=rf"{missing}: .*there is no such file, folder or bucket"):
            fetch(missing, tmp_path / "x")
    with pytest.raises(InputError, match="this is a folder"):
        fetch(Url("s3:", "photos"), tmp_path / "x")
    with pytest.raises(InputError, match="expected at most"):
        fetch(url, tmp_path / "x", most=2)
    (tmp_path / "made").write_bytes(b"picture")
    with pytest.raises(OutputError, match="no such file, folder or bucket"):
        write_once(tmp_path / "made", Url("s3:", "nobucket", "a.jpg"), None)
    door.before = lambda method, path: 403
    for ask in (
        lambda: fetch(url, tmp_path / "x"),
        lambda: write_once(tmp_path / "made", PICTURE, None),
        lambda: files_below(Url("s3:", "photos"), True),
    ):
        door.seen.clear()
        with pytest.raises(InputError, match="the store refuses access; check the bucket's rights"):
            ask()
        assert len(door.seen) <= 2


def test_a_store_that_answers_slowly_is_asked_again_and_not_for_ever(
    door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = put("a.dng", b"raw" * 1000)
    monkeypatch.setitem(stores.S3, "read_timeout", 0.3)
    monkeypatch.setattr(need("s3fs").S3FileSystem, "retries", 1)
    waits = iter([1.0, 0.0])

    def slow(method: str, path: str) -> None:
        time.sleep(next(waits, 0.0))

    door.before = slow
    assert content(url, tmp_path) == b"raw" * 1000
    door.before = lambda method, path: time.sleep(1)
    began = time.monotonic()
    with pytest.raises(InputError, match=rf"{url}: the store did not do what it was asked, 3 times: .*[Tt]ime"):
        fetch(url, tmp_path / "x")
    assert time.monotonic() - began < 10


def test_a_store_that_answers_with_errors_is_asked_again(door: Door, tmp_path: Path) -> None:
    url = put("a.dng", b"raw")
    answers = iter([503, 500])
    door.before = lambda method, path: next(answers, None)
    assert content(url, tmp_path) == b"raw"


def test_a_picture_that_a_store_has_taken_and_did_not_say_so_is_written_once(
    door: Door, toy_file: Path, write_dng: WriteDng, tmp_path: Path
) -> None:
    """The answer to the first writing is lost, and the second finds what the first has written."""
    source = write_dng(_mosaic(), name="a.dng")
    request = request_of(load(toy_file), toy_file)
    lost = iter([500])
    door.after = lambda method, path: next(lost, None) if method == "PUT" else None
    outcome: Any = develop_one(request, Job(source, PICTURE, "jpg"), "here")
    assert outcome.error == ""
    assert sum(line.startswith("PUT") for line in door.seen if "out" in line) == 2
    fetch(PICTURE, tmp_path / "made.jpg")
    assert read_provenance(tmp_path / "made.jpg") is not None


def _mosaic() -> Any:
    return np.random.default_rng(0).integers(64, 4000, (40, 60), dtype=np.uint16)


def test_from_bucket_to_bucket_by_a_worker_as_the_command_does_it(
    door: Door, toy_file: Path, write_dng: WriteDng, tmp_path: Path
) -> None:
    local = write_dng(_mosaic(), name="IMG.dng")
    sidecar = local.with_suffix(".xmp")
    sidecar.write_text(
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF></x:xmpmeta>'
    )
    weights = load(toy_file)
    (here,) = develop_files(weights, [Job(local, tmp_path / "here.jpg", "jpg")])
    assert here.error == ""
    source = put("in/IMG.dng", local.read_bytes())
    put("in/IMG.xmp", sidecar.read_bytes())
    request = request_of(weights, toy_file)
    assert check(request) == ""
    job = Job(source, PICTURE, "jpg")

    def develop(asked: Any = request) -> Any:
        return develop_one(asked, job, "here")

    made = develop()
    assert (made.error, made.is_done_before, str(made.source)) == ("", False, "s3://photos/in/IMG.dng")
    assert content(PICTURE, tmp_path) == (tmp_path / "here.jpg").read_bytes()
    again = develop()
    assert (again.error, again.is_done_before) == ("", True)
    brighter = replace(request, settings=Settings(exposure=1.0))
    assert "s3://photos/out/a.jpg exists already, made of another file or with other" in develop(brighter).error
    replaced = develop(replace(brighter, overwrite=True))
    assert (replaced.error, replaced.is_done_before) == ("", False)
    assert content(PICTURE, tmp_path) != (tmp_path / "here.jpg").read_bytes()
    put("out/a.jpg", b"somebody's own")
    foreign = develop(replace(brighter, overwrite=True))
    assert "s3://photos/out/a.jpg exists already and was not written by lwisp" in foreign.error
    assert content(PICTURE, tmp_path) == b"somebody's own"
    gone = develop_one(request, Job(Url("s3:", "photos", "gone.dng"), PICTURE, "jpg"), "here")
    assert (gone.kind, gone.error.split(":")[0:2]) == ("not-found", ["s3", "//photos/gone.dng"])  # type: ignore[union-attr]


def test_a_bucket_that_takes_no_files_is_asked_for_few(
    door: Door, toy_file: Path, write_dng: WriteDng, tmp_path: Path
) -> None:
    require("distributed")
    from lwisp.cluster.running import develop_on

    files = fill(tmp_path / "photos", 20, write_dng)
    jobs = plan(files, Path("s3://photos/out"), None)
    jobs += plan(files[:1], tmp_path / "here", None)
    door.before = lambda method, path: 403 if method == "PUT" else None
    with cluster(tmp_path / "log", 1, OMP_NUM_THREADS="1") as started:
        outcomes = list(develop_on(started.address, request_of(load(toy_file), toy_file), jobs))
    assert {outcome.output: (outcome.error.partition(";")[0], outcome.kind) for outcome in outcomes} == {
        **{job.output: (f"{job.output}: the store refuses access", "output") for job in jobs[:-1]},
        jobs[-1].output: ("", ""),
    }
    assert len(outcomes) == 21
    assert sum(line.startswith("PUT") for line in door.seen if "out" in line) < 8


def test_in_a_store_whose_files_grow_a_picture_is_renamed_into_its_place(tmp_path: Path) -> None:
    local: Any = need("fsspec.implementations.local")

    class Shelf(local.LocalFileSystem):  # type: ignore[misc]
        protocol = "shelf"

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return "/" + path.removeprefix("shelf://").lstrip("/")

    fsspec.register_implementation("shelf", Shelf, clobber=True)
    file = tmp_path / "made"
    file.write_bytes(b"picture")
    url = Url("shelf:", *(tmp_path / "new" / "a.jpg").parts[1:])
    assert write_once(file, url, None)
    assert not write_once(file, url, None)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.jpg"]
    there = version_of(url)
    file.write_bytes(b"brighter")
    assert write_once(file, url, there)
    assert (tmp_path / "new" / "a.jpg").read_bytes() == b"brighter"
