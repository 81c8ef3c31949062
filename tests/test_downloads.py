"""Weights by `hf://`: from a cache as huggingface_hub lays it out, and from a small server here; never from outside."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file
from typer.testing import CliRunner

import lwisp
from lwisp.cli.commands import app
from lwisp.downloads import Address, parse_address
from lwisp.errors import ArgumentError, DamagedError, InputError, NotFoundError
from lwisp.files import optional
from lwisp.model_cards import config_of
from lwisp.provenance import read_provenance
from tests.conftest import ROOT, WriteDng, require

COMMIT = "0123456789abcdef0123456789abcdef01234567"
constants: Any = require("huggingface_hub.constants")


def files_of(weights: Path) -> dict[str, bytes]:
    """What a repository of these weights holds, so far as it is read."""
    loaded = lwisp.load(weights)
    config = config_of(loaded.card, loaded.sha256, "0.1.0")
    return {"config.json": json.dumps(config).encode(), "model.safetensors": weights.read_bytes()}


def put(cache: Path, files: dict[str, bytes], repository: str = "me/toy", ref: str = "main") -> Path:
    """Lay files out as huggingface_hub does: blobs, a snapshot that links to them, a reference to the snapshot."""
    place = cache / f"models--{repository.replace('/', '--')}"
    snapshot = place / "snapshots" / COMMIT
    for folder in (snapshot, place / "refs", place / "blobs"):
        folder.mkdir(parents=True, exist_ok=True)
    (place / "refs" / ref).write_text(COMMIT)
    for name, content in files.items():
        (place / "blobs" / name).write_bytes(content)
        (snapshot / name).symlink_to(Path("..", "..", "blobs", name))
    return snapshot


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of a machine that is told to stay offline."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


def refused(address: str, kind: type[InputError] = InputError) -> str:
    with pytest.raises(kind) as caught:
        lwisp.load(address)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("hf://me/toy")
    return message


def test_weights_come_from_the_cache_by_branch_and_commit_and_digest(cache: Path, toy_file: Path) -> None:
    put(cache, files_of(toy_file))
    there = lwisp.load(toy_file)
    for ending in ("", "@main", f"@{COMMIT}", f"#sha256={there.sha256}", f"@main#sha256={there.sha256.upper()}"):
        found = lwisp.load(f"hf://me/toy{ending}")
        assert (found.sha256, found.card) == (there.sha256, there.card)


def test_every_verb_takes_them_and_the_picture_names_them_by_digest(
    cache: Path, toy_file: Path, write_dng: WriteDng, tmp_path: Path
) -> None:
    put(cache, files_of(toy_file))
    raw = write_dng(np.random.default_rng(0).integers(64, 4000, (40, 60), dtype=np.uint16))
    picture = tmp_path / "out.png"
    done = CliRunner().invoke(app, ["develop", str(raw), "--weights", "hf://me/toy", "-o", str(picture)])
    assert done.exit_code == 0, done.output
    made = read_provenance(picture)
    assert made is not None
    assert made.weights_sha256 == lwisp.load(toy_file).sha256
    done = CliRunner().invoke(app, ["weights", "show", "hf://me/toy"])
    assert done.exit_code == 0, done.output
    assert made.weights_sha256 in done.output
    done = CliRunner().invoke(app, ["verify", str(picture), str(raw), "--weights", "hf://me/toy"])
    assert done.exit_code == 0, done.output


def test_a_changed_digest_is_refused(cache: Path, toy_file: Path) -> None:
    files = files_of(toy_file)
    put(cache, files)
    assert "expected weights with SHA-256 00" in refused(f"hf://me/toy#sha256={'0' * 64}", DamagedError)
    config = json.loads(files["config.json"])
    config["lwisp"]["sha256"] = "f" * 64
    put_again(cache, "config.json", json.dumps(config).encode())
    assert "are not those that its config names" in refused("hf://me/toy", DamagedError)


def put_again(cache: Path, name: str, content: bytes) -> None:
    (cache / "models--me--toy" / "blobs" / name).write_bytes(content)


def test_damage_of_the_tensors_is_refused(cache: Path, toy_file: Path) -> None:
    files = files_of(toy_file)
    put(cache, files)
    changed = bytearray(files["model.safetensors"])
    changed[-1] ^= 1
    put_again(cache, "model.safetensors", bytes(changed))
    with pytest.raises(DamagedError, match="SHA-256 differs"):
        lwisp.load("hf://me/toy")


@pytest.mark.parametrize(
    "config",
    [b'{"model_type": "bert"}', b"[1]", b'{"lwisp": 3}', b'{"lwisp": {"sha256": 5}}', b'{"lwisp": {}}'],
)
def test_a_repository_of_another_architecture_is_refused(cache: Path, config: bytes, tmp_path: Path) -> None:
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "bert.safetensors")
    put(cache, {"config.json": config, "model.safetensors": (tmp_path / "bert.safetensors").read_bytes()})
    assert "holds no weights of lwisp" in refused("hf://me/toy")


@pytest.mark.parametrize("config", [b"", b"{", b"\xff\xfe", b"[" * 10**5])
def test_a_damaged_config_is_refused(cache: Path, config: bytes) -> None:
    put(cache, {"config.json": config, "model.safetensors": b""})
    assert "config.json cannot be read" in refused("hf://me/toy", DamagedError)


def test_weights_without_a_card_are_refused(cache: Path, toy_file: Path, tmp_path: Path) -> None:
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "bare.safetensors")
    put(cache, {**files_of(toy_file), "model.safetensors": (tmp_path / "bare.safetensors").read_bytes()})
    with pytest.raises(InputError, match="without a lwisp card"):
        lwisp.load("hf://me/toy")


def test_what_is_not_in_the_cache_is_not_fetched_offline(cache: Path, toy_file: Path) -> None:
    assert "config.json is not in the cache" in refused("hf://me/toy", NotFoundError)
    put(cache, {"config.json": files_of(toy_file)["config.json"]})
    assert "model.safetensors is not in the cache" in refused("hf://me/toy", NotFoundError)
    assert "config.json is not in the cache" in refused(f"hf://me/toy@{'0' * 40}", NotFoundError)


@pytest.mark.parametrize(
    "address",
    [
        *("hf://", "hf://toy", "hf://me/toy/model.safetensors", "hf://me/../toy", "hf://me/to..y", "hf://me/toy@"),
        *(
            "hf://me/toy@../x",
            "hf://me/toy@-x",
            "hf://me/toy#sha256=12",
            "hf://me/toy#abc",
            "hf://me/toy ",
            "hf://mé/toy",
        ),
        *("hf://me/toy\n", "hf://me/toy@a\x00b"),
    ],
)
def test_an_address_of_another_form_is_refused_before_anything(address: str) -> None:
    with pytest.raises(ArgumentError, match="expected hf://OWNER/NAME"):
        lwisp.load(address)


def test_an_address_has_a_revision_and_a_digest() -> None:
    assert parse_address("hf://me/toy-2.0") == Address("me/toy-2.0")
    assert parse_address("hf://me/toy@refs/pr/1") == Address("me/toy", "refs/pr/1")
    assert parse_address(f"hf://me/toy@v1#sha256={'A' * 64}") == Address("me/toy", "v1", "a" * 64)


def test_without_the_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(optional, "import_module", missing)
    with pytest.raises(InputError, match=r"weights from a hub needs huggingface_hub, which .* 'lwisp\[hub\]'"):
        lwisp.load("hf://me/toy")


def test_scores_are_not_recorded_in_the_cache(cache: Path, toy_file: Path) -> None:
    put(cache, files_of(toy_file))
    done = CliRunner().invoke(app, ["evaluate", "hf://me/toy", "--record", "--data", "."])
    assert done.exit_code == 2
    assert "--record writes into a file of weights" in done.output


def test_a_folder_from_elsewhere_cannot_make_lwisp_connect(
    cache: Path, toy_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(cache, files_of(toy_file))
    own, here = tmp_path / "config" / "lwisp", tmp_path / "here"
    own.mkdir(parents=True)
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(own.parent))
    (here / "lwisp.toml").write_text('[develop]\nweights = "hf://me/toy"\n')
    done = CliRunner().invoke(app, ["develop", "photo.dng"])
    assert done.exit_code == 2
    assert "lwisp.toml: hf://me/toy connects to a network" in done.output
    (here / "lwisp.toml").rename(own / "lwisp.toml")
    done = CliRunner().invoke(app, ["develop", "photo.dng"])
    assert "connects to a network" not in done.output


class _Hub(BaseHTTPRequestHandler):
    """Answers as the hub does, from `files`, and notes what was asked for."""

    files: dict[str, bytes]
    asked: list[str]

    def do_HEAD(self) -> None:
        self._answer(False)

    def do_GET(self) -> None:
        self._answer(True)

    def _answer(self, has_body: bool) -> None:
        self.asked.append(self.path)
        repository, _, rest = self.path.partition("/resolve/")
        revision, _, name = rest.partition("/")
        content = self.files.get(name)
        error = (
            "RepoNotFound" if repository != "/me/toy"
            else "RevisionNotFound" if revision not in ("main", COMMIT)
            else "EntryNotFound" if content is None
            else ""
        )  # fmt: skip
        self.send_response(404 if error else 200)
        if error:
            self.send_header("X-Error-Code", error)
        body = b"" if error or content is None else content
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{name}-1"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if has_body:
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: Any) -> None:
        """Print nothing."""


@pytest.fixture
def server(toy_file: Path) -> Iterator[tuple[str, type[_Hub]]]:
    class Hub(_Hub):
        files = files_of(toy_file)
        asked: list[str] = []  # noqa: RUF012

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}", Hub
        listening.shutdown()


CODE = """
import json, sys
sys.modules["torch"] = None  # which makes importing it fail
import lwisp
told = []
for address in sys.argv[1:]:
    try:
        told.append(lwisp.load(address).sha256)
    except lwisp.InputError as error:
        told.append(str(error))
