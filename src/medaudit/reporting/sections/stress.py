"""Section 4: corruptions, shifts and slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from medaudit.reporting import labels, narrative
from medaudit.reporting.blocks import Block, details, figure, table, text
from medaudit.reporting.blocks import section as part
from medaudit.reporting.figures import slices as slice_figure
from medaudit.reporting.figures import stress as stress_figure
from medaudit.reporting.numbers import change, count, difference, estimate, number, p_value, real

if TYPE_CHECKING:
    from collections.abc import Mapping

    from medaudit.reporting.context import Context
    from medaudit.reporting.evidence import Evidence

WORST = 6
BESIDE = ("critical_specificity", "mean_confidence", "majority_share")
MOST_REFUSED = 8


def section(context: Context) -> Block:
    """Severity, deltas, collapse, slices."""
    evidence = context.evidence
    return part(
        "Stress and slices",
        text(
            "Corruptions act on the packed test images; nothing is re-tuned, thresholds stay "
            "frozen. Differences are condition minus clean on the same resamples; p-values are "
            "Holm-corrected within each measure over all conditions (or slices)."
        ),
        figure("severity", f"Value over severity with {context.level} intervals."),
        figure("delta", "Change against clean, with paired intervals."),
        worst(evidence),
        figure("predicted", "What is called; a collapse to one class shows here first."),
        details("Every condition and measure", conditions(evidence)),
        gaps(evidence),
        refused(evidence),
        figure("slices", slice_caption(evidence)),
        details("Every slice and measure", slices(evidence)),
    )


def worst(evidence: Evidence) -> Block:
    """The conditions of the greatest measured loss, with what else changes there."""
    first, *others = stress_figure.primaries(evidence)
    beside = [
        *others,
        *(name for name in BESIDE if evidence.rows("stress", "conditions", metric=name)),
    ]
    changes = [each for each in narrative.stress_changes(evidence, first) if each.defined]
    ranked = sorted(changes, key=lambda each: -each.harm)[:WORST]
    rows = [
        (
            labels.condition(each.name),
            difference(each),
            p_value(each.p_holm),
            *(value_under(evidence, each.name, name) for name in beside),
        )
        for each in ranked
    ]
    clean = ("clean", "", "", *(value_under(evidence, "clean", name) for name in beside))
    names = [labels.short(name, evidence.critical) for name in beside]
    n = count(ranked[0].n) if ranked else "0"
    caption = (
        f"The {len(ranked)} conditions of the greatest measured loss of "
        f"{labels.short(first, evidence.critical)}, n={n}; beside it, values under the condition"
    )
    columns = ("condition", f"Δ {labels.short(first, evidence.critical)}", "p (Holm)", *names)
    return table(caption, columns, [*rows, clean])


def value_under(evidence: Evidence, condition: str, metric: str) -> str:
    """A measure under a condition, with its interval."""
    found = evidence.number("stress", "conditions", condition=condition, metric=metric)
    return estimate(found, 2)


def conditions(evidence: Evidence) -> Block:
    """The long table of conditions."""
    rows = [
        (
            labels.condition(str(row["condition"])),
            labels.short(str(row["metric"]), evidence.critical),
            estimate(number(row)),
            difference(change(row, "delta", name="", ends=("delta_low", "delta_high"))),
            p_value(real(row["p_holm"])),
            behind(row),
        )
        for row in evidence.rows("stress", "conditions")
    ]
    columns = ("condition", "measure", "value (interval)", "Δ (interval)", "p (Holm)", "n")
    return table("Every condition and measure", columns, rows, align="llrrrr")


def behind(row: Mapping[str, Any]) -> str:
    """The count that a value rests on."""
    found = number(row)
    return count(found.n if found.n_positive is None else found.n_positive)


def slice_caption(evidence: Evidence) -> str:
    """What the forest of slices shows."""
    found = evidence.table("slice", "slices")
    if found.empty:
        return "Every slice was refused."
    defined = found.dropna(subset=["value"])
    wanted = slice_figure.metrics(evidence)
    n = defined[defined["metric"].isin(wanted)]["slice"].nunique()
    some = min(n, slice_figure.MOST_ROWS)
    which = f"{some} of {n} slices, those of the largest gaps" if some < n else f"All {n} slices"
    return (
        f"{which}, with intervals; in brackets n. Filled: differs from the rest after Holm; red: "
        f"worse. Dashed: all of test."
    )


def gaps(evidence: Evidence) -> Block:
    """The slices of the largest gaps in the primary measure."""
    name = slice_figure.primary(evidence)
    changes = [each for each in narrative.slice_changes(evidence) if each.defined]
    ranked = sorted(changes, key=lambda each: -each.harm)[:WORST]
    rows = [
        (
            each.name,
            estimate(evidence.number("slice", "slices", slice=each.name, metric=name), 2),
            difference(each, 2),
            p_value(each.p_holm),
            count(each.n),
            count(each.n_positive),
        )
        for each in ranked
    ]
    label = labels.short(name, evidence.critical)
    columns = ("slice", label, "gap to the rest", "p (Holm)", "n", "positives")
    caption = f"Slices of the largest measured gaps in {label}, of {len(changes)} compared"
    return table(caption, columns, rows)


def refused(evidence: Evidence) -> Block:
    """Slices that say nothing, with the reason."""
    rows = [
        (str(row["slice"]), count(row["n"]), count(row["n_positive"]), str(row["reason"]))
        for row in evidence.rows("slice", "refused")
    ]
    if not rows:
        return text("No slice was refused.")
    more = len(rows) - MOST_REFUSED
    return table(
        f"Refused slices or measures ({len(rows)})",
        ("slice", "n", "positives", "reason"),
        rows[:MOST_REFUSED],
        align="lrrl",
        widths=(2.2, 0.5, 0.8, 6),
        note=f"{more} more stand in plots/slice/refused.csv." if more > 0 else "",
    )


def slices(evidence: Evidence) -> Block:
    """The long table of slices."""
    rows = [
        (
            str(row["slice"]),
            labels.short(str(row["metric"]), evidence.critical),
            estimate(number(row)),
            difference(change(row, "gap", name="", ends=("gap_low", "gap_high"))),
            p_value(real(row["p_holm"])),
            count(row["n"]),
            count(row["n_positive"]),
        )
        for row in evidence.rows("slice", "slices")
    ]
    columns = ("slice", "measure", "value", "gap to the rest", "p (Holm)", "n", "positives")
    return table("Every slice and measure", columns, rows, align="llrrrrr")
