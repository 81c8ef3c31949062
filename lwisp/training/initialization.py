"""What training begins with: initial weights, and the two forms of fine-grained attention."""

import zlib

import torch
from torch import nn

from lwisp.model import FGAM, LWISP, SLOPE

READY = ("look.", "cells.bases", "frame_colors.last")
"""Begin of the names of layers that begin as they are built: a look or a frame's colors as none, demosaicing as itself.
"""


def initialize(model: LWISP, seed: int = 0) -> None:
    """Draw the weights that training begins with, in place: He et al. (2015) for LeakyReLU(0.2), biases 0.

    With torch's own weights signals fade from layer to layer, so deep gradients begin at 1e-8. How a run ends hangs on
    what it begins with, more than on a block, so what two variants have in common begins alike: every layer draws by
    its own name, and what follows a FGAM begins as if there were none (docs/log.md).

    Args:
        model: Any LW-ISP.
        seed: Every layer draws by this and its own name.
    """
    doubled = _after_fgam(model) if model.config.fgam_maps == "both" else []
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Conv2d | nn.Linear) and not name.startswith(READY):
            generator = torch.Generator().manual_seed(zlib.crc32(f"{seed} {name}".encode()))
            copies = 2 if layer in doubled else 1
            part = torch.empty_like(layer.weight.chunk(copies, 1)[0])
            nn.init.kaiming_normal_(part, a=SLOPE, generator=generator)
            with torch.no_grad():
                layer.weight.copy_(torch.cat([part / copies] * copies, 1))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    if (
        model.config.cell == 4
    ):  # what it mixes begins as a little smoother than Malvar's, with little of its own picture
        with torch.no_grad():
            model.out.weight.mul_(0.1)
            _, smooth, smoother, trust = model.out.bias.chunk(4)  # type: ignore[union-attr]
            smooth.fill_(0.2)
            smoother.fill_(0.2)
            trust.fill_(-1.5)
    if model.config.residual:  # still begins as the identity
        nn.init.zeros_(model.out.weight)


def center(model: LWISP, back: bool = False) -> None:
    """Turn the tensors of an `attention="add"` network into those of the same function with "centered", in place.

    Its config stays what it was. A map is about 1/2 at first, ten times what features of dark planes are.
    Through that constant all weights of the next convolution pull alike, which slows learning (docs/log.md); its bias
    can say what the constant said.

    Args:
        model: Any LW-ISP; one without FGAM stays as it is.
        back: Turn "centered" into "add" instead.
    """
    for convolution in _after_fgam(model):
        assert convolution.bias is not None
        with torch.no_grad():
            convolution.bias += convolution.weight.sum((1, 2, 3)) * (-0.5 if back else 0.5)


def _after_fgam(model: LWISP) -> list[nn.Conv2d]:
    """The convolutions that the features go into which FGAM's maps have met."""
    if not model.config.fgam:
        return []
    if model.config.fgam_reduced:
        return [block.reduce for block in model.modules() if isinstance(block, FGAM) and block.reduce is not None]
    followers = (layer.get_submodule("0") for layer in (*model.stages[1:], model.bottom))
    return [layer for layer in followers if isinstance(layer, nn.Conv2d)]
