"""The part of section 4 about corruptions and shifts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.reporting import labels, narrative
from medaudit.reporting.blocks import Block, details, figure, table, text
from medaudit.reporting.figures import stress as stress_figure
from medaudit.reporting.numbers import change, count, difference, estimate, number, p_value, real

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medaudit.reporting.context import Context
    from medaudit.reporting.evidence import Evidence

WORST = 6
SPECIFICITY = ("critical_specificity", "macro_specificity")
BESIDE = ("mean_confidence", "majority_share")
ERRORS = {
    "balanced_error": "balanced error",
    "corruption_error": "corruption error (BE)",
    "relative_corruption_error": "relative (rBE)",
}


def blocks(context: Context) -> list[Block]:
    """Severity, deltas, the greatest losses, trends, errors beside a reference, collapse."""
    evidence = context.evidence
    called = (
        "What is called; a collapse to one class shows here first."
        if evidence.exclusive
        else "Percent of the images for which each label is called; each label has its own scale "
        "of blue."
    )
    compared, errors = "corruption_error" in quantities(evidence), errors_table(evidence)
    return [
        figure("severity", f"Value over severity with {context.level} intervals."),
        *trends(evidence),
        figure("delta", "Change against clean, with paired intervals."),
        worst(evidence),
        *([errors] if compared else ()),
        figure("predicted", called),
        details(
            "Every condition and measure", conditions(evidence), *(() if compared else (errors,))
        ),
    ]


def trends(evidence: Evidence) -> Iterator[Block]:
    """Kendall's trend in words, where it is as certain as so few severities allow."""
    rows = evidence.rows("stress", "trend")
    said = [
        narrative.trends(rows, name, evidence.critical)
        for name in stress_figure.primaries(evidence)
    ]
    if any(said):
        yield text(" ".join(filter(None, said)))


def quantities(evidence: Evidence) -> list[str]:
    """Which corruption errors there are; the relative ones need a reference model."""
    return evidence.names("stress", "corruption_errors", "quantity")


def errors_table(evidence: Evidence) -> Block:
    """Corruption errors, mean over severities."""
    known = [name for name in ERRORS if name in quantities(evidence)]
    rows = [
        (
            labels.words(corruption),
            *(
                estimate(
                    evidence.number(
                        "stress", "corruption_errors", corruption=corruption, quantity=name
                    )
                )
                for name in known
            ),
        )
        for corruption in evidence.names("stress", "corruption_errors", "corruption")
    ]
    beside = "; BE and rBE relative to the reference, 1 is as bad" if len(known) > 1 else ""
    caption = f"Balanced error (1 − balanced accuracy), mean over severities{beside}"  # noqa: RUF001 - a true minus
    return table(caption, ("corruption", *(ERRORS[name] for name in known)), rows)


def worst(evidence: Evidence) -> Block:
    """The conditions of the greatest measured loss, with what else changes there."""
    first, *others = stress_figure.primaries(evidence)
    known = evidence.names("stress", "conditions", "metric")
    specificity = [name for name in SPECIFICITY if name in known][:1]
    beside = [*others, *specificity, *(name for name in BESIDE if name in known)]
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
    if not ranked:
        return text(f"No condition could be compared in {labels.short(first, evidence.critical)}.")
    clean = ("clean", "", "", *(value_under(evidence, "clean", name) for name in beside))
    names = [labels.short(name, evidence.critical) for name in beside]
    n = count(ranked[0].n)
    caption = (
        f"Conditions of the greatest measured loss of {labels.short(first, evidence.critical)} "
        f"({len(ranked)} of {len(changes)}), n={n}; beside it, values under the condition"
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
            count(number(row).rests_on),
        )
        for row in evidence.rows("stress", "conditions")
    ]
    columns = ("condition", "measure", "value (interval)", "Δ (interval)", "p (Holm)", "n")
    return table("Every condition and measure", columns, rows, align="llrrrr")
