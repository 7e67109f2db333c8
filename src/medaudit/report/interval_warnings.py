"""Marks beside numbers to be read with care, and alerts about numbers not to be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from medaudit.report import formatting, narrative
from medaudit.report.blocks import Block, note
from medaudit.report.formatting import (
    MARKS,
    between,
    change,
    count,
    counted,
    difference,
    estimate,
    number,
    percent,
    plain,
    real,
    share,
)
from medaudit.report.formatting import UNDEFINED as NOTHING
from medaudit.stats.bootstrap import FEW_POSITIVE_GROUPS, IntervalParams
from medaudit.stats.intervals import MAX_UNDEFINED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from medaudit.report.results import Results

DIGITS = (1, 2, 3)
"""With how many decimals numbers are printed."""
FEW, UNDEFINED = MARKS["few_positive_groups"], MARKS["undefined_replicates"]


def footnotes(words: Iterable[str], results: Results, stages: Iterable[str]) -> list[str]:
    """What the marks in some words mean, with the numbers of the stages behind them."""
    found = " ".join(words)
    present = [reason for reason, mark in MARKS.items() if mark in found]
    rows = marked_rows(results, stages, found) if present else pd.DataFrame()
    method = interval_method(results)
    return [explanation(reason, rows[rows["caution"] == reason], method) for reason in present]


def explanation(reason: str, rows: pd.DataFrame, method: str) -> str:
    """What one mark means for the numbers that carry it."""
    return few(rows, method) if reason == "few_positive_groups" else incomplete(rows)


def interval_method(results: Results) -> str:
    """The method of the intervals."""
    section = results.params.get("intervals") or {}
    return str(section.get("method", IntervalParams.model_fields["method"].default))


def marked_rows(results: Results, stages: Iterable[str], found: str) -> pd.DataFrame:
    """Rows with a caution in the series of some stages, of which a number is printed."""
    columns = ["caution", "n_positive_groups", "undefined_share"]
    tables = [
        table[[is_printed(row, found) for row in table.to_dict("records")]].reindex(columns=columns)
        for stage in stages
        for table in results.tables(stage).values()
        if "caution" in table
    ]
    held = [table for table in tables if len(table)]
    return pd.concat(held, ignore_index=True) if held else pd.DataFrame(columns=columns)


def is_printed(row: Mapping[Any, Any], found: str) -> bool:
    """Whether a number of a marked row, or its change, stands among the words."""
    if row["caution"] not in MARKS:
        return False
    changes = [
        change(row, name, name="", ends=(f"{name}_low", f"{name}_high"))
        for name in ("delta", "gap")
    ]
    numbers = [show(number(row), digits) for show in (estimate, difference) for digits in DIGITS]
    numbers += [difference(each, digits) for each in changes for digits in DIGITS]
    shown = [*numbers, percent(number(row))]
    return any(each in found for each in shown if each != NOTHING)


HOW_FEW = {
    "adjusted": "the interval is made wider for it, and in simulation errs on the wide side for "
    "most measures",
    "percentile": "plain percentiles are too narrow there in simulation",
    "bca": "BCa intervals are too narrow there in simulation",
}
"""What few groups do to an interval, by the method of `intervals.method`."""


def few(rows: pd.DataFrame, method: str) -> str:
    """Footnote of numbers that rest on few groups."""
    least = rows["n_positive_groups"].min()
    fewest = f", here as few as {count(least)}" if pd.notna(least) else ""
    return (
        f"{FEW} fewer than {FEW_POSITIVE_GROUPS} groups of positives (of negatives for "
        f"a specificity, of the rarest for a mean){fewest}: {HOW_FEW[method]} "
        f"(docs/results/coverage)."
    )


def incomplete(rows: pd.DataFrame) -> str:
    """Footnote of numbers that are undefined in some resamples."""
    if rows.empty:
        return f"{UNDEFINED} some of the resamples lack a class or label and are left out."
    low, high = (share(float(rows["undefined_share"].agg(which))) for which in ("min", "max"))
    which = f"{low}" if low == high else f"between {low} and {high}, by number,"
    return (
        f"{UNDEFINED} {which} of the resamples lack a class or label and are left out; above "
        f"{100 * MAX_UNDEFINED:g} % there is no interval."
    )


def explained(section: Block, results: Results, stages: Iterable[str]) -> Block:
    """A section with its footnotes: below it, and inside every folded part for itself."""
    chosen = tuple(stages)
    blocks = [
        _with_notes(block, results, chosen) if block["kind"] == "details" else block
        for block in section["blocks"]
    ]
    open_ones = [block for block in blocks if block["kind"] != "details"]
    notes = footnotes(strings(open_ones), results, chosen)
    return {**section, "blocks": [*blocks, *map(note, notes)]}


def _with_notes(block: Block, results: Results, stages: tuple[str, ...]) -> Block:
    notes = footnotes(strings(block), results, stages)
    return {**block, "blocks": [*block["blocks"], *map(note, notes)]}


def strings(value: Any) -> Iterator[str]:
    """Every word in nested lists and dicts."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from strings(each)


