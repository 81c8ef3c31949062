"""Bits of packed sensor data -> photosites, as MIPI CSI-2 and others lay them out."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Packing = Literal["raw10", "raw12", "raw16le", "raw16be"]
"""How photosites lie in bytes.

raw10: MIPI's, four photosites in five bytes, the fifth with their lowest two bits, the first photosite's lowest.
raw12: MIPI's, two photosites in three bytes, the third with their lowest four bits, likewise.
raw16le, raw16be: two bytes each, the low or the high one first.
"""
PACKINGS: tuple[Packing, ...] = get_args(Packing)
GROUPS = {"raw10": (4, 5), "raw12": (2, 3), "raw16le": (1, 2), "raw16be": (1, 2)}
"""Photosites and bytes of a group, which is never torn."""


def row_bytes(packing: Packing, width: int) -> int:
    """Bytes of a row without padding at its end.

    Args:
        packing: The layout.
        width: Photosites of a row.
    """
    photosites, length = GROUPS[packing]
    return -(-width // photosites) * length


def unpack_bits(data: NDArray[np.uint8], packing: Packing, width: int) -> NDArray[np.uint16]:
    """Photosites (H, width) in DN of rows of packed bytes.

    Args:
        data: (H, bytes), the rows, without padding.
        packing: The layout.
        width: Photosites of a row; what fills up the last group is dropped.
    """
    photosites, length = GROUPS[packing]
    if photosites == 1:
        wide = np.ascontiguousarray(data).view("<u2" if packing == "raw16le" else ">u2")
        return wide.astype(np.uint16)
    bits = 8 // photosites  # of each photosite in a group's last byte
    groups = data.reshape(-1, length)
    values: NDArray[np.uint16] = groups[:, :photosites].astype(np.uint16) << np.uint16(bits)
    for index in range(photosites):
        values[:, index] |= (groups[:, -1] >> np.uint8(bits * index)) & np.uint8(2**bits - 1)
    return values.reshape(len(data), -1)[:, :width]
