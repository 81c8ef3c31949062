"""Small synthetic samples in the form of datasets, made of photographs; never to be taken for the dataset.

Zurich's and MAI21's are photographs behind one simulated phone camera (`PHONE`), with the photograph as the DSLR's
picture; "zurich-varied" takes every photograph in another way (`taking`). Plain DNGs are photographs behind a Canon
(`CANON`), for any tool to develop and `compare` to score; with a JPEG of a strong look beside each they are a camera
whose look can be learned.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional

from lwisp.data import unprocess
from lwisp.data.folders import SCENES
from lwisp.data.photos import find_photos
from lwisp.data.taking import Taking, Variation, draw
from lwisp.errors import InputError
from lwisp.files.dng import write_dng, write_linear_dng, write_mosaic_dng
from lwisp.files.linear import DEMOSAICED, LinearImage
from lwisp.files.pictures import read_rgb
from lwisp.files.raw import RawImage
from lwisp.files.writing import clear_leftovers, make_folder, whole_folder, write_text, write_whole
from lwisp.imaging import color, highlights, matrices, mosaic, patterns
from lwisp.imaging.pixels import middle

Kind = Literal["zurich", "zurich-varied", "mai21", "lol", "dng", "xtrans", "linear", "camera"]
RawKind = Literal["dng", "xtrans", "linear"]
"""Plain DNGs: of a Bayer mosaic, of an X-Trans mosaic, of all colors at each pixel."""
SPLITS = {
    "zurich": ("train", "test"),
    "zurich-varied": ("train", "test"),
    "mai21": ("train", "val"),
    "lol": ("our485", "eval15"),
}
PHONE = unprocess.Camera(
    torch.linalg.inv(torch.from_numpy(matrices.cam2rgb_from_srgb(unprocess.GOPRO_CAM2SRGB)))[None],
    torch.tensor([[2.0, 1.0, 1.7]]),
)
"""The one camera of the synthetic Zurich: a GoPro's matrix under daylight."""
SHOT_NOISE = 2e-3
"""Variance of the phone's noise per signal, the signal in [0, 1]."""
READ_NOISE = 2e-6
"""Variance of its noise without signal."""
EXPOSURE = 0.5
"""Exposure of the phone in that of the target, in every scene: scores must not depend on guessing it (docs/log.md)."""
AS_EVER = Taking(PHONE, torch.tensor([EXPOSURE]), torch.tensor([SHOT_NOISE]), torch.tensor([READ_NOISE]))
"""How the phone takes every scene, but for "zurich-varied"."""
CANON = unprocess.Camera(
    torch.linalg.inv(torch.from_numpy(matrices.cam2rgb_from_xyz(unprocess.CANON_30D)))[None],
    torch.from_numpy(matrices.daylight_gains(unprocess.CANON_30D))[None],
)
"""A Canon EOS 30D under D65."""
CANON_LEVELS = 512, 16383
"""Black and white in DN."""
NOISE_LEVELS = {"clean": (0.0, 0.0), "middle": unprocess.ISO_NOISE[800], "high": unprocess.ISO_NOISE[6400]}
"""Shot and read noise of the plain DNGs, by folder."""
CAMERA_NOISE = 5e-4, 1e-6
"""Shot and read noise of the camera with a look: about ISO 200."""
DNG_SIDE = 512
"""px at most of plain DNGs; of larger photographs the middle is taken."""
MAX_HEADROOM = 6.0
"""EV; the most light above white that plain DNGs can be given."""
BRIGHTEST = 0.98
"""Signal of the brightest light in plain DNGs with headroom, the sensor's limit being 1."""
NOTE = "Synthetic: made of photographs by lwisp in the form of this dataset. Not the dataset, no figures of it.\n"


