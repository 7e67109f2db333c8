"""Intervals of a proportion of independent cases, for counts too small to resample."""

import math
from typing import Literal

from scipy.stats import binomtest

from medaudit.stats.estimate import Estimate


def wilson(successes: int, n: int, *, level: float = 0.95) -> Estimate:
    """Score interval of a proportion; it never leaves [0, 1]. NaN without cases.

    Reference: Wilson 1927, JASA 22:209-212; Brown, Cai & DasGupta 2001, Stat. Sci. 16:101-133.
    """
    return _interval(successes, n, level=level, method="wilson", name="wilson")


def clopper_pearson(successes: int, n: int, *, level: float = 0.95) -> Estimate:
    """Exact interval: it covers at least at the level, so it is wide. NaN without cases.

    Reference: Clopper & Pearson 1934, Biometrika 26:404-413.
    """
    return _interval(successes, n, level=level, method="exact", name="clopper_pearson")


def _interval(
    successes: int, n: int, *, level: float, method: Literal["exact", "wilson"], name: str
) -> Estimate:
    if not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n, got {successes} of {n}")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    low = high = math.nan
    if n > 0:
        ends = binomtest(successes, n).proportion_ci(confidence_level=level, method=method)
        low, high = float(ends.low), float(ends.high)
    return Estimate(
        value=successes / n if n else math.nan,
        low=low,
        high=high,
        n=n,
        n_groups=n,
        n_positive=successes,
        method=name,
        undefined_share=0.0,
    )
