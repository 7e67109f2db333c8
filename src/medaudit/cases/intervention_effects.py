"""What interventions do to predictions, one row each, weighed against what they do to controls."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import pandas as pd

from medaudit.cases.failure_factors import factor_of
from medaudit.stats.intervals import wilson
from medaudit.tables.scoring import names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medaudit.core.arrays import Float32Array, IntArray
    from medaudit.stats.intervals import Estimate
    from medaudit.tables.scoring import ScoredPredictions


UNDO = "undo_"
KINDS = ("undo", "remove", "apply")
EVIDENCE = (
    "sample_id",
    "intervention",
    "kind",
    "cause",
    "truth",
    "predicted_before",
    "predicted_after",
    "p_true_before",
    "p_true_after",
)
"""Columns of evidence: one row per sample and intervention.

`kind` is `undo` (a suspected cause is taken away), `remove` (the lesion itself is taken away) or
`apply` (a corruption is added). `truth` and `predicted_*` are class names.
"""
WORTH = ("turned", "base_rate", "base_rate_low", "base_rate_high", "n_controls", "specific")
"""Columns that `weigh` adds."""


def edit_evidence(
    trials: pd.DataFrame,
    logits: Float32Array,
    before: ScoredPredictions,
) -> pd.DataFrame:
    """Evidence from images that were edited and predicted anew.

    Args:
        trials: `sample_id`, `intervention`, `kind` and `cause`; one row per edited image.
        logits: of the edited images, (members, len(trials), outputs).
        before: the predictions without the edit, which hold all these samples.
    """
    task = before.task
    probabilities = task.probabilities(logits)
    rows = before.rows_of(trials["sample_id"])
    decisions = task.decisions(probabilities, before.thresholds)
    return trials.assign(
        **facts_before(before, rows),
        predicted_after=names(decisions, before.classes),
        p_true_after=probabilities[np.arange(len(rows)), before.true_output[rows]],
    )[list(EVIDENCE)]


def stress_evidence(
    test: ScoredPredictions, stressed: Sequence[ScoredPredictions], ids: Sequence[str] | None = None
) -> pd.DataFrame:
    """What every tested condition does to some (default: all) samples, from the stress tables.

    Every condition is a row of kind `apply`.
    """
    rows = test.rows_of(test.sample_ids if ids is None else ids)
    frames = [pd.DataFrame(columns=list(EVIDENCE))]
    for each in stressed:
        corruption = each.condition.corruption
        after = transition(test, each, rows).assign(
            intervention=each.condition.name, cause=factor_of(corruption), kind="apply"
        )
        frames.append(after[list(EVIDENCE)])
    return pd.concat([frame for frame in frames if len(frame)] or frames, ignore_index=True)


def undo_evidence(
    test: ScoredPredictions, corrupted: ScoredPredictions, ids: Sequence[str] | None = None
) -> pd.DataFrame:
    """From the corrupted image back to the clean one, for some (default: all) samples."""
    rows = test.rows_of(test.sample_ids if ids is None else ids)
    condition = corrupted.condition
    return transition(corrupted, test, rows).assign(
        intervention=f"{UNDO}{condition.name}", kind="undo", cause=factor_of(condition.corruption)
    )[list(EVIDENCE)]


def transition(before: ScoredPredictions, after: ScoredPredictions, rows: IntArray) -> pd.DataFrame:
    """Truth, call and probability of the truth in two tables of equal row order.

    Where several outputs are true the probability is that of the one that is lost, at both ends.
    """
    output = np.where(before.correct, after.true_output, before.true_output)[rows]
    return pd.DataFrame(
        {
            "sample_id": before.sample_ids[rows],
            **facts_before(before, rows),
            "p_true_before": before.probabilities[rows, output],
            "predicted_after": after.predicted_names[rows],
            "p_true_after": after.probabilities[rows, output],
        }
    )


def facts_before(before: ScoredPredictions, rows: IntArray) -> dict[str, npt.NDArray[np.generic]]:
    """Truth, call and probability of the truth without the intervention."""
    return {
        "truth": before.truth_names[rows],
        "predicted_before": before.predicted_names[rows],
        "p_true_before": before.p_true[rows],
    }


def base_rates(trials: pd.DataFrame) -> pd.DataFrame:
    """How often every intervention changes the prediction of control samples.

    Args:
        trials: evidence of the controls.

    Returns:
        One row per intervention: `n_right` controls were right before, of which `n_flipped`
        (`flip_rate` with its Wilson interval) changed; `n_wrong` were wrong, of which
        `n_repaired` (`repair_rate`) became right.
    """
    rows = []
    once = trials.drop_duplicates(["intervention", "sample_id"])
    for (name, why), part in once.groupby(["intervention", "cause"], sort=True):
        right = part["predicted_before"] == part["truth"]
        changed = part["predicted_after"] != part["predicted_before"]
        repaired = ~right & (part["predicted_after"] == part["truth"])
        rows.append(
            {
                "intervention": name,
                "cause": why,
                **share_columns("flip", int((right & changed).sum()), int(right.sum())),
                "n_right": int(right.sum()),
                "n_flipped": int((right & changed).sum()),
                **share_columns("repair", int(repaired.sum()), int((~right).sum())),
                "n_wrong": int((~right).sum()),
                "n_repaired": int(repaired.sum()),
            }
        )
    return pd.DataFrame(rows)


def share_columns(name: str, count: int, n: int) -> dict[str, float]:
    """A rate with its Wilson interval as three columns."""
    share = wilson(count, n)
    return {
        f"{name}_rate": share.value,
        f"{name}_rate_low": share.low,
        f"{name}_rate_high": share.high,
    }


def weigh(evidence: pd.DataFrame, trials: pd.DataFrame, *, max_base_rate: float) -> pd.DataFrame:
    """Evidence with what it is worth.

    Adds `turned` (see `turns`), `base_rate` with its Wilson interval and the controls behind it,
    `n_controls` (see `null_rate`), and `specific`: turned, and the base rate is known and at most
    `max_base_rate`.
    """
    turned = turns(evidence)
    tried = dict(iter(trials.groupby(["intervention", "kind"])))
    rates = []
    for row in evidence.itertuples(index=False):
        alike = tried.get((row.intervention, row.kind), trials.iloc[:0])
        others = alike[alike["sample_id"] != row.sample_id]
        rates.append(null_rate(others, target=str(row.predicted_after), kind=str(row.kind)))
    worth = np.array([rate.value for rate in rates], dtype=np.float64)
    return evidence.assign(
        turned=turned,
        base_rate=worth,
        base_rate_low=[rate.low for rate in rates],
        base_rate_high=[rate.high for rate in rates],
        n_controls=[rate.n for rate in rates],
        specific=turned & (worth <= max_base_rate),
    )


def turns(evidence: pd.DataFrame) -> pd.Series[bool]:
    """Whether every intervention did what its cause would make it do.

    `undo`: a wrong prediction becomes right. `remove`: a wrong prediction stays although the
    lesion is gone. `apply`: a right prediction becomes wrong.
    """
    before, after = evidence["predicted_before"], evidence["predicted_after"]
    wrong = before != evidence["truth"]
    undone = wrong & (after == evidence["truth"])
    stayed = wrong & (after == before)
    broken = ~wrong & (after != evidence["truth"])
    kind = evidence["kind"]
    return undone.where(kind == "undo", stayed.where(kind == "remove", broken))


def null_rate(tried: pd.DataFrame, *, target: str, kind: str) -> Estimate:
    """How often the intervention gives a result like this whatever the cause; NaN if untried.

    The larger of two shares among the controls: of right predictions that it changes (not asked
    of `remove`, which should change them), and of samples not called `target` before that are so
    afterwards (not asked of `apply`): an edit after which everything is called `mel` says nothing
    about the `mel` that it finds.
    """
    before, after = tried["predicted_before"], tried["predicted_after"]
    right, other = before == tried["truth"], before != target
    shares = []
    if kind != "remove" and right.any():
        shares.append(wilson(int((right & (after != before)).sum()), int(right.sum())))
    if kind != "apply" and other.any():
        shares.append(wilson(int((other & (after == target)).sum()), int(other.sum())))
    return max(shares, key=lambda share: share.value, default=wilson(0, 0))
