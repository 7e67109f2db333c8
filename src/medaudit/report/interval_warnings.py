"""Marks beside numbers to be read with care, and alerts about numbers not to be believed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from medaudit.report import comparison_sentences, formatting, narrative
from medaudit.report.blocks import Block, note
from medaudit.report.formatting import (
    MARKS,
    Number,
    behind,
    between,
    change,
    changed,
    count,
    counted,
    difference,
    estimate,
    number,
    percent,
    plain,
    real,
    share,
    word,
)
from medaudit.report.formatting import UNDEFINED as NOTHING
from medaudit.stats.bootstrap import IntervalParams
from medaudit.stats.intervals import (
    FEW_DECIDING,
    FEW_DECIDING_OF_CHANGE,
    FEW_POSITIVE_GROUPS,
    MAX_UNDEFINED,
)

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
    if reason == "few_positive_groups":
        return few(rows, method)
    return incomplete(rows) if reason == "undefined_replicates" else WORDS[reason]


WORDS = {
    "few_deciding_groups": (
        f"{MARKS['few_deciding_groups']} fewer than {FEW_DECIDING} groups, counted by their "
        f"weight, make this number, or fewer than {FEW_DECIDING_OF_CHANGE} this change: in "
        f"simulation its interval is too narrow (docs/results/coverage)."
    ),
    "no_interval": (
        f"{MARKS['no_interval']} no interval: all resamples agree, too many of them lack a class "
        f"or label, or the measure (such as ECE) is raised by noise alone."
    ),
}


def interval_method(results: Results) -> str:
    """The method of the intervals."""
    section = results.params.get("intervals") or {}
    return str(section.get("method", IntervalParams.model_fields["method"].default))


def marked_rows(results: Results, stages: Iterable[str], found: str) -> pd.DataFrame:
    """Cautions of the series of some stages of which a number is printed, a row each."""
    columns = ["caution", "n_positive_groups", "undefined_share"]
    rows = [
        held
        for stage in stages
        for table in results.tables(stage).values()
        if "caution" in table
        for row in table.to_dict("records")
        for held in printed_cautions(row, found)
    ]
    return pd.DataFrame(rows, columns=columns)


def printed_cautions(row: Mapping[Any, Any], found: str) -> Iterator[dict[str, Any]]:
    """The cautions of a row's value and of its change, each if it stands among the words."""
    if not {word(row["caution"]), word(row.get("change_caution"))} & set(MARKS):
        return
    counts = {"n_positive_groups": row.get("n_positive_groups")}
    if row["caution"] in MARKS and printed(number(row), found):
        share_left_out = row.get("undefined_share")
        yield {"caution": row["caution"], **counts, "undefined_share": share_left_out}
    for name in ("delta", "gap"):
        each = change(row, name, name="", ends=(f"{name}_low", f"{name}_high"))
        if each.caution in MARKS and printed(each, found):
            # The groups of a gap may be few outside of the slice alone.
            few_here = real(row.get("n_positive_groups")) < FEW_POSITIVE_GROUPS
            yield {"caution": each.caution, **(counts if few_here else {})}


def printed(each: Number, found: str) -> bool:
    """Whether a number stands among the words, in any of the ways it may be printed."""
    shown = [show(each, digits) for show in (estimate, difference) for digits in DIGITS]
    shown += [changed(each, "accuracy"), percent(each)]
    return any(words in found for words in shown if words != NOTHING)


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
    if rows["undefined_share"].isna().all():
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
        *filter(None, [comparison_sentences.shortcut_alert(results)]),
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
            f"({behind(found, 'specificity', results.critical)}), outside of "
            f"{between(low, high)}, where sampling leaves 95 of 100 thresholds that are chosen for "
            f"{results.points.specificity:g}; sensitivity there is "
            f"{estimate(results.measure('critical_sensitivity'))}."
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
