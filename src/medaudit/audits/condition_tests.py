"""What is tested under stress: families of measures over all conditions, by joint sign flips."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.stats import sign_flips
from medaudit.tables import measures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from medaudit.core.arrays import BoolArray
    from medaudit.stats.bootstrap import IntervalParams, Measure
    from medaudit.stats.sign_flips import Contributions
    from medaudit.tables.scoring import Conditions, ScoredPredictions

RANKING, STANDARDISED = "macro_auroc", "standardised_accuracy"
OF = "@"
KEYS = ("condition", "metric", "output")
CHANGED = ("delta_low", "delta_high", "interval")
TESTED = (
    "p_value",
    "p_adjusted",
    "adjustment",
    "family",
    "n_family",
    "margin",
    "verdict",
    "minimal_detectable",
)
"""Columns of every comparison that is judged, be it of a condition or of a slice."""


def rates(test: ScoredPredictions) -> tuple[str, str]:
    """Sensitivity and specificity as they are tested: of the critical class, or of every output."""
    if test.schema.critical_class is None:
        return "sensitivity", "specificity"
    return "critical_sensitivity", "critical_specificity"


def tested_outputs(test: ScoredPredictions) -> dict[str, int]:
    """Outputs whose sensitivity and specificity are tested, by the name in the column `output`.

    The critical class has no name there: it stands in the name of its measures.
    """
    if test.schema.critical_class is not None:
        return {"": test.schema.critical_index}
    return {name: k for k, name in enumerate(test.classes)}


def measured(scored: ScoredPredictions) -> list[Measure]:
    """All measures of one condition; those of single outputs are called `measure@output`."""
    found = list(measures.measures(scored))
    if scored.task.exclusive:
        # Conditions share the class mix of the test role: to standardise changes nothing.
        accuracy = next(each for each in found if each.name == "accuracy")
        found.append(replace(accuracy, name=STANDARDISED))
    if scored.schema.critical_class is None:
        for output, k in tested_outputs(scored).items():
            own = {each.name: each for each in measures.per_output_measures(scored, k)}
            found += [replace(own[name], name=f"{name}{OF}{output}") for name in rates(scored)]
    return found


@dataclass(frozen=True, eq=False)
class Family:
    """Comparisons that are judged together.

    Attributes:
        metric: measure that is compared.
        keys: (condition, output) of each comparison.
        contributions: of the groups to each of them.
    """

    metric: str
    keys: tuple[tuple[str, str], ...]
    contributions: Contributions


def families(test: Conditions) -> list[Family]:
    """The tested measures, each with all conditions and all outputs that it is of."""
    if not test.corrupted:
        return []
    clean, names = test.clean, [each.condition.name for each in test.corrupted]
    flags = np.stack([each.above_threshold for each in test])
    whole = tuple((name, "") for name in names)
    outputs = tested_outputs(clean)
    keys = tuple((name, output) for output in outputs for name in names)
    sensitivity, specificity = rates(clean)
    found = [
        Family(RANKING, whole, ranking_contributions(test)),
        Family(sensitivity, keys, rate_contributions(flags, clean.positives, clean, outputs)),
        Family(specificity, keys, rate_contributions(~flags, ~clean.positives, clean, outputs)),
    ]
    if clean.task.exclusive:
        right = np.stack([each.correct for each in test])
        everyone = np.ones(len(clean), dtype=bool)
        changes = sign_flips.share_contributions(
            right[1:], right[0], everyone, group_ids=clean.group_ids
        )
        found.append(Family(STANDARDISED, whole, changes))
    return found


def ranking_contributions(test: Conditions) -> Contributions:
    """To the changes of macro AUROC."""
    clean = test.clean
    return sign_flips.auroc_contributions(
        np.stack([each.probabilities for each in test.corrupted]),
        clean.probabilities,
        clean.positives,
        classes=clean.in_means,
        group_ids=clean.group_ids,
    )


def rate_contributions(
    hits: BoolArray, cases: BoolArray, clean: ScoredPredictions, outputs: Mapping[str, int]
) -> Contributions:
    """To the changes of the share of hits among cases, output by output.

    Args:
        hits: (conditions, n, k), clean first.
        cases: (n, k).
        clean: whose groups are meant.
        outputs: numbers of the outputs.
    """
    parts = (
        sign_flips.share_contributions(
            hits[1:, :, k], hits[0, :, k], cases[:, k], group_ids=clean.group_ids
        )
        for k in outputs.values()
    )
    return sign_flips.joined(list(parts))


def verdict_table(
    families: Sequence[Family], params: IntervalParams, *, margin: float
) -> pd.DataFrame:
    """Of every tested comparison its simultaneous interval, p-values and verdict."""
    tables = [comparisons(family, params, margin=margin) for family in families]
    return pd.concat(tables) if tables else pd.DataFrame(columns=[*KEYS, *CHANGED, *TESTED])


def comparisons(family: Family, params: IntervalParams, *, margin: float) -> pd.DataFrame:
    """One family, judged by joint sign flips; higher is better in all tested measures."""
    found = sign_flips.compare(
        family.contributions, level=params.level, replicates=params.replicates, seed=params.seed
    )
    known = np.isfinite(found.p_harm)
    return pd.DataFrame(
        {
            "condition": [condition for condition, _ in family.keys],
            "metric": family.metric,
            "output": [output for _, output in family.keys],
            # Adding 0 takes the sign from a zero; no share changes by more than 1.
            "delta_low": np.maximum(0.0 - found.high, -1),
            "delta_high": np.minimum(0.0 - found.low, 1),
            "interval": np.where(known, "simultaneous", ""),
            "p_value": found.p_value,
            "p_adjusted": found.p_harm,
            "adjustment": np.where(known, "max-T", ""),
            "family": np.where(known, "confirmatory", ""),
            "n_family": np.where(known, found.size, np.nan),
            "margin": np.where(known, margin, np.nan),
            "verdict": found.verdicts(margin),
            "minimal_detectable": found.minimal_detectable,
        }
    )
