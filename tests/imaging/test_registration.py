import numpy as np
import pytest
from skimage.registration import phase_cross_correlation

from lwisp.data import synthetic
from lwisp.imaging.registration import Picture, find_shift, lay


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
    laid = lay(cropped, shift, reference.shape[:2])
    assert laid.shape == reference.shape
    assert np.array_equal(laid[4:-4, 6:-2], cropped)