def synthesize(kind: Kind, photos: Sequence[Path], output: Path, headroom: float = 0.0) -> None:
    """Write a synthetic sample of a dataset into a new folder, whole or not at all.

    Args:
        kind: the dataset; those of `RawKind` and "camera" are none: see `write_dngs` and `write_camera`.
        photos: folders of photographs, with `train` and `val` in them but for these; all but the first may be
            photographs alone, which are for the second split.
        output: the new folder.
        headroom: light above white in EV, for those of `RawKind`: see `write_dngs`.

    Raises:
        InputError: where the new folder exists already, photographs are missing or too small, or a headroom does not
            fit.
    """
    if kind not in get_args(Kind):
        raise InputError(f"unknown kind {kind!r}; expected one of {', '.join(get_args(Kind))}")
    if not 0 <= headroom <= MAX_HEADROOM:
        raise InputError(f"expected a headroom of 0 to {MAX_HEADROOM:g} EV, got {headroom:g}")
    if headroom and kind not in get_args(RawKind):
        raise InputError(f"{kind} has no headroom; leave it out, or take one of {', '.join(get_args(RawKind))}")
    if os.path.lexists(output):
        raise InputError(f"{output} exists already; name a new folder")
    if kind not in SPLITS:
        found = [path for folder in photos for path in find_photos(folder)]
        _check_names(found)
        with _whole(output) as made:
            if kind in get_args(RawKind):
                write_dngs(made, found, kind, headroom)  # type: ignore[arg-type]
            else:
                write_camera(made, found)
        return
    splits = {
        split: [_read(path) for folder in _folders_of(photos, part) for path in find_photos(folder)]
        for split, part in zip(SPLITS[kind], ("train", "val"), strict=True)
    }
    with _whole(output) as made:
        if kind == "lol":
            write_lol(made, splits)
        else:
            _WRITERS_OF_MOSAICS[kind](made, splits)


def _folders_of(photos: Sequence[Path], part: str) -> list[Path]:
    """The folders whose photographs are for a split, "train" or "val" of each."""
    found = []
    for number, folder in enumerate(photos):
        if number and not any((folder / name).exists() for name in ("train", "val")):
            found += [folder] if part == "val" else []
        else:
            found.append(folder / part)
    return found


@contextmanager
def _whole(output: Path) -> Iterator[Path]:
    """The new folder, whole or not at all; what killed processes left beside it is cleared."""
    clear_leftovers(output.parent)
    with whole_folder(output) as made:
        yield made


def pictures(count: int, seed: int, height: int = 128, width: int = 160) -> list[Tensor]:
    """Random pictures: smooth color with hard edges.

    Args:
        count: how many.
        seed: of all draws.
        height: px.
        width: px.

    Returns:
        (3, height, width) uint8 each.
    """
    generator = torch.Generator().manual_seed(seed)
    made = []
    for _ in range(count):
        coarse = torch.rand(1, 3, 6, 8, generator=generator)
        picture = functional.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)[0]
        for top, left, tall, wide in torch.rand(12, 4, generator=generator).tolist():
            y, x = int(top * height), int(left * width)
            patch = picture[:, y : y + 4 + int(tall * height / 4), x : x + 4 + int(wide * width / 4)]
            patch.copy_(torch.rand(3, 1, 1, generator=generator).expand_as(patch))
        made.append((picture.clamp(0.05, 0.95) * 255).round().to(torch.uint8))
    return made


def write_zurich(
    folder: Path,
    splits: dict[str, list[Tensor]],
    side: int = 448,
    seed: int = 0,
    variation: Variation | None = None,
) -> None:
    """Write pictures in Zurich's layout, cut into all squares that fit.

    Args:
        folder: is made.
        splits: for "train" and "test" pictures (3, H, W) uint8.
        side: of the squares in px.
        seed: of the noise.
        variation: how differently scenes are taken; None takes all of them alike.

    Raises:
        InputError: where no picture of a split holds a square.
    """
    _write_mosaics(folder, splits, side, seed, ("huawei_raw", "canon"), ".jpg", variation)


def write_mai21(folder: Path, splits: dict[str, list[Tensor]], side: int = 256, seed: int = 0) -> None:
    """Write pictures in MAI21's layout, 10 bits, cut into all squares that fit.

    Args:
        folder: is made.
        splits: for "train" and "val" pictures (3, H, W) uint8.
        side: of the squares in px.
        seed: of the noise.

    Raises:
        InputError: where no picture of a split holds a square.
    """
    _write_mosaics(folder, splits, side, seed, ("mediatek_raw", "fujifilm"), ".png")


