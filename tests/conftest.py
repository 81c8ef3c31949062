"""Shared material: small DNG files written by tifffile, a toy network, the bundled RAW."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file

import lwisp
from lwisp.architecture import LWISPConfig
from lwisp.files.optional import need
from lwisp.model import LWISP
from lwisp.weights import Card, InputConvention, Weights, save

ROOT = Path(__file__).parent.parent
SAMPLE = ROOT / "samples" / "gopro_hero6_mural.dng"
COLOR_CODES = {"R": 0, "G": 1, "B": 2}
XYZ2CAM = np.array([[6257, -303, -1000], [-7880, 15621, 2396], [-1714, 1904, 7046]]) / 10000  # Canon EOS 30D
TOY = LWISPConfig(width=4)

WriteDng = Callable[..., Path]


def require(package: str) -> Any:
    """An optional package, imported as lwisp does, or it would report to its makers; the test is skipped without."""
    try:
        return need(package)
    except lwisp.InputError as error:
        pytest.skip(str(error), allow_module_level=True)


def heed_signals() -> None:
    """For `preexec_fn`: a background job ignores SIGINT, what `nohup` starts SIGHUP, and so would its children."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def refusal(path: Path, action: Callable[..., object], *arguments: Any) -> str:
    """The one sentence in which an action refuses a file, which it names first."""
    with pytest.raises(lwisp.InputError) as caught:
        action(*arguments)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def rubbish(folder: Path) -> list[Path]:
    """What may lie among weights and is none; a pipe among it, that nobody writes to."""
    places = {
        name: folder / f"{name}.safetensors"
        for name in ("pipe", "folder", "loop", "text", "empty", "head", "foreign", "cut", os.fsdecode(b"\xff"))
    }
    os.mkfifo(places["pipe"])
    places["folder"].mkdir()
    places["loop"].symlink_to(places["loop"])
    places["text"].write_text("not weights")
    places["empty"].touch()
    places["head"].write_bytes((2**63).to_bytes(8, "little") + b"{}")
    save_file({"tensor": torch.zeros(1)}, places["foreign"])
    places["cut"].write_bytes(places["foreign"].read_bytes()[:-1])
    places[os.fsdecode(b"\xff")].write_text("not weights")
    return list(places.values())


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> Iterator[None]:
    """A few threads gain nothing on toys, and the other cores have tests of their own."""
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        if "OMP_NUM_THREADS" not in os.environ:
            patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled modules stay out of the user's cache, but are shared; the user's weights stay out of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def write_dng(tmp_path: Path) -> WriteDng:
    """Write a CFA DNG: mosaic (H, W) uint16 and whatever differs from a plain RGGB camera."""

    def write(
        mosaic: NDArray[np.uint16],
        cfa: str = "RGGB",
        black: float | tuple[int, ...] = 0,
        white: int = 4095,
        neutral: tuple[float, float, float] | None = (0.5, 1.0, 0.625),
        matrix: NDArray[np.float64] | None = XYZ2CAM,
        orientation: int = 1,
        name: str = "photo.dng",
        side: int = 2,
        photometric: int = 32803,
        extra: tuple[Any, ...] = (),
    ) -> Path:
        tags: list[Any] = [
            (271, "s", 0, "Lwisp", True),
            (272, "s", 0, "Testcam", True),
            (274, "H", 1, orientation, True),
            (50706, "B", 4, bytes([1, 4, 0, 0]), True),
            (50708, "s", 0, "Lwisp Testcam", True),
            (50717, "H", 1, white, True),
            *extra,
        ]
        if photometric == 32803:
            tags.append((33421, "H", 2, (side, side), True))
            tags.append((33422, "B", side * side, bytes(COLOR_CODES[letter] for letter in cfa), True))
        if isinstance(black, tuple):
            tags += [(50713, "H", 2, (2, 2), True), (50714, "H", 4, black, True)]
        else:
            tags.append((50714, "H", 1, black, True))
        if matrix is not None:
            tags += [(50721, "2i", 9, _rationals(matrix.ravel()), True), (50778, "H", 1, 21, True)]
        if neutral is not None:
            tags.append((50728, "2I", 3, _rationals(np.array(neutral)), True))
        path = tmp_path / name
        tifffile.imwrite(path, mosaic, photometric=photometric, metadata=None, extratags=tags)
        return path

    return write


def _rationals(values: NDArray[np.float64]) -> tuple[int, ...]:
    return tuple(int(part) for value in values for part in (round(value * 10000), 10000))


@pytest.fixture
def toy() -> Weights:
    """A network of width 4 with random weights."""
    torch.manual_seed(0)
    return Weights(LWISP(TOY).eval(), Card("toy", TOY, InputConvention(), "MIT"))


@pytest.fixture
def toy_file(toy: Weights, tmp_path: Path) -> Path:
    path = tmp_path / "toy.safetensors"
    save(path, toy.network, toy.card)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three small colorful pictures, smooth with hard edges."""
    folder = tmp_path / "photos"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        hills = Image.fromarray(rng.integers(20, 235, (6, 8, 3), dtype=np.uint8)).resize(
            (192, 168), Image.Resampling.BICUBIC
        )
        picture = np.array(hills)
        for top, left in rng.integers(0, 140, (6, 2)):
            picture[top : top + 20, left : left + 30] = rng.integers(20, 235, 3)
        Image.fromarray(picture).save(folder / f"{index}.png")
    return folder
