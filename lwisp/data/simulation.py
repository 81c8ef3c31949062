"""Constants of the simulators that turn photographs into training pairs, with units and sources.

They are part of every recipe that trains on photographs (`Recipe.simulation`) and stand on the card of its weights.
"[5]" is Brooks et al., "Unprocessing Images for Learned Raw Denoising", CVPR 2019. Where no source is named, a value
was chosen by trial (docs/log.md). Ranges are (lowest, highest) and drawn from uniformly unless something else is said.
"""

import math
from dataclasses import asdict, dataclass, field


class _Model:
    """Refuses what no simulator can draw from: ranges that run backwards, shares outside of [0, 1], infinities."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():  # type: ignore[call-overload]
            values = value if isinstance(value, tuple) else (value,)
            if not all(math.isfinite(number) for number in values):
                raise ValueError(f"expected finite numbers for {name}, got {value}")
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"expected {name} to rise, got {value}")
            if name.endswith("share") and not 0 <= value <= 1:
                raise ValueError(f"expected {name} in [0, 1], got {value}")


@dataclass(frozen=True)
class CropModel(_Model):
    """How training crops are cut out of photographs."""

    shrunk_share: float = 0.6
    """Share of the crops that are cut larger and shrunk, which makes them crisper than any photo of their size."""
    max_shrinking: float = 2.2
    """Largest factor of that."""
    enlarged_share: float = 0.4
    """Denoising only: share of the crops that are cut smaller and enlarged, because camera pictures are soft."""
    max_enlarging: float = 3.0
    """Largest factor of that."""
    wide_share: float = 0.9
    """Low light only: share of shrunk crops. Brightness can be judged only where most of the frame is seen."""
    max_wide_shrinking: float = 7.0
    """Largest factor of that."""


@dataclass(frozen=True)
class DeadLeavesModel(_Model):
    """Synthetic pictures without grain, after Lee, Mumford and Huang, IJCV 2001; denoising only."""

    share: float = 0.3
    """Share of the samples that are such pictures instead of photographs, which keep some grain."""
    palette_step: int = 37
    """Distance in px of the photo's pixels that lend their colors."""
    log_radius: tuple[float, float] = (0.5, 4.4)
    """Natural logarithm of the longer half-axis in px: 1.6 to 80 px."""
    min_aspect: float = 0.15
    """Smallest ratio of the shorter half-axis to the longer one."""
    count: tuple[int, int] = (5, 60)
    """Number of leaves in a picture, both ends included."""
    shaded_share: float = 0.6
    """Share of the leaves with a gradient."""
    shading: float = 0.2
    """Largest relative change of a leaf's light from its middle to one end."""
    soft_share: float = 0.6
    """Share of the pictures that are shrunk and enlarged again, as behind a lens out of focus."""
    max_softening: float = 3.0
    """Largest factor of that."""


@dataclass(frozen=True)
class CameraModel(_Model):
    """Simulated cameras; their color matrices are random mixtures of real ones (`unprocess.XYZ2CAM`)."""

    red_gain: tuple[float, float] = (1.3, 2.6)
    """As-shot gain of red, green being 1; wider than [5] (1.9 to 2.4), to cover tungsten light."""
    blue_gain: tuple[float, float] = (1.2, 2.6)
    """As-shot gain of blue; [5] has 1.5 to 1.9."""
    bits: tuple[int, int] = (10, 14)
    """Bit depth, both ends included."""
    black_level: tuple[float, float] = (-0.03, 0.06)
    """Share of the range that lies below black. Negative values count as 0: a third of the cameras clip at black."""


@dataclass(frozen=True)
class NoiseModel(_Model):
    """Sensor noise: variance = shot * signal + read, the signal in [0, 1]."""

    log_shot: tuple[float, float] = (-9.2103, -3.6889)
    """Natural logarithm of shot noise, 1e-4 to 2.5e-2; [5] ends at 1.2e-2, which should not lie at the edge."""
    read_slope: float = 2.18
    """Log read noise is normal around slope * log shot + offset: [5]."""
    read_offset: float = 1.20
    """See `read_slope`."""
    read_spread: float = 0.26
    """Standard deviation of log read noise around that line: [5]."""


@dataclass(frozen=True)
class RecoloringModel(_Model):
    """Random color changes of photographs, which have few thin and saturated things (`unprocess.recolor`)."""

    share: float = 0.6
    """Share of the samples that are recolored."""
    mixing: float = 0.4
    """Standard deviation of the entries of the random mixing matrix, display-referred values."""
    level_shift: float = 0.7
    """Largest shift of black and white of a channel."""


