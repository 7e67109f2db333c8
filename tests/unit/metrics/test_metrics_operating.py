import math

import numpy as np
import pytest

from medaudit.metrics import operating

NEGATIVES = np.arange(1, 21) / 20  # 0.05 ... 1.00


def test_threshold_is_an_order_statistic() -> None:
    # ceil(0.95 * 20) = 19: the 19th smallest, 0.95. One of 20 is above it: specificity 19/20.
    threshold = operating.threshold_at_specificity(NEGATIVES, specificity=0.95)
    assert threshold == 0.95
    assert (threshold >= NEGATIVES).mean() == 0.95
    # ceil(0.951 * 20) = 20: only above the highest.
    assert operating.threshold_at_specificity(NEGATIVES, specificity=0.951) == 1.0


def test_threshold_is_not_moved_by_binary_fractions() -> None:
    # 0.07 * 100 = 7.000000000000001: the rank is 7, not 8.
    assert operating.threshold_at_specificity(np.arange(1, 101), specificity=0.07) == 7.0


def test_threshold_at_the_ends() -> None:
    assert operating.threshold_at_specificity(NEGATIVES, specificity=0.0) == -math.inf
    assert operating.threshold_at_specificity(NEGATIVES, specificity=1.0) == 1.0
    assert math.isnan(operating.threshold_at_specificity([], specificity=0.95))
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        operating.threshold_at_specificity(NEGATIVES, specificity=95)


SCORES = [0.9, 0.5, 0.2, 0.6, 0.5, 0.1]
POSITIVES = [1, 1, 1, 0, 0, 0]


def test_rates_at_a_threshold() -> None:
    # Above 0.5, strictly: 0.9 (positive) and 0.6 (negative).
    assert operating.sensitivity(SCORES, POSITIVES, threshold=0.5) == pytest.approx(1 / 3)
    assert operating.specificity(SCORES, POSITIVES, threshold=0.5) == pytest.approx(2 / 3)
    assert operating.ppv(SCORES, POSITIVES, threshold=0.5) == 1 / 2
    assert operating.npv(SCORES, POSITIVES, threshold=0.5) == 2 / 4


def test_rates_without_a_denominator_are_undefined() -> None:
    assert math.isnan(operating.sensitivity(SCORES, np.zeros(6), threshold=0.5))
    assert math.isnan(operating.specificity(SCORES, np.ones(6), threshold=0.5))
    assert math.isnan(operating.ppv(SCORES, POSITIVES, threshold=1.0))
    assert math.isnan(operating.npv(SCORES, POSITIVES, threshold=0.0))


@pytest.mark.parametrize(
    "rate", [operating.sensitivity, operating.specificity, operating.ppv, operating.npv]
)
def test_a_threshold_that_could_not_be_chosen_gives_no_rate(rate: object) -> None:
    assert callable(rate)
    assert math.isnan(rate(SCORES, POSITIVES, threshold=math.nan))


def test_weighted_rates() -> None:
    weights = np.array([[1, 1, 1, 1, 1, 1], [2, 1, 1, 3, 0, 1], [0, 0, 0, 1, 1, 1]])
    sensitivity = operating.weighted_sensitivity(SCORES, POSITIVES, weights, threshold=0.5)
    np.testing.assert_allclose(sensitivity, [1 / 3, 2 / 4, math.nan])
    specificity = operating.weighted_specificity(SCORES, POSITIVES, weights, threshold=0.5)
    np.testing.assert_allclose(specificity, [2 / 3, 1 / 4, 2 / 3])
    ppv = operating.weighted_ppv(SCORES, POSITIVES, weights, threshold=0.5)
    np.testing.assert_allclose(ppv, [1 / 2, 2 / 5, 0])
    npv = operating.weighted_npv(SCORES, POSITIVES, weights, threshold=0.5)
    np.testing.assert_allclose(npv, [2 / 4, 1 / 3, 1])


def test_sensitivity_repicked_on_the_same_sample() -> None:
    # Two of three negatives must be spared: threshold 0.5, one of three positives above it.
    value = operating.sensitivity_at_specificity(SCORES, POSITIVES, specificity=0.6)
    assert value == pytest.approx(1 / 3)
    # One of three: threshold 0.1, all positives above it. None: everybody is positive.
    assert operating.sensitivity_at_specificity(SCORES, POSITIVES, specificity=0.3) == 1.0
    assert operating.sensitivity_at_specificity(SCORES, POSITIVES, specificity=0.0) == 1.0


def test_repicked_sensitivity_is_the_rate_at_the_repicked_threshold() -> None:
    generator = np.random.default_rng(0)
    scores, positives = generator.integers(0, 12, 90) / 10, generator.random(90) < 0.3
    weights = generator.integers(0, 3, (40, 90))
    values = operating.weighted_sensitivity_at_specificity(
        scores, positives, weights, specificity=0.9
    )
    for value, counts in zip(values, weights, strict=True):
        s, y = np.repeat(scores, counts), np.repeat(positives, counts)
        threshold = operating.threshold_at_specificity(s[~y], specificity=0.9)
        assert value == pytest.approx(operating.sensitivity(s, y, threshold=threshold), abs=1e-12)


