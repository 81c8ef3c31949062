import sys

import pytest

import lwisp
from lwisp.files.optional import need


def test_what_is_missing_is_named_with_its_purpose_and_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(lwisp.InputError) as caught:
        need("h5py", "reading .mat files")
    assert str(caught.value) == "reading .mat files needs h5py, which is not installed; pip install 'lwisp[train]'"
    with pytest.raises(lwisp.InputError, match=r"^no_such_package is not installed; pip install no_such_package$"):
        need("no_such_package.part")


def test_a_module_of_a_package_is_given_itself() -> None:
    assert need("json.decoder") is sys.modules["json.decoder"]
