"""Results for the servers of SIDD and DND, which keep the ground truth: denoise, and write the files that they take."""

import base64
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch import Tensor

from lwisp.data.datasets import SIDD, Box
from lwisp.engines.names import Precision
from lwisp.engines.tensors import run_network
from lwisp.errors import InputError
from lwisp.evaluation.protocols import passes_of, precision_of
from lwisp.files.matlab import in_matlabs_order, mat_shape, open_hdf5, read_mat
from lwisp.files.writing import check_output, is_regular, make_folder, write_text, write_whole
from lwisp.imaging import mosaic
from lwisp.imaging.bayer import CFA, cfa_offset
from lwisp.imaging.pixels import to_integer
from lwisp.imaging.tensors import to_tensor
from lwisp.weights import Weights, check_takes


def submit(
    weights: Weights,
    root: Path,
    protocol: str,
    output: Path,
    precision: Precision | None = None,
    overwrite: bool = False,
    passes: int | None = None,
) -> None:
    """Denoise what only a server can score and write results in the server's form; progress on stderr.

    Args:
        weights: Weights from RGB to RGB; for "dnd-raw" from noisy planes to clean ones.
        root: Folder of the dataset.
        protocol: "sidd/benchmark", "dnd" (DND's sRGB track) or "dnd-raw" (its RAW track).
        output: Folder for the results, made if need be: the table `SubmitSrgb.csv`, or 50 files `NNNN.mat` of DND.
        precision: "auto", "fp32" or "bf16", as in `engines.engine.prepare_engine`; fp32 if not given.
        overwrite: Replace results that an earlier run wrote; no other file is ever replaced.
        passes: 1, 2 or 4 mirror images that are averaged (self-ensemble); 1 if not given.

    Raises:
        InputError: For an unknown protocol, weights of another task, a dataset that is incomplete or damaged, or
            results that may not be replaced.
        OutputError: A result cannot be written.
    """
    if protocol not in SUBMISSIONS:
        raise InputError(f"unknown protocol {protocol!r}; expected one of {', '.join(SUBMISSIONS)}")
    check_takes(weights.card, "planes" if protocol == "dnd-raw" else "rgb")
    passes, computed = passes_of(weights, passes, published=True), precision_of(precision, published=True)

    def denoise(planes: Tensor) -> Tensor:
        return run_network(weights.network, planes, computed, "torch", passes=passes)

    SUBMISSIONS[protocol](denoise, root, output, overwrite)


def _submit_sidd(denoise: Callable[[Tensor], Tensor], root: Path, output: Path, overwrite: bool) -> None:
    target = output / "SubmitSrgb.csv"
    make_folder(output)
    check_output(target, overwrite, _is_submission)
    noisy = SIDD.blocks(root / "BenchmarkNoisyBlocksSrgb.mat")
    results = np.empty_like(noisy)
    for place in track(list(np.ndindex(*SIDD.BLOCKS[:2])), "denoising", transient=True, console=Console(stderr=True)):
        results[place] = to_integer(denoise(to_tensor(noisy[place])).permute(1, 2, 0).numpy(), 8)
    write_sidd_table(target, results, overwrite)


def _submit_dnd_raw(denoise: Callable[[Tensor], Tensor], root: Path, output: Path, overwrite: bool) -> None:
    def denoise_mosaic(crop: Tensor) -> Tensor:
        return mosaic.unpack(denoise(mosaic.pack(crop[0])))[None]

    _submit_dnd(denoise_mosaic, root, output, overwrite, "raw")


def _submit_dnd(
    denoise: Callable[[Tensor], Tensor],
    root: Path,
    output: Path,
    overwrite: bool,
    takes: Literal["raw", "rgb"] = "rgb",
) -> None:
    dataset = DND(root, takes)
    make_folder(output)
    for image in range(dataset.COUNT):
        check_output(dataset.result_file(output, image), overwrite, is_result)  # DND's own files have these names
    for image in track(range(dataset.COUNT), "denoising", transient=True, console=Console(stderr=True)):
        dataset.write_results(output, image, [denoise(crop.clamp(0, 1)) for crop in dataset.crops(image)])


def _is_submission(path: Path) -> bool:
    """Whether this is a table as `write_sidd_table` writes it."""
    try:
        if not is_regular(path):
            return False
        with path.open("rb") as file:
            return file.read(9) == b"ID,BLOCK\n"
    except (OSError, InputError):
        return False


def is_result(path: Path) -> bool:
    """Whether this is a file as `DND.write_results` writes it."""
    try:
        return mat_shape(path, "Idenoised") is not None
    except InputError:
        return False


SUBMISSIONS = {"sidd/benchmark": _submit_sidd, "dnd": _submit_dnd, "dnd-raw": _submit_dnd_raw}
"""What is denoised for a server, by id of the protocol."""


def write_sidd_table(path: Path, blocks: NDArray[Any], overwrite: bool = False) -> None:
    """Write denoised blocks as the CSV that SIDD's server takes: ID, BLOCK (base64).

    Args:
        path: The file.
        blocks: (40, 32, 256, 256, 3) uint8 sRGB, in the benchmark's order.
        overwrite: Replace a file of this name.

    Raises:
        InputError: The file exists and may not be replaced.
        OutputError: It cannot be written.
    """
    flat = blocks.reshape(-1, *blocks.shape[2:])
    rows = [f"{index},{base64.b64encode(block.tobytes()).decode()}" for index, block in enumerate(flat)]
    write_text(path, "\n".join(["ID,BLOCK", *rows, ""]), overwrite)


