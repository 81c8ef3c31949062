"""URLs of files in stores, as paths: names of pictures are made of them as of files."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    _SystemPath = Path
else:
    _SystemPath = type(Path())

SCHEME = re.compile(r"[a-z][a-z0-9+.-]+:")
"""First part of a URL; a drive of Windows has one letter."""


class Url(_SystemPath):
    """A URL such as s3://bucket/folder/IMG.CR2. It is no file of this machine; `name`, `parent` and the like work."""

    def __str__(self) -> str:
        scheme, *rest = self.parts
        return f"{scheme}//{'/'.join(rest)}"

    def __fspath__(self) -> str:
        return str(self)

    @property
    def scheme(self) -> str:
        """What says which kind of store it is, as "s3"."""
        return self.parts[0][:-1]

    @property
    def suffix(self) -> str:
        """As of a file; "" of a bucket, whose name may have dots."""
        return super().suffix if len(self.parts) > 2 else ""


def is_kept(url: str) -> bool:
    """Whether `place` keeps the key of a URL: pathlib drops parts that are empty or ".", and keys may have them.

    Args:
        url: The URL of a file in a store.
    """
    return {"", "."}.isdisjoint(url.partition(":")[2].strip("/").split("/"))


def place(path: Path | str) -> Path:
    """A path as it was given -> a `Url` where it is one, else a path; file:///a/b is the path /a/b.

    Args:
        path: A path or URL; pathlib makes one slash of the two.
    """
    parts = Path(path).parts
    if len(parts) < 2 or not SCHEME.fullmatch(parts[0]):
        return Path(path)
    return Path("/", *parts[1:]) if parts[0] == "file:" else Url(*parts)
