"""Files for a cluster: folders, patterns, manifests and URLs, and the names of their pictures."""

import json
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from lwisp.cluster.sources import MOST_LETTERS, plan, read_manifest
from lwisp.cluster.urls import Url, place
from lwisp.errors import InputError
from lwisp.planning import plan as plan_here
from tests.conftest import require

fsspec = require("fsspec")


@pytest.fixture
def store() -> Iterator[str]:
    """A store in memory with RAWs, pictures and what a system puts there."""
    system = fsspec.filesystem("memory")
    for name in ("a.dng", "b.CR2", "sub/a.dng", "sub/deep/c.NEF", "a-lwisp.dng", "note.md", ".hidden/x.dng"):
        system.pipe_file(f"/shelf/photos/{name}", b"raw")
    yield "memory://shelf/photos"
    system.rm("/shelf", recursive=True)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for name in ("a.dng", "b.CR2", "sub/a.dng", "sub/deep/c.NEF"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"raw")
    return folder


def test_a_url_is_a_path_that_is_written_with_two_slashes() -> None:
    url = place(Path("s3://bucket/my photos/IMG.CR2"))
    assert isinstance(url, Url)
    assert str(url) == os.fspath(url) == "s3://bucket/my photos/IMG.CR2"
    assert (url.scheme, url.stem, url.suffix) == ("s3", "IMG", ".CR2")
    assert str(url.parent / "x" / "y.jpg") == "s3://bucket/my photos/x/y.jpg"
    assert str(url.with_name("z.jpg")) == "s3://bucket/my photos/z.jpg"
    assert pickle.loads(pickle.dumps(url)) == url
    assert place("s3://photos.example.org").suffix == ""
    for path in ("photos/a.dng", "C:/photos/a.dng", "s3:", "a b://c"):
        assert not isinstance(place(path), Url)
    assert place("file:///tmp/a.dng") == Path("/tmp/a.dng")


def test_files_here_get_the_names_that_a_batch_gives(photos: Path, tmp_path: Path) -> None:
    for given in ([photos], [photos / "a.dng", photos / "sub" / "a.dng"], [photos, photos / "sub"]):
        assert plan(given, tmp_path / "out", None) == plan_here(given, tmp_path / "out", None)
        assert plan(given, None, "tiff", recursive=False) == plan_here(given, None, "tiff", recursive=False)


def test_a_folder_in_a_store_gives_the_names_of_the_same_folder_here(store: str, photos: Path, tmp_path: Path) -> None:
    here = [job.output.relative_to(tmp_path) for job in plan([photos], tmp_path / "out", None)]
    there = plan([Path(store)], tmp_path / "out", None)
    assert [job.output.relative_to(tmp_path) for job in there] == here
    assert [str(job.source) for job in there] == [
        f"{store}/{name}" for name in ("a.dng", "b.CR2", "sub/a.dng", "sub/deep/c.NEF")
    ]
    beside = plan([Path(store)], None, None, recursive=False)
    assert [str(job.output) for job in beside] == [f"{store}/a-lwisp.jpg", f"{store}/b-lwisp.jpg"]
    elsewhere = plan([Path(store)], Path("s3://bucket/out"), "png")
    assert [str(job.output) for job in elsewhere][-1] == "s3://bucket/out/sub/deep/c.png"