print(json.dumps(told))
"""


def test_they_are_fetched_without_torch_and_kept(
    server: tuple[str, type[_Hub]], toy_file: Path, tmp_path: Path
) -> None:
    address, hub_class = server
    others = ["hf://me/other", "hf://me/toy@v2"]
    env = {"HF_ENDPOINT": address, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_DISABLE_XET": "1"}

    def load(*addresses: str, **more: str) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", CODE, *addresses],
            cwd=ROOT, env={**os.environ, **env, **more}, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        found: list[str] = json.loads(done.stdout.splitlines()[-1])
        return found

    there = lwisp.load(toy_file).sha256
    found, no_repository, no_revision = load("hf://me/toy", *others)
    assert found == there
    assert no_repository.startswith("hf://me/other: the hub gives no such repository")
    assert no_revision == "hf://me/toy@v2: the repository has no such branch, tag or commit"
    assert {path.rpartition("/")[2] for path in hub_class.asked} == {"config.json", "model.safetensors"}
    hub_class.asked.clear()
    assert load("hf://me/toy", HF_HUB_OFFLINE="1") == [there]
    assert hub_class.asked == []
    del hub_class.files["model.safetensors"]
    unreached = "http://127.0.0.1:9"
    assert load("hf://me/toy", f"hf://me/toy@{COMMIT}", HF_ENDPOINT=unreached) == [there, there]
    (message,) = load("hf://me/toy", HF_HUB_CACHE=str(tmp_path / "empty"))
    assert message == "hf://me/toy: this repository has no model.safetensors; `lwisp hub pack` writes such ones"
