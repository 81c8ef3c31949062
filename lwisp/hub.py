"""LW-ISP as a module of Hugging Face's hub: `from_pretrained`, `save_pretrained` and `push_to_hub`, by its own mixin.

    from lwisp.hub import hub_class
    network = hub_class().from_pretrained("folder or name on the hub")

Needs `pip install 'lwisp[hub,torch]'`. `from_pretrained` reads what `lwisp hub pack` writes, too. `save_pretrained`
writes the network alone, with its config; the card, which says how a RAW is prepared, stays in lwisp's own files
(`lwisp.interchange.save_weights`), which `lwisp hub pack` makes repositories of.
"""

from dataclasses import asdict
from functools import cache, partial
from typing import Any

from lwisp.architecture import LWISPConfig
from lwisp.files.optional import need
from lwisp.model import LWISP
from lwisp.records import parse


@cache
def hub_class() -> Any:
    """The class `PretrainedLWISP`: an `LWISP` with the hub's mixin.

    Raises:
        InputError: huggingface_hub is not installed.
    """
    mixin: Any = need("huggingface_hub.hub_mixin", "the hub of models").PyTorchModelHubMixin

    told: dict[str, Any] = {
        "library_name": "lwisp",
        "tags": ["image-signal-processing", "raw", "denoising"],
        "paper_url": "https://arxiv.org/abs/2210.03904",
        "coders": {LWISPConfig: (asdict, partial(parse, LWISPConfig))},
    }

    class PretrainedLWISP(LWISP, mixin, **told):  # type: ignore[misc]
        """LW-ISP that is loaded from and sent to the hub."""

        def __init__(self, config: LWISPConfig = LWISPConfig()) -> None:
            super().__init__(config)

    return PretrainedLWISP


def to_hub(network: LWISP) -> Any:
    """The same network, of the class that has `save_pretrained` and `push_to_hub`.

    Args:
        network: any LW-ISP, as `lwisp.load("photo").network` is.

    Raises:
        InputError: huggingface_hub is not installed.
    """
    made = hub_class()(network.config)
    made.load_state_dict(network.state_dict())
    return made.train(network.training)
