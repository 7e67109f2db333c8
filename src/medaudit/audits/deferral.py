"""What is deferred at a threshold, and what is left."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.audits import intervals
from medaudit.metrics import selective
from medaudit.metrics.weighting import weighted_ratio
from medaudit.stats.measure import Measure, share_of

if TYPE_CHECKING:
    from medaudit.stats.bootstrap import Bootstrap
    from medaudit.tables.scoring import Scored
    from medaudit.tables.tasks.base import Bools, Floats

REPICKED = "threshold_repicked_on_test"
GRID = tuple(np.round(np.arange(0.5, 1.0001, 0.05), 2))


@dataclass(frozen=True, eq=False)
class Deferrable:
    """One role with its risk and confidence per sample."""

    scored: Scored
    risk: Floats
    confidence: Floats


def kept_measures(part: Deferrable, threshold: float) -> tuple[Measure, ...]:
    """Coverage, selective risk and critical recall among the kept, as functions of weights."""
    kept = part.confidence >= threshold
    everyone = np.ones_like(kept)
    found = (
        Measure("coverage", share_of(kept, everyone), 0, interval_kind="proportion"),
        Measure(
            "selective_risk", partial(weighted_ratio, kept * part.risk, kept), -1, denominator=kept
        ),
    )
    if part.scored.table.schema.critical_class is None:
        return found
    k = part.scored.table.schema.critical_index
    truth = part.scored.positives[:, k]
    hits = truth & part.scored.decisions[:, k]
    return (
        *found,
        share("critical_recall", hits, truth, 1),
        share("critical_recall_kept", kept & hits, kept & truth, 1),
        share("critical_deferred_share", ~kept & truth, truth, 0),
        share("critical_missed_share", kept & truth & ~hits, truth, -1),
    )


def share(name: str, members: Bools, denominator: Bools, direction: int) -> Measure:
    """Share of `members` in `denominator`."""
    return Measure(
        name,
        share_of(members, denominator),
        direction,
        denominator=denominator,
        interval_kind="proportion",
    )


def deferral_rows(
    part: Deferrable, name: str, threshold: float, bootstrap: Bootstrap
) -> list[dict[str, object]]:
    """What the frozen threshold realises on test, one row per measure, with intervals."""
    found = bootstrap.distribution(kept_measures(part, threshold))
    return [
        {
            "score": name,
            "threshold": threshold,
            "metric": metric,
            **intervals.columns(bootstrap.interval(each)),
        }
        for metric, each in found.items()
    ]


def per_class_table(part: Deferrable, threshold: float, bootstrap: Bootstrap) -> pd.DataFrame:
    """Deferral rate and recall among the kept for every class, with intervals."""
    kept = part.confidence >= threshold
    rows = []
    for k, name in enumerate(part.scored.table.schema.classes):
        truth = part.scored.positives[:, k]
        hits = truth & part.scored.decisions[:, k]
        row: dict[str, object] = {"class": name, "n": int(truth.sum())}
        shares = {
            "deferred": (truth & ~kept, truth),
            "recall": (hits, truth),
            "recall_kept": (hits & kept, truth & kept),
        }
        for what, (members, denominator) in shares.items():
            found = bootstrap.share(members, denominator=denominator)
            row |= {what: found.value, f"{what}_low": found.low, f"{what}_high": found.high}
        rows.append(row)
    return pd.DataFrame(rows)


def coverage_table(part: Deferrable) -> pd.DataFrame:
    """Risk and critical recall among the most confident share of test, over coverages.

    Thresholds are picked on test (`method`) to draw a curve; deferral is judged at the frozen one.
    """
    rows = []
    for coverage in GRID:
        threshold = selective.threshold_for_coverage(part.confidence, coverage=float(coverage))
        ones = np.ones((1, len(part.risk)))
        values = {m.name: float(m.statistic(ones)[0]) for m in kept_measures(part, threshold)}
        row = {"asked": float(coverage), "critical_recall_kept": np.nan} | values
        rows.append(row | {"n": len(part.risk), "method": REPICKED})
    return pd.DataFrame(rows)
