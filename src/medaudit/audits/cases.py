"""Which test cases to explain, and on which others to try the same interventions."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field

from medaudit.audits.judging import Bools, Judged, judge
from medaudit.params import Section

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from medaudit.tables.conditions import Condition
    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.predictions import PredictionTable

N_CONTRAST = 1  # false alarms and successes stand beside the failures, one of each is enough


class CasesParams(Section):
    """Which test cases are explained, and against what their evidence is weighed.

    Args:
        per_kind: cases of each kind of failure.
        confident: probability of the called class from which a call is a confident one.
        controls: random right, and as many random wrong, test samples that show how often an
            intervention changes a prediction whatever the cause; all there are if fewer.
        max_base_rate: an intervention that changes more of the controls is no evidence.
        seed: of the choice of controls.
    """

    section = "cases"
    per_kind: int = Field(2, ge=1, le=10)
    confident: float = Field(0.6, gt=0, lt=1)
    controls: int = Field(80, ge=10, le=1000)
    max_base_rate: float = Field(0.1, gt=0, lt=1)
    seed: int = Field(11, ge=0)


@dataclass(frozen=True)
class Chosen:
    """A test sample to explain, under the condition in which it is shown.

    Args:
        sample_id: the image.
        group_id: its lesion or patient.
        kind: for example `confident_critical_miss`, `corruption_flip`, `success`.
        condition: clean, or the corruption that turns the prediction.
        true_index: output that is true; the critical one where it is among several.
        predicted_index: output that is called under `condition`.
        truth: all that is true, in words.
        predicted: all that is called under `condition`, in words.
        probabilities: of every output under `condition`.
        clean_probabilities: of every output on the clean image.
        confidence: stated probability of the call under `condition`.
        critical: whether the critical class is true.
        flagged: whether its probability under `condition` exceeds its frozen threshold.
        reason: why this sample, with numbers.
    """

    sample_id: str
    group_id: str
    kind: str
    condition: Condition
    true_index: int
    predicted_index: int
    truth: str
    predicted: str
    probabilities: tuple[float, ...]
    clean_probabilities: tuple[float, ...]
    confidence: float
    critical: bool
    flagged: bool
    reason: str


def choose(
    clean: PredictionTable,
    corrupted: Sequence[PredictionTable],
    points: OperatingPoints,
    params: CasesParams,
) -> tuple[Chosen, ...]:
    """The cases to explain: failures first, then one success for contrast.

    Samples and groups are distinct, and so are the corruptions of flips. Equal candidates are
    taken in the order of their ids. A kind without candidates is left out; where no critical miss
    exists, errors of any class take its place under their own name.
    """
    test, stressed = judge(clean, corrupted, points)
    wishes: list[tuple[Iterable[Chosen], int]] = [
        (misses(test, params), params.per_kind),
        (flips(test, stressed, params), params.per_kind),
        (false_alarms(test, params), N_CONTRAST),
        (successes(test, stressed), N_CONTRAST),
    ]
    taken: list[Chosen] = []
    for candidates, count in wishes:
        fresh = distinct(candidates, taken)
        taken += itertools.islice(fresh, count)
    return tuple(taken)


def distinct(candidates: Iterable[Chosen], taken: Sequence[Chosen]) -> Iterator[Chosen]:
    """Candidates of groups and corruptions that no earlier case shows."""
    groups = {case.group_id for case in taken}
    corruptions = {case.condition.corruption for case in taken if not case.condition.is_clean}
    for case in candidates:
        if case.group_id in groups or case.condition.corruption in corruptions:
            continue
        groups.add(case.group_id)
        if not case.condition.is_clean:
            corruptions.add(case.condition.corruption)
        yield case


def misses(test: Judged, params: CasesParams) -> Iterator[Chosen]:
    """Critical samples called something else, confident ones first; then errors of any class."""
    confident = test.confidence >= params.confident
    missed = test.critical & ~test.called_critical
    for kind, members in {
        "confident_critical_miss": missed & confident,
        "uncertain_critical_miss": missed & ~confident,
        "confident_error": ~test.right & ~missed & confident,
        "uncertain_error": ~test.right & ~missed & ~confident,
    }.items():
        yield from most_confident(test, members, kind)


def false_alarms(test: Judged, params: CasesParams) -> Iterator[Chosen]:
    """Samples without the critical class that are confidently called critical."""
    confident = test.confidence >= params.confident
    members = ~test.critical & test.called_critical & confident
    return most_confident(test, members, "confident_false_alarm")


def successes(test: Judged, stressed: Sequence[Judged]) -> Iterator[Chosen]:
    """Right calls, best those of the critical class that no condition turns."""
    stable = test.right & np.all([each.right for each in (test, *stressed)], axis=0)
    for members in (
        stable & test.critical,
        test.right & test.critical & ~stable,
        test.right & ~test.critical,
    ):
        yield from most_confident(test, members, "success")


def most_confident(judged: Judged, members: Bools, kind: str) -> Iterator[Chosen]:
    """Members by falling confidence, then by id."""
    rows = np.flatnonzero(members)
    order = rows[np.lexsort((judged.ids[rows], -judged.confidence[rows]))]
    for place, row in enumerate(order.tolist(), start=1):
        reason = (
            f"{called(judged, row)}; number {place} by confidence of {len(rows)} such cases "
            f"among {len(members)} test samples"
        )
        yield record(judged, judged, row, kind=kind, reason=reason)


def flips(test: Judged, stressed: Sequence[Judged], params: CasesParams) -> Iterator[Chosen]:
    """Right when clean and wrong under a condition.

    Confident clean calls come first, then the critical class, then the mildest severity, then
    the greatest loss of probability of the truth.
    """
    found = []
    for each in stressed:
        turned = test.right & ~each.right
        for row in np.flatnonzero(turned).tolist():
            lost = each.truth[row]
            fall = each.scored.probabilities[row, lost] - test.scored.probabilities[row, lost]
            rank = (
                bool(test.confidence[row] < params.confident),
                not test.critical[row],
                each.condition.severity,
                float(fall),
                str(test.ids[row]),
                each.condition.name,
            )
            found.append((rank, row, int(turned.sum()), each))
    for _, row, n_turned, each in sorted(found, key=lambda candidate: candidate[0]):
        reason = (
            f"clean: {called(test, row)}; {each.condition.name}: {called(each, row)}; one of "
            f"{n_turned} right calls of {int(test.right.sum())} that {each.condition.name} turns"
        )
        yield record(each, test, row, kind="corruption_flip", reason=reason)


def called(judged: Judged, row: int) -> str:
    """What is true and what is called, in words."""
    truth, call = judged.truth_names[row], judged.called_names[row]
    stated = f"called {call} with probability {judged.confidence[row]:.2f}"
    if truth == call:
        return f"true {truth}, {stated}"
    name = judged.scored.table.schema.classes[judged.truth[row]]
    return f"true {truth}, {stated} ({name} {judged.p_true[row]:.2f})"


def record(judged: Judged, clean: Judged, row: int, *, kind: str, reason: str) -> Chosen:
    """One row as a case."""
    return Chosen(
        sample_id=str(judged.ids[row]),
        group_id=str(judged.scored.table.group_ids[row]),
        kind=kind,
        condition=judged.condition,
        true_index=int(judged.truth[row]),
        predicted_index=int(judged.called[row]),
        truth=str(judged.truth_names[row]),
        predicted=str(judged.called_names[row]),
        probabilities=tuple(judged.scored.probabilities[row].tolist()),
        clean_probabilities=tuple(clean.scored.probabilities[row].tolist()),
        confidence=float(judged.confidence[row]),
        critical=bool(judged.critical[row]),
        flagged=bool(judged.flagged[row]),
        reason=reason,
    )


def controls(
    clean: PredictionTable,
    points: OperatingPoints,
    params: CasesParams,
    *,
    exclude: Iterable[str] = (),
) -> pd.DataFrame:
    """Random test samples to try every intervention on: `sample_id`, `truth`, `right`.

    As many right as wrong ones where there are enough, and of either the true classes in turn,
    since otherwise the majority class alone would set the base rate.
    """
    test, _ = judge(clean, (), points)
    shuffled = np.random.default_rng(params.seed).permutation(len(test.ids))
    frame = pd.DataFrame({"sample_id": test.ids, "truth": test.truth, "right": test.right})
    frame = frame.iloc[shuffled]
    frame = frame[~frame["sample_id"].isin(set(exclude))]
    turn = frame.groupby(["right", "truth"]).cumcount()
    ordered = frame.assign(turn=turn).sort_values(
        ["right", "turn", "truth"], ascending=[False, True, True]
    )
    picked = ordered.groupby("right", sort=False).head(params.controls)
    return picked.drop(columns="turn").reset_index(drop=True)
