"""Whether stated probabilities come true, before and after post-hoc calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field, field_validator

from medaudit.audits import intervals, reliability
from medaudit.findings import Findings, Scalar
from medaudit.params import Section, each_once
from medaudit.tables import calibrators, tasks

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medaudit.stats.bootstrap import Bootstrap, BootstrapDistribution
    from medaudit.tables.calibrators import Calibrator, Calibrators
    from medaudit.tables.predictions import PredictionTable
    from medaudit.tables.scoring import ScoredPredictions

BASELINE = "identity"
REPORTED = ("ece", "ece_smooth", "classwise_ece", "brier_loss", "brier_skill_score", "log_loss")
COMPARED = "log_loss"


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


def freeze(calibration: PredictionTable, params: CalibrateParams) -> Calibrators:
    """Fit every calibrator on the calibration role."""
    task, schema = tasks.get(calibration.schema.task), calibration.schema
    return {
        name: calibrators.fit(
            name, task, calibration.logits, calibration.targets, classes=schema.classes
        )
        for name in params.methods
    }


def audit(
    test: ScoredPredictions, frozen: Calibrators, params: CalibrateParams, bootstrap: Bootstrap
) -> Findings:
    """Reliability and proper scores of the test role under every fitted calibrator.

    Args:
        test: clean predictions of the test role, uncalibrated.
        frozen: calibrators from `freeze`.
        params: bins and replicates of the noise floor.
        bootstrap: of the groups of the test role.
    """
    calibrated = {name: reliability.calibrated(test, each) for name, each in frozen.items()}
    found = {
        name: reliability.replicate(each, bootstrap, n_bins=params.bins)
        for name, each in calibrated.items()
    }
    floors = pd.concat(
        [
            reliability.floor_table(
                each,
                n_bins=params.bins,
                replicates=params.floor_replicates,
                seed=params.seed,
            ).assign(calibrator=name)
            for name, each in calibrated.items()
        ],
        ignore_index=True,
    )
    whole = {name: each.whole for name, each in found.items()}
    summary = summary_table(whole, bootstrap)
    series = {
        "summary": summary,
        "events": reliability.event_table(found, bootstrap),
        "reliability": pd.concat(
            [
                reliability.bin_table(each, n_bins=params.bins).assign(stage=name)
                for name, each in calibrated.items()
            ],
            ignore_index=True,
        ),
        "bins": reliability.sweep_table(calibrated, seed=params.seed),
        "noise_floor": floors,
        "fitted": fitted_table(frozen),
    }
    scalars = headline(summary, floors) | fitted_scalars(frozen)
    return Findings({"n": len(test)} | scalars, series)


def summary_table(
    found: Mapping[str, Mapping[str, BootstrapDistribution]], bootstrap: Bootstrap
) -> pd.DataFrame:
    """One row per calibrator and measure: value, and paired change against identity."""
    rows = []
    for name, values in found.items():
        for metric, each in values.items():
            estimate = bootstrap.interval(each)
            change = bootstrap.paired(each, found[BASELINE][metric])
            rows.append(
                {
                    "calibrator": name,
                    "metric": metric,
                    **intervals.columns(estimate),
                    "delta": change.value,
                    "delta_low": change.low,
                    "delta_high": change.high,
                    "p_value": np.nan if name == BASELINE else change.p_value,
                }
            )
    return pd.DataFrame(rows)


def headline(summary: pd.DataFrame, floors: pd.DataFrame) -> dict[str, Scalar]:
    """ECE with its floor and the proper scores of every calibrator, with intervals."""
    scalars: dict[str, Scalar] = {}
    for row in summary[summary["metric"].isin(REPORTED)].itertuples():
        name = f"{row.calibrator}_{row.metric}"
        scalars |= {
            name: float(row.value),
            f"{name}_ci_low": float(row.low),
            f"{name}_ci_high": float(row.high),
        }
        if row.metric == COMPARED and row.calibrator != BASELINE:
            scalars |= {
                f"{name}_delta": float(row.delta),
                f"{name}_delta_ci_low": float(row.delta_low),
                f"{name}_delta_ci_high": float(row.delta_high),
            }
    for row in floors[floors["event"] == reliability.MEAN].itertuples():
        scalars[f"{row.calibrator}_ece_floor_mean"] = float(row.mean)
        scalars[f"{row.calibrator}_ece_floor_p95"] = float(row.p95)
    return scalars


def fitted_scalars(fitted: Mapping[str, Calibrator]) -> dict[str, Scalar]:
    """The temperature, where one was fitted."""
    facts = {key: value for each in fitted.values() for key, value in each.facts().items()}
    return {"temperature": facts["temperature"]} if "temperature" in facts else {}


def fitted_table(fitted: Mapping[str, Calibrator]) -> pd.DataFrame:
    """Every fitted number: calibrator, number, value."""
    rows = [
        {"calibrator": name, "number": number, "value": value}
        for name, each in fitted.items()
        for number, value in each.facts().items()
    ]
    return pd.DataFrame(rows, columns=["calibrator", "number", "value"])
