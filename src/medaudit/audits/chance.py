"""How many of several unlike events chance alone would bring about."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Sequence


def poisson_binomial(rates: Sequence[float]) -> npt.NDArray[np.float64]:
    """Probability of 0, 1, ..., n successes in n independent trials of these probabilities.

    The exact distribution, by convolving one trial after the other; (n + 1,). Without trials it
    is 1 at no success.

    Reference: Hong 2013, Comput. Stat. Data Anal. 59:41-51.
    """
    found = np.ones(1)
    for rate in rates:
        found = np.convolve(found, [1 - rate, rate])
    return found


def upper_tail(count: int, rates: Sequence[float]) -> float:
    """Probability of at least `count` successes in independent trials of these probabilities.

    >>> upper_tail(2, [0.5, 0.5, 0.5])
    0.5
    """
    return float(poisson_binomial(rates)[max(count, 0) :].sum())
