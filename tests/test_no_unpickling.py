"""Nothing is unpickled from a file: no code of the package could, and files that would do harm do none."""

import ast
import io
import pickle
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from lwisp import InputError, load, read_mosaic
from lwisp.baselines.own import import_own
from lwisp.files.runs import run_folder
from lwisp.interchange import PICKLED, read_state_dict
from lwisp.training.progress import Reporter
from lwisp.training.runs import train
from tests.conftest import ROOT
from tests.old.make import RUN, write_photos
from tests.test_cli import call

UNPICKLING = frozenset(["pickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "multiprocessing"])
"""Modules that unpickle."""
ALLOWED = {
    "interchange.py": ("pickle", "its exception alone, which torch.load raises for a damaged file"),
    "training/state.py": ("pickle", "its exception alone, which torch.load raises for a damaged file"),
    "training/loop.py": ("multiprocessing", "a lock alone, to see whether processes can share memory"),
    "evaluation/processes.py": ("multiprocessing", "arguments and results of a process that it starts itself"),
}
"""Where such a module is imported, and what for."""
RECIPE = 'name = "mine"\nlicence = "CC0-1.0"\narchitecture = { width = 4 }\nscales = 1\n'


def findings(code: str) -> Iterator[str]:
    """What of a module's code unpickles, or could: a line each."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (f"imports {alias.name}" for alias in node.names if alias.name.split(".")[0] in UNPICKLING)
        elif isinstance(node, ast.ImportFrom) and node.module:
            root = node.module.split(".")[0]
            names = {alias.name for alias in node.names}
            if root in UNPICKLING:
                yield f"imports {root}"
            elif root in ("torch", "numpy") and names & {"load", "jit", "hub", "package"}:
                yield f"imports from {node.module}"
        elif isinstance(node, ast.Attribute):
            whole = ast.unparse(node)
            is_of_pickle = whole.startswith("pickle.") and whole != "pickle.UnpicklingError"
            is_of_torch = whole.startswith("torch.") and whole != "torch.load"
            if (
                is_of_pickle
                or (is_of_torch and (node.attr == "load" or "safe_globals" in whole))
                or node.attr in ("read_pickle", "load_from_checkpoint")
            ):
                yield f"uses {whole}"
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            told = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if called == "torch.load" and told.get("weights_only") != "True":
                yield "torch.load without weights_only=True"
            if told.get("weights_only", "True") != "True" or told.get("allow_pickle", "False") != "False":
                yield f"{called} unpickles"
            if called in ("np.load", "numpy.load") and (len(node.args) > 2 or None in told):
                yield f"{called} with what cannot be seen"
            if called in ("eval", "exec", "__import__"):
                yield f"calls {called}"


def test_no_code_of_the_package_unpickles_files() -> None:
    found = {}
    package = ROOT / "lwisp"
    for path in sorted(package.rglob("*.py")):
        lines = set(findings(path.read_text(encoding="utf-8")))
        if lines:
            found[path.relative_to(package).as_posix()] = lines
    assert found == {place: {f"imports {module}"} for place, (module, _) in ALLOWED.items()}


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "import multiprocessing.connection",
        "from pickle import loads",
        "from torch import load",
        "import pickle\npickle.loads(b'')",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=trusted)",
        "torch.load(path, **options)",
        "torch.jit.load(path)",
        "torch.hub.load(path)",
        "torch.serialization.add_safe_globals([Card])",
        "np.load(path, allow_pickle=True)",
        "np.load(path, 'r', True)",
        "fabric.load(path, weights_only=False)",
        "pandas.read_pickle(path)",
        "eval(text)",
    ],
)
def test_code_that_unpickles_is_found(code: str) -> None:
    assert list(findings(code))


@pytest.mark.parametrize(
    "code", ["torch.load(path, weights_only=True)", "np.load(path)", "network.eval()", "lwisp.load(path)"]
)
def test_code_that_does_not_is_not(code: str) -> None:
    assert not list(findings(code))


pytestmark = pytest.mark.filterwarnings("ignore:Detected pickle protocol")  # torch's, before it refuses them


class Harmful:
    """Unpickled it makes a file."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The file that is there where a poison has worked."""
    return tmp_path / "harm"


@pytest.fixture(params=["bare", "torch", "torch, old", "among tensors", "in a subclass"])
def poison(request: pytest.FixtureRequest, mark: Path) -> bytes:
    """Files with code in them, as `pickle` and `torch.save` write them."""
    harm, file = Harmful(mark), io.BytesIO()
    among = {"state_dict": {"layer.weight": torch.zeros(3), "layer.bias": harm}}
    if request.param == "bare":
        return pickle.dumps(harm)
    if request.param == "torch":
        torch.save(harm, file)
    elif request.param == "torch, old":
        torch.save(among, file, _use_new_zipfile_serialization=False)
    elif request.param == "among tensors":
        torch.save(among, file)
    else:
        torch.save({"step": 1, "row": None, "names": ["0.png"], "recipe": RUN.to_json(), "network": harm}, file)
    return file.getvalue()


def test_the_poison_works_where_it_is_unpickled(poison: bytes, mark: Path) -> None:
    assert not mark.exists()
    if zipfile.is_zipfile(io.BytesIO(poison)) or poison[:2] != b"\x80\x04":
        torch.load(io.BytesIO(poison), weights_only=False)
    else:
        pickle.loads(poison)
    assert mark.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".onnx", ".xml", *PICKLED])
def test_poisoned_weights_are_refused_and_run_nothing(suffix: str, poison: bytes, mark: Path, tmp_path: Path) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(poison)
    for read in (load, read_state_dict):
        with pytest.raises(InputError):
            read(path)
    assert not mark.exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_commands_refuse_poisoned_weights_and_run_nothing(
    suffix: str, poison: bytes, mark: Path, tmp_path: Path
) -> None:
    path, made = tmp_path / f"weights{suffix}", tmp_path / "made.safetensors"
    path.write_bytes(poison)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "photo.dng").write_bytes(poison)
    for words in (
        ("weights", "wrap", path, "--recipe", tmp_path / "recipe.toml", "-o", made),
        ("weights", "bare", path, "-o", tmp_path / "bare.pth"),
        ("weights", "show", path),
        ("develop", tmp_path / "photo.dng", "--weights", path),
        ("develop", tmp_path / "photo.dng"),
    ):
        result = call(*words)
        assert result.exit_code in (1, 2), words
        assert isinstance(result.exception, SystemExit), words
        assert "Traceback" not in result.output
    assert not mark.exists()
    assert not made.exists()


def test_a_poisoned_state_of_a_run_is_refused_and_runs_nothing(poison: bytes, mark: Path, tmp_path: Path) -> None:
    import_own("tests.old.network:Layer")
    write_photos(tmp_path / "root")
    folder = run_folder(tmp_path / "run.safetensors")
    folder.mkdir()
    (folder / "state.pt").write_bytes(poison)
    with pytest.raises(InputError, match="damaged"):
        train(RUN, tmp_path / "run.safetensors", tmp_path / "root", reporter=Reporter())
    assert not mark.exists()


def test_a_poisoned_mosaic_is_refused_and_runs_nothing(mark: Path, tmp_path: Path) -> None:
    path = tmp_path / "mosaic.npy"
    np.save(path, np.array([[Harmful(mark)] * 2] * 2, object), allow_pickle=True)
    with pytest.raises(InputError):
        read_mosaic(path, cfa="RGGB", black_level=0, white_level=1)
    assert not mark.exists()
    np.load(path, allow_pickle=True)
    assert mark.exists()
