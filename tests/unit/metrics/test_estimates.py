"""Public metrics: values of scikit-learn, intervals of the audit, plain errors."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

import medaudit as ma
from medaudit import metrics
from medaudit.audits import calibrate, evaluate, selective
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.tables import confidence
from medaudit.tables.predictions import PredictionTable, Schema
from medaudit.tables.scoring import ScoredPredictions

FAST = {"replicates": 200}
N = 120
NAMES = ["bkl", "mel", "nv"]


@pytest.fixture(scope="module")
def event():
    generator = np.random.default_rng(7)
    truth = generator.random(N) < 0.4
    odds = 1.2 * (2 * truth - 1) + generator.normal(0, 1, N)
    return truth.astype(int), 1 / (1 + np.exp(-odds))


@pytest.fixture(scope="module")
def classes():
    generator = np.random.default_rng(8)
    truth = generator.choice(3, N)
    odds = np.exp(1.5 * np.eye(3)[truth] + generator.normal(0, 1, (N, 3)))
    return truth, odds / odds.sum(axis=1, keepdims=True)


def called(scores):
    return (scores > 0.5).astype(int)


OF_EVENTS = {
    "auroc": ({}, sk.roc_auc_score),
    "average_precision": ({}, sk.average_precision_score),
    "sensitivity": ({"threshold": 0.5}, lambda y, p: sk.recall_score(y, called(p))),
    "specificity": ({"threshold": 0.5}, lambda y, p: sk.recall_score(y, called(p), pos_label=0)),
    "ppv": ({"threshold": 0.5}, lambda y, p: sk.precision_score(y, called(p))),
    "npv": ({"threshold": 0.5}, lambda y, p: sk.precision_score(y, called(p), pos_label=0)),
    "log_loss": ({}, sk.log_loss),
    "brier_loss": ({}, sk.brier_score_loss),
    "brier_skill_score": (
        {},
        lambda y, p: 1 - sk.brier_score_loss(y, p) / sk.brier_score_loss(y, 0 * p + y.mean()),
    ),
}
OF_CALLS = {"precision": sk.precision_score, "recall": sk.recall_score, "f1": sk.f1_score}
OF_CLASSES = {
    "accuracy": sk.accuracy_score,
    "balanced_accuracy": sk.balanced_accuracy_score,
    "macro_f1": lambda y, c: sk.f1_score(y, c, average="macro"),
    "matthews_correlation": sk.matthews_corrcoef,
}


@pytest.mark.parametrize("name", OF_EVENTS)
def test_events_against_scikit_learn(event, name):
    options, reference = OF_EVENTS[name]
    found = getattr(metrics, name)(*event, **options, **FAST)
    assert found.value == pytest.approx(reference(*event), abs=1e-12)
    assert found.low < found.value < found.high
    assert (found.n, found.n_groups) == (N, N)


@pytest.mark.parametrize("name", OF_CALLS)
def test_calls_against_scikit_learn(event, name):
    truth, scores = event
    found = getattr(metrics, name)(truth, called(scores), **FAST)
    assert found.value == pytest.approx(OF_CALLS[name](truth, called(scores)), abs=1e-12)
    assert found.low < found.value < found.high


@pytest.mark.parametrize("name", OF_CLASSES)
def test_classes_against_scikit_learn(classes, name):
    truth, table = classes
    guess = table.argmax(axis=1)
    words = np.array(NAMES)
    found = getattr(metrics, name)(words[truth], words[guess], **FAST)
    assert found.value == pytest.approx(OF_CLASSES[name](truth, guess), abs=1e-12)
    assert getattr(metrics, name)(truth, guess, **FAST) == found


def test_probabilities_of_classes_against_scikit_learn(classes):
    truth, table = classes
    onehot = np.eye(3)[truth]
    expected = {
        "log_loss": sk.log_loss(truth, table),
        "brier_loss": ((table - onehot) ** 2).sum(axis=1).mean(),
        "macro_auroc": sk.roc_auc_score(truth, table, multi_class="ovr"),
        "prevalence_auroc": sk.roc_auc_score(truth, table, multi_class="ovr", average="weighted"),
    }
    values = {name: getattr(metrics, name)(truth, table, **FAST).value for name in expected}
    assert values == pytest.approx(expected, abs=1e-12)
    assert metrics.macro_auroc(onehot, table, **FAST).value == pytest.approx(values["macro_auroc"])


class TestWorked:
    """Numbers that can be checked on paper; eight samples, three of them positive."""

    truth = (1, 1, 1, 0, 0, 0, 0, 0)
    scores = (0.9, 0.8, 0.3, 0.6, 0.3, 0.2, 0.1, 0.1)

    def test_sensitivity_at_specificity(self):
        # Specificity 0.8 lets one negative pass: thresholds above 0.3 keep two of three.
        found = metrics.sensitivity_at_specificity(self.truth, self.scores, specificity=0.8, **FAST)
        assert found.value == pytest.approx(2 / 3)

    def test_calibration_errors_of_two_bins(self):
        # Stated 0.25 six times and 0.75 twice; 2 of 6 and 2 of 2 happen.
        stated, happened = [0.25] * 6 + [0.75] * 2, [1, 1, 0, 0, 0, 0, 1, 1]
        gaps = (abs(2 / 6 - 0.25), abs(1 - 0.75))
        ece = metrics.ece(happened, stated, n_bins=2, **FAST)
        assert ece.value == pytest.approx(6 / 8 * gaps[0] + 2 / 8 * gaps[1])
        assert metrics.mce(happened, stated, n_bins=2, **FAST).value == pytest.approx(gaps[1])
        noise = (1 / 3) * (2 / 3) / 5
        debiased = metrics.debiased_ece(happened, stated, n_bins=2, binning="equal_width", **FAST)
        squared = 6 / 8 * (gaps[0] ** 2 - noise) + 2 / 8 * gaps[1] ** 2
        assert debiased.value == pytest.approx(max(squared, 0) ** 0.5)
        parts = metrics.brier_decomposition(happened, stated, n_bins=2)
        assert parts.reliability == pytest.approx(6 / 8 * gaps[0] ** 2 + 2 / 8 * gaps[1] ** 2)

    def test_classwise_ece(self):
        # Class 0 is stated 0.5 and happens always; so for class 1, never.
        found = metrics.classwise_ece([0, 0], [[0.5, 0.5], [0.5, 0.5]], **FAST)
        assert found.value == pytest.approx(0.5)

    def test_selection(self):
        # Errors at ranks 2 and 4: risks 0, 1/2, 1/3, 1/2 and generalised 0, 1/4, 1/4, 1/2.
        risks, trust = [0, 1, 0, 1], [4, 3, 2, 1]
        assert metrics.aurc(risks, trust, **FAST).value == pytest.approx(
            (1 / 2 + 1 / 3 + 1 / 2) / 4
        )
        assert metrics.augrc(risks, trust, **FAST).value == pytest.approx(1 / 4)
        # In the ideal order the risks are 0, 0, 1/3, 1/2.
        excess = metrics.excess_aurc(risks, trust, **FAST).value
        assert excess == pytest.approx((1 / 2) / 4)
        assert metrics.risk_at_coverage(risks, trust, coverage=0.5, **FAST).value == 0.5
        assert metrics.coverage_at_risk(risks, trust, max_risk=0.4, **FAST).value == 0.75

    def test_balanced_selection(self):
        # Classes a, a, b, b by falling trust, the last one wrong.
        truth, risks, trust = list("aabb"), [0, 0, 0, 1], [4, 3, 2, 1]
        aurc = metrics.balanced_aurc(truth, risks, trust, **FAST)
        assert aurc.value == pytest.approx((0 + 0 + 0 + (0 + 1 / 2) / 2) / 4)
        augrc = metrics.balanced_augrc(truth, risks, trust, **FAST)
        assert augrc.value == pytest.approx((1 / 2 * 1 / 2) / 4)
        kept = metrics.balanced_risk_at_coverage(truth, risks, trust, coverage=1, **FAST)
        assert kept.value == pytest.approx(1 / 4)
        share = metrics.coverage_at_balanced_risk(truth, risks, trust, max_risk=0.1, **FAST)
        assert share.value == pytest.approx(3 / 4)
        curve = metrics.balanced_risk_coverage(risks, trust, [0, 0, 1, 1])
        assert curve.selective_risk.mean() == pytest.approx(aurc.value)
        assert metrics.risk_coverage(risks, trust).selective_risk[-1] == 0.25

    def test_a_share_of_one_has_the_interval_of_wilson(self):
        found = metrics.sensitivity(self.truth, self.scores, threshold=0.2, **FAST)
        assert (found.value, found.high) == (1.0, 1.0)
        assert found.low == pytest.approx(3 / (3 + 1.959964**2))
        assert found.method == "wilson"


def test_calibration_of_probabilities_that_are_true():
    generator = np.random.default_rng(3)
    stated = generator.random(4000)
    happened = generator.random(4000) < stated
    line = metrics.cox(happened, stated, **FAST)
    assert line.slope.low < 1 < line.slope.high
    assert line.intercept.low < 0 < line.intercept.high
    assert metrics.spiegelhalter(happened, stated).p_value > 0.01
    floor = metrics.ece_noise_floor(stated, replicates=100)
    assert metrics.ece(happened, stated, **FAST).value < 1.5 * floor.p95
    assert metrics.smooth_ece(happened, stated, **FAST).value < 0.03
    bold = metrics.cox(happened, stated**2 / (stated**2 + (1 - stated) ** 2), **FAST)
    assert bold.slope.high < 1
    assert metrics.spiegelhalter(happened, stated**2).p_value < 0.01


@pytest.mark.parametrize("groups", [None, "pairs"])
def test_a_difference_of_models_is_paired(event, groups):
    truth, scores = event
    worse = scores + np.random.default_rng(2).normal(0, 1, N)
    ids = None if groups is None else np.arange(N) // 2
    found = metrics.auroc_difference(truth, scores, worse, groups=ids, **FAST)
    expected = sk.roc_auc_score(truth, scores) - sk.roc_auc_score(truth, worse)
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.low > 0
    assert found.p_value < 0.05
    assert ("delong" in found.method) == (groups is None)
    assert found.n_groups == (N if groups is None else N // 2)


@pytest.fixture(scope="module")
def audited(classes):
    truth, table = classes
    groups = np.array([f"p{i // 2}" for i in range(N)])
    rows = pd.DataFrame({"sample_id": [f"s{i:03}" for i in range(N)], "group_id": groups})
    schema = Schema("multiclass", tuple(NAMES), "mel")
    logits = np.log(table)[None].astype(np.float32)
    predictions = PredictionTable(schema, rows.assign(role="test"), truth, logits)
    params = evaluate.EvaluateParams(specificity=0.8)
    points = evaluate.freeze(predictions, params)
    scored = ScoredPredictions(predictions, points)
    bootstrap = Bootstrap.of_groups(groups, IntervalParams(replicates=300))
    found = evaluate.audit(scored, points, params, bootstrap)
    return scored, found, bootstrap, {"groups": groups, "replicates": 300}


class TestLikeTheAudit:
    """The same data, groups and resamples give the same value and interval as the audit."""

    def same(self, estimate, row):
        for name in ("value", "low", "high"):
            assert getattr(estimate, name) == pytest.approx(row[name], abs=1e-12, nan_ok=True), name
        assert (estimate.n, estimate.n_groups) == (row["n"], row["n_groups"])
        assert estimate.method == row["method"]

    def test_measures(self, audited):
        scored, found, _, options = audited
        table = found.series["metrics"].set_index("metric")
        truth, stated = scored.targets, scored.probabilities
        guess = stated.argmax(axis=1)
        self.same(metrics.macro_auroc(truth, stated, **options), table.loc["macro_auroc"])
        for name in ("accuracy", "balanced_accuracy", "matthews_correlation"):
            self.same(getattr(metrics, name)(truth, guess, **options), table.loc[name])
        for name in ("log_loss", "brier_loss", "brier_skill_score", "ece"):
            self.same(getattr(metrics, name)(truth, stated, **options), table.loc[name])
        wrong = (guess != truth).astype(float)
        found = metrics.augrc(wrong, stated.max(axis=1), **options)
        self.same(found, table.loc["failure_augrc"])

    def test_measures_of_a_class(self, audited):
        scored, found, _, options = audited
        table = found.series["per_class"]
        table = table[table["class"] == "mel"].set_index("metric")
        truth, stated = (scored.targets == 1).astype(int), scored.probabilities[:, 1]
        calls = (scored.probabilities.argmax(axis=1) == 1).astype(int)
        self.same(metrics.auroc(truth, stated, **options), table.loc["auroc"])
        self.same(metrics.average_precision(truth, stated, **options), table.loc["auprc"])
        for name in ("precision", "recall", "f1"):
            self.same(getattr(metrics, name)(truth, calls, **options), table.loc[name])
        threshold = float(scored.thresholds[1])
        for name in ("sensitivity", "specificity", "ppv", "npv"):
            found = getattr(metrics, name)(truth, stated, threshold=threshold, **options)
            self.same(found, table.loc[name])

    def test_calibration(self, audited):
        scored, _, bootstrap, options = audited
        truth, stated = scored.targets, scored.probabilities
        own = calibrate.event_measures(scored.events[0], n_bins=15)
        expected = {each.name: bootstrap.interval(each) for each in own}
        line = metrics.cox(truth, stated, **options)
        assert line.slope == expected["cox_slope"]
        assert line.intercept == expected["cox_intercept"]
        ours = {
            "ece": metrics.ece(truth, stated, **options),
            "ece_debiased": metrics.debiased_ece(truth, stated, **options),
            "ece_smooth": metrics.smooth_ece(truth, stated, **options),
            "mce": metrics.mce(truth, stated, **options),
        }
        assert ours == {name: expected[name] for name in ours}

    def test_selection(self, audited):
        scored, _, bootstrap, options = audited
        params = selective.SelectiveParams()
        own = selective.measures(scored, scored.risks(), params, score="max_probability")
        expected = {each.name: bootstrap.interval(each) for each in own}
        risks, trust = (
            scored.risks(),
            confidence.get("max_probability")(scored.predictive_distributions),
        )
        for name in ("aurc", "excess_aurc", "augrc"):
            assert getattr(metrics, name)(risks, trust, **options) == expected[name]
        found = metrics.balanced_augrc(scored.targets, risks, trust, **options)
        assert found == expected["balanced_augrc"]
        drifting = metrics.balanced_aurc(scored.targets, risks, trust, **options)
        assert drifting.value == expected["balanced_aurc"].value
        assert drifting.method == expected["balanced_aurc"].method == "none"


class TestInputs:
    def test_lists_series_and_frames(self, event, classes):
        truth, scores = event
        expected = metrics.auroc(truth, scores, **FAST)
        assert metrics.auroc(truth.tolist(), scores.tolist(), **FAST) == expected
        assert metrics.auroc(pd.Series(truth > 0), pd.Series(scores), **FAST) == expected
        labels, table = classes
        frame = pd.DataFrame(table, columns=NAMES)
        found = metrics.log_loss(np.array(NAMES)[labels], frame, **FAST)
        assert found == metrics.log_loss(labels, table, **FAST)
        mixed = metrics.log_loss(np.array(NAMES)[labels], frame[NAMES[::-1]], **FAST)
        assert mixed.value == pytest.approx(found.value)

    def test_options_reach_the_interval(self, event):
        wide = metrics.auroc(*event, level=0.99, **FAST)
        narrow = metrics.auroc(*event, level=0.8, **FAST)
        assert wide.low < narrow.low < narrow.high < wide.high
        assert metrics.auroc(*event, seed=1, **FAST).low != metrics.auroc(*event, **FAST).low
        assert metrics.auroc(*event, method="percentile", **FAST).method.endswith("percentile")

    def test_groups_widen(self, event):
        truth, scores = (np.repeat(each, 4) for each in event)
        alone = metrics.accuracy(truth, called(scores), **FAST)
        grouped = metrics.accuracy(truth, called(scores), groups=np.repeat(np.arange(N), 4), **FAST)
        assert grouped.n_groups == N
        assert grouped.high - grouped.low > 1.5 * (alone.high - alone.low)

    def test_a_missing_class_is_undefined_where_the_list_is_fixed(self):
        found = metrics.balanced_accuracy(["a", "b"], ["a", "b"], classes=["a", "b", "c"], **FAST)
        assert np.isnan(found.value)

    @pytest.mark.parametrize(
        ("call", "words"),
        [
            (lambda: metrics.auroc([0, 1], [0.1]), "scores: expected 2 rows"),
            (lambda: metrics.auroc([0, 2], [0.1, 0.2]), "targets: expected 0 and 1, got 0, 2"),
            (lambda: metrics.auroc(["a", "b"], [0.1, 0.2]), "targets: expected 0 and 1, got a, b"),
            (lambda: metrics.auroc([0, 1], [0.1, np.nan]), "scores: .* missing .* rows 1"),
            (lambda: metrics.auroc([0, 1], ["x", "y"]), "scores: expected numbers"),
            (lambda: metrics.auroc([0, 1], [[0.1], [0.2]]), r"scores: .* got shape \(2, 1\)"),
            (lambda: metrics.auroc([0, 1], [0.1, 0.2], groups=[1]), "groups: expected 2"),
            (lambda: metrics.auroc([0, 1], [0.1, 0.2], level=95), "level: .* got 95"),
            (lambda: metrics.auroc([0, 1], [0.1, 0.2], metod="bca"), "metod"),
            (lambda: metrics.accuracy([0, None], [0, 1]), "targets: .* missing .* rows 1"),
            (lambda: metrics.accuracy([0, 1], [0]), "predictions: expected 2 rows"),
            (
                lambda: metrics.macro_f1(["a"], ["b"], classes=["a"]),
                "unknown classes b; known: a",
            ),
            (lambda: metrics.log_loss([0, 3], np.full((2, 2), 0.5)), "unknown classes 3"),
            (lambda: metrics.log_loss([0, 1], [[0.5, np.nan]] * 2), "probabilities: .* rows 0, 1"),
            (lambda: metrics.log_loss([0], [[0.5, 0.5]], classes=["a"]), "classes: expected 2"),
            (lambda: metrics.macro_auroc(np.eye(2), np.ones((2, 3))), "expected the shape"),
        ],
    )
    def test_nonsense_is_refused_in_one_line(self, call, words):
        with pytest.raises(ma.MedauditError, match=words) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_all_that_is_offered_exists_and_is_documented():
    document = (Path(__file__).parents[3] / "docs/metrics.md").read_text(encoding="utf-8")
    for name in metrics.__all__:
        assert getattr(metrics, name).__doc__, name
        if name.islower():
            assert f"`{name}`" in document, name
