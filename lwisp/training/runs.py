"""Training runs: from a recipe, or a recipe of several stages, to weights with their card.

`train_stages` is what `lwisp train` calls: it trains the stages of a recipe by `train`, one after the other. `train` is
the paper's system: a teacher learns to map clean images to themselves (equation 7), then the student learns from the
data and imitates it (equation 3).
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lwisp.architecture import Takes
from lwisp.baselines.build import Baseline, build
from lwisp.baselines.config import OwnConfig
from lwisp.data import synthetic
from lwisp.data.sources import Data, open_data
from lwisp.engines.eager import channels_last
from lwisp.errors import InputError
from lwisp.files.runs import exclusive, run_folder
from lwisp.files.tensors import digest_of
from lwisp.files.writing import check_output, clear_leftovers, make_folder, whole_folder, write_text
from lwisp.imaging.tensors import to_bytes
from lwisp.model import LWISP
from lwisp.training.boards import Logger, check_logger
from lwisp.training.devices import Device, precision_of, start_fabric
from lwisp.training.estimate import hours_of, in_words, step_seconds
from lwisp.training.guides import Guide
from lwisp.training.initialization import center, initialize
from lwisp.training.log import last_step, print_note
from lwisp.training.loop import Run, fit
from lwisp.training.objectives import Objective, Teacher, student_objective, teacher_of
from lwisp.training.progress import Reporter
from lwisp.training.provenance import versions
from lwisp.training.recipe import Recipe
from lwisp.training.state import MAY_DIFFER
from lwisp.weights import WAYS, Card, InputConvention, Weights, load, read_card, save, task_of

if TYPE_CHECKING:
    from lightning_fabric import Fabric

STRUCTURES: dict[Takes, str] = {
    "raw": "in_channels = 4 and upsample = true",
    "rgb": "in_channels = 3 and upsample = false",
    "linear": "in_channels = 3, or 4 where the noise is told, and upsample = false",
    "planes": "in_channels = 4, out_channels = 4 and upsample = false",
}
"""What a recipe must say for each of `WAYS`."""
PAIRED = (
    *("zurich", "zurich/aligned-raw", "mai21", "sidd", "sidd/all", "sidd-raw", "sidd-raw/all", "polyu", "lol", "pairs"),
)
"""Kinds of data that are decoded, not made."""
UNTRAINED = -1
"""Seed of an untrained teacher: no run's, or a student would begin as it is."""
LONG = 400
"""Steps from which on a training is timed before it begins; of fewer the four that are timed would be too many."""
SYNTHETIC_PICTURES = (8, 448)
"""Number and side in px of the pictures of data = "synthetic"; all but two are trained on."""


def train_stages(
    stages: Sequence[Recipe],
    output: Path,
    root: Path | None = None,
    device: Device = "auto",
    reporter: Reporter | None = None,
    logger: Logger = "tensorboard",
) -> Weights:
    """Weights trained by stages, each of which starts from the weights of the one before.

    The weights of earlier stages are kept in the run folder as `stage-1.safetensors` and so on, with run folders of
    their own; the same call goes on with the stage that was stopped. Otherwise as `train`.

    Args:
        stages: the recipes, in order; the card names all of them.
        output: path of the last stage's weights.
        root: folder of the data, in place of the recipes'.
        device: what to train on.
        reporter: told what is being done; where it is left out, bars are shown on a terminal and no lines elsewhere.
        logger: board of the curves, in the run folder.

    Raises:
        InputError: for whatever the user can put right.
    """
    check_logger(logger)
    outlook = (
        None if reporter is None else partial(_outlook, stages, output, device)
    )  # told once, before the first step
    start = stages[0].start
    for number, recipe in enumerate(stages[:-1], 1):
        path = run_folder(output) / f"stage-{number}.safetensors"
        recipe = replace(recipe, start=start)
        if not path.exists():
            _train(recipe, path, root, device, None, stages[: number - 1], reporter, outlook, logger)
            outlook = None
        elif not _is_trained_by(recipe, path, root, device):
            raise InputError(f"{path}: trained by another recipe; name another --output")
        start = str(path)
    last = replace(stages[-1], start=start)
    return _train(last, output, root, device, None, stages[:-1], reporter, outlook, logger)


def _outlook(stages: Sequence[Recipe], output: Path, device: Device) -> str:
    """How many steps are left to train, and about how long they take here; empty for what is short."""
    steps, hours = 0, 0.0
    for number, recipe in enumerate(stages, 1):
        is_last = number == len(stages)
        path = output if is_last else run_folder(output) / f"stage-{number}.safetensors"
        if path.exists() and not is_last:
            continue
        left = recipe.steps - last_step(run_folder(path) / "log.jsonl")
        taught = recipe.beta and recipe.guide in ("target", "another") and not recipe.teacher
        left += (recipe.teacher_steps or recipe.steps) if taught else 0
        if left >= LONG:
            hours += hours_of(step_seconds(recipe, device=device), left)
        steps += left
    return f"{steps:,} steps, {in_words(hours)} on this machine; reading data not counted" if hours else ""


