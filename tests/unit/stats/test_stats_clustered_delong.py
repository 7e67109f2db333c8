"""AUROCs of cases in groups: Obuchowski's variance, its differences, and the macro mean."""

import math

import numpy as np
import pytest

from medaudit.metrics.ranking import weighted_auroc, weighted_macro_auroc
from medaudit.stats import delong
from medaudit.stats.bca import jackknife
from medaudit.stats.few_groups import partition


def grouped(seed, n_groups=150, share=0.4, mixed=True):
    """Groups of 1 to 5 cases that share noise; both outcomes in a group, if asked for."""
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), rng.integers(1, 6, n_groups))
    shift = rng.normal(size=n_groups)[groups]
    positives = rng.random(len(groups) if mixed else n_groups) < share
    positives = positives if mixed else positives[groups]
    scores = 1.5 * positives + shift + rng.normal(size=len(groups))
    return scores, positives, groups


def test_single_cases_have_delongs_variance():
    scores, positives, _ = grouped(0)
    other = scores + np.random.default_rng(1).normal(size=len(scores))
    alone = np.random.default_rng(2).permutation(len(scores))
    both = np.stack([scores, other])
    made = delong.grouped_placements(both, positives, alone)
    np.testing.assert_allclose(made.covariance, delong.placements(both, positives).covariance)


def test_by_hand():
    """A = 3/4 of two positives, in groups a and c, and two negatives, in groups a and b."""
    scores, positives = [4.0, 2.0, 3.0, 1.0], [True, True, False, False]
    made = delong.grouped_placements(scores, positives, ["a", "c", "a", "b"])
    # Positive 4 outranks both, 2 one: placements 1 and 1/2. Negative 3 is outranked by 4 alone.
    np.testing.assert_allclose(made.positives, [[0.125, 0, -0.125]])
    np.testing.assert_allclose(made.negatives, [[-0.125, 0.125, 0]])
    # 2 · (2/64) + 2 · (2/64) with two groups each, and 3/2 · 2 · (−1/64) of group a.
    assert made.covariance[0, 0] == pytest.approx(4 / 64 + 4 / 64 - 3 / 64)


@pytest.mark.parametrize("mixed", [True, False])
def test_the_variance_is_that_of_leaving_out_groups(mixed):
    scores, positives, groups = grouped(3, n_groups=400, mixed=mixed)
    made = delong.grouped_placements(scores, positives, groups)
    values = jackknife(lambda w: weighted_auroc(scores, positives, w), groups)
    n = len(values)
    expected = (n - 1) / n * ((values - values.mean()) ** 2).sum()
    assert made.covariance[0, 0] == pytest.approx(expected, rel=0.03)


def test_the_variance_of_a_difference_is_that_of_leaving_out_groups():
    scores, positives, groups = grouped(4, n_groups=400)
    other = scores + np.random.default_rng(5).normal(size=len(scores))
    found = delong.clustered_auroc_difference(scores, other, positives, groups)

    def difference(weights):
        return weighted_auroc(scores, positives, weights) - weighted_auroc(
            other, positives, weights
        )

    values = jackknife(difference, groups)
    n = len(values)
    error = math.sqrt((n - 1) / n * ((values - values.mean()) ** 2).sum())
    assert (found.high - found.low) / 2 == pytest.approx(1.966 * error, rel=0.03)
    assert found.value == pytest.approx(float(difference(np.ones((1, len(scores))))[0]))
    assert found.p_value < 0.05


def three_classes(seed, n_groups=500):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(n_groups), rng.integers(1, 4, n_groups))
    truth = np.eye(3, dtype=bool)[rng.choice(3, n_groups, p=[0.05, 0.35, 0.6])[groups]]
    noise = rng.normal(size=(n_groups, 3))[groups] + rng.normal(size=truth.shape)
    return 1.5 * truth + noise, truth, groups


def test_a_macro_mean_has_the_variance_of_leaving_out_groups():
    scores, truth, groups = three_classes(6)
    found = delong.clustered_macro_auroc_interval(scores, truth, groups)
    values = jackknife(lambda w: weighted_macro_auroc(scores, truth, w), groups, blocks=500)
    n, value = len(values), found.value
    error = math.sqrt((n - 1) / n * ((values - values.mean()) ** 2).sum())
    half = np.log(found.high / (1 - found.high)) - np.log(found.low / (1 - found.low))
    # t of 30 to 60 degrees of freedom is 2.00 to 2.04.
    assert half / 2 * value * (1 - value) == pytest.approx(2.02 * error, rel=0.05)
    assert found.n_positive_groups == len(np.unique(groups[truth[:, 0]]))


def test_shared_noise_widens_it():
    scores, positives, groups = grouped(7, mixed=False)
    width = [
        found.high - found.low
        for found in (
            delong.clustered_auroc_interval(scores, positives, groups),
            delong.auroc_interval(scores, positives),
        )
    ]
    assert width[0] > 1.2 * width[1]


@pytest.mark.parametrize("ids", [["a", "a", "b", "c"], ["a", "b", "c", "c"]])
def test_one_group_of_an_outcome_has_no_interval(ids):
    found = delong.clustered_auroc_interval([4.0, 2.0, 3.0, 1.0], [1, 1, 0, 0], ids)
    assert (found.value, found.method) == (0.75, delong.NO_INTERVAL)
    assert math.isnan(found.low)


def test_a_perfect_ranking_has_no_interval():
    found = delong.clustered_auroc_interval([4.0, 3.0, 2.0, 1.0], [1, 1, 0, 0], list("abcd"))
    assert (found.value, found.method) == (1.0, delong.NO_INTERVAL)


def test_group_ids_of_another_length_are_refused():
    with pytest.raises(ValueError, match="group_ids: expected shape"):
        delong.clustered_auroc_interval([1.0, 2.0], [0, 1], ["a"])


def test_every_group_stands_in_one_part():
    parts = partition([np.array([0, 1, 2, 3]), np.array([2, 3]), np.array([4, 1, 0, 2])])
    assert [sorted(part) for part in parts] == [[2, 3], [0, 1, 4]]
