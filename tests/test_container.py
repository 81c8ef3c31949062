"""The image's build file and its health check; `tests/container.py` builds and uses what it describes."""

import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lwisp.serve import health
from tests.conftest import ROOT
from tests.container import copy_context, dockerfile, use, variables_of, why_not
from tests.wheel import index_answers


def test_the_bases_are_pinned_and_the_user_has_no_rights() -> None:
    text = dockerfile()
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.\d+-slim-\w+", base) for base in bases)
    assert re.findall(r"^USER (.+)$", text, re.MULTILINE) == ["10001:10001"]
    assert text.index("\nUSER ") < text.index("\nENTRYPOINT ")
    assert "torch" not in text.replace("PyTorch", "")
    for label in ("title", "description", "licenses", "version"):
        assert f"org.opencontainers.image.{label}=" in text


def test_everything_that_is_written_beside_pictures_lies_in_tmp() -> None:
    variables = variables_of(dockerfile())
    assert variables["HOME"] == "/tmp"
    assert variables["XDG_CACHE_HOME"].startswith("/tmp/")
    assert variables["PYTHONDONTWRITEBYTECODE"] == "1"


def test_the_build_sees_what_it_needs_and_nothing_of_the_user(tmp_path: Path) -> None:
    context = copy_context(tmp_path / "context")
    found = {path.relative_to(context).as_posix() for path in context.rglob("*") if path.is_file()}
    assert {"pyproject.toml", "setup.py", "constraints.txt", "LICENSE", "NOTICE.md", "README.md"} <= found
    assert {"lwisp/model.py", "recipes/photo.toml", "docs/models/photo.md", "docs/results/front.csv"} <= found
    assert not [name for name in found if name.startswith((".git", ".venv", "tests", "data", "runs", "benchmarks"))]
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert "*" in ignored  # all that is not named stays out


@pytest.mark.slow
def test_what_the_image_has_works_on_a_root_that_is_read_only() -> None:
    if reason := why_not():
        pytest.skip(reason)
    if not index_answers():
        pytest.skip("no index of packages answers")
    use()


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("lwisp serve --host 0.0.0.0", ("127.0.0.1", 8000)),
        ("/opt/lwisp/bin/python /opt/lwisp/bin/lwisp serve --port 9000 --host=::", ("::1", 9000)),
        ("docker-init -- lwisp serve --port=80 --host 10.0.0.2", ("10.0.0.2", 80)),
        ("sh -c lwisp serve --host 0.0.0.0", ("127.0.0.1", 8000)),
        ("lwisp develop /photos -o /out", None),
        ("lwisp serve --port", None),
        ("lwisp serve --port x", None),
    ],
)
def test_the_health_check_asks_where_the_first_process_listens(command: str, found: tuple[str, int] | None) -> None:
    assert health.address_in(command.split()) == found


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    class Settings(BaseHTTPRequestHandler):
        status = 200

        def do_GET(self) -> None:
            self.send_response(self.status if self.path == "/settings" else 404)
            self.end_headers()

        def log_message(self, format: str, *arguments: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Settings) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield listening
        listening.shutdown()


def test_a_server_is_well_only_if_it_answers(server: ThreadingHTTPServer) -> None:
    port = server.server_port
    assert health.trouble("127.0.0.1", port) == ""
    server.RequestHandlerClass.status = 503  # type: ignore[attr-defined]
    assert health.trouble("127.0.0.1", port) == f"127.0.0.1:{port}: answered 503"
    server.shutdown()
    server.server_close()
    assert "refused" in health.trouble("127.0.0.1", port)
