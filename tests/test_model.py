from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import lwisp
from lwisp.architecture import Attention, LWISPConfig, Maps
from lwisp.imaging import color
from lwisp.model import CCB, FGAM, LWISP, pad_to_multiple, reflected_indices
from lwisp.training.initialization import center, initialize
from tests.conftest import TOY

CELLS = LWISPConfig(width=4, cell=4, detail=8)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2, 3), (16, 16), (33, 17), (50, 64)])
def test_any_size_works(size: tuple[int, int]) -> None:
    rgb = LWISP(TOY)(torch.rand(2, 4, *size))
    assert rgb.shape == (2, 3, 2 * size[0], 2 * size[1])
    assert rgb.min() >= 0
    assert rgb.max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (2, 3), (64, 96), (33, 17), (65, 70)])
@pytest.mark.parametrize("look", [0, 4])
def test_cells_of_4_work_at_any_size(size: tuple[int, int], look: int) -> None:
    config = replace(CELLS, look=look)
    assert (config.size_multiple, config.size_minimum, config.scale) == (32, 64, 2)
    torch.manual_seed(0)
    network, planes = LWISP(config).eval(), torch.rand(2, 4, *size)
    with torch.inference_mode():
        rgb, padded = network(planes), network(pad_to_multiple(planes, 32, 64))
    assert rgb.shape == (2, 3, 2 * size[0], 2 * size[1])
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    assert torch.equal(rgb, padded[..., : 2 * size[0], : 2 * size[1]])


def test_cells_begin_with_malvars_demosaicing_and_its_smooth_ones() -> None:
    cells = LWISP(CELLS).cells
    assert cells is not None
    planes = torch.rand(1, 4, 40, 48)
    with torch.inference_mode():
        bases = cells.bases(cells(planes).planes)
    sharp, step, further = (functional.pixel_shuffle(values, 4) for values in bases.chunk(3, 1))
    expected = color.apply_matrix(color.CANONICAL_TO_SRGB, color.demosaic(planes))
    inner = (..., slice(8, -8), slice(8, -8))
    smooth, smoother = (
        functional.avg_pool2d(functional.pad(expected, (before, after, before, after)), side, 1)
        for side, before, after in ((2, 0, 1), (5, 2, 2))
    )
    assert float((sharp - expected)[inner].abs().max()) < 1e-5
    assert float((sharp + step - smooth)[inner].abs().max()) < 1e-5
    assert float((sharp + step + further - smoother)[inner].abs().max()) < 1e-5


def test_cells_mix_between_the_demosaicing_and_the_networks_own_picture() -> None:
    cells = LWISP(CELLS).cells
    assert cells is not None
    seen, own = cells(torch.rand(1, 4, 32, 32)).planes, torch.randn(1, 48, 16, 16)

    def mixed(trust: float) -> Tensor:
        shares = torch.cat([own, torch.zeros(1, 96, 16, 16), torch.full((1, 48, 16, 16), trust)], 1)
        out = nn.Conv2d(192, 192, 1)
        out.weight.data.copy_(torch.eye(192)[..., None, None])
        out.bias.data.zero_()  # type: ignore[union-attr]
        return cells.mix(seen, shares, out)

    with torch.inference_mode():
        alone, sharp, half = mixed(50), mixed(-50), mixed(0)
        demosaiced = color.quick_tone(cells.bases(seen)[:, :48].clamp(0, 1))
    assert torch.allclose(alone, torch.sigmoid(4 * own), atol=1e-6)
    assert torch.allclose(sharp, demosaiced, atol=1e-6)
    assert torch.allclose(half, (alone + sharp) / 2, atol=1e-6)


def test_a_window_of_cells_reflects_as_the_whole_frame_at_its_border() -> None:
    cells = LWISP(CELLS).cells
    assert cells is not None
    planes = torch.rand(1, 4, 32, 48)
    seen = cells(planes)
    assert seen.planes.shape == seen.encoded.shape == (1, 16, 18, 26)
    expected = functional.pixel_unshuffle(functional.pad(planes, (2, 2, 2, 2), mode="reflect"), 2)
    assert torch.equal(seen.planes, expected)