def _is_trained_by(recipe: Recipe, path: Path, root: Path | None, device: Device) -> bool:
    """Whether these weights were trained by this recipe, by what their card says."""
    known = read_card(path).training.get("recipe", {})
    now = replace(recipe, root=root or recipe.root, precision=precision_of(recipe, device)).to_json()
    decisive = [key for key in now if key not in MAY_DIFFER or key == "steps"]
    return all(known.get(key) == now[key] for key in decisive)


def train(
    recipe: Recipe,
    output: Path,
    root: Path | None = None,
    device: Device = "auto",
    data: Data | None = None,
    earlier: Sequence[Recipe] = (),
    reporter: Reporter | None = None,
) -> Weights:
    """Weights trained by one recipe, written with their card to `output`; its teacher is trained first.

    Progress is kept in the folder `output` + ".run": `run.json` says how the run was made; `state.pt`, replaced as a
    whole, is where the same call goes on; `log.jsonl` and `tensorboard` are the log; `teacher.safetensors` is the
    teacher, with such a folder of its own. Under torchrun every process makes its share of each batch.

    Args:
        recipe: everything that decides the run.
        output: path of the weights.
        root: folder of the data, in place of the recipe's.
        device: what to train on.
        data: the data, if they are open already, with the recipe's crop, batch and seed; for one process.
        earlier: recipes of the stages before, for the card.
        reporter: told what is being done; where it is left out, bars are shown on a terminal and no lines elsewhere.

    Raises:
        InputError: for whatever the user can put right.
    """
    return _train(recipe, output, root, device, data, earlier, reporter)


def _train(
    recipe: Recipe,
    output: Path,
    root: Path | None,
    device: Device,
    data: Data | None,
    earlier: Sequence[Recipe],
    reporter: Reporter | None,
    outlook: Callable[[], str] | None = None,
    logger: Logger = "tensorboard",
) -> Weights:
    """`train`; before the first step it tells what `outlook` says."""
    with _begin(recipe, output, root, device, data, earlier, reporter) as begun:
        run = replace(begun, logger=logger)
        recipe, data = run.recipe, run.data
        if task_of(recipe.architecture, data.convention) != data.takes:
            if isinstance(recipe.architecture, OwnConfig):
                raise InputError(
                    f"{recipe.data} data go {WAYS[data.takes]}; expected a network with takes = '{data.takes}', got "
                    f"{recipe.architecture.takes!r} of {recipe.architecture.module}"
                )
            raise InputError(
                f"{recipe.data} data go {WAYS[data.takes]}; expected an architecture with {STRUCTURES[data.takes]}"
            )
        if outlook is not None and run.fabric.is_global_zero and (told := outlook()):
            run.reporter.note(f"{recipe.name}: {told}")
        facts = {**_facts(recipe, earlier), "pictures": len(data.names)}
        guide = None
        if recipe.beta:
            guide = _get_guide(run)
            facts["teacher"] = {
                "sha256": digest_of(to_bytes(guide.network.state_dict()))
            }  # before it moves to a device
        with _seeded(recipe.seed):
            network = build(recipe.architecture)
            if isinstance(network, LWISP):
                initialize(network, recipe.seed)
            if recipe.start:
                _start_from(network, recipe.start)
            objective = student_objective(channels_last(network), guide, recipe)
        return _learn(run, objective, facts)


def train_teacher(
    recipe: Recipe,
    output: Path,
    root: Path | None = None,
    device: Device = "auto",
    data: Data | None = None,
    reporter: Reporter | None = None,
) -> Weights:
    """Weights of the teacher that a recipe's student would have; otherwise as `train`.

    Args:
        recipe: the student's recipe.
        output: path of the teacher's weights.
        root: folder of the data, in place of the recipe's.
        device: what to train on.
        data: the data, if they are open already; for one process.
        reporter: told what is being done; where it is left out, bars are shown on a terminal and no lines elsewhere.

    Raises:
        InputError: for whatever the user can put right.
    """
    with _begin(recipe, output, root, device, data, reporter=reporter) as run:
        return _teach(run)


