from dataclasses import replace
from pathlib import Path

import pytest

from lwisp.training import studies
from lwisp.training.recipe import Recipe
from lwisp.training.workers import MOST, choose_workers

GB = 2**30


@pytest.mark.parametrize(
    ("is_gpu", "processes", "kept", "cores", "free", "expected"),
    [
        (False, 1, 0, 64, 500 * GB, 0),  # the processor computes
        (True, 1, 0, 4, 64 * GB, 3),
        (True, 1, 0, 64, 500 * GB, MOST),
        (True, 4, 0, 16, 500 * GB, 3),  # the cores are shared
        (True, 1, GB, 64, 12 * GB, 3),  # half of the memory, at 2 GB each
        (True, 1, 0, 1, 64 * GB, 0),
        (True, 8, 0, 4, 64 * GB, 0),
    ],
)
def test_workers_are_as_many_as_cores_and_memory_allow(
    is_gpu: bool, processes: int, kept: int, cores: int, free: int, expected: int
) -> None:
    assert choose_workers(is_gpu, processes, kept, cores, free) == expected


def test_the_machine_is_asked_where_nothing_is_given() -> None:
    assert 0 <= choose_workers(True, 1, 0) <= MOST


def test_workers_of_a_recipe_leave_the_names_of_older_runs_as_they_are() -> None:
    recipe = Recipe("toy", "MIT", root=Path())
    assert recipe.workers is None
    assert studies._key(recipe, 0) == studies._key(replace(recipe, workers=0), 0)
    assert studies._key(recipe, 0) != studies._key(replace(recipe, workers=8), 0)
    with pytest.raises(ValueError, match="workers of 0 at least"):
        replace(recipe, workers=-1)
