"""Between arrays and tensors."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def to_tensor(picture: NDArray[Any]) -> Tensor:
    """(H, W, 3) uint8 as a tensor (3, H, W), float32 in [0, 1]."""
    return to_planes(picture) / 255


def to_planes(picture: NDArray[Any]) -> Tensor:
    """(H, W, C) as a tensor (C, H, W), of the same type."""
    return torch.from_numpy(np.ascontiguousarray(picture)).permute(2, 0, 1)


def to_float(picture: Tensor) -> Tensor:
    """A picture as floats.

    Args:
        picture: uint8 over its range, or floats, of any shape.

    Returns:
        float32 in [0, 1] for uint8; floats as they are.
    """
    return divide(picture, 255) if picture.dtype == torch.uint8 else picture


def divide(picture: Tensor, by: float) -> Tensor:
    """A picture divided by a number, with the same result on every device.

    Args:
        picture: Integers or float32, of any shape.
        by: The number. A GPU would multiply by its reciprocal instead, which comes out otherwise in the last bit.

    Returns:
        float32.
    """
    return picture / torch.full((), by, dtype=torch.float32, device=picture.device)


def to_bytes(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[np.uint8]]:
    """The bytes of tensors by name, for `files.tensors.digest_of`: numpy lacks some of torch's types.

    Args:
        tensors: Of any type, on any device.

    Returns:
        The bytes of each in the order of its elements, of one dimension.
    """
    return {name: tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy() for name, tensor in tensors.items()}