@contextmanager
def _begin(
    recipe: Recipe,
    output: Path,
    root: Path | None,
    device: Device,
    data: Data | None = None,
    earlier: Sequence[Recipe] = (),
    reporter: Reporter | None = None,
) -> Iterator[Run]:
    """Check what can be checked before any work; the run, with what this machine and call decide.

    From the first look at what the run folder holds to the end no other process works in it.
    """
    folder = run_folder(output)
    if output.exists() or not output.name:
        check_output(output)
    recipe = replace(recipe, root=root or recipe.root, precision=precision_of(recipe, device))
    fabric = start_fabric(device)
    is_first = fabric.is_global_zero
    reporter = reporter or Reporter()
    if not is_first:
        reporter.stop()
    reporter.tell(f"{recipe.name}: reading the data")
    if data is not None and fabric.world_size > 1:
        raise InputError("data that are open already are trained on in one process only; start it without torchrun")
    with exclusive(folder, "training") if is_first else nullcontext():
        if output.exists() and not ((folder / "state.pt").exists() and _is_of_recipe(output, recipe)):
            raise InputError(f"{output} exists already and is not of this run; name another --output")
        if is_first:
            for place in (output.parent, folder, folder / "cache"):
                clear_leftovers(place)
        data = _open(recipe, folder, fabric) if data is None else data
        if is_first:
            for note in data.notes:
                print_note(note)
            facts = {"command": sys.argv, "processes": fabric.world_size, **_facts(recipe, earlier)}
            write_text(folder / "run.json", json.dumps(facts, indent=1) + "\n")
        fabric.barrier()
        yield Run(fabric, recipe, data, output, reporter)


def _is_of_recipe(path: Path, recipe: Recipe) -> bool:
    """Whether a file has the weights of a recipe, or those of its teacher, by their name."""
    try:
        return read_card(path).name in (recipe.name, _teacher_name(recipe))
    except InputError:
        return False


def _teacher_name(recipe: Recipe) -> str:
    return f"teacher of {recipe.name}"


def _facts(recipe: Recipe, earlier: Sequence[Recipe] = ()) -> dict[str, Any]:
    """What decides the weights, for card and run folder."""
    facts: dict[str, Any] = {"recipe": recipe.to_json(), "versions": versions()}
    if earlier:
        facts["stages before"] = [stage.to_json() for stage in earlier]
    return facts


def _open(recipe: Recipe, folder: Path, fabric: "Fabric") -> Data:
    """The recipe's data for one of the processes; synthetic pictures are made in the run folder."""
    if recipe.by_level and fabric.world_size > 1:
        raise InputError("by_level trains in one process only; drop it, or torchrun")
    if recipe.beta and recipe.distill_share and fabric.world_size > 1:
        raise InputError("distill_share is measured in one process only; drop it, or torchrun")
    batch, rest = divmod(recipe.batch, fabric.world_size)
    if rest:
        raise InputError(f"a batch of {recipe.batch} does not part evenly over {fabric.world_size} processes")
    recipe = replace(recipe, batch=batch)
    if recipe.data == "synthetic":
        root = folder / "data"
        if fabric.is_global_zero and not root.exists():
            _write_synthetic(root, recipe.seed)
        fabric.barrier()
        recipe = replace(recipe, data="zurich", root=root)
    return open_recipe_data(recipe, folder)


def _write_synthetic(root: Path, seed: int) -> None:
    count, side = SYNTHETIC_PICTURES
    pictures = synthetic.pictures(count, seed, side, side)
    with whole_folder(root) as folder:
        synthetic.write_zurich(folder, {"train": pictures[:-2], "test": pictures[-2:]})


def open_recipe_data(recipe: Recipe, folder: Path) -> Data:
    """The data of a recipe, in batches of its size, checked as a whole.

    Args:
        recipe: decides kind, folder, crop, batch, seed and convention; its `data` is not "synthetic".
        folder: where decoded pictures or Zurich's moved truth are kept, in `cache`, made if need be: those of SIDD, and
            of other pairs where they are more than a process keeps in its memory.

    Raises:
        InputError: for the first thing that is wrong with them.
    """
    assert recipe.data != "synthetic"
    cache = folder / "cache" if recipe.data in PAIRED else None
    if cache and recipe.data not in ("zurich", "mai21", "polyu", "lol", "pairs"):  # which keep what they must
        make_folder(cache)
    return open_data(
        recipe.data,
        recipe.root,
        recipe.crop,
        recipe.batch,
        recipe.seed,
        recipe.convention,
        recipe.exclude_licences,
        recipe.augment,
        cache,
        recipe.simulation,
    )


