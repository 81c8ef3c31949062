"""The paper's losses, equations 3 to 7, in the order of section 3.4; then Pix2Pix's, for the network of Table 1.

Images are display-referred RGB (B, 3, H, W) in [0, 1]; every loss is a mean, so that it does not depend on the size of
the crop. `alpha`, `beta` and `gamma` are the paper's loss weights.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from lwisp.architecture import padded_side
from lwisp.imaging.metrics import multiscale_ssim

ERROR_FLOOR = 5e-4
"""Mean absolute error below which nothing is gained: an eighth of a step of 8 bits."""
DETAIL_SIDE = 16
"""Px; detail is what differs from the mean of squares of this side."""
CHROMA_SIDE = 9
"""Px; fine detail of colors is what differs from the mean over squares of this side."""
MAX_GAIN = 5.0
"""Largest factor by which an image is brought to its target's mean."""
FLAT = 0.01
"""Spread of a channel, as a share of its block's, below which it counts no more than at this: it tells nothing."""
TINY = 1e-8
"""Keeps a block that tells nothing at all from dividing by 0."""


def reconstruction(rgb: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error (equation 4).

    Args:
        rgb: the network's output, (B, C, H, W).
        target: ground truth of the same shape.
    """
    return (rgb - target).abs().mean()


def logarithmic(rgb: Tensor, target: Tensor) -> Tensor:
    """Mean over the batch of the logarithm of each image's mean absolute error; takes the place of equation 4.

    A decibel counts the same in every image, where equation 4 is dominated by those with the largest errors.

    Args:
        rgb: the network's output, (B, C, H, W).
        target: ground truth of the same shape.
    """
    errors = (rgb - target).abs().flatten(1).mean(1)
    return (errors + ERROR_FLOOR).log().mean()


def apart(rgb: Tensor, target: Tensor) -> Tensor:
    """Mean of three logarithmic errors: of the image, of the image scaled to its target's mean, and of its detail.

    Where brightness is ambiguous (low light) its error is the largest, and would hide those of color and detail.

    Args:
        rgb: the network's output, (B, C, H, W), sides of 16 px at least.
        target: ground truth of the same shape.
    """
    mean = rgb.mean((1, 2, 3), keepdim=True).clamp(min=ERROR_FLOOR)
    target_mean = target.mean((1, 2, 3), keepdim=True)
    gain = (target_mean / mean).clamp(1 / MAX_GAIN, MAX_GAIN)
    scaled = gain * rgb
    detail, target_detail = _detail(rgb), _detail(target)
    of_image = logarithmic(rgb, target)
    of_scaled = logarithmic(scaled, target)
    of_detail = logarithmic(detail, target_detail)
    return torch.stack([of_image, of_scaled, of_detail]).mean()


def _detail(rgb: Tensor) -> Tensor:
    coarse = functional.avg_pool2d(rgb, DETAIL_SIDE)
    return rgb - functional.interpolate(coarse, rgb.shape[-2:], mode="bilinear")


def chroma(rgb: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of the fine detail of R - G and B - G: false color; not the paper's.

    Args:
        rgb: the network's output, (B, 3, H, W).
        target: ground truth of the same shape.
    """
    difference = rgb - target
    apart = difference[:, ::2] - difference[:, 1:2]
    coarse = functional.avg_pool2d(apart, CHROMA_SIDE, 1, CHROMA_SIDE // 2, count_include_pad=False)
    return (apart - coarse).abs().mean()


def structure(rgb: Tensor, target: Tensor, scales: int = 5) -> Tensor:
    """Structural loss (equation 5): 1 - MS-SSIM.

    Args:
        rgb: the network's output, (B, C, H, W) in [0, 1].
        target: ground truth of the same shape.
        scales: scales of MS-SSIM.

    Raises:
        ValueError: where the crops are too small for that many scales.
    """
    return 1 - multiscale_ssim(rgb, target, scales).mean()


def distillation(
    student: Mapping[str, Tensor], teacher: Mapping[str, Tensor], blocks: Sequence[str], normalized: bool = False
) -> Tensor:
    """Sum over blocks of the mean squared difference between the student's and the teacher's outputs (equation 6).

    The teacher reads images of twice the size of a RAW student's planes, so its outputs are twice as large, except for
    `up4`'s, and equal in width: they are averaged over 2x2 (docs/paper.md says why). Both must show the same pixels:
    `within_frame`.

    Args:
        student: outputs of the student's blocks by name, (B, C, h, w).
        teacher: outputs of the teacher's blocks by name, (B, C, h, w) or (B, C, 2h, 2w).
        blocks: names of the blocks that count.
        normalized: divide each channel's difference by the standard deviation that the channel has in the teacher over
            this batch; else a few strong channels decide what is learned (up3's carry nine tenths of the variance).
    """
    terms = []
    for name in blocks:
        guide = teacher[name]
        if guide.shape != student[name].shape:
            height, width = student[name].shape[-2:]
            guide = functional.adaptive_avg_pool2d(guide, (height, width))
        difference = student[name] - guide
        if normalized:
            spread = guide.std((0, 2, 3), keepdim=True)
            difference = difference / spread.maximum(FLAT * spread.square().mean().sqrt() + TINY)
        terms.append(difference.square().mean())
    return torch.stack(terms).sum()


def within_frame(blocks: Mapping[str, Tensor], frame: tuple[int, int]) -> dict[str, Tensor]:
    """Outputs of blocks without the part that lies on the padding of the network's input.

    Args:
        blocks: outputs by name, (B, C, h, w), on the padded frame.
        frame: (height, width) of the input before padding.

    Raises:
        ValueError: where the frame ends within a pixel of an output.
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


def overall(
    structural: Tensor | float, reconstructed: Tensor, distilled: Tensor | float, alpha: float, beta: float
) -> Tensor:
    """The student's loss (equation 3): L_r + alpha L_s + beta L_d.

    Args:
        structural: L_s, or 0.
        reconstructed: L_r.
        distilled: L_d, or 0.
        alpha: weight of L_s.
        beta: weight of L_d.
    """
    return reconstructed + alpha * structural + beta * distilled


def teaching(rgb: Tensor, target: Tensor, gamma: float, scales: int = 5) -> Tensor:
    """The teacher's loss (equation 7): mean squared error + gamma L_s.

    Args:
        rgb: the teacher's output, (B, C, H, W) in [0, 1].
        target: ground truth of the same shape.
        gamma: weight of L_s; with 0 crops may be too small for MS-SSIM.
        scales: scales of MS-SSIM.
    """
    square = (rgb - target).square().mean()
    if not gamma:
        return square
    return square + gamma * structure(rgb, target, scales)


def adversarial(judged: Tensor) -> Tensor:
    """Pix2Pix's loss of the generator: -log D(output).

    Args:
        judged: logits of the discriminator for the generator's output, any shape.
    """
    return functional.softplus(-judged).mean()


def discrimination(judged_target: Tensor, judged_rgb: Tensor) -> Tensor:
    """Pix2Pix's loss of the discriminator: half of -log D(target) - log(1 - D(output)).

    Args:
        judged_target: logits for the ground truth, any shape.
        judged_rgb: logits for the generator's output, any shape.
    """
    of_target = functional.softplus(-judged_target).mean()
    of_rgb = functional.softplus(judged_rgb).mean()
    return (of_target + of_rgb) / 2