def _write_mosaics(
    folder: Path,
    splits: dict[str, list[Tensor]],
    side: int,
    seed: int,
    names: tuple[str, str],
    suffix: str,
    variation: Variation | None = None,
) -> None:
    for split, whole in splits.items():
        if not any(min(picture.shape[1:]) >= side for picture in whole):
            raise InputError(f"no picture for {split} holds a square of {side} px; give larger ones")
    generator = torch.Generator().manual_seed(seed)
    _begin(folder, variation)
    for split, whole in splits.items():
        index = 0
        scenes = ["name,scene"]
        for name in names:
            make_folder(folder / split / name)
        for number, picture in enumerate(whole, 1):
            taking = draw(PHONE, generator, variation) if variation else AS_EVER
            falloff = taking.falloff(*picture.shape[1:])
            for top in range(0, picture.shape[1] - side + 1, side):
                for left in range(0, picture.shape[2] - side + 1, side):
                    rows, columns = slice(top, top + side), slice(left, left + side)
                    square = picture[:, rows, columns]
                    packed = sense(square[None] / 255, taking, generator, falloff[rows, columns])
                    dn = (63 + packed * (1023 - 63)).round().clamp(0, 1023)
                    _write_picture(folder / split / names[0] / f"{index}.png", _to_mosaic(dn))
                    _write_picture(folder / split / names[1] / f"{index}{suffix}", _to_array(square))
                    scenes.append(f"{index},{number}")
                    index += 1
        write_text(folder / split / SCENES, "\n".join(scenes) + "\n")


def sense(rgb: Tensor, taking: Taking, generator: torch.Generator, falloff: Tensor | None = None) -> Tensor:
    """Pictures as the phone's sensor sees them.

    Args:
        rgb: (B, 3, H, W) sRGB in [0, 1], even sides.
        taking: how they are taken.
        generator: of the noise.
        falloff: (H, W), the share of light that reaches each pixel; None for all of it.

    Returns:
        Planes (B, 4, H/2, W/2), black at 0 and white at 1.
    """
    light = unprocess.expose(color.unrender(rgb), taking.camera, taking.exposure)
    packed = unprocess.take_mosaic((light if falloff is None else light * falloff).clamp(0, 1))
    return unprocess.add_noise(packed, taking.shot_noise, taking.read_noise, generator)


def write_lol(folder: Path, splits: dict[str, list[Tensor]], seed: int = 0) -> None:
    """Write pictures in LoL's layout; low light is 4 EV darker, noisy, in 8 bits.

    Args:
        folder: is made.
        splits: for "our485" and "eval15" pictures (3, H, W) uint8.
        seed: of the noise.
    """
    generator = torch.Generator().manual_seed(seed)
    _begin(folder)
    for split, whole in splits.items():
        for light in ("low", "high"):
            make_folder(folder / split / light)
        for index, picture in enumerate(whole, 1):
            linear = color.inverse_tone(picture / 255) / 16
            noisy = linear + (1e-4 * linear).sqrt() * torch.randn(linear.shape, generator=generator)
            low = (color.tone(noisy.clamp(0, 1)) * 255).round().to(torch.uint8)
            _write_picture(folder / split / "low" / f"{index}.png", _to_array(low))
            _write_picture(folder / split / "high" / f"{index}.png", _to_array(picture))


def write_dngs(folder: Path, photos: Sequence[Path], kind: RawKind = "dng", headroom: float = 0.0) -> None:
    """Write plain DNGs of photographs, in a folder for each of `NOISE_LEVELS`, and the photographs in `truth`.

    The photograph is taken as plain sRGB of linear light, white at the sensor's full scale; `CANON` sees it, RGGB;
    noise is added (the place in the list is the seed) and stated in the file. Of X-Trans smaller photographs are made
    larger by reflection, for LibRaw takes no such mosaic under 512 px.

    With headroom the photograph is taken as the tone-mapped picture of a scene, whose light reaches above white: the
    inverse of `highlights.shoulder` gives the scene. The sensor is exposed so that its brightest light is `BRIGHTEST`.

    Args:
        folder: is made.
        photos: files.
        kind: what the files hold.
        headroom: EV that the light of a photograph's white lies above the white of its middle tones; 0 for none.

    Raises:
        InputError: for two photographs of one name.
    """
    _check_names(photos)
    _begin(folder)
    for level in ("truth", *NOISE_LEVELS):
        make_folder(folder / level)
    for seed, path in enumerate(photos):
        picture = _middle(_read(path), DNG_SIDE)
        picture = _reflected(picture, DNG_SIDE) if kind == "xtrans" else picture
        _write_picture(folder / "truth" / f"{path.stem}.png", _to_array(picture))
        light = _scene_of_canon(picture, headroom) if headroom else _light_of_canon(picture)
        generator = torch.Generator().manual_seed(seed)
        for level, noise in NOISE_LEVELS.items():
            _WRITERS[kind](folder / level / f"{path.stem}.dng", light, noise, generator)


