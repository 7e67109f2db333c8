"""Which test cases to explain, and on which others to try the same interventions."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pydantic import Field

from medaudit.core.errors import DataError, listed
from medaudit.core.params import LARGEST_SEED, Section

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from medaudit.core.arrays import BoolArray
    from medaudit.tables.predictions import Condition
    from medaudit.tables.scoring import Conditions, ScoredPredictions

N_CONTRAST = 1  # false alarms and successes stand beside the failures, one of each is enough


class CasesParams(Section):
    """Which test cases are explained, and against what their evidence is weighed.

    Args:
        per_kind: cases of each kind of failure.
        confident: probability of the called class from which a call is a confident one.
        controls: random right, and as many random wrong, test samples that show how often an
            intervention changes a prediction whatever the cause; all there are if fewer.
        receivers: right images that are given the properties of a failed one.
        max_base_rate: an intervention that changes more of the controls is no evidence; nor is a
            fact that is true of more of the right images.
        slice: columns and values, such as `{dataset: rosendahl}`; only such samples are explained.
        seed: of the choice of controls.
    """

    section = "cases"
    per_kind: int = Field(2, ge=1, le=10)
    confident: float = Field(0.6, gt=0, lt=1)
    controls: int = Field(80, ge=10, le=1000)
    receivers: int = Field(24, ge=8, le=200)
    max_base_rate: float = Field(0.1, gt=0, lt=1)
    slice: dict[str, str] = Field(default_factory=dict)
    seed: int = Field(11, ge=0, le=LARGEST_SEED)


@dataclass(frozen=True)
class ChosenCase:
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

    @property
    def shown(self) -> tuple[str, Condition]:
        """The sample and the condition under which it is shown."""
        return self.sample_id, self.condition


def choose(conditions: Conditions, params: CasesParams) -> tuple[ChosenCase, ...]:
    """The cases to explain: failures first, then one success for contrast.

    Samples and groups are distinct, and so are the corruptions of flips. Equal candidates are
    taken in the order of their ids. A kind without candidates is left out; where no critical miss
    exists, errors of any class take its place under their own name.
    """
    test, stressed = conditions.clean, conditions.corrupted
    quotas: list[tuple[Iterable[ChosenCase], int]] = [
        (misses(test, params), params.per_kind),
        (flips(test, stressed, params), params.per_kind),
        (false_alarms(test, params), N_CONTRAST),
        (successes(test, stressed), N_CONTRAST),
    ]
    eligible = ids_in(test, params.slice)
    taken: list[ChosenCase] = []
    for candidates, count in quotas:
        fresh = distinct((each for each in candidates if each.sample_id in eligible), taken)
        taken += itertools.islice(fresh, count)
    return tuple(taken)


def ids_in(test: ScoredPredictions, wanted: Mapping[str, str]) -> set[str]:
    """Samples whose columns have these values, compared as text; all of them if none is wanted.

    Raises:
        DataError: a column that is not there, or values that no test sample has.
    """
    rows = test.table.rows
    absent = [name for name in wanted if name not in rows]
    if absent:
        raise DataError(
            f"params.yaml: cases.slice names {listed(absent)}; columns of the predictions: "
            f"{listed(list(map(str, rows.columns)), limit=20)}"
        )
    members = np.ones(len(rows), dtype=bool)
    for column, value in wanted.items():
        members &= (rows[column].astype(str) == value).to_numpy()
    if not members.any():
        asked = " and ".join(f"{column} = {value}" for column, value in wanted.items())
        raise DataError(f"params.yaml: cases.slice: no test sample has {asked}; ask for another")
    return set(test.sample_ids[members].tolist())


def distinct(candidates: Iterable[ChosenCase], taken: Sequence[ChosenCase]) -> Iterator[ChosenCase]:
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


def misses(test: ScoredPredictions, params: CasesParams) -> Iterator[ChosenCase]:
    """Critical samples called something else, confident ones first; then errors of any class."""
    confident = test.confidence_score() >= params.confident
    missed = test.critical & ~test.predicted_critical
    for kind, members in {
        "confident_critical_miss": missed & confident,
        "uncertain_critical_miss": missed & ~confident,
        "confident_error": ~test.correct & ~missed & confident,
        "uncertain_error": ~test.correct & ~missed & ~confident,
    }.items():
        yield from most_confident(test, members, kind)


def false_alarms(test: ScoredPredictions, params: CasesParams) -> Iterator[ChosenCase]:
    """Samples without the critical class that are confidently called critical."""
    confident = test.confidence_score() >= params.confident
    members = ~test.critical & test.predicted_critical & confident
    return most_confident(test, members, "confident_false_alarm")


def successes(
    test: ScoredPredictions, stressed: Sequence[ScoredPredictions]
) -> Iterator[ChosenCase]:
    """Right calls, best those of the critical class that no condition turns."""
    stable = test.correct & np.all([each.correct for each in (test, *stressed)], axis=0)
    for members in (
        stable & test.critical,
        test.correct & test.critical & ~stable,
        test.correct & ~test.critical,
    ):
        yield from most_confident(test, members, "success")


def most_confident(
    scored: ScoredPredictions, members: BoolArray, kind: str
) -> Iterator[ChosenCase]:
    """Members by falling confidence, then by id."""
    rows = np.flatnonzero(members)
    order = rows[np.lexsort((scored.sample_ids[rows], -scored.confidence_score()[rows]))]
    for place, row in enumerate(order.tolist(), start=1):
        reason = (
            f"{in_words(scored, row)}; number {place} by confidence of {len(rows)} such cases "
            f"among {len(members)} test samples"
        )
        yield to_case(scored, scored, row, kind=kind, reason=reason)


def flips(
    test: ScoredPredictions, stressed: Sequence[ScoredPredictions], params: CasesParams
) -> Iterator[ChosenCase]:
    """Right when clean and wrong under a condition.

    Confident clean calls come first, then the critical class, then the mildest severity, then
    the greatest loss of probability of the truth.
    """
    found = []
    for each in stressed:
        turned = test.correct & ~each.correct
        for row in np.flatnonzero(turned).tolist():
            lost = each.true_output[row]
            fall = each.probabilities[row, lost] - test.probabilities[row, lost]
            rank = (
                bool(test.confidence_score()[row] < params.confident),
                not test.critical[row],
                each.condition.severity,
                float(fall),
                str(test.sample_ids[row]),
                each.condition.name,
            )
            found.append((rank, row, int(turned.sum()), each))
    for _, row, n_turned, each in sorted(found, key=lambda candidate: candidate[0]):
        words, severity = each.condition.corruption.replace("_", " "), each.condition.severity
        told = f"{words}, severity {severity}"
        reason = (
            f"clean: {in_words(test, row)}; {told}: {in_words(each, row)}; one of "
            f"{n_turned} right calls of {int(test.correct.sum())} that this turns"
        )
        yield to_case(each, test, row, kind="corruption_flip", reason=reason)


def in_words(scored: ScoredPredictions, row: int) -> str:
    """What is true and what is called, in words."""
    truth, call = scored.truth_names[row], scored.predicted_names[row]
    stated = f"called {call} with probability {scored.confidence_score()[row]:.2f}"
    if truth == call:
        return f"true {truth}, {stated}"
    name = scored.schema.classes[scored.true_output[row]]
    return f"true {truth}, {stated} ({name} {scored.p_true[row]:.2f})"


def to_case(
    scored: ScoredPredictions, clean: ScoredPredictions, row: int, *, kind: str, reason: str
) -> ChosenCase:
    """One row as a case."""
    return ChosenCase(
        sample_id=str(scored.sample_ids[row]),
        group_id=str(scored.group_ids[row]),
        kind=kind,
        condition=scored.condition,
        true_index=int(scored.true_output[row]),
        predicted_index=int(scored.predicted_output[row]),
        truth=str(scored.truth_names[row]),
        predicted=str(scored.predicted_names[row]),
        probabilities=tuple(scored.probabilities[row].tolist()),
        clean_probabilities=tuple(clean.probabilities[row].tolist()),
        confidence=float(scored.confidence_score()[row]),
        critical=bool(scored.critical[row]),
        flagged=bool(scored.flagged[row]),
        reason=reason,
    )


def controls(
    test: ScoredPredictions, params: CasesParams, *, exclude: Iterable[str] = ()
) -> pd.DataFrame:
    """Random test samples to try every intervention on: `sample_id`, `truth`, `right`.

    As many right as wrong ones where there are enough, and of either the true classes in turn,
    since otherwise the majority class alone would set the base rate.
    """
    shuffled = np.random.default_rng(params.seed).permutation(len(test.sample_ids))
    frame = pd.DataFrame(
        {"sample_id": test.sample_ids, "truth": test.true_output, "right": test.correct}
    )
    frame = frame.iloc[shuffled]
    frame = frame[~frame["sample_id"].isin(set(exclude))]
    turn = frame.groupby(["right", "truth"]).cumcount()
    ordered = frame.assign(turn=turn).sort_values(
        ["right", "turn", "truth"], ascending=[False, True, True]
    )
    picked = ordered.groupby("right", sort=False).head(params.controls)
    return picked.drop(columns="turn").reset_index(drop=True)
