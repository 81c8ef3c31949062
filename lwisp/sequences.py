"""Sequences: one exposure and one white balance for all frames, so that nothing flickers that does not flicker itself.

The exposure rule and the camera's white balance look at each frame by itself. In a time lapse, a CinemaDNG clip or a
bracketed series they move with whatever passes through the picture; here both are taken once, and hold for all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal, TypeVar

from lwisp.errors import ArgumentError, InputError, tell_failure
from lwisp.files.linear import AnyRaw
from lwisp.files.white_balance import Balance, with_balance
from lwisp.planes import FrameExposure

Reference = Path | Literal["first", "median"]
"""Whose exposure and white balance all frames get: those of one file, of the first, or the medians over all."""

R = TypeVar("R", bound=AnyRaw)


@dataclass(frozen=True)
class CommonLight:
    """What all frames of a sequence are developed with."""

    frame: FrameExposure
    """What the exposure rule found."""
    white_balance: tuple[float, float, float]
    """Gains that multiply R, G, B; G = 1."""
    camera: str
    """As `RawImage.camera`; gains of one camera's sensor say nothing about another's."""
    source: str
    """Whose they are, in words."""

    @property
    def note(self) -> str:
        """One line for the user."""
        red, _, blue = self.white_balance
        return (
            f"exposure and white balance of all files: {self.source} "
            f"(gain {self.frame.gain:.3g}; red {red:.3g}, blue {blue:.3g})"
        )

    def balanced(self, raw: R) -> R:
        """A frame with the common white balance.

        Args:
            raw: The frame; it stays as it is.

        Raises:
            InputError: It is of another camera.
        """
        if raw.camera != self.camera:
            raise ArgumentError(
                f"expected a frame of {self.camera}, as the others of --same-as, got one of {raw.camera}; "
                "develop it by itself"
            )
        words = ",".join(f"{gain:.6g}" for gain in self.white_balance)
        return with_balance(raw, Balance(words, gains=self.white_balance), raw.camera)


def common_light(
    reference: Reference,
    files: Sequence[Path],
    read: Callable[[Path], R],
    measure: Callable[[R], FrameExposure],
    watch: Callable[[int, int], None] = lambda done, count: None,
) -> CommonLight:
    """Measure what all frames are to be developed with.

    Args:
        reference: A file, which need not be among the frames; "first", the first frame that can be read; "median", the
            medians over all frames that can be read and are of the first one's camera.
        files: The frames.
        read: File -> RAW.
        measure: RAW -> what the exposure rule finds in it.
        watch: Called with (files measured, files to measure) after each.

    Returns:
        The common exposure and white balance.

    Raises:
        InputError: The file, or none of the frames, can be read.
    """
    candidates = [reference] if isinstance(reference, Path) else files
    found: list[CommonLight] = []
    reasons: list[str] = []
    for done, path in enumerate(candidates, 1):
        try:
            raw = read(path)
            if not found or raw.camera == found[0].camera:
                found.append(CommonLight(measure(raw), raw.white_balance, raw.camera, f"those of {path.name}"))
        except Exception as error:  # of one frame: told where its turn to be developed comes
            reasons.append(tell_failure(path, error))
        watch(done, len(candidates))
        if found and reference != "median":
            return found[0]
    if not found:
        raise InputError(f"no exposure to take for all files: {reasons[0]}")
    red, green, blue = (median(light.white_balance[channel] for light in found) for channel in range(3))
    frame = FrameExposure(median(light.frame.gain for light in found), median(light.frame.brightest for light in found))
    return CommonLight(frame, (red, green, blue), found[0].camera, f"the median of {len(found)}")
