"""Files and folders appear whole or not at all; what killed processes left is cleared, and nothing else."""

import os
import secrets
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import pytest

from lwisp.errors import InputError, OutputError
from lwisp.files import writing
from tests.conftest import ROOT


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


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

    with pytest.raises(InputError, match="exists already"):
        writing.write_whole(path, write, overwrite=False)
    assert path.read_bytes() == b"another's"
    assert names(tmp_path) == ["a"]


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


def test_a_pipe_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match="no such file"):
        writing.read_regular(tmp_path / "pipe")
