"""The quick part of fuzzing: a few mutated inputs of every reader, and all inputs that broke a promise once."""

import random

import pytest

from fuzz.mutators import join, mutate, split
from fuzz.quick import CRASHERS, replay, run_quickly
from fuzz.targets import TARGETS


@pytest.mark.parametrize("name", [name for name in TARGETS if name != "xtrans"])  # which LibRaw takes a second for
def test_mutated_inputs_are_read_or_refused(name: str) -> None:
    assert list(run_quickly(name)) == []


@pytest.mark.parametrize("name", sorted(path.name for path in CRASHERS.iterdir()))
def test_what_broke_a_promise_once_does_so_no_more(name: str) -> None:
    assert list(replay(name)) == []


@pytest.mark.parametrize("name", TARGETS)
def test_mutations_change_inputs_and_follow_from_their_seed(name: str) -> None:
    data = next(TARGETS[name].seeds())
    made = [mutate(data, random.Random(seed)) for seed in range(20)]
    assert made == [mutate(data, random.Random(seed)) for seed in range(20)]
    assert len(set(made) - {data}) > 10


def test_files_in_one_input_are_told_apart_whatever_becomes_of_it() -> None:
    data = join([b"one", b"", b"three"])
    assert split(data, 3) == [b"one", b"", b"three"]
    assert split(data[:-2], 4) == [b"one", b"", b"thr", b""]
    assert split(b"", 2) == [b"", b""]
