"""Our intervals and tests against statsmodels and scipy."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import bootstrap, norm, somersd, ttest_1samp
from statsmodels.stats.multitest import multipletests  # type: ignore[import-untyped]
from statsmodels.stats.proportion import proportion_confint  # type: ignore[import-untyped]

from medaudit.stats import hypothesis_tests, intervals
from medaudit.stats.bca import BCA, bca_from
from medaudit.stats.hypothesis_tests import kendall_tau
from medaudit.stats.intervals import difference_from, estimate_from, expanded
from medaudit.stats.weighting import cluster_resamples


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("n", [1, 2, 35, 1000])
def test_proportions(n: int, level: float) -> None:
    for method, ours in (("wilson", intervals.wilson), ("beta", intervals.clopper_pearson)):
        for successes in {0, 1, n // 3, n - 1, n}:
            expected = proportion_confint(successes, n, alpha=1 - level, method=method)
            made = ours(successes, n, level=level)
            np.testing.assert_allclose((made.low, made.high), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("family", [1, 2, 20])
def test_families(family: int) -> None:
    generator = np.random.default_rng(family)
    for p_values in (generator.random(family) ** 3, generator.integers(0, 4, family) / 40):
        holm = multipletests(p_values, method="holm")[1]
        np.testing.assert_allclose(hypothesis_tests.holm(p_values), holm, atol=1e-15)
        fdr = multipletests(p_values, method="fdr_bh")[1]
        np.testing.assert_allclose(hypothesis_tests.benjamini_hochberg(p_values), fdr, atol=1e-15)


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


@pytest.mark.parametrize("level", [0.8, 0.95])
@pytest.mark.parametrize("n", [12, 150])
@pytest.mark.parametrize("statistic", ["mean", "variance"])
def test_bca_of_single_rows(statistic: str, n: int, level: float) -> None:
    """scipy is handed our replicates, so that both correct the same distribution."""
    values = np.random.default_rng(n).exponential(size=n)
    resamples = cluster_resamples(range(n), replicates=999, seed=1)

    def weighted(weights: NDArray[Any]) -> NDArray[np.float64]:
        total = weights.sum(axis=1)
        means = weights @ values / total
        spread = weights @ values**2 / total - means**2
        return np.asarray(means if statistic == "mean" else spread)

    replicates = weighted(resamples.weights)
    plain: Any = np.mean if statistic == "mean" else np.var
    ours: Any = SimpleNamespace(bootstrap_distribution=replicates)
    oracle = bootstrap(
        [values],
        plain,
        method="BCa",
        confidence_level=level,
        n_resamples=0,
        bootstrap_result=ours,
    ).confidence_interval
    made = bca_from(weighted, float(plain(values)), replicates, resamples, level=level)
    assert made.method == BCA
    assert (made.low, made.high) == pytest.approx((oracle.low, oracle.high), abs=1e-9)


@pytest.mark.parametrize("n", [6, 12, 40])
def test_the_expanded_interval_of_a_mean_is_that_of_student(n: int) -> None:
    """Where the replicates are normal with the plug-in variance, as they are for a mean."""
    values = np.random.default_rng(n).normal(2, 3, size=n)
    quantiles = norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    replicates = values.mean() + quantiles * values.std() / np.sqrt(n)
    found = estimate_from(values.mean(), replicates, n=n, n_groups=n)
    made = expanded(found, replicates, degrees=n - 1)
    student = ttest_1samp(values, 0).confidence_interval()
    assert (made.low, made.high) == pytest.approx((student.low, student.high), rel=1e-3)
    zero = difference_from(values.mean(), 0, replicates, 0 * replicates, n=n, n_groups=n)
    moved = expanded(zero, replicates, degrees=n - 1)
    assert moved.p_value == pytest.approx(ttest_1samp(values, 0).pvalue, rel=0.1, abs=1e-3)


def test_bca_of_skewed_means_covers_more_evenly_than_percentiles() -> None:
    """Means of 30 exponential values: percentiles lie below the mean too often, BCa less so."""
    generator, misses = np.random.default_rng(5), np.zeros((2, 2))
    for seed in range(400):
        values = generator.exponential(size=30)
        resamples = cluster_resamples(range(30), replicates=400, seed=seed)

        def mean(weights: NDArray[Any], values: NDArray[Any] = values) -> NDArray[np.float64]:
            return np.asarray(weights @ values / weights.sum(axis=1))

        replicates, value = mean(resamples.weights), float(values.mean())
        for row, made in enumerate(
            (
                estimate_from(value, replicates, n=30, n_groups=30),
                bca_from(mean, value, replicates, resamples),
            )
        ):
            misses[row] += made.high < 1, made.low > 1
    percentile, corrected = misses
    assert corrected[0] < percentile[0]
    assert abs(corrected[0] - corrected[1]) < abs(percentile[0] - percentile[1])
