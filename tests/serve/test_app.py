"""The interface over HTTP; the pictures themselves are in test_worker.py."""

import contextlib
import json
import re
import socket
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lwisp.serve.app import PAGE_TYPES
from lwisp.serve.knobs import FIELDS
from lwisp.serve.limits import Limits
from lwisp.serve.pages import files_of
from tests.serve.harness import Served, refusal, served, soon


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Served]:
    with served(tmp_path) as running:
        yield running


def test_a_form_with_a_file_is_answered_with_its_picture(server: Served) -> None:
    answer = server.develop(b"good one", "IMG 1.CR2", format="tiff")
    assert answer.status_code == 200
    assert answer.content == b"develop good one"
    assert answer.headers["content-type"] == "image/tiff"
    assert "IMG%201.tif" in answer.headers["content-disposition"]
    assert soon(lambda: not server.files() and not server.store.jobs)


def test_a_job_goes_from_its_form_to_its_picture_and_is_forgotten(server: Served) -> None:
    job = server.begin(b"good")
    told = server.end(job)
    assert (told["state"], told["notes"], told["facts"]) == ("done", ["a note"], [["Camera", "Testcam"]])
    assert server.client.get(f"/jobs/{job}/picture").content == b"develop good"
    assert server.client.get(f"/jobs/{job}/before").content == b"before good"
    refusal(server.client.get(f"/jobs/{job}/camera"), 404, "not-found")
    assert server.client.delete(f"/jobs/{job}").status_code == 204
    refusal(server.client.get(f"/jobs/{job}"), 404, "not-found")
    assert server.files() == []


def test_a_photo_is_developed_again_without_being_sent_again(server: Served) -> None:
    first = server.begin(b"good")
    answer = server.client.post(f"/jobs/{first}/again", files={"exposure": (None, "1"), "format": (None, "png")})
    assert answer.status_code == 202, answer.text
    second = answer.json()["id"]
    assert server.end(second)["state"] == "done"
    server.client.delete(f"/jobs/{first}")
    picture = server.client.get(f"/jobs/{second}/picture")
    assert (picture.content, picture.headers["content-type"]) == (b"develop good", "image/png")
    with_file = server.client.post(f"/jobs/{second}/again", files={"file": ("a.dng", b"good")})
    assert "no file here" in refusal(with_file, 400, "argument")


@pytest.mark.parametrize(
    ("content", "kind"),
    [(b"bad", "damaged"), (b"segfault", "crash"), (b"killed", "memory"), (b"babble", "crash")],
)
def test_a_bad_file_is_one_sentence_and_harms_no_other(server: Served, content: bytes, kind: str) -> None:
    good, bad = server.begin(b"slow"), server.begin(content, "broken.nef")
    later = server.begin(b"good")
    assert server.end(bad)["error"].startswith("broken.nef: ")
    assert (server.end(good)["state"], server.end(later)["state"]) == ("done", "done")
    refusal(server.client.get(f"/jobs/{bad}/picture"), 422, kind)
    refusal(server.develop(content), 422, kind)


def test_a_file_that_takes_too_long_is_given_up(tmp_path: Path) -> None:
    with served(tmp_path, Limits(seconds=0.5)) as server:
        assert "longer than 0.5 seconds" in refusal(server.develop(b"hang"), 422, "time")
        assert server.develop(b"good").status_code == 200


def test_one_that_takes_long_does_not_stop_those_of_other_workers(tmp_path: Path) -> None:
    with served(tmp_path, Limits(jobs=2)) as server:
        hanging = server.begin(b"hang")
        soon(lambda: not server.store.pool.place_of(server.store.jobs[hanging].task))
        assert server.develop(b"good").status_code == 200
        server.client.delete(f"/jobs/{hanging}")
        assert server.develop(b"good").status_code == 200


