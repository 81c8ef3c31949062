"""Previews for a photo server: `python previews.py ORIGINALS PREVIEWS`, until Ctrl-C; docs/use.md says the rest.

PhotoPrism looks for JPEGs of RAW files in its sidecar folder, below the same folders and under the same names; Immich
takes the folder as an external library.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from lwisp.batch import Outcome
from lwisp.development import Settings, develop_files, pick_fast
from lwisp.files.encoding import Finish
from lwisp.pipeline import Developer
from lwisp.planning import Job
from lwisp.watching import Watch

PREVIEW = Settings(finish=Finish(quality=85, size=2048), strip=True)  # 2048 px, without GPS and names
kept: list[Developer] = []


def develop(jobs: Sequence[Job], overwrite: bool) -> Iterable[Outcome]:
    """Develop new files by the fast weights."""
    return develop_files(pick_fast, jobs, PREVIEW, overwrite=overwrite, prepared=kept)


for outcome in Watch(Path(sys.argv[1]), Path(sys.argv[2]), develop).run():
    print(outcome.error or outcome.output, flush=True)
