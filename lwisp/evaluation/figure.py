"""The grid of the paper's Figures 1 and 5: RAW as seen, networks, camera and ours side by side, PSNR in the corner."""

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.progress import track

from lwisp.data import folders as formats
from lwisp.data.zurich import Zurich, check_one_camera
from lwisp.engines.names import Precision
from lwisp.errors import InputError
from lwisp.evaluation.comparison import find_truth
from lwisp.evaluation.tools import read_camera_jpeg
from lwisp.files.pictures import read_rgb
from lwisp.files.raw import RawImage, read_mosaic, read_raw
from lwisp.files.report import Gallery, Panel, to_picture
from lwisp.files.writing import check_outputs, clear_leftovers, is_regular, make_folder, write_csv, write_whole
from lwisp.imaging import color, metrics
from lwisp.imaging.alignment import Picture
from lwisp.imaging.bayer import plane_order
from lwisp.imaging.pixels import orient, to_integer
from lwisp.imaging.tensors import to_tensor
from lwisp.pipeline import check_develops, check_fits, develop
from lwisp.planning import plan
from lwisp.weights import Weights

FIGURE = ("figure.csv", "figure.png")
"""What a figure consists of."""
ROWS = 4  # pictures that are shown, spread evenly over all
FRAMES = 2  # of Zurich's full frames, below its pairs
SIDE = 320  # px of a shown picture's longer side, at most
CORNER = 5  # px around the words in the corner


@dataclass(frozen=True)
class Scene:
    """One row of the grid."""

    name: str
    raw: RawImage
    truth: Picture | None
    """(H, W, 3), upright, of the developed picture's size; None where none is known."""
    camera: Picture | None
    """The camera's own picture, upright; None where there is none."""


@dataclass(frozen=True)
class FigureScore:
    """One picture of the grid, as `figure.csv` has it."""

    picture: str
    column: str
    weights: str
    """Name on the card of the weights."""
    sha256: str
    """Digest of their tensors."""
    precision: str
    psnr: float
    """dB, of the picture rounded to 8 bits; NaN where no truth is known."""
    command: str


def draw_figure(
    weights: Weights,
    networks: dict[str, Weights],
    sources: list[Path],
    output: Path,
    truth: Path | None = None,
    precision: Precision = "auto",
    overwrite: bool = False,
) -> list[FigureScore]:
    """Develop RAW files with several networks and draw the pictures as one grid; progress on stderr.

    The columns are the RAW as seen, each network, the camera, ours, and the truth where it is not the camera's picture.

    Args:
        weights: Ours, the last network.
        networks: Weights to stand beside, by their names or files; columns are named by the file without folder.
        sources: RAW files or folders of them; or one folder of Zurich RAW to RGB, of which test pairs are shown, with
            the camera's pictures as truth, and full frames where they are.
        output: Folder of `figure.png` and `figure.csv`.
        truth: Folder of what RAW files show, upright: `NAME.png` (or .jpg, .tif).
        precision: What the networks compute in.
        overwrite: Whether an earlier figure may be replaced.

    Returns:
        The PSNR of every picture.

    Raises:
        InputError: Weights do not develop RAWs, a file cannot be read, a truth has another size than its picture, or
            something is in the way.
    """
    stems = [Path(name).stem for name in networks]
    names = [stem if stems.count(stem) == 1 else name for stem, name in zip(stems, networks, strict=True)]
    columns = {**dict(zip(names, networks.values(), strict=True)), f"ours: {weights.card.name}": weights}
    for each in columns.values():
        check_develops(each)
    make_folder(output)
    clear_leftovers(output)
    check_outputs(output, FIGURE, overwrite, _is_figure)
    command = " ".join(["lwisp", *sys.argv[1:]])
    if _is_zurich(sources):
        for each in columns.values():
            check_one_camera(each.card.convention)
    scores: list[FigureScore] = []
    galleries: list[Gallery] = []
    for read in track(_scenes_of(sources, truth), "drawing", transient=True, console=Console(stderr=True)):
        scene = read()
        panels: list[Panel] = []
        for column, each in columns.items():
            check_fits(each, scene.raw)
            picture: Picture = to_integer(develop(each, scene.raw, precision=precision, crop="none"), 8)
            psnr = _psnr(picture, scene)
            panels.append(_panel(picture, column, psnr))
            scores.append(FigureScore(scene.name, column, each.card.name, each.sha256, precision, psnr, command))
        galleries.append(Gallery(scene.name, [_row_of(scene, panels)]))
    check_outputs(output, FIGURE, overwrite, _is_figure)
    grid = to_picture(galleries)
    write_csv(output / "figure.csv", scores, overwrite)
    write_whole(output / "figure.png", lambda file: grid.save(file, "PNG"), overwrite)
    return scores