@dataclass(frozen=True)
class RawModel(_Model):
    """How a RAW of a photograph is exposed and damaged; training on photographs for `develop`."""

    clean_share: float = 0.3
    """Share of the samples without noise, so that clean RAW keeps its detail."""
    overexposed_share: float = 0.2
    """Share of the samples that are exposed above white."""
    overexposure: tuple[float, float] = (0.0, 1.0)
    """Exposure of these in EV above white."""
    exposure: tuple[float, float] = (-2.0, 0.0)
    """Exposure of all others in EV."""
    shifted_share: float = 0.2
    """Share of the samples whose exposure the user has changed with `--exposure`."""
    shift: tuple[float, float] = (-1.5, 2.0)
    """That change in EV; its absolute value for overexposed samples."""
    defect_share: float = 0.5
    """Share of the samples with defective photosites."""
    log10_defect_density: tuple[float, float] = (-4.5, -2.7)
    """Base-10 logarithm of the share of defective photosites."""


@dataclass(frozen=True)
class LinesModel(_Model):
    """Thin lines drawn over photographs (`thin_lines`); training for `develop`."""

    share: float = 0.0
    """Share of the samples that get some."""
    count: tuple[int, int] = (1, 12)
    """Number of lines, both ends included."""
    thickness: tuple[float, float] = (0.4, 2.5)
    """Thickness in px of the crop."""
    half_length: tuple[float, float] = (0.1, 1.0)
    """Half the length, in sides of the crop."""
    bend: float = 0.5
    """Standard deviation of half the curvature, times the crop's side."""
    bright_share: float = 0.6
    """Share of lines brighter than 0.7; the others are darker than 0.6."""
    colored_share: float = 0.3
    """Share of lines of any color; the others are gray."""


@dataclass(frozen=True)
class LightsModel(_Model):
    """Light above white, where a network has headroom: photographs end at white, so theirs is stretched above it."""

    share: float = 0.7
    """Share of the samples whose lights are stretched, by the inverse of the shoulder."""
    shifted_share: float = 0.4
    """Share of the samples whose exposure the user has changed, in place of `RawModel.shifted_share`."""
    weakened_share: float = 0.1
    """Share of the samples for which less headroom is taken than there is, as `--highlights` asks for."""


@dataclass(frozen=True)
class TellingModel(_Model):
    """How truly a network is told the noise, which is measured on each frame."""

    error: float = 0.25
    """Standard deviation of the logarithm of the deviation that is told, over the true one."""
    silent_share: float = 0.5
    """Share of the samples without noise that are told so; fine structure of the others is taken for noise."""
    log_floor: tuple[float, float] = (-8.1, -4.6)
    """Natural logarithm of the deviation that these are told, 3e-4 to 1e-2."""


