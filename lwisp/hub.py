"""LW-ISP as a module of Hugging Face's hub: `from_pretrained`, `save_pretrained` and `push_to_hub`, by its own mixin.

    from lwisp.hub import hub_class
    network = hub_class().from_pretrained("folder or name on the hub")

Needs `pip install 'lwisp[hub,torch]'`. `from_pretrained` reads what `lwisp hub pack` writes, too. `save_pretrained`
writes the network alone, with its config; the card, which says how a RAW is prepared, stays in lwisp's own files
(`lwisp.interchange.save_weights`), which `lwisp hub pack` makes repositories of.
"""

from dataclasses import asdict
from functools import cache, partial
from pathlib import Path
from typing import Any, BinaryIO

from lwisp.architecture import LWISPConfig
from lwisp.errors import unwritable
from lwisp.files.optional import need
from lwisp.files.writing import make_folder, temporary_folder, write_whole
from lwisp.model import LWISP
from lwisp.records import parse

PAGE = "README.md"
"""The page of a model; one that is there is the user's, and stays."""


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

        def save_pretrained(
            self,
            save_directory: str | Path,
            *,
            config: Any = None,
            repo_id: str | None = None,
            push_to_hub: bool = False,
            model_card_kwargs: dict[str, Any] | None = None,
            **pushing: Any,
        ) -> Any:
            """Write the network in the hub's form, as the mixin does, but each file whole or not at all.

            Args:
                save_directory: the folder; made if need be.
                config: in place of the network's own.
                repo_id: name on the hub; the folder's if not given.
                push_to_hub: send it there too.
                model_card_kwargs: for the page of a model that has none yet.
                pushing: as `push_to_hub` takes them.

            Raises:
                OutputError: a file cannot be written; what was there before stays.
            """
            place = Path(save_directory)
            make_folder(place)
            with temporary_folder(place) as made:
                try:
                    super().save_pretrained(made, config=config, model_card_kwargs=model_card_kwargs)
                except OSError as error:
                    raise unwritable(place, error) from error
                for file in sorted(made.iterdir()):
                    if file.name != PAGE or not (place / PAGE).exists():
                        write_whole(place / file.name, partial(_write, file.read_bytes()))
            if not push_to_hub:
                return None
            shared = {"config": config, "model_card_kwargs": model_card_kwargs}
            push: Any = self.push_to_hub
            return push(repo_id=repo_id or place.name, **shared, **pushing)

        def _save_pretrained(self, save_directory: Path) -> None:
            from safetensors.torch import save

            tensors = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
            content = save(tensors, {"format": "pt"})
            write_whole(save_directory / "model.safetensors", partial(_write, content))

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


def _write(content: bytes, file: BinaryIO) -> None:
    file.write(content)
