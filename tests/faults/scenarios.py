"""Commands that write, each with its small input and what it makes."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from lwisp.architecture import LWISPConfig
from lwisp.camera.settings import CameraSettings, LookFit, NetworkFit, PieceLimits, ReportSettings, ValidationSettings
from lwisp.data import synthetic
from lwisp.files.dng import write_mosaic_dng
from lwisp.files.runs import run_folder
from lwisp.model import LWISP
from lwisp.weights import Card, InputConvention, save

WEIGHTS = "toy.safetensors"
ARCHITECTURE = LWISPConfig(width=4)
BAYER = np.array([["R", "G"], ["G", "B"]])
RECIPE = """
name = "tiny"
licence = "MIT"
data = "synthetic"
convention = { white_balance = "none", color = "camera", exposure = "none" }
architecture = { width = 4 }
steps = 4
batch = 2
crop = 32
alpha = 0
warmup = 1
learning_rate = 1e-3
precision = "fp32"
checkpoint_every = 2
validate_every = 4
"""
LOOK = CameraSettings(
    look=LookFit(steps=10, shading_steps=5),
    validation=ValidationSettings(folds=2, draws=1),
    report=ReportSettings(tools=("rawpy default",)),
)
WHOLE = replace(
    LOOK,
    network=NetworkFit(min_photos=4, steps=2, batch=1, crop=32),
    pieces=PieceLimits(side=64),
    validation=replace(LOOK.validation, min_gain=-100.0),
)


@dataclass(frozen=True)
class Scenario:
    """A command, its input, and which of its files are results."""

    name: str
    prepare: Callable[[Path], None]
    """Fills the working folder."""
    arguments: tuple[str, ...] = ()
    function: str = ""
    """"module:function", which is called in place of the command."""
    underway: tuple[str, ...] = ()
    """Patterns of paths of files that change while the command works, or tell when: only their end is compared."""
    untold: tuple[str, ...] = ()
    """Patterns of paths of files whose content is another each time."""

    def is_underway(self, path: str) -> bool:
        """Whether a file, by its path in the working folder, may have any content while the command works."""
        return any(fnmatch(path, pattern) for pattern in (*self.underway, *self.untold))

    def is_untold(self, path: str) -> bool:
        """Whether a file's content is another each time."""
        return any(fnmatch(path, pattern) for pattern in self.untold)


def _raws(folder: Path) -> None:
    (folder / "photos").mkdir()
    for index, name in enumerate(("a", "b")):
        mosaic = np.random.default_rng(index).integers(64, 4000, (40, 60), dtype=np.uint16)
        path = folder / "photos" / f"{name}.dng"
        write_mosaic_dng(path, mosaic, BAYER, (64, 4095), (2.0, 1.0, 1.5), np.eye(3, dtype=np.float32))


def _weights(folder: Path, architecture: LWISPConfig = ARCHITECTURE) -> None:
    torch.manual_seed(0)
    save(folder / WEIGHTS, LWISP(architecture).eval(), Card("toy", architecture, InputConvention(), "MIT"))


def _developing(folder: Path) -> None:
    _raws(folder)
    _weights(folder)


def _replacing(folder: Path) -> None:
    """Whole files that lie there already, which the command replaces."""
    _developing(folder)
    (folder / "out").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(folder / "out" / f"{name}.jpg")


def _denoising(folder: Path) -> None:
    (folder / "pictures").mkdir()
    for index, name in enumerate(("a.jpg", "b.png")):
        _picture(index, 48, 64).save(folder / "pictures" / name)
    _weights(folder, LWISPConfig(width=4, in_channels=3, upsample=False))


