"""Recipes: everything that decides a training run, read from TOML. Defaults are the paper's where it states any."""

import json
import math
import os
import tomllib
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from lwisp.architecture import BLOCKS, LWISPConfig
from lwisp.baselines.config import Architecture, BaselineConfig
from lwisp.data.simulation import Simulation
from lwisp.data.sources import Kind
from lwisp.errors import InputError, one_line
from lwisp.files.places import bundled_folder
from lwisp.files.writing import read_regular
from lwisp.imaging import metrics
from lwisp.records import parse
from lwisp.weights import InputConvention

STRIDES = {"down1": 4, "down2": 8, "down3": 16, "down4": 32, "up1": 8, "up2": 4, "up3": 2, "up4": 1}
"""Stride of each block's output in px of the target, in a student that takes RAW."""


@dataclass(frozen=True)
class Recipe:
    """One training run."""

    name: str
    licence: str
    """Licence of the weights."""

    # Data
    data: Kind | Literal["synthetic"] = "photos"
    """Kind of data in `root`; "synthetic" makes a few random pictures in Zurich's format in the run folder."""
    root: Path = Path("data")
    """Folder of the data, relative to the current folder."""
    exclude_licences: tuple[str, ...] = ()
    """Photographs under these licences (column of LICENCES.tsv) are left out."""
    convention: InputConvention = field(default_factory=InputConvention)
    """How input planes are prepared; photographs decide it themselves."""
    simulation: Simulation = field(default_factory=Simulation)
    """Constants of the simulated cameras, where photographs are trained on."""
    augment: bool = True
    """Flip and transpose crops of aligned pairs; the paper compares without."""
    crop: int = 192
    """Side of a crop in px of the target; packed planes have half. A multiple of the distilled blocks' `STRIDES`."""
    batch: int = 16
    """Crops per step, over all processes."""
    workers: int | None = None
    """Processes that make batches; 0: the training process itself. Left out: as many as cores and memory allow where a
    GPU computes (`workers.choose_workers`), else 0."""

    # Network
    architecture: Architecture = field(default_factory=LWISPConfig)
    """LW-ISP and its variants, or `{ network = "unet" }` and the like (docs/networks.md)."""
    start: str | None = None
    """Initial weights: a name or a file. Those of an LW-ISP for another task lend the tensors that fit."""

    # Optimization
    seed: int = 0
    steps: int = 40_000
    learning_rate: float = 8e-5
    """Peak learning rate of AdamW; the default is the paper's."""
    schedule: Literal["linear", "cosine"] = "cosine"
    """Shape of the learning rate's fall."""
    warmup: int = 500
    """Steps over which the learning rate rises linearly."""
    decay: float = 0.9
    """Share of the steps, at the end, over which the learning rate falls to zero."""
    clip: float = 0.5
    """Largest norm of the gradient."""
    ema: float = 0.999
    """Decay per step of the exponential moving average of the weights, which is what is saved."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """auto: bf16 where the processor or GPU has instructions for it, else fp32."""

    # Losses
    logarithmic: bool = False
    """Logarithm of each crop's mean absolute error in place of equation 4, so that every decibel counts the same."""
    apart: bool = False
    """The same also of the crop scaled to its target's mean and of its detail, where brightness is ambiguous."""
    alpha: float = 0.4
    """Weight of the structural loss (equations 3 and 5)."""
    scales: int = 5
    """Scales of MS-SSIM; five need crops of 161 px."""
    chroma: float = 0.0
    """Weight of the error of colors' fine detail, against false color; not the paper's."""
    adversarial: float = 0.0
    """Weight of Pix2Pix's adversarial loss; its own ratio to L1 is 0.005. With 0 there is no discriminator."""
    by_level: bool = False
    """PyNET and PyNET-CA only: train the levels one after the other, the coarsest first, an equal part of the steps
    each. Levels too small for MS-SSIM learn by L1 alone."""

    # Distillation
    beta: float = 0.0
    """Weight of the distillation loss (equations 3 and 6); with 0 there is no teacher."""
    distill: tuple[str, ...] = ("up2", "up3", "up4")
    """Blocks whose outputs the student imitates."""
    guide: Literal["target", "untrained", "another", "raw"] = "target"
    """What is imitated. "target": a teacher that learned to map clean images to themselves and sees this sample's (the
    paper's). Controls: "untrained", the same network before any training; "another", the trained teacher before another
    sample's target. "raw": the weights named by `teacher`, which develop the same RAW that the student sees."""
    distill_normalized: bool = False
    """Measure each channel's difference in the teacher's standard deviation of this channel; the paper does not say."""
    distill_share: float = 0.0
    """Norm of the distillation loss's gradient as a share of that of all other losses: `beta` is set for it every 25
    steps, and the recipe's value is only the first. 0: `beta` stays as it is."""
    distill_fade: bool = False
    """Let `beta` fall to zero by a half cosine, so that at the end the student learns from the data alone."""
    gamma: float = 0.4
    """Weight of the structural loss for the teacher (equation 7)."""
    teacher: str | None = None
    """Weights of a teacher; without them one is trained first."""
    teacher_steps: int | None = None
    """Steps of the teacher's training; by default those of the student's."""

    # Progress
    checkpoint_every: int = 500
    """Steps between two states that a run can go on from."""
    validate_every: int = 2000
    """Steps between two validations, which happen at checkpoints."""

    def __post_init__(self) -> None:
        self._check_schedule()
        self._check_losses()
        self._check_scales()
        self._check_distillation()

    def _check_schedule(self) -> None:
        counts = (self.steps, self.batch, self.checkpoint_every, self.validate_every, self.teacher_steps or 1)
        _expect(min(counts) >= 1, "steps, batch, teacher_steps, checkpoint_every and validate_every of 1 at least")
        _expect(0 <= self.seed < 2**32, f"a seed of 0 to 2**32 - 1, got {self.seed}")
        _expect(0 < self.learning_rate < math.inf, f"a positive learning_rate, got {self.learning_rate}")
        _expect(self.clip > 0, f"a positive clip, got {self.clip}")
        _expect(min(self.warmup, self.workers or 0) >= 0, "warmup and workers of 0 at least")
        _expect(0 <= self.decay <= 1, f"decay in [0, 1], got {self.decay}")
        _expect(0 <= self.ema < 1, f"ema in [0, 1), got {self.ema}")

    def _check_losses(self) -> None:
        loss_weights = (self.alpha, self.beta, self.gamma, self.chroma, self.adversarial)
        is_lwisp = isinstance(self.architecture, LWISPConfig)
        is_pynet = self.architecture in (BaselineConfig("pynet"), BaselineConfig("pynet-ca"))
        _expect(
            all(0 <= x < math.inf for x in loss_weights), "alpha, beta, gamma, chroma and adversarial of 0 at least"
        )
        _expect(is_lwisp or not self.beta, "beta = 0 for other networks than LW-ISP")
        _expect(
            is_pynet or not self.by_level,
            'architecture = { network = "pynet" } or { network = "pynet-ca" } with by_level',
        )
        _expect(not (self.by_level and self.adversarial), "adversarial = 0 with by_level")
        _expect(self.logarithmic or not self.apart, "logarithmic = true with apart")

    def _check_scales(self) -> None:
        _expect(1 <= self.scales <= 5, f"1 to 5 scales, got {self.scales}")
        needs_structure = self.alpha > 0 or self.beta * self.gamma > 0
        smallest = metrics.smallest_side(self.scales)
        _expect(
            self.crop >= smallest or not needs_structure,
            f"a crop of {smallest} px at least for {self.scales} scales of MS-SSIM, got {self.crop}; "
            "enlarge crop or lower scales",
        )

    def _check_distillation(self) -> None:
        _expect(set(self.distill) <= set(BLOCKS), f"distill out of {', '.join(BLOCKS)}, got {', '.join(self.distill)}")
        _expect(bool(self.distill) or not self.beta, "blocks to distill, or beta = 0")
        on_cells = isinstance(self.architecture, LWISPConfig) and self.architecture.cell == 4
        self._check_guide()
        _expect(not (self.beta and on_cells), "beta = 0 with cell = 4, whose blocks are not as large as a teacher's")
        if not self.beta or self.architecture.scale != 2:
            return
        multiple = max(STRIDES[name] for name in self.distill)
        below = self.crop // multiple * multiple
        _expect(
            below == self.crop,
            f"a crop that is a multiple of {multiple} px to distill {', '.join(self.distill)}, whose pixels are as "
            f"large, got {self.crop}; take {below} or {below + multiple}, or other blocks",
        )

    def _check_guide(self) -> None:
        _expect(0 <= self.distill_share < math.inf, f"a distill_share of 0 at least, got {self.distill_share}")
        _expect(self.guide != "raw" or bool(self.teacher), 'a teacher, weights that take RAW, with guide = "raw"')
        _expect(self.guide != "another" or self.batch > 1, 'a batch of 2 at least with guide = "another"')
        changed = self.guide != "target" or self.distill_share or self.distill_fade
        _expect(not (self.adversarial and self.beta and changed), "adversarial = 0 with these fields of distillation")

    def with_network(self, architecture: Architecture) -> "Recipe":
        """The recipe for another network.

        Args:
            architecture: that of the network.

        Raises:
            InputError: where the recipe does not fit it, as with a teacher for another network than LW-ISP.
        """
        try:
            return replace(self, architecture=architecture)
        except ValueError as error:
            raise InputError(f"the recipe {self.name!r} does not fit this network: {error}") from error

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON has them (paths as strings, tuples as lists), for cards, run folders and comparison."""
        fields: dict[str, Any] = json.loads(json.dumps(asdict(self), default=str))
        return fields


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(f"expected {what}")


def find_recipe(path: Path) -> Path:
    """The file of a recipe: the path itself if there is something, else the one of this name that comes with lwisp.

    Args:
        path: A path; or a name as "tiny", "tiny.toml" or "recipes/tiny.toml".

    Returns:
        A path; the given one where lwisp brings none of this name.

    Raises:
        InputError: There is nothing at the path, and it is a bare name, but of no recipe of lwisp.
    """
    if os.path.lexists(path) or path.parent not in (Path(), Path("recipes")) or path.suffix not in ("", ".toml"):
        return path
    folder = bundled_folder("recipes")
    found = folder / f"{path.stem}.toml"
    if found.is_file():
        return found
    names = ", ".join(sorted(recipe.stem for recipe in folder.glob("*.toml")))
    raise InputError(f"{path}: there is no such file, and no such recipe in lwisp, which has {names}")


def read_recipe(path: Path) -> Recipe:
    """The recipe in a TOML file of one stage.

    Args:
        path: TOML file with the fields of `Recipe`.

    Raises:
        InputError: for unknown fields, values out of range, and several stages.
    """
    stages = read_stages(path)
    if len(stages) > 1:
        raise InputError(f"{path}: expected a recipe of one stage, got {len(stages)}")
    return stages[0]


def read_stages(path: Path) -> tuple[Recipe, ...]:
    """The stages of the training run in a TOML file, in order.

    Each `[[stage]]` table holds what differs from the fields above it; a file without such tables is one stage.
    Every stage but the first starts from the weights of the one before.

    Args:
        path: TOML file with the fields of `Recipe`, or the name of one that comes with lwisp (`find_recipe`).

    Raises:
        InputError: for unknown fields and values out of range.
    """
    path = find_recipe(path)
    try:
        content = read_regular(path)
    except InputError as error:
        raise InputError(f"{path}: cannot read the recipe: {str(error).rpartition(': ')[2]}") from error
    try:
        shared = tomllib.loads(content.decode())
        tables = shared.pop("stage", [{}])
        if not isinstance(tables, list) or not tables or not all(isinstance(table, dict) for table in tables):
            raise ValueError("expected [[stage]] tables")
        if any("start" in table for table in tables[1:]):
            raise ValueError("only the first stage has a `start`, the others begin with the weights of the one before")
        return tuple(parse(Recipe, {**shared, **table}) for table in tables)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not a usable recipe: {one_line(error)}") from error


def learning_rate(recipe: Recipe, step: int) -> float:
    """Learning rate of a step: a linear rise over `warmup`, a plateau, a fall to zero over the last `decay`.

    Args:
        recipe: its `learning_rate`, `warmup`, `decay`, `schedule` and `steps` count.
        step: from 0 to `recipe.steps` - 1.
    """
    rise = (step + 1) / max(recipe.warmup, 1)
    fall = min(1.0, (recipe.steps - step) / max(recipe.decay * recipe.steps, 1))
    if recipe.schedule == "cosine":
        fall = (1 - math.cos(math.pi * fall)) / 2
    return recipe.learning_rate * min(1.0, rise, fall)
