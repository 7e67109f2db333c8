"""Selective prediction: risk-coverage by confidence score, and the deferral frozen beforehand."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
from pydantic import Field, field_validator, model_validator

from medaudit.core.findings import Findings, Scalar, row_dicts
from medaudit.core.params import Section, each_once
from medaudit.metrics import ranking, selective, selective_balanced
from medaudit.stats import bootstrap as bootstrap_module
from medaudit.stats.bootstrap import Measure, positives_and_negatives, share_measure, share_of
from medaudit.stats.hypothesis_tests import holm
from medaudit.stats.weighting import weighted_mean, weighted_ratio
from medaudit.tables import confidence
from medaudit.tables.operating_points import FOLD, without_each_fold
from medaudit.tables.scoring import ScoredPredictions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medaudit.core.arrays import BoolArray, Float64Array
    from medaudit.stats.bootstrap import Bootstrap, BootstrapDistribution

REPICKED = "threshold_repicked_on_test"
GRID = tuple(np.round(np.arange(0.5, 1.0001, 0.05), 2))
CURVE_POINTS = 200
REPORTED = (
    "risk",
    "aurc",
    "excess_aurc",
    "augrc",
    "balanced_augrc",
    "failure_auroc",
    "coverage",
    "selective_risk",
    "errors_kept_share",
    "critical_recall",
    "critical_recall_kept",
    "critical_call_specificity",
    "critical_call_specificity_kept",
    "critical_deferred_share",
    "critical_missed_share",
)


COMPARED = {
    "selective_risk": "risk",
    "critical_recall_kept": "critical_recall",
    "critical_call_specificity_kept": "critical_call_specificity",
}
"""Measures of the kept, and the same of everybody, with which they are compared."""
NO_DELTA = {"delta": np.nan, "delta_low": np.nan, "delta_high": np.nan}


def kept_measures(
    test: ScoredPredictions, kept: BoolArray, risks: Float64Array
) -> tuple[Measure, ...]:
    """Coverage, risk, errors and the critical class, among all and among the kept.

    Args:
        test: predictions.
        kept: samples that are not deferred, (n,).
        risks: loss of every sample in [0, 1], (n,).
    """
    everyone, wrong = np.ones_like(kept), risks > 0
    selective_risk = partial(weighted_ratio, kept * risks, kept)
    found = (
        Measure(
            "coverage",
            share_of(kept, everyone),
            0,
            interval_kind="proportion",
            members=kept,
        ),
        Measure("risk", partial(weighted_mean, risks), -1, interval_kind="bounded"),
        Measure("selective_risk", selective_risk, -1, denominator=kept, interval_kind="bounded"),
        share_measure("errors_kept_share", kept & wrong, wrong, -1),
    )
    if test.schema.critical_class is None:
        return found
    truth, called = test.critical, test.predicted_critical
    hits, spared = truth & called, ~truth & ~called
    return (
        *found,
        share_measure("critical_recall", hits, truth, 1),
        share_measure("critical_recall_kept", kept & hits, kept & truth, 1),
        share_measure("critical_call_specificity", spared, ~truth, 1),
        share_measure("critical_call_specificity_kept", kept & spared, kept & ~truth, 1),
        share_measure("critical_deferred_share", ~kept & truth, truth, 0),
        share_measure("critical_missed_share", kept & truth & ~hits, truth, -1),
    )


def deferral_rows(
    test: ScoredPredictions,
    risks: Float64Array,
    bootstrap: Bootstrap,
    *,
    score: str,
    frozen: FrozenDeferral,
) -> list[dict[str, object]]:
    """What the frozen threshold realises on test, one row per measure, with intervals.

    Measures of the kept have their `delta` to everybody beside them, on the same resamples.
    """
    kept = frozen.kept(test, score)
    found = bootstrap.distribution(kept_measures(test, kept, risks))
    return [
        {
            "score": score,
            "threshold": frozen.thresholds[score],
            "metric": name,
            **bootstrap_module.columns(bootstrap.interval(each)),
            **(delta(each, found[COMPARED[name]], bootstrap) if name in COMPARED else NO_DELTA),
        }
        for name, each in found.items()
    ]


def counts(name: str, cases: BoolArray, kept: BoolArray) -> dict[str, int]:
    """How many cases there are, and how many of them are deferred and kept."""
    parts = {"": cases, "_deferred": cases & ~kept, "_kept": cases & kept}
    return {f"{name}{end}": int(rows.sum()) for end, rows in parts.items()}


def delta(
    first: BootstrapDistribution,
    second: BootstrapDistribution,
    bootstrap: Bootstrap,
    prefix: str = "",
) -> dict[str, float]:
    """First minus second on the same resamples, as columns `delta`, `delta_low`, `delta_high`."""
    found = bootstrap.paired(first, second)
    return {
        f"{prefix}delta": found.value,
        f"{prefix}delta_low": found.low,
        f"{prefix}delta_high": found.high,
    }


def per_class_table(test: ScoredPredictions, kept: BoolArray, bootstrap: Bootstrap) -> pd.DataFrame:
    """What is deferred of every class, and recall and specificity among the kept and among all.

    `recall_delta` and `specificity_delta` are kept minus all, on the same resamples; `n_missed`
    counts the cases that are not called, `_deferred` and `_kept` where they go.
    """
    rows = []
    for k, name in enumerate(test.classes):
        truth, called = test.positives[:, k], test.decisions[:, k]
        row: dict[str, object] = {"class": name, "n": int(truth.sum())}
        row |= counts("n_missed", truth & ~called, kept)
        found = bootstrap.distribution(
            (
                share_measure("deferred", truth & ~kept, truth, 0),
                share_measure("recall", truth & called, truth, 1),
                share_measure("recall_kept", truth & called & kept, truth & kept, 1),
                share_measure("specificity", ~truth & ~called, ~truth, 1),
                share_measure("specificity_kept", ~truth & ~called & kept, ~truth & kept, 1),
            )
        )
        for what, each in found.items():
            ends = bootstrap.interval(each)
            row |= {what: ends.value, f"{what}_low": ends.low, f"{what}_high": ends.high}
        for rate in ("recall", "specificity"):
            row |= delta(found[f"{rate}_kept"], found[rate], bootstrap, f"{rate}_")
        rows.append(row)
    return pd.DataFrame(rows)


def coverage_table(test: ScoredPredictions, risks: Float64Array, *, score: str) -> pd.DataFrame:
    """Risk and critical recall among the most confident share of test, over coverages.

    Thresholds are picked on test (`method`) to draw a curve; deferral is judged at the frozen one.
    """
    rows, confidence = [], test.confidence_score(score)
    for coverage in GRID:
        threshold = selective.threshold_for_coverage(confidence, coverage=float(coverage))
        ones = np.ones((1, len(test)))
        found = kept_measures(test, confidence >= threshold, risks)
        values = {m.name: float(m.statistic(ones)[0]) for m in found}
        row = {"asked": float(coverage), "critical_recall_kept": np.nan} | values
        rows.append(row | {"n": len(test), "method": REPICKED})
    return pd.DataFrame(rows)


class SelectiveParams(Section):
    """Confidence scores to compare, and how many cases the model may keep.

    Args:
        scores: names in `medaudit.tables.confidence.CONFIDENCE_SCORES`.
        primary: the one that defers, and with which the others are compared.
        coverage: share of the cases that the model keeps.
        max_risk: risk at which the coverage is read off.
        false_negative_weight: what missing a label weighs in the risk of a study, where one false
            alarm weighs 1; a single class out of several is right or wrong.
    """

    section = "selective"
    scores: tuple[str, ...] = Field(tuple(confidence.CONFIDENCE_SCORES), min_length=1)
    primary: str = "max_probability"
    coverage: float = Field(0.8, gt=0, le=1)
    max_risk: float = Field(0.05, ge=0, lt=1)
    false_negative_weight: float = Field(10.0, ge=1, le=1_000_000)

    @field_validator("scores", "primary")
    @classmethod
    def _known(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for name in (value,) if isinstance(value, str) else value:
            confidence.get(name)
        return value if isinstance(value, str) else each_once(value)

    @model_validator(mode="after")
    def _primary_is_computed(self) -> Self:
        if self.primary not in self.scores:
            raise ValueError(
                f"expected primary to be one of scores ({', '.join(self.scores)}), "
                f"got {self.primary!r}"
            )
        return self


@dataclass(frozen=True)
class FrozenDeferral:
    """The deferral rule: a case is deferred when its confidence score is below the threshold.

    Args:
        primary: the confidence score that defers.
        thresholds: by confidence score, the primary one among them. Of cross-fitted ones the mean
            over the folds, which defers nobody.
        coverage: share of the calibration role that each of them kept.
        by_fold: by confidence score, the thresholds of the samples of every fold, chosen on all
            other folds; empty unless they are cross-fitted.
    """

    primary: str
    thresholds: Mapping[str, float]
    coverage: float
    by_fold: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def kept(self, test: ScoredPredictions, score: str) -> BoolArray:
        """Which samples are not deferred by a confidence score, (n,)."""
        threshold: float | Float64Array = self.thresholds[score]
        if score in self.by_fold:
            folds = test.table.rows[FOLD].to_numpy(dtype=np.int64)
            threshold = np.array(self.by_fold[score])[folds]
        return np.asarray(test.confidence_score(score) >= threshold)

    def facts(self) -> dict[str, Scalar]:
        """The rule as `deferral.json` holds it, to be applied to other images."""
        threshold = self.thresholds[self.primary]
        return {"score": self.primary, "threshold": threshold, "coverage": self.coverage}


def freeze(calibration: ScoredPredictions, params: SelectiveParams) -> FrozenDeferral:
    """Thresholds of all confidence scores that keep the asked share of the calibration role.

    Where its rows are in folds instead, those of every fold are chosen on the others.
    """
    if FOLD not in calibration.table.rows:
        return FrozenDeferral(params.primary, _thresholds(calibration, params), params.coverage)
    parts = [
        _thresholds(ScoredPredictions(others), params)
        for others in without_each_fold(calibration.table)
    ]
    by_fold = {name: tuple(part[name] for part in parts) for name in params.scores}
    means = {name: float(np.mean(values)) for name, values in by_fold.items()}
    return FrozenDeferral(params.primary, means, params.coverage, by_fold)


def _thresholds(calibration: ScoredPredictions, params: SelectiveParams) -> dict[str, float]:
    return {
        name: selective.threshold_for_coverage(
            calibration.confidence_score(name), coverage=params.coverage
        )
        for name in params.scores
    }


def audit(
    test: ScoredPredictions, frozen: FrozenDeferral, params: SelectiveParams, bootstrap: Bootstrap
) -> Findings:
    """Rank test cases by confidence, and see what the frozen deferral thresholds keep.

    Args:
        test: clean predictions of the test role; labels are predicted at their frozen thresholds.
        frozen: deferral thresholds from `freeze`; scores without one are ranked only.
        params: confidence scores, coverage and the weight of a missed label.
        bootstrap: of the groups of the test role.
    """
    primary, risks = frozen.primary, test.risks(params.false_negative_weight)
    found = {
        name: bootstrap.distribution(measures(test, risks, params, score=name))
        for name in params.scores
    }
    rows = [
        row
        for name in frozen.thresholds
        for row in deferral_rows(test, risks, bootstrap, score=name, frozen=frozen)
    ]
    deferral, summary = pd.DataFrame(rows), summary_table(found, primary, bootstrap)
    kept = frozen.kept(test, primary)
    per_class = per_class_table(test, kept, bootstrap)
    curves = [curve_table(risks, test.confidence_score(name), name) for name in params.scores]
    series = {
        "summary": summary,
        "risk_coverage": pd.concat(curves, ignore_index=True),
        "deferral": deferral,
        "per_class": per_class,
        "by_coverage": coverage_table(test, risks, score=primary),
    }
    scalars = headline(summary, deferral, params, n=len(test))
    scalars |= counts("n_errors", risks > 0, kept)
    return Findings(scalars | recall_changes(per_class, test.schema.critical_class), series)


def measures(
    test: ScoredPredictions, risks: Float64Array, params: SelectiveParams, *, score: str
) -> tuple[Measure, ...]:
    """Areas under risk-coverage curves and points on them, and what they come from.

    `failure_auroc` is the chance that a wrong prediction has less confidence than a right one; 1/2
    tells nothing, and below it errors are the more confident ones. All but it and coverage are
    better when lower.
    """
    confidence, strata = test.confidence_score(score), test.strata
    classes = np.stack([strata == value for value in np.unique(strata)], axis=1)
    aurc, augrc = (
        partial(metric, risks, confidence, strata)
        for metric in (
            selective_balanced.weighted_balanced_aurc,
            selective_balanced.weighted_balanced_augrc,
        )
    )
    at_coverage = partial(selective.weighted_risk_at_coverage, coverage=params.coverage)
    at_risk = partial(selective.weighted_coverage_at_risk, max_risk=params.max_risk)
    wrong = risks > 0
    return (
        Measure("aurc", partial(selective.weighted_aurc, risks, confidence), -1),
        Measure("excess_aurc", partial(selective.weighted_excess_aurc, risks, confidence), -1),
        Measure("augrc", partial(selective.weighted_augrc, risks, confidence), -1),
        Measure("balanced_augrc", augrc, -1, required_outcomes=classes, interval_kind="bounded"),
        Measure("balanced_aurc", aurc, -1, required_outcomes=classes, interval_kind="biased"),
        Measure("risk", partial(weighted_mean, risks), -1, interval_kind="bounded"),
        Measure(
            "risk_at_coverage", partial(at_coverage, risks, confidence), -1, interval_kind="bounded"
        ),
        Measure(
            "failure_auroc",
            partial(ranking.weighted_auroc, -confidence, wrong),
            1,
            denominator=wrong,
            required_outcomes=positives_and_negatives(wrong),
            interval_kind="auc",
        ),
        Measure("coverage_at_risk", partial(at_risk, risks, confidence), 1),
    )


def summary_table(
    found: Mapping[str, Mapping[str, BootstrapDistribution]], primary: str, bootstrap: Bootstrap
) -> pd.DataFrame:
    """One row per confidence score and measure, and its paired change against the primary score.

    P-values are Holm-corrected over the scores that are compared, measure by measure.
    """
    rows = []
    for name, values in found.items():
        for metric, each in values.items():
            change = bootstrap.paired(each, found[primary][metric])
            rows.append(
                {
                    "score": name,
                    "metric": metric,
                    **bootstrap_module.columns(bootstrap.interval(each)),
                    "delta": change.value,
                    "delta_low": change.low,
                    "delta_high": change.high,
                    "p_value": np.nan if name == primary else change.p_value,
                }
            )
    table = pd.DataFrame(rows)
    corrected = table.groupby("metric")["p_value"].transform(lambda p: holm(p.to_numpy()))
    return table.assign(p_holm=corrected)


def curve_table(risks: Float64Array, confidence: Float64Array, name: str) -> pd.DataFrame:
    """Risk-coverage curve, thinned for the chart."""
    curve = selective.risk_coverage(risks, confidence)
    frame = pd.DataFrame(
        {
            "method": name,
            "coverage": curve.coverage,
            "risk": curve.selective_risk,
            "generalised_risk": curve.generalised_risk,
        }
    )
    keep = np.unique(np.linspace(0, len(frame) - 1, CURVE_POINTS).round().astype(int))
    return frame.iloc[keep]


def headline(
    summary: pd.DataFrame, deferral: pd.DataFrame, params: SelectiveParams, *, n: int
) -> dict[str, Scalar]:
    """Areas of the primary score, and the frozen deferral on test, all with intervals."""
    scalars: dict[str, Scalar] = {"n": n, "coverage_asked": params.coverage}
    realised = deferral[deferral["score"] == params.primary]
    scalars["threshold"] = float(realised["threshold"].iloc[0])
    for table in (summary[summary["score"] == params.primary], realised):
        for row in row_dicts(table[table["metric"].isin(REPORTED)]):
            scalars |= _with_ends(str(row["metric"]), row["value"], row["low"], row["high"])
    return scalars


def _with_ends(name: str, value: float, low: float, high: float) -> dict[str, Scalar]:
    return {name: float(value), f"{name}_ci_low": float(low), f"{name}_ci_high": float(high)}


def recall_changes(per_class: pd.DataFrame, critical: str | None) -> dict[str, Scalar]:
    """For how many classes recall among the kept is lower, or higher, than among all.

    Counted where the paired interval excludes 0. The class of which it is lowered most is named;
    the critical one goes first if its recall is lowered at all.
    """
    low, high = (per_class[f"recall_delta_{end}"].astype(float) for end in ("low", "high"))
    lower = per_class[high < 0]
    scalars: dict[str, Scalar] = {
        "n_recall_kept_lower": len(lower),
        "n_recall_kept_higher": int((low > 0).sum()),
        "n_recall_kept_compared": int((low.notna() & high.notna()).sum()),
    }
    for row in row_dicts(per_class[per_class["class"] == critical]):
        for name in ("n_missed", "n_missed_deferred", "n_missed_kept"):
            scalars[name.replace("n_", "n_critical_", 1)] = int(row[name])
    if lower.empty:
        return scalars
    first = lower["class"] == critical
    largest = lower.loc[[lower["recall_delta"].astype(float).idxmin()]]
    worst = lower[first] if first.any() else largest
    row = row_dicts(worst)[0]
    scalars["recall_kept_worst_class"] = str(row["class"])
    for name in ("recall", "recall_kept", "recall_delta", "specificity", "specificity_kept"):
        ends = row[f"{name}_low"], row[f"{name}_high"]
        scalars |= _with_ends(f"recall_kept_worst_{name}", row[name], *ends)
    return scalars
