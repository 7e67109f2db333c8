"""Conditions against clean and slices against the rest, with what the audits decided of each."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from medaudit.core.cell_rules import COLUMN
from medaudit.report import formatting
from medaudit.report.formatting import Number, amount, number, real, whole, word

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from medaudit.report.results import Results

WORSE, BETTER, WITHIN, UNDECIDED = "worse", "better", "within_margin", "undecided"
VERDICTS = {
    WORSE: "worse",
    BETTER: "better",
    WITHIN: "within the margin",
    UNDECIDED: "undecided",
    "": "",
}
"""Verdicts as the tables hold them, and as people read them."""
CONFIRMATORY, EXPLORATORY = "confirmatory", "exploratory"
SIMULTANEOUS = "simultaneous"
PAIRS = (("critical_sensitivity", "critical_specificity"), ("sensitivity", "specificity"))
"""Measures that are only told together; the first pair that was tested leads."""
ALONE = ("standardised_accuracy", "exact_match", "macro_auroc")
"""Measures of the whole that are told by themselves."""


@dataclass(frozen=True)
class Comparison(Number):
    """A change against clean, or a gap to the rest; `value` is the signed difference.

    Attributes:
        name: condition or slice as the table names it.
        metric: measure that is compared.
        output: class or label that the measure is of; empty for a measure of the whole, or of the
            critical class, which its name tells.
        of: the output as the table names it, that of the critical class as well.
        words: name as people read it.
        direction: 1 where higher is better, −1 where lower is.
        severity: of the condition; 0 of a slice.
        verdict: of the audit: a key of `VERDICTS`; empty where nothing was tested.
        family: `confirmatory` or `exploratory`; empty where nothing was tested.
        margin: harm that would not matter.
        detectable: least harm that would have been called with a power of 80 %.
        pooled: whether cases of the calibration role count as well.
        interval: whether the interval is `simultaneous` or `marginal`.
        p_adjusted: for the whole family.
        level: the measure itself, under the condition or in the slice.
        shrunk: the gap drawn towards those of its column (empirical Bayes).
    """

    name: str = ""
    metric: str = ""
    output: str = ""
    of: str = ""
    words: str = ""
    direction: int = 1
    severity: int = 0
    verdict: str = ""
    family: str = ""
    margin: float = math.nan
    detectable: float = math.nan
    interval: str = ""
    pooled: bool = False
    p_adjusted: float = math.nan
    level: Number = field(default_factory=Number)
    shrunk: Number = field(default_factory=Number)

    @property
    def tested(self) -> bool:
        """Whether the audit decided anything."""
        return self.verdict != ""

    @property
    def mark(self) -> str:
        """Sign of its caution; simultaneous intervals are not those that the cautions are about."""
        return "" if self.interval == SIMULTANEOUS else super().mark

    @property
    def small(self) -> bool:
        """Whether it is shown to be worse, and to be so by less than the margin."""
        return self.verdict == WORSE and self.harm.high < self.margin

    @property
    def said(self) -> str:
        """The verdict as people read it."""
        return f"{VERDICTS[self.verdict]}{', ' + VERDICTS[WITHIN] if self.small else ''}"

    @property
    def harm(self) -> Number:
        """How much worse with its interval; positive is worse."""
        return harmful(self, self.direction)

    @property
    def gain(self) -> Number:
        """How much better with its interval; positive is better."""
        return harmful(self, -self.direction)

    @property
    def corrected(self) -> Number:
        """The harm, fit to be named as the largest of many.

        A simultaneous interval holds for all of the family at once; where there is none, the
        shrunken gap takes its place.
        """
        if self.interval == SIMULTANEOUS or not self.shrunk.defined:
            return self.harm
        return harmful(self.shrunk, self.direction)

    @property
    def title(self) -> str:
        """Condition or slice, and the class or label where the measure is of one."""
        return f"{self.words}, {self.output}" if self.output else self.words

    def behind(self, critical: str | None) -> str:
        """The images that the measure rests on; `critical` is the class of critical measures."""
        name = self.output or critical
        one_sided = self.metric.endswith(("sensitivity", "specificity"))
        side = "without" if self.metric.endswith("specificity") else "with"
        some = f", {formatting.count(self.n_positive)} {side} {name}"
        more = some if one_sided and name and self.n_positive is not None else ""
        pooled = ", those of calibration counted in" if self.pooled else ""
        images = formatting.counted(self.n or 0, "image", "images")
        return f"n={images}{more}{pooled}"


def harmful(found: Number, direction: int) -> Number:
    """A signed difference as harm: positive is worse."""
    if direction < 0:
        return Number(found.value, found.low, found.high)
    # Adding 0 takes the sign from a zero.
    return Number(0.0 - found.value, 0.0 - found.high, 0.0 - found.low)


def of_conditions(results: Results, metric: str) -> list[Comparison]:
    """Every condition against clean in one measure."""
    return [
        _comparison(row, "delta", name=str(row["condition"]))
        for row in results.rows("stress", "conditions", metric=metric)
        if row["severity"] > 0 and not word(row.get(COLUMN))
    ]


def of_slices(results: Results, metric: str) -> list[Comparison]:
    """Every slice against the rest of the test role in one measure."""
    rows = results.rows("slice", "slices", metric=metric)
    told = [row for row in rows if not word(row.get(COLUMN))]
    return [_comparison(row, "gap", name=str(row["slice"])) for row in told]


def verdict(row: Mapping[str, Any]) -> str:
    """The verdict on a row of the table of conditions or of slices, as people read it."""
    return _comparison(row, "delta" if "delta" in row else "gap", name="").said


def _comparison(row: Mapping[str, Any], what: str, *, name: str) -> Comparison:
    words = formatting.condition(name) if what == "delta" else word(row.get("words")) or name
    return Comparison(
        value=real(row[what]),
        low=real(row[f"{what}_low"]),
        high=real(row[f"{what}_high"]),
        n=_rests_on(row, "n"),
        n_groups=whole(row.get("n_groups")),
        n_positive=_rests_on(row, "n_positive"),
        caution=word(row.get("change_caution", row.get("caution"))),
        name=name,
        metric=str(row["metric"]),
        output="" if str(row["metric"]).startswith("critical_") else word(row["output"]),
        of=word(row["output"]),
        words=words,
        direction=whole(row["direction"]) or 1,
        severity=whole(row.get("severity")) or 0,
        verdict=word(row["verdict"]),
        family=word(row["family"]),
        margin=real(row["margin"]),
        detectable=real(row["minimal_detectable"]),
        interval=word(row["interval"]),
        pooled=row.get("pooled") in (True, "True"),
        p_adjusted=real(row["p_adjusted"]),
        level=number(row),
        shrunk=_shrunk(row),
    )


def _rests_on(row: Mapping[str, Any], name: str) -> int | None:
    """The cases of the comparison, where they are others than those of the value beside it."""
    own = whole(row.get(f"gap_{name}"))
    return whole(row[name]) if own is None else own


def _shrunk(row: Mapping[str, Any]) -> Number:
    value, low, high = (real(row.get(f"shrunk{end}")) for end in ("", "_low", "_high"))
    return Number(value, low, high)


def compared(results: Results, stage: str, metric: str) -> list[Comparison]:
    """The comparisons of the stress or of the slice stage."""
    return of_conditions(results, metric) if stage == "stress" else of_slices(results, metric)


def pair(results: Results, stage: str) -> tuple[str, str] | None:
    """Sensitivity and specificity that a stage tested, of the critical class or of every output."""
    known = tested_metrics(results, stage)
    return next((pair for pair in PAIRS if set(pair) & set(known)), None)


def tested_metrics(results: Results, stage: str) -> list[str]:
    """The measures that a stage decided on, in the order of its table."""
    table = results.table(stage, {"stress": "conditions", "slice": "slices"}[stage])
    if table.empty:
        return []
    return [str(name) for name in table[table["verdict"].notna()]["metric"].unique()]


def leading(results: Results, stage: str) -> list[str]:
    """The measures that text and charts lead with: the pair first, or else what was tested."""
    both = pair(results, stage)
    known = tested_metrics(results, stage)
    return list(both) if both else [name for name in ALONE if name in known]


def others(results: Results, stage: str) -> list[str]:
    """Measures of the whole that were tested beside the leading ones."""
    first = leading(results, stage)
    return [name for name in ALONE if name in tested_metrics(results, stage) and name not in first]


def tally(changes: Iterable[Comparison]) -> Counter[str]:
    """How many comparisons got each verdict; those that were not tested count as empty."""
    return Counter(each.verdict for each in changes)


def with_verdict(changes: Iterable[Comparison], verdict: str) -> list[Comparison]:
    """The comparisons of one verdict, the greatest harm first."""
    found = [each for each in changes if each.verdict == verdict]
    return sorted(found, key=lambda each: -each.harm.value)


def worst_outputs(changes: Sequence[Comparison]) -> list[Comparison]:
    """One comparison per condition or slice: that of the class or label of the greatest harm.

    Undefined ones come last, so that a condition is never lost.
    """
    chosen: dict[str, Comparison] = {}
    for each in sorted(changes, key=_rank):
        chosen.setdefault(each.name, each)
    return list(chosen.values())


def _rank(each: Comparison) -> tuple[bool, bool, float]:
    harm = each.harm.value
    return each.verdict != WORSE, not math.isfinite(harm), -harm if math.isfinite(harm) else 0.0


def by_harm(*measures: Sequence[Comparison]) -> list[str]:
    """Names of conditions or slices, the greatest harm in any of the measures first.

    Shown harm comes before what is undecided, however large.
    """
    ranks: dict[str, tuple[bool, bool, float]] = {}
    for each in (each for changes in measures for each in changes):
        ranks[each.name] = min(_rank(each), ranks.get(each.name, (True, True, 0.0)))
    return sorted(ranks, key=lambda name: ranks[name])


def could_be_seen(changes: Sequence[Comparison], harm: tuple[str, str]) -> str:
    """Least harms that could have been seen, as a range over comparisons; empty if unknown.

    All measures that are compared lie in [0, 1], so no harm is as large as what some would need.

    Args:
        changes: comparisons of one measure.
        harm: a harm as a noun, one and many.
    """
    known = [each for each in changes if math.isfinite(each.detectable)]
    possible = [each.detectable for each in known if each.detectable < 1]
    if not possible:
        return f"no {harm[0]} could have been seen" if known else ""
    low, high = (amount(which(possible), known[0].metric) for which in (min, max))
    least = low if low == high else f"{low.removesuffix(' points')} to {high}"
    none = len(known) - len(possible)
    rest = f", and none in {none}" if none else ""
    return f"only {harm[1]} above {least} could have been seen{rest}"


def least_p(results: Results) -> float:
    """The least p-value that the replicates of the intervals resolve."""
    section = results.params.get("intervals") or {}
    return 1 / (1 + int(section.get("replicates", 2000)))


SAME, FEWEST = 0.5, 5
"""Share of the errors that slices must have in common to be told as one, and how many at least."""


@dataclass(frozen=True)
class Alike:
    """Slices that are called worse for largely the same images.

    Attributes:
        slices: the comparisons, the greatest harm first.
        n: test images that are wrong in any of them.
        shared: those of them that are wrong in all.
    """

    slices: tuple[Comparison, ...]
    n: int
    shared: int


def alike(results: Results, metric: str) -> list[Alike]:
    """Slices called worse in a measure that are largely the same images, in groups.

    At least `SAME` of the errors that lie in any slice of a group lie in all of them, and these are
    at least `FEWEST`. From the greatest harm down, every slice joins the first that it fits.
    """
    left = [
        each
        for each in with_verdict(of_slices(results, metric), WORSE)
        if (each.name, metric, each.of) in results.errors_inside
    ]
    found = []
    while left:
        group = _group(results, left[:1])
        for each in left[1:]:
            wider = _group(results, [*group.slices, each])
            if wider.shared >= max(FEWEST, SAME * wider.n) and each.of == left[0].of:
                group = wider
        left = [each for each in left if each not in group.slices]
        found += [group] if len(group.slices) > 1 else []
    return found


def _group(results: Results, slices: Sequence[Comparison]) -> Alike:
    errors = [results.errors_inside[each.name, each.metric, each.of] for each in slices]
    union, shared = frozenset[str]().union(*errors), frozenset.intersection(*errors)
    return Alike(tuple(slices), len(union), len(shared))
