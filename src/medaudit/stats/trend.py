"""Does a number rise or fall with severity?"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import kendalltau


@dataclass(frozen=True)
class Trend:
    """Kendall's τ_b and the two-sided p-value of no association."""

    tau: float
    p_value: float


def kendall_tau(severities: ArrayLike, values: ArrayLike) -> Trend:
    """Rank agreement of values with severities: −1 falls all the way, 1 rises all the way.

    Five severities can reach p = 1/60 at best, three only 1/3. NaN with fewer than two points, with
    an undefined value among them, or where either is constant.

    Reference: Kendall 1945, Biometrika 33:239-251 (τ_b).
    """
    x, y = (np.asarray(column, dtype=np.float64) for column in (severities, values))
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"expected two vectors of one length, got shapes {x.shape} and {y.shape}")
    if len(x) < 2 or np.isnan(x).any() or np.isnan(y).any():
        return Trend(math.nan, math.nan)
    result = kendalltau(x, y)
    return Trend(float(result.statistic), float(result.pvalue))
