"""Estimates as columns of series and as headline scalars, with what is doubtful about them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medaudit.stats.estimate import Estimate

# Below so many groups of positives, intervals cover less often than they promise
# (benchmarks/coverage.py).
FEW_POSITIVE_GROUPS = 25


def columns(estimate: Estimate, prefix: str = "") -> dict[str, float | int | str | None]:
    """An estimate as the columns of a series: value, low, high and its counts."""
    return {
        f"{prefix}value": estimate.value,
        f"{prefix}low": estimate.low,
        f"{prefix}high": estimate.high,
        "n": estimate.n,
        "n_groups": estimate.n_groups,
        "n_positive": estimate.n_positive,
        "n_positive_groups": estimate.n_positive_groups,
        "method": estimate.method,
        "undefined_share": estimate.undefined_share,
        "caution": caution(estimate),
    }


def caution(estimate: Estimate) -> str:
    """Why an interval is to be read with care; empty where it is not."""
    if not math.isfinite(estimate.value):
        return "undefined"
    if estimate.n_positive_groups is not None and estimate.n_positive_groups < FEW_POSITIVE_GROUPS:
        return "few_positive_groups"
    return "undefined_replicates" if estimate.incomplete else ""


def with_interval(name: str, estimate: Estimate) -> dict[str, float]:
    """An estimate as three headline scalars."""
    return {name: estimate.value, f"{name}_ci_low": estimate.low, f"{name}_ci_high": estimate.high}
