"""Where no engine is installed, as on a platform that none has a wheel for, one sentence says so before any work."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT, SAMPLE

CODE = """
import json, sys
from typing import Any

HIDDEN = {"openvino", "onnxruntime", "torch"}


class Hiding:
    def __init__(self, finder: Any) -> None:
        self.finder = finder

    def find_spec(self, name: str, *more: Any) -> Any:
        return None if name.split(".")[0] in HIDDEN else self.finder.find_spec(name, *more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.finder, name)


sys.meta_path = [Hiding(finder) for finder in sys.meta_path]
from lwisp.cli.commands import app
import lwisp.cli

codes = []
for verb in json.loads(sys.argv[1]):
    try:
        app(verb)
    except SystemExit as end:
        codes.append(end.code)
print(json.dumps(codes))
"""


def test_what_needs_an_engine_says_which_to_install_and_the_rest_works(tmp_path: Path) -> None:
    verbs = [["develop", str(SAMPLE), "-o", str(tmp_path / "out.jpg")], ["weights", "list"], ["--version"]]
    done = subprocess.run(
        [sys.executable, "-c", CODE, json.dumps(verbs)],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    codes = json.loads(done.stdout.splitlines()[-1])
    assert codes[0] in (1, 2)
    assert codes[1:] == [0, 0]
    assert "no engine for networks is installed; pip install openvino, or onnxruntime" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "out.jpg").exists()
