"""Laws of what is saved: a run that stops after any step goes on as if it had not, weights come back as they were."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lwisp.model import LWISP
from lwisp.training.recipe import Recipe
from lwisp.training.runs import train
from lwisp.training.state import State
from lwisp.weights import Card, InputConvention, load, save
from tests.conftest import TOY
from tests.test_invariants import law
from tests.training.test_loop import interrupt_after

OPTIMIZERS: dict[str, Any] = {
    "adamw": lambda parameters: torch.optim.AdamW(parameters, 0.05, weight_decay=0.1),
    "momentum": lambda parameters: torch.optim.SGD(parameters, 0.05, 0.9, nesterov=True),
}


def begin(recipe: Recipe, optimizer: str, has_critic: bool) -> State:
    """A run of one layer, from numbers of its own, so that what is not loaded would be seen."""
    network = nn.Linear(3, 2)
    critic = nn.Linear(2, 1) if has_critic else None
    learned = [*network.parameters(), *(critic.parameters() if critic else ())]
    average = {name: torch.rand_like(value) for name, value in network.state_dict().items()}
    return State(recipe, ("a",), network, average, OPTIMIZERS[optimizer](learned), critic, {"count": torch.rand(2)})


def work(state: State, steps: range) -> None:
    """Steps whose data depend on their number alone."""
    for step in steps:
        data = torch.rand(4, 3, generator=torch.Generator().manual_seed(step))
        made: Tensor = state.network(data)
        loss = made.square().mean() + (state.critic(made).abs().mean() if state.critic else 0)
        state.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        state.optimizer.step()
        for name, value in state.network.state_dict().items():
            state.average[name].lerp_(value, 0.1)
        state.memory["count"].add_(made.detach().mean())


def tensors(state: State) -> list[Tensor]:
    critic = state.critic.state_dict().values() if state.critic else ()
    return [*state.network.state_dict().values(), *state.average.values(), *state.memory.values(), *critic]


@law
@given(st.integers(1, 6), st.integers(0, 6), st.sampled_from(sorted(OPTIMIZERS)), st.booleans(), st.integers(0, 2**31))
def test_a_run_that_is_saved_after_any_step_goes_on_bit_for_bit(
    stop: int, more: int, optimizer: str, has_critic: bool, seed: int
) -> None:
    recipe = Recipe(name="toy", licence="MIT", root=Path("data"), steps=12)
    with TemporaryDirectory() as place, torch.random.fork_rng():
        torch.manual_seed(seed)
        path = Path(place, "state")
        whole = begin(recipe, optimizer, has_critic)
        work(whole, range(stop))
        whole.save(path, stop, {"step": stop, "loss": 0.5})
        content = path.read_bytes()
        resumed = begin(recipe, optimizer, has_critic)
        assert resumed.resume(path) == (stop, {"step": stop, "loss": 0.5})
        for state in (whole, resumed):
            work(state, range(stop, stop + more))
        assert all(torch.equal(*pair) for pair in zip(tensors(whole), tensors(resumed), strict=True))
        assert path.read_bytes() == content


@pytest.mark.slow
@settings(law, max_examples=5, suppress_health_check=list(HealthCheck))
@given(st.integers(1, 5), st.integers(1, 6), st.booleans())
def test_training_that_stops_anywhere_writes_the_weights_of_one_that_does_not(
    recipe: Recipe, stop: int, every: int, augment: bool
) -> None:
    short = replace(recipe, steps=6, checkpoint_every=every, validate_every=6, augment=augment)
    with TemporaryDirectory() as place:
        whole, halves = Path(place, "whole.safetensors"), Path(place, "halves.safetensors")
        train(short, whole)
        with pytest.MonkeyPatch.context() as patch:
            interrupt_after(stop, patch)
            with pytest.raises(KeyboardInterrupt):
                train(short, halves)
        train(short, halves)
        assert whole.read_bytes() == halves.read_bytes()


@settings(law, max_examples=8)
@given(
    st.sampled_from([np.float16, np.float32]),
    st.sampled_from(["multiply", "centered", "product"]),
    st.sampled_from(["zeros", "reflect"]),
    st.integers(0, 2**31),
)
def test_weights_come_back_as_they_were_and_are_one_file(dtype: Any, attention: Any, padding: Any, seed: int) -> None:
    config = replace(TOY, attention=attention, padding=padding)
    with TemporaryDirectory() as place, torch.random.fork_rng():
        torch.manual_seed(seed)
        network, card = LWISP(config), Card("toy", config, InputConvention(), "MIT")
        first, second = Path(place, "a.safetensors"), Path(place, "b.safetensors")
        save(first, network, card, dtype)
        loaded = load(first)
        assert loaded.card.architecture == config
        again = loaded.network.state_dict()
        for name, value in network.state_dict().items():
            assert np.array_equal(again[name].numpy(), value.numpy().astype(dtype).astype(np.float32))
        save(second, loaded.network, loaded.card, dtype)
        assert first.read_bytes() == second.read_bytes()
