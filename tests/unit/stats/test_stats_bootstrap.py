"""One set of draws for every measure, and how intervals are read off it by kind and method."""

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medaudit.metrics.ranking import weighted_auroc
from medaudit.stats.bca import BCA
from medaudit.stats.bootstrap import (
    Bootstrap,
    IntervalParams,
    Measure,
    mean_distribution,
    positives_and_negatives,
    share_of,
)
from medaudit.stats.intervals import EXPANDED, LOGIT_T, NO_INTERVAL, PERCENTILE
from medaudit.stats.weighting import weighted_mean, weighted_ratio

N = 60
SCORES = np.random.default_rng(3).normal(size=N)
TRUTH = SCORES + np.random.default_rng(4).normal(size=N) > 0.5
GROUPS = np.repeat(np.arange(N // 2), 2)


def over(groups=GROUPS, **changes):
    return Bootstrap.of_groups(groups, IntervalParams(**({"replicates": 300} | changes)))


def mean(kind="general"):
    return Measure("mean", partial(weighted_mean, SCORES**2), 1, interval_kind=kind)


def auroc():
    return Measure(
        "auroc",
        partial(weighted_auroc, SCORES, TRUTH),
        1,
        denominator=TRUTH,
        required_outcomes=positives_and_negatives(TRUTH),
        interval_kind="auc",
    )


@pytest.mark.parametrize(
    ("kind", "methods"),
    [
        ("general", (EXPANDED, PERCENTILE, PERCENTILE)),
        ("smooth", (EXPANDED, PERCENTILE, BCA)),
        ("proportion", (EXPANDED, PERCENTILE, PERCENTILE)),
        ("bounded", (EXPANDED, PERCENTILE, PERCENTILE)),
        ("nonnegative_error", (NO_INTERVAL, NO_INTERVAL, NO_INTERVAL)),
        ("biased", (NO_INTERVAL, NO_INTERVAL, NO_INTERVAL)),
    ],
)
def test_the_kind_and_the_method_decide_the_interval(kind, methods):
    found = [
        over(method=method).interval(mean(kind)).method
        for method in ("adjusted", "percentile", "bca")
    ]
    assert tuple(found) == methods


def test_an_area_under_a_roc_curve_is_read_on_the_logit_scale_or_by_bca():
    found = {m: over(method=m).interval(auroc()) for m in ("adjusted", "percentile", "bca")}
    assert [each.method for each in found.values()] == [LOGIT_T, PERCENTILE, BCA]
    assert len({each.low for each in found.values()}) == 3


def test_replicates_of_a_family_are_joint():
    """Twice a measure is twice its replicates: both saw the same resamples."""
    double = Measure("double", lambda w: 2 * weighted_mean(SCORES**2, w), 1)
    found = over().distribution([mean(), double, auroc()])
    assert list(found) == ["mean", "double", "auroc"]
    np.testing.assert_allclose(found["double"].replicates, 2 * found["mean"].replicates)
    np.testing.assert_array_equal(found["auroc"].replicates, over().replicate(auroc()).replicates)


def test_a_measure_and_its_distribution_have_one_interval():
    bootstrap = over()
    assert bootstrap.interval(auroc()) == bootstrap.interval(bootstrap.replicate(auroc()))
    assert bootstrap.paired(auroc(), mean()) == bootstrap.paired(
        bootstrap.replicate(auroc()), bootstrap.replicate(mean())
    )


def test_a_subset_is_paired_with_the_whole():
    """Mean of all = (mean of a half + mean of the rest) / 2, in every resample of equal halves."""
    rows = np.arange(N) < N // 2
    whole = over()
    sides = [
        whole.subset(part).replicate(Measure("n", lambda w: w.sum(axis=1).astype(float), 0))
        for part in (rows, ~rows)
    ]
    # As many groups of two rows are drawn as there are, so the halves share N rows.
    np.testing.assert_array_equal(sides[0].replicates + sides[1].replicates, np.full(300, N))
    assert whole.subset(rows).n_groups == whole.n_groups // 2


def test_a_difference_of_a_measure_with_itself_is_nothing():
    same = auroc()
    found = over().paired(same, same)
    assert (found.value, found.low, found.high, found.p_value) == (0, 0, 0, 1)


def test_resamples_that_agree_are_no_certainty():
    """Two models that rank alike here may rank otherwise elsewhere."""
    found = over().paired(auroc(), auroc())
    assert (found.value, found.p_value, found.method) == (0, 1, NO_INTERVAL)
    assert np.isnan([found.low, found.high]).all()


def test_a_change_has_no_scale_of_its_own():
    """An AUROC lies in [0, 1], a change of it does not: it is never read on the logit scale."""
    bootstrap = over()
    area = bootstrap.replicate(auroc())
    change = bootstrap.replicate(mean()).minus(area)
    assert change.measure.interval_kind == "general"
    average = mean_distribution([area.minus(area), area.minus(area)])
    assert bootstrap.interval(average).value == 0


def test_groups_that_limit_a_measure():
    """Of 30 groups of two; the rarer outcome decides, then the denominator, then all groups."""
    groups = {
        "rarest": min(len(set(GROUPS[TRUTH])), len(set(GROUPS[~TRUTH]))),
        "denominator": len(set(GROUPS[TRUTH])),
    }
    share = Measure("share", share_of(TRUTH, TRUTH), 1, denominator=TRUTH)
    bootstrap = over()
    assert bootstrap.replicate(auroc()).n_independent == groups["rarest"]
    assert bootstrap.replicate(share).n_independent == groups["denominator"]
    assert bootstrap.replicate(mean()).n_independent == 30
    assert bootstrap.replicate(mean()).n_positive_groups is None


@given(st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_a_share_is_a_ratio_of_weighted_counts(n, seed):
    rng = np.random.default_rng(seed)
    members, denominator = rng.random((2, n)) < 0.5
    weights = rng.integers(0, 3, size=(7, n)).astype(np.uint16)
    expected = weighted_ratio(members & denominator, denominator, weights)
    np.testing.assert_array_equal(share_of(members, denominator)(weights), expected)


def test_a_share_in_blocks_of_replicates(monkeypatch):
    members = TRUTH & (SCORES > 1)
    weights = over().resamples.weights
    whole = share_of(members, TRUTH)(weights)
    monkeypatch.setattr("medaudit.stats.weighting.SMALL_ROWS", 7)
    np.testing.assert_array_equal(share_of(members, TRUTH)(weights), whole)
