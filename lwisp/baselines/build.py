"""Building a baseline: its class is imported only then, and its contract is that of `LWISP`."""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from lwisp.architecture import LWISPConfig
from lwisp.baselines.config import Architecture, BaselineConfig, Name, OwnConfig
from lwisp.baselines.own import build_own
from lwisp.model import LWISP, pad_to_multiple


def network_class(name: Name) -> Callable[..., nn.Module]:
    """What builds a baseline network, whose code is imported by this call.

    Args:
        name: One of the keys of `NETWORKS`.

    Returns:
        Its class, or that with some arguments: a module (B, 4, h, w) -> (B, 3, 2h, 2w), whose `h` and `w` meet the
        needs in `NETWORKS`.
    """
    from lwisp.baselines.challenge import HERN, PyNETCA
    from lwisp.baselines.denoisers import TNRD, VDN, CBDNet, MIRNet, RIDNet
    from lwisp.baselines.isps import AWNet, CameraNet, PyNET
    from lwisp.baselines.restoration import DPED, SRCNN, DnCNN, NAFNet, SRResNet
    from lwisp.baselines.translation import SPADE, Pix2Pix, UNet

    classes: dict[Name, Callable[..., nn.Module]] = {
        "srcnn": SRCNN,
        "srgan": SRResNet,
        "dped": DPED,
        "dncnn": DnCNN,
        "unet": UNet,
        "pix2pix": Pix2Pix,
        "spade": SPADE,
        "nafnet": NAFNet,
        "pynet": PyNET,
        "awnet": AWNet,
        "cameranet": CameraNet,
        "pynet-ca": PyNETCA,
        "hern": HERN,
        "tnrd": TNRD,
        "ridnet": RIDNet,
        "cbdnet": CBDNet,
        "vdn": VDN,
        "mirnet": MIRNet,
        "unet-fgam": partial(UNet, fgam=True),
        "unet-ccb": partial(UNet, ccb=True),
        "nafnet-fgam": partial(NAFNet, fgam=True),
        "nafnet-ccb": partial(NAFNet, ccb=True),
    }
    return classes[name]


class Baseline(nn.Module):
    """A network of `NETWORKS`, or of somebody else's: planes (B, 4, h, w) in [0, 1] -> RGB (B, 3, 2h, 2w), any h and w.

    RGB (B, 3, h, w) -> RGB (B, 3, h, w), or planes to planes, where its config says so.
    `forward` reflects the planes at the bottom and right to what the network needs and crops the result. The picture is
    held to [0, 1] in evaluation only: networks that end without a sigmoid would learn nothing beyond the limits.
    """

    def __init__(self, config: BaselineConfig | OwnConfig) -> None:
        super().__init__()
        self.config = config
        if isinstance(config, OwnConfig):
            self.network = build_own(config)
            return
        network = network_class(config.network)
        self.network = network() if config.takes == "raw" else network(inputs=3, outputs=3, enlarge=1)

    def forward(self, planes: Tensor) -> Tensor:
        height, width = planes.shape[-2:]
        padded = pad_to_multiple(planes, self.config.size_multiple, self.config.size_minimum)
        rgb: Tensor = self.network(padded)
        rgb = rgb[..., : self.config.scale * height, : self.config.scale * width]
        return rgb if self.training else rgb.clamp(0, 1)


def build(architecture: Architecture) -> LWISP | Baseline:
    """The network of an architecture, with random weights.

    Args:
        architecture: An `LWISPConfig`, a `BaselineConfig` for a network of `NETWORKS`, or an `OwnConfig` for any other.

    Returns:
        LW-ISP or a baseline in training mode, drawn with torch's global generator.

    Raises:
        InputError: A network that is not of this package was not imported before.
    """
    return LWISP(architecture) if isinstance(architecture, LWISPConfig) else Baseline(architecture)
