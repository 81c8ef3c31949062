from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from lwisp.architecture import Attention, LWISPConfig
from lwisp.model import CCB, FGAM, LWISP, pad_to_multiple, reflected_indices
from lwisp.training.initialization import center, initialize
from tests.conftest import TOY


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2, 3), (16, 16), (33, 17), (50, 64)])
def test_any_size_works(size: tuple[int, int]) -> None:
    rgb = LWISP(TOY)(torch.rand(2, 4, *size))
    assert rgb.shape == (2, 3, 2 * size[0], 2 * size[1])
    assert rgb.min() >= 0
    assert rgb.max() <= 1


@pytest.mark.parametrize("size", [(32, 48), (33, 40), (20, 31)])
def test_padding_is_numpys_reflection(size: tuple[int, int]) -> None:
    x = torch.rand(4, *size)
    padded = pad_to_multiple(x)
    assert all(side % 16 == 0 and side >= 32 for side in padded.shape[-2:])
    after = [(0, new - old) for new, old in zip(padded.shape, x.shape, strict=True)]
    assert np.array_equal(padded.numpy(), np.pad(x.numpy(), after, mode="reflect"))


@pytest.mark.parametrize(("start", "stop", "size"), [(0, 9, 4), (-5, 3, 4), (-9, 20, 2), (-2, 3, 1)])
def test_reflected_indices_are_numpys(start: int, stop: int, size: int) -> None:
    before, after = max(-start, 0), max(stop - size, 0)
    expected = np.pad(np.arange(size), (before, after), mode="reflect" if size > 1 else "edge")[start + before :]
    assert reflected_indices(start, stop, size).tolist() == expected[: stop - start].tolist()


@pytest.mark.parametrize(
    "change",
    [
        {"fgam": False},
        {"ccb": False},
        {"upsample": False},
        {"ccb": False, "upsample": False},
        {"attention": "multiply"},
        {"attention": "centered"},
        {"core_input": "twice"},
        {"core_input": "decoder"},
        {"contrast": "gated"},
        {"padding": "zeros"},
        {"in_channels": 3},
    ],
)
def test_every_variant_runs_and_learns(change: dict[str, object]) -> None:
    config = replace(TOY, **change)  # type: ignore[arg-type]
    network = LWISP(config)
    rgb = network(torch.rand(1, config.in_channels, 32, 32))
    assert rgb.shape == (1, 3, 32 * config.scale, 32 * config.scale)
    rgb.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


@pytest.mark.parametrize(
    ("attention", "expected"), [("add", lambda x: x + 0.5), ("centered", lambda x: x), ("multiply", lambda x: 1.5 * x)]
)
def test_fgam_adds_its_maps_to_the_input_and_concatenates(
    attention: Attention, expected: Callable[[Tensor], Tensor]
) -> None:
    fgam = FGAM(8, attention)
    for parameter in fgam.parameters():
        torch.nn.init.zeros_(parameter)  # both maps are sigmoid(0) = 0.5
    x = torch.rand(1, 8, 4, 4)
    assert torch.equal(fgam(x), torch.cat([expected(x)] * 2, 1))


def test_a_centered_network_is_the_same_function() -> None:
    torch.manual_seed(1)
    added = LWISP(LWISPConfig(width=8))
    centered = LWISP(LWISPConfig(width=8, attention="centered"))
    planes, backbone = torch.rand(1, 4, 40, 33), LWISP(LWISPConfig(width=8, fgam=False))
    expected, untouched = added(planes), backbone(planes)
    center(added)
    centered.load_state_dict(added.state_dict())
    center(backbone)
    torch.testing.assert_close(centered(planes), expected, atol=1e-6, rtol=0)
    assert (added(planes) - expected).abs().max() > 1e-4
    torch.testing.assert_close(backbone(planes), untouched)


def test_ccb_concatenates_the_contrast_map() -> None:
    block = CCB(8, LWISPConfig(width=4))
    context = torch.rand(1, 4, 8, 8)
    near, far = block.near(context), block.far(context)
    core = block.core(torch.ones(1, 8, 4, 4) + 2)
    expected = torch.cat([core, torch.sigmoid(near - far)], 1)
    assert torch.equal(block(torch.ones(1, 8, 4, 4), torch.full((1, 8, 4, 4), 2.0), context), expected)


def test_the_global_vector_sees_the_whole_frame() -> None:
    torch.manual_seed(0)
    network = LWISP(TOY).eval()
    initialize(network)  # with torch's own weights what is far away fades
    x = torch.rand(1, 4, 96, 96)
    changed = x.clone()
    changed[..., -16:, -16:] += 1
    assert not torch.equal(network(x)[..., :8, :8], network(changed)[..., :8, :8])


def test_a_network_in_bf16_may_keep_its_output_layer_in_fp32() -> None:
    network = LWISP(TOY).eval().bfloat16()
    network.out.float()
    assert network(torch.rand(1, 4, 32, 32).bfloat16()).dtype == torch.float32


@pytest.mark.parametrize(
    "wrong", [{"width": 6}, {"width": 0}, {"in_channels": 0}, {"attention": "sum"}, {"padding": "wrap"}]
)
def test_impossible_configs_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        LWISPConfig(**wrong)  # type: ignore[arg-type]


def test_what_variants_have_in_common_begins_alike() -> None:
    """So that a comparison shows what a block does rather than what was drawn."""
    plain, other = LWISP(LWISPConfig(width=8, fgam=False)), LWISP(LWISPConfig(width=8, fgam=False, ccb=False))
    full = LWISP(LWISPConfig(width=8, attention="centered"))
    for network in (plain, other, full):
        initialize(network, 3)
    own = plain.state_dict()
    for name, value in other.state_dict().items():
        if name in own and "up" not in name:
            assert torch.equal(value, own[name]), name
    doubled = 0
    for name, value in full.state_dict().items():
        if name in own and value.shape != own[name].shape:
            assert torch.equal(value, torch.cat([own[name] / 2] * 2, 1))
            doubled += 1
    assert doubled == 4
    first = own["head.0.weight"].clone()
    initialize(plain, 4)
    assert not torch.equal(plain.state_dict()["head.0.weight"], first)


def test_signals_and_gradients_neither_fade_nor_grow_at_the_start() -> None:
    torch.manual_seed(0)
    network = LWISP()
    initialize(network)
    blocks = network.blocks(torch.rand(2, 4, 64, 64), ("down4", "up1", "up3"))
    assert all(0.1 < float(block.detach().std()) < 10 for block in blocks.values())
    network(torch.rand(2, 4, 64, 64)).square().mean().backward()
    norms = {name: float(value.grad.norm()) for name, value in network.named_parameters() if value.grad is not None}
    assert norms["bottom.0.weight"] / norms["out.weight"] > 1e-3  # 1e-7 with torch's own weights
