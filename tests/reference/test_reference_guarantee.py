"""The guaranteed threshold against the Clopper-Pearson interval of statsmodels."""

import math

import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint  # type: ignore[import-untyped]

from medaudit.metrics.operating import guaranteed_threshold_at_specificity, negatives_needed

SIZES = (1, 2, 7, 22, 29, 58, 59, 93, 200, 999)


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("specificity", [0.1, 0.5, 0.8, 0.95, 0.99])
@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95])
def test_smallest_rank_whose_lower_bound_reaches_the_specificity(
    n: int, specificity: float, confidence: float
) -> None:
    counts = np.arange(1, n + 1)
    # A two-sided interval of level 1 - 2a has the one-sided bound of level 1 - a.
    lower, _ = proportion_confint(counts, n, alpha=2 * (1 - confidence), method="beta")
    reached = counts[lower >= specificity - 1e-9]  # some bounds are reached exactly
    expected = float(reached[0]) if len(reached) else math.inf
    found = guaranteed_threshold_at_specificity(
        np.random.default_rng(n).permutation(counts), specificity=specificity, confidence=confidence
    )
    assert found == expected
    assert (n >= negatives_needed(specificity, confidence)) == math.isfinite(expected)