TOO_GOOD = 0.995
RANKS_WELL, FINDS_NOTHING = 0.8, 0.05
FEW_POSITIVES = 20


def alerts(results: Results, expected: Mapping[str, tuple[float, float]]) -> list[str]:
    """Everything that a reader should look into before believing the rest.

    Args:
        results: what the stages found.
        expected: for each measure the range outside which the result would be a surprise.
    """
    return [
        *too_good(results),
        *contradictions(results),
        *surprises(results, expected),
        *specificity(results),
        *few_positives(results),
        *leaks(results),
    ]


def too_good(results: Results) -> Iterator[str]:
    """A nearly perfect score is more often a leak than a triumph."""
    found = results.measure("macro_auroc")
    if found.value > TOO_GOOD:
        yield f"Macro AUROC {estimate(found)} is too good to be believed: check for leakage."


def contradictions(results: Results) -> Iterator[str]:
    """A class that ranks well but is never found: the wrong score or threshold is used."""
    for name in results.classes:
        auroc, found = (results.of_class(name, metric) for metric in ("auroc", "sensitivity"))
        if auroc.value > RANKS_WELL and found.value < FINDS_NOTHING:
            yield (
                f"{name}: AUROC {plain(auroc.value)} with sensitivity {plain(found.value)} at its "
                f"frozen threshold contradict each other: check the score and the threshold."
            )


def surprises(results: Results, expected: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    """Values outside of what comparable studies report."""
    for name, (low, high) in expected.items():
        found = results.measure(name)
        if found.defined and not low <= found.value <= high:
            yield (
                f"{formatting.metric(name, results.critical)} {estimate(found)} is outside of "
                f"{low:g} to {high:g}, where comparable studies lie."
            )


def specificity(results: Results) -> Iterator[str]:
    """The operating point did not carry over, beyond what sampling of both roles explains."""
    found = results.measure("critical_specificity")
    low, high = narrative.expected_specificity(results)
    if found.defined and not low <= found.value <= high and low <= high:
        yield (
            f"The frozen threshold of {results.critical} realises specificity {estimate(found)} "
            f"(n={count(found.n_positive)}), outside of {between(low, high)}, where sampling "
            f"leaves 95 of 100 thresholds that are chosen for {results.points.specificity:g}; "
            f"sensitivity there is {estimate(results.measure('critical_sensitivity'))}."
        )


def few_positives(results: Results) -> Iterator[str]:
    """Classes whose numbers rest on a handful of images."""
    rows = results.rows("evaluate", "per_class", metric="auroc")
    few = [r for r in rows if real(r["n_positive"]) < FEW_POSITIVES]
    if few:
        names = ", ".join(f"{row['class']} ({count(row['n_positive'])})" for row in few)
        yield (
            f"Fewer than {FEW_POSITIVES} positive test images: {names}; their intervals are wide."
        )


def leaks(results: Results) -> Iterator[str]:
    """Groups that stand in two roles."""
    if results.groups_in_two_roles:
        n = len(results.groups_in_two_roles)
        stand = counted(n, "group stands", "groups stand")
        yield f"{stand} in two roles: the test role has been seen in training."