def test_the_quick_tone_curve_is_near_the_tone_curve() -> None:
    linear = torch.linspace(0, 1, 10_001)
    assert float((color.quick_tone(linear) - color.tone(linear)).abs().max()) < 0.003


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
        {"cell": 4, "detail": 8},
        {"attention": "product"},
        {"fgam_maps": "channel"},
        {"fgam_maps": "spatial"},
        {"fgam_reduced": True},
        {"fgam_before": True},
        {"near_dilation": 2, "far_dilation": 4},
        {"near_dilation": 7, "far_dilation": 7},
        {"cell": 4, "detail": 8, "fgam_before": True, "far_dilation": 7},
        {"frame_colors": 8},
        {"frame_colors": 8, "fgam": False, "ccb": False},
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
    ("attention", "expected"),
    [
        ("add", lambda x: x + 0.5),
        ("centered", lambda x: x),
        ("multiply", lambda x: 1.5 * x),
        ("product", lambda x: 0.5 * x),
    ],
)
def test_fgam_adds_its_maps_to_the_input_and_concatenates(
    attention: Attention, expected: Callable[[Tensor], Tensor]
) -> None:
    fgam = FGAM(8, attention)
    for parameter in fgam.parameters():
        torch.nn.init.zeros_(parameter)  # both maps are sigmoid(0) = 0.5
    x = torch.rand(1, 8, 4, 4)
    assert torch.equal(fgam(x), torch.cat([expected(x)] * 2, 1))


@pytest.mark.parametrize("maps", ["channel", "spatial"])
def test_one_attention_alone_doubles_nothing(maps: Maps) -> None:
    torch.manual_seed(0)
    both, alone = FGAM(8), FGAM(8, maps=maps)
    alone.load_state_dict({name: both.state_dict()[name] for name in alone.state_dict()})
    x = torch.rand(1, 8, 6, 6)
    assert torch.equal(alone(x), both(x).chunk(2, 1)[maps == "spatial"])


def test_a_reduced_fgam_mixes_both_sums_to_as_many_channels_as_came() -> None:
    torch.manual_seed(0)
    fgam = FGAM(8, reduced=True)
    assert fgam.reduce is not None
    plain = FGAM(8)
    plain.load_state_dict(fgam.state_dict(), strict=False)
    x = torch.rand(2, 8, 6, 6)
    assert torch.allclose(fgam(x), fgam.reduce(plain(x)))
    assert fgam(x).shape == x.shape


def test_before_pooling_fgam_sees_features_of_twice_the_size() -> None:
    torch.manual_seed(0)
    network = LWISP(replace(TOY, fgam_before=True)).eval()
    planes = torch.rand(1, 4, 32, 48)
    skip = network.encode(0, network.head(planes))
    attention = network.down[0].get_submodule("1")
    expected = functional.max_pool2d(attention(skip), 2)
    assert torch.equal(network.blocks(planes, ("down1",))["down1"], expected)
    assert not torch.equal(attention(functional.max_pool2d(skip, 2)), expected)


def test_dilations_decide_how_far_ccb_looks() -> None:
    context = torch.zeros(1, 4, 17, 17, requires_grad=True)
    for near, far, reach in ((0, 2, 2), (0, 5, 5), (3, 1, 3)):
        block = CCB(8, near_dilation=near, far_dilation=far)
        for layer in (block.near, block.far):
            nn.init.ones_(layer.get_submodule("0").weight)  # type: ignore[arg-type]
        (block.near(context) - 2 * block.far(context))[0, 0, 8, 8].backward()
        assert context.grad is not None
        rows = context.grad.abs().sum((0, 1, 3)).nonzero().flatten().tolist()
        assert (rows[0], rows[-1]) == (8 - reach, 8 + reach)
        context.grad = None


def test_the_blocks_stand_in_any_network_without_a_config() -> None:
    features = torch.rand(2, 6, 8, 10)
    assert lwisp.FGAM(6)(features).shape == (2, 12, 8, 10)
    assert lwisp.CCB(6)(features, features, torch.rand(2, 3, 16, 20)).shape == (2, 6, 16, 20)
    own = {name: tuple(value.shape) for name, value in lwisp.CCB(8).state_dict().items()}
    assert own == {name: tuple(value.shape) for name, value in LWISP(TOY).up[2].state_dict().items()}


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: CCB(7), "CCB: expected an even number of channels from 2 up, got 7"),
        (lambda: CCB(0), "CCB: expected an even number of channels from 2 up, got 0"),
        (lambda: CCB(8, "all"), r"CCB: expected core_input to be one of \(.*\), got 'all'"),  # type: ignore[arg-type]
        (lambda: CCB(8, far_dilation=0), "CCB: expected near_dilation of 0 and far_dilation of 1 at least, got 0, 0"),
        (lambda: FGAM(0), "FGAM: expected channels and reduction of 1 at least, got 0, 8"),
        (lambda: FGAM(8, "times"), r"FGAM: expected attention to be one of \(.*\), got 'times'"),  # type: ignore[arg-type]
        (lambda: FGAM(8, maps="none"), r"FGAM: expected maps to be one of \(.*\), got 'none'"),  # type: ignore[arg-type]
    ],
)
def test_blocks_that_cannot_be_made_say_so(make: Callable[[], nn.Module], sentence: str) -> None:
    with pytest.raises(lwisp.InputError, match=f"^{sentence}$"):
        make()


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


