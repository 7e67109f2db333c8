import math

import numpy as np
import pytest

from medaudit.metrics import ranking
from medaudit.stats.weighting import PASS_BYTES

# Positives score 3 and 2, negatives 2 and 1.
SCORES = np.array([3.0, 2.0, 2.0, 1.0])
POSITIVES = np.array([True, True, False, False])


def test_auroc_counts_won_pairs_and_half_of_ties() -> None:
    # Pairs: 3>2, 3>1, 2=2, 2>1 -> (1 + 1 + 1/2 + 1) / 4.
    assert ranking.auroc(SCORES, POSITIVES) == 0.875


def test_auroc_of_one_class_is_undefined() -> None:
    assert math.isnan(ranking.auroc(SCORES, np.ones(4, dtype=bool)))
    assert math.isnan(ranking.auroc(SCORES, np.zeros(4, dtype=bool)))
    assert math.isnan(ranking.auroc([], []))


def test_weights_are_copies() -> None:
    # Weight 2 on the tied positive: pairs of 3 (2 won), twice the pairs of 2 (1.5 won) -> 5 / 6.
    # Weight 0 on the second positive leaves 3 against 2 and 1 -> 1.
    # Without positives nothing is left to rank.
    weights = np.array([[1, 2, 1, 1], [1, 0, 1, 1], [0, 0, 1, 1]])
    values = ranking.weighted_auroc(SCORES, POSITIVES, weights)
    np.testing.assert_array_equal(values, [5 / 6, 1.0, math.nan])


def test_average_precision_takes_ties_as_one_threshold() -> None:
    # At 3: recall 1/2, precision 1. At 2: recall 1, precision 2/3. 1/2 * 1 + 1/2 * 2/3 = 5/6.
    assert ranking.average_precision(SCORES, POSITIVES) == pytest.approx(5 / 6, abs=1e-15)


def test_average_precision_without_positives_is_undefined_and_without_negatives_is_one() -> None:
    assert math.isnan(ranking.average_precision(SCORES, np.zeros(4, dtype=bool)))
    assert ranking.average_precision(SCORES, np.ones(4, dtype=bool)) == 1.0


@pytest.mark.parametrize("kind", ["counts", "fractions"])
def test_auroc_is_the_share_of_pairs_that_are_won(kind: str) -> None:
    generator = np.random.default_rng(0)
    for n, levels in [(2, 2), (30, 4), (301, 1000)]:
        scores = generator.integers(0, levels, n).astype(float)
        positives = generator.random(n) < 0.3
        counts = generator.integers(0, 4, (50, n)).astype(np.uint16)
        weights = counts if kind == "counts" else generator.random((50, n))
        ill, well = scores[positives, None], scores[None, ~positives]
        won = (ill > well) + 0.5 * (ill == well)
        pairs = weights[:, positives, None] * weights[:, None, ~positives].astype(float)
        with np.errstate(invalid="ignore"):
            expected = (pairs * won).sum(axis=(1, 2)) / pairs.sum(axis=(1, 2))
        found = ranking.weighted_auroc(scores, positives, weights)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_large_counts_are_not_rounded_to_single_precision() -> None:
    # Wins 40000 * 60000 of pairs 40000 * (60000 + 1): one float32 could not hold the difference.
    weights = np.array([[40_000, 60_000, 1]], dtype=np.uint16)
    value = ranking.weighted_auroc([2, 1, 3], [True, False, False], weights)[0]
    assert value == 60_000 / 60_001


def test_many_replicates_come_in_chunks_without_a_seam() -> None:
    generator = np.random.default_rng(3)
    scores, positives = generator.normal(size=50), generator.random(50) < 0.5
    weights = generator.integers(0, 3, (37, 50)).astype(np.uint16)
    whole = ranking.weighted_average_precision(scores, positives, weights)
    rows = [ranking.weighted_average_precision(scores, positives, row[None]) for row in weights]
    np.testing.assert_array_equal(whole, np.concatenate(rows))
    large = np.repeat(weights, 400, axis=0)
    assert large.size * 8 > PASS_BYTES
    repeated = ranking.weighted_average_precision(scores, positives, large)
    np.testing.assert_array_equal(repeated, np.repeat(whole, 400))


def test_rates_by_threshold_use_the_strict_rule() -> None:
    # Above -inf: all. Above 1: positives 2/2, negatives at most 1: 1/2. Above 2: 1/2 and 2/2.
    rates = ranking.rates_by_threshold(SCORES, POSITIVES)
    np.testing.assert_array_equal(rates.thresholds, [-np.inf, 1, 2, 3])
    np.testing.assert_array_equal(rates.sensitivity, [1, 1, 0.5, 0])
    np.testing.assert_array_equal(rates.specificity, [0, 0.5, 1, 1])


def test_rates_of_an_absent_class_are_undefined() -> None:
    rates = ranking.rates_by_threshold(SCORES, np.ones(4, dtype=bool))
    assert np.isnan(rates.specificity).all()
    assert not np.isnan(rates.sensitivity).any()


def test_scores_that_are_not_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="NaN in 1 places"):
        ranking.auroc([0.1, math.nan], [True, False])


@pytest.mark.parametrize("shape", [(4,), (2, 3), (1, 2, 4)])
def test_weights_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected shape"):
        ranking.weighted_auroc(SCORES, POSITIVES, np.ones(shape))


@pytest.mark.parametrize("bad", [-1.0, math.nan])
def test_weights_below_zero_or_undefined_are_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="non-negative"):
        ranking.weighted_auroc(SCORES, POSITIVES, [[1.0, 1.0, 1.0, bad]])
