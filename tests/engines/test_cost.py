"""Operations, against arithmetic done by hand under the rules of thop 0.0.31."""

import pytest
import torch
from torch import nn

from lwisp.engines.cost import count_macs, measure_latency

OUT = 6 * 10  # elements of one channel of the input


@pytest.mark.parametrize(
    ("layer", "operations"),
    [
        (nn.Conv2d(4, 8, 3, padding=1), OUT * 8 * (4 * 9 + 1)),
        (nn.Conv2d(4, 8, 3, padding=1, groups=2, bias=False), OUT * 8 * 2 * 9),
        (nn.ConvTranspose2d(4, 8, 2, stride=2), 4 * OUT * 8 * (4 * 4 + 1)),  # by its output, as if no stride were
        (nn.Linear(10, 3), 4 * 6 * 3 * 10),
        (nn.BatchNorm2d(4), 2 * 4 * OUT),
        (nn.InstanceNorm2d(4), 0),
        (nn.LeakyReLU(), 4 * OUT),
        (nn.PReLU(), 0),
        (nn.Upsample(scale_factor=2), 0),
        (nn.Upsample(scale_factor=2, mode="bilinear"), 11 * 4 * 4 * OUT),
        (nn.Upsample(scale_factor=2, mode="bicubic"), 259 * 4 * 4 * OUT),
        (nn.AdaptiveAvgPool2d(1), 4 * (OUT + 1)),
        (nn.AdaptiveAvgPool2d(4), 4 * 16 * (1 * 2 + 1)),  # fields of 6 // 4 by 10 // 4
        (nn.Sequential(*[nn.LeakyReLU()] * 3), 3 * 4 * OUT),
    ],
)
def test_each_kind_of_layer_costs_what_thop_says(layer: nn.Module, operations: int) -> None:
    assert count_macs(layer, (1, 4, 6, 10)) == operations


def test_counting_leaves_the_network_as_it_was() -> None:
    network = nn.BatchNorm2d(4).train()
    count_macs(network, (1, 4, 6, 10))
    assert network.training
    assert network.running_mean is not None
    assert torch.equal(network.running_mean, torch.zeros(4))


def test_latency_is_measured_for_each() -> None:
    slow, fast = nn.Conv2d(4, 256, 7), nn.Conv2d(4, 1, 1)
    seconds = measure_latency([slow, fast], (1, 4, 64, 64), rounds=2)
    assert len(seconds) == 2
    assert min(seconds) > 0
