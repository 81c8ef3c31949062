"""Weights for those who work with torch alone: bare state dicts in and out, and weights of networks trained elsewhere.

save_weights(Path("mine.safetensors"), network, Card("mine", network.config, convention, "MIT"))
lwisp.develop(lwisp.load("mine.safetensors"), raw)
"""

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from safetensors import SafetensorError, safe_open

from lwisp.engines.runners import Network
from lwisp.errors import DamagedError, InputError, check_type, one_line
from lwisp.files.optional import is_there
from lwisp.files.writing import is_regular, make_folder, write_whole
from lwisp.weights import Card, save

if TYPE_CHECKING:
    from torch import Tensor, nn

PICKLED = (".pth", ".pt", ".ckpt", ".bin")
"""Suffixes of what `torch.save` writes."""
INSIDE = ("average", "state_dict", "params_ema", "params", "model_state_dict", "model", "network")
"""Keys under which training codes, lwisp's first, put the tensors; averaged ones come before others."""
WRAPPED = ("module.", "_orig_mod.")
"""Prefixes that DistributedDataParallel and torch.compile put before names."""
DAMAGED = (
    OSError, RuntimeError, ValueError, ArithmeticError, EOFError, LookupError, TypeError, AttributeError,
    struct.error, pickle.UnpicklingError,
)  # fmt: skip
"""What torch raises for damaged files."""


def save_weights(path: Path, network: "Network | nn.Module", card: Card) -> None:
    """Write a network with its card, so that every verb takes the file.

    Args:
        path: the safetensors file; a file of this name is replaced.
        network: LW-ISP or a baseline as `lwisp.baselines.build.build` gives it, or any `torch.nn.Module` whose tensors
            are those of the card's architecture; for a network of your own that is what `import_own` gave.
        card: its name, architecture, input convention and licence, and what else is to be known of it.

    Raises:
        InputError: the tensors are not those of the card's architecture, or are not finite.
        OutputError: the file cannot be written.
    """
    check_type("the path of weights", path, Path)
    check_type("a card, lwisp.weights.Card", card, Card)
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: expected a name that ends in .safetensors")
    from torch import nn

    if not isinstance(network, nn.Module):
        raise InputError(f"expected a network, a torch.nn.Module, got {type(network).__name__}")
    save(path, build_from(network.state_dict(), card), card)


def build_from(tensors: Mapping[str, "Tensor"], card: Card) -> Any:
    """The network of a card's architecture with these tensors.

    Args:
        tensors: a state dict.
        card: with the architecture.

    Returns:
        An `LWISP` or a `Baseline`, in evaluation mode.

    Raises:
        InputError: the tensors are not those of the architecture, or are not finite.
    """
    from lwisp.baselines.build import Baseline, build
    from lwisp.baselines.config import OwnConfig

    network = build(card.architecture)
    given: dict[str, Tensor] = dict(tensors)
    wanted = network.state_dict()
    if isinstance(network, Baseline) and not set(given) <= set(wanted):  # the names of the class itself
        given = {f"network.{name}": value for name, value in given.items()}
    wrong = [name for name in wanted if name in given and given[name].shape != wanted[name].shape]
    needed = {name for name, value in wanted.items() if value.is_floating_point()}
    strange = sorted({*needed.difference(given), *set(given).difference(wanted), *wrong})
    if strange:
        of = card.architecture.module if isinstance(card.architecture, OwnConfig) else "the card's architecture"
        raise InputError(
            f"expected the tensors of {of}; {len(strange)} are missing, too many or of another shape, as {strange[0]}"
        )
    if not all(bool(given[name].isfinite().all()) for name in needed):
        raise InputError("expected tensors of finite numbers")
    network.load_state_dict({**wanted, **given})
    return network.eval()


def bare_tensors(network: "nn.Module") -> dict[str, "Tensor"]:
    """The state dict of a network by the names of its own class.

    Args:
        network: an `LWISP`, or a `Baseline`, whose class is within it.
    """
    from lwisp.baselines.build import Baseline

    return dict((network.network if isinstance(network, Baseline) else network).state_dict())


def read_state_dict(path: Path) -> dict[str, "Tensor"]:
    """The tensors of a file by name: safetensors, with a card or without, or what `torch.save` wrote.

    Nothing is unpickled but tensors. Where a file holds more, the tensors are looked for under the usual names; what
    DistributedDataParallel and torch.compile put before names is taken away.

    Args:
        path: the file.

    Raises:
        InputError: it cannot be read, or holds no state dict.
    """
    if not is_regular(path):
        raise InputError(f"{path}: there is no such file")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no __iter__)
        except (SafetensorError, OSError, ValueError) as error:
            raise DamagedError(f"{path}: expected tensors in a safetensors file: {one_line(error)}") from error
        return found
    if path.suffix not in PICKLED:
        raise InputError(f"{path}: expected .safetensors or one of {', '.join(PICKLED)}")
    import torch

    try:
        content: Any = torch.load(path, weights_only=True, map_location="cpu")
    except DAMAGED as error:
        raise DamagedError(f"{path}: expected what torch.save makes of tensors alone: {one_line(error)}") from error
    while isinstance(content, Mapping) and not _is_state_dict(content):
        key = next((key for key in INSIDE if isinstance(content.get(key), Mapping)), None)
        if key is None:
            break
        content = content[key]
    if not _is_state_dict(content):
        raise InputError(f"{path}: expected a state dict, tensors by name, got {type(content).__name__}")
    for prefix in WRAPPED:
        if all(name.startswith(prefix) for name in content):
            content = {name.removeprefix(prefix): value for name, value in content.items()}
    return dict(content)


def write_state_dict(path: Path, tensors: Mapping[str, "Tensor"]) -> None:
    """Write tensors without a card, for other programs.

    Args:
        path: safetensors, or .pth and its like for `torch.save`; a file of this name is replaced.
        tensors: by name.

    Raises:
        InputError: the suffix is another one.
        OutputError: the file cannot be written.
    """
    if path.suffix not in (".safetensors", *PICKLED):
        raise InputError(f"{path}: expected .safetensors or one of {', '.join(PICKLED)}")
    make_folder(path.parent)
    kept = {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}
    if path.suffix == ".safetensors":
        from safetensors.torch import save as to_bytes

        content = to_bytes(kept)
        write_whole(path, lambda file: file.write(content))
        return
    write_pickled(path, kept)


def write_pickled(path: Path, content: Mapping[str, Any]) -> None:
    """Write what `torch.save` makes of tensors and plain values, atomically.

    Args:
        path: the file; one of this name is replaced.
        content: by name.

    Raises:
        OutputError: the file cannot be written.
    """
    import torch

    def write(file: BinaryIO) -> None:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch's writer hides the system's error: the disk is full
            raise error.__context__ if isinstance(error.__context__, OSError) else error from None

    write_whole(path, write)


def _is_state_dict(content: object) -> bool:
    if not isinstance(content, Mapping) or not content or not is_there("torch"):
        return False
    import torch

    return all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in content.items())
