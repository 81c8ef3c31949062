"""Put the recipes and a sample RAW into the wheel; all else about the package stands in `pyproject.toml`."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
BUNDLED = [
    *sorted((ROOT / "recipes").glob("*.toml")),
    ROOT / "samples" / "gopro_hero6_mural.dng",
    *sorted((ROOT / "docs" / "models").glob("*.md")),  # for `lwisp hub pack`, as the figures of quality and time
    ROOT / "docs" / "results" / "front.csv",
]
"""Files that lie beside the package in a checkout, and among its assets once installed (`lwisp/files/places.py`)."""


class BuildWithBundled(build_py):
    """Copies `BUNDLED` to the assets; an editable install finds them where they are."""

    def run(self) -> None:
        """Build the package."""
        super().run()
        if self.editable_mode:
            return
        for source in BUNDLED:
            target = Path(self.build_lib) / "lwisp" / "assets" / source.parent.name / source.name
            self.mkpath(str(target.parent))
            self.copy_file(str(source), str(target))


setup(cmdclass={"build_py": BuildWithBundled})
