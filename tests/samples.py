"""Files in the published layout of datasets, and pictures to fill them with."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader

from lwisp.data import unprocess
from lwisp.data.datasets import SIDD
from lwisp.data.sources import Data
from lwisp.evaluation.submissions import DND
from lwisp.imaging import mosaic as mosaics
from lwisp.imaging.bayer import cfa_offset

Picture = NDArray[np.uint8]
DN = NDArray[np.uint16]


def colorful(height: int, width: int, seed: int = 0) -> Picture:
    """Blocks of one random color, so that neighboring photosites see the same."""
    blocks = np.random.default_rng(seed).integers(10, 245, (height // 8 + 1, width // 8 + 1, 3))
    return blocks.repeat(8, 0).repeat(8, 1)[:height, :width].astype(np.uint8)


def sense(picture: Picture, cfa: str = "RGGB", top: int = 1000) -> DN:
    """The mosaic of a picture, from 63 up."""
    mosaic = np.zeros(picture.shape[:2], np.uint16)
    for place, letter in enumerate(cfa):
        row, column = divmod(place, 2)
        seen = picture[row::2, column::2, "RGB".index(letter)] / 255
        mosaic[row::2, column::2] = 63 + (top - 63) * seen**2
    return mosaic


def save(path: Path, values: NDArray[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def save_hdf5(path: Path, name: str, values: NDArray[Any]) -> Path:
    """As MATLAB does in version 7.3: with the axes turned round."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file[name] = values.T
    return path


def planes_of(picture: Picture) -> NDArray[np.float32]:
    """(H, W, 3) of 0 to 255 -> (3, H, W) of 0 to 1."""
    return (picture.transpose(2, 0, 1) / 255).astype(np.float32)


def same(found: Tensor, expected: NDArray[Any]) -> bool:
    return found.dtype == torch.float32 and found.shape == expected.shape and np.allclose(found, expected, atol=1e-6)


def cut_short(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])


def assert_counted(notes: tuple[str, ...], *words: object) -> None:
    """One note, which says all of this."""
    assert len(notes) == 1
    assert all(str(word) in notes[0] for word in words)


def write_sidd(folder: Path, pictures: list[Tensor], seed: int = 0) -> None:
    """SIDD Medium's layout, sRGB and RAW, each picture (3, H, W) uint8 a scene; phones in turn."""
    generator = torch.Generator().manual_seed(seed)
    phones = list(SIDD.PATTERNS)
    for index, picture in enumerate(pictures, 1):
        phone = phones[index % len(phones)]
        scene = folder / "Data" / f"{index:04d}_{index:03d}_{phone}_00800_00350_3200_N"
        clean = picture / 255
        noisy = (clean + 0.05 * torch.randn(clean.shape, generator=generator)).clamp(0, 1)
        for word, values in (("GT", clean), ("NOISY", noisy)):
            shown = (values * 255).round().byte().permute(1, 2, 0).numpy()
            save(scene / f"{index:04d}_{word}_SRGB_010.PNG", shown)
            top, left = cfa_offset(SIDD.PATTERNS[phone])
            shifted = torch.roll(mosaics.unpack(unprocess.take_mosaic(values[None]))[0], (top, left), (0, 1))
            save_hdf5(scene / f"{index:04d}_{word}_RAW_010.MAT", "x", shifted.numpy())


def write_dnd(folder: Path, count: int = 50, side: int = 16, seed: int = 0) -> None:
    """DND's layout, images of noise: sRGB and RAW, `info.mat` with boxes of `side` px and the three Bayer patterns.

    The RAW of an image is its sRGB, each photosite the color that it sees.
    """
    generator = torch.Generator().manual_seed(seed)
    patterns = [np.array(pattern).reshape(2, 2) for pattern in DND.PATTERNS]
    rows, columns = np.indices((2 * side, 3 * side))
    corners = np.array([[1 + box % 2 * 2, 1 + box % 3 * 4] for box in range(DND.BOXES)])
    boxes = np.concatenate([corners, corners + side - 1], 1)
    for index in range(count):
        rgb = torch.rand(2 * side, 3 * side, 3, generator=generator).numpy()
        raw = rgb[rows, columns, patterns[index % 3][rows % 2, columns % 2] - 1]
        save_hdf5(folder / "images_raw" / f"{index + 1:04d}.mat", "Inoisy", raw)
        save_hdf5(folder / "images_srgb" / f"{index + 1:04d}.mat", "InoisySRGB", rgb)
    write_dnd_info(folder, [patterns[index % 3].tolist() for index in range(count)], [boxes.tolist()] * count)


def turned(values: Any) -> NDArray[np.float64]:
    """What MATLAB writes of a matrix: m(i, j), counted from 1, at [j - 1, i - 1]; without any of the reader's code."""
    rows, columns = len(values), len(values[0])
    return np.array([[values[i][j] for i in range(rows)] for j in range(columns)], np.float64)


def write_dnd_info(root: Path, patterns: Any, boxes: Any) -> None:
    """`info.mat` with the pattern and the boxes of each image, as MATLAB would show them."""
    with h5py.File(root / "info.mat", "w") as file:
        references: dict[str, list[Any]] = {"boundingboxes": [], "camera": []}
        for index, (pattern, corners) in enumerate(zip(patterns, boxes, strict=True)):
            file[f"#refs#/box{index}"] = turned(corners)
            file[f"#refs#/camera{index}/pattern"] = turned(pattern)
            references["boundingboxes"].append(file[f"#refs#/box{index}"].ref)
            references["camera"].append(file[f"#refs#/camera{index}"].ref)
        for name, found in references.items():
            file.create_dataset(f"info/{name}", data=np.array([found], h5py.ref_dtype))


def loaded(data: Data, steps: range, workers: int, start: str | None = None) -> list[tuple[Tensor, Tensor]]:
    """The batches of some steps, made by so many worker processes."""
    loader: DataLoader[Any] = DataLoader(
        data,  # type: ignore[arg-type]
        batch_size=None,
        sampler=steps,
        num_workers=workers,
        multiprocessing_context=start,
    )
    return list(loader)
