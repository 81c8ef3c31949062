"""The networks of Tables 1 to 3: exact counts, one contract, and that they can learn."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lwisp.architecture import LWISPConfig
from lwisp.baselines.build import Baseline
from lwisp.baselines.challenge import HERN, AttentiveKernels, PyNETCA
from lwisp.baselines.config import NETWORKS, BaselineConfig, Name
from lwisp.baselines.denoisers import TNRD, Blur, CBDNet, DiffusionStage, SelectiveFusion
from lwisp.baselines.isps import AWNet, CameraNet, PyNET, inverse_wavelet, wavelet
from lwisp.baselines.restoration import DPED, SRCNN, DnCNN, LayerNorm2d, NAFNet, SRResNet
from lwisp.baselines.translation import PatchGAN, Pix2Pix, UNet
from lwisp.engines.cost import count_macs, count_multiply_adds
from lwisp.model import CCB, FGAM, count_params
from tests.conftest import ROOT, SAMPLE

COUNTS: dict[Name, tuple[int, int, int]] = {  # parameters, operations and multiply-adds at packed 224x224
    "srcnn": (74_435, 15_147_331_584, 14_919_532_544),
    "srgan": (1_406_933, 72_934_830_080, 72_600_256_512),
    "dped": (453_324, 22_694_604_800, 22_658_678_784),
    "dncnn": (564_096, 28_304_080_896, 28_207_742_976),
    "unet": (31_033_036, 41_905_991_680, 36_942_381_056),
    "pix2pix": (54_433_420, 19_367_897_088, 6_366_953_472),
    "spade": (92_089_539, 419_152_491_520, 418_488_111_104),
    "nafnet": (29_162_604, 12_570_920_192, 12_429_905_920),
    "pynet": (47_554_738, 342_697_764_668, 342_215_272_448),
    "awnet": (47_522_804, 66_237_173_812, 66_084_421_632),
    "cameranet": (26_527_640, 29_519_280_128, 26_990_608_384),
    "pynet-ca": (51_303_515, 358_580_908_700, 358_136_932_352),
    "hern": (56_126_776, 466_837_303_296, 462_807_367_680),
    "tnrd": (26_705, 2_363_289_600, 4_727_981_328),
    "ridnet": (1_505_116, 75_417_139_728, 75_272_030_208),
    "cbdnet": (4_367_696, 30_995_922_944, 28_490_334_208),
    "vdn": (7_704_780, 32_268_185_600, 28_516_024_320),
    "mirnet": (31_793_196, 602_869_767_936, 367_747_431_936),
    "unet-fgam": (37_388_236, 45_607_795_168, 40_642_677_224),
    "unet-ccb": (56_801_676, 58_377_768_960, 58_316_554_240),
    "nafnet-fgam": (28_836_464, 12_366_255_076, 12_225_239_784),
    "nafnet-ccb": (35_781_004, 18_346_579_200, 18_184_491_008),
}


@pytest.fixture(scope="module", params=get_args(Name))
def network(request: pytest.FixtureRequest) -> Baseline:
    """Each network in turn, in which nothing is zero: NAFNet's scales begin there and would hold gradients back."""
    torch.manual_seed(0)
    made = Baseline(BaselineConfig(request.param))
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * (not parameter.any()))
    return made


