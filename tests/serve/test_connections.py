"""Clients that are slow, too many, or send what is no request: each gets an answer, and the others are served."""

import contextlib
import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from lwisp.serve.guard import LONGEST_HEAD, MOST_HEADERS
from lwisp.serve.limits import Limits
from tests.serve.harness import Served, served, soon

HURRIED = Limits(head_seconds=1.0)


@contextlib.contextmanager
def connection(server: Served) -> Iterator[socket.socket]:
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=20) as client:
        yield client


def answer_of(client: socket.socket) -> bytes:
    """All that comes until the server closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := client.recv(65536):
            found += piece
    return found


def first_answer(client: socket.socket) -> bytes:
    """The next answer that has a length, and no more."""
    found = b""
    while b"\r\n\r\n" not in found:
        found += client.recv(1)
    length = re.search(rb"content-length: (\d+)", found.lower())
    assert length is not None
    return found + client.recv(int(length[1]), socket.MSG_WAITALL)


def refusal(answer: bytes, status: int, kind: str) -> str:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status), answer
    assert b"connection: close" in head.lower()
    told = json.loads(body)
    assert told["kind"] == kind
    return str(told["error"])


@pytest.mark.parametrize(
    "begun", [b"", b"GET /sett", b"GET / HTTP/1.1\r\nHost: local"], ids=["nothing", "line", "head"]
)
def test_who_does_not_send_the_head_of_a_request_is_told(begun: bytes, tmp_path: Path) -> None:
    with served(tmp_path, HURRIED) as server, connection(server) as slow:
        slow.sendall(begun)
        began = time.monotonic()
        assert server.develop(b"good").status_code == 200  # others are answered meanwhile
        assert "within 1 seconds" in refusal(answer_of(slow), 408, "too-slow")
        assert time.monotonic() - began < 3


def test_a_byte_now_and_then_gains_no_time(tmp_path: Path) -> None:
    with served(tmp_path, HURRIED) as server, connection(server) as slow:
        began = time.monotonic()
        with contextlib.suppress(OSError):
            for letter in b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: 1\r\n":
                slow.sendall(bytes([letter]))
                slow.settimeout(0.5)
                with contextlib.suppress(TimeoutError):
                    assert slow.recv(1, socket.MSG_PEEK)
                    break
        assert time.monotonic() - began < 3
        refusal(answer_of(slow), 408, "too-slow")


def test_neither_does_one_after_an_answer_nor_a_body_that_nobody_waits_for(tmp_path: Path) -> None:
    whole = b"GET /settings HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with served(tmp_path, HURRIED) as server:
        with connection(server) as kept:
            kept.sendall(whole)
            assert first_answer(kept).startswith(b"HTTP/1.1 200")
            time.sleep(1.3)  # without a byte the connection is kept for longer
            kept.sendall(whole + b"GET")
            answered, _, rest = answer_of(kept).partition(b"HTTP/1.1 408")
            assert answered.startswith(b"HTTP/1.1 200")
            assert rest
        with connection(server) as trickling:
            trickling.sendall(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999\r\n\r\n")
            assert first_answer(trickling).startswith(b"HTTP/1.1 404")
            began = time.monotonic()
            with contextlib.suppress(OSError):
                while time.monotonic() - began < 20:
                    trickling.sendall(b"x")
                    time.sleep(0.2)
            assert time.monotonic() - began < 5


def test_idle_connections_keep_nobody_out(tmp_path: Path) -> None:
    with served(tmp_path, Limits(connections=8)) as server, contextlib.ExitStack() as idle:
        sockets = [idle.enter_context(connection(server)) for _ in range(40)]
        assert server.develop(b"good").status_code == 200
        assert "too many connections" in refusal(answer_of(sockets[0]), 503, "busy")


def test_where_all_connections_are_busy_a_new_one_is_told_and_served_later(tmp_path: Path) -> None:
    limits = Limits(connections=3)
    with served(tmp_path, limits) as server, contextlib.ExitStack() as pages:
        for number in range(limits.connections):
            page = pages.enter_context(connection(server))
            page.sendall(b"GET /events/%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % number)
            assert page.recv(10_000).startswith(b"HTTP/1.1 200")
        for _ in range(100):  # more than may linger
            with connection(server) as late:
                late.sendall(b"GET /settings HTTP/1.1\r\nHost: localhost\r\n\r\n")
                answer = answer_of(late)
                assert "try again" in refusal(answer, 503, "busy")
                assert b"Retry-After: 5" in answer
        page.close()
        assert soon(lambda: httpx.get(f"{server.url}/settings", timeout=20).status_code == 200)


def head_with(lines: int, length: int) -> bytes:
    more = b"".join(b"X-%d: %s\r\n" % (number, b"y" * length) for number in range(lines))
    return b"GET /settings HTTP/1.1\r\nHost: localhost\r\n" + more + b"\r\n"


@pytest.mark.parametrize(
    ("lines", "length"),
    [(1, LONGEST_HEAD), (1, 10_000_000), (MOST_HEADERS, 1), (200_000, 1), (40, 500)],
    ids=["a long line", "an endless line", "many lines", "endless lines", "long in all"],
)
def test_a_head_that_is_too_large_is_told(lines: int, length: int, tmp_path: Path) -> None:
    with served(tmp_path) as server:
        with connection(server) as client:
            with contextlib.suppress(ConnectionError):
                client.sendall(head_with(lines, length))
            answer = first_answer(client)
            assert answer.startswith(b"HTTP/1.1 431 ")
            assert json.loads(answer.partition(b"\r\n\r\n")[2])["kind"] == "head"
        with connection(server) as client:
            client.sendall(head_with(20, 200))
            assert first_answer(client).startswith(b"HTTP/1.1 200")


def test_what_is_no_request_is_told(tmp_path: Path) -> None:
    with served(tmp_path) as server:
        for nonsense in (
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
            b"HELO there\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: many\r\n\r\n",
        ):
            with connection(server) as client:
                client.sendall(nonsense)
                refusal(answer_of(client), 400, "http")
        with connection(server) as client:  # after the answer has begun there is no other
            chunked = b"Transfer-Encoding: chunked\r\n\r\n"
            client.sendall(b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\n" + chunked)
            assert first_answer(client).startswith(b"HTTP/1.1 404")
            client.sendall(b"no length\r\n")
            assert answer_of(client) == b""
        with connection(server) as client:  # while the application waits for the body
            form = b"Content-Type: multipart/form-data; boundary=b\r\n"
            client.sendall(b"POST /develop HTTP/1.1\r\nHost: localhost\r\n" + form + chunked)
            assert soon(lambda: server.store.arriving)
            client.sendall(b"no length\r\n")
            refusal(answer_of(client), 400, "http")
        assert soon(lambda: not server.files() and not server.store.arriving)
        assert server.develop(b"good").status_code == 200


def test_who_does_not_read_the_answer_is_cut_off(tmp_path: Path) -> None:
    large = b"good" + bytes(20_000_000)
    with served(tmp_path, Limits(patience=1.0)) as server:
        job = server.begin(large)
        server.end(job)
        with connection(server) as client:
            client.sendall(f"GET /jobs/{job}/picture HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            time.sleep(2)
            assert len(answer_of(client)) < 20_000_000
        assert len(server.client.get(f"/jobs/{job}/picture").content) > 20_000_000
