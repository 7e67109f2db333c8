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
    results = context.results
    called = (
        "What is called; a collapse to one class shows here first."
        if results.exclusive
        else "Percent of the images for which each label is called; each label has its own scale "
        "of blue."
    )
    compared, errors = "corruption_error" in quantities(results), errors_table(results)
    return [
        figure("severity", f"Value over severity with {context.level} intervals."),
        *trends(results),
        figure("delta", "Change against clean, with paired intervals."),
        worst(results),
        *([errors] if compared else ()),
        figure("predicted", called),
        details(
            "Every condition and measure", conditions(results), *(() if compared else (errors,))
        ),
    ]


def trends(results: Results) -> Iterator[Block]:
    """Kendall's trend in words, where it is as certain as so few severities allow."""
    rows = results.rows("stress", "trend")
    sentences = [
        narrative.trends(rows, name, results.critical) for name in stress.primaries(results)
    ]
    if any(sentences):
        yield text(" ".join(filter(None, sentences)))


def quantities(results: Results) -> list[str]:
    """Which corruption errors there are; the relative ones need a reference model."""
    return results.names("stress", "corruption_errors", "quantity")


def errors_table(results: Results) -> Block:
    """Corruption errors, mean over severities."""
    known = [name for name in ERRORS if name in quantities(results)]
    rows = [
        (
            formatting.words(corruption),
            *(
                estimate(
                    results.number(
                        "stress", "corruption_errors", corruption=corruption, quantity=name
                    )
                )
                for name in known
            ),
        )
        for corruption in results.names("stress", "corruption_errors", "corruption")
    ]
    beside = "; BE and rBE relative to the reference, 1 is as bad" if len(known) > 1 else ""
    caption = f"Balanced error (1 − balanced accuracy), mean over severities{beside}"  # noqa: RUF001 - a true minus
    return table(caption, ("corruption", *(ERRORS[name] for name in known)), rows)


def worst(results: Results) -> Block:
    """The conditions of the greatest measured loss, with what else changes there."""
    first, *others = stress.primaries(results)
    known = results.names("stress", "conditions", "metric")
    specificity = [name for name in SPECIFICITY if name in known][:1]
    beside = [*others, *specificity, *(name for name in BESIDE if name in known)]
    changes = [each for each in narrative.stress_changes(results, first) if each.defined]
    ranked = sorted(changes, key=lambda each: -each.harm)[:WORST]
    rows = [
        (
            formatting.condition(each.name),
            difference(each),
            p_value(each.p_holm),
            *(value_under(results, each.name, name) for name in beside),
        )
        for each in ranked
    ]
    if not ranked:
        return text(
            f"No condition could be compared in {formatting.short(first, results.critical)}."
        )
    clean = ("clean", "", "", *(value_under(results, "clean", name) for name in beside))
    names = [formatting.short(name, results.critical) for name in beside]
    n = count(ranked[0].n)
    caption = (
        f"Conditions of the greatest measured loss of {formatting.short(first, results.critical)} "
        f"({len(ranked)} of {len(changes)}), n={n}; beside it, values under the condition"
    )
    columns = ("condition", f"Δ {formatting.short(first, results.critical)}", "p (Holm)", *names)
    return table(caption, columns, [*rows, clean])


def value_under(results: Results, condition: str, metric: str) -> str:
    """A measure under a condition, with its interval."""
    found = results.number("stress", "conditions", condition=condition, metric=metric)
    return estimate(found, 2)


def conditions(results: Results) -> Block:
    """The long table of conditions."""
    rows = [
        (
            formatting.condition(str(row["condition"])),
            formatting.short(str(row["metric"]), results.critical),
            estimate(number(row)),
            difference(change(row, "delta", name="", ends=("delta_low", "delta_high"))),
            p_value(real(row["p_holm"])),
            count(number(row).rests_on),
        )
        for row in results.rows("stress", "conditions")
    ]
    columns = ("condition", "measure", "value (interval)", "Δ (interval)", "p (Holm)", "n")
    return table("Every condition and measure", columns, rows, align="llrrrr")