def planes(height: int, width: int) -> Tensor:
    return torch.rand(1, 4, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", get_args(Name))
def test_parameters_and_operations_are_exact(name: Name) -> None:
    with torch.device("meta"):
        made = Baseline(BaselineConfig(name)).eval()
    shape = (1, 4, 224, 224)
    assert (count_params(made), count_macs(made, shape), count_multiply_adds(made, shape)) == COUNTS[name]


@pytest.mark.parametrize(("height", "width"), [(33, 18), (1, 2)])
def test_any_size_comes_out_twice_as_large_within_its_range(network: Baseline, height: int, width: int) -> None:
    network.eval()
    with torch.no_grad():
        rgb = network(planes(height, width))
        assert torch.equal(rgb, network(planes(height, width)))
    assert rgb.shape == (1, 3, 2 * height, 2 * width)
    assert 0 <= float(rgb.min()) < float(rgb.max()) <= 1


def test_gradients_reach_every_weight(network: Baseline) -> None:
    network.train()
    inner = network.network
    x = planes(32, 32)
    if isinstance(inner, PyNET | AWNet):  # some layers serve the coarser pictures alone
        loss = torch.stack([(picture - 2).abs().mean() for picture in inner.pictures(x)]).sum()
    else:
        loss = (network(x) - 2).abs().mean()
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert bool(parameter.grad.isfinite().all()), name
        if parameter.dim() > 1:  # a bias before a normalization has none
            assert bool(parameter.grad.any()), name
    network.zero_grad()


def test_every_network_says_where_it_comes_from_and_where_it_departs() -> None:
    assert set(NETWORKS) == set(get_args(Name))
    for facts in NETWORKS.values():
        assert facts.title and facts.source[-4:].isdigit() and facts.published and facts.departs


def test_the_config_is_told_from_ours_and_refuses_what_it_does_not_know() -> None:
    config = BaselineConfig("unet")
    assert (config.takes, config.scale) == (LWISPConfig().takes, LWISPConfig().scale)
    with pytest.raises(ValueError, match="expected network to be one of"):
        BaselineConfig("resnet")  # type: ignore[arg-type]
    with pytest.raises(
        ValueError, match='expected takes = "raw", or "rgb" for dncnn, nafnet, tnrd, ridnet, cbdnet, vdn, mirnet'
    ):
        BaselineConfig("unet", "rgb")


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("dncnn", 558_336),
        ("nafnet", 29_159_715),
        ("tnrd", 5 * (48 * 48 + 48 * 63 + 1)),
        ("ridnet", 1_499_347),
        ("cbdnet", 4_365_382),
        ("vdn", 7_699_011),
        ("mirnet", 31_787_436),
    ],
)
def test_those_that_denoise_find_what_is_to_be_added_to_rgb(name: Name, params: int) -> None:
    made = Baseline(BaselineConfig(name, "rgb")).eval()
    assert count_params(made) == params
    picture = torch.rand(1, 3, 33, 50, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert made(picture).shape == picture.shape
        for parameter in made.parameters():
            parameter.zero_()
        assert torch.equal(made(picture), picture)


@pytest.mark.parametrize(
    ("build", "params"),
    [
        (lambda: SRCNN(1, 1), 57_184 + 64 + 32 + 1),  # the paper counts no biases
        (lambda: SRResNet(3, 3, doublings=2), 1_549_462),  # 1.5 M
        (lambda: DPED(3, 3), 401_475),
        (lambda: UNet(1, 2), 31_030_658),
        (lambda: Pix2Pix(1, 1), 54_407_809),  # 54.408 M
        (lambda: DnCNN(1, 1, enlarge=1), 2 * 9 * 64 + 15 * (9 * 64 * 64 + 2 * 64)),  # by hand; nothing is printed
        (lambda: NAFNet(3, 3), 29_159_715),  # 29.16 M
        (CameraNet, 26_527_640),  # 26.53 M
        (lambda: PatchGAN(2), 2_764_609),  # 2.765 M
        (lambda: HERN(outputs=3), 56_121_583),  # the authors' code
    ],
)
def test_with_its_sources_own_channels_each_has_the_published_size(build: Callable[[], nn.Module], params: int) -> None:
    with torch.device("meta"):
        assert count_params(build()) == params


def test_the_haar_wavelet_of_four_pixels_is_right_and_comes_back() -> None:
    bands = wavelet(torch.tensor([[[[1.0, 2.0], [3.0, 7.0]]]]))
    assert bands.flatten().tolist() == [6.5, 2.5, 3.5, 1.5]  # sum, right - left, bottom - top, diagonals; halved
    x = planes(6, 8)
    assert torch.allclose(inverse_wavelet(wavelet(x)), x, atol=1e-6)
    assert float(wavelet(x).square().sum()) == pytest.approx(float(x.square().sum()), rel=1e-5)


def test_layer_normalization_sees_the_channels_of_one_pixel() -> None:
    x = planes(3, 5)
    expected = (x - x.mean(1, keepdim=True)) / (x.var(1, unbiased=False, keepdim=True) + 1e-6).sqrt()
    assert torch.allclose(LayerNorm2d(4, eps=1e-6)(x), expected, atol=1e-5)


def test_a_patch_of_the_discriminator_sees_70_pixels() -> None:
    torch.manual_seed(0)
    judge = PatchGAN()
    judge.layers = nn.Sequential(*(layer for layer in judge.layers if not isinstance(layer, nn.InstanceNorm2d)))
    rgb = torch.rand(1, 3, 128, 128, requires_grad=True)
    logits = judge(planes(64, 64), rgb)
    assert logits.shape == (1, 1, 14, 14)
    logits[0, 0, 7, 7].backward()
    assert rgb.grad is not None
    rows = rgb.grad.abs().sum((0, 1, 3)).nonzero().flatten()
    assert int(rows[-1] - rows[0]) + 1 == 70


def test_a_baseline_without_a_sigmoid_is_held_to_its_range_in_evaluation_only() -> None:
    made = Baseline(BaselineConfig("srcnn"))
    nn.init.constant_(made.network[-1].bias, 5)  # type: ignore[index]
    assert float(made.train()(planes(4, 4)).detach().min()) > 4
    assert float(made.eval()(planes(4, 4)).detach().min()) == 1


def test_cameranet_restores_a_linear_picture_and_pools_as_its_source_does() -> None:
    torch.manual_seed(0)
    camera = CameraNet()
    x = planes(6, 8)
    same = functional.max_pool2d(functional.pad(x, (0, 1, 0, 1), value=-torch.inf), 3, 2)  # TensorFlow's "SAME"
    assert torch.equal(camera.restore.pool(x), same)
    with torch.no_grad():
        assert camera.restored(planes(32, 48)).shape == (1, 3, 64, 96)


def test_the_page_of_the_networks_has_these_counts_and_words() -> None:
    page = (ROOT / "docs" / "networks.md").read_text(encoding="utf-8")
    for name, (params, operations, macs) in COUNTS.items():
        facts = NETWORKS[name]
        departs = facts.departs[0].upper() + facts.departs[1:]
        counts = f"{params:,} | {facts.published} | {operations / 1e9:.3f} G | {macs / 1e9:.3f} G"
        assert f"| `{name}`: {facts.title} | {facts.source} | {counts} | {departs}. |" in page


def test_developing_imports_no_network_but_lw_isp(toy_file: Path, tmp_path: Path) -> None:
    code = """
import sys
from lwisp.baselines.config import BaselineConfig
from lwisp.baselines.build import Baseline
from lwisp.cli import app
app(sys.argv[1:], standalone_mode=False)
print([name for name in sys.modules if name.startswith("lwisp.baselines.")])
"""
    arguments = [
        "develop",
        str(SAMPLE),
        "--weights",
        str(toy_file),
        "-o",
        str(tmp_path / "x.jpg"),
        "--backend",
        "torch",
    ]
    run = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    loaded = run.stdout.splitlines()[-1]
    assert loaded == "['lwisp.baselines.config', 'lwisp.baselines.own', 'lwisp.baselines.build']"


def test_pynet_ca_is_pynet_with_attention_and_another_end() -> None:
    with torch.device("meta"):
        plain, attentive = PyNET(), PyNETCA()
        pictures = attentive.pictures(torch.empty(1, 4, 64, 96))
    assert [tuple(picture.shape[2:]) for picture in pictures] == [
        (4, 6), (8, 12), (16, 24), (32, 48), (64, 96), (128, 192),
    ]  # fmt: skip
    shapes = [{tuple(value.shape) for value in network.up.parameters()} for network in (plain, attentive)]
    assert shapes[0] == shapes[1]
    block = AttentiveKernels(4, 8, 7, normalized=False)
    x = planes(9, 11)
    joined = torch.cat([branch(x) for branch in block.branches], 1)
    assert joined.shape[1] == 24
    scale = block.scale(joined).detach()
    assert torch.allclose(block(x), joined * scale)
    assert 0 < float(scale.min()) < float(scale.max()) < 1


def test_hern_of_few_groups_still_has_its_two_ways() -> None:
    torch.manual_seed(0)
    hern = HERN(groups=1, blocks=1).eval()
    x = planes(16, 24)
    with torch.no_grad():
        assert hern(x).shape == (1, 3, 32, 48)
        far = x.clone()
        far[..., :2, :2] += 1
        assert not torch.equal(hern(far)[..., 8:12, 8:12], hern(x)[..., 8:12, 8:12])


def test_mirnet_blurs_before_it_thins() -> None:
    ramp = torch.arange(8.0).expand(1, 2, 8, 8)
    assert torch.allclose(Blur()(ramp)[0, 0, 1, 1:], torch.tensor([2.0, 4.0, 6.0]))  # a binomial filter keeps a ramp
    stripes = torch.tensor([0.0, 1.0]).repeat(4).expand(1, 1, 8, 8)
    assert torch.allclose(Blur()(stripes)[..., 1:, 1:], torch.full((1, 1, 3, 3), 0.5))  # thinned alone: 0


def test_mirnet_weighs_what_it_fuses_by_shares_that_sum_to_one() -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 16, 4, 4)
    assert torch.allclose(SelectiveFusion(16)([x, x, x]), x, atol=1e-6)


