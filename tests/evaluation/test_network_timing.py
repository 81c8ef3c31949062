import pytest
import torch

from lwisp.evaluation.network_timing import load_network, make_ready, random_planes, ratio


@pytest.mark.parametrize("baseline", ["unet", "nafnet"])
def test_a_baseline_gives_the_same_picture_in_openvino(baseline: str) -> None:
    network = load_network("photo", baseline)
    planes = random_planes(network, (30, 50))
    got = make_ready(network, "openvino-fp32", (30, 50))(planes)
    assert torch.allclose(got, make_ready(network, "eager", (30, 50))(planes), rtol=0, atol=1e-4)


@pytest.mark.parametrize(("baseline", "channels"), [(None, 5), ("srcnn", 4)])
def test_each_network_is_timed_on_the_planes_that_it_takes(baseline: str | None, channels: int) -> None:
    network = load_network("photo", baseline)
    planes = random_planes(network, (32, 48))
    assert planes.shape == (channels, 32, 48)
    assert make_ready(network, "eager", (32, 48))(planes).shape == (3, 64, 96)


def test_the_ratio_is_the_median_of_the_rounds_own() -> None:
    assert ratio([2, 40, 30], [1, 10, 40]) == 2  # the ratio of the medians is 3


def test_loading_a_baseline_leaves_the_random_state_as_it_is() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_network("photo", "srcnn")
    assert torch.equal(torch.rand(3), expected)
