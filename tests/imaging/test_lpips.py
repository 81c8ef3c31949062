import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lwisp.imaging import lpips


class Reference(nn.Module):
    """LPIPS written as the authors have it: AlexNet in slices, linear layers of 1x1."""

    def __init__(self) -> None:
        super().__init__()
        convolutions = [(3, 64, 11, 4, 2), (64, 192, 5, 1, 2), (192, 384, 3, 1, 1), (384, 256, 3, 1, 1)]
        self.convolutions = nn.ModuleList(nn.Conv2d(*sizes) for sizes in [*convolutions, (256, 256, 3, 1, 1)])
        self.linear = nn.ModuleList(nn.Conv2d(width, 1, 1, bias=False) for width in (64, 192, 384, 256, 256))
        weights = lpips._weights()
        state = {f"linear.{index}.weight": weights[f"lin{index}.model.1.weight"] for index in range(5)}
        for index, place in enumerate((0, 3, 6, 8, 10)):
            for kind in ("weight", "bias"):
                state[f"convolutions.{index}.{kind}"] = weights[f"features.{place}.{kind}"]
        self.load_state_dict(state)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
        total = torch.zeros(1, 1, 1, 1)
        x, y = (((2 * picture - 1) - shift[:, None, None]) / scale[:, None, None] for picture in (x, y))
        for index, (convolution, linear) in enumerate(zip(self.convolutions, self.linear, strict=True)):
            if index in (1, 2):
                x, y = functional.max_pool2d(x, 3, 2), functional.max_pool2d(y, 3, 2)
            x, y = functional.relu(convolution(x)), functional.relu(convolution(y))
            unit = [picture / (picture.pow(2).sum(1, keepdim=True).sqrt() + 1e-10) for picture in (x, y)]
            total = total + linear((unit[0] - unit[1]) ** 2).mean((2, 3), keepdim=True)
        return total


def pair(noise: float) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = functional.avg_pool2d(torch.rand(3, 104, 96, generator=generator), 7, 1, 3)
    return (target + noise * torch.randn(target.shape, generator=generator)).clamp(0, 1), target


@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_it_agrees_with_the_network_written_out(noise: float) -> None:
    rgb, target = pair(noise)
    with torch.inference_mode():
        expected = float(Reference()(rgb[None], target[None]))
    assert lpips.lpips(rgb, target) == pytest.approx(expected, abs=1e-6)
    assert lpips.lpips(target, rgb) == pytest.approx(expected, abs=1e-6)


def test_equal_pictures_are_at_no_distance_and_more_noise_is_further() -> None:
    rgb, target = pair(0.02)
    assert lpips.lpips(target, target) == 0
    assert 0.005 < lpips.lpips(rgb, target) < lpips.lpips(pair(0.1)[0], target) < 2


def test_it_agrees_with_the_authors_package_where_that_can_be_imported() -> None:
    official = pytest.importorskip("lpips", exc_type=ImportError)
    rgb, target = pair(0.05)
    expected = official.LPIPS(net="alex", version="0.1", verbose=False)(rgb[None], target[None], normalize=True)
    assert lpips.lpips(rgb, target) == pytest.approx(float(expected), abs=5e-4)


def test_other_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="of one size"):
        lpips.lpips(torch.rand(3, 64, 64), torch.rand(3, 64, 66))
    with pytest.raises(ValueError, match="31 px"):
        lpips.lpips(torch.rand(3, 30, 64), torch.rand(3, 30, 64))
