"""Files read in a process that can reach nothing else: the same values, and nothing of what a fault could do."""

import os
import platform
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import lwisp
from lwisp.errors import InputError, OutOfMemoryError, UnsupportedError
from lwisp.files import linear
from lwisp.files.linear import read_any
from lwisp.files.pictures import read_picture
from lwisp.files.raw import read_mosaic
from lwisp.files.sensor import Sensor
from lwisp.files.shots import read_shot
from lwisp.sandbox import confinement, reader, values
from lwisp.sandbox.confinement import Bounds, why_unavailable
from lwisp.sandbox.reader import CrashedError, Sandbox, TooLongError, UnforeseenError
from tests.conftest import ROOT, SAMPLE, WriteDng
from tests.sandbox import planted
from tests.sandbox.planted import reach
from tests.serve.harness import soon
from tests.test_cli import call

if why_unavailable():
    pytest.skip(f"no sandbox here: {why_unavailable()}", allow_module_level=True)

MOSAIC = np.random.default_rng(0).integers(64, 4000, (64, 96), dtype=np.uint16)


@pytest.fixture(autouse=True, scope="module")
def _tests_can_be_imported() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT), prepend=os.pathsep)
        yield


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    made = Sandbox(Bounds(seconds=20))
    yield made
    made.close()


@pytest.fixture
def word(tmp_path: Path) -> Path:
    return tmp_path / "photo.dng"


def plain(value: object) -> object:
    """A value without the order of its tags, which is Pillow's and none."""
    content = values.to_bytes(value)
    return sorted(content)


@pytest.mark.parametrize("name", ["gopro_hero6_mural.dng", "CRW_0101.CRW"])
def test_a_raw_is_read_as_without(name: str, sandbox: Sandbox) -> None:
    path = ROOT / "samples" / name
    within, without = sandbox.call(read_any, path), read_any(path)
    assert plain(within) == plain(without)
    assert within.mosaic.flags.writeable  # type: ignore[union-attr]
    assert read_shot(path).taken == sandbox.call(read_shot, path).taken


def test_pictures_mosaics_and_linear_raws_are_read_as_without(
    sandbox: Sandbox, write_dng: WriteDng, tmp_path: Path
) -> None:
    rgb = np.stack([MOSAIC] * 3, -1)
    path = write_dng(rgb, photometric=34892, name="linear.dng")
    (tmp_path / "linear.xmp").write_text('<x:xmpmeta xmlns:x="adobe:ns:meta/"/>')
    assert plain(sandbox.call(read_any, path)) == plain(read_any(path))
    lwisp.write_picture(tmp_path / "a.jpg", rgb.astype(np.float32) / 4095)
    assert plain(sandbox.call(read_picture, tmp_path / "a.jpg")) == plain(read_picture(tmp_path / "a.jpg"))
    np.save(tmp_path / "a.npy", MOSAIC)
    (tmp_path / "sensor.toml").write_text('cfa = "RGGB"\nblack_level = 64\n')
    told = Sensor(white_level=4095)
    within = sandbox.call(read_mosaic, tmp_path / "a.npy", sensor=told)
    assert plain(within) == plain(read_mosaic(tmp_path / "a.npy", sensor=told))


def test_refusals_come_back_as_they_are(sandbox: Sandbox, word: Path) -> None:
    word.write_text("no photo")
    with pytest.raises(UnsupportedError) as within:
        sandbox.call(read_any, word)
    with pytest.raises(UnsupportedError) as without:
        read_any(word)
    assert (str(within.value), within.value.feature) == (str(without.value), without.value.feature)
    with pytest.raises(lwisp.InputError, match="No such file"):
        sandbox.call(read_any, word.with_name("none.dng"))