def test_cbdnet_sees_the_noise_that_it_estimates() -> None:
    torch.manual_seed(0)
    network = CBDNet(3, 3, enlarge=1).eval()
    picture = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        first = network(picture)
        for parameter in network.estimate[-2].parameters():
            parameter.add_(1)
        assert not torch.equal(network(picture), first)


@pytest.mark.parametrize("host", ["unet", "nafnet"])
def test_the_blocks_of_lw_isp_stand_in_other_networks(host: str) -> None:
    with torch.device("meta"):
        plain = Baseline(BaselineConfig(host))  # type: ignore[arg-type]
        attentive = Baseline(BaselineConfig(f"{host}-fgam"))  # type: ignore[arg-type]
        complemented = Baseline(BaselineConfig(f"{host}-ccb"))  # type: ignore[arg-type]
    for network, fgams, ccbs in ((plain, 0, 0), (attentive, 4, 0), (complemented, 0, 4)):
        assert sum(isinstance(module, FGAM) for module in network.modules()) == fgams
        assert sum(isinstance(module, CCB) for module in network.modules()) == ccbs


def test_an_architecture_of_older_weights_still_fits_its_baseline() -> None:
    with torch.device("meta"):
        names = list(Baseline(BaselineConfig("unet")).state_dict())
        assert "network.up.0.weight" in names
        assert "network.down.0.weight" in Baseline(BaselineConfig("nafnet")).state_dict()
        assert "network.last_out.weight" in Baseline(BaselineConfig("pynet")).state_dict()


