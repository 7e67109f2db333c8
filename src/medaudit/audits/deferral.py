"""What is deferred at a threshold, and what is left."""

from __future__ import annotations

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
    from medaudit.tables.scoring import ScoredPredictions
    from medaudit.tables.tasks.base import Bools, Floats

REPICKED = "threshold_repicked_on_test"
GRID = tuple(np.round(np.arange(0.5, 1.0001, 0.05), 2))


def kept_measures(test: ScoredPredictions, kept: Bools, risks: Floats) -> tuple[Measure, ...]:
    """Coverage, selective risk and critical recall among the kept, as functions of weights.

    Args:
        test: predictions.
        kept: samples that are not deferred, (n,).
        risks: loss of every sample in [0, 1], (n,).
    """
    everyone = np.ones_like(kept)
    selective_risk = partial(weighted_ratio, kept * risks, kept)
    found = (
        Measure("coverage", share_of(kept, everyone), 0, interval_kind="proportion"),
        Measure("selective_risk", selective_risk, -1, denominator=kept),
    )
    if test.schema.critical_class is None:
        return found
    truth = test.critical
    hits = truth & test.predicted_critical
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
    test: ScoredPredictions, risks: Floats, bootstrap: Bootstrap, *, score: str, threshold: float
) -> list[dict[str, object]]:
    """What the frozen threshold realises on test, one row per measure, with intervals."""
    kept = test.confidence_score(score) >= threshold
    return [
        {
            "score": score,
            "threshold": threshold,
            "metric": measure.name,
            **intervals.columns(bootstrap.interval(measure)),
        }
        for measure in kept_measures(test, kept, risks)
    ]


def per_class_table(test: ScoredPredictions, kept: Bools, bootstrap: Bootstrap) -> pd.DataFrame:
    """Deferral rate and recall among the kept for every class, with intervals."""
    rows = []
    for k, name in enumerate(test.classes):
        truth = test.positives[:, k]
        hits = truth & test.decisions[:, k]
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


def coverage_table(test: ScoredPredictions, risks: Floats, *, score: str) -> pd.DataFrame:
    """Risk and critical recall among the most confident share of test, over coverages.

    Thresholds are picked on test (`method`) to draw a curve; deferral is judged at the frozen one.
    """
    rows, confidence = [], test.confidence_score(score)
    for coverage in GRID:
        threshold = selective.threshold_for_coverage(confidence, coverage=float(coverage))
        ones = np.ones((1, len(test)))
        found = kept_measures(test, confidence >= threshold, risks)
        values = {m.name: float(m.statistic(ones)[0]) for m in found}
        row = {"asked": float(coverage), "critical_recall_kept": np.nan} | values
        rows.append(row | {"n": len(test), "method": REPICKED})
    return pd.DataFrame(rows)
