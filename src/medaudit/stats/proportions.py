"""Intervals of a proportion of independent cases, for counts too small to resample."""

import math

from scipy.stats import beta, norm

from medaudit.stats.estimate import Estimate


def wilson(successes: int, n: int, *, level: float = 0.95) -> Estimate:
    """Score interval of a proportion; it never leaves [0, 1]. NaN without cases.

    Reference: Wilson 1927, JASA 22:209-212; Brown, Cai & DasGupta 2001, Stat. Sci. 16:101-133.
    """
    if not _usable(successes, n, level):
        return _estimate(successes, n, math.nan, math.nan, "wilson")
    z = float(norm.ppf((1 + level) / 2))
    share = successes / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    # At 0 and n successes the ends are exactly 0 and 1, which rounding would miss.
    low = 0.0 if successes == 0 else centre - reach
    high = 1.0 if successes == n else centre + reach
    return _estimate(successes, n, low, high, "wilson")


def clopper_pearson(successes: int, n: int, *, level: float = 0.95) -> Estimate:
    """Exact interval: it covers at least at the level, so it is wide. NaN without cases.

    Reference: Clopper & Pearson 1934, Biometrika 26:404-413.
    """
    if not _usable(successes, n, level):
        return _estimate(successes, n, math.nan, math.nan, "clopper_pearson")
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else float(beta.ppf(tail, successes, n - successes + 1))
    high = 1.0 if successes == n else float(beta.ppf(1 - tail, successes + 1, n - successes))
    return _estimate(successes, n, low, high, "clopper_pearson")


def _usable(successes: int, n: int, level: float) -> bool:
    if not 0 <= successes <= n:
        raise ValueError(f"expected 0 <= successes <= n, got {successes} of {n}")
    if not 0 < level < 1:
        raise ValueError(f"level: expected a number between 0 and 1, got {level}")
    return n > 0


def _estimate(successes: int, n: int, low: float, high: float, method: str) -> Estimate:
    return Estimate(
        value=successes / n if n else math.nan,
        low=low,
        high=high,
        n=n,
        n_groups=n,
        n_positive=successes,
        method=method,
        undefined_share=0.0,
    )
