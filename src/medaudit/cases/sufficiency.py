"""Whether a property of a failed image is enough: right images that are given it turn wrong.

For every property of `TRANSPLANTS` and every failure on a clean image, some right images of the
same truth are given the property of the failed image, and as a comparison that of another right
image. Both trials are on the same receivers, so the comparison is paired: an exact sign test over
the receivers in which only one of the two turns, corrected (Holm) over the properties of the case.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import binomtest

from medaudit.core.files import digest
from medaudit.core.findings import row_dicts
from medaudit.stats.hypothesis_tests import holm

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from medaudit.cases.case_selection import ChosenCase
    from medaudit.core.arrays import BoolArray, Float32Array
    from medaudit.tables.scoring import ScoredPredictions

LEAST_RECEIVERS = 8
LEVEL = 0.05
OWN, OTHER = "case", "other"
TRIALS = ("transplant", "cause", "words", "receiver", "donor")
COLUMNS = (
    "transplant",
    "cause",
    "words",
    "n",
    "n_turned",
    "n_turned_other",
    "p_value",
    "p_holm",
    "shown",
)


@dataclass(frozen=True)
class Question:
    """What went wrong in a case: an output that should have been called, or should not.

    Args:
        output: number of the output.
        wanted: whether it should have been called.
    """

    output: int
    wanted: bool


def question(case: ChosenCase, test: ScoredPredictions) -> Question:
    """The output at which a case fails; with exclusive classes always the true one."""
    (row,) = test.rows_of([case.sample_id])
    missed = test.positives[row] & ~test.decisions[row]
    if test.task.exclusive or missed[case.true_index]:
        return Question(case.true_index, wanted=True)
    return Question(case.predicted_index, wanted=False)


def receivers(case: ChosenCase, test: ScoredPredictions, *, n: int, seed: int) -> list[str]:
    """Ids of up to `n` images that are right where the case fails, one of each other group.

    None where there are fewer than `LEAST_RECEIVERS`, or the case is right or shown corrupted.
    """
    if case.kind == "success" or not case.condition.is_clean:
        return []
    asked = question(case, test)
    right = (test.positives[:, asked.output] == asked.wanted) & (
        test.decisions[:, asked.output] == asked.wanted
    )
    eligible = np.flatnonzero(right & (test.group_ids != case.group_id))
    seeds = digest([str(seed).encode(), case.sample_id.encode()])
    generator = np.random.default_rng(int(seeds, 16))
    shuffled = generator.permutation(eligible)
    _, first = np.unique(test.group_ids[shuffled], return_index=True)
    chosen = shuffled[np.sort(first)][:n]
    return [str(name) for name in test.sample_ids[chosen]] if len(chosen) >= LEAST_RECEIVERS else []


def judge(
    case: ChosenCase, test: ScoredPredictions, trials: pd.DataFrame, logits: Float32Array
) -> pd.DataFrame:
    """What every property did, one row each, columns `COLUMNS`.

    Args:
        case: the failure.
        test: its role, clean.
        trials: columns `TRIALS`, one row per edited image; `donor` is `case` or `other`.
        logits: of the edited images, (members, len(trials), outputs).
    """
    if trials.empty:
        return pd.DataFrame(columns=list(COLUMNS))
    turned = trials.assign(turned=turns(question(case, test), test, logits))
    rows = []
    for name, part in turned.groupby("transplant", sort=False):
        wide = part.set_index(["receiver", "donor"])["turned"].unstack()  # noqa: PD010
        first = part.iloc[0]
        rows.append(
            {
                "transplant": name,
                "cause": first["cause"],
                "words": first["words"],
                "n": len(wide),
                "n_turned": int(wide[OWN].sum()),
                "n_turned_other": int(wide[OTHER].sum()),
                "p_value": sign_test(wide[OWN].to_numpy(bool), wide[OTHER].to_numpy(bool)),
            }
        )
    found = pd.DataFrame(rows)
    adjusted = holm(found["p_value"])
    return found.assign(p_holm=adjusted, shown=adjusted < LEVEL)[list(COLUMNS)]


def turns(asked: Question, test: ScoredPredictions, logits: Float32Array) -> BoolArray:
    """Whether every edited image is no longer right at the output, (n,)."""
    decisions = test.task.decisions(test.task.probabilities(logits), test.thresholds)
    return np.asarray(decisions[:, asked.output] != asked.wanted)


def sign_test(first: BoolArray, second: BoolArray) -> float:
    """One-sided exact p-value that the first turns no more of the same images than the second."""
    more, less = int((first & ~second).sum()), int((second & ~first).sum())
    if more + less == 0:
        return 1.0
    return float(binomtest(more, more + less, 0.5, alternative="greater").pvalue)


def shown(found: pd.DataFrame) -> list[dict[str, Any]]:
    """The properties that are enough, the greatest difference first."""
    if found.empty:
        return []
    gain = (found["n_turned"] - found["n_turned_other"]) / found["n"]
    ordered = found.assign(gain=gain).sort_values("gain", ascending=False, kind="stable")
    return row_dicts(ordered[ordered["shown"].astype(bool)])


def sentences(case: ChosenCase, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What was shown, one sentence for each property."""
    what = f"right images of {case.truth}" if case.truth in known(case) else "right images"
    for row in rows:
        p_value = "p < 0.001" if row["p_holm"] < 0.001 else f"p = {row['p_holm']:.3f}"
        yield (
            f"This image's {row['words']} is enough: of {row['n']} {what}, {row['n_turned']} turn "
            f"wrong when given it, {row['n_turned_other']} when given that of another right image "
            f"({p_value})."
        )


def known(case: ChosenCase) -> tuple[str, ...]:
    """The truth where it is one output's name."""
    return () if "+" in case.truth or case.truth.startswith("(") else (case.truth,)
