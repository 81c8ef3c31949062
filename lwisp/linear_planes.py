"""The network's input of demosaiced light: `pipeline.Planes` for a `LinearImage`."""

import numpy as np
from numpy.typing import NDArray

from lwisp.engines.developed import SAMPLES
from lwisp.files.linear import DEMOSAICED, MOST_STOPS, LinearImage
from lwisp.imaging.bayer import SATURATION
from lwisp.imaging.noise import estimate_noise
from lwisp.planes import FrameExposure, LightPlanes, Steps
from lwisp.weights import InputConvention

BEYOND = 1.1
"""Of white: demosaiced files that hold more, in `LEAST` of their values, do not clip at white."""
LEAST = 1e-4
FEWEST = 4
"""Pixels along a side; of smaller pictures no noise is measured."""


class LinearPlanes(LightPlanes):
    """The network's input, planes R, G, B of demosaiced light, made window by window; its pixels stay in 16 bits.

    Levels, balance and canonical color are the engine's module "linear", for which "linear-colors" looks at bright
    light; the exposure rule is "gain", which sees green twice; "encode" is the last step: the picture as it is seen,
    which the network has but to clean, and a fourth plane where it is told the noise.

    Args:
        steps: Computes these modules.
        image: The RAW; it is not copied.
        convention: What the network expects, of demosaiced planes.
        exposure: EV on top of the exposure rule.
        frame: What the exposure rule found in another frame, to be exposed as it; None takes this frame's own.
        highlights: How much of the light above white is kept from it, 0 to 1.
        noise_reduction: How much of the noise is to be taken away, 0 to 2; 1 as much as there is.
    """

    colors = (0, 1, 1, 2)
    last = "encode-"

    def __init__(
        self,
        steps: Steps,
        image: LinearImage,
        convention: InputConvention,
        exposure: float = 0.0,
        frame: FrameExposure | None = None,
        highlights: float = 1.0,
        noise_reduction: float = 1.0,
    ) -> None:
        self.image = image
        height, width, _ = image.rgb.shape
        noise = noise_of(image) if convention.noise and noise_reduction else (0.0, 0.0)
        scaled = np.asarray(noise, np.float32) * np.float32(noise_reduction**2)
        super().__init__(steps, (3 + convention.noise, height, width), convention, exposure, frame, highlights, scaled)
        top = brightest_of(image)
        black = np.asarray(image.black_level, np.float32)
        white = black + np.float32(top) * (np.asarray(image.white_level, np.float32) - black)
        self._levels = [black, white, np.asarray(image.white_balance, np.float32)]
        self._matrix = np.asarray(image.cam2rgb, np.float32) * np.float32(top)
        self._lowest_clipped = float((black + SATURATION[0] * (white - black)).min())

    def _light_of(self, rows: slice, columns: slice) -> NDArray[np.float32]:
        pixels = np.ascontiguousarray(self.image.rgb[rows, columns])
        name, facts = "linear-g", [*self._levels]
        if pixels.max() > self._lowest_clipped:
            name = "linear-h"
            facts.append(self._bright_colors(rows, columns, margin=0))
        light: NDArray[np.float32] = self.steps.before(name, pixels, *facts, self._matrix)[0]
        return light

    def _sample_colors(self) -> NDArray[np.float32]:
        step = max(1, min(self.shape[1:]) // SAMPLES)
        return self.steps.before("linear-colors", np.ascontiguousarray(self.image.rgb[::step, ::step]), *self._levels)


def brightest_of(image: LinearImage) -> float:
    """Where the light of a file ends, 1 being its white level: above it only in files such as of merged exposures.

    Args:
        image: The file.

    Returns:
        From 1 up.
    """
    if image.way != DEMOSAICED:  # what is demosaiced here exceeds white by what the method overshoots alone
        return 1.0
    black, white = (np.asarray(levels, np.float32) for levels in (image.black_level, image.white_level))
    limit = black + np.float32(BEYOND) * (white - black)
    if int(image.rgb.max()) <= limit.min() or np.count_nonzero(image.rgb > limit) < LEAST * image.rgb.size:
        return 1.0
    most = ((image.rgb.reshape(-1, 3).max(0) - black) / (white - black)).max()
    return float(np.clip(most, 1, 2**MOST_STOPS))


def noise_of(image: LinearImage) -> tuple[float, float]:
    """Shot and read noise of a demosaiced picture's green, light from black 0 to white 1, as `estimate_noise` has it.

    It looks at a Bayer mosaic of the pixels. Where they came of one, its greens are that one's photosites themselves,
    or pixels between, which are smoother: both are measured, and the larger is taken.
    """
    if min(image.rgb.shape[:2]) < FEWEST:
        return 0.0, 0.0
    black, white = ((one[0], one[1], one[1], one[2]) for one in (image.black_level, image.white_level))
    found = [estimate_noise(_mosaic_of(image.rgb[:, shift:]), "RGGB", black, white) for shift in (0, 1)]
    return max((noise or (0.0, 0.0) for noise in found), key=sum)


def _mosaic_of(rgb: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """One color of each pixel (H, W, 3), as an RGGB mosaic (H, W) of even sides has them."""
    height, width = (side // 2 * 2 for side in rgb.shape[:2])
    mosaic = rgb[:height, :width, 1].copy()
    mosaic[::2, ::2] = rgb[:height:2, :width:2, 0]
    mosaic[1::2, 1::2] = rgb[1:height:2, 1:width:2, 2]
    return mosaic
