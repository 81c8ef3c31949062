"""Whether a picture is still the one that lwisp made: it is made again as its provenance tells, and compared."""

import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any, Literal, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from lwisp.batch import Outcome
from lwisp.collection import load_by_digest
from lwisp.development import DEFAULT, Settings, develop_files
from lwisp.engines.backends import has_bf16, is_installed, network_backends
from lwisp.engines.exported import Exported
from lwisp.engines.names import Backend, Precision
from lwisp.errors import InputError, check_choice, tell_failure
from lwisp.files.decoding import MAX_PIXELS, WRITTEN, name_format, opened
from lwisp.files.encoding import SUFFIXES, Finish
from lwisp.files.linear import AnyRaw, read_any
from lwisp.files.pictures import read_picture
from lwisp.files.profiles import ProfileName
from lwisp.files.raw import read_raw
from lwisp.files.white_balance import AS_SHOT
from lwisp.files.writing import is_regular
from lwisp.imaging.framing import Crop
from lwisp.planning import Job, Product
from lwisp.provenance import Provenance, Setting, digest, read_provenance
from lwisp.restoration import PASSES, denoise_raw_files, restore_files
from lwisp.sequences import Reference
from lwisp.weights import Weights, load_once

Status = Literal["same", "other", "unknown"]
"""The same picture; another one, or edited since; it cannot be said."""

NEAR = 1.0
"""Of 255: what a value may differ by between engines that compute in fp32; a rounding, for they agree to 0.004."""
NEAR_LOSSY = 4.0
"""Of 255: the same in a format with losses, where a rounding may move a block by a step."""
NEAR_BF16 = 16.0
"""Of 255: the same where one computes in bf16; 13 were measured in a JPEG."""
NEAR_RMS = 1.0
"""Of 255: root mean square of all differences that is allowed beside these."""
LOSSY = frozenset(["jpg", "avif", "heif", "jxl"])
"""Formats with losses."""
BLOCK = 256
"""Rows that are compared at once."""
CODE = 255.0
ENGINE = re.compile(r"(\w+) in (fp32|bf16) ")
"""Back end and precision at the beginning of `Engine.description`."""
SAME_AS = re.compile(r".*: those of (.+) \(gain [^()]*\)")
"""`CommonLight.note` where exposure and balance are those of one file."""

T = TypeVar("T", str, int, float, bool)


@dataclass(frozen=True)
class Verdict:
    """What became of a comparison."""

    status: Status
    reason: str
    """In one or two sentences."""
    provenance: Provenance | None = None
    """What the picture tells."""
    engine: str = ""
    """What it was made again with."""
    largest: float | None = None
    """Largest difference of a value, of 255; None where nothing was compared."""
    share: float | None = None
    """Share of the pixels that differ."""


@dataclass(frozen=True)
class _Difference:
    """How two arrays of one size differ, values of 255."""

    largest: float
    share: float
    mean: float
    """Of the first minus the second."""
    rms: float
    rows: tuple[int, int]
    """First and last row with a pixel that differs by more than was allowed."""
    columns: tuple[int, int]


