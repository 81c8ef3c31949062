"""Architecture of LW-ISP: everything that decides its structure, and the sizes that it takes. Imports no torch."""

from dataclasses import dataclass
from typing import Literal, get_args

SIZE_MULTIPLE = 16  # four 2x poolings
BLOCKS = tuple(f"{way}{index}" for way in ("down", "up") for index in (1, 2, 3, 4))
"""The paper's names of the blocks whose outputs distillation may compare."""
SIZE_MINIMUM = 32  # reflecting by one pixel at the deepest level needs two pixels there
DILATION_MAXIMUM = 7  # the smallest features that CCB decomposes are 8 px wide, and a border is reflected once

Attention = Literal["add", "centered", "multiply", "product"]
Maps = Literal["both", "channel", "spatial"]
CoreInput = Literal["sum", "twice", "decoder"]
Contrast = Literal["alone", "gated"]
Padding = Literal["reflect", "zeros"]
Takes = Literal["raw", "rgb", "planes", "linear"]
"""What a network is for: packed RAW to RGB of twice the planes' size, RGB to RGB, noisy packed RAW to clean, or
demosaiced light to RGB. The last has the architecture of "rgb"; the weights' card tells them apart (`weights`)."""


STUDIED: dict[str, str | bool | int] = {
    "fgam_maps": "both",
    "fgam_reduced": False,
    "fgam_before": False,
    "near_dilation": 0,
    "far_dilation": 2,
    "frame_colors": 0,
}
"""Fields of the ablations with the paper's choices, which names of older files leave out."""