@pytest.mark.parametrize("positives", [[1, 1], [0, 0]])
def test_repicked_sensitivity_needs_both_classes(positives: list[int]) -> None:
    assert math.isnan(operating.sensitivity_at_specificity([1, 2], positives, specificity=0.9))


def test_a_guaranteed_threshold_is_a_higher_order_statistic() -> None:
    # P(Binomial(93, 0.95) < 92) = 1 - 0.95^93 - 93 * 0.05 * 0.95^92 = 0.95002: the 92nd of 93.
    # With 92 it is 0.9479 for the 91st and 1 - 0.95^92 = 0.9911 for the highest.
    scores = np.arange(1, 94)
    promise = {"specificity": 0.95, "confidence": 0.95}
    assert operating.guaranteed_threshold_at_specificity(scores, **promise) == 92
    assert operating.guaranteed_threshold_at_specificity(scores[:92], **promise) == 92
    assert operating.threshold_at_specificity(scores, specificity=0.95) == 89  # ceil(88.35)


def test_too_few_negatives_promise_nothing_but_to_flag_nobody() -> None:
    # 1 - 0.95^59 = 0.9515, 1 - 0.95^58 = 0.9490.
    promise = {"specificity": 0.95, "confidence": 0.95}
    assert operating.guaranteed_threshold_at_specificity(range(59), **promise) == 58
    assert operating.guaranteed_threshold_at_specificity(range(58), **promise) == math.inf
    assert math.isnan(operating.guaranteed_threshold_at_specificity([], **promise))
    assert math.isnan(operating.guaranteed_threshold_at_specificity([math.nan, 1], **promise))


def test_guarantees_at_the_ends() -> None:
    scores = np.arange(1000)
    at = operating.guaranteed_threshold_at_specificity
    assert at(scores, specificity=0.0, confidence=0.95) == -math.inf
    assert at(scores, specificity=1.0, confidence=0.95) == math.inf
    with pytest.raises(ValueError, match="confidence: expected"):
        at(scores, specificity=0.9, confidence=1.0)
    with pytest.raises(ValueError, match="specificity: expected"):
        at(scores, specificity=95, confidence=0.9)


@pytest.mark.parametrize(
    ("specificity", "confidence", "needed"),
    # Wilks's numbers for the highest of n as a one-sided tolerance bound.
    [(0.95, 0.95, 59), (0.9, 0.9, 22), (0.9, 0.95, 29), (0.99, 0.95, 299), (0.99, 0.99, 459)],
)
def test_negatives_needed(specificity: float, confidence: float, needed: int) -> None:
    assert operating.negatives_needed(specificity, confidence) == needed
    promise = {"specificity": specificity, "confidence": confidence}
    assert operating.guaranteed_threshold_at_specificity(range(needed), **promise) == needed - 1
    assert operating.guaranteed_threshold_at_specificity(range(needed - 1), **promise) == math.inf


def test_negatives_needed_at_the_ends() -> None:
    assert operating.negatives_needed(0.0, 0.95) == 1
    # 0.5^2 = 1 - 0.75 exactly.
    assert operating.negatives_needed(0.5, 0.75) == 2
    with pytest.raises(ValueError, match="specificity: expected"):
        operating.negatives_needed(1.0, 0.95)


@pytest.mark.parametrize("levels", [None, 40])
@pytest.mark.parametrize(("n", "confidence"), [(150, 0.9), (400, 0.95)])
def test_the_guarantee_is_kept_and_the_plain_order_statistic_breaks_it(
    n: int, confidence: float, levels: int | None
) -> None:
    # Scores are uniform on (0, 1), or on 1/40 ... 40/40: a threshold t spares the share t of all
    # negatives. 4000 calibration samples: the share that keep 95 % has a standard error of at most
    # 0.005.
    draws = np.random.default_rng(n).random((4000, n))
    scores = draws if levels is None else np.ceil(draws * levels) / levels
    kept = {
        "guaranteed": [
            operating.guaranteed_threshold_at_specificity(
                row, specificity=0.95, confidence=confidence
            )
            >= 0.95
            for row in scores
        ],
        "plain": [
            operating.threshold_at_specificity(row, specificity=0.95) >= 0.95 for row in scores
        ],
    }
    assert np.mean(kept["guaranteed"]) >= confidence - 0.015
    if levels is None:
        assert np.mean(kept["plain"]) < 0.65


def test_more_is_promised_only_by_a_higher_threshold() -> None:
    scores = np.random.default_rng(0).integers(0, 30, 120)
    grid = [
        [
            operating.guaranteed_threshold_at_specificity(scores, specificity=s, confidence=c)
            for s in (0.1, 0.5, 0.9, 0.95, 0.99)
        ]
        for c in (0.5, 0.8, 0.95, 0.999)
    ]
    assert (np.array(grid)[1:] >= np.array(grid)[:-1]).all()
    assert (np.array(grid)[:, 1:] >= np.array(grid)[:, :-1]).all()
    plain = [
        operating.threshold_at_specificity(scores, specificity=s)
        for s in (0.1, 0.5, 0.9, 0.95, 0.99)
    ]
    assert (np.array(grid) >= plain).all()