class DND:
    """Darmstadt Noise Dataset: `info.mat`, `images_raw/NNNN.mat` or `images_srgb/NNNN.mat`; 20 boxes of 512x512 each.

    Its truth is on a server only: `crops` gives what to denoise, `write_results` takes it in the server's form.
    """

    COUNT, BOXES = 50, 20
    PATTERNS: ClassVar[dict[tuple[int, ...], CFA]] = {
        (1, 2, 2, 3): "RGGB",
        (2, 1, 3, 2): "GRBG",
        (2, 3, 1, 2): "GBRG",
    }
    """The cameras' patterns as info.mat has them, row by row."""

    def __init__(self, root: Path, takes: Literal["raw", "rgb"] = "rgb") -> None:
        self.takes = takes
        folder, self.key = ("images_srgb", "InoisySRGB") if takes == "rgb" else ("images_raw", "Inoisy")
        self.files = [root / folder / f"{index:04d}.mat" for index in range(1, self.COUNT + 1)]
        missing = [path for path in self.files if not path.exists()]
        if missing:
            raise InputError(f"{missing[0]}: missing, as {len(missing)} of {self.COUNT} images are; fetch DND again")
        self.info = _read_dnd_info(root / "info.mat", self.COUNT)

    def crops(self, image: int) -> list[Tensor]:
        """The noisy crops of an image, one for each of its boxes.

        Args:
            image: Number of the image, from 0.

        Returns:
            (3, 512, 512) sRGB each, or (1, 512, 512) mosaics turned to RGGB.

        Raises:
            InputError: The image cannot be read, or is smaller than its boxes.
        """
        noisy = torch.from_numpy(read_mat(self.files[image], self.key).astype(np.float32))
        noisy = noisy.movedim(-1, 0) if noisy.ndim == 3 else noisy[None]
        height, width = noisy.shape[1:]
        crops = []
        for box in self.info[image][0]:
            top, left, bottom, right = box
            if bottom > height or right > width:
                raise InputError(f"{self.files[image]}: {height}x{width} px, smaller than its boxes in info.mat")
            crops.append(noisy[:, top:bottom, left:right].flip(self._flips(image, box)))
        return crops

    def _flips(self, image: int, box: Box) -> tuple[int, ...]:
        """The axes to flip so that a crop begins with red; the same again turn it back."""
        if self.takes == "rgb":
            return ()
        red = cfa_offset(self.PATTERNS[self.info[image][1]])
        return tuple(axis for axis, start, first in zip((-2, -1), red, box[:2], strict=True) if (start - first) % 2)

    def write_results(self, folder: Path, image: int, crops: Sequence[Tensor]) -> None:
        """Write the denoised crops of an image as `NNNN.mat`, the file that DND's server takes; it is replaced.

        Args:
            folder: Folder of the results.
            image: Number of the image, from 0.
            crops: Of each box, in the order and form of `crops`; values beyond [0, 1] are clipped.

        Raises:
            InputError: SciPy is not installed.
            OutputError: The file cannot be written.
            ValueError: There are more or fewer crops than boxes.
        """
        from scipy.io import savemat

        cells = np.empty(self.BOXES, dtype=object)
        for index, (crop, box) in enumerate(zip(crops, self.info[image][0], strict=True)):
            upright = crop.flip(self._flips(image, box)).clamp(0, 1).movedim(0, -1).squeeze(-1)
            cells[index] = upright.numpy().astype(np.float32)
        content = {"Idenoised": cells, "israw": self.takes == "raw", "eval_version": "1.0"}
        write_whole(self.result_file(folder, image), lambda file: savemat(file, content))

    @staticmethod
    def result_file(folder: Path, image: int) -> Path:
        """Path of the results of an image, `NNNN.mat` counted from 1.

        Args:
            folder: Folder of the results.
            image: Number of the image, from 0.

        Returns:
            The path, whether or not there is a file.
        """
        return folder / f"{image + 1:04d}.mat"


def _read_dnd_info(path: Path, count: int) -> list[tuple[list[Box], tuple[int, ...]]]:
    """Of each image the boxes and the Bayer pattern, row by row."""
    content: list[tuple[list[Box], tuple[int, ...]]] = []
    with open_hdf5(path, "cannot be read as DND's info") as file:
        info = file["info"]
        for index in range(count):
            boxes = in_matlabs_order(file[info["boundingboxes"][0][index]])  # (20, 4), counted from 1
            pattern = in_matlabs_order(file[info["camera"][0][index]]["pattern"])  # (2, 2)
            if boxes.shape != (DND.BOXES, 4) or not (boxes >= 1).all() or not (boxes[:, :2] <= boxes[:, 2:]).all():
                raise ValueError(f"expected {DND.BOXES} boxes for image {index + 1}")
            if ((boxes[:, 2:] - boxes[:, :2]) % 2 != 1).any():  # flipped, one of odd sides begins with what it did
                raise ValueError(f"expected boxes of even sides for image {index + 1}")
            rows = [(int(y) - 1, int(x) - 1, int(bottom), int(right)) for y, x, bottom, right in boxes.tolist()]
            content.append((rows, tuple(pattern.astype(int).ravel().tolist())))
    for index, (_, found) in enumerate(content, 1):
        if found not in DND.PATTERNS:
            raise InputError(f"{path}: image {index} has the unknown Bayer pattern {found}")
    return content
