"""Recipes: everything that decides a training run, read from TOML; defaults are the paper's where it says any."""

import math
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import TypeAdapter

from lwisp.baselines import Architecture, BaselineConfig
from lwisp.data.simulation import Simulation
from lwisp.data.sources import Kind
from lwisp.errors import InputError, one_line
from lwisp.imaging import metrics
from lwisp.model import BLOCKS, LWISPConfig
from lwisp.weights import InputConvention

STRIDES = {"down1": 4, "down2": 8, "down3": 16, "down4": 32, "up1": 8, "up2": 4, "up3": 2, "up4": 1}
"""Px of the target, along a side, for a pixel of each block's output in a student that takes RAW."""


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    __pydantic_config__: ClassVar = {"extra": "forbid"}

    name: str
    licence: str
    """Licence of the weights."""
    data: Kind | Literal["synthetic"] = "photos"
    """What lies in `root`; "synthetic" makes a few pictures of nothing itself, in Zurich's form."""
    root: Path = Path("data")
    """Folder of the data, from the current folder."""
    exclude_licences: tuple[str, ...] = ()
    """Photographs under these licences (column of LICENCES.tsv) are left out."""
    convention: InputConvention = field(default_factory=InputConvention)
    """What the planes are; decided by the data where they are photographs."""
    simulation: Simulation = field(default_factory=Simulation)
    """Constants of the simulators, where photographs are trained on."""
    augment: bool = True
    """Flip and transpose crops of aligned pairs; the paper compares without."""
    architecture: Architecture = field(default_factory=LWISPConfig)
    """LW-ISP and its variants, or `{ network = "unet" }` and the like (docs/networks.md)."""
    start: str | None = None
    """Weights to begin with: a name or a file; those of an LW-ISP for something else lend the tensors that fit."""
    seed: int = 0
    steps: int = 40_000
    batch: int = 16
    """Crops a step, over all processes."""
    crop: int = 192
    """Side of a crop in px of the target; packed planes have half. A multiple of the distilled blocks' `STRIDES`."""
    learning_rate: float = 8e-5
    schedule: Literal["linear", "cosine"] = "cosine"
    warmup: int = 500
    """Steps of linear rise."""
    decay: float = 0.9
    """Share of the steps, at the end, over which the rate falls to zero."""
    clip: float = 0.5
    """Largest norm of the gradient."""
    ema: float = 0.999
    logarithmic: bool = False
    """The logarithm of each crop's mean absolute error in place of equation 4, so that every decibel counts alike."""
    apart: bool = False
    """The same also of the crop at its target's mean and of its detail, where brightness is a guess."""
    alpha: float = 0.4
    """Weight of the structural loss (equations 3 and 5)."""
    scales: int = 5
    """Of MS-SSIM; five need crops of 161 px."""
    beta: float = 0.0
    """Weight of the distillation loss (equations 3 and 6); with 0 there is no teacher."""
    distill: tuple[str, ...] = ("up2", "up3", "up4")
    """Blocks whose outputs the student imitates."""
    gamma: float = 0.4
    """Weight of the structural loss for the teacher (equation 7)."""
    adversarial: float = 0.0
    """Weight of Pix2Pix's adversarial loss; its own ratio to L1 is 0.005. With 0 there is no discriminator."""
    by_level: bool = False
    """PyNET only: train its levels one after the other, the coarsest first, an equal part of the steps each.
    Levels too small for MS-SSIM learn by L1 alone."""
    teacher: str | None = None
    """Weights of a teacher; without them one is trained first."""
    teacher_steps: int | None = None
    """As many as the student's if not given."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """auto: bf16 where the processor or GPU has instructions for it, else fp32."""
    workers: int = 0
    """Processes that make batches; 0: the training process itself."""
    checkpoint_every: int = 500
    validate_every: int = 2000

    def __post_init__(self) -> None:
        least = metrics.smallest_side(self.scales) if 1 <= self.scales <= 5 else 0
        counts = (self.steps, self.batch, self.checkpoint_every, self.validate_every, self.teacher_steps or 1)
        for good, expected in (
            (min(counts) >= 1, "steps, batch, teacher_steps, checkpoint_every and validate_every of 1 at least"),
            (0 <= self.seed < 2**32, f"a seed of 0 to 2**32 - 1, got {self.seed}"),
            (0 < self.learning_rate < math.inf, f"a positive learning_rate, got {self.learning_rate}"),
            (self.clip > 0, f"a positive clip, got {self.clip}"),
            (min(self.warmup, self.workers) >= 0, "warmup and workers of 0 at least"),
            (0 <= self.decay <= 1, f"decay in [0, 1], got {self.decay}"),
            (0 <= self.ema < 1, f"ema in [0, 1), got {self.ema}"),
            (
                all(0 <= x < math.inf for x in (self.alpha, self.beta, self.gamma, self.adversarial)),
                "alpha, beta, gamma and adversarial of 0 at least",
            ),
            (not self.beta or isinstance(self.architecture, LWISPConfig), "beta = 0 for other networks than LW-ISP"),
            (
                not self.by_level or (self.architecture == BaselineConfig("pynet") and not self.adversarial),
                'by_level with architecture = { network = "pynet" } and without adversarial only',
            ),
            (self.logarithmic or not self.apart, "logarithmic = true with apart"),
            (least > 0, f"1 to 5 scales, got {self.scales}"),
            (
                self.crop >= least or not (self.alpha or self.beta * self.gamma),
                f"a crop of {least} px at least for {self.scales} scales of MS-SSIM, got {self.crop}; "
                "enlarge crop or lower scales",
            ),
            (set(self.distill) <= set(BLOCKS), f"distill out of {', '.join(BLOCKS)}, got {', '.join(self.distill)}"),
            (self.distill or not self.beta, "blocks to distill, or beta = 0"),
        ):
            if not good:
                raise ValueError(f"expected {expected}")
        multiple = max((STRIDES[name] for name in self.distill), default=1)
        if self.beta and self.architecture.scale == 2 and self.crop % multiple:
            below = self.crop // multiple * multiple
            raise ValueError(
                f"expected a crop that is a multiple of {multiple} px to distill {', '.join(self.distill)}, whose "
                f"pixels are as large, got {self.crop}; take {below} or {below + multiple}, or other blocks"
            )


def read_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file; raises `InputError` for unknown fields, values out of range, and several stages."""
    stages = read_stages(path)
    if len(stages) > 1:
        raise InputError(f"{path}: expected a recipe of one stage, got {len(stages)}")
    return stages[0]


