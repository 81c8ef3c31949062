"""The public names of the package: few, brought when asked for, and as good as the command line."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import lwisp

PUBLIC = [
    *("InputError", "OutputError", "LWISP", "LWISPConfig", "RawImage", "Weights", "Developer"),
    *("load", "read_raw", "read_mosaic", "read_picture", "write_picture", "write_dng"),
    *("develop", "denoise", "enhance", "denoise_raw", "__version__"),
]


def test_there_are_these_public_names_and_no_others() -> None:
    assert sorted(lwisp.__all__) == sorted(PUBLIC)
    for name in PUBLIC:
        assert getattr(lwisp, name) is not None
    assert set(PUBLIC) <= set(dir(lwisp))


def test_the_version_is_the_installed_one() -> None:
    assert lwisp.__version__ == version("lwisp")


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [("devlop", "develop"), ("read_picure", "read_picture"), ("denoise_raws", "denoise_raw"), ("Wieghts", "Weights")],
)
def test_a_misspelt_name_is_told_the_nearest(wrong: str, nearest: str) -> None:
    with pytest.raises(AttributeError, match=f"no attribute '{wrong}'; did you mean '{nearest}'"):
        getattr(lwisp, wrong)


def test_a_name_like_none_is_told_all() -> None:
    with pytest.raises(AttributeError, match=r"there are .*write_picture"):
        lwisp.xyzzy  # noqa: B018
    assert not hasattr(lwisp, "retouch")


def test_importing_brings_no_module() -> None:
    code = "import sys; before = set(sys.modules); import lwisp; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "PIL", "importlib.metadata"} & set(eval(done.stdout))