def raw_as_seen(raw: RawImage) -> Picture:
    """A RAW as its sensor saw it: black and white level and the sRGB curve; no balance, no colors, no demosaicing.

    Args:
        raw: The RAW.

    Returns:
        (H, W, 3), upright and of even sides: each cell of 2x2 photosites in one color, its greens averaged.
    """
    height, width = (side // 2 * 2 for side in raw.mosaic.shape)
    planes = [
        (raw.mosaic[row:height:2, column:width:2].astype(np.float32) - black) / (white - black)
        for (row, column), black, white in zip(plane_order(raw.cfa), raw.black_level, raw.white_level, strict=True)
    ]
    light = np.stack([planes[0], (planes[1] + planes[2]) / 2, planes[3]]).clip(0, 1)
    shown = color.srgb_encode(torch.from_numpy(light)).permute(1, 2, 0).numpy()
    return orient(np.asarray(to_integer(shown, 8)).repeat(2, 0).repeat(2, 1), raw.orientation)


def _row_of(scene: Scene, networks: list[Panel]) -> list[Panel]:
    """The panels of a row: RAW, networks, camera, ours, truth."""
    row = [_panel(raw_as_seen(scene.raw), "RAW as seen"), *networks[:-1]]
    if scene.camera is not None:
        row.append(_panel(scene.camera, "camera"))
    row.append(networks[-1])
    if scene.truth is not None and scene.truth is not scene.camera:
        row.append(_panel(scene.truth, "truth"))
    return row


def _panel(picture: Picture, caption: str, psnr: float = math.nan) -> Panel:
    """A picture of `SIDE` px at most, with its PSNR in the corner."""
    shown = Image.fromarray(picture)
    shown.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    if not math.isnan(psnr):
        draw, words, font = ImageDraw.Draw(shown), f"{psnr:.2f} dB", ImageFont.load_default(14)
        left, top, right, bottom = draw.textbbox((2 * CORNER, 2 * CORNER), words, font)
        draw.rectangle((left - CORNER, top - CORNER, right + CORNER, bottom + CORNER), "black")
        draw.text((2 * CORNER, 2 * CORNER), words, "white", font)
    return Panel(np.asarray(shown), caption)


def _psnr(picture: Picture, scene: Scene) -> float:
    """PSNR in dB against the truth; NaN without one."""
    if scene.truth is None:
        return math.nan
    if picture.shape != scene.truth.shape:
        sizes = ["x".join(map(str, each.shape[:2])) for each in (scene.truth, picture)]
        raise InputError(f"{scene.name}: a truth of {sizes[0]} px, expected that of its developed picture, {sizes[1]}")
    return metrics.psnr(to_tensor(picture), to_tensor(scene.truth))


def _scenes_of(sources: Sequence[Path], truth: Path | None) -> list[Callable[[], Scene]]:
    """What is shown, read when it is called."""
    if _is_zurich(sources):
        if truth is not None:
            raise InputError(f"{sources[0]}: Zurich's truth is its camera's pictures; expected no --truth")
        return _zurich_scenes(sources[0])
    files = [job.source for job in plan(sources, None, None)]
    return [partial(_read_scene, file, truth) for file in formats.sample(files, ROWS)]


def _is_zurich(sources: Sequence[Path]) -> bool:
    return len(sources) == 1 and (sources[0] / Zurich.SPLITS["test"] / Zurich.FOLDERS[0]).is_dir()


def _zurich_scenes(root: Path) -> list[Callable[[], Scene]]:
    pairs = Zurich(root, "test")
    shown = [partial(_read_zurich, *pairs.pairs[name]) for name in formats.sample(pairs.names, ROWS)]
    if not (root / "full_resolution").is_dir():
        return [*shown]
    frames = formats.sample(Zurich.full_frames(root), FRAMES)
    return [*shown, *(partial(_read_zurich, frame, None) for frame in frames)]


def _read_zurich(mosaic: Path, camera: Path | None) -> Scene:
    raw = read_mosaic(mosaic, "RGGB", Zurich.BLACK_LEVEL, Zurich.WHITE_LEVEL, (1.0, 1.0, 1.0))
    picture = None if camera is None else read_rgb(camera)
    name = f"test/{mosaic.stem}" if camera else f"full_resolution/{mosaic.stem}, no truth"
    return Scene(name, raw, picture, picture)


def _read_scene(file: Path, truth: Path | None) -> Scene:
    shown = None if truth is None else read_rgb(find_truth(truth, file))
    try:
        camera = read_camera_jpeg(file)
    except InputError:
        camera = None
    return Scene(file.stem, read_raw(file), shown, camera)


def _is_figure(path: Path) -> bool:
    """Whether this is a table as `draw_figure` writes it."""
    try:
        if not is_regular(path):
            return False
        with path.open(encoding="utf-8") as table:
            return table.readline().split(",")[:3] == ["picture", "column", "weights"]
    except (OSError, ValueError, InputError):
        return False
