"""Whether stated probabilities come true, before and after post-hoc calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from medaudit.audits import intervals
from medaudit.findings import Findings, Scalar
from medaudit.metrics import calibration
from medaudit.params import Section, each_once
from medaudit.tables import calibrators, tasks
from medaudit.tables.tasks.base import Measure

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy.typing as npt

    from medaudit.audits.intervals import IntervalParams
    from medaudit.stats.resample import Resamples
    from medaudit.tables.calibrators import Calibrator
    from medaudit.tables.predictions import PredictionTable

BASELINE = "identity"
REPORTED = ("ece", "classwise_ece", "brier_loss", "log_loss")


class CalibrateParams(Section):
    """Calibrators to fit and how reliability is binned."""

    section = "calibrate"
    methods: tuple[str, ...] = Field((BASELINE, "temperature"), min_length=1)
    bins: int = Field(15, ge=2, le=100)
    floor_replicates: int = Field(500, ge=50)
    seed: int = Field(11, ge=0)

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in methods if name not in calibrators.CALIBRATORS]
        if unknown or BASELINE not in methods:
            known = ", ".join(calibrators.CALIBRATORS)
            raise ValueError(f"expected `{BASELINE}` and others of {known}")
        return each_once(methods)


def fit(clean: PredictionTable, params: CalibrateParams) -> dict[str, Calibrator]:
    """Fit every calibrator on the calibration role."""
    role = clean.role("calibration")
    task = tasks.get(role.schema.task)
    return {name: calibrators.fit(name, task, role.logits, role.targets) for name in params.methods}


def audit(
    clean: PredictionTable,
    fitted: Mapping[str, Calibrator],
    params: CalibrateParams,
    *,
    intervals_params: IntervalParams,
) -> Findings:
    """Reliability and proper scores of the test role under every fitted calibrator."""
    test = clean.role("test")
    resamples = intervals.resamples_of(test, intervals_params)
    found = {
        name: intervals.replicate(measures(test, each, params), resamples)
        for name, each in fitted.items()
    }
    summary = summary_table(found, resamples, level=intervals_params.level)
    bins = pd.concat([reliability_table(test, c, name, params) for name, c in fitted.items()])
    floors = pd.DataFrame([floor_row(test, c, name, params) for name, c in fitted.items()])
    scalars = headline(summary, floors) | fitted_numbers(fitted)
    series = {
        "summary": summary,
        "reliability": bins.reset_index(drop=True),
        "noise_floor": floors,
    }
    return Findings({"n": len(test)} | scalars, series)


def probabilities(test: PredictionTable, calibrator: Calibrator) -> npt.NDArray[np.float64]:
    """Calibrated probabilities, (n, outputs)."""
    return tasks.get(test.schema.task).probabilities(calibrator.apply(test.logits))


def measures(
    test: PredictionTable, calibrator: Calibrator, params: CalibrateParams
) -> tuple[Measure, ...]:
    """ECE of the main event, class-wise ECE, Brier and log loss; all better when lower."""
    task = tasks.get(test.schema.task)
    stated = probabilities(test, calibrator)
    event = task.events(stated, test.targets)[0]
    own = {each.name: each for each in task.measures(stated, test.targets)}

    def ece(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return calibration.weighted_ece(
            event.confidence, event.happened, weights, n_bins=params.bins
        )

    def classwise(weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        truth = task.positives(test.targets, stated.shape[1])
        parts = [
            calibration.weighted_ece(stated[:, k], truth[:, k], weights, n_bins=params.bins)
            for k in range(stated.shape[1])
        ]
        return np.asarray(np.mean(parts, axis=0))

    return (
        Measure("ece", ece, -1, biased=True),
        Measure("classwise_ece", classwise, -1, biased=True),
        own["brier_loss"],
        own["log_loss"],
    )


def summary_table(
    found: Mapping[str, Mapping[str, intervals.Replicated]], resamples: Resamples, *, level: float
) -> pd.DataFrame:
    """One row per calibrator and measure: value, and paired change against identity."""
    rows = []
    for name, values in found.items():
        for metric, each in values.items():
            estimate = intervals.interval(each, resamples, level=level)
            change = intervals.paired(each, found[BASELINE][metric], resamples, level=level)
            rows.append(
                {
                    "calibrator": name,
                    "metric": metric,
                    **intervals.columns(estimate),
                    "delta": change.value,
                    "delta_low": change.low,
                    "delta_high": change.high,
                }
            )
    return pd.DataFrame(rows)


def reliability_table(
    test: PredictionTable, calibrator: Calibrator, name: str, params: CalibrateParams
) -> pd.DataFrame:
    """Reliability bins of every event of the task, in the columns of the reliability chart."""
    task = tasks.get(test.schema.task)
    parts = []
    for event in task.events(probabilities(test, calibrator), test.targets):
        bins = calibration.reliability_bins(event.confidence, event.happened, n_bins=params.bins)
        parts.append(
            pd.DataFrame(
                {
                    "stage": name,
                    "event": event.name,
                    "bin_lo": bins.lo,
                    "bin_hi": bins.hi,
                    "confidence": bins.mean_confidence,
                    "accuracy": bins.frequency,
                    "count": bins.count,
                }
            )
        )
    return pd.concat(parts)


def floor_row(
    test: PredictionTable, calibrator: Calibrator, name: str, params: CalibrateParams
) -> dict[str, object]:
    """ECE that a perfectly calibrated model with the same confidences would show."""
    task = tasks.get(test.schema.task)
    event = task.events(probabilities(test, calibrator), test.targets)[0]
    floor = calibration.ece_noise_floor(
        event.confidence,
        n_bins=params.bins,
        replicates=params.floor_replicates,
        seed=params.seed,
    )
    return {"calibrator": name, "event": event.name, "mean": floor.mean, "p95": floor.p95}


def headline(summary: pd.DataFrame, floors: pd.DataFrame) -> dict[str, Scalar]:
    """ECE with its floor and the proper scores of every calibrator."""
    scalars: dict[str, Scalar] = {}
    for row in summary.itertuples():
        if row.metric in REPORTED:
            scalars[f"{row.calibrator}_{row.metric}"] = float(row.value)
        if row.metric == "log_loss" and row.calibrator != BASELINE:
            scalars[f"{row.calibrator}_log_loss_delta_ci_low"] = float(row.delta_low)
            scalars[f"{row.calibrator}_log_loss_delta_ci_high"] = float(row.delta_high)
    for row in floors.itertuples():
        scalars[f"{row.calibrator}_ece_floor_mean"] = float(row.mean)
        scalars[f"{row.calibrator}_ece_floor_p95"] = float(row.p95)
    return scalars


def fitted_numbers(fitted: Mapping[str, Calibrator]) -> dict[str, Scalar]:
    """What the calibrators fitted, under `<calibrator>_<number>`, or `temperature` as it is."""
    return {key: value for each in fitted.values() for key, value in each.facts().items()}