def write_camera(folder: Path, photos: Sequence[Path]) -> None:
    """Write photographs as a camera with a strong look saves them: `NAME.dng` and `NAME.jpg`, px for photosite.

    The DNG is as in `write_dngs`, with `CAMERA_NOISE`; the JPEG is `hard_look` of the photograph, quality 92.

    Args:
        folder: is made.
        photos: files.

    Raises:
        InputError: for two photographs of one name.
    """
    _check_names(photos)
    _begin(folder)
    for seed, path in enumerate(photos):
        picture = _read(path)
        picture = _middle(picture, max(picture.shape))
        generator = torch.Generator().manual_seed(seed)
        _write_dng(folder / f"{path.stem}.dng", _light_of_canon(picture), CAMERA_NOISE, generator)
        shown = Image.fromarray(_to_array((hard_look(picture / 255) * 255).round().to(torch.uint8)))
        write_whole(folder / f"{path.stem}.jpg", partial(shown.save, format="JPEG", quality=92))


def hard_look(rgb: Tensor) -> Tensor:
    """A strong look: an S-curve, 50 % more saturation, blue shadows, orange highlights, sharpening.

    Args:
        rgb: (3, H, W) sRGB in [0, 1].

    Returns:
        Of the same shape and range.
    """
    curved = torch.lerp(rgb, color.smoothstep(rgb), 0.8)
    luma = curved.mean(0)
    line = torch.tensor([[1.0, 4.0, 6.0, 4.0, 1.0]]) / 16
    padded = functional.pad(luma[None, None], (2, 2, 2, 2), mode="replicate")
    around = functional.conv2d(functional.conv2d(padded, line[None, None]), line.T[None, None])[0, 0]
    toned = luma + 1.5 * (curved - luma)
    toned = toned + torch.tensor([-0.05, 0.0, 0.07])[:, None, None] * (1 - luma).square()
    toned = toned + torch.tensor([0.06, 0.02, -0.08])[:, None, None] * luma.square()
    return (toned + 0.8 * (luma - around)).clamp(0, 1)


def _check_names(photos: Sequence[Path]) -> None:
    names = [path.stem for path in photos]
    if len(set(names)) < len(names):
        raise InputError(f"two photographs are called {max(names, key=names.count)}; rename one of them")


def _middle(picture: Tensor, side: int) -> Tensor:
    """The middle of (3, H, W), of even sides of at most `side` px."""
    height, width = picture.shape[1:]
    rows = middle(height, min(height - height % 2, side))
    columns = middle(width, min(width - width % 2, side))
    return picture[:, rows, columns]


def _reflected(picture: Tensor, side: int) -> Tensor:
    """(3, H, W), made at least so large by reflection at the bottom and the right."""
    for dim in (1, 2):
        while picture.shape[dim] < side:
            missing = side - picture.shape[dim]
            picture = torch.cat([picture, picture.flip(dim).narrow(dim, 0, min(missing, picture.shape[dim]))], dim)
    return picture


def _light_of_canon(picture: Tensor) -> Tensor:
    """A photograph (3, H, W) uint8 as `CANON` sees it, without noise: (1, 3, H, W), black 0, white 1."""
    return unprocess.expose(_canonical(picture), CANON, torch.ones(1)).clamp(0, 1)


