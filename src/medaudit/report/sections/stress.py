"""Section 4: corruptions, shifts and slices."""

from __future__ import annotations

from typing import TYPE_CHECKING

from medaudit.report import comparisons, formatting, style
from medaudit.report.blocks import Block, details, figure, table, text, told
from medaudit.report.blocks import section as part
from medaudit.report.comparisons import EXPLORATORY, Comparison
from medaudit.report.figures import stress
from medaudit.report.formatting import (
    change,
    changed,
    count,
    counted,
    difference,
    estimate,
    number,
    p_value,
    real,
    word,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from medaudit.report.blocks import Context
    from medaudit.report.results import Results

WORST = 6
BESIDE = ("macro_auroc", "mean_confidence", "majority_share")
ERRORS = {
    "balanced_error": "balanced error",
    "corruption_error": "corruption error (BE)",
    "relative_corruption_error": "relative (rBE)",
}


def blocks(context: Context) -> list[Block]:
    """Severity, changes, the greatest losses, errors beside a reference, collapse."""
    results = context.results
    called = (
        "What is called; a collapse to one class shows here first."
        if results.exclusive
        else "Percent of the images for which each label is called; each label has its own scale "
        "of blue."
    )
    compared, errors = "corruption_error" in quantities(results), errors_table(results)
    return [
        figure("delta", f"What each condition changes; severities from top to bottom. {KEY}"),
        worst(results),
        *([errors] if compared else ()),
        details(
            "Values over severity, and what is called",
            figure("severity", f"Value over severity with marginal {context.level} intervals."),
            figure("predicted", called),
        ),
        details(
            "Every condition and measure", conditions(results), *(() if compared else (errors,))
        ),
    ]


KEY = (
    "Left of 0 is worse. Orange and filled: shown to be worse; blue and filled: better, or within "
    "the margin (dotted); grey and hollow: undecided. Bars: simultaneous intervals where "
    "tested together; ticks: the least loss that could have been seen."
)


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
    """The conditions of the greatest loss in the leading measures, and what else changes there."""
    names = comparisons.leading(results, "stress")
    measured = {
        name: {each.name: each for each in worst_of(comparisons.of_conditions(results, name))}
        for name in names
    }
    ranked = comparisons.by_harm(*(list(each.values()) for each in measured.values()))
    if not ranked:
        return text("No condition could be compared with clean.")
    known = results.names("stress", "conditions", "metric")
    beside = [name for name in BESIDE if name in known and name not in names]
    rows = [
        (
            formatting.condition(name),
            *(cell for each in measured.values() for cell in change_cells(each.get(name))),
            *(value_under(results, name, metric) for metric in beside),
        )
        for name in ranked[:WORST]
    ]
    clean = (
        "clean, the value",
        *(
            cell
            for name in names
            for cell in (value_under(results, "clean", name, in_full=True), "")
        ),
        *(value_under(results, "clean", metric) for metric in beside),
    )
    heads = heads_of(results, names, "Δ", "verdict")
    caption = (
        f"Conditions of the greatest loss ({len(rows)} of {len(ranked)}; "
        f"{', '.join(rests_on(results, name, measured[name]) for name in names)}), shown ones first"
    )
    more = [formatting.short(name, results.critical) for name in beside]
    align = "l" + "rl" * len(names) + "r" * len(beside)
    return table(caption, ("condition", *heads, *more), [*rows, clean], align=align)


def heads_of(results: Results, names: Sequence[str], start: str, *more: str) -> list[str]:
    """Headings of measures with their unit, and of what stands beside each of them."""
    return [
        head
        for name in names
        for head in (
            f"{start} {formatting.short(name, results.critical)}{stress.unit(name)}",
            *more,
        )
    ]


def worst_of(changes: Sequence[Comparison]) -> list[Comparison]:
    """One comparison per condition or slice, of the class or label of the greatest harm."""
    return comparisons.worst_outputs([each for each in changes if each.defined])


def change_cells(each: Comparison | None) -> tuple[str, str]:
    """A change with its interval, and its verdict."""
    if each is None:
        return "", ""
    whose = f" {each.output}" if each.output else ""
    return f"{changed(each, each.metric)}{whose}", each.said


def rests_on(results: Results, metric: str, found: dict[str, Comparison]) -> str:
    """How many cases a leading measure rests on."""
    name = formatting.short(metric, results.critical)
    first = next(iter(found.values()), None)
    if first is None:
        return f"{name}: none"
    # Labels differ in how many cases they have.
    rests = first.n if first.output else first.rests_on
    return f"{name} n={count(rests)} images"


def value_under(results: Results, condition: str, metric: str, *, in_full: bool = False) -> str:
    """A measure under a condition with its interval; nothing where it is of several outputs."""
    rows = results.rows("stress", "conditions", condition=condition, metric=metric)
    if in_full and len(rows) != 1:
        return ""
    return estimate(number(rows[0]) if rows else formatting.Number(), 2)


def conditions(results: Results) -> Block:
    """The long table of conditions."""
    least = comparisons.least_p(results)
    rows = [
        (
            formatting.condition(str(row["condition"])),
            measure_of(row, results),
            estimate(number(row)),
            difference(change(row, "delta", name="", ends=("delta_low", "delta_high"))),
            word(row["interval"]),
            comparisons.verdict(row),
            p_value(real(row["p_adjusted"]), least=least),
            count(number(row).rests_on),
        )
        for row in results.rows("stress", "conditions")
    ]
    columns = (
        *("condition", "measure", "value (interval)", "Δ (interval)", "interval of Δ"),
        *("verdict", "p, family", "n"),
    )
    return table("Every condition and measure", columns, rows, align="llrrllrr")


def measure_of(row: dict[str, object], results: Results) -> str:
    """A measure with the class or label that it is of."""
    metric, output = str(row["metric"]), word(row["output"])
    name = formatting.short(metric, results.critical)
    return f"{name} of {output}" if output and not metric.startswith("critical_") else name


def slices_blocks(results: Results) -> list[Block]:
    """The largest gaps, what was refused, the forest, and everything in a fold."""
    return [
        gaps(results),
        figure("slices", slice_caption(results)),
        text(left_out(results)),
        details("Every slice and measure", slices(results), *refused(results)),
    ]


def slice_caption(results: Results) -> str:
    """What the forest of slices shows."""
    found = results.table("slice", "slices")
    if found.empty:
        return "Every slice was refused."
    wanted = comparisons.leading(results, "slice")
    defined = found.dropna(subset=["gap"])
    n = defined[defined["metric"].isin(wanted)]["slice"].nunique()
    some = min(n, stress.MOST_ROWS)
    which = f"{some} of {n} slices, those of the greatest harm" if some < n else f"All {n} slices"
    rests = "images behind the panels"
    return f"{which}; * named beforehand, the others exploratory; n: {rests}. {KEY}"


def gaps(results: Results) -> Block:
    """The slices of the greatest harm: those named beforehand first."""
    names = comparisons.leading(results, "slice")
    measured = {
        name: {each.name: each for each in worst_of(comparisons.of_slices(results, name))}
        for name in names
    }
    ranked = stress.ordered_slices([list(each.values()) for each in measured.values()])
    if not ranked:
        return text("No slice could be compared with the rest of the test role.")
    rows = [
        (
            titled(next(each[name] for each in measured.values() if name in each)),
            *(cell for each in measured.values() for cell in gap_cells(each.get(name))),
        )
        for name in ranked[:WORST]
    ]
    heads = heads_of(results, names, "gap in", "verdict", "n")
    caption = (
        f"Slices of the greatest harm ({len(rows)} of {len(ranked)}), those named beforehand "
        f"first; n: images that the measure rests on{pooled(measured.values())}"
    )
    return table(caption, ("slice", *heads), rows, align="l" + "rlr" * len(names))


def pooled(measured: Iterable[Mapping[str, Comparison]]) -> str:
    """Which of the measures count images of the calibration role as well."""
    found = {each.metric: each for changes in measured for each in changes.values() if each.pooled}
    names = [formatting.words(name).removeprefix("critical ") for name in found]
    return f", for {' and '.join(names)} those of calibration counted in" if names else ""


def titled(each: Comparison) -> str:
    """A slice in words, and whether it was looked for or found."""
    return f"{each.words} (exploratory)" if each.family == EXPLORATORY else each.words


def gap_cells(each: Comparison | None) -> tuple[str, str, str]:
    """A gap with its interval, its verdict, and the cases behind it."""
    return ("", "", "") if each is None else (*change_cells(each), count(each.rests_on))


def left_out(results: Results) -> str:
    """How many slices or measures say nothing."""
    n = len(results.rows("slice", "refused"))
    gone = len(style.left_out(results.table("slice", "slices")))
    were_gone = counted(gone, "measure of a slice is", "measures of slices are")
    few = f" {were_gone} left out as small cells." if gone else ""
    if not n:
        return f"No slice was refused.{few}"
    were = counted(n, "slice or measure of one was", "slices or measures of them were")
    return f"{were} refused; plots/slice/refused.csv says why.{few}"


def refused(results: Results) -> list[Block]:
    """Slices that say nothing, with the reason."""
    rows = [
        (str(row["slice"]), told(row, "n"), told(row, "n_positive"), str(row["reason"]))
        for row in results.rows("slice", "refused")
    ]
    heads = ("slice", "n", "positives", "reason")
    caption = f"Refused slices or measures ({len(rows)})"
    return [table(caption, heads, rows, align="lrrl", widths=(2.2, 0.5, 0.8, 6))] if rows else []


def slices(results: Results) -> Block:
    """The long table of slices."""
    least = comparisons.least_p(results)
    rows = [
        (
            word(row["words"]) or str(row["slice"]),
            measure_of(row, results),
            estimate(number(row)),
            difference(change(row, "gap", name="", ends=("gap_low", "gap_high"))),
            word(row["interval"]),
            word(row["family"]),
            comparisons.verdict(row),
            p_value(real(row["p_adjusted"]), least=least),
            count(row["n"]),
            count(row["n_positive"]),
        )
        for row in results.rows("slice", "slices")
    ]
    columns = (
        *("slice", "measure", "value", "gap to the rest", "interval of gap", "family", "verdict"),
        *("p, family", "n", "positives"),
    )
    return table("Every slice and measure", columns, rows, align="llrrlllrrr")


def section(context: Context) -> Block | None:
    """Changes, severity, collapse, slices; as far as there are any."""
    results = context.results
    stressed, cut = "stress" in results.stages, stress.was_cut(results)
    if not (stressed or cut):
        return None
    titles = {(True, True): "Stress and slices", (True, False): "Stress"}
    return part(
        titles.get((stressed, cut), "Slices"),
        text(introduction(results, stressed=stressed)),
        text(verdicts(context)),
        *(blocks(context) if stressed else ()),
        *(slices_blocks(results) if cut else ()),
    )


def introduction(results: Results, *, stressed: bool) -> str:
    """What is compared with what."""
    gap = "Gaps are slice minus the rest of the test role. " if stress.was_cut(results) else ""
    if not stressed:
        return f"{gap}Thresholds stay frozen."
    packed = "Corruptions act on the packed test images" if "prepare" in results.stages else ""
    where = packed or "Conditions are predictions of the same test images, made elsewhere"
    return (
        f"{where}; nothing is re-tuned, thresholds stay frozen. Differences are condition minus "
        f"clean on the same images. {gap}"
    ).rstrip()


def verdicts(context: Context) -> str:
    """What the four verdicts mean, and which interval is which."""
    explored = (
        "Slices that nobody named beforehand are exploratory: judged each by itself with the false "
        "discovery rate controlled (Benjamini and Hochberg), to be confirmed on other data. "
        if EXPLORATORY in context.results.names("slice", "slices", "family")
        else ""
    )
    return (
        f"Worse or better is what a family of comparisons shows jointly (step-down max-T, an error "
        f"of {error(context)} on each side for the whole family). The margin is the harm that was "
        f"set as too small to matter{margins(context.results)}. Within the margin: the interval of "
        f"the harm ends below it, be the harm shown or not. Undecided: neither; what could have "
        f"been seen is what would have been called with a power of 80 %. "
        f"{standardised(context.results)}{explored}Simultaneous intervals, of "
        f"differences that are tested jointly: each end holds at {context.level} for the whole "
        f"family. All other intervals are marginal: each holds by itself."
    )


def margins(results: Results) -> str:
    """The margins that were set, by stage."""
    known = {
        stage: found["margin"].max()
        for stage, name in TABLES
        if "margin" in (found := results.table(stage, name))
    }
    each = [f"{stage}.margin {value:g}" for stage, value in known.items() if value > 0]
    return f" ({', '.join(each)})" if each else ""


def standardised(results: Results) -> str:
    """What the standardised accuracy is, where it was measured."""
    known = (results.names(stage, name, "metric") for stage, name in TABLES)
    if not any("standardised_accuracy" in names for names in known):
        return ""
    return "Standardised accuracy weighs the recall of every class as the test role mixes them. "


TABLES = (("stress", "conditions"), ("slice", "slices"))


def error(context: Context) -> str:
    """One minus the level, in percent."""
    return f"{100 - float(context.level.removesuffix(' %')):g} %"