@pytest.mark.parametrize(
    "change", [{"fgam_maps": "channel"}, {"fgam_maps": "spatial"}, {"fgam_reduced": True}, {"fgam_before": True}]
)
def test_a_studied_centered_network_is_the_same_function_too(change: dict[str, object]) -> None:
    torch.manual_seed(1)
    config = replace(TOY, attention="add", **change)  # type: ignore[arg-type]
    added, centered = LWISP(config), LWISP(replace(config, attention="centered"))
    planes = torch.rand(1, 4, 40, 33)
    expected = added(planes)
    center(added)
    centered.load_state_dict(added.state_dict())
    torch.testing.assert_close(centered(planes), expected, atol=1e-6, rtol=0)


def test_colors_of_a_frame_begin_as_none_and_are_a_matrix_and_curves() -> None:
    plain, colored = LWISP(TOY).eval(), LWISP(replace(TOY, frame_colors=8)).eval()
    initialize(plain, 3)
    initialize(colored, 3)
    planes = torch.rand(2, 4, 32, 48)
    expected = plain(planes)
    assert torch.equal(colored(planes), expected)
    block = colored.frame_colors
    assert block is not None
    with torch.no_grad():  # red gets half of green; blue's curve gets 0.4 x (1 - x) x**2
        block.last.bias[3] = 0.5
        block.last.bias[12 + 2 * 3 + 2] = 0.4
    blue = expected[:, 2]
    wanted = torch.stack(
        [expected[:, 0] + 0.5 * expected[:, 1], expected[:, 1], blue + 0.4 * blue**3 * (1 - blue)], 1
    ).clamp(0, 1)
    assert torch.allclose(colored(planes), wanted, atol=1e-6)
    assert not torch.allclose(colored(planes), expected, atol=1e-3)


def test_colors_of_a_frame_are_those_of_its_own_vector() -> None:
    network = LWISP(replace(TOY, frame_colors=8)).eval()
    nn.init.normal_(network.frame_colors.last.weight)  # type: ignore[union-attr]
    two = torch.rand(2, 4, 32, 32) * torch.tensor([0.2, 1.0])[:, None, None, None]
    assert torch.allclose(network(two), torch.cat([network(two[:1]), network(two[1:])]), atol=1e-5)


def test_ccb_concatenates_the_contrast_map() -> None:
    block = CCB(8)
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
    "wrong",
    [
        {"width": 6},
        {"width": 0},
        {"in_channels": 0},
        {"attention": "sum"},
        {"padding": "wrap"},
        {"cell": 3, "detail": 8},
        {"cell": 4},
        {"cell": 4, "detail": -1},
        {"detail": 8},
        {"cell": 4, "detail": 8, "out_channels": 4},
        {"cell": 4, "detail": 8, "upsample": False},
        {"cell": 4, "detail": 8, "in_channels": 3},
        {"cell": 4, "detail": 8, "in_channels": 3, "upsample": False, "residual": True},
        {"fgam_maps": "none"},
        {"fgam_maps": "channel", "fgam_reduced": True},
        {"fgam": False, "fgam_before": True},
        {"ccb": False, "far_dilation": 1},
        {"near_dilation": 8},
        {"near_dilation": -1},
        {"far_dilation": 0},
        {"frame_colors": -1},
        {"frame_colors": 257},
        {"frame_colors": 8, "look": 4},
        {"frame_colors": 8, "cell": 4, "detail": 8},
        {"frame_colors": 8, "out_channels": 4},
        {"frame_colors": 8, "in_channels": 3, "upsample": False, "residual": True},
    ],
    ids=str,
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
