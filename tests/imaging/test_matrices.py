import colour
import numpy as np
import pytest

from lwisp.data.unprocess import GOPRO_CAM2SRGB, XYZ2CAM
from lwisp.imaging import matrices


def test_the_matrices_are_those_of_the_standards() -> None:
    for matrix, name in ((matrices.SRGB_TO_XYZ, "sRGB"), (matrices.CANONICAL_TO_XYZ, "ITU-R BT.2020")):
        expected = colour.RGB_COLOURSPACES[name].copy()
        expected.use_derived_matrix_RGB_to_XYZ = True
        assert np.allclose(matrix, expected.matrix_RGB_to_XYZ, atol=1e-3)
    assert np.allclose(matrices.CANONICAL_TO_SRGB.sum(1), 1, atol=1e-5)  # one white


def test_the_numbers_between_srgb_and_the_canonical_space_follow_from_the_standards() -> None:
    to_srgb = np.linalg.inv(matrices.SRGB_TO_XYZ.astype(np.float64)) @ matrices.CANONICAL_TO_XYZ
    assert np.allclose(matrices.CANONICAL_TO_SRGB, to_srgb, rtol=0, atol=2e-7)
    assert np.allclose(matrices.SRGB_TO_CANONICAL, np.linalg.inv(to_srgb), rtol=0, atol=2e-7)


def test_cameras_matrices_keep_neutral_and_their_type_one_by_one_or_in_a_batch() -> None:
    batch = matrices.cam2rgb_from_xyz(XYZ2CAM)
    assert np.allclose(batch.sum(-1), 1, atol=1e-6)
    for xyz2cam, cam2rgb in zip(XYZ2CAM, batch, strict=True):
        assert np.allclose(matrices.cam2rgb_from_xyz(xyz2cam), cam2rgb, rtol=0, atol=1e-6)
    from_srgb = matrices.cam2rgb_from_srgb(GOPRO_CAM2SRGB)
    assert np.allclose(from_srgb.sum(-1), 1, atol=1e-6)
    assert batch.dtype == from_srgb.dtype == np.float32


def test_a_matrix_whose_rows_sum_to_zero_or_that_has_no_inverse_is_refused() -> None:
    with pytest.raises(ValueError, match="rows"):
        matrices.normalize_rows(np.array([[1, -1, 0], [0, 1, 0], [0, 0, 1]], np.float32))
    with pytest.raises(ValueError, match="Singular"):
        matrices.cam2rgb_from_xyz(np.diag(np.array([1, 1, 0], np.float32))[[0, 1, 1]])


def test_daylight_gains_make_daylight_neutral() -> None:
    xyz2cam = np.array([[0.6257, -0.0303, -0.1000], [-0.7880, 1.5621, 0.2396], [-0.1714, 0.1904, 0.7046]], np.float32)
    seen = xyz2cam @ colour.xy_to_XYZ(colour.CCS_ILLUMINANTS["CIE 1931 2 Degree Standard Observer"]["D65"])
    assert matrices.daylight_gains(xyz2cam) * seen == pytest.approx([seen[1]] * 3, rel=1e-3)
