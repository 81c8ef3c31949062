"""The files of the two pages: the local one, and the one that develops in the browser alone.

`shared_page` has what both have; each page's program lies in a folder of its own. What stands in the shared index.html
between the lines `<!-- only NAME -->` and `<!-- end -->` is that page's alone.
"""

import re
from importlib import resources
from typing import Literal

Page = Literal["page", "static_page"]

_ONLY = re.compile(r"<!-- only (\w+) -->\n(.*?)<!-- end -->\n", re.DOTALL)


def files_of(page: Page) -> dict[str, bytes]:
    """The content of a page's files by their names.

    Args:
        page: The folder of its program.
    """
    own = resources.files("lwisp") / "serve"
    places = [*(own / "shared_page").iterdir(), *(own / page).iterdir()]
    found = {place.name: place.read_bytes() for place in places if not place.name.startswith(".")}
    found["index.html"] = _only(page, found["index.html"].decode()).encode()
    return dict(sorted(found.items()))


def _only(page: Page, text: str) -> str:
    """A text without what is another page's."""
    return _ONLY.sub(lambda match: match[2] if match[1] == page else "", text)
