"""Tasks, confidence scores, calibrators and operating points."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.stats import binom

from medaudit.core.errors import DataError
from medaudit.core.files import read_json, write_json
from medaudit.tables import calibrators, confidence, measures, operating_points, tasks
from medaudit.tables.confidence import PredictiveDistributions
from medaudit.tables.scoring import ScoredPredictions

MULTICLASS = tasks.get("multiclass")
LOGITS = arrays(np.float32, (1, 6, 3), elements=st.floats(-8, 8, width=32))


def test_probabilities_are_the_mean_over_members():
    # softmax(0, ln 3) = (1/4, 3/4); softmax(0, 0) = (1/2, 1/2); mean (3/8, 5/8)
    logits = np.array([[[0.0, math.log(3)]], [[0.0, 0.0]]], dtype=np.float32)
    assert MULTICLASS.probabilities(logits) == pytest.approx(np.array([[0.375, 0.625]]))


def test_log_likelihood_is_of_the_mean_probability():
    logits = np.array([[[0.0, math.log(3)]], [[0.0, 0.0]]], dtype=np.float32)
    found = MULTICLASS.log_likelihoods(logits, np.array([1]))
    assert found == pytest.approx([math.log(0.625)])


def test_log_likelihood_of_extreme_logits_is_finite():
    logits = np.array([[[2000.0, 0.0]]], dtype=np.float32)
    assert MULTICLASS.log_likelihoods(logits, np.array([1])) == pytest.approx([-2000.0])


def test_unknown_names_list_the_known_ones():
    with pytest.raises(ValueError, match="multiclass"):
        tasks.get("multi")
    with pytest.raises(ValueError, match="margin"):
        confidence.get("msp")
    with pytest.raises(ValueError, match="temperature"):
        calibrators.fit(
            "platt", MULTICLASS, np.zeros((1, 1, 2)), np.zeros(1, np.int64), classes=("a", "b")
        )


def of_one_member(task, probabilities):
    """One member that predicts with these probabilities."""
    return PredictiveDistributions.of_logits(task, task.logits(np.array(probabilities))[None])


def test_confidence_scores_of_a_worked_row():
    p = of_one_member(MULTICLASS, [[0.5, 0.25, 0.25]])
    assert confidence.max_probability(p) == pytest.approx([0.5])
    assert confidence.margin(p) == pytest.approx([0.25])
    # 0.5 ln 0.5 + 2 · 0.25 ln 0.25 = -1.5 ln 2
    assert confidence.negative_entropy(p) == pytest.approx([-1.5 * math.log(2)])


def test_certain_probability_has_zero_entropy():
    certain = np.array([[[1.0, 0.0]]])
    predicted = PredictiveDistributions(members=certain[np.newaxis], mean=certain)
    assert confidence.negative_entropy(predicted) == [0.0]


@given(LOGITS, st.floats(0.05, 20))
def test_temperature_keeps_the_order_of_classes(logits, temperature):
    scaled = calibrators.Temperature(temperature).apply(logits.astype(np.float64))
    assert (np.argsort(scaled, kind="stable") == np.argsort(logits, kind="stable")).all()


def test_temperature_finds_the_factor_that_was_planted():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(1, 20_000, 3)) * 2
    truth = MULTICLASS.probabilities(logits)
    targets = np.array([rng.choice(3, p=p) for p in truth])
    found = calibrators.fit(
        "temperature", MULTICLASS, logits * 2.5, targets, classes=("a", "b", "c")
    )
    assert found.facts()["temperature"] == pytest.approx(2.5, rel=0.04)


def test_temperature_never_worsens_the_calibration_likelihood(table):
    part = table.role("calibration")
    fitted = calibrators.fit(
        "temperature", MULTICLASS, part.logits, part.targets, classes=part.schema.classes
    )
    before = MULTICLASS.log_likelihoods(part.logits, part.targets).mean()
    after = MULTICLASS.log_likelihoods(fitted.apply(part.logits), part.targets).mean()
    assert after >= before - 1e-9


def test_operating_points_reach_their_specificity_on_calibration(table, points):
    part = ScoredPredictions(table.role("calibration"), points)
    for k in range(len(points.classes)):
        value = measures.frozen_specificity(part, k)(np.ones((1, len(part))))[0]
        assert value >= 0.95


def test_operating_points_go_to_disk_and_back(points, tmp_path):
    operating_points.write(points, tmp_path / "p.json")
    assert operating_points.read(tmp_path / "p.json") == points


def test_missing_operating_points_name_the_stage(tmp_path):
    with pytest.raises(DataError, match="evaluate stage"):
        operating_points.read(tmp_path / "none.json")


@pytest.mark.parametrize(
    "damage",
    [
        {"format": 9},
        {"thresholds": [0.5]},
        {"thresholds": ["high", 0.5, 0.5, 0.5]},
        {"n_negative": None},
        {"n_independent": [1.0]},
        {"on_calibration": ["most", 0.9, 0.9, 0.9]},
        {"by_fold": [[0.5]]},
    ],
)
def test_damaged_operating_points_name_file_and_stage(points, tmp_path, damage):
    path = tmp_path / "points.json"
    operating_points.write(points, path)
    write_json(path, read_json(path) | damage)
    with pytest.raises(DataError, match=r"points\.json: .*run the evaluate stage again"):
        operating_points.read(path)


def test_points_of_an_older_version_name_their_format(points, tmp_path):
    path = tmp_path / "points.json"
    operating_points.write(points, path)
    kept = ("classes", "thresholds", "specificity", "n_negative", "assurance")
    old = {name: value for name, value in read_json(path).items() if name in kept}
    write_json(path, old | {"format": 3})
    with pytest.raises(DataError, match="expected format 4, got 3; run the evaluate stage again"):
        operating_points.read(path)


def test_points_say_what_they_rest_on(table, points):
    part = table.role("calibration")
    for k in range(len(points.classes)):
        negatives = part.targets != k
        scores = MULTICLASS.probabilities(part.logits)[negatives, k]
        assert points.n_negative[k] == negatives.sum()
        assert points.n_negative_groups[k] == len(set(part.group_ids[negatives]))
        assert points.on_calibration[k] == (scores <= points.thresholds[k]).mean()
        assert points.n_negative_groups[k] / 2 < points.n_independent[k] <= points.n_negative[k]


class TestCrossFit:
    @pytest.fixture
    def folded(self, table):
        rows = table.rows.assign(
            role="test", cross_fit_fold=table.rows["group_id"].rank(method="dense").astype(int) % 3
        )
        return replace(table, rows=rows)

    def test_every_fold_is_judged_by_the_others(self, folded):
        found = operating_points.cross_fit(folded, specificity=0.9)
        folds = folded.rows["cross_fit_fold"].to_numpy()
        for fold in range(3):
            others = operating_points.choose(folded.where(folds != fold), specificity=0.9)
            assert found.by_fold[fold] == others.thresholds
            assert (found.of_rows(folded.rows)[folds == fold] == others.thresholds).all()
        assert found.thresholds == pytest.approx(np.mean(found.by_fold, axis=0))

    def test_calls_are_row_by_row_and_survive_a_choice_of_rows(self, folded):
        found = operating_points.cross_fit(folded, specificity=0.9)
        scored = ScoredPredictions(folded, found)
        expected = scored.probabilities > found.of_rows(folded.rows)
        np.testing.assert_array_equal(scored.above_threshold, expected)
        some = np.arange(len(folded)) % 7 == 0
        np.testing.assert_array_equal(scored.part(some).above_threshold, expected[some])

    def test_goes_to_disk_and_back(self, folded, tmp_path):
        found = operating_points.cross_fit(folded, specificity=0.9)
        operating_points.write(found, tmp_path / "p.json")
        assert operating_points.read(tmp_path / "p.json") == found

    def test_other_samples_are_refused(self, table, folded):
        found = operating_points.cross_fit(folded, specificity=0.9)
        with pytest.raises(DataError, match="for other samples give a calibration role"):
            _ = ScoredPredictions(table, found).above_threshold

    def test_a_calibrator_of_every_fold(self, folded):
        folds = folded.rows["cross_fit_fold"].to_numpy()
        parts = tuple(calibrators.Temperature(t) for t in (1.0, 2.0, 6.0))
        found = calibrators.CrossFitted(folds, parts)
        expected = folded.logits / np.array([1.0, 2.0, 6.0])[folds][None, :, None]
        np.testing.assert_allclose(found.apply(folded.logits), expected, rtol=1e-6)
        assert found.facts() == {"temperature": 3.0}
        with pytest.raises(ValueError, match="expected logits of 600 samples, got 5"):
            found.apply(folded.logits[:, :5])


def test_points_of_other_classes_are_refused(table, points):
    other = operating_points.OperatingPoints(("a", "b"), (0.5, 0.5), 0.95, (1, 1))
    assert ScoredPredictions(table, points)
    with pytest.raises(DataError, match="operating points are for a, b"):
        ScoredPredictions(table, other)


def test_macro_measures_agree_with_scikit_learn(table, points):
    from sklearn import metrics as sk

    test = ScoredPredictions(table.role("test"), points)
    ones = np.ones((1, len(test)))
    found = {m.name: float(m.statistic(ones)[0]) for m in measures.measures(test)}
    truth, called = test.table.targets, test.probabilities.argmax(1)
    expected = {
        "macro_auroc": sk.roc_auc_score(truth, test.probabilities, multi_class="ovr"),
        "macro_auprc": sk.average_precision_score(test.positives, test.probabilities),
        "macro_f1": sk.f1_score(truth, called, average="macro"),
        "balanced_accuracy": sk.balanced_accuracy_score(truth, called),
        "accuracy": sk.accuracy_score(truth, called),
        "matthews_correlation": sk.matthews_corrcoef(truth, called),
        "log_loss": sk.log_loss(truth, test.probabilities),
        "critical_auroc": sk.roc_auc_score(truth == 2, test.probabilities[:, 2]),
        "critical_recall": sk.recall_score(truth == 2, called == 2),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)


def test_micro_measures_agree_with_scikit_learn(table, points):
    from sklearn import metrics as sk

    test = ScoredPredictions(table.role("test"), points)
    truth, stated, called = test.positives, test.probabilities, test.decisions
    found = micro(test)
    expected = {
        "micro_f1": sk.f1_score(truth, called, average="micro"),
        "micro_auroc": sk.roc_auc_score(truth, stated, average="micro"),
        "micro_auprc": sk.average_precision_score(truth, stated, average="micro"),
    }
    assert found == pytest.approx(expected)
    assert found["micro_f1"] == pytest.approx(test.correct.mean())


def test_micro_measures_of_labels_agree_with_scikit_learn(multilabel_table, multilabel_points):
    from sklearn import metrics as sk

    test = ScoredPredictions(multilabel_table.role("test"), multilabel_points)
    truth, stated = test.positives, test.probabilities
    expected = {
        "micro_f1": sk.f1_score(truth, test.decisions, average="micro"),
        "f1_at_half": sk.f1_score(truth, stated > 0.5, average="macro"),
        "micro_auroc": sk.roc_auc_score(truth, stated, average="micro"),
        "micro_auprc": sk.average_precision_score(truth, stated, average="micro"),
    }
    assert micro(test) == pytest.approx(expected)


def test_a_weight_of_a_micro_measure_is_a_repeated_row(multilabel_table, multilabel_points):
    test = ScoredPredictions(multilabel_table.role("test"), multilabel_points)
    counts = np.random.default_rng(0).integers(0, 4, (5, len(test)))
    for measure in (*measures.micro_measures(test), *measures.micro_areas(test)):
        weighted = measure.statistic(counts)
        for row, value in zip(counts, weighted, strict=True):
            assert value == pytest.approx(repeated(test, row, measure.name)), measure.name


def repeated(test, counts, name):
    """A micro measure by scikit-learn on rows that are written as often as they count."""
    from sklearn import metrics as sk

    truth, stated, called = (
        np.repeat(each, counts, axis=0)
        for each in (test.positives, test.probabilities, test.decisions)
    )
    return {
        "micro_f1": lambda: sk.f1_score(truth, called, average="micro"),
        "f1_at_half": lambda: sk.f1_score(truth, stated > 0.5, average="macro"),
        "micro_auroc": lambda: sk.roc_auc_score(truth, stated, average="micro"),
        "micro_auprc": lambda: sk.average_precision_score(truth, stated, average="micro"),
    }[name]()


def micro(test):
    """Micro measures and F1 at one half of a whole sample."""
    ones = np.ones((1, len(test)))
    known = (*measures.micro_measures(test), *measures.micro_areas(test))
    return {m.name: float(m.statistic(ones)[0]) for m in known}


def test_every_measure_is_defined_on_the_whole_test_role(table, points):
    test = ScoredPredictions(table.role("test"), points)
    ones = np.ones((1, len(test)))
    for measure in measures.measures(test):
        assert np.isfinite(measure.statistic(ones)).all(), measure.name


def test_macro_is_undefined_where_a_class_is_missing(table, points):
    test = ScoredPredictions(table.role("test"), points)
    without = np.where(test.table.targets == 0, 0, 1)[None]
    for measure in measures.macro_measures(test):
        defined = np.isfinite(measure.statistic(without)).all()
        # Without cases of a class it has no sensitivity, but still a specificity.
        assert defined == (measure.name == "macro_specificity"), measure.name


def test_macro_leaves_out_what_the_whole_sample_lacks(table, points):
    whole = table.role("test")
    test = ScoredPredictions(whole.where(whole.targets != 0), points)
    assert test.left_out == ("akiec",)
    found = {m.name: m.statistic(np.ones((1, len(test))))[0] for m in measures.measures(test)}
    parts = [
        measures.per_output_measures(test, k)[0].statistic(np.ones((1, len(test))))[0]
        for k in (1, 2, 3)
    ]
    assert found["macro_auroc"] == pytest.approx(np.mean(parts))
    part = test.part(test.positives[:, 3])
    assert part.in_means == (1, 2, 3)


class TestPromisedSpecificity:
    def test_is_the_order_statistic_of_clopper_and_pearson(self, table):
        part = table.role("calibration")
        promised = operating_points.choose(part, specificity=0.8, assurance=0.9)
        plain = operating_points.choose(part, specificity=0.8)
        assert promised.assurance == 0.9
        assert all(p >= q for p, q in zip(promised.thresholds, plain.thresholds, strict=True))
        # One image of each of the 75 groups: P(Bin(n, 0.8) < k) >= 0.9 for the k-th score.
        _, first = np.unique(part.group_ids, return_index=True)
        scores = MULTICLASS.probabilities(part.logits)[first, 0]
        negatives = np.sort(scores[part.targets[first] != 0])
        k = next(k for k in range(len(negatives)) if binom.cdf(k, len(negatives), 0.8) >= 0.9)
        assert promised.thresholds[0] == pytest.approx(negatives[k])
        assert promised.n_negative[0] == len(negatives)

    def test_too_few_negatives_are_one_line(self, table):
        with pytest.raises(DataError, match=r"from 459 calibration groups .* too few for akiec"):
            operating_points.choose(table.role("calibration"), specificity=0.99, assurance=0.99)