@dataclass(frozen=True)
class LWISPConfig:
    """Everything that decides the structure of one `LWISP`; the defaults are the paper's full student."""

    in_channels: int = 4
    """4 packed RAW planes (R, Gr, Gb, B); 3 for RGB; one more where it tells the noise, which is not the paper's."""
    width: int = 16
    """Channels of the first stage; every deeper stage doubles them, four times."""
    fgam: bool = True
    """Fine-grained attention after each pooling (section 3.1)."""
    ccb: bool = True
    """Contextual complement upsampling (section 3.2); bilinear upsampling without it."""
    cell: Literal[2, 4] = 2
    """Photosites along a side of the cells that the first stage works on. 2 is the paper's. With 4 the four planes are
    taken apart once more, into 16 of half the size, and a quarter of the operations is left; not the paper's."""
    detail: int = 0
    """Channels of the layer that decides how the picture of a cell is mixed; for cells of 4."""
    upsample: bool = True
    """The last up block, so that the output has twice the size of the input planes; the teacher has none."""
    attention: Attention = "add"
    """How a FGAM map meets the features: x + map (the paper's words), x + map - 1/2 (`center`), x + x * map, or x * map
    (CBAM)."""
    core_input: CoreInput = "sum"
    """CCB-Core's input: P(decoder + skip), P(decoder) + P(skip) as equation 1 is written, or P(decoder)."""
    contrast: Contrast = "alone"
    """What CCB concatenates: the contrast map C_l itself, or the skip features gated by it."""
    padding: Padding = "reflect"
    """Border of every convolution but FGAM's 5x5, which is padded with zeros."""
    out_channels: int = 3
    """3 for RGB; 4 for clean packed planes."""
    residual: bool = False
    """The output layer gives what is added to the input, without a sigmoid; not the paper's, which says nothing. A
    plane that tells the noise is not added to."""
    look: int = 0
    """Channels of a `Look` after the output layer, which puts one camera's colors on; 0: there is none."""
    fgam_maps: Maps = "both"
    """FGAM's attentions; one alone is concatenated with nothing, so that the channels are not doubled (section 4.3)."""
    fgam_reduced: bool = False
    """A 1x1 convolution at the end of FGAM, back to as many channels as before it (section 4.3)."""
    fgam_before: bool = False
    """FGAM before each pooling instead of after it (section 4.3)."""
    near_dilation: int = 0
    """Dilation of CCB's f_d1 as a 3x3 convolution; 0: it is a 1x1 convolution, as in the paper (equation 2)."""
    far_dilation: int = 2
    """Dilation of CCB's f_d2, a 3x3 convolution."""
    frame_colors: int = 0
    """Channels of a `FrameColors` after the output layer: one color matrix and three curves for the whole frame, made
    of the global vector; 0: there is none, as in the paper."""

    def __post_init__(self) -> None:
        if self.in_channels < 1 or self.width < 4 or self.width % 4:
            raise ValueError(
                f"expected in_channels >= 1 and width a multiple of 4 from 4 up, "
                f"got in_channels={self.in_channels}, width={self.width}"
            )
        if self.cell not in (2, 4) or (self.cell == 4) != (self.detail > 0) or self.detail < 0:
            raise ValueError(f"expected cell = 2, or cell = 4 and detail of 1 at least, got {self.cell}, {self.detail}")
        if self.cell == 4 and (self.takes != "raw" or self.residual):
            raise ValueError("expected planes of a RAW to RGB where cell = 4, got another task")
        self._check_blocks()
        self._check_frame_colors()
        if not 0 <= self.look <= 256:
            raise ValueError(f"expected look in 0 to 256, got {self.look}")
        shown = self.in_channels - self.is_told_noise
        if self.out_channels < 1 or (self.residual and (self.upsample or shown != self.out_channels)):
            raise ValueError(
                "expected out_channels >= 1, and for a residual upsample = false and as many channels out as in, but "
                "for one that tells the noise, got "
                f"in_channels={self.in_channels}, out_channels={self.out_channels}, upsample={self.upsample}"
            )
        for field, choices in (
            ("attention", Attention),
            ("fgam_maps", Maps),
            ("core_input", CoreInput),
            ("contrast", Contrast),
            ("padding", Padding),
        ):
            if getattr(self, field) not in get_args(choices):
                raise ValueError(f"expected {field} to be one of {get_args(choices)}, got {getattr(self, field)!r}")

    def _check_blocks(self) -> None:
        if not (0 <= self.near_dilation <= DILATION_MAXIMUM and 1 <= self.far_dilation <= DILATION_MAXIMUM):
            raise ValueError(
                f"expected near_dilation in 0 to {DILATION_MAXIMUM} and far_dilation in 1 to {DILATION_MAXIMUM}, got "
                f"{self.near_dilation}, {self.far_dilation}"
            )
        if self.fgam_reduced and self.fgam_maps != "both":
            raise ValueError(
                "expected fgam_reduced = false with one map, which leaves the channels as many as they were"
            )
        for field, value in STUDIED.items():  # what is chosen of a block that is not there would change nothing
            is_there = self.fgam if field.startswith("fgam_") else self.ccb or not field.endswith("_dilation")
            if not is_there and getattr(self, field) != value:
                raise ValueError(
                    f"expected {field} = {value!r} where its block is left out, got {getattr(self, field)!r}"
                )

    def _check_frame_colors(self) -> None:
        if not 0 <= self.frame_colors <= 256:
            raise ValueError(f"expected frame_colors in 0 to 256, got {self.frame_colors}")
        if self.frame_colors and (self.out_channels != 3 or self.residual or self.look or self.cell == 4):
            raise ValueError(
                "expected frame_colors = 0 with out_channels other than 3, residual, look or cells of 4, got "
                f"{self.frame_colors}"
            )

    @property
    def takes(self) -> Takes | None:
        """Task of the network; None where its channels and size fit none."""
        known: dict[tuple[int, bool, int], Takes] = {
            (4, True, 3): "raw",
            (5, True, 3): "raw",
            (3, False, 3): "rgb",
            (4, False, 3): "rgb",
            (4, False, 4): "planes",
        }
        return known.get((self.in_channels, self.upsample, self.out_channels))

    @property
    def is_told_noise(self) -> bool:
        """Whether the last of the input's planes tells the noise."""
        return (self.takes, self.in_channels) in (("raw", 5), ("rgb", 4))

    @property
    def growth(self) -> int:
        """How many times as many channels FGAM makes, as each of its two sums is of as many."""
        return 2 if self.fgam and self.fgam_maps == "both" and not self.fgam_reduced else 1

    @property
    def is_studied(self) -> bool:
        """Whether the network differs from the paper's in a field of `STUDIED`."""
        return any(getattr(self, field) != value for field, value in STUDIED.items())

    @property
    def scale(self) -> int:
        """Output pixels per input pixel, along each side."""
        return 2 if self.upsample else 1

    @property
    def size_multiple(self) -> int:
        """Height and width of the input are padded to multiples of it: 2 for each of the four poolings, and cells."""
        return SIZE_MULTIPLE * self.cell // 2

    @property
    def size_minimum(self) -> int:
        """Height and width of the input are padded to this at least."""
        return SIZE_MINIMUM * self.cell // 2


TEACHER = LWISPConfig(in_channels=3, upsample=False)
"""The paper's teacher (section 3.3): clean RGB in, RGB of the same size out."""


def padded_side(size: int, multiple: int = SIZE_MULTIPLE, minimum: int = SIZE_MINIMUM) -> int:
    """The length that a side is padded to for the network.

    Args:
        size: The side in px of the planes, 1 or more.
        multiple: The result is a multiple of it.
        minimum: The result is not below it; a multiple of `multiple`.

    Returns:
        The smallest such length that is not below `size`, in px.
    """
    return max(-(-size // multiple) * multiple, minimum)
