"""Networks in exported files: opened, and run by the engine that each file is made for.

There are two contracts. A file that takes a mosaic gives its picture (`developed`). A file that takes planes has one
input, (1, C, h, w) float32, h and w multiples of 16 and 32 at least, and one output, RGB (1, 3, H, W) float32 in
[0, 1]; what pads to such sizes and crops is outside of it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lwisp.architecture import LWISPConfig, padded_side
from lwisp.engines.backends import BACKENDS
from lwisp.engines.contract import CARD_KEY, Array, Program
from lwisp.engines.developed import OUTPUTS, Preparation, check_inputs, pixels_of
from lwisp.engines.frames import WholeFrame, read_reflected
from lwisp.engines.names import Computed, Name, Pixels
from lwisp.engines.threads import default_threads
from lwisp.errors import InputError, one_line

SUFFIXES: dict[str, Name] = {back_end.file.suffix: name for name, back_end in BACKENDS.items() if back_end.file}
"""Suffixes of exported files, and the back end that runs each."""
DAMAGED = "it is damaged, or no network that this engine can run"


class Exported:
    """A network in another engine's file.

    Args:
        config: Its architecture.
        program: The file, opened.
        pixels: Type of the picture's values where it takes mosaics, of any size; None where it takes planes, of any h
            and w from 1 up, unless they are fixed.
    """

    def __init__(self, config: LWISPConfig, program: Program, pixels: Pixels | None = None) -> None:
        self.config, self.program, self.pixels = config, program, pixels

    def __call__(
        self, planes: NDArray[np.float32], precision: Computed = "fp32", threads: int | None = None
    ) -> NDArray[np.float32]:
        """Run the engine of a file that takes planes; any number of threads may do so at once.

        Args:
            planes: (1, C, h, w) float32. They are reflected to a multiple of 16 as by `LWISP`, and the picture cropped.
            precision: "bf16" only where the file's engine computes in it.
            threads: Threads of the engine; `threads.default_threads` if not given.

        Returns:
            RGB (1, 3, H, W) float32 in [0, 1].

        Raises:
            InputError: The file takes mosaics, is made for one size, which the planes do not fill, or gives another
                size than its card says.
        """
        if self.pixels is not None:
            raise InputError("these weights are a file that takes a whole RAW, not planes; export one with --planes")
        height, width = planes.shape[-2:]
        multiple, minimum = self.config.size_multiple, self.config.size_minimum
        sides = slice(0, padded_side(height, multiple, minimum)), slice(0, padded_side(width, multiple, minimum))
        padded = read_reflected(WholeFrame(planes[0]), *sides)
        size = self.program.shape[2:]
        if None not in size and padded.shape[2:] != size:
            fixed = "x".join(map(str, size))
            raise InputError(
                f"these weights are made for planes of {fixed}, which {height}x{width} do not fill; export a file for "
                f"{padded.shape[2]}x{padded.shape[3]}, or one without --size"
            )
        (rgb,) = self.program.ready(precision, threads or default_threads())(padded)
        rgb = np.asarray(rgb, np.float32)
        scale = self.config.scale
        expected = (1, self.config.out_channels, padded.shape[2] * scale, padded.shape[3] * scale)
        if rgb.shape != expected:
            raise InputError(
                f"expected RGB of {expected} from the weights' file, got {tuple(rgb.shape)}; export it again"
            )
        return rgb[..., : height * scale, : width * scale]

    def develop(self, inputs: Sequence[Array], threads: int | None = None) -> list[Array]:
        """Run the engine of a file that takes mosaics; any number of threads may do so at once.

        Args:
            inputs: The mosaic (H, W) uint16 and what else the file takes, in its order, as in `developed.INPUTS`.
            threads: Threads of the engine; `threads.default_threads` if not given.

        Returns:
            The picture (H, W, 3) in `pixels`, and the sum of its values.

        Raises:
            InputError: The file gives another picture than its contract says.
        """
        outputs = self.program.ready("fp32", threads or default_threads())(*inputs)
        picture = outputs[0]
        expected = (*inputs[0].shape, 3)
        if len(outputs) != len(OUTPUTS) or picture.shape != expected or picture.dtype != self.pixels:
            raise InputError(
                f"expected a picture of {expected} in {self.pixels} and its sum from the weights' file, got "
                f"{picture.shape} in {picture.dtype}; export it again"
            )
        return outputs


def open_program(path: Path) -> Program:
    """Open an exported file with the engine that its suffix stands for.

    Args:
        path: A file with one of `SUFFIXES`.

    Returns:
        The network, with the metadata that `conversion.export` has written.

    Raises:
        InputError: The engine is not installed, or the file is damaged, not written by `lwisp export`, or would read
            other files.
    """
    file = BACKENDS[SUFFIXES[path.suffix.lower()]].file
    assert file is not None
    try:
        program = file.open(path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # each engine has exceptions of its own
        raise InputError(f"{path}: {DAMAGED}: {one_line(error)}") from error
    if CARD_KEY not in program.metadata:
        raise InputError(f"{path}: without a lwisp card; expected a file written by `lwisp export`")
    return program


def make_exported(path: Path, program: Program, config: LWISPConfig, preparation: Preparation) -> Exported:
    """The network in an opened file, its inputs compared with its card.

    Args:
        path: The file.
        program: What `open_program` gave.
        config: The architecture on its card.
        preparation: What is done to a mosaic before the network, by its card.

    Raises:
        InputError: It has another contract than this version of lwisp, does not take planes of (1, in_channels, h, w),
            or not the inputs of `developed.INPUTS`.
    """
    try:
        pixels = pixels_of(program)
        if pixels is not None:
            check_inputs(program, preparation)
            return Exported(config, program, pixels)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    if len(program.shape) != 4 or program.shape[:2] != (1, config.in_channels):
        raise InputError(f"{path}: expected planes of (1, {config.in_channels}, h, w), got {program.shape}")
    return Exported(config, program)