def test_a_worker_is_started_anew_after_so_many_photos(tmp_path: Path) -> None:
    with served(tmp_path, Limits(renewal=2)) as server:
        first, second, third = (server.develop(b"who").content for _ in range(3))
        assert first == second != third


def test_where_no_worker_can_be_started_it_is_said(tmp_path: Path) -> None:
    with served(tmp_path, worker=[sys.executable, "-I", "-S", "-c", "pass"]) as server:
        assert "--verbose" in refusal(server.develop(b"good"), 500, "worker")


def test_a_file_that_is_too_large_is_refused_before_it_is_written_whole(tmp_path: Path) -> None:
    with served(tmp_path, Limits(upload=100_000)) as server:
        told = server.develop(bytes(300_000))
        assert "at most 0.1 MB" in refusal(told, 413, "too-large")

        def pieces() -> Iterator[bytes]:  # sent without a length
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.dng"\r\n\r\n'
            for _ in range(30):
                yield bytes(10_000)
            yield b"\r\n--b--\r\n"

        headers = {"content-type": "multipart/form-data; boundary=b"}
        refusal(server.client.post("/develop", content=pieces(), headers=headers), 413, "too-large")
        assert server.files() == []
        assert server.develop(bytes(90_000)).status_code == 200


def test_who_asks_first_whether_to_send_is_refused_without_sending(tmp_path: Path) -> None:
    with served(tmp_path, Limits(upload=1000)) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=5) as client:
            head = "POST /develop HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000000\r\nExpect: 100-continue\r\n"
            client.sendall(f"{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n".encode())
            assert client.recv(10_000).startswith(b"HTTP/1.1 413")


def test_of_fifty_uploads_at_once_each_gets_its_picture_or_is_told_when_to_come_again(tmp_path: Path) -> None:
    with served(tmp_path, Limits(queue=4, uploads=8)) as server:
        answers: list[httpx.Response] = []

        def upload(number: int) -> None:
            form = {"file": ("photo.dng", b"slow %d" % number + bytes(100_000))}
            answers.append(httpx.post(f"{server.url}/develop", files=form, timeout=120))

        threads = [threading.Thread(target=upload, args=(number,)) for number in range(50)]
        for thread in threads:
            thread.start()
        assert httpx.get(f"{server.url}/settings", timeout=5).status_code == 200  # it answers others meanwhile
        for thread in threads:
            thread.join()
        counts = Counter(answer.status_code for answer in answers)
        assert counts[200] >= 5
        assert counts[200] + counts[429] == 50
        for answer in answers:
            if answer.status_code == 429:
                assert int(answer.headers["retry-after"]) >= 1
                assert "try again in" in refusal(answer, 429, "busy")
        assert soon(lambda: not server.files())


def test_what_is_no_form_with_a_raw_is_told_what_was_expected(
    server: Served, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    post = server.client.post
    assert "application/json" in refusal(post("/develop", json={"file": "a"}), 415, "wrong-type")
    refusal(post("/develop", content=b"a RAW", headers={"content-type": "image/x-canon-cr2"}), 415, "wrong-type")
    refusal(post("/develop"), 415, "wrong-type")
    refusal(post("/develop", files={"exposure": (None, "1")}), 400, "argument")
    refusal(post("/develop", files={"photo": ("a.dng", b"good")}), 400, "argument")
    refusal(post("/develop", files=[("file", ("a.dng", b"good")), ("file", ("b.dng", b"good"))]), 400, "argument")
    form = {"content-type": "multipart/form-data; boundary=b"}
    for damaged in (b"", b"nothing", b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\ncut'):
        assert "cut short" in refusal(post("/develop", content=damaged, headers=form), 400, "argument")
    long = {"content-type": f"multipart/form-data; boundary={'b' * 300}"}
    assert "256 letters" in refusal(post("/develop", content=b"nothing", headers=long), 400, "argument")
    assert "multipart" not in caplog.text  # the client is told, not who looks at the server's output
    assert "boundary" not in capfd.readouterr().err
    assert server.files() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *(("exposure", value) for value in ("9", "nan", "bright")),
        *(("size", value) for value in ("0", "1.5", "999999")),
        ("white_balance", "warm"),
        ("fast", "perhaps"),
        ("format", "exe"),
        ("profile", "p3"),
        ("weights", "/etc/passwd"),
        ("weights", "denoise"),
        ("look", "../../secret.safetensors"),
        ("output", "/tmp/x"),
    ],
)
def test_knobs_that_cannot_be_used_are_refused(server: Served, field: str, value: str) -> None:
    refusal(server.develop(b"good", **{field: value}), 400, "argument")
    assert server.files() == []


