import math

import numpy as np
import pytest

from lwisp.imaging.significance import gain_of, verdict
from tests.conftest import require

stats = require("scipy.stats")


@pytest.mark.parametrize("count", [2, 3, 8, 24])
def test_t_p_and_interval_are_scipys(count: int) -> None:
    differences = np.random.default_rng(count).normal(0.2, 0.3, count).tolist()
    gain = gain_of(differences)
    known = stats.ttest_1samp(differences, 0)
    assert gain.t == pytest.approx(known.statistic)
    assert gain.p == pytest.approx(known.pvalue)
    assert (gain.low, gain.high) == pytest.approx(tuple(known.confidence_interval(0.95)))


def test_two_seeds_at_two_standard_errors_show_nothing() -> None:
    gain = gain_of([0.5, 1.5])  # mean 1, standard error 1/2
    assert gain.t == pytest.approx(2)
    assert gain.p == pytest.approx(0.295, abs=1e-3)  # tables of t with one degree of freedom
    assert verdict(gain) == "not shown"


def test_one_unit_shows_nothing() -> None:
    gain = gain_of([3.0])
    assert (gain.mean, gain.count) == (3.0, 1)
    assert math.isnan(gain.p)
    assert not gain.is_shown


def test_equal_differences_are_certain_and_none_are_nothing() -> None:
    assert gain_of([0.25, 0.25, 0.25]).p == 0
    assert gain_of([-0.25, -0.25]).t == -math.inf
    assert gain_of([0.0, 0.0]).p == 1


def test_no_differences_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        gain_of([])


def test_a_verdict_needs_every_kind_of_unit() -> None:
    clear, unclear = gain_of([1.0, 1.1, 0.9, 1.0]), gain_of([1.0, -1.0, 2.0, 0.5])
    assert verdict(clear) == "holds"
    assert verdict(clear, unclear) == "not shown"
    assert verdict(gain_of([-1.0, -1.1, -0.9]), gain_of([-2.0, -2.1, -2.2])) == "does not hold"
    assert verdict(clear, gain_of([-1.0, -1.1, -0.9])) == "not shown"
