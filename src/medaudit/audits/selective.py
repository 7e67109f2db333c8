"""Selective prediction: risk-coverage by confidence score, and the deferral frozen beforehand."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
from pydantic import Field, field_validator, model_validator

from medaudit.core.findings import Findings, Scalar, row_dicts
from medaudit.core.params import Section, each_once
from medaudit.metrics import selective, selective_balanced
from medaudit.stats import bootstrap as bootstrap_module
from medaudit.stats.bootstrap import Measure, share_measure, share_of
from medaudit.stats.hypothesis_tests import holm
from medaudit.stats.weighting import weighted_mean, weighted_ratio
from medaudit.tables import confidence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medaudit.core.arrays import BoolArray, Float64Array
    from medaudit.stats.bootstrap import Bootstrap, BootstrapDistribution
    from medaudit.tables.scoring import ScoredPredictions

REPICKED = "threshold_repicked_on_test"
GRID = tuple(np.round(np.arange(0.5, 1.0001, 0.05), 2))


def kept_measures(
    test: ScoredPredictions, kept: BoolArray, risks: Float64Array
) -> tuple[Measure, ...]:
    """Coverage, selective risk and critical recall among the kept, as functions of weights.

    Args:
        test: predictions.
        kept: samples that are not deferred, (n,).
        risks: loss of every sample in [0, 1], (n,).
    """
    everyone = np.ones_like(kept)
    selective_risk = partial(weighted_ratio, kept * risks, kept)
    found = (
        Measure(
            "coverage",
            share_of(kept, everyone),
            0,
            interval_kind="proportion",
            members=kept,
        ),
        Measure("selective_risk", selective_risk, -1, denominator=kept, interval_kind="bounded"),
    )
    if test.schema.critical_class is None:
        return found
    truth = test.critical
    hits = truth & test.predicted_critical
    return (
        *found,
        share_measure("critical_recall", hits, truth, 1),
        share_measure("critical_recall_kept", kept & hits, kept & truth, 1),
        share_measure("critical_deferred_share", ~kept & truth, truth, 0),
        share_measure("critical_missed_share", kept & truth & ~hits, truth, -1),
    )


def deferral_rows(
    test: ScoredPredictions,
    risks: Float64Array,
    bootstrap: Bootstrap,
    *,
    score: str,
    threshold: float,
) -> list[dict[str, object]]:
    """What the frozen threshold realises on test, one row per measure, with intervals."""
    kept = test.confidence_score(score) >= threshold
    return [
        {
            "score": score,
            "threshold": threshold,
            "metric": measure.name,
            **bootstrap_module.columns(bootstrap.interval(measure)),
        }
        for measure in kept_measures(test, kept, risks)
    ]


def per_class_table(test: ScoredPredictions, kept: BoolArray, bootstrap: Bootstrap) -> pd.DataFrame:
    """Deferral rate and recall among the kept for every class, with intervals."""
    rows = []
    for k, name in enumerate(test.classes):
        truth = test.positives[:, k]
        hits = truth & test.decisions[:, k]
        row: dict[str, object] = {"class": name, "n": int(truth.sum())}
        shares = {
            "deferred": (truth & ~kept, truth),
            "recall": (hits, truth),
            "recall_kept": (hits & kept, truth & kept),
        }
        for what, (members, denominator) in shares.items():
            found = bootstrap.share(members, denominator=denominator)
            row |= {what: found.value, f"{what}_low": found.low, f"{what}_high": found.high}
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


CURVE_POINTS = 200
REPORTED = (
    "risk",
    "aurc",
    "excess_aurc",
    "augrc",
    "balanced_augrc",
    "coverage",
    "selective_risk",
    "critical_recall",
    "critical_recall_kept",
    "critical_deferred_share",
    "critical_missed_share",
)


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
    false_negative_weight: float = Field(10.0, ge=1)

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
        thresholds: by confidence score, the primary one among them.
        coverage: share of the calibration role that each of them kept.
    """

    primary: str
    thresholds: Mapping[str, float]
    coverage: float

    def facts(self) -> dict[str, Scalar]:
        """The rule as `deferral.json` holds it, to be applied to other images."""
        threshold = self.thresholds[self.primary]
        return {"score": self.primary, "threshold": threshold, "coverage": self.coverage}


def freeze(calibration: ScoredPredictions, params: SelectiveParams) -> FrozenDeferral:
    """Thresholds of all confidence scores that keep the asked share of the calibration role."""
    thresholds = {
        name: selective.threshold_for_coverage(
            calibration.confidence_score(name), coverage=params.coverage
        )
        for name in params.scores
    }
    return FrozenDeferral(params.primary, thresholds, params.coverage)


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
        for name, threshold in frozen.thresholds.items()
        for row in deferral_rows(test, risks, bootstrap, score=name, threshold=threshold)
    ]
    deferral, summary = pd.DataFrame(rows), summary_table(found, primary, bootstrap)
    kept = test.confidence_score(primary) >= frozen.thresholds[primary]
    curves = [curve_table(risks, test.confidence_score(name), name) for name in params.scores]
    series = {
        "summary": summary,
        "risk_coverage": pd.concat(curves, ignore_index=True),
        "deferral": deferral,
        "per_class": per_class_table(test, kept, bootstrap),
        "by_coverage": coverage_table(test, risks, score=primary),
    }
    return Findings(headline(summary, deferral, params, n=len(test)), series)


def measures(
    test: ScoredPredictions, risks: Float64Array, params: SelectiveParams, *, score: str
) -> tuple[Measure, ...]:
    """Areas under risk-coverage curves and points on them; all better when lower but coverage."""
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
            name = str(row["metric"])
            scalars |= {
                name: float(row["value"]),
                f"{name}_ci_low": float(row["low"]),
                f"{name}_ci_high": float(row["high"]),
            }
    return scalars