def test_no_name_of_a_client_is_a_path(server: Served) -> None:
    names = (
        "../../up.dng",
        "..\\..\\up.dng",
        "/etc/cron.d/up",
        'a"; x="b.dng',
        "a\r\nX-Evil: 1.dng",
        "..",
        ".",
        "\u202egnd.raw",
        "a" * 3000 + ".dng",
    )
    for name in names:
        folder = server.folder
        job = server.begin(b"good", name)
        assert server.end(job)["state"] == "done"
        assert all(re.fullmatch(r"[\w-]{22}/(source(\.dng|\.raw)?|[\w-]{22}\.jpg)", file) for file in server.files())
        answer = server.client.get(f"/jobs/{job}/picture")
        assert "x-evil" not in answer.headers
        disposition = answer.headers["content-disposition"]
        assert not re.search(r"[/\\\r\n]|\.\.", disposition.replace("utf-8''", ""))
        assert len(disposition) < 400
        assert len(server.client.get(f"/jobs/{job}").json()["name"]) <= 100
        server.client.delete(f"/jobs/{job}")
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    "headers",
    [
        *(
            {"host": host}
            for host in ("evil.example", "localhost.evil.example", "10.0.0.1", "localhost@evil.example", "")
        ),
        *({"origin": origin} for origin in ("https://evil.example", "null", "http://127.0.0.1:1")),
        *({"sec-fetch-site": site} for site in ("cross-site", "same-site")),
    ],
)
def test_other_sites_are_refused(server: Served, headers: dict[str, str]) -> None:
    answer = server.client.post("/develop", files={"file": ("a.dng", b"good")}, headers=headers)
    refusal(answer, 403, "forbidden")
    refusal(server.client.get("/settings", headers=headers), 403, "forbidden")
    assert "access-control-allow-origin" not in answer.headers


def test_the_page_itself_may_ask_and_a_link_may_lead_to_it(server: Served) -> None:
    own = {"origin": server.url, "sec-fetch-site": "same-origin"}
    assert server.client.post("/develop", files={"file": ("a.dng", b"good")}, headers=own).status_code == 200
    for host in ("localhost", "LOCALHOST:1234", "127.0.0.1:1", "[::1]:80"):
        assert server.client.get("/settings", headers={"host": host}).status_code == 200
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert server.client.get("/", headers=link).status_code == 200
    refusal(server.client.get("/settings", headers=link), 403, "forbidden")


def test_the_page_needs_nothing_from_elsewhere(server: Served) -> None:
    for name, content in files_of("page").items():
        answer = server.client.get("/" if name == "index.html" else f"/{name}")
        assert answer.status_code == 200
        assert answer.content == content
        assert answer.headers["content-type"].startswith(PAGE_TYPES[Path(name).suffix])
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert not re.search(r"(https?:)?//(?!www\.w3\.org/2000/svg)\w+\.\w", answer.text)
    refusal(server.client.get("/../app.py"), 404, "not-found")
    refusal(server.client.get("/%2e%2e/app.py"), 404, "not-found")
    refusal(server.client.put("/develop"), 405, "http")


