"""Section 5: calibration and selective prediction."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medaudit.audits.calibrate import BASELINE, MEAN
from medaudit.report import deferral_sentences, formatting, narrative
from medaudit.report.blocks import Block, details, figure, pair, stack, table, text
from medaudit.report.blocks import section as part
from medaudit.report.formatting import (
    change,
    count,
    difference,
    estimate,
    number,
    p_value,
    plain,
    real,
)
from medaudit.report.results import realised_deferral
from medaudit.report.sections import selection

if TYPE_CHECKING:
    from medaudit.report.blocks import Context
    from medaudit.report.results import Results

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
    "slope 1 and intercept 0 are ideal; below a slope of 1 stated probabilities are too extreme; "
    "|z| above 1.96 speaks against calibration"
)


def words(results: Results) -> str:
    """What is fitted on what, what the floor is, and which probabilities the rest uses."""
    return (
        f"Calibrators are fitted on calibration and scored on test. The noise floor is the ECE "
        f"that a perfectly calibrated model with the same confidences shows by chance; p is how "
        f"often it shows as much as this one. "
        f"{assumed(results)}{fitted(results)}Thresholds, calls and deferral use the "
        f"uncalibrated probabilities (identity); calibrators are shown beside them."
    )


def assumed(results: Results) -> str:
    """What floor and z take for granted, where it does not hold."""
    first = number(results.rows("calibrate", "summary")[0])
    if not first.grouped:
        return ""
    return (
        "Floor and Spiegelhalter z assume independent images; here several share a group, so they "
        "are too narrow. The verdict on the first page also takes images of a group as all alike. "
    )


def fitted(results: Results) -> str:
    """The temperature, where one was fitted."""
    value = real(results.scalar("calibrate", "temperature"))
    return f"The fitted temperature is {plain(value)}. " if math.isfinite(value) else ""


def blocks(results: Results) -> list[Block]:
    """Losses by calibrator, the shape of the miscalibration, and the long table."""
    # Labels have one table for shape and deferral together.
    own = [shape(results)] if results.exclusive else []
    return [losses(results), *own, details("Every event and measure", events(results))]


def losses(results: Results) -> Block:
    """A row per measure, a column per calibrator with its paired change against identity."""
    names = results.names("calibrate", "summary", "calibrator")
    known = results.names("calibrate", "summary", "metric")
    rows = []
    for metric in (name for name in MEASURES if name in known):
        cells = [cell for name in names for cell in measured(results, name, metric)]
        rows.append((formatting.metric(metric), *cells))
        if metric == "ece":
            floors = [cell for name in names for cell in floor(results, name)]
            rows.append(("its noise floor: mean / p95; p", *floors))
    heads = [
        head
        for name in names
        for head in ((formatting.words(name), "Δ to identity")[: 1 + (name != BASELINE)])
    ]
    n = count(results.rows("calibrate", "summary")[0]["n"])
    caption = f"Calibration on test, n={n} images; lower is better, but for Brier skill"
    return table(caption, ("measure", *heads), rows)


def measured(results: Results, calibrator: str, metric: str) -> list[str]:
    """The value of a calibrator, and its change where it is not the baseline."""
    rows = results.rows("calibrate", "summary", calibrator=calibrator, metric=metric)
    if not rows:
        return ["", ""][: 1 + (calibrator != BASELINE)]
    found = estimate(number(rows[0]))
    if calibrator == BASELINE:
        return [found]
    changed = change(rows[0], "delta", name="", ends=("delta_low", "delta_high"))
    return [found, difference(changed)]


def floor(results: Results, calibrator: str) -> list[str]:
    """Mean and 95th percentile of the ECE by chance."""
    rows = results.rows("calibrate", "noise_floor", calibrator=calibrator, event=MEAN)
    row = rows[0] if rows else {}
    p = p_value(real(row.get("p_value")), least=narrative.floor_p(results))
    found = f"{plain(real(row.get('mean')))} / {plain(real(row.get('p95')))}; {p}"
    return [found] if calibrator == BASELINE else [found, ""]


def shape(results: Results) -> Block:
    """Cox slope and intercept of the critical class, or of the call, under every calibrator."""
    rows = [
        (
            formatting.event(event),
            formatting.words(calibrator),
            *shape_cells(results, calibrator, event),
        )
        for event in shaped(results)
        for calibrator in results.names("calibrate", "events", "calibrator")
    ]
    heads = [formatting.metric(name) for name in SHAPE]
    caption = f"Shape of the miscalibration on test: {IDEAL}; n: test images"
    return table(caption, ("class", "calibrator", *heads, "n", "positives"), rows, align="llrrrrr")


def shaped(results: Results) -> list[str]:
    """The critical class, or else all events."""
    known = results.names("calibrate", "events", "event")
    if results.exclusive and results.critical in known:
        return [str(results.critical)]
    return known


def shape_cells(results: Results, calibrator: str, event: str) -> list[str]:
    """Slope, intercept and z of one event, and what they rest on."""
    asked = {"calibrator": calibrator, "event": event}
    found = [results.number("calibrate", "events", metric=name, **asked) for name in SHAPE]
    cells = [estimate(each, 2) for each in found]
    return [*cells, count(found[0].n), count(found[0].n_positive)]


def events(results: Results) -> Block:
    """The long table of calibrators, events and measures."""
    rows = [
        (
            formatting.words(str(row["calibrator"])),
            formatting.event(str(row["event"])),
            formatting.metric(str(row["metric"])),
            estimate(number(row)),
            count(row["n"]),
        )
        for row in results.rows("calibrate", "events")
    ]
    columns = ("calibrator", "event", "measure", "value (interval)", "n")
    return table("Every event and measure", columns, rows, align="lllrr")


SHAPED = len(SHAPE)


def section(context: Context) -> Block | None:
    """Reliability with its noise floor; risk, coverage, deferral."""
    results = context.results
    calibrated, deferred = (stage in results.stages for stage in ("calibrate", "selective"))
    if not (calibrated or deferred):
        return None
    return part(
        "Uncertainty and calibration",
        text(
            " ".join(
                [
                    *((words(results),) if calibrated else ()),
                    *((frozen(results),) if deferred else ()),
                ]
            )
        ),
        *charts(results),
        *(blocks(results) if calibrated else ()),
        *(selection.blocks(results) if deferred else ()),
        *(() if results.exclusive else (by_label(results),)),
    )


def frozen(results: Results) -> str:
    """How the deferral was chosen, and what risk is."""
    asked = plain(real(results.scalar("selective", "coverage_asked")), 2)
    found, beside = realised_deferral(results, "coverage"), deferral_sentences.beside_asked(results)
    kept = f"; on test it keeps {estimate(found)}, {beside}" if beside else ""
    sentence = f"The deferral threshold is frozen on calibration at coverage {asked}{kept}."
    if results.exclusive:
        return sentence
    weight = (results.params.get("selective") or {}).get("false_negative_weight")
    heavier = f", where a missed label weighs {weight:g} false alarms" if weight else ""
    return f"{sentence} Risk is the weighted share of wrong calls of an image{heavier}."


def charts(results: Results) -> list[Block]:
    """Reliability and risk over coverage; side by side where reliability takes half of the page."""
    drawn = "bars: share of the cases" if results.exclusive else "bins hold equally many cases"
    reliability = figure(
        "reliability",
        f"Reliability of stated probabilities on test, a line per calibrator; {drawn}. ECE and "
        f"floor (95th percentile) are those of identity.",
    )
    risk = figure("risk_coverage", "Crosses: the frozen deferral, with its interval.")
    realised = selection.realised(results)
    if results.exclusive:
        return [
            pair(reliability, risk),
            *([pair(realised, selection.classes(results))] if realised else []),
        ]
    if realised is None:
        return [reliability]
    return [reliability, pair(risk, stack(realised, text(selection.comparison(results))))]


def by_label(results: Results) -> Block:
    """Shape of the miscalibration, and deferral, label by label."""
    calibrated = "calibrate" in results.stages
    deferred = {str(row["class"]): row for row in results.rows("selective", "per_class")}
    rows = [
        (
            name,
            *(shape_cells(results, BASELINE, name)[:SHAPED] if calibrated else ()),
            *(selection.share_cells(deferred[name]) if deferred else ()),
            count(results.of_class(name, "auroc").n_positive),
        )
        for name in results.classes
    ]
    shape = [formatting.metric(name) for name in SHAPE] if calibrated else []
    shares = selection.SHARE_HEADS if deferred else ()
    ideal = f"; {IDEAL}" if calibrated else ""
    caption = f"Label by label, uncalibrated{ideal}"
    return table(caption, ("label", *shape, *shares, "positives"), rows)
