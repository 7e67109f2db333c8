"""Whether the model knows when it is wrong: which cases to defer, and what is left then."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
from pydantic import Field, field_validator, model_validator

from medaudit.audits import intervals
from medaudit.audits.deferral import (
    Deferrable,
    coverage_table,
    deferral_rows,
    per_class_table,
)
from medaudit.findings import Findings, Scalar
from medaudit.metrics import selective, selective_balanced
from medaudit.metrics.weighting import weighted_mean
from medaudit.params import Section, each_once
from medaudit.stats.bootstrap import Bootstrap
from medaudit.stats.measure import Measure
from medaudit.stats.multiplicity import holm
from medaudit.tables import confidence
from medaudit.tables.scoring import Scored

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medaudit.stats.bootstrap import BootstrapDistribution, IntervalParams
    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.predictions import PredictionTable

CURVE_POINTS = 200
REPORTED = (
    "risk",
    "aurc",
    "excess_aurc",
    "augrc",
    "balanced_aurc",
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


def deferrable(scored: Scored, score: str, params: SelectiveParams) -> Deferrable:
    """Risk and confidence of every row under one confidence score."""
    return Deferrable(
        scored=scored,
        risk=scored.task.risks(scored.answers, false_negative_weight=params.false_negative_weight),
        confidence=confidence.get(score)(scored.task.statements(scored.probabilities)),
    )


def audit(
    clean: PredictionTable,
    points: OperatingPoints,
    params: SelectiveParams,
    *,
    intervals_params: IntervalParams,
) -> Findings:
    """Rank test cases by confidence; freeze the deferral threshold on the calibration role.

    Args:
        clean: predictions that include the roles `calibration` and `test`.
        points: thresholds at which labels are called, frozen on the calibration role.
        params: confidence scores and coverage.
        intervals_params: replicates, level and seed of the bootstrap.
    """
    test_role, calibration_role = (Scored(clean.role(r), points) for r in ("test", "calibration"))
    bootstrap = Bootstrap.of_groups(test_role.table.group_ids, intervals_params)
    test = {name: deferrable(test_role, name, params) for name in params.scores}
    found = {name: bootstrap.distribution(measures(each, params)) for name, each in test.items()}
    thresholds = {
        name: selective.threshold_for_coverage(
            deferrable(calibration_role, name, params).confidence, coverage=params.coverage
        )
        for name in params.scores
    }
    deferral = pd.DataFrame(
        [
            row
            for name, part in test.items()
            for row in deferral_rows(part, name, thresholds[name], bootstrap)
        ]
    )
    chosen, threshold = test[params.primary], thresholds[params.primary]
    summary = summary_table(found, params.primary, bootstrap)
    series = {
        "summary": summary,
        "risk_coverage": pd.concat(
            [curve_table(each, name) for name, each in test.items()], ignore_index=True
        ),
        "deferral": deferral,
        "per_class": per_class_table(chosen, threshold, bootstrap),
        "by_coverage": coverage_table(chosen),
    }
    return Findings(headline(summary, deferral, params, n=len(test_role.table)), series)


def measures(part: Deferrable, params: SelectiveParams) -> tuple[Measure, ...]:
    """Areas under risk-coverage curves and points on them; all better when lower but coverage."""
    risk, score = part.risk, part.confidence
    strata = part.scored.task.strata(part.scored.answers)
    return (
        Measure("aurc", partial(selective.weighted_aurc, risk, score), -1),
        Measure("excess_aurc", partial(selective.weighted_excess_aurc, risk, score), -1),
        Measure("augrc", partial(selective.weighted_augrc, risk, score), -1),
        Measure(
            "balanced_aurc",
            partial(
                selective_balanced.weighted_balanced_aurc,
                risk,
                score,
                strata,
            ),
            -1,
            required_outcomes=np.stack([strata == value for value in np.unique(strata)], axis=1),
        ),
        Measure("risk", partial(weighted_mean, risk), -1),
        Measure(
            "risk_at_coverage",
            partial(selective.weighted_risk_at_coverage, risk, score, coverage=params.coverage),
            -1,
        ),
        Measure(
            "coverage_at_risk",
            partial(selective.weighted_coverage_at_risk, risk, score, max_risk=params.max_risk),
            1,
        ),
    )


def summary_table(
    found: Mapping[str, Mapping[str, BootstrapDistribution]],
    primary: str,
    bootstrap: Bootstrap,
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
                    **intervals.columns(bootstrap.interval(each)),
                    "delta": change.value,
                    "delta_low": change.low,
                    "delta_high": change.high,
                    "p_value": np.nan if name == primary else change.p_value,
                }
            )
    table = pd.DataFrame(rows)
    corrected = table.groupby("metric")["p_value"].transform(lambda p: holm(p.to_numpy()))
    return table.assign(p_holm=corrected)


def curve_table(part: Deferrable, name: str) -> pd.DataFrame:
    """Risk-coverage curve, thinned for the chart."""
    curve = selective.risk_coverage(part.risk, part.confidence)
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
        for row in table[table["metric"].isin(REPORTED)].itertuples():
            scalars |= {
                row.metric: float(row.value),
                f"{row.metric}_ci_low": float(row.low),
                f"{row.metric}_ci_high": float(row.high),
            }
    return scalars


def frozen(found: Findings, params: SelectiveParams) -> dict[str, Scalar]:
    """The deferral rule, to be applied to other images: defer below this threshold."""
    return {
        "score": params.primary,
        "threshold": found.scalars["threshold"],
        "coverage": params.coverage,
    }