def test_independent_cases_of_single_and_of_equal_ones() -> None:
    members = np.arange(60) % 4 == 0
    assert operating.independent_cases(members, np.arange(60)) == pytest.approx(60)
    # Groups of three that are all alike: (3 n_g)^2-fold excess, a design effect of 3.
    assert operating.independent_cases(np.repeat(members, 3), np.repeat(np.arange(60), 3)) == (
        pytest.approx(60)
    )
    assert operating.independent_cases(np.ones(60), np.arange(60) // 2) == 30
    assert operating.independent_cases([], []) == 0


def test_independent_cases_are_never_more_than_there_are() -> None:
    # Every group has one member of two: less spread than chance has.
    assert operating.independent_cases(np.arange(40) % 2 == 0, np.arange(40) // 2) == 40


def test_independent_cases_give_the_variance_of_the_share() -> None:
    generator = np.random.default_rng(0)
    groups = np.repeat(np.arange(300), 4)
    shares, told = [], []
    for _ in range(400):
        shared = generator.normal(size=300)[groups]
        members = 0.8 * shared + 0.6 * generator.normal(size=1200) < 1.0
        shares.append(members.mean())
        told.append(operating.independent_cases(members, groups))
    mean = np.mean(shares)
    assert mean * (1 - mean) / np.mean(told) == pytest.approx(np.var(shares), rel=0.25)


def test_expected_specificity_counts_both_samples() -> None:
    # Normal approximation: 0.95 ± 1.96 √(0.95 · 0.05 (1/2000 + 1/4000)).
    half = 1.96 * math.sqrt(0.95 * 0.05 * (1 / 2000 + 1 / 4000))
    low, high = operating.expected_specificity(0.95, n_chosen=2000, n_new=4000)
    assert low == pytest.approx(0.95 - half, abs=2e-3)
    assert high == pytest.approx(0.95 + half, abs=2e-3)
    assert np.isnan(operating.expected_specificity(0.95, n_chosen=0, n_new=10)).all()
    assert operating.expected_specificity(0.0, n_chosen=50, n_new=50) == (0, 0)


def test_expected_specificity_narrows_with_either_sample() -> None:
    def width(n_chosen: int, n_new: int) -> float:
        low, high = operating.expected_specificity(0.9, n_chosen=n_chosen, n_new=n_new)
        return high - low

    assert width(100, 1000) > width(400, 1000) > width(400, 4000)
    # However many new ones there are, the first sample's chance stays.
    assert width(100, 10**6) > 0.1


def test_predictive_values_follow_bayes() -> None:
    # Of 1,000 with 1 %: 8 of 10 found, 99 of 990 called falsely.
    ppv = operating.ppv_at_prevalence(0.8, 0.9, prevalence=0.01)
    npv = operating.npv_at_prevalence(0.8, 0.9, prevalence=0.01)
    assert ppv == pytest.approx(8 / 107)
    assert npv == pytest.approx(891 / 893)
    assert np.isnan(operating.ppv_at_prevalence(0, 1, prevalence=0.5))
    assert np.isnan(operating.npv_at_prevalence(1, 0, prevalence=0.5))
    with pytest.raises(ValueError, match="between 0 and 1"):
        operating.ppv_at_prevalence(0.8, 0.9, prevalence=0)


@pytest.mark.parametrize("specificity", [0.0, 0.5, 0.93, 1.0])
def test_thresholds_of_replicates_are_those_of_the_repeated_scores(specificity: float) -> None:
    generator = np.random.default_rng(1)
    scores, weights = generator.integers(0, 15, 40) / 10, generator.integers(0, 3, (50, 40))
    weights[0] = 0
    found = operating.weighted_threshold_at_specificity(scores, weights, specificity=specificity)
    expected = [
        operating.threshold_at_specificity(np.repeat(scores, counts), specificity=specificity)
        for counts in weights
    ]
    np.testing.assert_array_equal(found, expected)
    assert math.isnan(found[0])


def test_shares_above_a_threshold_of_every_replicate() -> None:
    generator = np.random.default_rng(2)
    scores, members = generator.integers(0, 9, 50) / 8, generator.random(50) < 0.4
    weights = generator.integers(0, 3, (30, 50))
    thresholds = np.r_[math.nan, -math.inf, math.inf, generator.integers(0, 9, 27) / 8]
    found = operating.weighted_share_above(scores, members, weights, thresholds=thresholds)
    above = (scores[None] > thresholds[:, None]) & members
    expected = (weights * above).sum(axis=1) / weights.sum(axis=1)
    assert math.isnan(found[0])
    np.testing.assert_allclose(found[1:], expected[1:])
