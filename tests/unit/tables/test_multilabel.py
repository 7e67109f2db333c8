"""Labels that do not exclude each other: what logits, targets and thresholds mean."""

import numpy as np
import pandas as pd
import pytest

from medaudit.core.files import write_json
from medaudit.tables import calibrators, confidence, predictions, tasks
from medaudit.tables.confidence import PredictiveDistributions
from medaudit.tables.operating_points import OperatingPoints
from medaudit.tables.predictions import PredictionTable, Schema
from medaudit.tables.scoring import ScoredPredictions

TASK = tasks.get("multilabel")
NAMES = ("edema", "effusion", "mass")


def scored(probabilities, targets, thresholds=(0.5, 0.5, 0.5), averaged=(0, 1, 2)):
    """Predictions with these probabilities, whose macro means include all labels."""
    n, k = np.shape(targets)
    ids = [f"s{i}" for i in range(n)]
    table = PredictionTable(
        schema=Schema("multilabel", NAMES[:k]),
        rows=pd.DataFrame({"sample_id": ids, "group_id": ids, "role": "test"}),
        targets=np.array(targets),
        logits=TASK.logits(np.array(probabilities, float))[None],
    )
    points = None
    if thresholds is not None:
        points = OperatingPoints(NAMES, thresholds, 0.95, (n, n, n))
    return ScoredPredictions(table, points, averaged)


TWO = scored([[0.9, 0.2, 0.6], [0.1, 0.4, 0.3]], [[1, 1, 0], [0, 0, 0]])


def test_probabilities_are_sigmoids_averaged_over_members():
    logits = np.log([[[0.25 / 0.75, 1.0, 3.0]], [[1.0, 1.0, 1.0]]])
    # Means of 1/4 and 1/2, of 1/2 and 1/2, of 3/4 and 1/2.
    np.testing.assert_allclose(TASK.probabilities(logits), [[0.375, 0.5, 0.625]])


def test_logits_and_probabilities_are_inverse():
    p = np.array([[1e-6, 0.3, 1 - 1e-6]])
    np.testing.assert_allclose(TASK.probabilities(TASK.logits(p)[None]), p, rtol=1e-9)
    assert np.isfinite(TASK.logits(np.array([[0.0, 1.0]])).astype(np.float32)).all()


def test_log_likelihood_is_the_mean_over_labels():
    logits = TASK.logits(TWO.probabilities)[None]
    expected = [np.log([0.9, 0.2, 0.4]).mean(), np.log([0.9, 0.6, 0.7]).mean()]
    np.testing.assert_allclose(TASK.log_likelihoods(logits, TWO.targets), expected)


def test_a_label_is_called_above_its_own_threshold():
    found = scored([[0.9, 0.2, 0.6]], [[1, 1, 0]], (0.95, 0.1, 0.6))
    assert found.decisions.tolist() == [[False, True, False]]


def test_calls_without_thresholds_are_refused():
    with pytest.raises(ValueError, match="thresholds"):
        _ = scored(TWO.probabilities, TWO.targets, None).decisions


def test_a_missed_label_weighs_more_than_a_false_alarm():
    # Row 0 misses effusion (weight 4) and calls mass (1); its costs are 4 + 4 + 1.
    np.testing.assert_allclose(TWO.risks(4.0), [5 / 9, 0])
    np.testing.assert_allclose(TWO.risks(), [2 / 3, 0])


def test_every_label_is_an_event_of_its_own():
    events = TWO.events
    assert [event.name for event in events] == list(NAMES)
    assert events[1].probability == pytest.approx([0.2, 0.4])
    assert events[1].outcome.tolist() == [True, False]


def test_measures_by_hand():
    found = {
        each.name: float(each.statistic(np.ones((1, 2)))[0])
        for each in (*TASK.measures(TWO), *TASK.losses(TWO))
    }
    assert found["exact_match"] == 0.5
    # (0.1² + 0.8² + 0.6² + 0.1² + 0.4² + 0.3²) / 6
    assert found["brier_loss"] == pytest.approx(1.27 / 6)
    told = np.log([0.9, 0.2, 0.4, 0.9, 0.6, 0.7])
    assert found["log_loss"] == pytest.approx(-told.mean())