def verify(
    picture: Path,
    source: Path,
    files: Sequence[str | Path] = (),
    read: Callable[[Path], AnyRaw] = read_any,
    memory: float | None = None,
    max_pixels: float = MAX_PIXELS,
) -> Verdict:
    """Make a picture again, of its file and as it tells, and compare the pixels of both.

    What is compared is what a viewer shows: decoded, upright, in sRGB. Tags are not compared.

    Args:
        picture: What `develop`, `denoise`, `enhance` or `denoise-raw` made.
        source: The file it was made of.
        files: Weights, as for `load`, to look among, beside the shipped and the learned ones.
        read: How to read a file that is developed, where it is no RAW, such as a bare mosaic.
        memory: Bound on the memory of the whole process, in GB.
        max_pixels: A finished picture of more is refused before it is decoded.

    Returns:
        "same" where all pixels are equal, or nearly so where engine or version are others; "other" where they are not,
        where the picture is damaged, or was made of another file; "unknown" where it cannot be made again.
    """
    told: Provenance | None = None
    try:
        if not is_regular(picture):
            raise InputError(f"{picture}: expected a picture; there is no such file")
        if not is_regular(source):  # a pipe would be waited for
            raise InputError(f"{source}: expected the file that the picture was made of; there is no such file")
        found = digest(source)
        told = read_provenance(picture)
        if told is None:
            raise InputError(f"{picture}: it does not tell what it was made of, or not all of it")
        if told.source_sha256 != found:
            why = f"made of another file: of SHA-256 {told.source_sha256[:16]}..., not {found[:16]}... of {source}"
            return Verdict("other", why, told)
        return _verify(picture, source, told, _Maker(files, read, memory, max_pixels))
    except Exception as error:  # also of a full disk or memory: it says nothing about the picture
        return Verdict("unknown", tell_failure(picture, error), told)


@dataclass(frozen=True)
class _Maker:
    """What makes pictures again, by the functions that made them."""

    files: Sequence[str | Path]
    read: Callable[[Path], AnyRaw]
    memory: float | None
    max_pixels: float

    def make(self, told: Provenance, source: Path, output: Path) -> Outcome:
        """Make a picture again.

        Args:
            told: As it tells.
            source: The file.
            output: Where to write it, without the suffix.

        Raises:
            InputError: It cannot be made as it tells.
        """
        if told.verb == "dng":
            raise InputError("a mosaic wrapped by `lwisp dng`, whose photosites no weights made; dng makes it again")
        if told.verb not in ("develop", "denoise", "enhance", "denoise-raw"):
            raise InputError(f"made by {told.verb!r}, which this version of lwisp does not know")
        settings = _Settings(told.settings)
        product = cast(Product, settings.take("format", str))
        check_choice("format", product, (*SUFFIXES, "dng"))
        suffix = ".dng" if product == "dng" else SUFFIXES[product]
        jobs = [Job(source, output.with_suffix(suffix), product, is_named=True)]
        weights = self._load(told.weights_sha256, told.weights)
        backend, precision = _engine_of(told, weights)
        profile = cast(ProfileName, settings.take("profile", str, "srgb"))
        finish = Finish(settings.take("quality", int, 95), settings.take_size(), profile)
        strip = settings.take("strip", bool, False)
        if told.verb in ("denoise", "enhance"):
            verb = cast(Literal["denoise", "enhance"], told.verb)
            passes = settings.take("passes", int, PASSES)
            settings.end()
            outcomes = restore_files(
                verb, weights, jobs, precision, False, backend, self.memory, passes, self.max_pixels, 1, finish, strip
            )
            return _one(outcomes)
        crop = cast(Crop, settings.take("crop", str, "camera"))
        keep_hot_pixels = settings.take("keep-hot-pixels", bool, False)
        if told.verb == "denoise-raw":
            sha256 = settings.take("develop-weights", str) if product != "dng" else ""
            settings.end()
            return _one(
                denoise_raw_files(
                    weights,
                    jobs,
                    self._load(sha256) if sha256 else load_once(DEFAULT),  # a DNG is not developed
                    precision,
                    False,
                    backend,
                    self.memory,
                    finish=finish,
                    strip=strip,
                    crop=crop,
                    keep_hot_pixels=keep_hot_pixels,
                )
            )
        exposure = settings.take("exposure", float, 0.0)
        white_balance = settings.take("white-balance", str, AS_SHOT)
        same_as = settings.take("same-as", str, "")
        highlights = settings.take("highlights", float, 1.0)
        noise_reduction = settings.take("noise-reduction", float, 1.0)
        settings.end()
        reference = _reference(same_as, source) if same_as else None
        return _one(
            develop_files(
                weights,
                jobs,
                Settings(
                    exposure,
                    white_balance,
                    reference,
                    crop,
                    keep_hot_pixels,
                    highlights,
                    noise_reduction,
                    finish,
                    strip,
                ),
                precision,
                backend,
                self.memory,
                read=self.read,
            )
        )

    def _load(self, sha256: str, name: str = "") -> Weights:
        weights = load_by_digest(sha256, name, self.files) if sha256 else None
        if weights is None:
            called = f"{name!r}, " if name else ""
            raise InputError(
                f"its weights ({called}SHA-256 {sha256[:16] or 'not told'}...) are not here; --weights FILE names them"
            )
        return weights


