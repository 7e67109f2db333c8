"""The calibration part of section 5."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medaudit.audits.calibration import BASELINE
from medaudit.audits.reliability import MEAN
from medaudit.reporting import labels
from medaudit.reporting.blocks import Block, details, table
from medaudit.reporting.numbers import change, count, difference, estimate, number, plain, real

if TYPE_CHECKING:
    from medaudit.reporting.evidence import Evidence

MEASURES = (
    "ece",
    "ece_debiased",
    "ece_smooth",
    "mce",
    "classwise_ece",
    "log_loss",
    "brier_loss",
    "brier_skill_score",
)
SHAPE = ("cox_slope", "cox_intercept", "spiegelhalter_z")
IDEAL = (
    "slope 1 and intercept 0 are ideal, a slope below 1 is over-confident; |z| above 1.96 speaks "
    "against calibration"
)


def words(evidence: Evidence) -> str:
    """What is fitted on what, what the floor is, and which probabilities the rest uses."""
    return (
        f"Calibrators are fitted on calibration and scored on test. The noise floor is the ECE "
        f"that a perfectly calibrated model with the same confidences shows by chance. "
        f"{assumed(evidence)}{fitted(evidence)}Thresholds, calls and deferral use the "
        f"uncalibrated probabilities (identity); calibrators are shown beside them."
    )


def assumed(evidence: Evidence) -> str:
    """What floor and z take for granted, where it does not hold."""
    first = number(evidence.rows("calibrate", "summary")[0])
    if not first.grouped:
        return ""
    return (
        "Floor and Spiegelhalter z assume independent images; here several share a group, so that "
        "a value beyond them is no verdict. "
    )


def fitted(evidence: Evidence) -> str:
    """The temperature, where one was fitted."""
    value = real(evidence.scalar("calibrate", "temperature"))
    return f"The fitted temperature is {plain(value)}. " if math.isfinite(value) else ""


def blocks(evidence: Evidence) -> list[Block]:
    """Losses by calibrator, the shape of the miscalibration, and the long table."""
    # Labels have one table for shape and deferral together.
    own = [shape(evidence)] if evidence.exclusive else []
    return [losses(evidence), *own, details("Every event and measure", events(evidence))]


def losses(evidence: Evidence) -> Block:
    """A row per measure, a column per calibrator with its paired change against identity."""
    names = evidence.names("calibrate", "summary", "calibrator")
    known = evidence.names("calibrate", "summary", "metric")
    rows = []
    for metric in (name for name in MEASURES if name in known):
        cells = [cell for name in names for cell in measured(evidence, name, metric)]
        rows.append((labels.metric(metric), *cells))
        if metric == "ece":
            floors = [cell for name in names for cell in floor(evidence, name)]
            rows.append(("its noise floor: mean / p95", *floors))
    heads = [
        head
        for name in names
        for head in ((labels.words(name), "Δ to identity")[: 1 + (name != BASELINE)])
    ]
    n = count(evidence.rows("calibrate", "summary")[0]["n"])
    caption = f"Calibration on test, n={n}; lower is better, but for Brier skill"
    return table(caption, ("measure", *heads), rows)


def measured(evidence: Evidence, calibrator: str, metric: str) -> list[str]:
    """The value of a calibrator, and its change where it is not the baseline."""
    rows = evidence.rows("calibrate", "summary", calibrator=calibrator, metric=metric)
    if not rows:
        return ["", ""][: 1 + (calibrator != BASELINE)]
    found = estimate(number(rows[0]))
    if calibrator == BASELINE:
        return [found]
    changed = change(rows[0], "delta", name="", ends=("delta_low", "delta_high"))
    return [found, difference(changed)]


def floor(evidence: Evidence, calibrator: str) -> list[str]:
    """Mean and 95th percentile of the ECE by chance."""
    rows = evidence.rows("calibrate", "noise_floor", calibrator=calibrator, event=MEAN)
    row = rows[0] if rows else {}
    found = f"{plain(real(row.get('mean')))} / {plain(real(row.get('p95')))}"
    return [found] if calibrator == BASELINE else [found, ""]


def shape(evidence: Evidence) -> Block:
    """Cox slope and intercept of the critical class, or of the call, under every calibrator."""
    rows = [
        (labels.event(event), labels.words(calibrator), *shape_cells(evidence, calibrator, event))
        for event in shaped(evidence)
        for calibrator in evidence.names("calibrate", "events", "calibrator")
    ]
    heads = [labels.metric(name) for name in SHAPE]
    caption = f"Shape of the miscalibration on test: {IDEAL}"
    return table(caption, ("class", "calibrator", *heads, "n", "positives"), rows, align="llrrrrr")


def shaped(evidence: Evidence) -> list[str]:
    """The critical class, or else all events."""
    known = evidence.names("calibrate", "events", "event")
    if evidence.exclusive and evidence.critical in known:
        return [str(evidence.critical)]
    return known


def shape_cells(evidence: Evidence, calibrator: str, event: str) -> list[str]:
    """Slope, intercept and z of one event, and what they rest on."""
    asked = {"calibrator": calibrator, "event": event}
    found = [evidence.number("calibrate", "events", metric=name, **asked) for name in SHAPE]
    cells = [estimate(each, 2) for each in found]
    return [*cells, count(found[0].n), count(found[0].n_positive)]


def events(evidence: Evidence) -> Block:
    """The long table of calibrators, events and measures."""
    rows = [
        (
            labels.words(str(row["calibrator"])),
            labels.event(str(row["event"])),
            labels.metric(str(row["metric"])),
            estimate(number(row)),
            count(row["n"]),
        )
        for row in evidence.rows("calibrate", "events")
    ]
    columns = ("calibrator", "event", "measure", "value (interval)", "n")
    return table("Every event and measure", columns, rows, align="lllrr")
