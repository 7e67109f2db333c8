"""Many comparisons judged together: step-down max-T, with simultaneous intervals that agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.stats import norm

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from medaudit.core.arrays import Float64Array

Verdict = Literal["worse", "better", "within_margin", "undecided", ""]

POWER = 0.8
"""With which a minimal detectable harm would be called."""


@dataclass(frozen=True, eq=False)
class MaxT:
    """One-sided tests of a family, large statistics being evidence.

    Attributes:
        p_values: (m,) of each comparison by itself.
        adjusted: (m,) for the whole family, step-down; NaN for those that are no members.
        quantile: the value that the largest statistic of the family exceeds with probability 1 −
            level under the null; NaN for an empty family.
        size: how many comparisons the family has.
    """

    p_values: Float64Array
    adjusted: Float64Array
    quantile: float
    size: int


def step_down(statistics: ArrayLike, null: ArrayLike, *, level: float = 0.95) -> MaxT:
    """Step-down max-T: the joint null distribution takes the place of a correction.

    The largest statistic is compared with the maximum over the family, the second largest with the
    maximum over all but the first, and so on; p = (1 + #null ≥ observed)/(1 + replicates), kept
    rising. The family-wise error is 1 − level where the null holds for any subset (strong control,
    under subset pivotality), and no comparison loses power to another that says the same.

    Args:
        statistics: (m,) studentised harms, high is evidence; NaN is no member of the family.
        null: (replicates, m) of the same comparisons, drawn jointly; NaN where one is undefined,
            which then does not take part in the maximum.
        level: 1 minus the family-wise error.

    Reference: Westfall & Young 1993, Resampling-Based Multiple Testing, algorithm 2.8.
    """
    observed, draws = _checked(statistics, null)
    members = np.flatnonzero(np.isfinite(observed))
    p_values, adjusted = np.full(len(observed), np.nan), np.full(len(observed), np.nan)
    if not len(members):
        return MaxT(p_values, adjusted, np.nan, 0)
    ordered = members[np.argsort(-observed[members], kind="stable")]
    # Largest over this comparison and all with smaller statistics.
    maxima = np.maximum.accumulate(draws[:, ordered[::-1]], axis=1)[:, ::-1]
    adjusted[ordered] = np.maximum.accumulate(_exceeding(maxima, observed[ordered]))
    p_values[members] = _exceeding(draws[:, members], observed[members])
    quantile = float(np.quantile(maxima[:, 0], level, method="higher"))
    return MaxT(p_values, adjusted, quantile, len(members))


def _checked(statistics: ArrayLike, null: ArrayLike) -> tuple[Float64Array, Float64Array]:
    observed, draws = np.asarray(statistics, np.float64), np.asarray(null, np.float64)
    if observed.ndim != 1 or draws.ndim != 2 or draws.shape[1] != len(observed) or not len(draws):
        raise ValueError(
            f"expected statistics (m,) and null (replicates, m), got {observed.shape} and "
            f"{draws.shape}"
        )
    return observed, np.where(np.isnan(draws), -np.inf, draws)


def _exceeding(draws: Float64Array, observed: Float64Array) -> Float64Array:
    # A draw that repeats the sample must count as reaching it in spite of rounding.
    reached = draws >= observed - 1e-9 * np.maximum(1.0, np.abs(observed))
    return np.asarray((1 + reached.sum(axis=0)) / (1 + len(draws)))


@dataclass(frozen=True, eq=False)
class JointComparison:
    """Harms of a family with simultaneous intervals; harm above 0 is worse.

    Each end of the intervals holds for the whole family at `level`: together they are intervals of
    level 2·level − 1 in the two-sided sense. They agree with the tests: an interval lies above 0
    where a harm is shown, and below 0 where a gain is.

    Attributes:
        harm: (m,) in the unit of the measure.
        low: (m,) simultaneous lower ends of the harms.
        high: (m,) simultaneous upper ends.
        p_value: (m,) one-sided, that there is no harm, each comparison by itself. From draws it is
            1 where the harm is not above 0. `sign_flips.compare` puts the exact value in its place
            where up to 10 groups changed, also where the harm is 0 or below: the share of all
            patterns of signs that give as much, which need not be 1 there.
        p_harm: (m,) one-sided, that there is no harm, for the family.
        p_gain: (m,) the same of gains.
        minimal_detectable: (m,) harms that would have been called with probability `POWER`.
        size: how many comparisons the family has.
        level: of each end.
    """

    harm: Float64Array
    low: Float64Array
    high: Float64Array
    p_value: Float64Array
    p_harm: Float64Array
    p_gain: Float64Array
    minimal_detectable: Float64Array
    size: int
    level: float

    def verdicts(self, margin: float) -> list[Verdict]:
        """What is shown of every comparison; absence of evidence is `undecided`.

        `worse` and `better` than no difference; else `within_margin` where the whole interval lies
        below the margin (not inferior by more than it).

        Args:
            margin: harm that would not matter, in the unit of the measure, above 0.
        """
        return [self._verdict(i, margin) for i in range(len(self.harm))]

    def _verdict(self, i: int, margin: float) -> Verdict:
        if not np.isfinite(self.p_harm[i]):
            return ""
        if self.p_harm[i] <= 1 - self.level:
            return "worse"
        if self.p_gain[i] <= 1 - self.level:
            return "better"
        return "within_margin" if self.high[i] < margin else "undecided"


def compare_jointly(
    harm: ArrayLike, errors: ArrayLike, null: ArrayLike, *, level: float = 0.95
) -> JointComparison:
    """Test a family for harm, and for gain, and give both ends of simultaneous intervals.

    Args:
        harm: (m,) differences, above 0 is worse; NaN where undefined.
        errors: (m,) their standard errors, above 0.
        null: (replicates, m) studentised harms where there is none, drawn jointly.
        level: of each end, and 1 minus the family-wise error of each side.
    """
    values, spread = np.asarray(harm, np.float64), np.asarray(errors, np.float64)
    draws = np.asarray(null, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        statistics = np.where(spread > 0, values / spread, np.nan)
    # A difference to the other side is no evidence of this one, wherever its null may lie.
    worse, better = (
        step_down(s * statistics, np.maximum(s * draws, 0.0), level=level) for s in (1, -1)
    )
    # Where a statistic can take few values its largest one may be no rarity, and no bound.
    reach = [max(side.quantile, norm.ppf(level)) for side in (worse, better)]
    low, high = values - reach[0] * spread, values + reach[1] * spread
    # The test calls a few more than the interval of the first step; their end is then 0 itself.
    low = np.where((worse.adjusted <= 1 - level) & (low < 0), 0.0, low)
    high = np.where((better.adjusted <= 1 - level) & (high > 0), 0.0, high)
    unknown = ~np.isfinite(statistics)
    return JointComparison(
        harm=values,
        low=np.where(unknown, np.nan, low),
        high=np.where(unknown, np.nan, high),
        p_value=worse.p_values,
        p_harm=worse.adjusted,
        p_gain=better.adjusted,
        minimal_detectable=np.where(unknown, np.nan, (reach[0] + norm.ppf(POWER)) * spread),
        size=worse.size,
        level=level,
    )
