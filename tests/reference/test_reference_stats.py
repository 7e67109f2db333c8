"""Our intervals and tests against statsmodels and scipy."""

import numpy as np
import pytest
from scipy.stats import somersd
from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]
from statsmodels.stats.proportion import proportion_confint  # type: ignore[import-untyped]

from medaudit.stats import multiplicity, proportions
from medaudit.stats.estimate import estimate_from
from medaudit.stats.trend import kendall_tau


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("n", [1, 2, 35, 1000])
def test_proportions(n: int, level: float) -> None:
    for method, ours in (("wilson", proportions.wilson), ("beta", proportions.clopper_pearson)):
        for successes in {0, 1, n // 3, n - 1, n}:
            expected = proportion_confint(successes, n, alpha=1 - level, method=method)
            made = ours(successes, n, level=level)
            np.testing.assert_allclose((made.low, made.high), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("family", [1, 2, 20])
def test_families(family: int) -> None:
    generator = np.random.default_rng(family)
    for p_values in (generator.random(family) ** 3, generator.integers(0, 4, family) / 40):
        holm = multipletests(p_values, method="holm")[1]
        np.testing.assert_allclose(multiplicity.holm(p_values), holm, atol=1e-15)
        fdr = multipletests(p_values, method="fdr_bh")[1]
        np.testing.assert_allclose(multiplicity.benjamini_hochberg(p_values), fdr, atol=1e-15)


def test_kendall_tau_without_ties_is_somers_d() -> None:
    generator = np.random.default_rng(0)
    severities, values = np.arange(8), generator.normal(size=8)
    expected = somersd(severities, values).statistic
    assert kendall_tau(severities, values).tau == pytest.approx(expected, abs=1e-12)


def test_percentiles_are_those_of_a_sorted_list() -> None:
    # With 201 replicates 2.5 % and 97.5 % are the 6th and the 196th.
    replicates = np.random.default_rng(0).normal(size=201)
    made = estimate_from(0.0, replicates, n=1, n_groups=1)
    ordered = sorted(replicates)
    assert (made.low, made.high) == pytest.approx((ordered[5], ordered[195]))
