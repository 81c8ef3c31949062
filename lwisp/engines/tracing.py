"""What back ends need to trace modules."""

import threading

import torch
from torch import Tensor

tracing = threading.Lock()
"""torch traces one module at a time: what it notes meanwhile is the process's."""


def small_inputs(shapes: list[list[int]]) -> tuple[Tensor, ...]:
    """Zeros to trace a module with: the largest of them 64x64, the others in proportion.

    Args:
        shapes: The inputs' shapes; (1, C, h, w) are made smaller, others and (1, C, 1, 1) are kept.

    Returns:
        One tensor a shape.
    """
    height = max(shape[2] for shape in shapes if len(shape) == 4)
    width = max(shape[3] for shape in shapes if len(shape) == 4)
    return tuple(
        torch.zeros(*shape[:2], 64 * shape[2] // height, 64 * shape[3] // width)
        if len(shape) == 4 and shape[2:] != [1, 1]
        else torch.zeros(shape)
        for shape in shapes
    )
