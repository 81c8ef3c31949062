from dataclasses import replace

import pytest
import torch

from lwisp.training.devices import precision_of
from lwisp.training.recipe import Recipe


@pytest.mark.parametrize("emulated", [True, False])
def test_bf16_is_chosen_only_where_a_gpu_has_it(emulated: bool, recipe: Recipe) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(
            torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or not emulated
        )
        plan = replace(recipe, precision="auto")
        assert precision_of(plan, "cuda") == ("fp32" if emulated else "bf16")
        assert precision_of(replace(recipe, precision="bf16"), "cuda") == "bf16"
