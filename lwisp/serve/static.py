"""The page that develops in the browser alone, as a folder of plain files: `lwisp serve --static`.

Its program lies in `static_page`, and what it shares with the local page in `shared_page`. The network's modules are
those that the engines run, with their weights in them. The runtimes, onnxruntime-web and libraw-wasm, are copied from
a folder into which npm installed them: lwisp brings none and fetches none.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lwisp.architecture import LWISPConfig
from lwisp.engines.runners import as_stored
from lwisp.engines.stages import can_tile, names_of
from lwisp.engines.structures import fill, structure
from lwisp.errors import ArgumentError, InputError, OutputError
from lwisp.files.raw import RawImage, read_mosaic
from lwisp.files.writing import clear_leftovers, write_whole
from lwisp.imaging.camera_color import Calibration, CameraColor, normalize_color, normalize_forward
from lwisp.imaging.hot_pixels import repair_hot_pixels
from lwisp.pipeline import Developer, noise_of
from lwisp.serve.pages import files_of
from lwisp.weights import Weights, load

MANIFEST = "lwisp-static.json"
"""Name of the list of what was written, by which the next call knows what it may replace."""
PAGE_WEIGHTS = ("photo-fast", "photo")
"""The weights that the page offers; the first is what it begins with."""
LIGHT = ("light-hm", "colors", "gain", "expose-n")
"""Steps before a network that keeps highlights and is told the noise."""
INSTALL = "npm install onnxruntime-web@1.30 libraw-wasm@1.6"
LARGEST_FACTS = 2**20
"""Bytes of a package.json."""


@dataclass(frozen=True)
class Package:
    """What the page takes of a package of npm."""

    least: tuple[int, int]
    """The version that it was tried with; later ones of the same first number are taken."""
    files: tuple[str, ...]


PACKAGES = {
    "onnxruntime-web": Package(
        (1, 30),
        (
            "package.json",
            "dist/ort.wasm.min.mjs",
            "dist/ort-wasm-simd-threaded.mjs",
            "dist/ort-wasm-simd-threaded.wasm",
            "dist/ort.webgpu.min.mjs",
            "dist/ort-wasm-simd-threaded.asyncify.mjs",
            "dist/ort-wasm-simd-threaded.asyncify.wasm",
        ),
    ),
    "libraw-wasm": Package(
        (1, 6), ("package.json", "dist/index.js", "dist/worker.js", "dist/libraw.js", "dist/libraw.wasm")
    ),
}
"""By their names."""


def write_static(folder: Path, modules: Path) -> list[Path]:
    """Write the page.

    Files of an earlier call are replaced where they are still as it left them, and deleted where they are no part of
    the page any more. Everything is read and checked before anything is written.

    Args:
        folder: Where to write; it is made if need be.
        modules: The folder node_modules into which npm installed the runtimes.

    Returns:
        What was written.

    Raises:
        InputError: A runtime is missing or of another version, or a file is in the way that lwisp did not write.
        OutputError: The folder cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise ArgumentError(f"--static {folder}: expected a folder, or a name for a new one, got a file")
    before = _written_before(folder)
    runtimes = _runtimes(modules)
    contents = {**files_of("static_page"), **runtimes, **_models()}
    _check_free(folder, contents, before)
    contents[MANIFEST] = _json({"lwisp": {name: _digest(content) for name, content in contents.items()}})
    if folder.is_dir():
        clear_leftovers(folder)
    for name, content in contents.items():  # the list comes last: what a broken call left is not overwritten
        path = folder / name
        _make_folder(path.parent)
        write_whole(path, partial(_write, content))
    for name in before.keys() - contents.keys():
        if _is_as_written(folder / name, before[name]):
            (folder / name).unlink()
    return [folder / name for name in contents]


def _runtimes(modules: Path) -> dict[str, bytes]:
    """The files of the runtimes, by their names in the folder."""
    if not modules.is_dir():
        raise ArgumentError(f"--from {modules}: expected the folder node_modules, got none; make one: {INSTALL}")
    found = {}
    for name, package in PACKAGES.items():
        place = modules / name
        _check_version(place, name, package)
        for file in package.files:
            try:
                found[f"vendor/{name}/{file}"] = (place / file).read_bytes()
            except OSError as error:
                raise InputError(f"{place}: {file} cannot be read; install it again: {INSTALL}") from error
    return found


def _check_version(place: Path, name: str, package: Package) -> None:
    """Raise `InputError` where a package is not there, or not of a version that serves."""
    wanted = ".".join(map(str, package.least))
    try:
        with (place / "package.json").open("rb") as file:
            facts = json.loads(file.read(LARGEST_FACTS))
        version = tuple(int(part) for part in facts["version"].split(".")[:2])
        is_it = facts["name"] == name
    except OSError as error:
        raise InputError(f"{place}: expected the package {name} in node_modules, got none; {INSTALL}") from error
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{place}: its package.json is damaged; install it again: {INSTALL}") from error
    if not is_it or version[:1] != package.least[:1] or version < package.least:
        raise InputError(f"{place}: expected {name} {wanted} or later of the same kind, got {version}; {INSTALL}")