@pytest.mark.parametrize(
    ("what", "error", "said"),
    [
        ("segfault", CrashedError, "died"),
        ("abort", OutOfMemoryError, "was ended"),
        ("bomb", OutOfMemoryError, "not enough memory"),
        ("unforeseen", UnforeseenError, "ZeroDivisionError: no reason"),
        ("exit", CrashedError, "gave back what is no photo"),
    ],
)
def test_a_fault_is_one_files_and_one_sentence(
    what: str, error: type[InputError], said: str, sandbox: Sandbox, word: Path
) -> None:
    word.write_text(f"{what} ")
    with pytest.raises(error) as caught:
        sandbox.call(planted.read_any, word)
    assert str(caught.value).startswith(f"{word}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sandbox.call(read_any, SAMPLE).camera == "GoPro HERO6 Black"


@pytest.mark.parametrize("what", ["hang", "spin"])
def test_what_takes_too_long_is_given_up(what: str, word: Path) -> None:
    short = Sandbox(Bounds(seconds=0.5))
    word.write_text(f"{what} ")
    with pytest.raises(TooLongError, match=r"photo.dng: took (longer than 0.5 seconds|more processor time)"):
        short.call(planted.read_any, word)
    word.write_text("no photo")
    with pytest.raises(UnsupportedError):
        short.call(planted.read_any, word)
    short.close()


def test_too_much_to_give_back_is_refused(word: Path) -> None:
    narrow = Sandbox(Bounds(written=10**7))
    word.write_text("flood ")
    with pytest.raises(OutOfMemoryError):
        narrow.call(planted.read_any, word)
    narrow.close()


def test_nothing_else_can_be_reached(sandbox: Sandbox, tmp_path: Path, word: Path) -> None:
    secret = tmp_path / "secret" / "key"
    secret.parent.mkdir()
    secret.write_text("secret")
    os.setxattr(secret, "user.lwisp", b"x")
    word.write_text("a file")
    before, written = secret.stat(), word.stat().st_mtime_ns
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = sandbox.call(reach, word, str(secret), server.getsockname()[1])
    allowed = {"itself", "code", "signal to itself"}
    assert {name for name, refused in found.items() if not refused} == allowed
    refused = {name: why for name, why in found.items() if name not in allowed}
    assert refused.pop("opening otherwise") == "OSError"  # as if the system had none: openat is tried then
    assert set(refused.values()) <= {"PermissionError", "not allowed to raise maximum limit"}
    assert secret.read_text() == "secret"
    assert secret.stat().st_mode == before.st_mode
    assert (secret.stat().st_mtime_ns, word.stat().st_mtime_ns) == (before.st_mtime_ns, written)
    assert word.read_text() == "a file"


def test_system_calls_alone_deny_what_an_old_landlock_does_not_know(
    tmp_path: Path, word: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with Landlock's first version, which knows nothing of cutting a file short."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        "import lwisp.sandbox.confinement as confinement\nconfinement._landlock_version = lambda: 1\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(site), prepend=os.pathsep)
    word.write_text("a file")
    old = Sandbox()
    found = old.call(reach, word, str(word), 9)
    old.close()
    assert found["cutting"] == found["cutting by opening"] == found["opening to write"] == "PermissionError"
    assert word.read_text() == "a file"


def test_the_terminal_is_left(sandbox: Sandbox, word: Path) -> None:
    assert sandbox.call(planted.terminal, word) == ["True True"] * 3


def test_a_folder_in_the_place_of_a_file_is_not_listed(sandbox: Sandbox, tmp_path: Path) -> None:
    with pytest.raises(UnforeseenError, match="PermissionError"):
        sandbox.call(planted.list_folder, tmp_path)


def test_a_sidecar_that_leads_elsewhere_is_not_opened(sandbox: Sandbox, write_dng: WriteDng, tmp_path: Path) -> None:
    path = write_dng(MOSAIC)
    kept = tmp_path / "kept"
    kept.mkdir()
    packet = (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:Rating="4"/></rdf:RDF></x:xmpmeta>'
    )
    (kept / "photo.xmp").write_text(packet)
    (kept / "key").write_text(packet)
    path.with_suffix(".xmp").symlink_to(kept / "photo.xmp")
    within, without = sandbox.call(read_any, path), read_any(path)
    assert without.properties
    assert plain(within) == plain(without)
    path.with_suffix(".xmp").unlink()
    path.with_suffix(".xmp").symlink_to(kept / "key")
    found = sandbox.call(reach, path, str(path.with_suffix(".xmp")), 9)
    assert found["secret"] == "PermissionError"
    assert not sandbox.call(read_any, path).properties


def test_a_process_that_died_while_it_waited_fails_no_file() -> None:
    waiting = Sandbox()
    waiting.warm()
    waiting._idle[0].process.kill()
    waiting._idle[0].process.wait()
    assert waiting.call(read_shot, SAMPLE).camera == "GoPro HERO6 Black"
    waiting.close()


def test_more_than_a_request_may_hold_is_refused(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MOST_REQUEST", 1000)
    with pytest.raises(OutOfMemoryError, match="more than 1,000"):
        sandbox.call(read_any, b"a" * 1000)


def test_a_result_that_is_none_is_refused(sandbox: Sandbox, word: Path) -> None:
    word.write_text("a file")
    with pytest.raises(CrashedError, match="gave back what is no photo"):
        sandbox.call(planted.lie, word)
    for content in (b"", b"\0" * 8, b"\xff" * 64, values.to_bytes(None)[:-1], values.to_bytes(MOSAIC)[:40]):
        with pytest.raises(ValueError, match="not what was written"):
            values.read(content)


def _as_written(head: str, *blobs: bytes) -> bytes:
    """A result as a process that was taken over may give it."""
    parts = [head.encode(), *blobs]
    return struct.pack(f"<{1 + len(parts)}Q", len(blobs), *map(len, parts)) + b"".join(parts)


@pytest.mark.parametrize(
    "head",
    [
        '["rational", ["1e9999999", 1]]',
        '["rational", [1e300, 1]]',
        '["rational", [true, 1]]',
        '["rational", [1, 18446744073709551616]]',
        '["rational", [1, 2, 3]]',
        '["dict", [[["rational", ["1e9999999", 1]], 1]]]',
        '["list", [["bytes", 0], ["bytes", 0]]]',
        '["dict", [[2305843009213693951, 1]]]',
        "1" * 5000,
        '["array", ["<f8", [1000000000, 1000000000], 0]]',
        '["array", ["V1", [1], 0]]',
        '["list", [' * 9000,
    ],
)
def test_a_few_letters_of_a_result_cost_no_time(head: str) -> None:
    began = time.monotonic()
    with pytest.raises(ValueError, match="not what was written"):
        values.read(_as_written(head, b"a"))
    assert time.monotonic() - began < 0.5


def test_a_head_that_is_no_photos_is_not_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "MOST_HEAD", 100)
    assert values.read(_as_written("[" + '"tuple", []]')) == ()
    with pytest.raises(ValueError, match="not what was written"):
        values.read(_as_written('"' + "a" * 100 + '"'))


def test_too_little_memory_for_a_result_is_told(sandbox: Sandbox, word: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    word.write_text("no photo")
    monkeypatch.setattr(values, "read", _out_of_memory)
    with pytest.raises(OutOfMemoryError, match=r"photo.dng: there is not enough memory for what was read"):
        sandbox.call(read_any, word)


def _out_of_memory(content: bytes) -> object:
    raise MemoryError


def test_no_process_outlives_the_command(word: Path) -> None:
    word.write_text("hang ")
    script = (
        "import sys; from pathlib import Path; from lwisp.sandbox.reader import Sandbox; "
        "from tests.sandbox import planted; "
        "sandbox = Sandbox(); sandbox.warm(); print(sandbox._idle[0].process.pid, flush=True); "
        "sandbox.call(planted.read_any, Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", script, str(word)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        waiting = int(process.stdout.readline())
        children = Path(f"/proc/{waiting}/task/{waiting}/children")
        child = soon(lambda: children.read_text().split())[0]
        process.kill()
    soon(lambda: not Path(f"/proc/{waiting}").exists() and not Path(f"/proc/{child}").exists())


def test_what_is_read_in_threads_overlaps(sandbox: Sandbox) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(sandbox.call(read_shot, SAMPLE).camera)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["GoPro HERO6 Black"] * 4


def test_pictures_developed_in_a_sandbox_have_the_same_bytes(write_dng: WriteDng, tmp_path: Path) -> None:
    write_dng(MOSAIC)
    for name, options in (("without", ()), ("within", ("--sandbox",))):
        result = call("develop", tmp_path / "photo.dng", "-o", tmp_path / f"{name}.jpg", "--fast", *options)
        assert result.exit_code == 0, result.output
    assert (tmp_path / "within.jpg").read_bytes() == (tmp_path / "without.jpg").read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["denoise", "denoise-raw"])
def test_other_verbs_give_the_same_bytes_too(verb: str, write_dng: WriteDng, tmp_path: Path) -> None:
    source = write_dng(MOSAIC)
    if verb == "denoise":
        source = tmp_path / "photo.png"
        lwisp.write_picture(source, np.stack([MOSAIC] * 3, -1).astype(np.float32) / 4095)
    for name, options in (("without", ()), ("within", ("--sandbox",))):
        result = call(verb, source, "-o", tmp_path / name, *options)
        assert result.exit_code == 0, result.output
    (within,), (without,) = (list((tmp_path / name).iterdir()) for name in ("within", "without"))
    assert within.read_bytes() == without.read_bytes()


def test_a_planted_crash_ends_one_file_of_a_batch(
    write_dng: WriteDng, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "read_any", planted.read_any)  # the command names it; the sandbox imports it
    for name in ("a", "c"):
        write_dng(MOSAIC, name=f"{name}.dng")
    (tmp_path / "b.dng").write_text("segfault ")
    made = tmp_path / "made"
    result = call("develop", tmp_path, "-o", made, "--fast", "--sandbox", "--name", "{camera}-{stem}")
    assert result.exit_code == 1
    assert f"{tmp_path / 'b.dng'}: the process that read it died" in " ".join(result.output.split())
    assert sorted(path.name for path in made.iterdir()) == ["Lwisp Testcam-a.jpg", "Lwisp Testcam-c.jpg"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("platform", "darwin"), "it needs Linux"),
        (("machine", "riscv64"), "processors of the kind riscv64"),
        (("landlock", 0), "it needs Landlock"),
    ],
)
def test_a_system_without_one_refuses(
    change: tuple[str, object], said: str, write_dng: WriteDng, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    what, value = change
    if what == "platform":
        monkeypatch.setattr(sys, "platform", value)
    elif what == "machine":
        monkeypatch.setattr(platform, "machine", lambda: value)
    else:
        monkeypatch.setattr(confinement, "_landlock_version", lambda: value)
    result = call("develop", write_dng(MOSAIC), "-o", tmp_path / "a.jpg", "--sandbox")
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())
    assert not (tmp_path / "a.jpg").exists()
