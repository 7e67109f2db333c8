import math

import numpy as np
import pytest

from medaudit.metrics import classification

# Two corruptions of three severities.
ERRORS = np.array([[0.2, 0.3, 0.4], [0.2, 0.2, 0.2]])
REFERENCE = np.array([[0.3, 0.4, 0.5], [0.4, 0.4, 0.4]])


def test_balanced_error() -> None:
    np.testing.assert_allclose(
        classification.balanced_error([0.75, 1.0, math.nan]), [0.25, 0.0, math.nan]
    )


def test_corruption_error_is_a_ratio_of_means() -> None:
    # 0.9 / 1.2 and 0.6 / 1.2; not the mean of 2/3, 3/4, 4/5.
    np.testing.assert_allclose(classification.corruption_error(ERRORS, REFERENCE), [0.75, 0.5])
    assert classification.mean_over_corruptions([0.75, 0.5]) == pytest.approx(0.625)
    assert classification.mean_over_corruptions([0.75, 0.5], corruptions=[1]) == 0.5


def test_a_published_mean_of_the_reference_is_enough() -> None:
    np.testing.assert_allclose(classification.corruption_error(ERRORS, [[0.4], [0.4]]), [0.75, 0.5])


def test_a_reference_is_itself_one() -> None:
    np.testing.assert_allclose(classification.corruption_error(REFERENCE, REFERENCE), 1.0)
    clean = {"clean_error": 0.2, "reference_clean_error": 0.2}
    np.testing.assert_allclose(
        classification.relative_corruption_error(REFERENCE, REFERENCE, **clean), 1.0
    )


def test_relative_corruption_error_is_of_what_is_added() -> None:
    # (0.3 - 0.1) / (0.4 - 0.2) and (0.2 - 0.1) / (0.4 - 0.2).
    value = classification.relative_corruption_error(
        ERRORS, REFERENCE, clean_error=0.1, reference_clean_error=0.2
    )
    np.testing.assert_allclose(value, [1.0, 0.5])
    # A model that the corruption helps is below 0.
    value = classification.relative_corruption_error(
        ERRORS, REFERENCE, clean_error=0.25, reference_clean_error=0.2
    )
    np.testing.assert_allclose(value, [0.25, -0.25])


def test_a_reference_that_loses_next_to_nothing_is_no_measure() -> None:
    # ChestMNIST-C contrast: 0.288 - 0.2839 = 0.0041 would make 0.05 of added error an rBE of 12.
    arguments = {"clean_error": 0.25, "reference_clean_error": 0.2839}
    assert math.isnan(classification.relative_corruption_error([0.3], [0.288], **arguments))
    value = classification.relative_corruption_error(
        [0.3], [0.288], **arguments, min_degradation=0.004
    )
    assert value == pytest.approx(0.05 / 0.0041)
    # One that gains would turn the sign.
    assert math.isnan(classification.relative_corruption_error([0.3], [0.25], **arguments))
    with pytest.raises(ValueError, match="above 0"):
        classification.relative_corruption_error([0.3], [0.288], **arguments, min_degradation=0.0)


def test_undefined_errors_stay_undefined() -> None:
    assert math.isnan(classification.corruption_error([0.1, math.nan], [0.2, 0.2]))
    assert math.isnan(classification.corruption_error([0.1, 0.1], [0.0, 0.0]))
    assert math.isnan(classification.corruption_error(np.zeros((0,)), np.zeros((0,))))
    assert math.isnan(classification.mean_over_corruptions([0.5, math.nan]))
    assert classification.mean_over_corruptions([0.5, math.nan], corruptions=[0]) == 0.5
    with pytest.raises(ValueError, match="last axis"):
        classification.corruption_error(0.1, 0.2)


def test_replicates_pass_through_and_stay_paired() -> None:
    generator = np.random.default_rng(0)
    errors, reference = generator.random((2, 50, 4, 5))
    clean, reference_clean = generator.random((2, 50)) / 4
    found = classification.relative_corruption_error(
        errors,
        reference,
        clean_error=clean[:, None],
        reference_clean_error=reference_clean[:, None],
    )
    assert found.shape == (50, 4)
    for b in range(50):
        alone = classification.relative_corruption_error(
            errors[b],
            reference[b],
            clean_error=clean[b],
            reference_clean_error=reference_clean[b],
        )
        np.testing.assert_array_equal(found[b], alone)
    means = classification.mean_over_corruptions(classification.corruption_error(errors, reference))
    expected = (errors.mean(-1) / reference.mean(-1)).mean(-1)
    np.testing.assert_allclose(means, expected, rtol=0, atol=1e-12)


def test_published_numbers_of_one_corruption() -> None:
    # DermaMNIST-C, AlexNet: clean 0.3986, gaussian noise 0.770. A model of 0.30 clean and errors
    # .40 .50 .60 .65 .70 (mean .57): BE = .57 / .770, rBE = .27 / .3714.
    errors = [0.4, 0.5, 0.6, 0.65, 0.7]
    assert classification.corruption_error(errors, [0.770]) == pytest.approx(0.7402597402597402)
    relative = classification.relative_corruption_error(
        errors, [0.770], clean_error=0.30, reference_clean_error=0.3986
    )
    assert relative == pytest.approx(0.7269789983844911)
