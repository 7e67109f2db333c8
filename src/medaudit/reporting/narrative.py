"""What was found, in sentences that say no more than the intervals do.

A comparison counts as shown where its paired interval excludes 0 and, inside a family, its
Holm-corrected p-value is below 0.05. Everything else is written as "no difference could be shown".
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medaudit.reporting import labels
from medaudit.reporting.figures import slices as slice_figure
from medaudit.reporting.figures import stress as stress_figure
from medaudit.reporting.numbers import (
    Change,
    Number,
    between,
    change,
    count,
    difference,
    estimate,
    number,
    plain,
    real,
    share,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from medaudit.reporting.evidence import Evidence


def summary(evidence: Evidence) -> list[str]:
    """What we found, in about seven sentences."""
    found = [
        performance(evidence),
        critical_class(evidence),
        *(
            stress(stress_changes(evidence, name), name, evidence.critical)
            for name in stress_figure.primaries(evidence)
        ),
        slices(slice_changes(evidence), slice_figure.primary(evidence), evidence.critical),
        calibration(evidence),
        deferral(evidence),
    ]
    return [sentence for sentence in found if sentence]


def performance(evidence: Evidence) -> str:
    """The headline of the clean test role."""
    rows = evidence.rows("evaluate", "metrics")
    first, accuracy = number(rows[0]), evidence.measure("balanced_accuracy")
    name = labels.metric(str(rows[0]["metric"]), None)
    more = f" and balanced accuracy {estimate(accuracy)}" if accuracy.defined else ""
    return (
        f"On {count(first.n)} clean test images of {count(first.n_groups)} groups, {name} is "
        f"{estimate(first)}{more}."
    )


def critical_class(evidence: Evidence) -> str:
    """The operating point of the critical class and what it realises."""
    found = evidence.measure("critical_sensitivity")
    if evidence.critical is None:
        return ""
    realised, target = evidence.measure("critical_specificity"), evidence.points.specificity
    verdict = "in accord with" if realised.holds(target) else "which is not"
    return (
        f"At the threshold frozen on calibration, sensitivity for {evidence.critical} is "
        f"{estimate(found)} (n={count(found.n_positive)}) and realised specificity is "
        f"{estimate(realised)} (n={count(realised.n_positive)}), {verdict} the {target:g} that the "
        f"threshold was chosen for."
    )


def stress_changes(evidence: Evidence, metric: str) -> list[Change]:
    """Every condition against clean in one measure."""
    rows = evidence.rows("stress", "conditions", metric=metric)
    return [
        change(row, "delta", name=str(row["condition"]), ends=("delta_low", "delta_high"))
        for row in rows
        if row["severity"] > 0
    ]


def slice_changes(evidence: Evidence) -> list[Change]:
    """Every slice against the rest of the test role in the primary measure."""
    rows = evidence.rows("slice", "slices", metric=slice_figure.primary(evidence))
    return [
        change(row, "gap", name=str(row["slice"]), ends=("gap_low", "gap_high")) for row in rows
    ]


def stress(changes: Sequence[Change], metric: str, critical: str | None) -> str:
    """Which conditions change a measure, as far as shown."""
    name = labels.metric(metric, critical)
    known = [each for each in changes if each.defined]
    if not known:
        return f"{name}: no condition could be compared with clean."
    worse = [each for each in known if each.shown_worse]
    if not worse:
        return (
            f"{name}: no loss against clean could be shown under any of {len(known)} conditions "
            f"({behind(known[0])}, Holm-corrected)."
        )
    largest = max(worse, key=lambda each: each.harm)
    return (
        f"{name} falls under {len(worse)} of {len(known)} conditions (Holm-corrected, "
        f"{behind(largest)}); the largest loss measured is {difference(largest)} under "
        f"{labels.condition(largest.name)}{rival(largest, worse, labels.condition)}."
    )


def slices(changes: Sequence[Change], metric: str, critical: str | None) -> str:
    """Which slices are worse than the rest, as far as shown."""
    name = labels.metric(metric, critical)
    known = [each for each in changes if each.defined]
    if not known:
        return f"{name}: no slice is large enough to be compared with the rest of the test role."
    worse = [each for each in known if each.shown_worse]
    if not worse:
        smallest = min(known, key=lambda each: each.n or 0)
        return (
            f"{name}: no slice could be shown to be worse than the rest of the test role "
            f"({len(known)} slices, Holm-corrected, the smallest with n={count(smallest.n)})."
        )
    largest = max(worse, key=lambda each: each.harm)
    return (
        f"{name} is lower than in the rest of the test role in {len(worse)} of {len(known)} slices "
        f"(Holm-corrected); the largest gap measured is {difference(largest)} in {largest.name} "
        f"({behind(largest)}){rival(largest, worse, str)}."
    )


def rival(largest: Change, others: Sequence[Change], say: Any) -> str:
    """A clause that takes the superlative back where the next one's interval overlaps."""
    stem = largest.name.rpartition("-")[0] or largest.name
    rest = [each for each in others if not each.name.startswith(stem)]
    if not rest:
        return ""
    second = max(rest, key=lambda each: each.harm)
    apart = second.low > largest.high or second.high < largest.low
    return "" if apart else f", not separable from {say(second.name)}, {difference(second)}"