@pytest.mark.parametrize("name", get_args(Name))
def test_what_no_file_of_weights_holds_is_there_where_a_network_is_built_without_values(name: Name) -> None:
    with torch.device("meta"):
        made = Baseline(BaselineConfig(name))
    kept = made.state_dict()
    assert all(buffer.device.type == "cpu" for key, buffer in made.named_buffers() if key not in kept)


def test_influence_functions_of_tnrd_are_sums_of_gaussians() -> None:
    stage = DiffusionStage()
    nn.init.normal_(stage.heights).requires_grad_(False)
    responses = torch.linspace(-300, 300, 97).view(1, 1, 1, 97).expand(1, 48, 1, 97) / 255
    centers = torch.arange(-310, 311, 10.0)
    gaussians = (-((255 * responses[..., None] - centers) ** 2) / 200).exp()
    expected = (gaussians * stage.heights[:, None, None]).sum(-1) / 255
    assert torch.allclose(stage.influence(responses), expected, atol=0.02 * float(expected.abs().max()))


def test_filters_of_tnrd_have_no_mean_and_length_one() -> None:
    kernels = DiffusionStage().filters.kernels().detach().flatten(1)
    assert torch.allclose(kernels @ kernels.T, torch.eye(48), atol=1e-5)
    assert float(kernels.sum(1).abs().max()) < 1e-5


def test_tnrd_begins_by_smoothing_noise_and_leaves_a_gray_field_as_it_is() -> None:
    network = TNRD(3, 3, 1).eval()
    field = torch.full((1, 3, 32, 32), 0.5)
    noisy = field + 0.05 * torch.randn(field.shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(network(field), field, atol=1e-4)
        assert float((network(noisy) - field).square().mean()) < 0.8 * float((noisy - field).square().mean())