def _models() -> dict[str, bytes]:
    """The network's modules with their weights, their list, and what the page checks itself by."""
    found: dict[str, bytes] = {f"models/light/{name}.onnx": structure(None, name) for name in LIGHT}
    listed, pictures = [], {}
    raw, known = _known()
    for name in PAGE_WEIGHTS:
        weights = load(name)
        config, stored = weights.card.architecture, as_stored(weights.runnable)  # type: ignore[arg-type]
        assert isinstance(config, LWISPConfig) and can_tile(config)
        others = ("whole-", "high-uint8", "high-uint16")
        modules = [module for module in names_of(config) if not module.startswith(others)]
        found |= {f"models/{name}/{module}.onnx": fill(structure(config, module), stored.tensors) for module in modules}
        listed.append(_describe(weights, config, modules))
        picture = Developer(weights, precision="fp32").develop(raw, dtype=np.uint8, crop="none")
        pictures[name] = _coded(picture)
    return {**found, "weights.json": _json(listed), "check.json": _json({**known, "pictures": pictures})}


def _describe(weights: Weights, config: LWISPConfig, modules: Sequence[str]) -> dict[str, Any]:
    """What the page has to know of weights."""
    return {
        "name": weights.card.name,
        "cell": config.cell,
        "minimum": config.size_minimum,
        "headroom": weights.card.convention.headroom,
        "modules": modules,
        "sha256": weights.sha256,
    }


def _known() -> tuple[RawImage, dict[str, Any]]:
    """A small mosaic with three hot photosites, and what lwisp finds in it; and color matrices."""
    mural = Path(str(resources.files("lwisp") / "assets" / "mural.png"))
    whole = read_mosaic(mural, "RGGB", 0, 16383, (1.914, 1.0, 1.75))
    black = 512
    mosaic = np.ascontiguousarray(whole.mosaic[:96, :144]) + np.uint16(black)
    mosaic[[10, 10, 10], [10, 31, 33]] = 16383 + black  # one alone, two that touch
    raw = replace(whole, mosaic=mosaic, black_level=(black,) * 4, white_level=(16383 + black,) * 4)
    repaired, count = repair_hot_pixels(mosaic, black, 16383 + black)
    return raw, {
        "height": mosaic.shape[0],
        "width": mosaic.shape[1],
        "mosaic": _coded(mosaic.astype("<u2")),
        "raw": {
            "black": raw.black_level,
            "white": raw.white_level,
            "gains": raw.white_balance,
            "matrix": raw.cam2rgb.tolist(),
        },
        "repaired": count,
        "noise": noise_of(replace(raw, mosaic=repaired)),
        "colors": [_known_color(is_forward) for is_forward in (False, True)],
    }


def _known_color(is_forward: bool) -> dict[str, Any]:
    """A camera under two lights as libraw-wasm tells of it, and its matrix under gains between them."""
    warm = np.array([[1.8331, -0.8166, -0.2478], [0.1391, 0.8961, -0.0367], [0.0822, 0.0662, 0.2597]])
    cold = np.array([[1.0344, -0.421, -0.062], [-0.2315, 1.0625, 0.1948], [0.0093, 0.1058, 0.5541]])
    to_d50 = np.array([[0.66, 0.21, 0.0942], [0.26, 0.7, 0.04], [0.02, 0.0752, 0.73]])
    analog = np.diag([1.05, 1.0, 0.97])
    gains = (1.914, 1.0, 1.75)
    forward = normalize_forward(to_d50) if is_forward else None
    color = CameraColor(
        Calibration(2850, normalize_color(warm), forward, analog),
        Calibration(6500, normalize_color(cold), forward, analog),
    )
    told = np.zeros((3, 4))
    told[:, :3] = to_d50 * is_forward
    lights = [
        {
            "illuminant": illuminant,
            "colormatrix": [*matrix.tolist(), [0, 0, 0]],
            "forwardmatrix": told.tolist(),
            "calibration": np.zeros((4, 4)).tolist(),
        }
        for illuminant, matrix in ((17, warm), (21, cold))
    ]
    nothing = np.zeros((4, 3)).tolist()
    data = {
        "dng_color": lights,
        "dng_levels": {"analogbalance": [*np.diag(analog).tolist(), 1]},
        "cmatrix": nothing,
        "cam_xyz": nothing,
    }
    return {"color_data": data, "gains": gains, "matrix": color.cam2rgb(gains).tolist()}


def _written_before(folder: Path) -> dict[str, str]:
    """SHA-256 of what an earlier call wrote, by the files' names; empty where there was none."""
    path = folder / MANIFEST
    if not path.exists():
        return {}
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(LARGEST_FACTS))["lwisp"]
        names = {str(name): str(digest) for name, digest in found.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, OSError) as error:
        raise InputError(f"{path}: not written by lwisp, or damaged; move it away or choose another folder") from error
    return {name: digest for name, digest in names.items() if _is_inside(name)}


def _is_inside(name: str) -> bool:
    """Whether a name of a list leads to nowhere but into the folder."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and ":" not in name and "\\" not in name


def _check_free(folder: Path, contents: Mapping[str, bytes], before: Mapping[str, str]) -> None:
    """Raise `InputError` where a file that lwisp did not write, or that was changed since, is in the way."""
    for name, content in contents.items():
        path = folder / name
        for above in list(path.relative_to(folder).parents)[:-1]:
            if (folder / above).is_symlink() or ((folder / above).exists() and not (folder / above).is_dir()):
                raise InputError(f"{folder / above}: in the way, and not written by lwisp; choose another folder")
        if path.is_symlink() or path.exists():
            ours = {_digest(content), before.get(name, "")}
            if not any(_is_as_written(path, digest) for digest in ours):
                raise InputError(
                    f"{path}: in the way, and not as lwisp wrote it; move it away or choose another folder"
                )


def _is_as_written(path: Path, digest: str) -> bool:
    """Whether a name is that of a plain file with this content."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == digest


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _coded(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")


def _json(values: Any) -> bytes:
    return json.dumps(values).encode()


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)