def _picture(seed: int, height: int, width: int) -> Image.Image:
    values = np.random.default_rng(seed).integers(20, 235, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(values).resize((width, height), Image.Resampling.BICUBIC)


def _training(folder: Path) -> None:
    (folder / "tiny.toml").write_text(RECIPE)


def _teaching(folder: Path) -> None:
    text = 'beta = 0.01\ngamma = 0\ndistill = ["up3", "up4"]\nteacher_steps = 2\n'
    (folder / "tiny.toml").write_text(RECIPE + text)


def _dng(folder: Path) -> None:
    for index, name in enumerate(("a", "b")):
        np.save(folder / f"{name}.npy", np.random.default_rng(index).integers(64, 900, (40, 60), dtype=np.uint16))


def _synthesizing(folder: Path) -> None:
    (folder / "photos").mkdir()
    for index in range(2):
        _picture(index, 96, 128).save(folder / "photos" / f"{index}.png")


def _wrapping(folder: Path) -> None:
    torch.manual_seed(0)
    torch.save(LWISP(ARCHITECTURE).state_dict(), folder / "bare.pth")
    (folder / "tiny.toml").write_text(RECIPE)


def _pairs(folder: Path) -> None:
    """Four pairs of a camera with a hard look: a patchwork of many colors, edges everywhere."""
    photos = folder / "photos"
    photos.mkdir()
    for index in range(4):
        rng = np.random.default_rng(index)
        picture = np.zeros((256, 320, 3), np.uint8)
        for side in (64, 32, 16):
            colors = rng.integers(10, 245, (256 // side, 320 // side, 3), dtype=np.uint8)
            chosen = rng.random(colors.shape[:2]) < (1 if side == 64 else 0.4)
            big = np.ones((side, side, 1), np.uint8)
            picture = np.where(np.kron(chosen[..., None], big), np.kron(colors, big), picture).astype(np.uint8)
        Image.fromarray(picture).save(photos / f"{index}.png")
    synthetic.write_camera(folder / "camera", sorted(photos.glob("*.png")))
    shutil.rmtree(photos)


def learn_look() -> None:
    """Learn a camera's look, with settings that take a moment."""
    _learn(LOOK)


def learn_whole() -> None:
    """Learn a camera's look and the whole network, with settings that take a moment."""
    _learn(WHOLE)


def _learn(settings: CameraSettings) -> None:
    from lwisp.camera.learning import learn
    from lwisp.training.progress import Reporter

    with Reporter(quiet=True) as reporter:
        learn(Path("camera"), Path("own.safetensors"), settings=settings, reporter=reporter)


def save_for_hub() -> None:
    """Write a network in the hub's form."""
    from lwisp.hub import to_hub
    from lwisp.weights import load

    network = load(WEIGHTS).network
    assert isinstance(network, LWISP)
    to_hub(network).save_pretrained("hub")


def _command(line: str) -> tuple[str, ...]:
    return tuple(line.split())


RUN = (f"{run_folder(Path('own.safetensors'))}/*",)
"""What keeps the progress of a run."""
TOLD = ("*/tensorboard/*", "*log.jsonl", "*/lock", "*/run.json", "*/state.pt")
"""What tells when something was done, and what only is there."""
SENSOR = "--cfa RGGB --black-level 64 --white-level 1023"
DEVELOP = f"develop photos -o out --weights {WEIGHTS}"
SCENARIOS: Sequence[Scenario] = (
    Scenario("develop", _developing, _command(f"{DEVELOP} --log log.jsonl"), untold=TOLD),
    Scenario("develop-tiff", _developing, _command(f"{DEVELOP} --format tiff")),
    Scenario("develop-png16", _developing, _command(f"{DEVELOP} --format png16")),
    Scenario("develop-avif", _developing, _command(f"{DEVELOP} --format avif")),
    Scenario("develop-jxl", _developing, _command(f"{DEVELOP} --format jxl")),
    Scenario("develop-torch", _developing, _command(f"{DEVELOP} --backend torch")),
    Scenario("develop-onnxruntime", _developing, _command(f"{DEVELOP} --backend onnxruntime")),
    Scenario("denoise", _denoising, _command(f"denoise pictures -o out --weights {WEIGHTS}")),
    Scenario("denoise-raw", _developing, _command("denoise-raw photos -o out --backend torch")),
    Scenario("dng", _dng, _command(f"dng a.npy b.npy {SENSOR} -o out")),
    Scenario("train", _training, _command("train tiny.toml -o own.safetensors"), underway=RUN, untold=TOLD),
    Scenario("teach", _teaching, _command("train tiny.toml -o own.safetensors"), underway=RUN, untold=TOLD),
    Scenario(
        "camera", _pairs, function="tests.faults.scenarios:learn_look", underway=(*RUN, "own.safetensors-report/*")
    ),
    Scenario(
        "camera-whole",
        _pairs,
        function="tests.faults.scenarios:learn_whole",
        underway=(*RUN, "own.safetensors-report/*"),
        untold=TOLD,
    ),
    Scenario("export-onnx", _weights, _command(f"export {WEIGHTS} --format onnx -o made.onnx")),
    Scenario("export-planes", _weights, _command(f"export {WEIGHTS} --format onnx -o made.onnx --planes")),
    Scenario("export-openvino", _weights, _command(f"export {WEIGHTS} --format openvino -o made.xml")),
    Scenario("synthesize-dng", _synthesizing, _command("synthesize dng photos -o made")),
    Scenario("synthesize-camera", _synthesizing, _command("synthesize camera photos -o made")),
    Scenario("wrap", _wrapping, _command("weights wrap bare.pth --recipe tiny.toml -o made.safetensors")),
    Scenario("bare", _weights, _command(f"weights bare {WEIGHTS} -o made.safetensors")),
    Scenario("bare-pth", _weights, _command(f"weights bare {WEIGHTS} -o made.pth")),
    Scenario("hub", _weights, function="tests.faults.scenarios:save_for_hub"),
    Scenario("sample", lambda folder: None, ("sample",)),
)
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
