import math

import numpy as np
import pytest

from medaudit.stats import delong
from medaudit.stats.intervals import NO_INTERVAL

# Positives 3 and 1, negatives 2 and 0.
SCORES, POSITIVES = [3.0, 1.0, 2.0, 0.0], [1, 1, 0, 0]


def test_placements_by_hand() -> None:
    # 3 beats both negatives, 1 one of two; 2 is beaten by one of two positives, 0 by both.
    placed = delong.placements(SCORES, POSITIVES)
    np.testing.assert_allclose(placed.positives, [[1.0, 0.5]])
    np.testing.assert_allclose(placed.negatives, [[0.5, 1.0]])
    assert placed.aurocs == pytest.approx([0.75])
    # Each class has variance (1/4)^2 * 2 = 1/8, over its 2 cases: 1/16 + 1/16.
    assert placed.covariance == pytest.approx(np.array([[1 / 8]]))


def test_ties_count_half() -> None:
    placed = delong.placements([1.0, 1.0, 1.0, 0.0], POSITIVES)
    np.testing.assert_allclose(placed.positives, [[0.75, 0.75]])
    np.testing.assert_allclose(placed.negatives, [[0.5, 1.0]])


def test_the_interval_by_hand() -> None:
    # logit 0.75 = 1.0986; s = sqrt(1/8) / (0.75 * 0.25) = 1.8856, times 1.96 is 3.6957;
    # expit(-2.5971) = 0.0693, expit(4.7943) = 0.9918.
    made = delong.auroc_interval(SCORES, POSITIVES, group_ids=["a", "b", "c", "d"])
    assert (made.value, made.low, made.high) == pytest.approx((0.75, 0.0693, 0.9918), abs=1e-4)
    assert (made.n, made.n_groups, made.n_positive) == (4, 4, 2)
    assert (made.method, made.undefined_share) == (delong.DELONG_LOGIT, 0.0)


def test_the_difference_by_hand() -> None:
    # The other model ranks 1 above 2: 1.0 for both positives, AUROC 1. Differences of placements:
    # positives 0, -1/2; negatives -1/2, 0; mean -1/4; variance 1/16 + 1/16; z = -1/4 / sqrt(1/8)
    # = -0.7071; p = 0.4795.
    made = delong.auroc_difference(SCORES, [3.0, 2.0, 1.0, 0.0], POSITIVES)
    assert (made.value, made.p_value) == pytest.approx((-0.25, 0.4795), abs=1e-4)
    reach = 1.95996 * math.sqrt(1 / 8)
    assert (made.low, made.high) == pytest.approx((-0.25 - reach, -0.25 + reach), abs=1e-4)
    assert made.method == delong.DELONG


def test_perfect_ranking_has_no_known_variance() -> None:
    for sign, value in ((1, 1.0), (-1, 0.0)):
        made = delong.auroc_interval(sign * np.arange(6.0), [0, 0, 0, 1, 1, 1])
        assert (made.value, made.method) == (value, NO_INTERVAL)
        assert math.isnan(made.low)
        assert math.isnan(made.high)


def test_models_that_rank_alike_do_not_differ() -> None:
    scores = np.random.default_rng(0).normal(size=40)
    made = delong.auroc_difference(scores, np.exp(scores), scores > np.median(scores) - 1)
    assert (made.value, made.low, made.high, made.p_value) == (0, 0, 0, 1)


def test_opposite_models_have_no_known_variance() -> None:
    made = delong.auroc_difference([0.0, 0, 1, 1], [1.0, 1, 0, 0], [0, 0, 1, 1])
    assert (made.value, made.method) == (1.0, NO_INTERVAL)
    assert math.isnan(made.low)
    assert math.isnan(made.p_value)


@pytest.mark.parametrize(
    ("scores", "positives", "value"),
    [
        pytest.param([], [], math.nan, id="nobody"),
        pytest.param([1.0, 2.0], [1, 1], math.nan, id="one class"),
        pytest.param([1.0, 2.0, 0.0], [1, 0, 0], 0.5, id="one positive"),
    ],
)
def test_too_few_cases_leave_no_interval(
    scores: list[float], positives: list[int], value: float
) -> None:
    made = delong.auroc_interval(scores, positives)
    assert made.value == pytest.approx(value, nan_ok=True)
    assert math.isnan(made.low)
    difference = delong.auroc_difference(scores, scores, positives)
    assert math.isnan(difference.p_value)
    assert difference.method == NO_INTERVAL


def test_repeated_groups_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1 groups hold more than one case \(a\)"):
        delong.auroc_interval(SCORES, POSITIVES, group_ids=["a", "a", "b", "c"])
    with pytest.raises(ValueError, match="independent"):
        delong.auroc_difference(SCORES, SCORES, POSITIVES, group_ids=[1, 2, 2, 3])


def test_wrong_shapes_and_nan_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(1, 4\) and \(3,\)"):
        delong.placements(SCORES, [1, 0, 1])
    with pytest.raises(ValueError, match="NaN in 1"):
        delong.placements([math.nan, 1.0], [1, 0])
    with pytest.raises(ValueError, match="group_ids"):
        delong.placements(SCORES, POSITIVES, group_ids=["a"])
    with pytest.raises(ValueError, match="level"):
        delong.auroc_interval(SCORES, POSITIVES, level=95)
