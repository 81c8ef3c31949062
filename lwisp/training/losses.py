"""The paper's losses, equations 3 to 7, in the order of section 3.4; then Pix2Pix's, for the network of Table 1.

Pictures are display-referred RGB (B, 3, H, W) in [0, 1]; every loss is a mean, so that its size does not depend on the
crop's. `alpha`, `beta` and `gamma` are the paper's weights.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from lwisp.imaging.metrics import multiscale_ssim
from lwisp.model import padded_side

LEAST_ERROR = 5e-4  # an eighth of a step of 8 bits: below it nothing is gained
FINE = 16  # px, what detail is finer than
MOST_GAIN = 5.0  # by which a picture is brought to its target's mean, at most


def reconstruction(rgb: Tensor, target: Tensor) -> Tensor:
    """Equation 4: the mean absolute error."""
    return (rgb - target).abs().mean()


def logarithmic(rgb: Tensor, target: Tensor) -> Tensor:
    """In place of equation 4: the mean over pictures of the logarithm of each one's mean absolute error.

    So a decibel counts alike in every picture, where equation 4 looks at those with the largest errors.
    """
    return ((rgb - target).abs().flatten(1).mean(1) + LEAST_ERROR).log().mean()


def apart(rgb: Tensor, target: Tensor) -> Tensor:
    """The mean of three logarithmic errors: of the picture, of it at its target's mean, and of its detail.

    Where brightness is a guess its error is the largest, and beside it nothing else would count. Sides of `FINE` at
    least.
    """
    mean = rgb.mean((1, 2, 3), keepdim=True).clamp(min=LEAST_ERROR)
    gain = (target.mean((1, 2, 3), keepdim=True) / mean).clamp(1 / MOST_GAIN, MOST_GAIN)
    pairs = (rgb, target), (gain * rgb, target), (_detail(rgb), _detail(target))
    return torch.stack([logarithmic(*pair) for pair in pairs]).mean()


def _detail(rgb: Tensor) -> Tensor:
    coarse = functional.avg_pool2d(rgb, FINE)
    return rgb - functional.interpolate(coarse, rgb.shape[-2:], mode="bilinear")


def structure(rgb: Tensor, target: Tensor, scales: int = 5) -> Tensor:
    """Equation 5: 1 - MS-SSIM over so many scales; raises `ValueError` where the crops are too small for them."""
    return 1 - multiscale_ssim(rgb, target, scales).mean()


def distillation(student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], blocks: Sequence[str]) -> Tensor:
    """Equation 6: the squared difference of the chosen blocks' outputs, a mean for each block, summed.

    The teacher reads pictures of twice the size of a RAW student's planes, so its blocks of the same name are twice
    as large, but for up4, and equal in width: they are averaged over 2x2 (docs/paper.md says why). Both must show the
    same pixels: `within_frame`.
    """
    terms = []
    for name in blocks:
        guide = teacher[name]
        if guide.shape != student[name].shape:
            height, width = student[name].shape[-2:]
            guide = functional.adaptive_avg_pool2d(guide, (height, width))
        terms.append((student[name] - guide).square().mean())
    return torch.stack(terms).sum()


def within_frame(blocks: Mapping[str, Tensor], frame: tuple[int, int]) -> dict[str, Tensor]:
    """Blocks' outputs on the padded frame of a network's input -> what of them lies on its frame (height, width).

    Raises `ValueError` where the frame ends within an output's pixel.
    """
    cut = {}
    for name, block in blocks.items():
        sides = []
        for side, own in zip(frame, block.shape[-2:], strict=True):
            whole, rest = divmod(side * own, padded_side(side))
            if rest:
                raise ValueError(f"a frame of {frame} px ends within a pixel of {name}, {tuple(block.shape[-2:])}")
            sides.append(whole)
        cut[name] = block[..., : sides[0], : sides[1]]
    return cut


def overall(structural: Tensor, reconstructed: Tensor, distilled: Tensor, alpha: float, beta: float) -> Tensor:
    """Equation 3: L_r + alpha L_s + beta L_d."""
    return reconstructed + alpha * structural + beta * distilled


def teaching(rgb: Tensor, target: Tensor, gamma: float, scales: int = 5) -> Tensor:
    """Equation 7, the teacher's loss: the mean squared error + gamma L_s."""
    square = (rgb - target).square().mean()
    return square + gamma * structure(rgb, target, scales) if gamma else square  # which small crops have no scales for


def adversarial(judged: Tensor) -> Tensor:
    """Pix2Pix, the generator's share: -log D of its picture, from the discriminator's logits."""
    return functional.softplus(-judged).mean()


def discrimination(judged_target: Tensor, judged_rgb: Tensor) -> Tensor:
    """Pix2Pix, the discriminator's loss: half of -log D(target) - log(1 - D(rgb)), from its logits."""
    return (functional.softplus(-judged_target).mean() + functional.softplus(judged_rgb).mean()) / 2
