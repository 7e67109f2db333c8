"""The deployment checklist: questions written by hand, answers computed where there are results.

A question is answered by an interval against a tolerance: met where the whole interval lies on the
good side, not met where the whole of it lies on the bad side, and inconclusive otherwise. So a harm
that is shown, but to be smaller than the tolerance, is met. Nothing is met because nothing was
found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from medaudit.audits.calibrate import BASELINE, MEAN
from medaudit.core.errors import DataError, lookup
from medaudit.core.params import read_yaml
from medaudit.report import comparisons, deferral_sentences, formatting, narrative
from medaudit.report.comparisons import CONFIRMATORY, EXPLORATORY, WORSE, Comparison
from medaudit.report.formatting import (
    UNDEFINED,
    behind,
    between,
    count,
    estimate,
    plain,
    real,
    sized,
)
from medaudit.report.results import realised_deferral

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from medaudit.report.formatting import Number
    from medaudit.report.results import Results

Status = Literal["met", "not met", "inconclusive", "not measured"]
STATUSES: tuple[Status, ...] = ("met", "not met", "inconclusive", "not measured")


class Item(BaseModel):
    """One question of the checklist.

    Args:
        question: what must hold before deployment.
        check: name of the computed check; without one the item is not measured by this pipeline.
        metric: measure that the check looks at, where it needs one.
        bound: number that the check compares with, where it needs one: a least value, or how much
            harm is tolerated. Slices and conditions take the margin of the audit if it is 0.
        note: why it matters, or how it could be measured.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str
    check: str | None = None
    metric: str = ""
    bound: float = 0.0
    note: str = ""

    @model_validator(mode="after")
    def _known(self) -> Item:
        if self.check is not None:
            lookup("check", self.check, CHECKS)
        return self


