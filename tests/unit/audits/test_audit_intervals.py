"""Every number with its interval, in every audit, and what is said where it is doubtful."""

import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
from audit_tables import FEW, at

from medaudit.audits import calibrate as calibrate_audit
from medaudit.audits import selective, slicing
from medaudit.cases import case_study
from medaudit.cases.case_selection import CasesParams
from medaudit.stats import bootstrap as bootstrap_module
from medaudit.stats.bootstrap import Bootstrap, IntervalParams, Measure, mean_distribution
from medaudit.stats.intervals import Estimate, caution
from medaudit.stats.weighting import weighted_mean, weighted_ratio
from medaudit.tables.predictions import Condition
from tests.audit_runs import calibrate, case_study_of, defer, evaluate, slice_up, stress

TASKS = ("multiclass", "multilabel", "multilabel_critical")
AUDITS = ("evaluate", "stress", "slice", "calibrate", "selective", "cases")
# Frozen on other data, or asked for.
GIVEN = {
    "critical_threshold",
    "critical_specificity_target",
    "critical_specificity_expected_low",
    "critical_specificity_expected_high",
    "critical_prevalence",
    "threshold",
    "coverage_asked",
    "temperature",
}


@pytest.fixture(params=TASKS)
def made(request, make_table, make_multilabel_table):
    """Clean predictions of one kind of task, and how to make others."""
    from medaudit.tables import operating_points

    if request.param == "multiclass":
        make, column = make_table, "sex"
    elif request.param == "multilabel":
        make, column = make_multilabel_table, "view"
    else:

        def make(**options):
            return make_multilabel_table(critical="mass", **options)

        column = "view"
    clean = make()
    points = operating_points.choose(clean.role("calibration"), specificity=0.9)
    params = slicing.SliceParams(columns=(column,), quantiles={"age": 2}, min_positives=3)
    return clean, points, params, make


def over(groups, replicates=200):
    """A bootstrap of these groups."""
    return Bootstrap.of_groups(groups, IntervalParams(replicates=replicates, seed=0))


def findings(stage, made):
    clean, points, slice_params, make = made
    same = {"intervals": FEW}
    noisy = make(noise=2.0, condition=Condition("noise", 1)).role("test")
    if stage == "evaluate":
        return evaluate(clean, points, **same)
    if stage == "stress":
        return stress(clean, [noisy], points, **same)
    if stage == "slice":
        return slice_up(clean, points, clean.role("train").rows, slice_params, **same)
    if stage == "calibrate":
        params = calibrate_audit.CalibrateParams(
            methods=("identity", "temperature", "affine"), floor_replicates=50
        )
        return calibrate(clean, params, **same)
    if stage == "selective":
        return defer(clean, points, selective.SelectiveParams(), **same)
    return cases_findings(clean, noisy, points)


def cases_findings(clean, noisy, points):
    study = case_study_of(clean, [noisy], points, CasesParams())
    ids = study.controls["sample_id"]
    trials = pd.DataFrame(
        {"sample_id": ids, "intervention": "mirrored", "kind": "undo", "cause": "instability"}
    )
    logits = study.test.table.logits[:, study.test.rows_of(ids)]
    tried = case_study.control_evidence(study, trials, logits)
    focus = pd.DataFrame({"sample_id": ids, "cam_energy": 0.5, "lesion_share": 0.2})
    return case_study.findings(study, [], tried, focus)


@pytest.mark.parametrize("stage", AUDITS)
def test_every_measured_scalar_has_an_interval_beside_it(stage, made):
    scalars = findings(stage, made).scalars
    measured = [
        name
        for name, value in scalars.items()
        if isinstance(value, float)
        and not name.endswith(("_ci_low", "_ci_high"))
        and name not in GIVEN
        and "_floor_" not in name
        and not name.endswith("_consistency_p")
        and not name.endswith("_minimal_detectable")  # a property of the test
    ]
    assert measured
    for name in measured:
        low, high = scalars[f"{name}_ci_low"], scalars[f"{name}_ci_high"]
        assert isinstance(low, float)
        assert isinstance(high, float)
        if math.isfinite(low):
            # Of a mean of equal numbers the ends differ from it by rounding.
            assert low <= scalars[name] + 1e-12
            assert scalars[name] <= high + 1e-12


@pytest.mark.parametrize("stage", AUDITS)
def test_no_interval_is_without_its_number(stage, made):
    scalars = findings(stage, made).scalars
    for name in scalars:
        for end in ("_ci_low", "_ci_high"):
            assert not name.endswith(end) or name.removesuffix(end) in scalars


@pytest.mark.parametrize("stage", AUDITS)
def test_every_series_with_intervals_says_how_they_were_made(stage, made):
    for name, frame in findings(stage, made).series.items():
        if {"value", "low", "high", "n"} <= set(frame) and len(frame):
            assert {"n_groups", "n_positive", "method", "caution"} <= set(frame), name
            undefined = frame["value"].isna()
            assert (frame.loc[undefined, "caution"] == "undefined").all()
            assert (frame.loc[~undefined, "caution"] != "undefined").all()
            unbounded = frame["low"].isna() & ~undefined
            assert (frame.loc[unbounded, "caution"] != "").all(), name


def an_estimate(**changes):
    known = {
        "value": 0.5,
        "low": 0.4,
        "high": 0.6,
        "n": 100,
        "n_groups": 50,
        "n_positive": None,
        "method": "cluster_bootstrap_percentile",
        "undefined_share": 0.0,
    }
    return Estimate(**(known | changes))


