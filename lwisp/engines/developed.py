"""The contract of exported files that take mosaics: their inputs and output, and which steps are in them.

Imports no torch. `modules.Developed` is what they compute.
"""

import json
from dataclasses import dataclass
from typing import Any

from lwisp.engines.contract import CONTRACT_KEY, Program
from lwisp.engines.names import PIXELS, Pixels
from lwisp.errors import InputError

VERSION = 1
"""Of the contract; it grows where a program that runs a file would have to change."""
SAMPLES = 256
"""Cells along a frame's shorter side that are looked at for the colors of bright light, where it has so many."""
INPUTS = {
    "mosaic": "(H, W) uint16, DN as the sensor gave them, H and W from 2 up",
    "black_level": "(4,) float32, DN, in the order R, Gr, Gb, B",
    "white_level": "(4,) float32, DN, in the order R, Gr, Gb, B",
    "white_balance": "(3,) float32, gains that multiply R, G, B",
    "matrix": "(3, 3) float32, balanced camera RGB -> linear Rec. 2020, rows sum to 1",
    "exposure": "() float32, EV on top of the exposure rule",
    "offset": "(2,) int64, row and column, 0 or 1, of the first red photosite",
    "highlights": "() float32, 0 to 1, how much of the light above white is kept from it",
    "frame": "(2,) float32, gain and brightest light of another frame, to be exposed as it; zeros for this frame's own",
    "noise": "(2,) float32, noise to be taken away: variance = first * light + second, light from black 0 to white 1",
}
"""Inputs of a file that takes mosaics, in its order; it has no black level, gains or matrix where it needs none."""
SHAPES: dict[str, tuple[int | None, ...]] = {
    "mosaic": (None, None),
    "black_level": (4,),
    "white_level": (4,),
    "white_balance": (3,),
    "matrix": (3, 3),
    "exposure": (),
    "offset": (2,),
    "highlights": (),
    "frame": (2,),
    "noise": (2,),
}
OUTPUTS = {
    "picture": "(H, W, 3), display-referred sRGB, oriented as the mosaic; integers over their range",
    "sum": "() float32 of the network's values; finite exactly where all of them are",
}


@dataclass(frozen=True)
class Preparation:
    """What is done to a mosaic before the network, beside the white level, exposure compensation and geometry."""

    subtracts: bool = True
    """The black level."""
    balances: bool = True
    """The white balance."""
    mixes: bool = True
    """The camera's matrix."""
    exposes: bool = True
    """The exposure rule."""
    shading: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Coefficients of `imaging.shading.shading_gain`."""
    headroom: float = 0.0
    """EV above white that are laid below it by a shoulder, and clipped colors rebuilt; 0 for neither."""
    tells: bool = False
    """A fifth plane tells the noise."""

    @property
    def light(self) -> str:
        """Name of the structure of levels, balance and canonical color."""
        return "light-" + ("h" if self.headroom else "b" * self.balances) + "m" * self.mixes

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names out of `INPUTS` that these steps need."""
        needed = {"black_level": self.subtracts, "white_balance": self.balances, "matrix": self.mixes}
        needed |= {"highlights": self.headroom > 0, "frame": self.headroom > 0, "noise": self.tells}
        return tuple(name for name in INPUTS if needed.get(name, True))


def contract(preparation: Preparation, pixels: Pixels) -> dict[str, str]:
    """The contract as a file's metadata.

    Args:
        preparation: What the file does before the network.
        pixels: Type of its picture's values.

    Returns:
        A JSON text under `CONTRACT_KEY`: version, type of the values, inputs and outputs in words.
    """
    facts = {
        "version": VERSION,
        "pixels": pixels,
        "inputs": {name: INPUTS[name] for name in preparation.inputs},
        "outputs": OUTPUTS,
    }
    return {CONTRACT_KEY: json.dumps(facts)}


def pixels_of(program: Program) -> Pixels | None:
    """Type of the values of a file's picture; None for a file that takes planes.

    Args:
        program: The file, opened.

    Raises:
        InputError: Its contract is another one than this version of lwisp has.
    """
    if CONTRACT_KEY not in program.metadata:
        return None
    try:
        facts: Any = json.loads(program.metadata[CONTRACT_KEY])
        version, pixels = facts["version"], facts["pixels"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise InputError(f"expected a contract of version {VERSION}, got a damaged one; export it again") from error
    if version != VERSION or pixels not in PIXELS:
        raise InputError(
            f"expected a file of contract {VERSION}, got one of contract {version!r} with pixels {pixels!r}; "
            "export it again with this version of lwisp"
        )
    return PIXELS[PIXELS.index(pixels)]


def check_inputs(program: Program, preparation: Preparation) -> None:
    """Compare the inputs of a file that takes mosaics with its contract.

    Args:
        program: The file, opened.
        preparation: What its card says it does before the network.

    Raises:
        InputError: They are not those of the contract.
    """
    expected = {name: SHAPES[name] for name in preparation.inputs}
    if None not in program.shape and program.shape:
        raise InputError(f"expected mosaics of any size, got a file for {program.shape} alone; export it again")
    if dict(program.inputs) != expected:
        names = ", ".join(f"{name} {shape}" for name, shape in program.inputs.items())
        raise InputError(f"expected the inputs {', '.join(expected)}, got {names}; export it again")
