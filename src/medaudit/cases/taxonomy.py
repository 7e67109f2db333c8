"""The failure taxonomy: how often every way of coming out right or wrong happens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.core.privacy import joined

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medaudit.core.arrays import BoolArray
    from medaudit.stats.bootstrap import Bootstrap
    from medaudit.tables.scoring import Conditions, ScoredPredictions


EXAMPLES = 2


@dataclass(frozen=True)
class Mode:
    """A way in which a test sample comes out, with the samples that do."""

    name: str
    definition: str
    members: BoolArray


def taxonomy(conditions: Conditions, bootstrap: Bootstrap, *, confident: float) -> pd.DataFrame:
    """How many test samples come out in every way; the modes exclude each other and sum to n.

    Columns: mode; n; n_groups; share of the test samples with its interval `share_low` and
    `share_high`; `n_critical` members whose critical class is true; `n_flagged` members that the
    frozen threshold of the critical class flags whatever is called, and `n_critical_flagged` of
    them that it flags rightly; definition; `example_ids`, up to `EXAMPLES` members of different
    groups, the most confident first, joined by spaces.
    """
    test, stressed = conditions.clean, conditions.corrupted
    rows = []
    for mode in modes(test, stressed, confident=confident):
        n = int(mode.members.sum())
        share = bootstrap.share(mode.members)
        rows.append(
            {
                "mode": mode.name,
                "n": n,
                "n_groups": len(set(test.group_ids[mode.members])),
                "share": share.value,
                "share_low": share.low,
                "share_high": share.high,
                "n_critical": int((mode.members & test.critical).sum()),
                "n_flagged": int((mode.members & test.flagged).sum()),
                "n_critical_flagged": int((mode.members & test.flagged & test.critical).sum()),
                "definition": mode.definition,
                "example_ids": joined(most_confident(test, mode.members, EXAMPLES)),
            }
        )
    return pd.DataFrame(rows)


STATISTICS = ("brightness", "contrast", "sharpness", "lesion_area")
BINS = 12


def outcome_statistics(test: ScoredPredictions) -> pd.DataFrame:
    """Histograms of image statistics, of right and of wrong calls.

    Columns: statistic; outcome, `right` or `wrong`; the ends `low` and `high` of the bin; n in it;
    share of the samples of this outcome. `BINS` bins of equal width lie between the 1st and the
    99th percentile of all, the outer ones hold what is beyond. Statistics that the table lacks, or
    that never vary, are left out.
    """
    rows = []
    for name in [each for each in STATISTICS if each in test.table.rows]:
        values = pd.to_numeric(test.table.rows[name], errors="coerce").to_numpy(np.float64)
        known = np.isfinite(values)
        if not known.any():
            continue
        low, high = np.quantile(values[known], [0.01, 0.99])
        if not low < high:
            continue
        edges = np.linspace(low, high, BINS + 1)
        for outcome, members in (("right", test.correct), ("wrong", ~test.correct)):
            held = np.clip(values[known & members], low, high)
            counts, _ = np.histogram(held, edges)
            rows += [
                {
                    "statistic": name,
                    "outcome": outcome,
                    "low": edges[i],
                    "high": edges[i + 1],
                    "n": int(count),
                    "share": count / max(1, len(held)),
                }
                for i, count in enumerate(counts)
            ]
    columns = ["statistic", "outcome", "low", "high", "n", "share"]
    return pd.DataFrame(rows, columns=columns)


def most_confident(test: ScoredPredictions, members: BoolArray, n: int) -> list[str]:
    """Up to `n` members of different groups by falling confidence, then by id."""
    rows = np.flatnonzero(members)
    order = rows[np.lexsort((test.sample_ids[rows], -test.confidence_score()[rows]))]
    _, first = np.unique(test.group_ids[order], return_index=True)
    return [str(name) for name in test.sample_ids[order[np.sort(first)][:n]]]


def modes(
    test: ScoredPredictions, stressed: Sequence[ScoredPredictions], *, confident: float
) -> tuple[Mode, ...]:
    """Ways of failing on the clean image, then ways of right calls under stress."""
    return (*error_modes(test, confident=confident), *stability_modes(test, stressed))


def error_modes(test: ScoredPredictions, *, confident: float) -> tuple[Mode, ...]:
    """Wrong calls on clean images, those of the critical class apart."""
    name = test.schema.critical_class
    missed = test.critical & ~test.predicted_critical
    alarm = ~test.critical & test.predicted_critical & ~test.correct
    other = ~test.correct & ~missed & ~alarm
    sure = test.confidence_score() >= confident
    limit = f"with probability {confident:g} or more"
    errors = (
        Mode(
            "confident_error", f"another error, {limit}; {largest_pair(test, other)}", other & sure
        ),
        Mode("uncertain_error", "another error, with less probability", other & ~sure),
    )
    if name is None:
        return errors
    return (
        Mode("confident_critical_miss", f"{name} not called, {limit}", missed & sure),
        Mode(
            "uncertain_critical_miss",
            f"{name} not called, with less probability",
            missed & ~sure,
        ),
        Mode("false_alarm", f"{name} called where it is absent", alarm),
        *errors,
    )


def stability_modes(
    test: ScoredPredictions, stressed: Sequence[ScoredPredictions]
) -> tuple[Mode, ...]:
    """Right calls on clean images, by the mildest condition that turns them."""
    if not stressed:
        return (Mode("right", "right; no condition was tested", test.correct),)
    severities = np.array([each.condition.severity for each in stressed])
    wrong = ~np.array([each.correct for each in stressed])
    mild = wrong[severities == severities.min()].any(axis=0)
    severe = wrong.any(axis=0) & ~mild
    least = f"severity {severities.min()}"
    return (
        Mode(
            "fragile", f"right when clean, wrong under a condition of {least}", test.correct & mild
        ),
        Mode("fragile_when_severe", f"as fragile, but only above {least}", test.correct & severe),
        Mode(
            "stable", f"right under all {len(stressed)} conditions", test.correct & ~mild & ~severe
        ),
    )


def largest_pair(test: ScoredPredictions, members: BoolArray) -> str:
    """The most frequent confusion among the members, in words."""
    if not members.any():
        return "there is none"
    found = zip(test.truth_names[members], test.predicted_names[members], strict=True)
    pairs = pd.Series(found).value_counts()
    count = int(pairs.max())
    truth, call = min(pairs.index[pairs == count])
    return f"most often {truth} called {call} ({count} of {int(members.sum())})"