MOST_REFUSED = 8


def slices_blocks(results: Results) -> list[Block]:
    """The largest gaps, what was refused, the forest, and everything in a fold."""
    return [
        gaps(results),
        refused(results),
        figure("slices", slice_caption(results)),
        details("Every slice and measure", slices(results)),
    ]


def slice_caption(results: Results) -> str:
    """What the forest of slices shows."""
    found = results.table("slice", "slices")
    if found.empty:
        return "Every slice was refused."
    defined = found.dropna(subset=["value"])
    wanted = stress.metrics(results)
    n = defined[defined["metric"].isin(wanted)]["slice"].nunique()
    some = min(n, stress.MOST_ROWS)
    which = f"{some} of {n} slices, those of the largest gaps" if some < n else f"All {n} slices"
    return (
        f"{which}, with intervals; in brackets n. Filled: differs from the rest after Holm; red: "
        f"worse. Pale: no interval, too many resamples are undefined. Dashed: all of test."
    )


def gaps(results: Results) -> Block:
    """The slices of the largest gaps in the primary measure."""
    name = stress.primary(results)
    changes = [each for each in narrative.slice_changes(results) if each.defined]
    ranked = sorted(changes, key=lambda each: (not each.comparable, -each.harm))[:WORST]
    label = formatting.short(name, results.critical)
    if not ranked:
        return text(f"No slice could be compared in {label}.")
    positives = any(each.n_positive is not None for each in ranked)
    rows = [
        (
            each.name,
            estimate(results.number("slice", "slices", slice=each.name, metric=name), 2),
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


def refused(results: Results) -> Block:
    """Slices that say nothing, with the reason."""
    rows = [
        (str(row["slice"]), count(row["n"]), count(row["n_positive"]), str(row["reason"]))
        for row in results.rows("slice", "refused")
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


def slices(results: Results) -> Block:
    """The long table of slices."""
    rows = [
        (
            str(row["slice"]),
            formatting.short(str(row["metric"]), results.critical),
            estimate(number(row)),
            difference(change(row, "gap", name="", ends=("gap_low", "gap_high"))),
            p_value(real(row["p_holm"])),
            count(row["n"]),
            count(row["n_positive"]),
        )
        for row in results.rows("slice", "slices")
    ]
    columns = ("slice", "measure", "value", "gap to the rest", "p (Holm)", "n", "positives")
    return table("Every slice and measure", columns, rows, align="llrrrrr")


def section(context: Context) -> Block | None:
    """Severity, deltas, collapse, slices; as far as there are any."""
    results = context.results
    stressed, cut = "stress" in results.stages, stress.was_cut(results)
    if not (stressed or cut):
        return None
    titles = {(True, True): "Stress and slices", (True, False): "Stress"}
    return part(
        titles.get((stressed, cut), "Slices"),
        text(introduction(results, stressed=stressed)),
        *(blocks(context) if stressed else ()),
        *(slices_blocks(results) if cut else ()),
    )


def introduction(results: Results, *, stressed: bool) -> str:
    """What is compared with what."""
    family = "conditions (or slices)" if stress.was_cut(results) else "conditions"
    holm = f"p-values are Holm-corrected within each measure over all {family}."
    if not stressed:
        return (
            "Gaps are slice minus the rest of the test role, on the same resamples; p-values are "
            "Holm-corrected within each measure over all slices. Thresholds stay frozen."
        )
    packed = "Corruptions act on the packed test images" if "prepare" in results.stages else ""
    where = packed or "Conditions are predictions of the same test images, made elsewhere"
    return (
        f"{where}; nothing is re-tuned, thresholds stay frozen. Differences are condition minus "
        f"clean on the same resamples; {holm}"
    )