def _scene_of_canon(picture: Tensor, headroom: float) -> Tensor:
    """`_light_of_canon` of the scene of which the photograph is the tone-mapped picture."""
    scene = highlights.stretch(_canonical(picture).clamp(max=1), torch.tensor(2.0**headroom))
    sensed = unprocess.expose(scene, CANON, torch.ones(1))
    return (BRIGHTEST * sensed / sensed.amax().clamp(min=1e-6)).clamp(0, 1)


def _canonical(picture: Tensor) -> Tensor:
    """Linear canonical light (1, 3, H, W) of a photograph (3, H, W) uint8."""
    return color.apply_matrix(color.SRGB_TO_CANONICAL, color.srgb_decode(picture[None] / 255))


def _sensed(light: Tensor, noise: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Light (1, N, H, W) with noise, in DN of `CANON`."""
    noisy = unprocess.add_noise(light, torch.tensor([noise[0]]), torch.tensor([noise[1]]), generator)
    black, white = CANON_LEVELS
    return (black + noisy * (white - black)).round().clamp(0, white)


def _write_xtrans(path: Path, light: Tensor, noise: tuple[float, float], generator: torch.Generator) -> None:
    height, width = light.shape[2:]
    colors = patterns.colors_of(patterns.XTRANS, (height, width), "RGB").astype(np.int64)
    dn = _sensed(light.gather(1, torch.from_numpy(colors)[None, None]), noise, generator)
    photosites = dn[0, 0].numpy().astype(np.uint16)
    gains, matrix = CANON.white_balance[0].tolist(), CANON.cam2rgb[0].numpy()
    write_mosaic_dng(path, photosites, patterns.XTRANS, CANON_LEVELS, gains, matrix, noise if any(noise) else None)


def _write_linear(path: Path, light: Tensor, noise: tuple[float, float], generator: torch.Generator) -> None:
    black, white = CANON_LEVELS
    image = LinearImage(
        _sensed(light, noise, generator)[0].permute(1, 2, 0).numpy().astype(np.uint16),
        DEMOSAICED,
        (black,) * 3,
        (white,) * 3,
        tuple(CANON.white_balance[0].tolist()),
        CANON.cam2rgb[0].numpy(),
    )
    write_linear_dng(path, image, noise if any(noise) else None)


def _write_dng(path: Path, light: Tensor, noise: tuple[float, float], generator: torch.Generator) -> None:
    black, white = CANON_LEVELS
    raw = RawImage(
        _to_mosaic(_sensed(unprocess.take_mosaic(light), noise, generator)),
        "RGGB",
        (black,) * 4,
        (white,) * 4,
        tuple(CANON.white_balance[0].tolist()),
        CANON.cam2rgb[0].numpy(),
    )
    write_dng(path, raw, noise if any(noise) else None)


_WRITERS = {"dng": _write_dng, "xtrans": _write_xtrans, "linear": _write_linear}
_WRITERS_OF_MOSAICS: dict[str, Callable[[Path, dict[str, list[Tensor]]], None]] = {
    "zurich": write_zurich,
    "zurich-varied": partial(write_zurich, variation=Variation()),
    "mai21": write_mai21,
}


def _read(path: Path) -> Tensor:
    """(3, H, W) uint8."""
    return torch.from_numpy(read_rgb(path)).permute(2, 0, 1)


def _begin(folder: Path, variation: Variation | None = None) -> None:
    make_folder(folder)
    told = f"{NOTE}Every scene is taken differently: {variation}\n" if variation else NOTE
    write_text(folder / "SYNTHETIC.txt", told)


def _write_picture(path: Path, values: NDArray[Any]) -> None:
    options: dict[str, Any] = {"quality": 95, "subsampling": 0} if path.suffix == ".jpg" else {"compress_level": 1}
    form = "JPEG" if path.suffix == ".jpg" else "PNG"
    write_whole(path, lambda file: Image.fromarray(values).save(file, form, **options))


def _to_mosaic(packed: Tensor) -> NDArray[np.uint16]:
    return mosaic.unpack(packed)[0].numpy().astype(np.uint16)


def _to_array(picture: Tensor) -> NDArray[np.uint8]:
    return np.ascontiguousarray(picture.permute(1, 2, 0).numpy())
