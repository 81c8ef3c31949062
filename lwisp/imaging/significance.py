"""Student's t test of paired differences: how far a mean lies from 0, and how often chance alone would bring that.

Needs SciPy, which comes with the extras `train` and `evaluate`.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

LEVEL = 0.05
"""p below which a difference is called shown, and 1 minus the coverage of the intervals."""


@dataclass(frozen=True)
class Gain:
    """The mean of differences between two variants, one difference for each unit (seed or scene).

    With one unit only `mean` and `count` say something; all else is NaN.
    """

    mean: float
    count: int
    """Units."""
    t: float
    """Mean over its standard error."""
    p: float
    """Two-sided probability of a |t| as large if the true mean were 0."""
    low: float
    """Lower bound of the 95 % confidence interval of the true mean."""
    high: float
    """Its upper bound."""

    @property
    def is_shown(self) -> bool:
        """Whether p is below 0.05."""
        return self.p < LEVEL  # False for NaN


def gain_of(differences: Sequence[float]) -> Gain:
    """Student's t test of differences against 0, two-sided, with count - 1 degrees of freedom.

    Args:
        differences: One for each unit; the units must be independent of each other.

    Returns:
        Mean, t, p and the 95 % interval of the mean. Differences that are all alike have an infinite t, or 0 where
        they are all 0.

    Raises:
        ValueError: There are none.
    """
    if not differences:
        raise ValueError("expected at least one difference")
    count, mean = len(differences), statistics.fmean(differences)
    if count == 1:
        return Gain(mean, count, math.nan, math.nan, math.nan, math.nan)
    from scipy import special

    error = statistics.stdev(differences) / math.sqrt(count)
    certain = math.copysign(math.inf, mean) if mean else 0.0
    t = mean / error if error else certain
    p = 2 * float(special.stdtr(count - 1, -abs(t)))
    half = float(special.stdtrit(count - 1, 1 - LEVEL / 2)) * error
    return Gain(mean, count, t, p, mean - half, mean + half)


def verdict(*gains: Gain) -> str:
    """What tests of one difference over several kinds of units say together.

    Args:
        gains: Of the same two variants, one over seeds and one over scenes for example.

    Returns:
        "holds" where every p is below 0.05 and every mean above 0, "does not hold" where every p is below 0.05 and
        every mean below 0, else "not shown". The test of all at once has the level of each.
    """
    if not all(gain.is_shown for gain in gains):
        return "not shown"
    if all(gain.mean > 0 for gain in gains):
        return "holds"
    return "does not hold" if all(gain.mean < 0 for gain in gains) else "not shown"
