"""Files and folders appear whole or not at all; what killed processes left is cleared, and nothing else."""

import errno
import io
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import pytest

from lwisp.errors import DiskFullError, InputError, NotFoundError, OutputError
from lwisp.files import writing
from tests.conftest import ROOT


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def failing(number: int) -> Any:
    """A function that fails as a system call does, whatever it is given."""

    def fail(*arguments: object, **named: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


def wait_until_dead(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def test_only_the_thread_that_is_quiet_loses_its_warnings_and_nobody_waits_for_it() -> None:
    inside, done = threading.Event(), threading.Event()

    def stay_quiet() -> None:
        with writing.quiet():
            with writing.quiet():
                warnings.warn("of the library", UserWarning, stacklevel=1)
            inside.set()
            assert done.wait(20)
            warnings.warn("of the library", UserWarning, stacklevel=1)

    before = list(warnings.filters)
    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(stay_quiet)
        assert inside.wait(20)
        with pytest.warns(UserWarning, match="of another thread"):
            warnings.warn("of another thread", UserWarning, stacklevel=1)
        with warnings.catch_warnings(), writing.quiet():  # not behind the other
            warnings.warn("of this one", UserWarning, stacklevel=1)
        with pytest.raises(UserWarning, match="after it"):
            warnings.warn("after it", UserWarning, stacklevel=1)
        done.set()
        result.result()
    assert list(warnings.filters) == before


def test_a_file_appears_with_its_content_and_nothing_beside_it(tmp_path: Path) -> None:
    writing.write_whole(tmp_path / "a", lambda file: file.write(b"content"))
    assert (tmp_path / "a").read_bytes() == b"content"
    assert names(tmp_path) == ["a"]


def test_a_file_is_replaced_unless_it_may_not_be(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for text in ("first", "second"):
        writing.write_text(path, text)
        assert path.read_text() == text
    writing.write_whole(path, lambda file: file.write(b"third"))
    assert path.read_bytes() == b"third"

    def never(file: BinaryIO) -> NoReturn:
        raise AssertionError("it was refused before")

    with pytest.raises(InputError, match="exists already; --overwrite replaces it"):
        writing.write_whole(path, never, overwrite=False)
    with pytest.raises(InputError, match="exists already"):
        writing.write_text(path, "fourth", overwrite=False)
    assert path.read_bytes() == b"third"
    writing.write_text(tmp_path / "b", "\u00e9\r\n", overwrite=False)
    assert (tmp_path / "b").read_bytes() == b"\xc3\xa9\r\n"


@pytest.mark.skipif(sys.platform == "win32", reason="needs modes of files")
def test_a_file_may_be_read_by_whom_the_user_lets(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        writing.write_text(tmp_path / "open", "")
        os.umask(0o077)
        writing.write_text(tmp_path / "private", "")
    finally:
        os.umask(mask)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("open", "private")] == [0o666, 0o600]


def test_a_file_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    def write(file: BinaryIO) -> None:
        file.write(b"abc")
        file.seek(0)
        assert file.read() == b"abc"
        assert [path.name for path in tmp_path.iterdir()] != ["a"]
        with pytest.raises(io.UnsupportedOperation, match=r"^fileno$"):  # so that all goes through its `write`
            file.fileno()

    writing.write_whole(tmp_path / "a", write)
    assert (tmp_path / "a").read_bytes() == b"abc"


def test_what_the_system_says_is_in_the_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with pytest.raises(OutputError, match=rf"^{path}: cannot be written: Input/output error$"):
        writing.write_whole(path, failing(errno.EIO))
    with pytest.raises(DiskFullError, match=rf"^{path}: cannot be written: No space left on device$"):
        writing.write_whole(path, failing(errno.ENOSPC))
    assert names(tmp_path) == []


def test_a_table_has_its_fields_as_header_and_six_decimals(tmp_path: Path) -> None:
    @dataclass
    class Row:
        name: str
        score: float
        count: int

    rows = [Row("a, b", 1 / 3, 2), Row("c", 2.0, -1)]
    writing.write_csv(tmp_path / "a.csv", rows)
    expected = b'name,score,count\n"a, b",0.333333,2\nc,2.000000,-1\n'
    assert (tmp_path / "a.csv").read_bytes() == expected
    writing.write_csv(tmp_path / "a.csv", rows[:1])
    assert (tmp_path / "a.csv").read_bytes() == expected[:-14]
    with pytest.raises(InputError, match="exists already"):
        writing.write_csv(tmp_path / "a.csv", rows, overwrite=False)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on the size of files")
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF"])
def test_a_picture_that_a_full_disk_cuts_short_is_an_error(form: str, tmp_path: Path) -> None:
    """The disk takes a part of the last block, as it does when it fills up."""
    code = f"""
import io, resource, sys
from pathlib import Path
import numpy as np
from PIL import Image
from lwisp.errors import OutputError
from lwisp.files.writing import write_whole
picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
whole = io.BytesIO()
picture.save(whole, {form!r})
resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole.getvalue()) - 10,) * 2)
try:
    write_whole(Path(sys.argv[1]), lambda file: picture.save(file, {form!r}))
except OutputError as error:
    print(error)
"""
    command = [sys.executable, "-c", code, str(tmp_path / "picture")]
    told = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert "cannot be written: File too large" in told
    assert names(tmp_path) == []


def test_a_file_that_comes_to_be_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a"

    def write(file: BinaryIO) -> None:
        file.write(b"ours")
        path.write_bytes(b"another's")

    with pytest.raises(InputError, match=rf"^{path} exists already"):
        writing.write_whole(path, write, overwrite=False)
    assert path.read_bytes() == b"another's"
    assert names(tmp_path) == ["a"]


def test_a_file_system_without_hard_links_serves_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    path = tmp_path / "a"
    writing.write_whole(path, lambda file: file.write(b"ours"), overwrite=False)
    assert path.read_bytes() == b"ours"
    path.unlink()

    def write(file: BinaryIO) -> None:
        path.write_bytes(b"another's")

    with pytest.raises(InputError, match=rf"^{path} exists already"):
        writing.write_whole(path, write, overwrite=False)
    assert path.read_bytes() == b"another's"
    assert names(tmp_path) == ["a"]


def test_a_file_is_whole_though_its_first_name_cannot_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "unlink", failing(errno.EACCES))
    writing.write_whole(tmp_path / "a", lambda file: file.write(b"ours"), overwrite=False)
    assert (tmp_path / "a").read_bytes() == b"ours"


def test_first_names_are_hidden_beside_the_file_and_never_the_same(tmp_path: Path) -> None:
    found = [writing.temporary_beside(tmp_path / "a.jpg") for _ in range(20)]
    assert len(set(found)) == 20
    for path in found:
        assert path.parent == tmp_path
        matched = writing.TEMPORARY.fullmatch(path.name)
        assert matched is not None
        assert int(matched["process"]) == os.getpid()


def test_a_planted_link_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    precious = tmp_path / "precious"
    precious.write_bytes(b"precious")
    monkeypatch.setattr(secrets, "token_hex", lambda count: "0" * 2 * count)
    planted = writing.temporary_beside(tmp_path / "a")
    planted.symlink_to(precious)
    with pytest.raises(OutputError):
        writing.write_whole(tmp_path / "a", lambda file: file.write(b"ours"))
    assert precious.read_bytes() == b"precious"


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with writing.whole_folder(tmp_path / "good") as folder:
        (folder / "file").write_bytes(b"content")
        assert not (tmp_path / "good").exists()
    assert (tmp_path / "good" / "file").read_bytes() == b"content"
    with pytest.raises(KeyboardInterrupt), writing.whole_folder(tmp_path / "bad") as folder:
        (folder / "file").write_bytes(b"content")
        raise KeyboardInterrupt
    assert names(tmp_path) == ["good"]
    with pytest.raises(InputError, match="exists already"), writing.whole_folder(tmp_path / "good"):
        pass
    bad = tmp_path / "bad"
    with pytest.raises(OutputError) as caught, writing.whole_folder(bad) as folder:
        raise OutputError(f"{folder / 'a.png'}: cannot be written")
    assert str(caught.value) == f"{bad / 'a.png'}: cannot be written"  # by the name that the user gave


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from lwisp.files import writing
def write(file):
    file.write(b"half")
    file.flush()
    with writing.whole_folder(Path({str(tmp_path)!r}) / "folder") as folder:
        (folder / "half").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
writing.write_whole(Path({str(tmp_path)!r}) / "file", write)
"""
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert len(names(tmp_path)) == 2
    assert writing.clear_leftovers(tmp_path) == 2
    assert names(tmp_path) == []


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_what_another_process_still_writes_is_not_cleared_and_it_goes_on(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(signal.SIGHUP, signal.SIG_DFL); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-S", "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        name = writing.temporary_beside(tmp_path / "a").name.replace(f"-{os.getpid()}-", f"-{process.pid}-")
        (tmp_path / name).write_bytes(b"half")
        try:
            assert writing.clear_leftovers(tmp_path) == 0
            time.sleep(0.1)
            assert process.poll() is None
        finally:
            wait_until_dead(process)
    assert writing.clear_leftovers(tmp_path) == 1


def test_another_users_process_is_alive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = writing.temporary_beside(tmp_path / "a").name.replace(f"-{os.getpid()}-", "-1-")
    (tmp_path / name).write_bytes(b"half")
    monkeypatch.setattr(os, "kill", failing(errno.EPERM))
    assert writing.clear_leftovers(tmp_path) == 0


def test_what_cannot_be_deleted_stays_and_the_others_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for digit in "0123":
        (tmp_path / f".lwisp-{8 * digit}-1-0123456789abcdef.tmp").mkdir()
    for path in tmp_path.iterdir():
        os.utime(path, (time.time() - 2 * writing.MAX_AGE,) * 2)
    delete = shutil.rmtree

    def fail_for_two(path: str, *arguments: object) -> None:
        if "-22222222-" in path or "-11111111-" in path:
            raise PermissionError
        delete(path)

    monkeypatch.setattr(shutil, "rmtree", fail_for_two)
    assert writing.clear_leftovers(tmp_path) == 2
    assert len(names(tmp_path)) == 2
    assert writing.clear_leftovers(tmp_path / "none") == 0


def test_what_is_left_over_is_found_among_what_is_not(tmp_path: Path) -> None:
    dead = writing.temporary_beside(tmp_path / "a").name.replace(f"-{os.getpid()}-", "-9999999999-")
    for number in range(20):
        writing.temporary_beside(tmp_path / "a").touch()
        (tmp_path / f"{dead[:-6]}{number:02}.tmp").touch()
    assert writing.clear_leftovers(tmp_path) == 20
    assert len(names(tmp_path)) == 20


def test_what_another_machine_wrote_a_day_ago_is_left_over(tmp_path: Path) -> None:
    path = tmp_path / ".lwisp-00000000-1-0123456789abcdef.tmp"
    path.write_bytes(b"half")
    os.utime(path, (time.time() - writing.MAX_AGE + 60,) * 2)
    assert writing.clear_leftovers(tmp_path) == 0
    os.utime(path, (time.time() - writing.MAX_AGE - 60,) * 2)
    assert writing.clear_leftovers(tmp_path) == 1


def test_what_may_still_be_in_use_or_is_not_ours_is_not_cleared(tmp_path: Path) -> None:
    own = writing.temporary_beside(tmp_path / "a")
    elsewhere = tmp_path / ".lwisp-00000000-1-0123456789abcdef.tmp"
    others = [tmp_path / ".lwisp-notes.tmp", tmp_path / "lwisp.tmp", tmp_path / ".hidden"]
    for path in (own, elsewhere, *others):
        path.write_bytes(b"content")
    assert writing.clear_leftovers(tmp_path) == 0
    for path in (own, elsewhere, *others):
        os.utime(path, (time.time() - 2 * writing.MAX_AGE,) * 2)
    assert writing.clear_leftovers(tmp_path) == 1  # another machine's: nobody writes for a day
    assert sorted(tmp_path.iterdir()) == sorted([own, *others])


def test_a_link_among_leftovers_is_cleared_without_what_it_points_to(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_bytes(b"precious")
    link = tmp_path / ".lwisp-00000000-1-0123456789abcdef.tmp"
    link.symlink_to(precious)
    os.utime(link, (time.time() - 2 * writing.MAX_AGE,) * 2, follow_symlinks=False)
    assert writing.clear_leftovers(tmp_path) == 1
    assert (precious / "file").read_bytes() == b"precious"


def test_a_number_that_no_process_has_breaks_nothing(tmp_path: Path) -> None:
    planted = tmp_path / writing.temporary_beside(tmp_path / "a").name.replace(f"-{os.getpid()}-", "-9999999999-")
    planted.write_bytes(b"planted")
    assert writing.clear_leftovers(tmp_path) == 1


def test_names_that_differ_in_more_than_case_are_two() -> None:
    assert writing.fold("Stra\N{LATIN SMALL LETTER SHARP S}e.dng") != writing.fold("strasse.dng")
    assert writing.fold("IMG.DNG") == writing.fold("img.dng")


def test_names_are_grouped_by_what_they_are_folded_to() -> None:
    assert writing.fold("E\u0301.DNG") == writing.fold("\u00c9.dng") == "\u00e9.dng"
    assert writing.fold_all(["a", "B", "A", "b", "c"]) == {"a": ["a", "A"], "b": ["B", "b"], "c": ["c"]}


def refusal(*arguments: Any) -> str:
    with pytest.raises(InputError) as caught:
        writing.check_output(*arguments)
    return str(caught.value)


def test_files_that_would_be_refused_are_refused_before_any_work(tmp_path: Path) -> None:
    there, new = tmp_path / "there", tmp_path / "new"
    there.touch()
    writing.check_output(there)
    writing.check_output(new, False)
    exists = f"{there} exists already; --overwrite replaces it, --output names another place"
    assert refusal(there, False) == exists
    assert refusal(tmp_path) == f"{str(tmp_path)!r}: expected the name of a file, this is a folder"
    assert refusal(Path()) == "'.': expected the name of a file, this is a folder"
    deep = tmp_path / "none" / "a"
    assert refusal(deep) == f"{deep}: cannot be written: there is no folder {deep.parent}"
    assert refusal(there / "a") == f"{there / 'a'}: cannot be written: there is no folder {there}"
    long = tmp_path / ("x" * 300)
    assert refusal(long) == f"{long}: cannot be written: File name too long"
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "nowhere")
    assert refusal(link, False) == exists.replace("there", "link")


def test_files_of_others_are_refused_whatever_is_said(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.touch()
    asked = []

    def is_own(path: Path) -> bool:
        asked.append(path)
        return False

    sentence = f"{there} exists already and was not written by lwisp"
    assert refusal(there, True, is_own).startswith(sentence)
    assert refusal(there, False, is_own).startswith(sentence)
    assert asked == [there, there]
    writing.check_output(there, True, lambda path: True)
    assert "--overwrite" in refusal(there, False, lambda path: True)
    writing.check_output(tmp_path / "new", False, is_own)
    assert asked == [there, there]


def test_files_that_belong_together_are_judged_by_the_first(tmp_path: Path) -> None:
    for name in ("b", "c"):
        (tmp_path / name).touch()
    asked = []

    def is_own(path: Path) -> bool:
        asked.append(path.name)
        return path.name == "b"

    writing.check_outputs(tmp_path, ["b", "c", "d"], True, is_own)
    assert asked == ["b"]
    for files, overwrite, owner, word in (
        (["b", "c"], False, is_own, "b exists already; --overwrite"),
        (["c", "b"], True, is_own, "c exists already and was not written by lwisp"),
        (["d", "b"], True, is_own, "b exists already and was not written by lwisp"),
        (["d", "c"], False, None, "c exists already; --overwrite"),
    ):
        with pytest.raises(InputError, match=word):
            writing.check_outputs(tmp_path, files, overwrite, owner)
    writing.check_outputs(tmp_path, ["b", "c"], True)
    writing.check_outputs(tmp_path, ["d", "e"], False)


def test_folders_are_made_with_those_above_them(tmp_path: Path) -> None:
    for _ in range(2):
        writing.make_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "c"):
        with pytest.raises(InputError, match=rf"^{path}: cannot make this folder: (File exists|Not a directory)$"):
            writing.make_folder(path)


def test_a_folder_for_a_while_is_private_and_goes_with_all_in_it(tmp_path: Path) -> None:
    with writing.temporary_folder(tmp_path) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "file").touch()
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o777 == 0o700
        assert writing.clear_leftovers(tmp_path) == 0
    assert names(tmp_path) == []
    with pytest.raises(OutputError, match="cannot make this folder: No such file"):
        writing.temporary_folder(tmp_path / "none").__enter__()


def test_files_are_read_or_refused_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"content")
    assert writing.read_regular(path) == b"content"
    for missing in (tmp_path / "none", tmp_path, path / "a"):
        assert not writing.is_regular(missing)
        with pytest.raises(NotFoundError, match=rf"^{missing}: cannot be read: there is no such file$"):
            writing.read_regular(missing)
    long = tmp_path / ("x" * 300)
    for read in (writing.read_regular, writing.is_regular):
        with pytest.raises(InputError, match=rf"^{long}: cannot be read: File name too long$"):
            read(long)
    monkeypatch.setattr(Path, "read_bytes", failing(errno.EIO))
    with pytest.raises(InputError, match=rf"^{path}: cannot be read: Input/output error$"):
        writing.read_regular(path)


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="no such file"):
        writing.read_regular(tmp_path / "pipe")


@pytest.mark.parametrize("above", [f"{tempfile.gettempdir()}/", "photos/", "/photos/my-own/", "C:\\Temp\\"])
def test_what_is_said_of_a_temporary_folder_does_not_name_it(above: str, tmp_path: Path) -> None:
    with writing.temporary_folder(tmp_path) as folder:
        name = folder.name
    told = writing.without_temporary_folders(
        f"cannot read '{above}{name}/in/a.dng' and {above}{name}\\b.dng: no such file"
    )
    assert told == "cannot read 'in/a.dng' and b.dng: no such file"
    assert writing.without_temporary_folders(f"{above}photos/a.dng") == f"{above}photos/a.dng"