def _get_guide(run: Run) -> Guide:
    """What the student imitates: by default a teacher, trained now if need be, and read from disk as float16."""
    recipe = run.recipe
    if recipe.guide == "raw":
        assert recipe.teacher
        return guide_of(recipe, load(recipe.teacher), recipe.teacher, run.data.convention)
    if recipe.guide == "untrained":
        network = LWISP(teacher_of(recipe.architecture))
        initialize(network, UNTRAINED)
        return Guide(channels_last(network))
    path = Path(recipe.teacher) if recipe.teacher else run.folder / "teacher.safetensors"
    if not recipe.teacher and not path.exists():
        _teach(replace(run, output=path))
        run.fabric.barrier()
    return guide_of(recipe, load(path), str(path), run.data.convention)


def guide_of(recipe: Recipe, weights: Weights, name: str, convention: InputConvention) -> Guide:
    """What a student imitates, of trained weights.

    Args:
        recipe: the student's; its `guide` is not "untrained".
        weights: a teacher's, or with guide = "raw" weights that take RAW.
        name: what messages call them.
        convention: how the student's planes are prepared.

    Raises:
        InputError: where the weights do not fit.
    """
    network, architecture = weights.network, recipe.architecture
    if recipe.guide != "raw":
        if not isinstance(network, LWISP) or network.config != teacher_of(architecture):
            raise InputError(f"{name}: not the teacher of this architecture; drop `teacher` to have one trained")
        return Guide(channels_last(network), "another" if recipe.guide == "another" else "target")
    if not isinstance(network, LWISP) or network.config.takes != "raw" or network.config.cell != 2:
        raise InputError(f'{name}: guide = "raw" takes an LW-ISP for RAW on cells of 2, as photo')
    if architecture.takes != "raw":
        raise InputError('guide = "raw" is for networks that take RAW; choose another guide')
    own = weights.card.convention
    if own == convention and network.config.in_channels == architecture.in_channels:
        return Guide(channels_last(network), "raw")
    if own.color != "canonical":
        raise InputError(f"{name}: its planes are prepared for another camera; name weights for any, as photo")
    return Guide(channels_last(network), "raw", own)


def _teach(run: Run) -> Weights:
    """Train the teacher of a run's recipe."""
    recipe = replace(
        run.recipe,
        name=_teacher_name(run.recipe),
        steps=run.recipe.teacher_steps or run.recipe.steps,
        architecture=teacher_of(run.recipe.architecture),
        beta=0.0,
    )
    with _seeded(recipe.seed):
        network = channels_last(LWISP(teacher_of(run.recipe.architecture)))
    initialize(network, recipe.seed)
    if run.fabric.is_global_zero:
        make_folder(run.folder)
        clear_leftovers(run.folder)
    run.fabric.barrier()
    facts = {"task": "clean targets to themselves (equation 7)", **_facts(recipe)}
    return _learn(replace(run, recipe=recipe), Teacher(network, recipe), facts)


def _start_from(network: LWISP | Baseline, name: str) -> None:
    """Load the tensors of these weights; an LW-ISP for another task lends those that fit, if they are most of them."""
    weights = load(name)
    lender = weights.network
    both_lwisp = False
    if isinstance(lender, LWISP) and isinstance(network, LWISP):
        both_lwisp = True
        if {lender.config.attention, network.config.attention} == {"add", "centered"}:
            center(lender, back=network.config.attention == "add")
    lent, wanted = lender.state_dict(), network.state_dict()
    if network.config.in_channels == lender.config.in_channels + 1:  # a plane that tells the noise, not yet listened to
        for key in ("head.0.weight", "cells.fine.weight"):
            if key in lent:
                lent[key] = torch.cat([lent[key], torch.zeros_like(lent[key][:, :1])], 1)
    if weights.card.architecture != network.config:
        adds = [isinstance(one, LWISP) and one.config.residual for one in (network, lender)]
        if adds == [True, False]:  # what was a picture is added to one now, so it starts at 0
            lent = {key: value for key, value in lent.items() if not key.startswith("out.")}
        lent = {key: value for key, value in lent.items() if key in wanted and wanted[key].shape == value.shape}
        if not both_lwisp or 2 * len(lent) < len(wanted):
            raise InputError(f"start = {name!r}: weights of another architecture; train from scratch or name others")
    network.load_state_dict({**wanted, **lent})


def _learn(run: Run, objective: Objective, facts: dict[str, Any]) -> Weights:
    """Train the objective's network and write it with its card, even if scores or log fail."""
    network, recipe, data = objective.network, run.recipe, run.data
    card = Card(recipe.name, recipe.architecture, data.convention, recipe.licence, data.credits, facts)
    fit(run, objective, lambda: save(run.output, network, card))
    run.fabric.barrier()  # what comes next may start from these weights
    return Weights(network.cpu().eval(), card)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator, from which layers draw their initial weights, and put it back afterwards."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        yield
