"""Settings of learning a camera's look: which pairs are accepted, how looks are fitted, when results are kept.

Every value that decides what is learned stands here and, by way of `CameraSettings`, on the card of the weights. Where
no other source is named, values were measured on cameras' own JPEGs (docs/camera.md, docs/log.md).
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class PairLimits:
    """How far a JPEG may differ from its RAW and still count as what the camera made of it."""

    seconds: float = 2.0
    """Between the times in both files' tags."""
    stops: float = 0.2
    """Between exposure times or apertures in both files' tags, EV."""
    min_side: int = 100
    """Shortest side of JPEG and RAW, px."""
    tile_detail: float = 0.2
    """Share of a tile with structure from which on the tile can be judged."""
    tile_match: float = 0.6
    """Correlation of structure from which on a tile shows the same in JPEG and RAW."""
    agreeing: float = 0.6
    """Share of the judged tiles that must match."""
    min_agreeing: int = 4
    """Number of tiles that must match."""
    outside: float = 0.02
    """Share of a side that the JPEG may show beyond the RAW's visible area."""
    skew: float = 0.0015
    """Share of a side by which the content may be rotated or sheared.

    0 to 0.0002 in cameras' own JPEGs; 0.006 and more in other shots of the same scene.
    """
    stretch: float = 0.005
    """Natural logarithm of the ratio of vertical to horizontal scale."""
    min_color: float = 0.006
    """Standard deviation of color, in coded values, below which a JPEG is monochrome."""
    clipped: float = 0.9
    """Share of white from which on a block counts as clipped, and is not compared."""
    residual: float = 0.2
    """Distance of a block from the nearest global look, in coded values; up to 0.15 in cameras' own JPEGs."""
    unevenness: float = 0.04
    """Standard deviation of brightness over tiles after the nearest global look, in coded values.

    Up to 0.018 in cameras' own JPEGs; more in merged exposures.
    """
    flat_confidence: float = 0.5
    """Confidence in a tile without structure that nothing contradicts."""


@dataclass(frozen=True)
class PieceLimits:
    """Pieces of full-size pairs for training the whole network."""

    side: int = 256
    """px."""
    most: int = 12
    """Pieces of a photo."""
    scale: float = 0.002
    """By which the JPEG's scale may differ from one pixel per photosite."""
    steady: float = 0.35
    """px by which the content may lie off whole pixels: pieces are not resampled, which would soften them."""


@dataclass(frozen=True)
class LookFit:
    """Fit of a `model.Look` by Adam (cosine decay after a linear warmup)."""

    channels: int = 16
    """Of the hidden layers."""
    pixels: int = 20_000
    """From all photos together, each photo the same number."""
    rarity: float = 0.5
    """Exponent of the sampling weight of rare colors: 0 as frequent as they are, 1 all colors alike."""
    synthetic_colors: float = 0.3
    """Share of `pixels` drawn from the whole RGB cube, with the target of the nearest simple look."""
    photos_enough: int = 4
    """Photos beyond which the share of synthetic colors falls, with the square of their number."""
    steps: int = 1000
    shading_steps: int = 400
    """For the lens-shading terms, before the look."""
    batch: int = 2048
    """Pixels."""
    learning_rate: float = 2e-2
    warmup: int = 50
    """Steps."""


@dataclass(frozen=True)
class ValidationSettings:
    """Cross-validation, and the gains and errors that decide by it."""

    folds: int = 5
    """Up to this number of photos each is held out alone."""
    min_photos: int = 2
    """One to learn from and one to validate on."""
    min_gain: float = 0.05
    """dE2000 on held-out photos by which lens shading, or the whole network, must be better to be kept."""
    outlier: float = 6.0
    """dE2000 of a held-out photo from which on it is left out as an outlier."""
    outlier_ratio: float = 2.5
    """The same, as a multiple of the median over the photos; both limits must be passed."""
    outlier_among: int = 4
    """Photos from which on outliers are looked for: with fewer nobody can say which one is wrong."""
    draws: int = 3
    """Random subsets for each point of the learning curve."""


@dataclass(frozen=True)
class NetworkFit:
    """Training of the whole network: more steps or a higher rate learn the colors of few photos by heart."""

    min_photos: int = 8
    """With a full-size JPEG."""
    steps: int = 300
    batch: int = 8
    crop: int = 160
    """px."""
    learning_rate: float = 2e-4
    warmup: int = 50
    """Steps."""
    ema: float = 0.99
    """Decay of the exponential moving average of the weights."""
    checkpoint_every: int = 100
    """Steps."""


@dataclass(frozen=True)
class ReportSettings:
    """What the report is made of; it decides nothing that is learned."""

    photos: int = 12
    """Photos that are scored whole, evenly spread."""
    shown: int = 4
    """Of them, with pictures."""
    pixels: int = 300_000
    """Of a photo, for its dE2000."""
    tiles: int = 48
    """Of a photo, for its SSIM."""
    thumbnail: int = 320
    """px of the longer side."""
    detail_side: int = 1024
    """px of the central crop whose fine detail is measured."""
    tools: tuple[str, ...] = ("rawpy default", "RawTherapee default")
    """Compared with, where they are installed; names of `evaluation.tools`."""
    still_learning: float = 0.1
    """dE2000 that the last doubling of the photos must have gained for more photos to be advised."""
    far_off: float = 1.5
    """Multiple of the mean dE2000 from which on a photo is named as far off."""


@dataclass(frozen=True)
class CameraSettings:
    """All settings of `learning.learn`."""

    pairs: PairLimits = PairLimits()
    pixels: int = 40_000
    """Kept of each photo, evenly spread over its accepted tiles."""
    pieces: PieceLimits = PieceLimits()
    look: LookFit = LookFit()
    validation: ValidationSettings = ValidationSettings()
    network: NetworkFit = NetworkFit()
    report: ReportSettings = ReportSettings()
    memory: int = 2**30
    """Bytes of decoded photos that stay in memory from preparing to scoring; others are decoded again."""
