import math

import numpy as np
import pytest

from medaudit.metrics import ranking

# Three classes, of sizes 1, 2 and 3.
TARGETS = np.array([0, 1, 1, 2, 2, 2])
POSITIVES = TARGETS[:, None] == np.arange(3)
SCORES = np.array(
    [
        [0.5, 0.4, 0.1],
        [0.6, 0.3, 0.1],
        [0.1, 0.5, 0.4],
        [0.1, 0.1, 0.8],
        [0.2, 0.6, 0.2],
        [0.1, 0.2, 0.7],
    ]
)
# Class 0: 0.5 beats all of 0.6 .1 .1 .2 .1 but the first: 4/5.
# Class 1: 0.3 and 0.5 against .4 .1 .6 .2: 2 and 3 won of 8 pairs: 5/8.
# Class 2: .8 .2 .7 against .1 .1 .4: 3, 2 and 3 won of 9: 8/9.
AREAS = (4 / 5, 5 / 8, 8 / 9)


def test_macro_is_the_mean_over_classes() -> None:
    assert ranking.macro_auroc(SCORES, POSITIVES) == pytest.approx(sum(AREAS) / 3, abs=1e-15)
    some = ranking.macro_auroc(SCORES, POSITIVES, classes=[2, 0])
    assert some == pytest.approx((AREAS[0] + AREAS[2]) / 2, abs=1e-15)


def test_prevalence_weighs_classes_by_their_size() -> None:
    # Sizes 1, 2, 3 of 6.
    expected = (AREAS[0] + 2 * AREAS[1] + 3 * AREAS[2]) / 6
    assert ranking.prevalence_auroc(SCORES, POSITIVES) == pytest.approx(expected, abs=1e-15)
    some = ranking.prevalence_auroc(SCORES, POSITIVES, classes=[0, 2])
    assert some == pytest.approx((AREAS[0] + 3 * AREAS[2]) / 4, abs=1e-15)


def test_prevalence_is_that_of_the_replicate() -> None:
    # Sizes become 2, 2 and 3; the areas are those of the copied rows.
    weights = np.array([[1, 1, 1, 1, 1, 1], [2, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1]])
    copies = [0, 0, 1, 2, 3, 4, 5]
    areas = [ranking.auroc(SCORES[copies, k], POSITIVES[copies, k]) for k in range(3)]
    expected = (2 * areas[0] + 2 * areas[1] + 3 * areas[2]) / 7
    values = ranking.weighted_prevalence_auroc(SCORES, POSITIVES, weights)
    np.testing.assert_allclose(values[1], expected, rtol=0, atol=1e-15)


def test_a_class_that_lacks_a_side_makes_the_mean_undefined() -> None:
    weights = np.array([[1, 1, 1, 1, 1, 1], [0, 1, 1, 1, 1, 1], [0, 0, 0, 1, 1, 1]])
    for metric in (ranking.weighted_macro_auroc, ranking.weighted_prevalence_auroc):
        whole = metric(SCORES, POSITIVES, weights)
        np.testing.assert_array_equal(np.isnan(whole), [False, True, True])
        named = metric(SCORES, POSITIVES, weights, classes=[1, 2])
        np.testing.assert_array_equal(np.isnan(named), [False, False, True])


def test_nothing_to_average_is_undefined() -> None:
    assert math.isnan(ranking.macro_auroc(SCORES, POSITIVES, classes=[]))
    assert math.isnan(ranking.prevalence_auroc(SCORES, POSITIVES, classes=[]))
    assert math.isnan(ranking.macro_auroc(SCORES[:0], POSITIVES[:0]))


def test_tables_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(n, k\)"):
        ranking.macro_auroc(SCORES, TARGETS)
