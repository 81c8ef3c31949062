"""`denoise` and `enhance` for programs that load networks with spandrel, as chaiNNer: call `register()` once, then

    spandrel.ModelLoader().load_from_file("denoise-bare.safetensors")

reads what `lwisp weights bare` or `lwisp hub pack` wrote. docs/hub.md says the rest.
"""

import torch
from spandrel import MAIN_REGISTRY, Architecture, ArchSupport, ImageModelDescriptor, ModelTiling, StateDict

from lwisp.architecture import LWISPConfig
from lwisp.model import LWISP

NAMES = ("head.0.weight", "bottom.0.weight", "world.0.weight", "blend.2.weight", "up.2.far.0.weight", "fuse.2.0.weight")


class LWISPArch(Architecture[LWISP]):  # type: ignore[misc,unused-ignore]
    """LW-ISP from RGB to RGB of the same size."""

    def __init__(self) -> None:
        super().__init__(id="LW-ISP", detect=is_rgb_to_rgb)

    def load(self, state_dict: StateDict) -> ImageModelDescriptor[LWISP]:
        """The network of these tensors; values in [0, 1]."""
        width = state_dict["head.0.weight"].shape[0]
        plain, residual = (
            LWISP(LWISPConfig(width=width, in_channels=3, upsample=False, attention="centered", residual=adds)).eval()
            for adds in (False, True)
        )
        residual.load_state_dict(state_dict)
        grays = torch.tensor([0.25, 0.75]).reshape(2, 1, 1, 1).expand(2, 3, 32, 32)
        with torch.no_grad():  # tensors do not tell whether the result is added to the picture: then grays stay grays
            change = float((residual(grays) - grays).abs().mean(dim=(1, 2, 3)).max())
        return ImageModelDescriptor(
            residual if change < 0.1 else plain,
            state_dict,
            architecture=self,
            purpose="Restoration",
            tags=[],
            supports_half=False,
            supports_bfloat16=True,
            scale=1,
            input_channels=3,
            output_channels=3,
            tiling=ModelTiling.DISCOURAGED,  # it takes means over the whole picture
        )


def is_rgb_to_rgb(state_dict: StateDict) -> bool:
    """Whether tensors are those of an LW-ISP that takes RGB and gives RGB of the same size."""
    is_lwisp = all(name in state_dict for name in NAMES) and "out.weight" in state_dict
    return is_lwisp and state_dict["head.0.weight"].shape[1] == state_dict["out.weight"].shape[0] == 3


def register() -> None:
    """Let spandrel know LW-ISP; once is enough, and twice does no harm."""
    MAIN_REGISTRY.add(ArchSupport.from_architecture(LWISPArch()), ignore_duplicates=True)
