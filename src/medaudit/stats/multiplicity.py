"""P-values of a family of comparisons, adjusted. NaN stays NaN and is no member of the family."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def holm(p_values: ArrayLike) -> Floats:
    """Family-wise error: the i-th smallest of m is multiplied by m − i + 1, kept rising, at most 1.

    Reference: Holm 1979, Scand. J. Stat. 6:65-70.
    """
    values, family, ordered = _ordered(p_values)
    factors = np.arange(len(ordered), 0, -1)
    values[family] = np.minimum(1.0, np.maximum.accumulate(ordered * factors))
    return values


def benjamini_hochberg(p_values: ArrayLike) -> Floats:
    """False discovery rate: the i-th smallest of m is multiplied by m / i, kept rising, at most 1.

    Holds for independent or positively dependent comparisons.

    Reference: Benjamini & Hochberg 1995, JRSS-B 57:289-300.
    """
    values, family, ordered = _ordered(p_values)
    scaled = ordered * (len(ordered) / np.arange(1, len(ordered) + 1))
    values[family] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return values


def _ordered(p_values: ArrayLike) -> tuple[Floats, NDArray[np.intp], Floats]:
    """A copy to fill, the places of the members by rising p-value, and those p-values."""
    values = np.array(p_values, dtype=np.float64)
    defined = values[~np.isnan(values)]
    if values.ndim != 1 or not ((defined >= 0) & (defined <= 1)).all():
        raise ValueError("p_values: expected a vector of numbers in [0, 1] or NaN")
    members = np.flatnonzero(~np.isnan(values))
    family = members[np.argsort(values[members], kind="stable")]
    return values, family, values[family]