def test_nothing_is_reported_whatever_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("FASTAPI_OTEL_AUTO_CONFIGURE", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9/")
    with served(tmp_path) as server:
        assert server.develop(b"good").status_code == 200
    assert not [record for record in caplog.records if record.name == "fastapi"]  # it would say that it cannot report


def test_the_interface_is_described_for_programs_and_for_people(server: Served) -> None:
    told = server.client.get("/openapi.json").json()
    form = told["paths"]["/develop"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(form["properties"]) == {"file", *FIELDS}
    assert (
        form["properties"]["exposure"] | {"default": 0.0, "minimum": -5, "maximum": 5} == form["properties"]["exposure"]
    )
    page = server.client.get("/docs").text
    assert "<script" not in page
    for word in ("POST /develop", "/jobs/{id}/before", *FIELDS, "429"):
        assert word in page


def test_a_client_that_sends_too_slowly_is_told(tmp_path: Path) -> None:
    with served(tmp_path, Limits(patience=0.3)) as server:
        host, port = server.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as slow:
            head = "POST /develop HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n"
            slow.sendall(f"{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n".encode())
            assert server.develop(b"good").status_code == 200  # others are answered meanwhile
            answer = slow.recv(10_000).decode()
        assert answer.startswith("HTTP/1.1 408")
        assert soon(lambda: not server.files() and not server.store.arriving)


def test_files_that_come_too_slowly_give_way_to_others(tmp_path: Path) -> None:
    with served(tmp_path, Limits(uploads=2)) as server, contextlib.ExitStack() as slow:
        host, port = server.url.removeprefix("http://").split(":")
        head = "POST /develop HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5000\r\n"
        for _ in range(2):
            client = slow.enter_context(socket.create_connection((host, int(port)), timeout=20))
            client.sendall(f"{head}Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n".encode())
        assert soon(lambda: len(server.store.arriving) == 2)
        assert "try again in 5" in refusal(server.develop(b"good"), 429, "busy")
        assert soon(lambda: server.develop(b"good").status_code == 200)
        assert len(server.store.arriving) == 1


def test_whoever_hangs_up_has_his_picture_cancelled(server: Served) -> None:
    with pytest.raises(httpx.ReadTimeout):
        server.client.post("/develop", files={"file": ("a.dng", b"hang")}, timeout=1)
    assert soon(lambda: not server.store.jobs and not server.files())
    assert server.develop(b"good").status_code == 200


def test_a_closed_page_has_what_it_waits_for_cancelled(tmp_path: Path) -> None:
    with served(tmp_path, Limits(grace=0.2)) as server:
        with server.client.stream("GET", "/events/me") as events:
            job = server.begin(b"hang", watcher="me")
            other = server.begin(b"good", watcher="you")
            for line in events.iter_lines():
                if line.startswith("data:") and json.loads(line[5:])["id"] == job:
                    break
        assert server.end(job)["state"] == "cancelled"
        assert server.end(other)["state"] in ("done", "cancelled")
        assert server.develop(b"good").status_code == 200


def test_pictures_are_kept_for_a_while_and_so_many(tmp_path: Path) -> None:
    with served(tmp_path, Limits(keep_photos=2, keep_seconds=2)) as server:
        ids = []
        for _ in range(3):
            ids.append(server.begin(b"good"))
            server.end(ids[-1])
        refusal(server.client.get(f"/jobs/{ids[0]}"), 404, "not-found")
        assert server.client.get(f"/jobs/{ids[1]}/picture").status_code == 200
        assert soon(lambda: not server.files() and not server.store.jobs)


def test_a_disk_that_is_full_is_told(tmp_path: Path) -> None:
    with served(tmp_path, Limits(disk=100_000)) as server:
        waiting = server.begin(b"hang" + b" " + bytes(60_000))
        refusal(server.develop(bytes(60_000)), 507, "disk")
        server.client.delete(f"/jobs/{waiting}")
        assert server.develop(bytes(60_000)).status_code == 200
