"""Networks that are not of this package: found as `module:Class`, checked, and built.

A file of weights names such a class. It is never imported because a file says so, only taken from what is imported
already, for importing runs code.
"""

import sys
from importlib import import_module

import torch
from torch import nn

from lwisp.baselines.config import OWN_TAKES, OwnConfig
from lwisp.errors import InputError, one_line

PROBE = 32
"""Height and width of the input that a network is tried on, at least."""


def import_own(name: str) -> OwnConfig:
    """Import a network and check that it can be trained and run here.

    The class is a `torch.nn.Module` that is built without arguments. It says what it maps by an attribute `takes`:
    "raw", planes (B, 4, h, w) to RGB (B, 3, 2h, 2w); "rgb", RGB to RGB of the same size; "planes", planes to clean
    planes of the same size; all in [0, 1]. `size_multiple` and `size_minimum` may say what sizes it needs.

    Args:
        name: "module:Class"; the module is imported.

    Returns:
        Its architecture, as recipes and cards have it.

    Raises:
        InputError: It cannot be imported or built, lacks `takes`, or gives something else than it says.
    """
    try:
        OwnConfig(name, "raw")  # the name alone
    except ValueError as error:
        raise InputError(f"--network: {error}") from error
    place = name.partition(":")[0]
    try:
        import_module(place)
    except Exception as error:  # whatever a stranger's module raises
        raise InputError(f"{name}: {place} cannot be imported: {one_line(error)}") from error
    found = _class_of(name)
    takes = getattr(found, "takes", None)
    if takes not in OWN_TAKES:
        known = '"raw", "rgb" or "planes"'
        said = "it has none" if takes is None else f"got {takes!r}"
        raise InputError(f"{name}: expected an attribute takes, {known}, that says what it maps; {said}")
    try:
        config = OwnConfig(name, takes, getattr(found, "size_multiple", 1), getattr(found, "size_minimum", 1))
    except (ValueError, TypeError) as error:
        raise InputError(f"{name}: {error}") from error
    _try(config)
    return config


def build_own(config: OwnConfig) -> nn.Module:
    """The network of an architecture, with the weights that its class draws.

    Args:
        config: Of a class whose module is imported already.

    Raises:
        InputError: It is not, or the class cannot be built without arguments.
    """
    try:
        return _class_of(config.module)()
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{config.module}: cannot be built without arguments: {one_line(error)}") from error


def _class_of(name: str) -> type[nn.Module]:
    place, _, short = name.partition(":")
    if place not in sys.modules:
        raise InputError(f"{name}: a network that is not of lwisp; name it with --network, or import {place} before")
    found = getattr(sys.modules[place], short, None)
    if not (isinstance(found, type) and issubclass(found, nn.Module)):
        raise InputError(f"{name}: expected a class of torch.nn.Module, got {type(found).__name__}")
    return found


def _try(config: OwnConfig) -> None:
    """Run the network once on a small input: shape, and something to learn."""
    with torch.random.fork_rng(devices=[]):
        network = build_own(config)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise InputError(f"{config.module}: has no parameters to learn")
    side = -(-max(PROBE, config.size_minimum) // config.size_multiple) * config.size_multiple
    try:
        with torch.no_grad():
            given = network.eval()(torch.rand(1, config.in_channels, side, side))
    except Exception as error:
        shape = f"(1, {config.in_channels}, {side}, {side})"
        raise InputError(f"{config.module}: fails on an input of {shape}: {one_line(error)}") from error
    expected = (1, config.out_channels, side * config.scale, side * config.scale)
    found = tuple(given.shape) if isinstance(given, torch.Tensor) else type(given).__name__
    if found != expected:
        said = f'expected an output of {expected} with takes = "{config.takes}", got {found}'
        raise InputError(f"{config.module}: {said}")
