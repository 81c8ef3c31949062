"""LW-ISP: RAW photos to finished pictures with one two-million-parameter network.

    import lwisp
    rgb = lwisp.develop(lwisp.load("photo"), lwisp.read_raw("photo.dng"))  # (H, W, 3) float32 sRGB in [0, 1]

Importing the package does nothing; a name brings its module when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lwisp.batch import plan
    from lwisp.errors import InputError
    from lwisp.files.pictures import open_picture
    from lwisp.files.raw import RawImage, read_mosaic, read_raw
    from lwisp.model import LWISP, LWISPConfig
    from lwisp.pipeline import Developer, develop, develop_files, pick
    from lwisp.restoration import denoise_raw, denoise_raw_files, retouch, retouch_files
    from lwisp.weights import load

_HOMES = {
    "Developer": "pipeline",
    "InputError": "errors",
    "LWISP": "model",
    "LWISPConfig": "model",
    "RawImage": "files.raw",
    "denoise_raw": "restoration",
    "denoise_raw_files": "restoration",
    "develop": "pipeline",
    "develop_files": "pipeline",
    "load": "weights",
    "open_picture": "files.pictures",
    "pick": "pipeline",
    "plan": "batch",
    "read_mosaic": "files.raw",
    "read_raw": "files.raw",
    "retouch": "restoration",
    "retouch_files": "restoration",
}

__all__ = [
    "LWISP",
    "Developer",
    "InputError",
    "LWISPConfig",
    "RawImage",
    "denoise_raw",
    "denoise_raw_files",
    "develop",
    "develop_files",
    "load",
    "open_picture",
    "pick",
    "plan",
    "read_mosaic",
    "read_raw",
    "retouch",
    "retouch_files",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'lwisp' has no attribute {name!r}")
    return getattr(import_module(f"lwisp.{_HOMES[name]}"), name)
