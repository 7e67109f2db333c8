"""DeLong's variances against MLstatkit, the definition by pairs, Mann and Whitney, and chance."""

import MLstatkit  # type: ignore[import-untyped]
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kstest, mannwhitneyu, norm

from medaudit.stats import delong

Z = norm.ppf(0.975)


def cases(seed: int, n: int, *, ties: bool) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    generator = np.random.default_rng(seed)
    positives = np.arange(n) % 3 == 0
    first = positives + generator.normal(size=n)
    both = np.stack([first, 0.5 * first + generator.normal(size=n)])
    return positives, np.round(both) if ties else both


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("n", [9, 60, 500])
def test_two_models(n: int, ties: bool) -> None:
    positives, (first, second) = cases(n, n, ties=ties)
    z, p, ci_first, ci_second, auc_first, auc_second, info = MLstatkit.Delong_test(
        positives, second, first
    )[:7]
    made = delong.auroc_difference(first, second, positives)
    assert info["method"] == "delong"
    assert made.value == pytest.approx(auc_second - auc_first, abs=1e-12)
    assert made.p_value == pytest.approx(p, abs=1e-12)
    assert (made.high - made.low) / (2 * Z) == pytest.approx(made.value / z, abs=1e-9)
    placed = delong.placements([second, first], positives)
    assert placed.aurocs == pytest.approx([auc_first, auc_second], abs=1e-12)
    for variance, value, (low, high) in zip(
        np.diag(placed.covariance), placed.aurocs, (ci_first, ci_second), strict=True
    ):
        reach = Z * np.sqrt(variance)
        assert (low, high) == pytest.approx((max(0, value - reach), min(1, value + reach)))


def test_covariance_of_three_models_by_its_definition() -> None:
    positives, (first, second) = cases(3, 50, ties=True)
    scores = np.stack([first, second, np.round(first + second)])
    won = scores[:, positives][:, :, None] - scores[:, ~positives][:, None, :]
    kernel = (won > 0) + 0.5 * (won == 0)
    m, n = kernel.shape[1:]
    expected = np.cov(kernel.mean(axis=2)) / m + np.cov(kernel.mean(axis=1)) / n
    placed = delong.placements(scores, positives)
    np.testing.assert_allclose(placed.covariance, expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_is_the_share_of_pairs_of_mann_and_whitney(ties: bool) -> None:
    positives, (first, _) = cases(1, 80, ties=ties)
    u = mannwhitneyu(first[positives], first[~positives]).statistic
    made = delong.auroc_interval(first, positives)
    assert made.value == pytest.approx(u / (positives.sum() * (~positives).sum()))


def test_variance_and_p_value_under_chance() -> None:
    # 1,000 test sets of 120 cases and two equally good models: the mean variance is that of the
    # AUROCs (s.e. of a variance of 1,000: 4.5 %), and p-values are uniform.
    generator, positives = np.random.default_rng(0), np.arange(120) % 3 == 0
    common, own = generator.normal(size=(1000, 1, 120)), generator.normal(size=(1000, 2, 120))
    rounds = positives + common + own
    placed = [delong.placements(scores, positives) for scores in rounds]
    aurocs = np.stack([p.aurocs for p in placed])
    estimated = np.mean([p.covariance for p in placed], axis=0)
    np.testing.assert_allclose(estimated, np.cov(aurocs.T), rtol=0.15)
    p_values = np.array([delong.auroc_difference(a, b, positives).p_value for a, b in rounds])
    assert kstest(p_values, "uniform").pvalue > 0.001
    # binomial(1000, 0.05): 99.7 % between 30 and 71
    assert 30 <= (p_values < 0.05).sum() <= 71