class Checklist(BaseModel):
    """The file `report/deployment_checklist.yaml`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    items: tuple[Item, ...]


@dataclass(frozen=True)
class Answer:
    """The status of an item and the number behind it."""

    status: Status
    basis: str


def read(path: Path) -> Checklist:
    """Read and validate the hand-written checklist."""
    try:
        return Checklist.model_validate(read_yaml(path))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{path}: {place}: {first['msg']}") from None


def answer(item: Item, results: Results) -> Answer:
    """The computed answer; `not measured` where there is no check or nothing to check."""
    if item.check is None:
        return Answer("not measured", item.note)
    stage = RESTS_ON.get(item.check, "evaluate")
    if stage not in results.stages:
        return Answer("not measured", f"this audit has no {stage} stage")
    return CHECKS[item.check](item, results)


def counted_out(held: bool, basis: str) -> Answer:
    """The answer where everything was counted, and nothing was sampled."""
    return Answer("met" if held else "not met", basis)


def reaching(found: Number, bound: float, basis: str) -> Answer:
    """Whether an interval lies above a bound, below it, or on both sides."""
    if not math.isfinite(found.low) or found.stuck:
        return Answer("inconclusive", basis)
    if found.low >= bound:
        return Answer("met", basis)
    return Answer("not met" if found.high < bound else "inconclusive", basis)


def at_least(item: Item, results: Results) -> Answer:
    """A test measure reaches the bound."""
    found = results.measure(item.metric)
    if not found.defined:
        name = formatting.short(item.metric, results.critical or "a critical class")
        return Answer("not measured", f"{name}: {UNDEFINED} here")
    rests_on = behind(found, item.metric, results.critical)
    basis = f"{estimate(found)}, {rests_on}; at least {item.bound:g} asked"
    return reaching(found, item.bound, basis)


def realised_specificity(item: Item, results: Results) -> Answer:
    """Realised specificity is not below its target by more than the bound.

    The basis says as well whether it lies below what sampling explains; an alert does on page 1.
    """
    found, target = results.measure("critical_specificity"), results.points.specificity
    if not found.defined:
        return Answer("not measured", "no critical class")
    low, high = narrative.expected_specificity(results)
    below = "lies below what sampling explains," if found.value < low else "sampling explains"
    expected = f"; {below} {between(low, high)}" if math.isfinite(low) else ""
    least = target - item.bound
    basis = (
        f"{estimate(found)}, {behind(found, 'specificity', results.critical)}; target {target:g}, "
        f"at least {least:g} asked{expected}"
    )
    return reaching(found, least, basis)


def no_worse_slice(item: Item, results: Results) -> Answer:
    """No slice that was named beforehand is worse than the rest by more than the margin."""
    changes = asked(item, results, "slice")
    planned, more = (
        [each for each in changes if each.family == family]
        for family in (CONFIRMATORY, EXPLORATORY)
    )
    judged = harmless(planned, item.bound, CONFIRMATORY + " slices")
    worse = [
        each
        for each in comparisons.with_verdict(more, WORSE)
        if not each.harm.high < (item.bound or each.margin)
    ]
    if not worse or judged.status == "not met":
        return judged
    shown = f"{len(worse)} of {len(more)} exploratory slices worse, e.g. {told(worse[0])}"
    return Answer("inconclusive", f"{judged.basis}; {shown}; to be confirmed")


def mild_stress(item: Item, results: Results) -> Answer:
    """No condition of severity 1 is worse than clean by more than the margin."""
    changes = [each for each in asked(item, results, "stress") if each.severity == 1]
    return harmless(changes, item.bound, "conditions of severity 1")


def asked(item: Item, results: Results, stage: str) -> list[Comparison]:
    """The comparisons of the measure of an item; of every label where no class is critical."""
    pair = comparisons.pair(results, stage)
    generic = {"sensitivity": 0, "specificity": 1}
    kind = item.metric.removeprefix("critical_")
    metric = pair[generic[kind]] if pair and kind in generic else item.metric
    return comparisons.compared(results, stage, metric)


def harmless(changes: Sequence[Comparison], bound: float, what: str) -> Answer:
    """Whether every harm is shown to be below a tolerance; the margin of the audit if 0."""
    tested = [each for each in changes if each.tested]
    if not tested:
        return Answer("not measured", f"no {what} with an interval")
    if any(each.output for each in tested):
        what = f"pairs of output and {what}"
    tolerated = bound or tested[0].margin
    margin = formatting.amount(tolerated, tested[0].metric)
    beyond = [each for each in tested if each.harm.low > tolerated]
    if beyond:
        worst = max(beyond, key=lambda each: each.harm.value)
        basis = f"{len(beyond)} of {len(tested)} {what} shown to lose more than {margin}"
        return Answer("not met", f"{basis}, e.g. {told(worst)}")
    below = [each for each in tested if each.harm.high < tolerated]
    basis = f"{len(below)} of {len(tested)} {what} shown to lose less than {margin}"
    if len(below) == len(changes):
        return Answer("met", basis)
    others = [each for each in changes if each not in below]
    return Answer("inconclusive", "; ".join(filter(None, [basis, worse_by(others), seen(others)])))


def worse_by(others: Sequence[Comparison]) -> str:
    """Those that are shown to be worse, by an amount that may be below the tolerance or above."""
    worse = comparisons.with_verdict(others, WORSE)
    if not worse:
        return ""
    return f"{len(worse)} worse by less or more than that, e.g. {told(worse[0])}"


def seen(others: Sequence[Comparison]) -> str:
    """What those could have shown that are not shown to be worse."""
    open_ones = [each for each in others if each.verdict != WORSE]
    if not open_ones:
        return ""
    least = comparisons.detectable(open_ones)
    if not least:
        return "what could have been seen in the others is unknown"
    return f"in the others only losses above {least} could have been seen"


def told(each: Comparison) -> str:
    """A condition or slice with its harm."""
    after = "" if each.corrected == each.harm else " after shrinkage"
    return f"{each.title}: {sized(each.corrected, each.metric)}{after} lost"


def calibrated(item: Item, results: Results) -> Answer:
    """The ECE of the audited probabilities is within a tolerance.

    Those are uncalibrated: thresholds, deferral and cases rest on them. ECE has no interval and
    errs upwards, by what its noise floor shows. So it is met where ECE and its spread by chance
    (floor's 95th percentile minus its mean) lie within the bound together, and not met where ECE
    lies above the bound and the floor's 95th percentile together. Where images share groups, the
    floor is taken as that of one image per group: √(images / groups) times as high.
    """
    (row,) = results.rows("calibrate", "noise_floor", event=MEAN, calibrator=BASELINE)
    ece = results.number("calibrate", "summary", calibrator=BASELINE, metric="ece")
    mean, p95 = (scaled(real(row[name]), ece) for name in ("mean", "p95"))
    grouped = " for one image per group" if ece.grouped else ""
    basis = (
        f"ECE {plain(ece.value)}, n={count(ece.n)} images; by chance {plain(mean)} on average, "
        f"up to {plain(p95)}{grouped}; at most {item.bound:g} asked"
    )
    if not (ece.defined and math.isfinite(p95)):
        return Answer("not measured", basis)
    if ece.value + p95 - mean <= item.bound:
        return Answer("met", basis)
    return Answer("not met" if ece.value > item.bound + p95 else "inconclusive", basis)


def scaled(floor: float, ece: Number) -> float:
    """A noise floor as if every group had one image."""
    return floor * math.sqrt(ece.n / ece.n_groups) if ece.n and ece.n_groups else floor


def recall_among_kept(item: Item, results: Results) -> Answer:
    """The critical recall among the kept reaches the bound."""
    found = realised_deferral(results, "critical_recall_kept")
    if not found.defined:
        return Answer("not measured", "no critical class among the kept")
    coverage = plain(realised_deferral(results, "coverage").value, 2)
    basis = (
        f"{estimate(found)}, {behind(found, 'recall', results.critical)} that are kept, at "
        f"coverage {coverage}; at least {item.bound:g} asked"
    )
    return reaching(found, item.bound, basis)


def recall_not_lowered(item: Item, results: Results) -> Answer:
    """No class or label loses more recall among the kept than the bound."""
    known = deferral_sentences.kept_changes(results)
    if not known:
        return Answer("not measured", "no class or label has an interval")
    margin, nouns = formatting.amount(item.bound, "recall"), results.nouns[1]
    lower = [name for name, each in known.items() if each.high < -item.bound]
    if lower:
        basis = f"{len(lower)} of {len(known)} {nouns} shown to lose more than {margin}"
        return Answer("not met", f"{basis}, e.g. {lower[0]}")
    held = [name for name, each in known.items() if each.low > -item.bound]
    basis = f"{len(held)} of {len(results.classes)} {nouns} shown to lose less than {margin}"
    return Answer("met" if len(held) == len(results.classes) else "inconclusive", basis)


def finds_errors(item: Item, results: Results) -> Answer:
    """The score that defers ranks errors below right answers."""
    found = deferral_sentences.failure_auroc(results)
    if not found.defined:
        return Answer("not measured", "AUROC of errors against right answers is undefined")
    return reaching(found, item.bound, f"AUROC {estimate(found)}; at least {item.bound:g} asked")


def no_leak(_item: Item, results: Results) -> Answer:
    """No group stands in two roles."""
    n, groups = len(results.groups_in_two_roles), results.scalar("prepare", "n_groups")
    if groups == results.scalar("prepare", "n_images"):
        return Answer("not measured", f"{count(groups)} groups of one image each")
    return counted_out(n == 0, f"{n} of {count(groups)} groups")


def labels_agree(_item: Item, results: Results) -> Answer:
    """No duplicate pair has two labels."""
    n, pairs = results.duplicate_pairs("labels_differ"), results.duplicate_pairs()
    if not pairs:
        return Answer("not measured", "no duplicate pairs were found")
    return counted_out(n == 0, f"{n} of {pairs} duplicate pairs")


def enough_positives(item: Item, results: Results) -> Answer:
    """Every class has at least so many test images."""
    rows = results.rows("evaluate", "per_class", metric="auroc")
    fewest = min(rows, key=lambda row: real(row["n_positive"]))
    n = real(fewest["n_positive"])
    return counted_out(
        n >= item.bound,
        f"{count(n)} images with {fewest['class']}, the fewest; at least {item.bound:g} asked",
    )


CHECKS: dict[str, Callable[[Item, Results], Answer]] = {
    "at_least": at_least,
    "realised_specificity": realised_specificity,
    "no_worse_slice": no_worse_slice,
    "mild_stress": mild_stress,
    "calibrated": calibrated,
    "recall_among_kept": recall_among_kept,
    "recall_not_lowered": recall_not_lowered,
    "finds_errors": finds_errors,
    "no_leak": no_leak,
    "labels_agree": labels_agree,
    "enough_positives": enough_positives,
}

RESTS_ON: dict[str, str] = {
    "no_worse_slice": "slice",
    "mild_stress": "stress",
    "calibrated": "calibrate",
    "recall_among_kept": "selective",
    "recall_not_lowered": "selective",
    "finds_errors": "selective",
    "no_leak": "prepare",
    "labels_agree": "prepare",
}
"""The stage behind a check, where that is not `evaluate`."""