@pytest.mark.parametrize("key", ["x//IMG.dng", "/IMG.dng", "x/./IMG.dng", "x/../../../IMG.dng"])
def test_a_key_that_no_path_can_have_is_said_and_not_taken_for_another(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = fsspec.filesystem("memory")
    names = ["/shelf/x/IMG.dng", "/shelf/x//note.md", f"/shelf/{key}"]
    monkeypatch.setattr(type(system), "info", lambda self, path, **_: {"type": "directory"})
    monkeypatch.setattr(type(system), "find", lambda self, path, **_: names)
    monkeypatch.setattr(type(system), "glob", lambda self, path, **_: names)
    for source in ("memory://shelf", "memory://shelf/**"):
        with pytest.raises(InputError, match=r"memory://shelf/.*IMG\.dng: a key with a part that is empty, '\.' or"):
            plan([Path(source)], tmp_path / "out", None)
    names.pop()
    assert [str(job.source) for job in plan([Path("memory://shelf")], tmp_path / "out", None)] == [
        "memory://shelf/x/IMG.dng"
    ]


def test_patterns_name_files_here_and_in_stores(store: str, photos: Path) -> None:
    assert [job.source for job in plan([photos / "*.dng"], None, None)] == [photos / "a.dng"]
    assert len(plan([photos / "**" / "*"], None, None)) == 4
    assert [str(job.source) for job in plan([Path(f"{store}/s*/*.dng")], None, None)] == [f"{store}/sub/a.dng"]
    for pattern in (photos / "*.tif", Path(f"{store}/*.tif")):
        with pytest.raises(InputError, match="no such files fit this pattern"):
            plan([pattern], None, None)
    odd = photos / "x[1].dng"
    odd.write_bytes(b"raw")
    assert [job.source for job in plan([odd], None, None)] == [odd]  # a file that is there is no pattern


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.txt", "# photos\na.dng\n\nsub/a.dng\r\ns3://bucket/x y.dng\n/abs/z.dng"),
        ("list.csv", 'number,Path\n1,a.dng\n2,sub/a.dng\n3,"s3://bucket/x y.dng"\n4,/abs/z.dng\n'),
        ("list.jsonl", '"a.dng"\n{"url": "sub/a.dng"}\n\n{"path": "s3://bucket/x y.dng"}\n"/abs/z.dng"\n'),
    ],
)
def test_a_manifest_names_files_of_any_place(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("\ufeff" + content, encoding="utf-8")
    expected = [f"{tmp_path}/a.dng", f"{tmp_path}/sub/a.dng", "s3://bucket/x y.dng", "/abs/z.dng"]
    assert [str(path) for path in read_manifest(tmp_path / name)] == expected
    jobs = plan([tmp_path / name], tmp_path / "out", None)
    assert [job.output.name for job in jobs] == [f"{tmp_path.name}_a.jpg", "sub_a.jpg", "x y.jpg", "z.jpg"]
    fsspec.filesystem("memory").pipe_file(f"/lists/{name}", content.encode())
    there = [str(path) for path in read_manifest(Url("memory:", "lists", name))]
    assert there == ["memory://lists/a.dng", "memory://lists/sub/a.dng", *expected[2:]]


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("list.txt", b"", "names none"),
        ("list.txt", b"\xff\xfe", "UTF-8"),
        ("list.txt", b"a\0b.dng", "line 1: expected a path"),
        ("list.txt", b"ok.dng\n" + b"x" * 10**6, f"line 2: expected at most {MOST_LETTERS}"),
        ("list.csv", b"number\n1\n", "column path, url, file or source"),
        ("list.csv", b"id,path\n1\n", "line 2: expected a path"),
        ("list.txt", b"s3://b/x/IMG.dng\ns3://b/x//IMG.dng", "line 2: 's3://b/x//IMG.dng': a key with a part that is"),
        ("list.jsonl", b'"s3://b/./IMG.dng"', "line 1: 's3://b/./IMG.dng': a key with a part that is empty"),
        ("list.jsonl", b"{}", "line 1: expected JSON"),
        ("list.jsonl", b"[" * 4000, "line 1: expected JSON"),
        ("list.jsonl", b"3", "line 1: expected JSON"),
    ],
)
def test_a_manifest_that_cannot_be_understood_is_refused(name: str, content: bytes, word: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(InputError, match=word) as caught:
        plan([path], tmp_path / "out", None)
    assert str(caught.value).startswith(str(path))


def test_what_cannot_be_planned_is_said_before_any_work(store: str, photos: Path, tmp_path: Path) -> None:
    for sources, output, name, word in (
        ([Path("memory://nothing/here")], None, "", "there is no such file"),
        ([Path("nostore://bucket/a.dng")], None, "", "expected a store that fsspec knows"),
        ([tmp_path / "none.txt"], None, "", "there is no such file"),
        ([Path(store)], None, "{date}", "no file to be opened"),
        ([Path(store)], Path("s3://bucket/one.jpg"), "", "names one picture for 4 files"),
        ([Path(f"{store}/.hidden"), Path(f"{store}/note.md")], tmp_path / "x.md", "", "expected a folder"),
    ):
        with pytest.raises(InputError, match=word):
            plan(sources, output, None, name=name)
    listed = tmp_path / "list.jsonl"
    listed.write_text("\n".join(json.dumps(name) for name in ("x.jpg", "sub/x.dng")))
    with pytest.raises(InputError, match="one of the files to be read"):
        plan([listed], tmp_path, None)
