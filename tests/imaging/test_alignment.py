"""Where a picture lies in another, against geometry that scipy or numpy carried out."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from lwisp.data import synthetic
from lwisp.files.raw import read_raw
from lwisp.imaging.agreement import compare_tiles
from lwisp.imaging.alignment import Picture, find_placement, find_shift, shift_image
from lwisp.imaging.pixels import orient, unorient
from lwisp.imaging.placement import Box, Placement, Plane, view, whole
from lwisp.imaging.refinement import refine
from tests.conftest import SAMPLE


@pytest.fixture(scope="module")
def mural() -> Plane:
    """(720, 960), the green of a real RAW, coded."""
    raw = read_raw(SAMPLE)
    row, column = divmod(raw.cfa.index("G"), 2)
    green = raw.mosaic[row::2, column::2].astype(np.float32) - raw.black_level[1]
    coded: Plane = np.sqrt((green / np.quantile(green, 0.99)).clip(0, 1)).astype(np.float32)
    return coded


def take(plane: Plane, box: Box, size: tuple[int, int], warp: float = 0.0) -> Plane:
    """What a box shows in `size`, by cubic splines of a blurred plane, with a hard look; `warp` bends it radially."""
    v, u = ((np.arange(side) + 0.5) / side for side in size)
    radius = (2 * v[:, None] - 1) ** 2 + (2 * u - 1) ** 2
    rows = box[0] + box[2] * (v[:, None] + warp * (v[:, None] - 0.5) * radius) - 0.5
    columns = box[1] + box[3] * (u + warp * (u - 0.5) * radius) - 0.5
    soft = ndimage.gaussian_filter(plane, 0.4 * max(box[2] / size[0], 1))
    taken = ndimage.map_coordinates(soft, [rows, columns], order=3, mode="nearest").clip(0, 1)
    hard: Plane = (0.1 + 0.8 * taken**2 * (3 - 2 * taken)).astype(np.float32)
    return hard


def find(picture: Plane, reference: Plane) -> Placement | None:
    found = find_placement(picture, reference)
    return found and refine(orient(picture, found.orientation), reference, found)


def corners(box: Box) -> NDArray[np.float64]:
    return np.array([box[0], box[1], box[0] + box[2], box[1] + box[3]])


def test_a_view_of_a_ramp_shows_where_it_looks() -> None:
    ramp = np.add.outer(100 * (np.arange(40) + 0.5), np.arange(50) + 0.5).astype(np.float32)
    seen = view(ramp, (3.25, 10.5, 20.0, 30.0), (10, 12))
    rows, columns = 3.25 + (np.arange(10) + 0.5) * 2, 10.5 + (np.arange(12) + 0.5) * 2.5
    np.testing.assert_allclose(seen, np.add.outer(100 * rows, columns), rtol=1e-4)
    assert np.array_equal(view(ramp, (-5.0, 0.0, 5.0, 50.0), (5, 50)), np.tile(ramp[0], (5, 1)))  # the border goes on


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_found_however_it_is_turned(mural: Plane, orientation: int) -> None:
    box = (14.3, 20.7, 690.0, 920.0)
    shown = np.ascontiguousarray(unorient(take(mural, box, (360, 480)), orientation))
    found = find(shown, mural)
    assert found is not None
    assert found.orientation == orientation
    np.testing.assert_allclose(corners(found.box), corners(box), atol=0.3)


@pytest.mark.parametrize(
    ("box", "size"),
    [
        ((0.0, 0.0, 720.0, 960.0), (120, 160)),
        ((0.0, 0.0, 720.0, 960.0), (1080, 1440)),
        ((100.0, 0.0, 540.0, 960.0), (540, 960)),
        ((200.5, 300.5, 360.0, 480.0), (300, 400)),
        ((-3.0, 5.0, 721.0, 961.3), (720, 960)),
    ],
)
def test_scale_and_crop_are_found(mural: Plane, box: Box, size: tuple[int, int]) -> None:
    found = find(take(mural, box, size), mural)
    assert found is not None
    assert found.orientation == 1
    pixel = max(1.0, box[2] / size[0])
    np.testing.assert_allclose(corners(found.box), corners(box), atol=0.25 * pixel)
    assert found.skew < 5e-4


def test_what_a_lens_bends_is_found_as_a_field_of_shifts(mural: Plane) -> None:
    bend, shape = 0.01, (540, 720)
    found = find(take(mural, (60.0, 80.0, 600.0, 800.0), shape, bend), mural)
    assert found is not None
    v, u = (x.ravel() for x in np.meshgrid(np.linspace(0.1, 0.9, 9), np.linspace(0.1, 0.9, 9), indexing="ij"))
    radius = (2 * v - 1) ** 2 + (2 * u - 1) ** 2
    place = np.stack([v, u], 1)
    true = np.array([60.0, 80]) + np.array([600.0, 800]) * (place + bend * (place - 0.5) * radius[:, None])
    shown = np.array(found.box[:2]) + np.array(found.box[2:]) * (place - found.shifts(v, u))
    assert np.abs(shown - true).max() < 0.5
    assert np.abs(found.shifts(v, u)).max() * shape[0] > 0.5  # which no box could have said


def test_tiles_tell_what_is_the_same_and_what_was_painted_over(mural: Plane) -> None:
    shown = take(mural, (0.0, 0.0, 720.0, 960.0), (720, 960))
    place = Placement(1, whole(mural), np.zeros((2, 3)))
    seen = compare_tiles(shown, mural, place)
    judged = seen.detail > 0.2
    assert judged.sum() > 50
    assert float((seen.match[judged] > 0.9).mean()) > 0.95
    assert float((seen.changed > 0).mean()) < 0.05
    painted = shown.copy()
    painted[200:260, 300:420] = np.tile([[0.1] * 12 + [0.9] * 12], (60, 5))
    changed = compare_tiles(painted, mural, place).changed > seen.changed
    rows, columns = (
        np.digitize(edges, bins) - 1 for edges, bins in (([0.3, 0.35], seen.rows), ([0.35, 0.4], seen.columns))
    )
    assert changed[rows, columns].all()
    assert changed.sum() <= 12


def test_another_picture_agrees_nowhere(mural: Plane) -> None:
    other = np.ascontiguousarray(mural[::-1, :480]).copy()
    assert np.array_equal(orient(orient(other, 4), 4), other)
    reference = np.ascontiguousarray(mural[:, 480:])
    found = find(other, reference)
    if found is not None:
        seen = compare_tiles(orient(other, found.orientation), reference, found)
        judged = seen.detail > 0.2
        assert float((seen.match[judged] > 0.6).mean()) < 0.2


def scene() -> Picture:
    return synthetic.pictures(1, 0, 260, 300)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize("shift", [(0, 0), (4, 4), (-3, 8), (20, -31)])
@pytest.mark.parametrize("noise", [0, 40])
def test_the_shift_of_a_picture_is_found_to_the_pixel(shift: tuple[int, int], noise: int) -> None:
    whole = scene()
    picture = whole[40 + shift[0] : 220 + shift[0], 40 + shift[1] : 250 + shift[1]]
    noisy = (picture / 255) ** 0.7 * 255 + noise * np.random.default_rng(0).normal(size=picture.shape)
    reference = whole[40:220, 40:250]
    assert find_shift(noisy.clip(0, 255).astype(np.uint8), reference) == (-shift[0], -shift[1])
    by_skimage, _, _ = phase_cross_correlation(picture.mean(-1), reference.mean(-1))
    assert tuple(by_skimage) == (-shift[0], -shift[1])


def test_a_picture_that_lacks_its_border_is_laid_where_it_belongs() -> None:
    reference = scene()
    cropped = reference[4:-4, 6:-2]
    shift = find_shift(cropped, reference)
    assert shift == (-4, -6)
    laid = shift_image(cropped, shift, reference.shape[:2])
    assert laid.shape == reference.shape
    assert np.array_equal(laid[4:-4, 6:-2], cropped)
