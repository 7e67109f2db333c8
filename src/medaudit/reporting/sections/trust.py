"""Section 5: calibration and selective prediction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medaudit.reporting import labels, narrative
from medaudit.reporting.blocks import Block, figure, pair, table, text
from medaudit.reporting.blocks import section as part
from medaudit.reporting.numbers import change, count, difference, estimate, number, plain, real

if TYPE_CHECKING:
    from medaudit.reporting.context import Context
    from medaudit.reporting.evidence import Evidence

DEFERRAL = {
    "coverage": "coverage",
    "selective_risk": "risk among the kept",
    "critical_recall": "recall of {critical}, all",
    "critical_recall_kept": "recall of {critical}, kept",
    "critical_deferred_share": "{critical} deferred",
    "critical_missed_share": "{critical} kept and missed",
}


def section(context: Context) -> Block:
    """Reliability with its noise floor; risk, coverage, deferral."""
    evidence = context.evidence
    asked = real(evidence.scalar("selective", "coverage_asked"))
    return part(
        "Uncertainty and calibration",
        text(
            f"Calibrators are fitted on calibration and scored on test. The noise floor is the ECE "
            f"that a perfectly calibrated model with the same confidences shows by chance. "
            f"{fitted(evidence)}Thresholds, deferral and cases use the uncalibrated probabilities "
            f"(identity); calibrators are shown beside them. The deferral threshold is frozen on "
            f"calibration at coverage {asked:g}."
        ),
        pair(
            figure("reliability", "Reliability of the called class; bars: share of the cases."),
            figure("risk_coverage", "Crosses: the frozen deferral, with its interval."),
        ),
        calibrators(evidence),
        deferral(evidence),
        areas(evidence),
        *classes(evidence),
    )


def fitted(evidence: Evidence) -> str:
    """The temperature, where one was fitted."""
    value = real(evidence.scalar("calibrate", "temperature"))
    return f"The fitted temperature is {plain(value)}. " if math.isfinite(value) else ""


def calibrators(evidence: Evidence) -> Block:
    """Every calibrator and loss, with the change against none and the noise floor."""
    floors = {row["calibrator"]: row for row in evidence.rows("calibrate", "noise_floor")}
    rows = []
    for row in evidence.rows("calibrate", "summary"):
        is_ece = row["metric"] == "ece"
        floor = floors.get(row["calibrator"], {})
        changed = change(row, "delta", name="", ends=("delta_low", "delta_high"))
        ends = (plain(real(floor.get("mean"))), plain(real(floor.get("p95"))))
        rows.append(
            (
                labels.words(str(row["calibrator"])),
                labels.metric(str(row["metric"]), None),
                estimate(number(row)),
                f"{ends[0]} / {ends[1]}" if is_ece else "",
                difference(changed) if changed.value or changed.low else "",
                count(row["n"]),
            )
        )
    columns = ("calibrator", "loss", "value (interval)", "floor: mean / p95", "Δ to identity", "n")
    return table("Calibration losses on test, lower is better", columns, rows, align="llrrrr")


def deferral(evidence: Evidence) -> Block:
    """What the frozen deferral realises for every confidence score."""
    found = evidence.rows("selective", "deferral")
    names = [name for name in DEFERRAL if name in found[0]]
    rows = [
        (
            labels.words(str(row["score"])),
            *(estimate(number(narrative.triple(row, name)), 2) for name in names),
        )
        for row in found
    ]
    heads = [DEFERRAL[name].format(critical=evidence.critical) for name in names]
    n = count(found[0]["n"])
    return table(f"Deferral at the frozen threshold, n={n}", ("confidence score", *heads), rows)


def areas(evidence: Evidence) -> Block:
    """Areas under the curves of every confidence score."""
    table_ = evidence.table("selective", "summary")
    metrics = list(table_["metric"].unique())
    rows = [
        (
            labels.words(str(score)),
            *(
                estimate(evidence.number("selective", "summary", score=score, metric=name))
                for name in metrics
            ),
        )
        for score in table_["score"].unique()
    ]
    n = count(table_["n"].iloc[0])
    heads = [labels.metric(str(name), None) for name in metrics]
    return table(f"Risk-coverage areas, lower is better, n={n}", ("confidence score", *heads), rows)


def classes(evidence: Evidence) -> list[Block]:
    """Deferral and recall of every class; Wilson intervals."""
    rows = [
        (
            str(row["class"]),
            *(
                estimate(number(narrative.triple(row, name)), 2)
                for name in ("deferred", "recall", "recall_kept")
            ),
            count(row["n"]),
        )
        for row in evidence.rows("selective", "per_class")
    ]
    if not rows:
        return []
    columns = ("class", "share deferred", "recall, all", "recall, kept", "n")
    return [table("Deferral by class, Wilson intervals", columns, rows)]
