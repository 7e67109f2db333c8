"""The chosen cases with everything that is known about them, for the report."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from medaudit.audits import evidence
from medaudit.audits.cases import CasesParams, Chosen, choose, controls
from medaudit.audits.diagnosis import Diagnosis, diagnose, ranked
from medaudit.audits.taxonomy import modes, taxonomy

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np
    import numpy.typing as npt

    from medaudit.stats.bootstrap import Bootstrap
    from medaudit.tables.conditions import Condition
    from medaudit.tables.scoring import Conditions, ScoredPredictions


LONGEST_NAME = 48  # characters, of up to 4 bytes; a file name holds 255 bytes


@dataclass(frozen=True)
class Study:
    """What the prediction tables alone say: who is explained, against whom, and how common it is.

    Args:
        params: section `cases`.
        bootstrap: of the groups of the test role.
        test: the test role when clean.
        stressed: the same rows under every condition.
        cases: to be explained.
        controls: `sample_id`, `truth`, `right` of the samples on which interventions are tried.
        taxonomy: the table of modes.
    """

    params: CasesParams
    bootstrap: Bootstrap
    test: ScoredPredictions
    stressed: tuple[ScoredPredictions, ...]
    cases: tuple[Chosen, ...]
    controls: pd.DataFrame
    taxonomy: pd.DataFrame

    def predicted(self, sample_ids: Iterable[str]) -> list[int]:
        """The output that is predicted for clean images."""
        return [int(index) for index in self.test.predicted_output[self.test.rows_of(sample_ids)]]

    def mode(self, case: Chosen) -> str:
        """The mode of the taxonomy that holds a case."""
        (row,) = self.test.rows_of([case.sample_id])
        found = modes(self.test, self.stressed, confident=self.params.confident)
        return next(each.name for each in found if each.members[row])

    def before(self, case: Chosen) -> ScoredPredictions:
        """The predictions under the condition in which a case is shown."""
        judged = (self.test, *self.stressed)
        return next(each for each in judged if each.condition == case.condition)


@dataclass(frozen=True)
class Page:
    """One case with its place, from 1, its weighed evidence and its diagnosis."""

    number: int
    case: Chosen
    evidence: pd.DataFrame
    diagnosis: Diagnosis

    @property
    def shown(self) -> tuple[str, Condition]:
        """The sample and the condition under which it is shown."""
        return self.case.sample_id, self.case.condition

    @property
    def stem(self) -> str:
        """First part of the names of its pictures."""
        name = re.sub(r"[^\w.-]", "_", self.case.sample_id)[:LONGEST_NAME]
        return f"{self.number}_{name}"

    @property
    def classes(self) -> dict[str, int]:
        """The classes whose Grad-CAM is drawn."""
        return {"predicted": self.case.predicted_index, "true": self.case.true_index}

    @property
    def cited(self) -> str | None:
        """The intervention that speaks loudest, where it makes another image than the clean one."""
        specific = ranked(self.evidence[self.evidence["specific"]])
        names = specific.loc[specific["kind"] != "apply", "intervention"]
        edits = names[~names.str.startswith(evidence.UNDO)]
        return None if edits.empty else str(edits.iloc[0])


def study(conditions: Conditions, params: CasesParams, bootstrap: Bootstrap) -> Study:
    """Choose cases and controls, and count the modes.

    Args:
        conditions: predictions of the test role, clean and under every condition.
        params: section `cases`.
        bootstrap: of the groups of the test role.
    """
    cases = choose(conditions, params)
    shown = [case.sample_id for case in cases]
    return Study(
        params=params,
        bootstrap=bootstrap,
        test=conditions.clean,
        stressed=conditions.corrupted,
        cases=cases,
        controls=controls(conditions.clean, params, exclude=shown),
        taxonomy=taxonomy(conditions, bootstrap, confident=params.confident),
    )


def control_evidence(
    book: Study, trials: pd.DataFrame, logits: npt.NDArray[np.float32]
) -> pd.DataFrame:
    """Edits of the controls, and every condition and its undoing on the whole test role."""
    shown = {case.condition for case in book.cases}
    undone = [
        evidence.undo_evidence(book.test, each) for each in book.stressed if each.condition in shown
    ]
    edits = evidence.edit_evidence(trials, logits, book.test)
    return joined([edits, evidence.stress_evidence(book.test, book.stressed), *undone])


def case_evidence(
    book: Study, case: Chosen, trials: pd.DataFrame, logits: npt.NDArray[np.float32]
) -> pd.DataFrame:
    """Edits of the image as it is shown, every condition on the clean one, and its undoing."""
    before, ids = book.before(case), [case.sample_id]
    frames = [
        evidence.edit_evidence(trials, logits, before),
        evidence.stress_evidence(book.test, book.stressed, ids),
    ]
    if not case.condition.is_clean:
        frames.append(evidence.undo_evidence(book.test, before, ids))
    return joined(frames)


def weigh(book: Study, case: Chosen, found: pd.DataFrame, tried: pd.DataFrame) -> Page:
    """Weigh the evidence of a case against that of the controls, and diagnose."""
    weighed = evidence.weigh(found, tried, max_base_rate=book.params.max_base_rate)
    number = book.cases.index(case) + 1
    diagnosis = diagnose(case, weighed, book.taxonomy, mode=book.mode(case))
    return Page(number, case, weighed, diagnosis)


def joined(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Evidence tables one below the other."""
    held = [frame for frame in frames if len(frame)]
    return pd.concat(held or list(frames[:1]), ignore_index=True)
