"""A named quantity of a sample, with what its interval has to know about it."""

from dataclasses import KW_ONLY, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medaudit.stats.estimate import Statistic

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# auc                an area under a ROC curve: smooth in the weights, its error is skewed near 1.
# smooth             varies smoothly with the weights, so that a jackknife of it makes sense.
# proportion         a share of the cases in `denominator`: at 0 and 1 it has a Wilson interval.
# nonnegative_error  noise can only raise it, so its bootstrap interval is recentred.
# general            none of these.
IntervalKind = Literal["auc", "smooth", "proportion", "nonnegative_error", "general"]

# Bytes of the weights that `share_of` holds as floating point at once.
WEIGHT_BYTES = 2**21


@dataclass(frozen=True, eq=False)
class Measure:
    """A named quantity of a set of predictions, as a function of sample weights.

    Args:
        name: snake_case, as it stands in `metrics/`.
        statistic: weights (replicates, n) to values (replicates,); NaN where undefined.
        direction: 1 higher is better, -1 lower is better, 0 neither.
        denominator: the samples that the value rests on, (n,); all of them if `None`.
        interval_kind: what is known of its sampling error; see `IntervalKind`.
        required_outcomes: (n, m) booleans, each column the samples of one outcome that the measure
            needs, such as the positives, and the negatives, of every output. The rarest limits it.
    """

    name: str
    statistic: Statistic
    direction: int
    _: KW_ONLY
    denominator: Bools | None = None
    interval_kind: IntervalKind = "general"
    required_outcomes: Bools | None = None

    @property
    def n_positive(self) -> int | None:
        """How many samples the value rests on, where these are not all."""
        return None if self.denominator is None else int(self.denominator.sum())


def positives_and_negatives(truth: Bools) -> Bools:
    """Required outcomes of a measure that needs both, (n,) or (n, k) to (n, 2 k)."""
    columns = truth.reshape(len(truth), -1)
    return np.column_stack([columns, ~columns])


def share_of(members: Bools, denominator: Bools) -> Statistic:
    """Σ w·member / Σ w·denominator as a statistic; NaN in a replicate without any of these cases.

    Args:
        members: (n,) booleans; those outside of `denominator` do not count.
        denominator: (n,) booleans.
    """
    columns = np.column_stack([members & denominator, denominator]).astype(np.float64)
    rows = max(1, WEIGHT_BYTES // (8 * max(1, len(columns))))

    def share(weights: NDArray[Any]) -> Floats:
        starts = range(0, max(1, len(weights)), rows)
        parts = [weights[start : start + rows].astype(np.float64) @ columns for start in starts]
        over, under = np.concatenate(parts).T
        found = np.full(len(over), np.nan)
        np.divide(over, under, out=found, where=under > 0)
        return found

    return share