def read_stages(path: Path) -> tuple[Recipe, ...]:
    """The stages of the training run in a TOML file, in their order.

    Each `[[stage]]` table holds what differs from the fields above it; a file without such tables is one stage. Every
    stage but the first begins with the weights of the one before. Raises `InputError` for unknown fields and values
    out of range.
    """
    try:
        shared = tomllib.loads(path.read_text(encoding="utf-8"))
        tables = shared.pop("stage", [{}])
        if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
            raise ValueError("expected [[stage]] tables")
        stages = tuple(TypeAdapter(Recipe).validate_python({**shared, **table}) for table in tables)
        if any("start" in table for table in tables[1:]):
            raise ValueError("only the first stage has a `start`, the others begin with the weights of the one before")
    except OSError as error:
        raise InputError(f"{path}: cannot read the recipe: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a usable recipe: {one_line(error)}") from error
    return stages


def learning_rate(recipe: Recipe, step: int) -> float:
    """Linear rise over `warmup`, a plateau, and a fall to zero over the last `decay` of the steps."""
    rise = (step + 1) / max(recipe.warmup, 1)
    fall = min(1.0, (recipe.steps - step) / max(recipe.decay * recipe.steps, 1))
    if recipe.schedule == "cosine":
        fall = (1 - math.cos(math.pi * fall)) / 2
    return recipe.learning_rate * min(1.0, rise, fall)
