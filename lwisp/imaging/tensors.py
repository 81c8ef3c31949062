"""Between arrays and tensors."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_tensor(picture: NDArray[Any]) -> Tensor:
    """(H, W, 3) uint8 as a tensor (3, H, W), float32 in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1) / 255


def to_float(picture: Tensor) -> Tensor:
    """A picture as floats.

    Args:
        picture: uint8 over its range, or floats, of any shape.

    Returns:
        float32 in [0, 1] for uint8; floats as they are.
    """
    return picture / 255 if picture.dtype == torch.uint8 else picture


def to_bytes(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[np.uint8]]:
    """The bytes of tensors by name, for `files.tensors.digest_of`: numpy lacks some of torch's types.

    Args:
        tensors: Of any type, on any device.

    Returns:
        The bytes of each in the order of its elements, of one dimension.
    """
    return {name: tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy() for name, tensor in tensors.items()}