def behind(found: Number) -> str:
    """What a number rests on."""
    positives = f", {count(found.n_positive)} positives" if found.n_positive is not None else ""
    return f"n={count(found.n)}{positives}"


def calibration(evidence: Evidence) -> str:
    """ECE against its noise floor, and what the calibrators change."""
    floors = evidence.rows("calibrate", "noise_floor")
    first = floors[0]
    ece = evidence.number("calibrate", "summary", calibrator=first["calibrator"], metric="ece")
    changes = [calibrator_clause(evidence, row["calibrator"]) for row in floors[1:]]
    return " ".join([ece_sentence(ece, real(first["p95"])), *changes])


def ece_sentence(ece: Number, floor: float) -> str:
    """Whether miscalibration is shown."""
    if not (ece.defined and math.isfinite(floor)):
        return "The ECE is undefined."
    above = ece.value > floor
    verdict = "miscalibration is shown" if above else "no miscalibration could be shown"
    return (
        f"The ECE before calibration is {estimate(ece)}, {'above' if above else 'not above'} "
        f"{plain(floor)}, the 95th percentile of a perfectly calibrated model with these "
        f"confidences (n={count(ece.n)}): {verdict}."
    )


def calibrator_clause(evidence: Evidence, calibrator: str) -> str:
    """What a calibrator does to the log loss."""
    rows = evidence.rows("calibrate", "summary", calibrator=calibrator, metric="log_loss")
    found = change(rows[0], "delta", name=calibrator, ends=("delta_low", "delta_high"))
    verdict = "no difference could be shown"
    if found.shown:
        verdict = "an improvement" if found.value < 0 else "a loss"
    name = labels.words(calibrator)
    return f"Calibrator {name} changes the log loss by {difference(found)}: {verdict}."


def deferral(evidence: Evidence) -> str:
    """What the frozen deferral leaves, overall and for the critical class."""
    row = evidence.rows("selective", "deferral")[0]
    risk = evidence.number("selective", "summary", score=row["score"], metric="risk")
    kept = number(triple(row, "selective_risk"))
    text = (
        f"Keeping {share(real(row['coverage']))} of the cases by {labels.words(str(row['score']))} "
        f"(threshold frozen on calibration) leaves an error of {estimate(kept)} "
        f"{compared(kept, risk)} {estimate(risk)} without deferral"
    )
    return f"{text}{critical_clause(row, evidence.critical)}."


def critical_clause(row: Mapping[str, Any], critical: str | None) -> str:
    """The same for the recall of the critical class."""
    if critical is None or "critical_recall_kept" not in row:
        return ""
    kept, all_cases = (number(triple(row, f"critical_recall{end}")) for end in ("_kept", ""))
    deferred = real(row["critical_deferred_share"])
    return (
        f"; recall of {critical} among the kept is {estimate(kept)} {compared(kept, all_cases)} "
        f"{estimate(all_cases)} before, with {share(deferred)} of {critical} deferred"
    )


def compared(first: Number, second: Number) -> str:
    """A word of comparison; without a paired interval only disjoint intervals earn one."""
    if first.high < second.low:
        return "and so less than"
    if first.low > second.high:
        return "and so more than"
    return "beside"


def triple(row: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The columns `name`, `name_low`, `name_high` as those of a number."""
    return {"value": row.get(name), "low": row.get(f"{name}_low"), "high": row.get(f"{name}_high")}


def mode(row: Mapping[str, Any]) -> str:
    """A share of a mode with its interval."""
    ends = between(100 * real(row["share_low"]), 100 * real(row["share_high"]), 1)
    return f"{100 * real(row['share']):.1f} % ({ends})"
