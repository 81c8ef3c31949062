import torch

from lwisp.data import synthetic
from lwisp.data.optical_flow import move_onto
from lwisp.imaging import metrics


def test_aligning_moves_the_truth_back_where_the_result_is() -> None:
    picture = synthetic.pictures(1, 3, 240, 260)[0] / 255
    picture = torch.nn.functional.avg_pool2d(picture[None], 5, 1, 2)[0]
    result, truth = picture[:, 10:210, 10:230], picture[:, 13:213, 8:228]  # 3 px down, 2 px left of it
    inside = (slice(None), slice(20, -20), slice(20, -20))
    before = metrics.psnr(truth[inside], result[inside])
    after = metrics.psnr(move_onto(truth, result)[inside], result[inside])
    assert after > before + 6
