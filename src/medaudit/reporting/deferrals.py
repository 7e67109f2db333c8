"""The frozen deferral as the selective stage found it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from medaudit.reporting.numbers import Number, real

if TYPE_CHECKING:
    from medaudit.reporting.evidence import Evidence

MEASURES = {
    "coverage": "coverage",
    "selective_risk": "risk among the kept",
    "critical_recall": "recall of {critical}, all",
    "critical_recall_kept": "recall of {critical}, kept",
    "critical_deferred_share": "{critical} deferred",
    "critical_missed_share": "{critical} kept and missed",
}


def primary(evidence: Evidence) -> str:
    """The confidence score that defers; the first one where none is named."""
    known = evidence.names("selective", "deferral", "score")
    asked = (evidence.params.get("selective") or {}).get("primary")
    return str(asked) if asked in known else known[0]


def realised(evidence: Evidence, metric: str, score: str | None = None) -> Number:
    """A measure of the frozen deferral on test."""
    name = primary(evidence) if score is None else score
    return evidence.number("selective", "deferral", score=name, metric=metric)


def threshold(evidence: Evidence) -> float:
    """The frozen threshold on the primary score."""
    rows = evidence.rows("selective", "deferral", score=primary(evidence))
    return real(rows[0]["threshold"]) if rows else math.nan
