"""The page of pictures: the same RAW files by lwisp, rawpy, RawTherapee and the camera, good frames and bad ones.

    python benchmarks/gallery.py FRAMES.toml FOLDER... --output docs [--weights photo] [--only NAME,...]

FRAMES.toml has a table `[[frame]]` for each: `file`, a name that is looked for in the FOLDERs and below them, or one of
the made charts `zone-plate.dng`, `lines-on-dark.dng`, `lines-on-light.dng`; `words` under the title; and `crop`, row
and column of the top left of what is shown at 100 % (without it the place with the most detail). Writes `gallery.md`
and two JPEGs for each frame in `gallery/`: the whole picture, 640 px, and the detail. RawTherapee takes part where it
is installed.
"""

import argparse
import tomllib
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

import lwisp
from lwisp.data import resolution_charts, synthetic
from lwisp.evaluation.comparison_gallery import cut_alike, find_details
from lwisp.evaluation.tools import Tool, all_tools
from lwisp.files.pictures import read_rgb
from lwisp.files.report import Block, Gallery, Heading, Panel, to_markdown, to_picture
from lwisp.files.writing import make_folder, temporary_folder, write_text, write_whole
from lwisp.imaging.alignment import find_shift, shift_image
from lwisp.planning import Job

WHOLE = 640  # px of the longer side
DETAIL = 320  # px a side, at 100 %
SHOWN = ("rawpy default", "RawTherapee default", "camera")
"""What stands beside lwisp."""
TITLE = "Gallery"
HEAD = (
    "The same files, each tool as a user gets it who changes no setting: whole pictures, and under them one detail at "
    "100 % of each. Pictures are laid onto lwisp's by whole pixels, details once more. A camera's JPEG is scaled to "
    "the size of the RAW. The charts are made: the photosites of a simulated Canon EOS 30D without noise; *truth* is "
    "what was drawn."
)


@dataclass(frozen=True)
class Frame:
    """One RAW that is shown."""

    file: str
    words: str
    """What there is to see."""
    crop: tuple[int, int] | None = None
    """Row and column of the detail's top left, in px of the upright picture."""

    @property
    def name(self) -> str:
        """Of its pictures, without suffix."""
        return Path(self.file).stem


def read_frames(path: Path) -> list[Frame]:
    """The frames of a list; raises `SystemExit` with a sentence for what is none."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))["frame"]
        return [Frame(**{**table, "crop": tuple(table["crop"]) if "crop" in table else None}) for table in tables]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SystemExit(f"{path}: expected tables [[frame]] with file, words and crop ({error})") from None


def make_charts(folder: Path) -> dict[str, Path]:
    """The made charts' RAW files by their names; what they show lies in `truth` beside their folder."""
    charts = {
        "zone-plate": resolution_charts.zone_plate(synthetic.DNG_SIDE),
        "lines-on-dark": resolution_charts.line_fan(synthetic.DNG_SIDE, 0.02, 0.8),
        "lines-on-light": resolution_charts.line_fan(synthetic.DNG_SIDE, 0.8, 0.02),
    }
    make_folder(folder / "drawn")
    paths = [folder / "drawn" / f"{name}.png" for name in charts]
    for path, chart in zip(paths, charts.values(), strict=True):
        Image.fromarray(np.ascontiguousarray(chart.permute(1, 2, 0).numpy())).save(path)
    synthetic.write_dngs(folder / "made", paths)
    return {f"{name}.dng": folder / "made" / "clean" / f"{name}.dng" for name in charts}


def find_sources(frames: list[Frame], folders: list[Path], made: dict[str, Path]) -> list[Path]:
    """The RAW of each frame; raises `SystemExit` for one that is nowhere."""
    known = {path.name: path for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()} | made
    missing = [frame.file for frame in frames if frame.file not in known]
    if missing:
        raise SystemExit(f"not in {', '.join(map(str, folders))}: {', '.join(missing)}")
    return [known[frame.file] for frame in frames]


def develop_all(tools: list[Tool], sources: list[Path], workspace: Path) -> list[dict[str, Path]]:
    """For each RAW its pictures by the tools' names, lwisp's first."""
    pictures: list[dict[str, Path]] = [{} for _ in sources]
    for number, tool in enumerate(tools):
        make_folder(workspace / str(number))
        jobs = [Job(path, workspace / str(number) / f"{index}.png", "png") for index, path in enumerate(sources)]
        failures = tool.develop(jobs)
        for job, found in zip(jobs, pictures, strict=True):
            if job.source not in failures:
                found[tool.name] = job.output
        for failure in failures.values():
            print(failure, flush=True)
    return pictures


def show(frame: Frame, pictures: dict[str, Path], folder: Path) -> list[Block]:
    """Write a frame's two JPEGs; its part of the page."""
    reference = read_rgb(next(iter(pictures.values())))
    crop = frame.crop or find_details(reference)["detail"]
    wholes, details = [], []
    for name, path in pictures.items():
        picture = read_rgb(path)
        picture = shift_image(picture, find_shift(picture, reference), reference.shape[:2])
        small = Image.fromarray(picture)
        small.thumbnail((WHOLE, WHOLE), Image.Resampling.LANCZOS)
        wholes.append(Panel(np.asarray(small), name))
        details.append(Panel(cut_alike(picture, reference, crop, DETAIL), name))
    blocks: list[Block] = [Heading(frame.file), frame.words]
    for kind, panels in (("whole", wholes), ("detail", details)):
        title = frame.file if kind == "whole" else f"{frame.file}, 100 % from row {crop[0]}, column {crop[1]}"
        page = to_picture([Gallery(title, [panels])])
        path = folder / f"{frame.name}-{kind}.jpg"
        write_whole(path, partial(page.save, format="JPEG", quality=90, subsampling=0))
        blocks.append(f"![{title}: {', '.join(pictures)}]({folder.name}/{path.name})")
    return blocks


def main() -> None:
    """Read the list, develop everything, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("frames", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--weights", default="photo")
    parser.add_argument("--only", default="", help="names of files, with commas between; the page has these alone")
    options = parser.parse_args()
    wanted = options.only.split(",") if options.only else []
    frames = [frame for frame in read_frames(options.frames) if not wanted or frame.file in wanted]
    weights = lwisp.load(options.weights)
    known = all_tools(weights)
    tools = [known[0], *(tool for tool in known if tool.name in SHOWN)]
    about = [f"{tool.name}: {tool.about}" if tool.installed else f"{tool.name}: not installed" for tool in tools]
    make_folder(options.output / "gallery")
    with temporary_folder() as workspace:
        made = make_charts(workspace)
        sources = find_sources(frames, options.folders, made)
        pictures = develop_all([tool for tool in tools if tool.installed], sources, workspace)
        blocks: list[Block] = [
            HEAD,
            f"Made by `python benchmarks/gallery.py {options.frames} FOLDER --output {options.output}`, weights "
            f"{weights.card.name} (SHA-256 of the tensors {weights.sha256[:16]}). {'; '.join(about)}.",
        ]
        for frame, source, found in zip(frames, sources, pictures, strict=True):
            if frame.file in made:
                found["truth"] = workspace / "made" / "truth" / f"{source.stem}.png"
            blocks += show(frame, found, options.output / "gallery")
            print(frame.file, flush=True)
    write_text(options.output / "gallery.md", to_markdown(TITLE, blocks))


if __name__ == "__main__":
    main()
