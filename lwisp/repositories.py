"""Weights as folders in the form of Hugging Face's repositories: `lwisp hub pack`.

One folder serves all: `lwisp.load("hf://owner/name")`, `PyTorchModelHubMixin.from_pretrained` (`lwisp.hub`), and
programs that run ONNX. Nothing is uploaded.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lwisp.architecture import LWISPConfig
from lwisp.conversion import export
from lwisp.downloads import CONFIG, ENTRY, LARGEST_CONFIG, WEIGHTS
from lwisp.engines.backends import FORMATS
from lwisp.engines.cost import count_multiply_adds
from lwisp.engines.exported import Exported
from lwisp.errors import ArgumentError, InputError, OutputError
from lwisp.files.optional import need
from lwisp.files.writing import fold, make_folder, read_regular, temporary_folder
from lwisp.model_cards import MODEL, Facts, config_of, model_card, without_paths
from lwisp.records import parse
from lwisp.weights import Card, Weights, find, load, save_card

PAGE = "README.md"
PAGE_DIGEST = "page_sha256"
"""Key in the config, beside what `downloads` reads, of the SHA-256 of the page as it was written."""
FILES = frozenset([PAGE, CONFIG, WEIGHTS, MODEL])
"""Names of all that lies in a folder."""
OWNER = re.compile(r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9_])?", re.ASCII)


@dataclass(frozen=True)
class Packed:
    """A repository in a folder."""

    folder: Path
    address: str
    """What to give to `lwisp.load` once it lies on the hub."""
    is_changed: bool
    """Whether the card in its safetensors file lacks paths that the card of the weights has."""
    is_page_kept: bool = False
    """Whether the README.md that was there stayed: somebody wrote or changed it."""


@dataclass(frozen=True)
class _Task:
    source: Path
    weights: Weights
    folder: Path


def pack(names: Sequence[str | Path], output: Path, owner: str = "OWNER", overwrite: bool = False) -> Iterator[Packed]:
    """Write weights as repositories, each in a folder of its own, whole or not at all.

    Of a folder that is replaced each file is replaced whole, the config last, so that neither an error nor a kill loses
    any; a README.md that was changed since is the user's, and stays.

    The safetensors file is the weights' own, byte for byte, unless its card has paths of somebody's machine: then they
    are replaced by the files' names, and the tensors, and so their digest, stay the same.

    Args:
        names: Weights, as for `lwisp.load`; LW-ISP in safetensors files.
        output: The folder of the folders.
        owner: Who will own the repositories, for the commands on their pages.
        overwrite: Replace folders that this function wrote.

    Yields:
        Each as it is written.

    Raises:
        InputError: Before any work, where weights cannot be packed, or a folder is there that may not be replaced; or
            an export differs from torch.
        OutputError: A folder cannot be written.
    """
    if not OWNER.fullmatch(owner):
        raise ArgumentError(f"--owner {owner}: expected a name as the hub has them, of letters, digits, - _ and .")
    for module in FORMATS["onnx"].packages:
        need(module)
    tasks = [_plan(name, output) for name in dict.fromkeys(names)]
    folders = [fold(task.folder.name) for task in tasks]
    for task in tasks:
        if folders.count(fold(task.folder.name)) > 1:
            raise ArgumentError(f"several of these weights are called {task.folder.name}; pack them into other folders")
        _check_folder(task.folder, overwrite)
    make_folder(output)
    for task in tasks:
        yield _pack(task, owner)


def _plan(name: str | Path, output: Path) -> _Task:
    source = find(name)
    weights = load(source)
    is_lwisp = isinstance(weights.card.architecture, LWISPConfig) and weights.card.takes is not None
    if isinstance(weights.source, Exported) or not is_lwisp:
        raise ArgumentError(f"{name}: expected LW-ISP in a safetensors file, which alone is packed")
    stem = weights.card.name if source.name == WEIGHTS else source.stem  # of one that lies in a repository already
    folder = re.sub(r"[^A-Za-z0-9_.]+|\.{2,}", "-", stem).strip("-.")[:96]
    if not folder:
        raise ArgumentError(f"{name}: expected a name with letters or digits, which the repository will have")
    return _Task(source, weights, output / folder)


def _check_folder(folder: Path, overwrite: bool) -> None:
    """Raise `InputError` where a folder cannot be written."""
    if not folder.is_symlink() and not folder.exists():
        return
    if not _is_ours(folder):
        raise InputError(
            f"{folder} exists already and holds what `lwisp hub pack` did not write, which replaces no such folder; "
            "--output names another place"
        )
    if not overwrite:
        raise InputError(f"{folder} exists already; --overwrite replaces it, --output names another place")


def _is_ours(folder: Path) -> bool:
    """Whether a folder holds what `pack` wrote, and nothing else."""
    try:
        if folder.is_symlink() or not {path.name for path in folder.iterdir()} <= FILES:
            return False
        return bool(_entry_of(folder))
    except (OSError, ValueError, RecursionError):
        return False


def _entry_of(folder: Path) -> Mapping[str, Any]:
    """What a folder's config tells of lwisp; nothing where it is another's.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no JSON.
    """
    with (folder / CONFIG).open("rb") as file:
        content = json.loads(file.read(LARGEST_CONFIG))
    entry = content.get(ENTRY) if isinstance(content, dict) else None
    return entry if isinstance(entry, dict) else {}


def _pack(task: _Task, owner: str) -> Packed:
    weights, name = task.weights, task.folder.name
    assert isinstance(weights.card.architecture, LWISPConfig)
    told = json.loads(json.dumps(asdict(weights.card)))
    cut = without_paths(told)
    card = parse(Card, cut)
    with temporary_folder(task.folder.parent) as place:
        built = place / name
        make_folder(built)
        try:
            if cut == told:
                (built / WEIGHTS).write_bytes(task.source.read_bytes())
            else:
                save_card(task.source, built / WEIGHTS, card)
            network = load(built / WEIGHTS)  # what the folder holds is what is exported
            report = export(network, built / MODEL, "onnx")
            shape = (1, weights.card.architecture.in_channels, 512, 512)
            facts = Facts(
                name,
                network.sha256,
                sum(tensor.numel() for tensor in network.network.parameters()),
                count_multiply_adds(network.network, shape),
                report.contract,
                owner,
            )
            page = model_card(card, facts).encode()
            config = config_of(card, network.sha256, version("lwisp"))
            config[ENTRY][PAGE_DIGEST] = hashlib.sha256(page).hexdigest()
            (built / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
            (built / PAGE).write_bytes(page)
            is_there = task.folder.exists()
            keeps_page = is_there and not _is_page_ours(task.folder, page)
            if is_there:
                for file in (WEIGHTS, MODEL, *([] if keeps_page else [PAGE]), CONFIG):
                    (built / file).replace(task.folder / file)
            else:
                built.rename(task.folder)
        except OSError as error:
            raise OutputError(f"{task.folder}: cannot be written: {error.strerror or error}") from error
    return Packed(task.folder, f"hf://{owner}/{name}", cut != told, keeps_page)


def _is_page_ours(folder: Path, page: bytes) -> bool:
    """Whether a folder's page is as `pack` wrote it, or would write it now, or there is none."""
    if not (folder / PAGE).exists():
        return True
    found = read_regular(folder / PAGE)
    told = _entry_of(folder).get(PAGE_DIGEST)
    return found == page or told == hashlib.sha256(found).hexdigest()