class _Settings:
    """Settings that a picture tells, taken one by one; nothing in them is believed."""

    def __init__(self, told: Mapping[str, Setting]) -> None:
        self.left = dict(told)

    def take(self, name: str, kind: type[T], default: T | None = None) -> T:
        """The value of a setting.

        Raises:
            InputError: It is of another type, or is missing and has no default.
        """
        value: Any = self.left.pop(name, default)
        if kind is float and type(value) is int:
            value = float(value)
        if type(value) is not kind:
            raise InputError(f"expected the setting {name} that it tells to be of type {kind.__name__}, got {value!r}")
        return value

    def take_size(self) -> int | None:
        """The long side; None where it was not limited."""
        return self.take("size", int) if "size" in self.left else None

    def end(self) -> None:
        """Raise `InputError` where a setting is left that nobody took."""
        if self.left:
            names = ", ".join(self.left)
            raise InputError(f"made with the setting {names}, which this version of lwisp cannot repeat")


def _one(outcomes: Iterator[Outcome]) -> Outcome:
    (outcome,) = outcomes
    if outcome.error:
        raise InputError(f"it cannot be made again: {outcome.error}")
    return outcome


def _engine_of(told: Provenance, weights: Weights) -> tuple[Backend, Precision]:
    """Back end and precision that a picture was made with, where they are here; else what is chosen by default."""
    found = ENGINE.match(told.engine)
    if isinstance(weights.source, Exported) or found is None:
        return "auto", "auto"
    for name in network_backends():
        if name == found[1] and is_installed(name):
            return cast(Backend, name), "bf16" if found[2] == "bf16" and has_bf16(name) else "fp32"
    return "auto", "auto"


def _reference(note: str, source: Path) -> Reference:
    """Whose exposure and balance a frame of a sequence got. Raises `InputError` where they are not to be had."""
    found = SAME_AS.fullmatch(note)
    if found is None:
        raise InputError(f"made with --same-as ({note}), which one file alone cannot repeat")
    if found[1] == source.name:
        return "first"
    beside = source.parent / PurePath(found[1]).name
    if beside.name != found[1] or not is_regular(beside):
        raise InputError(f"made with --same-as {found[1]}, which does not lie beside {source}")
    return beside


def _verify(picture: Path, source: Path, told: Provenance, maker: _Maker) -> Verdict:
    with tempfile.TemporaryDirectory(prefix="lwisp-") as folder:
        outcome = maker.make(told, source, Path(folder) / "again")
        again = read_provenance(outcome.output)
        if again is None or dict(again.settings) != dict(told.settings):
            raise InputError("it cannot be made again with the same settings: what they refer to has changed")
        ours = _decode(outcome.output, float("inf"))
        try:
            theirs = _decode(picture, max(maker.max_pixels, ours.size))
        except InputError as error:  # the same format was just read
            return Verdict("other", f"damaged or replaced since: {error}", told, outcome.engine)
    is_alike = (told.engine, told.version) == (outcome.engine, version("lwisp"))
    allowed = 0.0 if is_alike else _allowed(told, outcome.engine)
    if theirs.shape[:2] != ours.shape[:2]:
        sizes = [f"{one.shape[0]}x{one.shape[1]}" for one in (theirs, ours)]
        reason = f"{sizes[0]} pixels, {sizes[1]} as it was made: turned, cropped or scaled since"
        return Verdict("other", reason, told, outcome.engine)
    found = _compare(theirs, ours, allowed)
    engines = f"made with {told.engine} by lwisp {told.version}, again with {outcome.engine} by {version('lwisp')}"
    if found.largest <= allowed and found.rms <= NEAR_RMS:
        reason = "all pixels are equal" if not found.largest else f"to within {found.largest:.2g} of 255: {engines}"
        status: Status = "same"
    else:
        status, reason = "other", _tell(found, theirs, ours, is_alike, engines)
    return Verdict(status, reason, told, outcome.engine, found.largest, found.share)