class TestCaution:
    @pytest.mark.parametrize(
        ("changes", "caution"),
        [
            ({}, ""),
            ({"n_positive": 3}, ""),
            ({"n_positive": 60, "n_positive_groups": 25}, ""),
            ({"n_positive": 60, "n_positive_groups": 24}, "few_positive_groups"),
            ({"undefined_share": 0.01}, ""),
            ({"undefined_share": 0.015}, "undefined_replicates"),
            ({"n_positive_groups": 9, "undefined_share": 0.5}, "few_positive_groups"),
            ({"value": math.nan, "n_positive_groups": 0}, "undefined"),
            ({"low": math.nan, "high": math.nan, "method": "none"}, "no_interval"),
        ],
    )
    def test_reasons(self, changes, caution):
        assert bootstrap_module.columns(an_estimate(**changes))["caution"] == caution

    def test_groups_count_and_not_images(self):
        # Thirty positive images of three lesions.
        groups = [f"ill{i // 10}" for i in range(30)] + [f"well{i}" for i in range(70)]
        among = np.arange(100) < 30
        found = over(groups).share(np.arange(100) % 2 == 0, denominator=among)
        assert (found.n_positive, found.n_positive_groups) == (30, 3)
        assert caution(found) == "few_positive_groups"

    def test_undefined_replicates_are_counted(self):
        # The one group with weight is absent from (1 - 1/20)^20 = 36 % of the resamples.
        bootstrap = over(np.arange(20), replicates=2000)
        only = np.arange(20) == 0

        def statistic(weights):
            return np.where(weights @ only > 0, weights.mean(axis=1), np.nan)

        found = bootstrap.interval(Measure("m", statistic, 0))
        assert found.undefined_share == pytest.approx(0.36, abs=0.03)
        assert np.isnan([found.low, found.high]).all()
        assert caution(found) == "undefined_replicates"


class TestSharesAtTheBound:
    SQUARE = 1.959964**2

    def share(self, groups, *, among=None, value=True):
        members = np.full(len(groups), value)
        return over(groups).share(members, denominator=among)

    def test_the_groups_are_the_cases(self):
        found = self.share(np.repeat(np.arange(10), 7))
        assert (found.value, found.method) == (1, "wilson")
        assert found.low == pytest.approx(10 / (10 + self.SQUARE))

    def test_none_is_the_mirror_of_all(self):
        found = self.share(np.repeat(np.arange(10), 7), value=False)
        assert (found.low, found.value) == (0, 0)
        assert found.high == pytest.approx(self.SQUARE / (10 + self.SQUARE))

    @pytest.mark.parametrize("positive", [1, 20])
    def test_only_groups_that_it_rests_on_count(self, positive):
        # One group of fifty is absent from 36 % of the resamples; the share is 1 in all others.
        groups = np.repeat(np.arange(50), 2)
        found = self.share(groups, among=groups < positive)
        assert (found.n_positive, found.n_positive_groups) == (2 * positive, positive)
        assert found.low == pytest.approx(positive / (positive + self.SQUARE))
        assert found.high == 1

    def test_a_share_between_keeps_its_bootstrap(self):
        found = over(np.arange(40)).share(np.arange(40) < 10)
        assert found.method == "cluster_bootstrap_expanded"
        assert found.low < 0.25 < found.high


def test_an_error_without_an_interval_is_not_certain():
    # Undefined in a third of the replicates: no interval, rather than one from 0 to 0.
    bootstrap = over(np.arange(20), replicates=2000)
    only = np.arange(20) == 0

    def statistic(weights):
        return np.where(weights @ only > 0, 0.1, np.nan)

    measure = Measure("ece", statistic, -1, interval_kind="nonnegative_error")
    found = bootstrap.interval(measure)
    assert np.isnan([found.low, found.high]).all()
    assert found.method == "none"


def test_the_mean_of_measures_is_paired():
    bootstrap = over(np.arange(30))
    values = np.random.default_rng(0).normal(size=30)
    one, other = (
        Measure("a", lambda w: weighted_mean(values, w), 1),
        Measure("b", lambda w: -weighted_mean(values, w), 1),
    )
    parts = list(bootstrap.distribution([one, other]).values())
    found = mean_distribution(parts)
    # A number and its negative cancel in every resample, which leaves nothing to read off.
    assert found.replicates == pytest.approx(np.zeros(200), abs=1e-12)
    assert bootstrap.interval(found).value == pytest.approx(0, abs=1e-12)
    assert bootstrap.interval(found).method == "none"


def test_the_mean_rests_on_the_fewest_groups():
    bootstrap = over(np.arange(30))
    ends = [np.arange(30) < 20, np.arange(30) < 5]
    shares = [
        Measure(f"m{i}", partial(weighted_ratio, among, among), 1, denominator=among)
        for i, among in enumerate(ends)
    ]
    found = mean_distribution(list(bootstrap.distribution(shares).values()))
    assert found.n_independent == 5
    assert bootstrap.interval(found).n_positive_groups == 5


def test_few_groups_of_the_rarer_outcome_widen_an_interval(table, points):
    def width(method):
        params = FEW.model_copy(update={"method": method})
        rows = evaluate(table, points, intervals=params).series["per_class"]
        row = at(rows, **{"class": "akiec", "metric": "sensitivity"})
        return row["high"] - row["low"]

    assert width("adjusted") > width("percentile")


def test_level_and_seed_are_those_asked_for(table, points):
    def ends(**changes):
        params = FEW.model_copy(update=changes)
        found = evaluate(table, points, intervals=params).scalars
        return found["accuracy_ci_low"], found["accuracy_ci_high"]

    wide, narrow = ends(level=0.99), ends(level=0.8)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
    assert ends() == ends()
    assert ends(seed=1) != ends(seed=2)