@dataclass(frozen=True)
class DemosaicingModel(_Model):
    """How light that is demosaiced came about; training on photographs for RAWs without a Bayer mosaic."""

    malvar_share: float = 0.2
    """Of the batches: a Bayer mosaic by Malvar's filters."""
    bilinear_share: float = 0.1
    """A Bayer mosaic by means of the nearest."""
    xtrans_share: float = 0.45
    """An X-Trans mosaic by LibRaw."""
    none_share: float = 0.25
    """All colors at each pixel, as of merged exposures."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not any(asdict(self).values()):
            raise ValueError("expected a demosaicing with a share above 0, got none")


@dataclass(frozen=True)
class DenoisedRawModel(_Model):
    """The noisy RAW that `denoise-raw` learns from."""

    exposure: tuple[float, float] = (-2.0, 0.3)
    """Exposure in EV."""
    log_shot: tuple[float, float] = (-9.2103, -4.4228)
    """Natural logarithm of shot noise, 1e-4 to 1.2e-2: [5]."""


@dataclass(frozen=True)
class DegradationModel(_Model):
    """Noise of finished pictures as a camera's own processing leaves it; training of `denoise` and `enhance`.

    Some cameras denoise: the noise of luma and of chroma is blurred but for a kept share, and the initial noise is
    raised so that as much is left. Tuned to the real noise of PolyU and SIDD.
    """

    log_shot: tuple[float, float] = (-10.4, -3.7)
    """Natural logarithm of shot noise, 3e-5 to 2.5e-2: ISO 200 of a large sensor to ISO 12800 of a small one."""
    smoothed_share: float = 0.55
    """Share of the cameras that denoise."""
    log_luma_blur: tuple[float, float] = (-0.6, 0.9)
    """Natural logarithm of the Gaussian sigma of luma in px: 0.55 to 2.5 px."""
    chroma_wider: tuple[float, float] = (1.0, 2.5)
    """Sigma of chroma in that of luma."""
    luma_kept: float = 0.5
    """Largest share of luma noise that is not blurred."""
    chroma_kept: float = 0.15
    """Largest share of chroma noise that is not blurred."""
    chroma_gain: tuple[float, float] = (0.3, 1.0)
    """Factor of chroma noise behind a camera that denoises."""
    remaining_range: float = 0.67
    """Share of the range of `log_shot`, from its lower end, in which noise after denoising lies."""
    max_boost: float = 40.0
    """Largest factor by which the initial noise is raised, in variance."""
    softness: tuple[float, float] = (0.5, 2.0)
    """Gaussian sigma in px applied to the clean photo when the camera denoises: full-size pictures are soft."""
    chroma_softer: tuple[float, float] = (1.0, 4.0)
    """Sigma of chroma in that of luma, for the clean photo."""
    sharpened_share: float = 0.35
    """Share of the cameras that sharpen."""
    max_sharpening: float = 1.0
    """Largest amount of their unsharp mask."""
    sharpening_blur: float = 1.0
    """Gaussian sigma of that mask in px."""
    structure_floor: float = 1e-4
    """Level in [0, 1] under which contrast does not count as structure, which denoising cameras spare."""
    contrast: float = 0.7
    """Largest share of the smoothstep in a camera's tone curve."""
    compressed_share: float = 0.5
    """Share of the pictures that go through JPEG."""
    quality: tuple[int, int] = (60, 98)
    """JPEG quality, both ends included."""
    halved_share: float = 0.5
    """Share of the JPEGs with chroma of half the resolution (4:2:0)."""


@dataclass(frozen=True)
class LowLightModel(_Model):
    """Underexposed photographs; training of `enhance`. Noise is that of `DegradationModel` but for two values."""

    log_shot: tuple[float, float] = (-9.2, -6.2)
    """Natural logarithm of shot noise, 1e-4 to 2e-3."""
    smoothed_share: float = 0.75
    """Share of the cameras that denoise."""
    underexposure: tuple[float, float] = (1.5, 6.0)
    """EV that are lacking: 2 to 5 are wanted, and some beyond."""
    error_ramp: tuple[float, float] = (3.5, 5.5)
    """Underexposure in EV over which tone and white-balance errors grow from none to full strength."""
    relighting: float = 0.35
    """Standard deviation of the log of a random brightness of the photo; without it each is learned by heart."""
    lamps_share: float = 0.5
    """Share of the samples whose blown lights were brighter than white."""
    max_lamp: float = 6.0
    """EV of these above white at most."""
    blown: float = 0.9
    """Level in all channels from which a photo's light counts as blown."""
    shoulder: float = 2.5
    """Largest extra gain of shadows against white of the tone curve, at full `error_ramp`."""
    drift: float = 0.1
    """Standard deviation of the log of white-balance errors."""
    dark_drift: tuple[float, float] = (0.05, 0.2)
    """The same at full `error_ramp`."""


@dataclass(frozen=True)
class Simulation:
    """All of them."""

    crops: CropModel = field(default_factory=CropModel)
    dead_leaves: DeadLeavesModel = field(default_factory=DeadLeavesModel)
    cameras: CameraModel = field(default_factory=CameraModel)
    noise: NoiseModel = field(default_factory=NoiseModel)
    recoloring: RecoloringModel = field(default_factory=RecoloringModel)
    raw: RawModel = field(default_factory=RawModel)
    lines: LinesModel = field(default_factory=LinesModel)
    lights: LightsModel = field(default_factory=LightsModel)
    telling: TellingModel = field(default_factory=TellingModel)
    demosaicing: DemosaicingModel = field(default_factory=DemosaicingModel)
    denoised_raw: DenoisedRawModel = field(default_factory=DenoisedRawModel)
    degradation: DegradationModel = field(default_factory=DegradationModel)
    low_light: LowLightModel = field(default_factory=LowLightModel)
