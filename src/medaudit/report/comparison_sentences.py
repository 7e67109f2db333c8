"""Sentences on families of comparisons, and on what was found without having been named.

What falls, what rises, what is undecided and why. Sensitivity is never told without specificity: a
sentence has a clause for each of them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from medaudit.audits.discovery import CONFIRMED
from medaudit.audits.role_drift import DIFFER
from medaudit.audits.shortcuts import ALARM, NOTHING
from medaudit.report import comparisons, formatting
from medaudit.report.comparisons import BETTER, UNDECIDED, WITHIN, WORSE, Comparison
from medaudit.report.formatting import (
    amount,
    count,
    counted,
    estimate,
    plain,
    real,
    share,
    sized,
    with_ends,
    word,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from medaudit.report.results import Results

STRESS, SLICE = "stress", "slice"
NAMES = {
    "critical_sensitivity": "sensitivity for {critical}",
    "critical_specificity": "specificity",
    "standardised_accuracy": "standardised accuracy",
    "exact_match": "exact match (no label wrong)",
    "macro_auroc": "macro AUROC",
}
"""Measures inside a sentence; specificity stands beside the sensitivity for the class."""


@dataclass(frozen=True)
class Wording:
    """How one kind of comparison is told.

    Attributes:
        noun: one comparison, and many.
        falls: what a harm does.
        rises: what a gain does.
        harm: a harm as a noun, one and many.
        place: word before a condition or slice.
        start: words before the first sentence.
        output: what an output of the model is called.
    """

    noun: tuple[str, str]
    falls: str
    rises: str
    harm: tuple[str, str]
    place: str
    start: str = ""
    output: str = "class"


OF_STRESS = Wording(
    noun=("condition", "conditions"),
    falls="falls",
    rises="rises",
    harm=("fall", "falls"),
    place="under",
    start="Against clean, ",
)
OF_SLICES = Wording(
    noun=("slice", "slices"),
    falls="is lower than in the rest of the test role",
    rises="is higher than in the rest",
    harm=("gap", "gaps"),
    place="in",
)


@dataclass(frozen=True)
class Measured:
    """The comparisons of one measure that are told together."""

    metric: str
    changes: tuple[Comparison, ...]

    @property
    def tested(self) -> int:
        """How many the audit decided on."""
        return sum(each.tested for each in self.changes)

    def of(self, verdict: str) -> list[Comparison]:
        """Those of one verdict, the greatest harm first."""
        return comparisons.with_verdict(self.changes, verdict)


def stress(results: Results) -> list[str]:
    """What the conditions do to the leading measures, and to those of the whole."""
    found = _paragraphs(results, STRESS, OF_STRESS)
    return found or ["No condition could be compared with clean: too few cases for an interval."]


def slices(results: Results) -> list[str]:
    """Which slices are worse: those named beforehand first, then the exploratory ones."""
    told = [
        _paragraphs(results, SLICE, _slice_wording(family), family=family)
        for family in (comparisons.CONFIRMATORY, comparisons.EXPLORATORY)
    ]
    found = [paragraph for paragraphs in told for paragraph in paragraphs]
    if not found:
        return ["No slice is large enough to be compared with the rest of the test role."]
    missing = [measured(results, SLICE, name) for name in comparisons.leading(results, SLICE)]
    return [*found, *filter(None, [_untested(missing, str(results.critical))])]


def _slice_wording(family: str) -> Wording:
    start = "To be confirmed on other data: " if family == comparisons.EXPLORATORY else ""
    noun = (f"{family} slice", f"{family} slices")
    return Wording(noun, OF_SLICES.falls, OF_SLICES.rises, OF_SLICES.harm, OF_SLICES.place, start)


def _paragraphs(results: Results, stage: str, wording: Wording, *, family: str = "") -> list[str]:
    """One paragraph for the leading measures together, and one for each of the others.

    Args:
        results: what the stages found.
        stage: `stress` or `slice`.
        wording: how its comparisons are told.
        family: only these slices; all comparisons if empty.
    """
    wording = replace(wording, output=results.nouns[0])
    lead = comparisons.leading(results, stage)
    alone = comparisons.others(results, stage)
    groups = [lead] if comparisons.pair(results, stage) else [[name] for name in lead]
    found = [
        sentences(
            [measured(results, stage, name, family=family) for name in names],
            wording,
            str(results.critical),
        )
        for names in [*groups, *([name] for name in alone)]
    ]
    return [" ".join(each) for each in found if each]


def measured(results: Results, stage: str, metric: str, *, family: str = "") -> Measured:
    """The comparisons of one measure, of one family if asked; the untested belong to none."""
    changes = comparisons.compared(results, stage, metric)
    return Measured(metric, tuple(each for each in changes if family in ("", each.family)))


def sentences(measures: Sequence[Measured], wording: Wording, critical: str) -> list[str]:
    """One idea each, with a clause per measure; nothing where nothing was compared."""
    known = [each for each in measures if each.tested]
    if not known:
        return []
    made = (
        _shown(known, wording, critical),
        _largest(known, wording, critical),
        _gains(known, wording, critical),
        _within(known, wording, critical),
        _undecided(known, wording, critical),
        _untested(measures, critical),
    )
    return [each for each in made if each]


def name_of(metric: str, critical: str) -> str:
    """A measure inside a sentence."""
    return NAMES.get(metric, formatting.words(metric)).format(critical=critical)


def _noun(measure: Measured, wording: Wording, n: int) -> str:
    one, many = wording.noun
    if any(each.output for each in measure.changes):
        beside = f"and {wording.output}"
        one, many = f"pair of {one} {beside}", f"pairs of {one} {beside}"
    return one if n == 1 else many


def _shown(measures: Sequence[Measured], wording: Wording, critical: str) -> str:
    names = [name_of(each.metric, critical) for each in measures]
    how_many = [
        f"{count(len(each.of(WORSE)))} of {count(each.tested)} "
        f"{_noun(each, wording, each.tested) if i == 0 else ''}"
        for i, each in enumerate(measures)
    ]
    return sentence(f"{wording.start}{_moved(names, wording.falls, how_many)}")


def _moved(names: Sequence[str], verb: str, how_many: Sequence[str]) -> str:
    """`sensitivity falls in 3 of 9 conditions and specificity in 1 of 9`."""
    clauses = [f"{name} in {n}" for name, n in zip(names, how_many, strict=True)]
    clauses[0] = f"{names[0]} {verb} in {how_many[0]}"
    return listed(clauses)


def _largest(measures: Sequence[Measured], wording: Wording, critical: str) -> str:
    """The greatest harm among those shown; its interval allows for the choice."""
    worst = [(each, largest(each.of(WORSE))) for each in measures if each.of(WORSE)]
    if not worst:
        return ""
    names = [_of(each, critical) if len(measures) > 1 else "" for each, _ in worst]
    clauses = [
        _named(change, wording, name, critical)
        for name, (_, change) in zip(names, worst, strict=True)
    ]
    one, many = wording.harm
    start = f"The largest {one} shown is" if len(worst) == 1 else f"The largest {many} shown are"
    return sentence(f"{start} {listed(clauses)}")


def largest(shown: Sequence[Comparison]) -> Comparison:
    """The comparison of the greatest harm, after what allows for choosing it."""
    return max(shown, key=lambda each: each.corrected.value)


def _of(measure: Measured, critical: str) -> str:
    return f" of {name_of(measure.metric, critical).removesuffix(f' for {critical}')}"


def _named(change: Comparison, wording: Wording, of: str, critical: str) -> str:
    after = "" if change.corrected == change.harm else " after shrinkage"
    whose = f" for {change.output}" if change.output else ""
    return (
        f"{sized(change.corrected, change.metric)}{after}{of}{whose} "
        f"{wording.place} {change.words} ({change.behind(critical)})"
    )


def _gains(measures: Sequence[Measured], wording: Wording, critical: str) -> str:
    found = [len(each.of(BETTER)) for each in measures]
    if not any(found):
        return ""
    names = [_of(each, critical).removeprefix(" of ") for each in measures]
    return sentence(_moved(names, wording.rises, [count(n) for n in found]))


def _within(measures: Sequence[Measured], wording: Wording, critical: str) -> str:
    """What is shown to be smaller than the margin, be it shown to be a harm as well or not."""
    held = [each.of(WITHIN) for each in measures]
    small = [[change for change in each.of(WORSE) if change.small] for each in measures]
    known = [change for changes in (*held, *small) for change in changes]
    if not known:
        return ""
    margin = amount(known[0].margin, known[0].metric)
    more = (
        f"; of the {wording.harm[1]} shown, {_several(measures, small, critical)} "
        f"{_lie(small)} within it too"
    )
    return sentence(
        f"Within the margin of {margin} {_lie(held)} {_several(measures, held, critical)}"
        f"{more if any(small) else ''}"
    )


def _lie(changes: Sequence[Sequence[Comparison]]) -> str:
    return "lies" if sum(map(len, changes)) == 1 else "lie"


def _several(
    measures: Sequence[Measured],
    changes: Sequence[Sequence[Comparison]],
    critical: str,
    after: Sequence[str] = (),
) -> str:
    """How many comparisons of each measure, and of what where several measures are told.

    Args:
        measures: told together.
        changes: the comparisons of each of them.
        critical: the critical class.
        after: words behind each count; none by default.
    """
    named = [_of(each, critical) if len(measures) > 1 else "" for each in measures]
    ends = after or [""] * len(measures)
    return listed(
        [
            f"{count(len(each))}{name}{end}"
            for each, name, end in zip(changes, named, ends, strict=True)
        ]
    )


def _undecided(measures: Sequence[Measured], wording: Wording, critical: str) -> str:
    """What is not decided, and what could have been seen."""
    found = [each.of(UNDECIDED) for each in measures]
    if not any(found):
        return ""
    seen = [_seen(held, wording) for held in found]
    are = "is" if sum(map(len, found)) == 1 else "are"
    return sentence(f"Undecided {are} {_several(measures, found, critical, seen)}")


def _seen(held: Sequence[Comparison], wording: Wording) -> str:
    if not held:
        return ""
    seen = comparisons.could_be_seen(held, wording.harm)
    return f" ({seen or 'what could have been seen is unknown'})"


def _untested(measures: Sequence[Measured], critical: str) -> str:
    found = [each.of("") for each in measures]
    if not any(found):
        return ""
    have = "has" if sum(map(len, found)) == 1 else "have"
    return sentence(f"Too few cases for an interval {have} {_several(measures, found, critical)}")


def listed(clauses: Sequence[str]) -> str:
    """Clauses joined by commas and a last `and`.

    >>> listed(["a", "b", "c"])
    'a, b and c'
    """
    *first, last = clauses
    return f"{', '.join(first)} and {last}" if first else last


def sentence(words: str) -> str:
    """With a capital, a full stop, and no doubled spaces."""
    plain = " ".join(words.split())
    return f"{plain[0].upper()}{plain[1:]}."


SIDES = {"missed": ("misses", "against"), "false_alarm": ("false alarms", "for")}
"""Kinds of error, in words, and what the property says of the class where they are counted."""
SIDE_HAS = {"missed": "with", "false_alarm": "without"}
"""Which images can be wrong so: those with the class, or those without it."""
MOST_ALARMS = 6


def unnamed(results: Results) -> str:
    """What was found by search, as far as it is confirmed or alarms."""
    found = (_discovered(results), _shortcuts(results), _roles(results))
    return " ".join(filter(None, found))


def _discovered(results: Results) -> str:
    rows = results.rows("slice", "discovered")
    confirmed = [row for row in rows if row["verdict"] == CONFIRMED]
    if not confirmed:
        return ""
    row = max(confirmed, key=lambda each: real(each["gap"]))
    gap = with_ends(row, "gap")
    are = "is" if len(confirmed) == 1 else "are"
    return (
        f"Of {counted(len(rows), 'slice', 'slices')} that a search found on other roles, not named "
        f"beforehand, {count(len(confirmed))} {are} confirmed on test; the largest gap "
        f"({row['error']}) is {sized(gap, 'accuracy')} in {row['slice']} "
        f"(n={count(row['n'])} images{_who(str(row['error']))})."
    )


def _who(error: str) -> str:
    """Of which images an error is one: only those with mel can be a missed mel."""
    for start, side in (("missed ", "with"), ("false alarm of ", "without")):
        if error.startswith(start):
            return f" {side} {error.removeprefix(start)}"
    return ""


def _shortcuts(results: Results) -> str:
    rows = results.rows("slice", "shortcuts")
    together = sum(row["verdict"] != NOTHING for row in rows)
    alarms = [row for row in rows if row["verdict"] == ALARM]
    if not alarms:
        return ""
    return (
        f"Of {counted(len(rows), 'pair', 'pairs')} of property and class, {count(together)} go "
        f"together in training and {count(len(alarms))} "
        f"{'raises' if len(alarms) == 1 else 'raise'} a shortcut alarm, first "
        f"{alarms[0]['property']} for {alarms[0]['class']}."
    )


def _roles(results: Results) -> str:
    rows = [row for row in results.rows("slice", "role_drift") if row["verdict"] == DIFFER]
    # Embeddings of fitted images differ without any drift.
    named = [
        f"{row['comparison']} by {row['features']} (AUROC {plain(real(row['auroc']))}, by chance "
        f"up to {plain(real(row['chance_high']))})"
        for row in rows
        if not word(row["caution"])
    ]
    return f"Roles are told apart: {listed(named)}." if named else ""


def shortcut_alert(results: Results) -> str:
    """The first shortcut alarm with the errors that follow it, and the names of the others."""
    alarms = [r for r in results.rows("slice", "shortcuts") if r["verdict"] == ALARM]
    if not alarms:
        return ""
    # Of a side that is left out as a small cell, nothing can be told.
    alarms.sort(key=lambda each: all(math.isnan(real(each[f"{name}_gap"])) for name in SIDES))
    row, *others = alarms
    association = with_ends(row, "association")
    side = min(SIDES, key=lambda name: _or_one(row[f"{name}_p_adjusted"]))
    named = f"{row['property']} goes with {row['class']} in training"
    if math.isnan(real(row[f"{side}_gap"])):
        return f"Shortcut alarm: {named}; the errors that follow it are left out as few images."
    gap = with_ends(row, f"{side}_gap")
    errors, speaks = SIDES[side]
    names = [f"{each['property']} for {each['class']}" for each in others[:MOST_ALARMS]]
    more = len(others) - len(names)
    rest = [*names, *([f"{count(more)} more"] if more else ())]
    return (
        f"Shortcut alarm: {named} (AUROC "
        f"{estimate(association)}), and {errors} follow it: "
        f"{share(real(row[f'{side}_inside']))} where it speaks {speaks} {row['class']} "
        f"(n={count(row[f'{side}_n'])} images {SIDE_HAS[side]} it), "
        f"{share(real(row[f'{side}_expected']))} in the rest, a gap of "
        f"{sized(gap, 'accuracy')}{_other_side(row, side)}"
        f"{f'; also {listed(rest)}' if rest else ''}."
    )


def _other_side(row: Mapping[str, Any], side: str) -> str:
    """The gap of the other kind of error, so that no one is told of misses alone."""
    (other,) = set(SIDES) - {side}
    gap, (errors, speaks) = with_ends(row, f"{other}_gap"), SIDES[other]
    if not math.isfinite(gap.low):
        return ""
    return f"; of {errors} where it speaks {speaks} it, {sized(gap, 'accuracy')}"


def _or_one(value: object) -> float:
    return real(value) if real(value) >= 0 else 1.0
