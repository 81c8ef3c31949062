"""What the paper prints, and what its counts prove (docs/paper.md)."""

import pytest
import torch
from torch import nn

from lwisp.architecture import TEACHER, LWISPConfig
from lwisp.baselines.isps import PyNET
from lwisp.baselines.translation import SPADE
from lwisp.engines.cost import count_macs
from lwisp.model import LWISP, count_params

STUDENT = LWISPConfig()
NO_CCB = LWISPConfig(ccb=False)


@pytest.mark.parametrize(
    ("config", "params"),
    [
        (STUDENT, 2_014_681),
        (NO_CCB, 1_660_777),  # Table 3 calls this row "w/o FGAM"
        (LWISPConfig(fgam=False), 1_617_091),
        (LWISPConfig(fgam=False, ccb=False), 1_263_187),
        (TEACHER, 2_002_937),
        (LWISPConfig(in_channels=3, upsample=False, residual=True), 2_002_937),  # for Table 4 and LoL
        (LWISPConfig(out_channels=4, upsample=False), 2_003_226),
        (LWISPConfig(core_input="twice"), 2_014_681),
        (LWISPConfig(attention="multiply", contrast="gated", padding="zeros"), 2_014_681),
        (LWISPConfig(attention="product", far_dilation=4), 2_014_681),
        (LWISPConfig(ccb=False, fgam_before=True), 1_660_777),
        (LWISPConfig(ccb=False, fgam_maps="channel"), 1_263_187 + 5_710),  # two 1x1 convolutions a level
        (LWISPConfig(ccb=False, fgam_maps="spatial"), 1_263_187 + 4 * 50),  # one of 5x5 without bias
        (LWISPConfig(ccb=False, fgam_reduced=True), 1_263_187 + 5_710 + 4 * 50 + 43_760),
        (LWISPConfig(fgam=False, near_dilation=1), 1_617_091 + 8 * (64**2 + 32**2 + 16**2)),
        (LWISPConfig(frame_colors=64), 2_014_681 + 129 * 64 + 65 * 24),  # 9,816 more
    ],
)
def test_parameter_counts_are_exact(config: LWISPConfig, params: int) -> None:
    assert count_params(LWISP(config)) == params


def test_operations_are_those_of_table_3() -> None:
    assert count_macs(LWISP(STUDENT), (1, 4, 224, 224)) == 4_234_396_454
    assert count_macs(LWISP(NO_CCB), (1, 4, 224, 224)) == 3_440_812_838
    assert f"{count_macs(LWISP(NO_CCB), (1, 4, 960, 960)) / 1e9:.3f}" == "63.198"
    assert f"{count_macs(LWISP(NO_CCB), (1, 4, 1440, 1984)) / 1e9:.3f}" == "195.914"


def test_the_large_sizes_of_the_full_model_are_misprinted_by_a_round_number() -> None:
    assert f"{count_macs(LWISP(STUDENT), (1, 4, 960, 960)) / 1e9:.2f}" == "77.77"  # printed: 69.198 = 63.198 + 6
    assert f"{count_macs(LWISP(STUDENT), (1, 4, 1440, 1984)) / 1e9:.2f}" == "241.10"  # printed: 211.914 = 195.914 + 16


def test_equation_1_to_the_letter_costs_more_than_table_3_says() -> None:
    assert f"{count_macs(LWISP(LWISPConfig(core_input='twice')), (1, 4, 224, 224)) / 1e9:.3f}" == "4.931"


def test_pynet_has_the_counts_of_table_3_which_proves_the_convention() -> None:
    with torch.device("meta"):
        pynet = PyNET()
    assert count_params(pynet) == 47_554_738
    assert count_macs(pynet, (1, 4, 224, 224)) == 342_697_764_668
    assert f"{count_macs(pynet, (1, 4, 1440, 1984)) / 1e12:.3f}" == "19.513"
    assert f"{count_macs(pynet, (1, 4, 960, 960)) / 1e12:.2f}" == "6.29"  # printed: 5.72
    assert round(count_macs(pynet, (1, 4, 224, 224)) / count_macs(LWISP(STUDENT), (1, 4, 224, 224))) == 81


def test_the_row_of_spade_is_that_of_label_maps_of_256_px() -> None:
    with torch.device("meta"):
        spade = SPADE(inputs=184)  # the label channels of COCO-Stuff, which no RAW has
    assert count_params(spade) == 97_480_899
    operations = count_macs(spade, (1, 184, 128, 128))  # a picture of 256x256
    assert operations == pytest.approx(191.31e9, rel=3e-4)  # printed for 224x224
    assert f"{191.31e9 * 1440 * 1984 / 224**2 / 1e12:.2f}" == "10.89"  # so the large size is scaled from the wrong one


def test_pynet_makes_a_picture_of_every_level() -> None:
    with torch.device("meta"):
        pictures = PyNET().pictures(torch.empty(1, 4, 64, 96))
        half = PyNET().pictures(torch.empty(1, 4, 64, 96), level=2)
    assert [tuple(picture.shape[2:]) for picture in pictures] == [
        (4, 6), (8, 12), (16, 24), (32, 48), (64, 96), (128, 192),
    ]  # fmt: skip
    assert len(half) == 4


def test_the_full_model_has_24_convolutions_of_3x3() -> None:
    convolutions = [module for module in LWISP(STUDENT).modules() if isinstance(module, nn.Conv2d)]
    assert sum(module.kernel_size == (3, 3) for module in convolutions) == 24


def test_the_12_megapixel_frame_of_the_paper_works() -> None:
    with torch.device("meta"):
        rgb = LWISP(STUDENT)(torch.empty(1, 4, 1472, 1979))
    assert rgb.shape == (1, 3, 2944, 3958)


def test_features_are_the_four_up_blocks() -> None:
    with torch.device("meta"):
        student = LWISP(STUDENT).features(torch.empty(2, 4, 64, 96))
        teacher = LWISP(TEACHER).features(torch.empty(2, 3, 128, 192))
    assert [tuple(x.shape[1:]) for x in student] == [(64, 16, 24), (32, 32, 48), (16, 64, 96), (16, 128, 192)]
    assert [tuple(x.shape[1:]) for x in teacher] == [(64, 32, 48), (32, 64, 96), (16, 128, 192), (16, 128, 192)]
