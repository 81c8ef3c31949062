"""Lens shading, for arrays and tensors alike."""

from typing import Any, TypeVar

A = TypeVar("A", bound=Any)


def shading_gain(terms: tuple[float, float, float], squared_radius: A) -> A:
    """The gain that undoes lens shading: 1 + a r^2 + b r^4 + c r^6.

    Args:
        terms: The coefficients (a, b, c).
        squared_radius: (...), squared distance from the frame's middle, 1 at its corners.

    Returns:
        (...).
    """
    first, second, third = terms
    r2 = squared_radius
    return 1 + r2 * (first + r2 * (second + r2 * third))  # type: ignore[no-any-return]
