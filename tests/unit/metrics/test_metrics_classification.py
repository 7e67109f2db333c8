import math

import numpy as np
import pytest

from medaudit.metrics import classification

# Truth 0: right, right, called 1. Truth 1: right. Truth 2: called 0.
TARGETS = [0, 0, 0, 1, 2]
PREDICTED = [0, 0, 1, 1, 0]
MATRIX = [[2, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_confusion_has_truth_in_rows() -> None:
    np.testing.assert_array_equal(classification.confusion(PREDICTED, TARGETS, n_classes=3), MATRIX)


def test_weights_count_as_copies() -> None:
    weights = np.array([[1, 1, 1, 1, 1], [0, 0, 5, 0, 2]])
    matrices = classification.weighted_confusion(PREDICTED, TARGETS, weights, n_classes=3)
    np.testing.assert_array_equal(matrices[0], MATRIX)
    np.testing.assert_array_equal(matrices[1], [[0, 5, 0], [0, 0, 0], [2, 0, 0]])


def test_per_class_values() -> None:
    np.testing.assert_allclose(classification.recall_per_class(MATRIX), [2 / 3, 1, 0])
    # Class 2 is never predicted: its precision is undefined, its F1 is 0 since it has a target.
    np.testing.assert_allclose(classification.precision_per_class(MATRIX), [2 / 3, 1 / 2, math.nan])
    # Twice the right over targets and predictions: 4 of 6, 2 of 3, 0 of 1.
    np.testing.assert_allclose(classification.f1_per_class(MATRIX), [2 / 3, 2 / 3, 0])


def test_summaries() -> None:
    assert classification.accuracy_score(PREDICTED, TARGETS, n_classes=3) == 3 / 5
    assert classification.balanced_accuracy_score(PREDICTED, TARGETS, n_classes=3) == pytest.approx(
        5 / 9
    )
    assert classification.macro_f1_score(PREDICTED, TARGETS, n_classes=3) == pytest.approx(4 / 9)
    # c s - sum t p = 3*5 - (3*3 + 1*2 + 1*0) = 4; s2 - sum t2 = 25 - 11 = 14; s2 - sum p2 = 12.
    mcc = classification.matthews_correlation_score(PREDICTED, TARGETS, n_classes=3)
    assert mcc == pytest.approx(4 / math.sqrt(14 * 12))


def test_a_class_without_targets_makes_the_macro_mean_undefined_unless_left_out_by_name() -> None:
    matrix = [[2, 1], [0, 0]]
    np.testing.assert_allclose(classification.f1_per_class(matrix), [0.8, math.nan])
    assert math.isnan(classification.macro_f1(matrix))
    assert math.isnan(classification.balanced_accuracy(matrix))
    assert classification.macro_f1(matrix, classes=[0]) == 0.8
    assert classification.balanced_accuracy(matrix, classes=[0]) == pytest.approx(2 / 3)


def test_a_mean_over_no_classes_is_undefined() -> None:
    assert math.isnan(classification.macro_f1(MATRIX, classes=[]))


@pytest.mark.parametrize("matrix", [[[3, 1], [0, 0]], [[3, 0], [2, 0]], [[0, 0], [0, 0]]])
def test_matthews_is_undefined_when_either_side_is_constant(matrix: list[list[int]]) -> None:
    assert math.isnan(classification.matthews_correlation(matrix))


def test_an_empty_sample_is_undefined_everywhere() -> None:
    assert math.isnan(classification.accuracy_score([], [], n_classes=2))
    assert math.isnan(classification.macro_f1_score([], [], n_classes=2))
    assert math.isnan(classification.matthews_correlation_score([], [], n_classes=2))


def test_replicates_keep_their_axis() -> None:
    weights = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]])
    matrices = classification.weighted_confusion(PREDICTED, TARGETS, weights, n_classes=3)
    np.testing.assert_allclose(classification.macro_f1(matrices), [4 / 9, math.nan])
    np.testing.assert_allclose(classification.accuracy(matrices), [3 / 5, 3 / 4])
    assert classification.recall_per_class(matrices).shape == (2, 3)


@pytest.mark.parametrize("label", [3, -1])
def test_a_class_number_outside_the_list_is_refused(label: int) -> None:
    with pytest.raises(ValueError, match=rf"expected class numbers 0\.\.2, got \[{label}\]"):
        classification.confusion([label], [0], n_classes=3)


def test_lengths_must_agree() -> None:
    with pytest.raises(ValueError, match="one length"):
        classification.confusion([0, 1], [0], n_classes=2)
