"""What a student imitates: blocks of a frozen network, which sees the target, another sample's target, or the RAW.

The paper's teacher sees the target. The others are controls: where they help as much, it is not what the teacher knows
of this picture that helps.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from lwisp.imaging import color
from lwisp.model import LWISP
from lwisp.training import losses
from lwisp.weights import InputConvention

RIDGE = 1e-6
"""Added to the squares that a color matrix is fitted by, so that a black crop has one."""
Sees = Literal["target", "another", "raw"]


class Guide(nn.Module):
    """A frozen network and what it sees.

    Args:
        network: LW-ISP on cells of 2; it is frozen and put into evaluation mode.
        sees: the target (B, 3, H, W), the target of the next sample in the batch, or the student's planes.
        convention: how the network expects planes, where it sees the RAW; None where it is that of the student's.
    """

    def __init__(self, network: LWISP, sees: Sees = "target", convention: InputConvention | None = None) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()
        self.sees, self.convention = sees, convention

    def see(self, planes: Tensor, target: Tensor) -> Tensor:
        """The network's input.

        Args:
            planes: the student's input, (B, C, h, w).
            target: (B, 3, H, W) in [0, 1].

        Returns:
            (B, C', h, w) planes or (B, 3, H, W).
        """
        if self.sees == "raw":
            seen = planes if self.convention is None else developable(planes, target, self.convention)
        else:
            seen = target if self.sees == "target" else target.roll(1, 0)
        return seen.to(memory_format=torch.channels_last)

    def forward(self, planes: Tensor, target: Tensor, blocks: Sequence[str]) -> dict[str, Tensor]:
        """Outputs of the network's blocks, without what lies on its padding where its input is RAW or a RAW's target.

        Args:
            planes: the student's input, (B, C, h, w).
            target: (B, 3, H, W) in [0, 1].
            blocks: names of the blocks.
        """
        with torch.no_grad():
            seen = self.see(planes, target)
            outputs = self.network.blocks(seen, blocks)
            if target.shape[-2:] == planes.shape[-2:]:  # both were padded to the same pixels
                return outputs
            return losses.within_frame(outputs, (seen.shape[-2], seen.shape[-1]))

    def picture(self, planes: Tensor, target: Tensor) -> Tensor:
        """What the network makes of its input, to be scored: of a clean image that image, of a RAW its picture.

        Args:
            planes: the student's input, (B, C, h, w).
            target: (B, 3, H, W) in [0, 1].

        Returns:
            (B, 3, H, W) in [0, 1].
        """
        with torch.no_grad():
            return self.network(self.see(planes, target)).clamp(0, 1)  # type: ignore[no-any-return]


def developable(planes: Tensor, target: Tensor, convention: InputConvention) -> Tensor:
    """A camera's planes as a network for any camera expects them, without knowing the camera.

    Balance, matrix and exposure are the one 3x3 matrix that brings the planes nearest to the target's linear light, by
    least squares for each sample; the noise that is told is what is left between the two. An oracle: only what teaches
    may use it.

    Args:
        planes: (B, 4, h, w), R, Gr, Gb, B, black at 0.
        target: (B, 3, 2h, 2w) sRGB in [0, 1].
        convention: whether the noise is told.

    Returns:
        Canonical planes (B, 4, h, w) in [0, 1], or (B, 5, h, w) where the noise is told.
    """
    light = color.unrender(target)
    wanted = functional.avg_pool2d(light, 2).flatten(2)
    seen = torch.stack([planes[:, 0], (planes[:, 1] + planes[:, 2]) / 2, planes[:, 3]], 1).flatten(2)
    squares = seen @ seen.mT + RIDGE * seen.shape[-1] * torch.eye(3, device=seen.device)
    matrix = torch.linalg.solve(squares, seen @ wanted.mT).mT
    mixed = color.mix_planes(planes, matrix).clamp(0, 1)
    if not convention.noise:
        return mixed
    at_photosites = torch.stack(
        [light[:, 0, ::2, ::2], light[:, 1, ::2, 1::2], light[:, 1, 1::2, ::2], light[:, 2, 1::2, 1::2]], 1
    )
    variance = (mixed - at_photosites).square().mean((1, 2, 3))
    told = color.noise_plane(mixed, torch.stack([torch.zeros_like(variance), variance], -1))
    return torch.cat([mixed, told], 1)