def test_balanced_accuracy_is_over_the_labels_that_means_include():
    # edema: sensitivity 1, specificity 1; effusion: 0 and 1
    both = scored(TWO.probabilities, TWO.targets, averaged=(0, 1))
    (found,) = (m for m in TASK.measures(both) if m.name == "balanced_accuracy")
    assert found.statistic(np.ones((1, 2)))[0] == pytest.approx((1 + 0.5) / 2)
    (whole,) = (m for m in TASK.measures(TWO) if m.name == "balanced_accuracy")
    assert np.isnan(whole.statistic(np.ones((1, 2)))[0])


def test_co_occurrence_counts_a_study_in_the_row_of_each_of_its_labels():
    table = TASK.confusion(TWO).set_index(["truth", "predicted"])
    assert table.loc[("edema", "edema"), "count"] == 1
    assert table.loc[("effusion", "mass"), "count"] == 1
    assert table.loc[("effusion", "effusion"), "rate"] == 0
    assert table.loc[("(none)", "(none)"), "rate"] == 1
    assert np.isnan(table.loc[("mass", "mass"), "rate"])


@pytest.mark.parametrize("targets", [[[0, 1, 2]], [[0, 1]], [3], [-1]])
def test_impossible_targets_are_found(targets):
    assert predictions.impossible(np.array(targets), 3).all()


def test_confidence_of_a_study():
    logits = TASK.logits(np.array([[0.9, 0.2]]))[None]
    predicted = PredictiveDistributions.of_logits(TASK, logits)
    assert confidence.max_probability(predicted)[0] == pytest.approx(0.9 * 0.8)
    assert confidence.margin(predicted)[0] == pytest.approx(0.6)
    entropy = [p * np.log(p) + (1 - p) * np.log(1 - p) for p in (0.9, 0.2)]
    assert confidence.negative_entropy(predicted)[0] == pytest.approx(np.mean(entropy))


class TestAffine:
    def test_finds_the_shift_of_every_label(self):
        generator = np.random.default_rng(0)
        truth_logits = generator.normal(-1, 1.5, (20_000, 2))
        targets = (generator.random((20_000, 2)) < 1 / (1 + np.exp(-truth_logits))).astype(int)
        seen = (truth_logits - [1.0, -2.0]) / [2.0, 0.5]
        fitted = calibrators.fit("affine", TASK, seen[None], targets, classes=("a", "b"))
        np.testing.assert_allclose(fitted.slopes, [2.0, 0.5], rtol=0.06)
        np.testing.assert_allclose(fitted.intercepts, [1.0, -2.0], atol=0.1)

    def test_agrees_with_scikit_learn_on_one_label(self):
        from sklearn.linear_model import LogisticRegression

        generator = np.random.default_rng(1)
        logits = generator.normal(size=(400, 1))
        targets = (generator.random((400, 1)) < 0.3 + 0.2 * (logits > 0)).astype(int)
        fitted = calibrators.fit("affine", TASK, logits[None], targets, classes=("a",))
        theirs = LogisticRegression(C=np.inf, tol=1e-10).fit(logits, targets[:, 0])
        assert fitted.slopes[0] == pytest.approx(theirs.coef_[0, 0], rel=1e-3)
        assert fitted.intercepts[0] == pytest.approx(theirs.intercept_[0], rel=1e-3)

    def test_never_fits_worse_than_temperature(self):
        generator = np.random.default_rng(2)
        logits, targets = generator.normal(size=(1, 300, 3)), generator.integers(0, 3, 300)
        task = tasks.get("multiclass")
        losses = [
            -task.log_likelihoods(
                calibrators.fit(name, task, logits, targets, classes=NAMES).apply(logits), targets
            ).mean()
            for name in ("identity", "temperature", "affine")
        ]
        assert losses[2] <= losses[1] + 1e-9 <= losses[0] + 2e-9

    def test_a_label_without_positives_stays_finite(self):
        logits = np.random.default_rng(3).normal(size=(1, 50, 2))
        targets = np.zeros((50, 2), dtype=int)
        fitted = calibrators.fit("affine", TASK, logits, targets, classes=("a", "b"))
        assert np.isfinite(fitted.apply(logits)).all()

    def test_is_restored_from_its_facts(self, tmp_path):
        made = calibrators.Affine(("a", "b"), (1.5, 0.5), (0.1, -3.0))
        write_json(tmp_path / "c.json", {"affine": made.facts()})
        restored = calibrators.read(tmp_path / "c.json", classes=("a", "b"))["affine"]
        assert restored == made
