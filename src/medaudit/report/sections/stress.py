"""Section 4: corruptions, shifts and slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.report import formatting, narrative
from medaudit.report.blocks import Block, details, figure, table, text
from medaudit.report.blocks import section as part
from medaudit.report.figures import stress
from medaudit.report.formatting import (
    change,
    count,
    counted,
    difference,
    estimate,
    number,
    p_value,
    real,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from medaudit.report.blocks import Context
    from medaudit.report.results import Results

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


def trends(evidence: Results) -> Iterator[Block]:
    """Kendall's trend in words, where it is as certain as so few severities allow."""
    rows = evidence.rows("stress", "trend")
    said = [narrative.trends(rows, name, evidence.critical) for name in stress.primaries(evidence)]
    if any(said):
        yield text(" ".join(filter(None, said)))


def quantities(evidence: Results) -> list[str]:
    """Which corruption errors there are; the relative ones need a reference model."""
    return evidence.names("stress", "corruption_errors", "quantity")


def errors_table(evidence: Results) -> Block:
    """Corruption errors, mean over severities."""
    known = [name for name in ERRORS if name in quantities(evidence)]
    rows = [
        (
            formatting.words(corruption),
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


def worst(evidence: Results) -> Block:
    """The conditions of the greatest measured loss, with what else changes there."""
    first, *others = stress.primaries(evidence)
    known = evidence.names("stress", "conditions", "metric")
    specificity = [name for name in SPECIFICITY if name in known][:1]
    beside = [*others, *specificity, *(name for name in BESIDE if name in known)]
    changes = [each for each in narrative.stress_changes(evidence, first) if each.defined]
    ranked = sorted(changes, key=lambda each: -each.harm)[:WORST]
    rows = [
        (
            formatting.condition(each.name),
            difference(each),
            p_value(each.p_holm),
            *(value_under(evidence, each.name, name) for name in beside),
        )
        for each in ranked
    ]
    if not ranked:
        return text(
            f"No condition could be compared in {formatting.short(first, evidence.critical)}."
        )
    clean = ("clean", "", "", *(value_under(evidence, "clean", name) for name in beside))
    names = [formatting.short(name, evidence.critical) for name in beside]
    n = count(ranked[0].n)
    caption = (
        f"Conditions of the greatest measured loss of {formatting.short(first, evidence.critical)} "
        f"({len(ranked)} of {len(changes)}), n={n}; beside it, values under the condition"
    )
    columns = ("condition", f"Δ {formatting.short(first, evidence.critical)}", "p (Holm)", *names)
    return table(caption, columns, [*rows, clean])


def value_under(evidence: Results, condition: str, metric: str) -> str:
    """A measure under a condition, with its interval."""
    found = evidence.number("stress", "conditions", condition=condition, metric=metric)
    return estimate(found, 2)


def conditions(evidence: Results) -> Block:
    """The long table of conditions."""
    rows = [
        (
            formatting.condition(str(row["condition"])),
            formatting.short(str(row["metric"]), evidence.critical),
            estimate(number(row)),
            difference(change(row, "delta", name="", ends=("delta_low", "delta_high"))),
            p_value(real(row["p_holm"])),
            count(number(row).rests_on),
        )
        for row in evidence.rows("stress", "conditions")
    ]
    columns = ("condition", "measure", "value (interval)", "Δ (interval)", "p (Holm)", "n")
    return table("Every condition and measure", columns, rows, align="llrrrr")


MOST_REFUSED = 8


def slices_blocks(evidence: Results) -> list[Block]:
    """The largest gaps, what was refused, the forest, and everything in a fold."""
    return [
        gaps(evidence),
        refused(evidence),
        figure("slices", slice_caption(evidence)),
        details("Every slice and measure", slices(evidence)),
    ]


def slice_caption(evidence: Results) -> str:
    """What the forest of slices shows."""
    found = evidence.table("slice", "slices")
    if found.empty:
        return "Every slice was refused."
    defined = found.dropna(subset=["value"])
    wanted = stress.metrics(evidence)
    n = defined[defined["metric"].isin(wanted)]["slice"].nunique()
    some = min(n, stress.MOST_ROWS)
    which = f"{some} of {n} slices, those of the largest gaps" if some < n else f"All {n} slices"
    return (
        f"{which}, with intervals; in brackets n. Filled: differs from the rest after Holm; red: "
        f"worse. Pale: no interval, too many resamples are undefined. Dashed: all of test."
    )


def gaps(evidence: Results) -> Block:
    """The slices of the largest gaps in the primary measure."""
    name = stress.primary(evidence)
    changes = [each for each in narrative.slice_changes(evidence) if each.defined]
    ranked = sorted(changes, key=lambda each: (not each.comparable, -each.harm))[:WORST]
    label = formatting.short(name, evidence.critical)
    if not ranked:
        return text(f"No slice could be compared in {label}.")
    positives = any(each.n_positive is not None for each in ranked)
    rows = [
        (
            each.name,
            estimate(evidence.number("slice", "slices", slice=each.name, metric=name), 2),
            difference(each, 2),
            p_value(each.p_holm),
            count(each.n),
            *((count(each.n_positive),) if positives else ()),
        )
        for each in ranked
    ]
    more = ("positives",) if positives else ()
    columns = ("slice", label, "gap to the rest", "p (Holm)", "n", *more)
    caption = f"Slices of the largest measured gaps in {label}, of {len(changes)} compared"
    return table(caption, columns, rows)


def refused(evidence: Results) -> Block:
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
        note=f"{counted(more, 'more stands', 'more stand')} in plots/slice/refused.csv."
        if more > 0
        else "",
    )


def slices(evidence: Results) -> Block:
    """The long table of slices."""
    rows = [
        (
            str(row["slice"]),
            formatting.short(str(row["metric"]), evidence.critical),
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


def section(context: Context) -> Block | None:
    """Severity, deltas, collapse, slices; as far as there are any."""
    evidence = context.evidence
    stressed, cut = "stress" in evidence.stages, stress.was_cut(evidence)
    if not (stressed or cut):
        return None
    titles = {(True, True): "Stress and slices", (True, False): "Stress"}
    return part(
        titles.get((stressed, cut), "Slices"),
        text(introduction(evidence, stressed=stressed)),
        *(blocks(context) if stressed else ()),
        *(slices_blocks(evidence) if cut else ()),
    )


def introduction(evidence: Results, *, stressed: bool) -> str:
    """What is compared with what."""
    family = "conditions (or slices)" if stress.was_cut(evidence) else "conditions"
    holm = f"p-values are Holm-corrected within each measure over all {family}."
    if not stressed:
        return (
            "Gaps are slice minus the rest of the test role, on the same resamples; p-values are "
            "Holm-corrected within each measure over all slices. Thresholds stay frozen."
        )
    packed = "Corruptions act on the packed test images" if "prepare" in evidence.stages else ""
    where = packed or "Conditions are predictions of the same test images, made elsewhere"
    return (
        f"{where}; nothing is re-tuned, thresholds stay frozen. Differences are condition minus "
        f"clean on the same resamples; {holm}"
    )
