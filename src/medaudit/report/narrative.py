"""What was found, in sentences that say no more than the intervals do."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medaudit.audits.calibrate import BASELINE, MEAN
from medaudit.report import formatting
from medaudit.report.figures import stress as stress_figures
from medaudit.report.formatting import (
    MINUS,
    Change,
    Number,
    between,
    change,
    count,
    counted,
    difference,
    estimate,
    number,
    p_value,
    percent,
    plain,
    real,
)
from medaudit.report.results import primary_score, realised_deferral

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from medaudit.report.results import Results

MOST_SLOPES = 3


def summary(results: Results) -> list[str]:
    """What we found, in about seven sentences; nothing about stages that are absent."""
    there = results.stages
    found = [
        *((performance(results), operating_points(results)) if "evaluate" in there else ()),
        *(
            stress(stress_changes(results, name), name, results.critical)
            for name in stress_figures.primaries(results)
        ),
        *((slice_sentence(results),) if stress_figures.was_cut(results) else ()),
        *((calibration(results),) if "calibrate" in there else ()),
        *((deferral(results),) if "selective" in there else ()),
    ]
    return [sentence for sentence in found if sentence]


def stress_changes(results: Results, metric: str) -> list[Change]:
    """Every condition against clean in one measure."""
    rows = results.rows("stress", "conditions", metric=metric)
    return [
        change(row, "delta", name=str(row["condition"]), ends=("delta_low", "delta_high"))
        for row in rows
        if row["severity"] > 0
    ]


def slice_changes(results: Results, metric: str | None = None) -> list[Change]:
    """Every slice against the rest of the test role in a measure, the primary one by default."""
    asked = stress_figures.primary(results) if metric is None else metric
    rows = results.rows("slice", "slices", metric=asked)
    return [
        change(row, "gap", name=str(row["slice"]), ends=("gap_low", "gap_high")) for row in rows
    ]


def slice_sentence(results: Results) -> str:
    """Which slices are worse in the primary measure, and in that of the whole call if any are."""
    first, second = stress_figures.primary(results), stress_figures.second(results)
    clauses = [slices(slice_changes(results), first, results.critical)]
    others = slice_changes(results, second) if second != first else []
    if any(each.comparable and each.shown_worse for each in others):
        clauses.append(slices(others, second, results.critical))
    return " ".join(clauses)


def stress(changes: Sequence[Change], metric: str, critical: str | None) -> str:
    """Which conditions change a measure, as far as shown."""
    name = formatting.metric(metric, critical)
    known = [each for each in changes if each.comparable]
    if not known:
        return f"{name}: no condition could be compared with clean."
    worse = [each for each in known if each.shown_worse]
    if not worse:
        under = f"any of {len(known)} conditions" if len(known) > 1 else "the one condition"
        return (
            f"{name}: no loss against clean could be shown under {under} "
            f"({behind(known[0])}, Holm-corrected)."
        )
    largest = max(worse, key=lambda each: each.harm)
    return (
        f"{name} falls under {len(worse)} of {len(known)} conditions (Holm-corrected, "
        f"{behind(largest)}); the largest loss measured is {difference(largest)} under "
        f"{formatting.condition(largest.name)}{rival(largest, worse, formatting.condition)}."
    )


def slices(changes: Sequence[Change], metric: str, critical: str | None) -> str:
    """Which slices are worse than the rest, as far as shown."""
    name = formatting.metric(metric, critical)
    known = [each for each in changes if each.comparable]
    if not known:
        return f"{name}: no slice is large enough to be compared with the rest of the test role."
    unknown = len(changes) - len(known)
    lacks = counted(unknown, "more has", "more have")
    more = f"; {lacks} no interval" if unknown else ""
    worse = [each for each in known if each.shown_worse]
    if not worse:
        smallest = min(known, key=lambda each: each.n or 0)
        return (
            f"{name}: no slice could be shown to be worse than the rest of the test role "
            f"({counted(len(known), 'slice', 'slices')}, Holm-corrected, the smallest with "
            f"n={count(smallest.n)}{more})."
        )
    largest = max(worse, key=lambda each: each.harm)
    return (
        f"{name} is lower than in the rest of the test role in {len(worse)} of "
        f"{counted(len(known), 'slice', 'slices')} (Holm-corrected{more}); the largest gap "
        f"measured is {difference(largest)} in {largest.name} ({behind(largest)})"
        f"{rival(largest, worse, str)}."
    )


def trends(rows: Sequence[Mapping[str, Any]], metric: str, critical: str | None) -> str:
    """Corruptions under which a measure moves one way with every step of severity.

    Said only where Kendall's tau reaches the least p-value that so few severities allow.
    """
    certain = [
        row
        for row in rows
        if row["metric"] == metric and real(row["p_value"]) <= real(row["least_p_value"]) < 1
    ]
    ways = {
        "falls": [str(row["corruption"]) for row in certain if row["tau"] < 0],
        "rises": [str(row["corruption"]) for row in certain if row["tau"] > 0],
    }
    clauses = [
        f"{way} under {', '.join(map(formatting.words, names))}"
        for way, names in ways.items()
        if names
    ]
    if not clauses:
        return ""
    n, least = count(certain[0]["n_severities"]), p_value(real(certain[0]["least_p_value"]))
    return (
        f"With every step of severity {formatting.short(metric, critical)} {' and '.join(clauses)} "
        f"(Kendall's tau at {MINUS}1 or +1; p={least}, the least that {n} severities allow)."
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


def calibration(results: Results) -> str:
    """ECE against its noise floor, slopes that are not ideal, and what the calibrators change."""
    floors = results.rows("calibrate", "noise_floor", event=MEAN)
    first = floors[0]
    ece = results.number("calibrate", "summary", calibrator=first["calibrator"], metric="ece")
    changes = [calibrator_clause(results, row["calibrator"]) for row in floors[1:]]
    clauses = [ece_sentence(ece, real(first["p95"]), of=ece_of(results)), slopes(results)]
    return " ".join([*filter(None, clauses), *changes])


def ece_of(results: Results) -> str:
    """Of what the ECE is."""
    if results.exclusive:
        return "ECE of the called class"
    n = len(results.rows("calibrate", "noise_floor", event=MEAN, calibrator=BASELINE))
    many = len(results.rows("calibrate", "noise_floor", calibrator=BASELINE)) - n
    return f"ECE (mean over {many} labels)" if many > 1 else "ECE of the label"


def ece_sentence(ece: Number, floor: float, *, of: str) -> str:
    """Whether miscalibration is shown; never beyond a floor that the groups make too low."""
    if not (ece.defined and math.isfinite(floor)):
        return f"The {of} is undefined."
    above = ece.value > floor
    assumed = ", which assumes independent images" if ece.grouped else ""
    verdict = f": miscalibration is not shown by the {of}"
    if above:
        verdict = "" if ece.grouped else f": miscalibration is shown by the {of}"
    rests_on = f"n={count(ece.n)}" + (f" in {count(ece.n_groups)} groups" if ece.grouped else "")
    return (
        f"The {of} before calibration is {estimate(ece)}, {'above' if above else 'not above'} "
        f"{plain(floor)}, the 95th percentile of a perfectly calibrated model with these "
        f"confidences{assumed} ({rests_on}){verdict}."
    )


def slopes(results: Results) -> str:
    """Cox slopes whose interval excludes 1, of the critical class or else of all."""
    asked = {"calibrator": BASELINE, "metric": "cox_slope"}
    watched = (results.critical,) if results.critical else results.classes
    known = {name: results.number("calibrate", "events", event=name, **asked) for name in watched}
    off = {name: each for name, each in known.items() if each.low > 1 or each.high < 1}
    if not off:
        return ""
    clauses = [f"{estimate(each, 2)} for {name}" for name, each in list(off.items())[:MOST_SLOPES]]
    more = len(off) - len(clauses)
    rest = f"; {counted(more, 'more label excludes', 'more labels exclude')} 1" if more else ""
    return f"The Cox slope, ideally 1, is {', '.join(clauses)}{rest}."


def calibrator_clause(results: Results, calibrator: str) -> str:
    """What a calibrator does to the log loss."""
    rows = results.rows("calibrate", "summary", calibrator=calibrator, metric="log_loss")
    found = change(rows[0], "delta", name=calibrator, ends=("delta_low", "delta_high"))
    verdict = "no difference could be shown"
    if found.shown:
        verdict = "an improvement" if found.value < 0 else "a loss"
    name = formatting.words(calibrator)
    return f"Calibrator {name} changes the log loss by {difference(found)}: {verdict}."


def deferral(results: Results) -> str:
    """What the frozen deferral leaves, overall and for the critical class."""
    score = primary_score(results)
    risk = results.number("selective", "summary", score=score, metric="risk")
    kept = realised_deferral(results, "selective_risk")
    loss = "an error" if results.exclusive else "a risk (weighted share of wrong calls)"
    return (
        f"Keeping {percent(realised_deferral(results, 'coverage'))} of the cases by "
        f"{formatting.words(score)} (threshold frozen on calibration) leaves {loss} of "
        f"{estimate(kept)} {compared(kept, risk)} {estimate(risk)} without deferral"
        f"{critical_clause(results)}."
    )


def critical_clause(results: Results) -> str:
    """The same for the recall of the critical class."""
    critical = results.critical
    if critical is None:
        return ""
    kept, everyone = (realised_deferral(results, f"critical_recall{end}") for end in ("_kept", ""))
    deferred = realised_deferral(results, "critical_deferred_share")
    return (
        f"; recall of {critical} among the kept is {estimate(kept)} {compared(kept, everyone)} "
        f"{estimate(everyone)} before, with {percent(deferred)} of {critical} deferred"
    )


def compared(first: Number, second: Number) -> str:
    """A word of comparison; without a paired interval only disjoint intervals earn one."""
    if first.high < second.low:
        return "and so less than"
    if first.low > second.high:
        return "and so more than"
    return "beside"


def mode(row: Mapping[str, Any]) -> str:
    """A share of a mode with its interval."""
    ends = between(100 * real(row["share_low"]), 100 * real(row["share_high"]), 1)
    return f"{100 * real(row['share']):.1f} % ({ends})"


def performance(results: Results) -> str:
    """The headline of the clean test role."""
    rows = results.rows("evaluate", "metrics")
    first, accuracy = number(rows[0]), results.measure("balanced_accuracy")
    name = formatting.metric(str(rows[0]["metric"]))
    more = f" and balanced accuracy {estimate(accuracy)}" if accuracy.defined else ""
    return (
        f"On {count(first.n)} clean test images of {count(first.n_groups)} groups, {name} is "
        f"{estimate(first)}{more}{over(results)}.{spread(results)}"
    )


def over(results: Results) -> str:
    """What macro means leave out, where they do."""
    n = results.scalar("evaluate", "n_outputs_in_means")
    every = len(results.classes)
    if not isinstance(n, int) or n == every:
        return ""
    return f" (means over the {n} of {every} {results.nouns[1]} that have both outcomes here)"


def spread(results: Results) -> str:
    """The range of the AUROC over labels, where an image may have several."""
    if results.exclusive:
        return ""
    each = {name: results.of_class(name, "auroc") for name in results.classes}
    known = {name: found for name, found in each.items() if found.defined}
    if len(known) < 2:
        return ""
    least, most = (which(known, key=lambda name: known[name].value) for which in (min, max))
    return (
        f" By label it was measured from {estimate(known[least])} for {least} "
        f"({count(known[least].n_positive)} positives) to {estimate(known[most])} for {most} "
        f"({count(known[most].n_positive)})."
    )


def operating_points(results: Results) -> str:
    """What the frozen thresholds realise, for the critical class or on the mean."""
    name = results.critical
    if name is None:
        return mean_points(results)
    found, realised = (
        results.measure(f"critical_{rate}") for rate in ("sensitivity", "specificity")
    )
    target = results.points.specificity
    verdict = "in accord with" if realised.holds(target) else "which is not"
    return (
        f"At the threshold frozen on calibration, sensitivity for {name} is {estimate(found)} "
        f"(n={count(found.n_positive)}) and realised specificity is {estimate(realised)} "
        f"(n={count(realised.n_positive)}), {verdict} the {target:g} that the threshold was "
        f"chosen for."
    )


def mean_points(results: Results) -> str:
    """Sensitivity and specificity on the mean over the outputs."""
    found, realised = (results.measure(f"macro_{rate}") for rate in ("sensitivity", "specificity"))
    return (
        f"At the thresholds frozen on calibration, one per {results.nouns[0]} and each chosen for "
        f"specificity {results.points.specificity:g}, mean sensitivity is {estimate(found)} and "
        f"mean realised specificity is {estimate(realised)}."
    )
