"""Writes samples of what this version writes, for later versions to read: `python -m tests.old.make`.

They come into `tests/old/VERSION`. Those of a released version are not made anew: what it wrote is what counts.
"""

import lzma
import shutil
import sys
from collections.abc import Iterator
from contextlib import chdir, contextmanager
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from lwisp.architecture import LWISPConfig
from lwisp.baselines.config import OwnConfig
from lwisp.baselines.own import import_own
from lwisp.conversion import export
from lwisp.files.runs import run_folder
from lwisp.model import LWISP
from lwisp.training.progress import Reporter
from lwisp.training.recipe import Recipe
from lwisp.training.runs import train
from lwisp.weights import Camera, Card, InputConvention, LearnedPair, Photo, load, save
from tests.samples import colorful, sense
from tests.samples import save as save_picture
from tests.test_cli import call

OLD = Path(__file__).parent
GAIN = 3.0
"""Of the toy's values, so that its pictures are not all gray."""
RUN = Recipe(
    name="run",
    licence="CC0-1.0",
    root=Path("root"),
    steps=2,
    batch=1,
    crop=32,
    alpha=0,
    warmup=1,
    checkpoint_every=1,
    validate_every=2,
    precision="fp32",
    architecture=OwnConfig("tests.old.network:Layer", "raw"),
)
"""Of the run, which may go on for more steps."""
CARD = Card(
    "toy",
    LWISPConfig(width=4),
    InputConvention(),
    "CC0-1.0",
    (Photo("a.jpg", "CC0-1.0", "Nobody", "https://example.org"),),
    {"recipe": {"data": "photos", "steps": 3}, "versions": {"lwisp": version("lwisp")}},
    {"photos": {"psnr": 30.0}},
    Camera("Lwisp Testcam", "Vivid", (LearnedPair("a.dng", "0" * 64),)),
)


def write_photos(root: Path) -> None:
    """The photographs that the run is trained and validated on."""
    for split in ("train", "val"):
        save_picture(root / split / "0.png", colorful(96, 96))


def few_values(seed: int = 0) -> LWISP:
    """An LW-ISP of width 4 that is small when it is compressed: each value is 0 or one of two others."""
    torch.manual_seed(seed)
    network = LWISP(LWISPConfig(width=4)).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            deviation = parameter.std(correction=0).clamp(min=0.01)
            size = 2.0 ** deviation.mul(GAIN).log2().round()
            parameter.copy_(parameter.div(deviation).round().clamp(-1, 1) * size)
    return network


def write_all() -> None:
    """One sample of each kind into the working folder."""
    network = few_values()
    save(Path("toy.safetensors"), network, CARD)
    export(load(Path("toy.safetensors")), Path("toy.onnx"), "onnx", planes=True)

    import_own("tests.old.network:Layer")
    write_photos(Path("root"))
    train(RUN, Path("run.safetensors"), reporter=Reporter())

    save_picture(Path("photo.png"), sense(colorful(64, 96)))
    facts = ("--cfa", "RGGB", "--black-level", 63, "--white-level", 1000, "--white-balance", "2,1,1.5")
    told = [call("dng", "photo.png", *facts, "-o", "photo.dng")]
    for suffix in ("jpg", "png", "tif"):
        made = ("--weights", "toy.safetensors", "--exposure", 0.5, "--log", "log.jsonl")
        told.append(call("develop", "photo.dng", "-o", f"photo-lwisp.{suffix}", *made))
    for result in told:
        assert result.exit_code == 0, result.output


@contextmanager
def called_as(*words: str) -> Iterator[None]:
    """The command line, which runs keep, without a path of this machine."""
    before, sys.argv = sys.argv, list(words)
    try:
        yield
    finally:
        sys.argv = before


def main() -> None:
    """Write the samples of this version; large ones are compressed."""
    with TemporaryDirectory() as folder, chdir(folder), called_as("lwisp", "train", "run.toml"):
        write_all()
        place = OLD / version("lwisp")
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(run_folder(Path("run.safetensors")), place / "run.safetensors.run", ignore=_left_out)
        names = ("run.safetensors", "log.jsonl", "photo.dng", *(f"photo-lwisp.{end}" for end in ("jpg", "png", "tif")))
        for name in names:
            shutil.copy(name, place / name)
        for name in ("toy.safetensors", "toy.onnx"):
            (place / f"{name}.xz").write_bytes(lzma.compress(Path(name).read_bytes(), preset=9))


def _left_out(_: str, names: list[str]) -> list[str]:
    return [name for name in names if name in ("lock", "tensorboard")]


if __name__ == "__main__":
    main()