def _allowed(told: Provenance, engine: str) -> float:
    if "bf16" in told.engine + engine:
        return NEAR_BF16
    return NEAR_LOSSY if told.settings.get("format") in LOSSY else NEAR


def _decode(path: Path, max_pixels: float) -> NDArray[Any]:
    """Pixels (H, W, 3) in sRGB, upright, or a DNG's mosaic (H, W), as integers over their range."""
    if path.suffix.lower() == ".dng":
        return read_raw(path).mosaic
    with path.open("rb") as file:
        head = file.read(32)
    if name_format(head) in ("AVIF", "JPEG XL"):
        with opened(path, max_pixels=max_pixels, formats=WRITTEN) as picture:
            return np.asarray(picture.convert("RGB"))
    return read_picture(path, max_pixels).rgb


def _compare(theirs: NDArray[Any], ours: NDArray[Any], allowed: float) -> _Difference:
    """How integers over their ranges, of the same height and width, differ."""
    scales = [np.float32(CODE / np.iinfo(one.dtype).max) for one in (theirs, ours)]
    height, width = ours.shape[:2]
    largest, count, total, squares = 0.0, 0, 0.0, 0.0
    rows: list[int] = []
    seen = np.zeros(width, np.bool_)
    for top in range(0, height, BLOCK):
        parts = [one[top : top + BLOCK].reshape(-1, width, one[0, 0].size) for one in (theirs, ours)]
        apart = parts[0] * scales[0] - parts[1] * scales[1]
        total += float(apart.sum(dtype=np.float64))
        squares += float(np.square(apart).sum(dtype=np.float64))
        most = np.abs(apart).max(2)
        largest = max(largest, float(most.max()))
        count += int(np.count_nonzero(most))
        far = most > allowed
        rows += (np.flatnonzero(far.any(1)) + top).tolist()
        seen |= far.any(0)
    columns = np.flatnonzero(seen).tolist()
    ends = [(found[0], found[-1]) if found else (0, 0) for found in (rows, columns)]
    return _Difference(
        largest, count / (height * width), total / ours.size, (squares / ours.size) ** 0.5, ends[0], ends[1]
    )


def _tell(found: _Difference, theirs: NDArray[Any], ours: NDArray[Any], is_alike: bool, engines: str) -> str:
    share = f"{100 * found.share:.0f}" if found.share >= 0.1 else f"{100 * found.share:.2g}"
    told = [f"{share} % of the pixels differ, by {found.largest:.3g} of 255 at most"]
    if abs(found.mean) >= 0.5:
        told.append(f"it is {'brighter' if found.mean > 0 else 'darker'} by {abs(found.mean):.1f} on average")
    places = zip((found.rows, found.columns), ours.shape[:2], strict=True)
    if any(last - first + 1 < 0.9 * side for (first, last), side in places):
        (top, bottom), (left, right) = found.rows, found.columns
        told.append(f"in rows {top} to {bottom} and columns {left} to {right}")
    if theirs.dtype != ours.dtype:
        told.append(f"it has {8 * theirs.itemsize} bits a color, {8 * ours.itemsize} as it was made")
    if not is_alike:
        told.append(engines)
    elif found.largest <= NEAR_BF16:
        told.append("so little may come of another processor, too")
    return "; ".join(["another picture, or edited since", *told])
