import errno
import os
from pathlib import Path

import pytest
import torch

from lwisp.architecture import LWISPConfig
from lwisp.errors import InputError, OutputError
from lwisp.files import optional
from lwisp.hub import hub_class, to_hub
from lwisp.model import LWISP
from tests.conftest import require

TOLD = LWISPConfig(width=4, in_channels=5, attention="centered")


def test_a_network_goes_to_a_folder_of_the_hubs_form_and_back(tmp_path: Path) -> None:
    require("huggingface_hub")
    torch.manual_seed(0)
    network = LWISP(TOLD).eval()
    to_hub(network).save_pretrained(tmp_path / "toy")
    assert {path.name for path in (tmp_path / "toy").iterdir()} >= {"config.json", "model.safetensors"}
    again = hub_class().from_pretrained(str(tmp_path / "toy"))
    assert isinstance(again, LWISP)
    assert again.config == TOLD
    planes = torch.rand(1, 5, 32, 32)
    assert torch.equal(again.eval()(planes), network(planes))


def test_a_disk_that_is_full_leaves_what_was_in_the_hubs_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require("huggingface_hub")
    network = to_hub(LWISP(TOLD).eval())
    network.save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("mine")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch, pytest.raises(OutputError, match=r"cannot be written: No space left"):
        patch.setattr(os, "fsync", full)
        to_hub(LWISP(LWISPConfig(width=8))).save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    to_hub(LWISP(LWISPConfig(width=8))).save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_bytes() == b"mine"
    assert (tmp_path / "config.json").read_bytes() != before["config.json"]


def test_without_the_hubs_package_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ImportError(name)

    monkeypatch.setattr(optional, "import_module", missing)
    hub_class.cache_clear()
    with pytest.raises(InputError, match=r"needs huggingface_hub, which is not installed; pip install 'lwisp\[hub\]'"):
        to_hub(LWISP(LWISPConfig(width=4)))
