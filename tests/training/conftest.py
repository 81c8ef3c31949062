import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lwisp.training.recipe import Recipe
from tests.conftest import TOY


@pytest.fixture
def recipe(photos: Path, tmp_path: Path) -> Recipe:
    root = tmp_path / "root"
    for split in ("train", "val"):
        shutil.copytree(photos, root / split)
    return Recipe(
        name="toy",
        licence="MIT",
        root=root,
        steps=12,
        batch=2,
        crop=32,
        alpha=0,
        warmup=2,
        learning_rate=3e-3,
        checkpoint_every=4,
        validate_every=6,
        precision="fp32",
        architecture=TOY,
    )


@pytest.fixture
def distilled(recipe: Recipe) -> Recipe:
    return replace(recipe, beta=0.01, gamma=0.2, alpha=0.4, scales=1, distill=("up3", "up4"), teacher_steps=8)
