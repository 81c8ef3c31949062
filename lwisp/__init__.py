"""LW-ISP: RAW photos to finished pictures with one two-million-parameter network.

    import lwisp
    rgb = lwisp.develop(lwisp.load("photo"), lwisp.read_raw("photo.dng"))  # (H, W, 3) float32 sRGB in [0, 1]
    lwisp.write_picture("photo.jpg", rgb)

Importing the package does nothing; a name brings its module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lwisp import errors as errors
    from lwisp.architecture import LWISPConfig
    from lwisp.errors import InputError, OutputError
    from lwisp.files.dng import write_dng
    from lwisp.files.linear import LinearImage, read_any
    from lwisp.files.pictures import read_picture, write_picture
    from lwisp.files.raw import RawImage, read_mosaic, read_raw
    from lwisp.model import CCB, FGAM, LWISP
    from lwisp.pipeline import Developer, develop
    from lwisp.restoration import denoise, denoise_raw, enhance
    from lwisp.weights import Weights, load

    __version__: str

_HOMES = {
    "CCB": "model",
    "Developer": "pipeline",
    "FGAM": "model",
    "InputError": "errors",
    "LWISP": "model",
    "LWISPConfig": "architecture",
    "LinearImage": "files.linear",
    "OutputError": "errors",
    "RawImage": "files.raw",
    "Weights": "weights",
    "denoise": "restoration",
    "denoise_raw": "restoration",
    "develop": "pipeline",
    "enhance": "restoration",
    "load": "weights",
    "read_any": "files.linear",
    "read_mosaic": "files.raw",
    "read_picture": "files.pictures",
    "read_raw": "files.raw",
    "write_dng": "files.dng",
    "write_picture": "files.pictures",
}

__all__ = [
    "CCB",
    "FGAM",
    "LWISP",
    "Developer",
    "InputError",
    "LWISPConfig",
    "LinearImage",
    "OutputError",
    "RawImage",
    "Weights",
    "__version__",
    "denoise",
    "denoise_raw",
    "develop",
    "enhance",
    "load",
    "read_any",
    "read_mosaic",
    "read_picture",
    "read_raw",
    "write_dng",
    "write_picture",
]


def __getattr__(name: str) -> Any:
    """The public object of this name, imported when it is first asked for."""
    if name in _HOMES:
        return getattr(import_module(f"lwisp.{_HOMES[name]}"), name)
    if name == "errors":  # its kinds are no names of their own here
        return import_module("lwisp.errors")
    if name == "__version__":
        from importlib.metadata import version

        return version("lwisp")
    raise AttributeError(_unknown(name), name=name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    nearest = get_close_matches(name, __all__, 1, 0.5)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; there are {', '.join(__all__)}"
    return f"module 'lwisp' has no attribute {name!r}{hint}"
