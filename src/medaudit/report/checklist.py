"""The deployment checklist: questions written by hand, answers computed where there are results."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from medaudit.audits.calibrate import BASELINE, MEAN
from medaudit.core.errors import DataError, lookup
from medaudit.core.params import read_yaml
from medaudit.report import formatting, narrative
from medaudit.report.formatting import UNDEFINED, count, difference, estimate, plain, real
from medaudit.report.results import realised_deferral

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from medaudit.report.formatting import Change
    from medaudit.report.results import Results

Status = Literal["pass", "fail", "not measured"]


class Item(BaseModel):
    """One question of the checklist.

    Args:
        question: what must hold before deployment.
        check: name of the computed check; without one the item is not measured by this pipeline.
        metric: measure that the check looks at, where it needs one.
        bound: number that the check compares with, where it needs one; of `mild_stress` the
            least positives with which showing no loss means anything.
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


def verdict(held: bool, basis: str) -> Answer:
    """Pass or fail with its basis."""
    return Answer("pass" if held else "fail", basis)


def at_least(item: Item, results: Results) -> Answer:
    """The lower end of the interval of a test measure reaches the bound."""
    found = results.measure(item.metric)
    if not found.defined:
        name = formatting.short(item.metric, results.critical or "a critical class")
        return Answer("not measured", f"{name}: {UNDEFINED} here")
    if not math.isfinite(found.low):
        return Answer("not measured", f"{estimate(found)}, n={count(found.rests_on)}")
    return verdict(
        found.low >= item.bound,
        f"{estimate(found)}, n={count(found.rests_on)}; lower end asked: {item.bound:g}",
    )


def realised_specificity(_item: Item, results: Results) -> Answer:
    """The interval of the realised specificity contains or exceeds the target."""
    found, target = results.measure("critical_specificity"), results.points.specificity
    if not found.defined:
        return Answer("not measured", "no critical class")
    basis = f"{estimate(found)}, n={count(found.n_positive)}; target {target:g}"
    if not math.isfinite(found.high):
        return Answer("not measured", basis)
    return verdict(found.high >= target, basis)


def no_worse_slice(_item: Item, results: Results) -> Answer:
    """No slice is worse than the rest after Holm."""
    changes = [each for each in narrative.slice_changes(results) if each.comparable]
    if not changes:
        return Answer("not measured", "no slice is large enough to have an interval")
    worse = [each for each in changes if each.shown_worse]
    if not worse:
        widest = max(each.high - each.low for each in changes)
        return verdict(True, f"0 of {len(changes)} slices; intervals up to {widest:.2f} wide")
    largest = max(worse, key=lambda each: each.harm)
    return verdict(
        False, f"{len(worse)} of {len(changes)} slices, e.g. {largest.name}: {difference(largest)}"
    )


def mild_stress(item: Item, results: Results) -> Answer:
    """No condition of severity 1 is shown to lose, of so many positives that one could be."""
    changes = [
        each
        for each in narrative.stress_changes(results, item.metric)
        if each.name.endswith("-1") and each.comparable
    ]
    if not changes:
        name = formatting.short(item.metric, results.critical or "a critical class")
        return Answer("not measured", f"{name}: no interval under a condition of severity 1")
    worse = [each for each in changes if each.shown_worse]
    if not worse:
        return no_loss(item, results, changes)
    largest = max(worse, key=lambda each: each.harm)
    name = formatting.condition(largest.name)
    return verdict(
        False, f"{len(worse)} of {len(changes)} conditions, e.g. {name}: {difference(largest)}"
    )


def no_loss(item: Item, results: Results, changes: Sequence[Change]) -> Answer:
    """A pass where no loss is shown, if there are positives enough to show one."""
    n = changes[0].n_positive
    if n is None:
        n = min(positives(results).values(), default=0)
    basis = f"0 of {len(changes)} conditions, n={count(changes[0].n)}, {count(n)} positives"
    if n < item.bound:
        return Answer("not measured", f"{basis}; at least {item.bound:g} asked")
    return verdict(True, basis)


def positives(results: Results) -> dict[str, int]:
    """Positive test images of every class or label that has any."""
    found = {name: results.of_class(name, "auroc").n_positive or 0 for name in results.classes}
    return {name: n for name, n in found.items() if n}


def calibrated(_item: Item, results: Results) -> Answer:
    """The ECE of the audited probabilities is within the noise of perfectly calibrated ones.

    Those are uncalibrated: thresholds, deferral and cases rest on them. What a calibrator reaches
    stands beside it and is not judged.
    """
    rows = results.rows("calibrate", "noise_floor", event=MEAN)
    (audited,) = (row for row in rows if row["calibrator"] == BASELINE)
    beside = [row for row in rows if row["calibrator"] != BASELINE][-1:]
    ece = results.number("calibrate", "summary", calibrator=BASELINE, metric="ece")
    basis = "; beside it ".join(against_floor(results, row) for row in (audited, *beside))
    assumed = "; the floor assumes independent images" if ece.grouped else ""
    basis_and_n, floor = f"audited {basis}; n={count(ece.n)}{assumed}", real(audited["p95"])
    if not (ece.defined and math.isfinite(floor)):
        return Answer("not measured", basis_and_n)
    return verdict(ece.value <= floor, basis_and_n)


def against_floor(results: Results, row: Mapping[str, Any]) -> str:
    """The ECE of one calibrator beside its noise floor."""
    name = str(row["calibrator"])
    ece = results.number("calibrate", "summary", calibrator=name, metric="ece")
    return f"{formatting.words(name)}: {estimate(ece)}, floor {plain(real(row['p95']))}"


def recall_among_kept(item: Item, results: Results) -> Answer:
    """The lower end of the critical recall among the kept reaches the bound."""
    found = realised_deferral(results, "critical_recall_kept")
    if not found.defined:
        return Answer("not measured", "no critical class among the kept")
    coverage = plain(realised_deferral(results, "coverage").value, 2)
    basis = f"{estimate(found)} at coverage {coverage}; lower end asked: {item.bound:g}"
    if not math.isfinite(found.low):
        return Answer("not measured", basis)
    return verdict(found.low >= item.bound, basis)


def no_leak(_item: Item, results: Results) -> Answer:
    """No group stands in two roles."""
    n, groups = len(results.groups_in_two_roles), results.scalar("prepare", "n_groups")
    if groups == results.scalar("prepare", "n_images"):
        return Answer("not measured", f"{count(groups)} groups of one image each")
    return verdict(n == 0, f"{n} of {count(groups)} groups")


def labels_agree(_item: Item, results: Results) -> Answer:
    """No duplicate pair has two labels."""
    table = results.table("prepare", "duplicates")
    if table.empty:
        return Answer("not measured", "no duplicate pairs were found")
    n = int(table["labels_differ"].astype(bool).sum())
    return verdict(n == 0, f"{n} of {len(table)} duplicate pairs")


def enough_positives(item: Item, results: Results) -> Answer:
    """Every class has at least so many test images."""
    rows = results.rows("evaluate", "per_class", metric="auroc")
    fewest = min(rows, key=lambda row: real(row["n_positive"]))
    n = real(fewest["n_positive"])
    return verdict(
        n >= item.bound, f"{count(n)} of {fewest['class']}; at least {item.bound:g} asked"
    )


CHECKS: dict[str, Callable[[Item, Results], Answer]] = {
    "at_least": at_least,
    "realised_specificity": realised_specificity,
    "no_worse_slice": no_worse_slice,
    "mild_stress": mild_stress,
    "calibrated": calibrated,
    "recall_among_kept": recall_among_kept,
    "no_leak": no_leak,
    "labels_agree": labels_agree,
    "enough_positives": enough_positives,
}

RESTS_ON: dict[str, str] = {
    "no_worse_slice": "slice",
    "mild_stress": "stress",
    "calibrated": "calibrate",
    "recall_among_kept": "selective",
    "no_leak": "prepare",
    "labels_agree": "prepare",
}
"""The stage behind a check, where that is not `evaluate`."""
