"""What is measured inside a slice and in the rest: the same outputs on both sides."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from medaudit.audits import calibrate
from medaudit.audits.slicing import SLICE_METRICS
from medaudit.tables import measures

if TYPE_CHECKING:
    from collections.abc import Sequence

    from medaudit.audits.slicing import SliceParams
    from medaudit.core.arrays import BoolArray, Float64Array
    from medaudit.stats.bootstrap import Bootstrap, BootstrapDistribution, Measure
    from medaudit.tables.scoring import ScoredPredictions

Key = tuple[str, str]
"""Name of a measure, and the output that it is of: a class, a label, or empty."""

OF_OUTPUTS = ("auroc", "auprc")
MEANS = {"macro_auroc": "auroc", "macro_auprc": "auprc"}
# Means over outputs; beside them stands over how many.
OVER_OUTPUTS = (
    *MEANS,
    *("macro_f1", "macro_sensitivity", "macro_specificity", "balanced_accuracy", "f1_at_half"),
)
FLOOR_REPLICATES = 200
FLOORS = ("ece_floor_mean", "ece_floor_p95")


def shared_outputs(
    test: ScoredPredictions, mask: BoolArray, *, min_positives: int
) -> tuple[int, ...]:
    """Outputs with enough positives and negatives both inside and outside, by number.

    Means over these compare like with like: one rare class neither blanks a slice, nor does it
    count on one side alone.

    Args:
        test: the whole role.
        mask: which rows are inside, (n,).
        min_positives: samples of either outcome that an output needs on either side.
    """
    truth = test.positives
    counts = [
        (truth[side] == outcome).sum(axis=0) for side in (mask, ~mask) for outcome in (True, False)
    ]
    enough = np.min(counts, axis=0) >= min_positives
    return tuple(k for k in test.in_means if enough[k])


def part_distributions(
    test: ScoredPredictions, mask: BoolArray, params: SliceParams, bootstrap: Bootstrap
) -> dict[Key, BootstrapDistribution]:
    """The measures of the masked samples on the resamples of the whole role.

    Those of single outputs are there for outputs that have enough cases on both sides; means run
    over the same outputs. A measure that rests on fewer cases than asked for is undefined.

    Args:
        test: the whole role.
        mask: which rows are measured, (n,); the others are what they are compared with.
        params: how many cases a measure needs.
        bootstrap: of the groups of the whole role.
    """
    shared = shared_outputs(test, mask, min_positives=params.min_positives)
    part, own = test.part(mask, averaged=shared), bootstrap.subset(mask)
    by_output = {
        (each.name, test.classes[k]): own.replicate(each)
        for k in shared
        for each in measures.per_output_measures(part, k)
        if each.name in OF_OUTPUTS
    }
    whole = {}
    for each in slice_measures(part):
        if each.name in MEANS:
            parts = [found for (name, _), found in by_output.items() if name == MEANS[each.name]]
            whole[each.name, ""] = mean_over(each, parts, own)
        else:
            kept = enough(each, min_positives=params.min_positives)
            whole[each.name, critical_output(test, each.name)] = own.replicate(kept)
    return whole | by_output


def slice_measures(scored: ScoredPredictions) -> list[Measure]:
    """The measures that are reported for slices, without those of single outputs."""
    known = (*measures.measures(scored), *measures.micro_measures(scored))
    return [each for each in known if each.name in SLICE_METRICS]


def mean_over(
    measure: Measure, parts: Sequence[BootstrapDistribution], own: Bootstrap
) -> BootstrapDistribution:
    """A mean over outputs from its parts, replicate by replicate, which costs nothing."""
    found = own.replicate(replace(measure, statistic=undefined))
    if not parts:
        return found
    return replace(
        found,
        value=float(np.mean([each.value for each in parts])),
        replicates=np.asarray(np.mean([each.replicates for each in parts], axis=0)),
    )


def enough(measure: Measure, *, min_positives: int) -> Measure:
    """The measure, undefined where it rests on fewer cases than asked for."""
    if measure.n_positive is None or measure.n_positive >= min_positives:
        return measure
    return replace(measure, statistic=undefined)


def undefined(weights: Float64Array) -> Float64Array:
    """A statistic that is never defined."""
    return np.full(len(weights), np.nan)


def critical_output(test: ScoredPredictions, name: str) -> str:
    """The class that a measure is of, if it is of the critical one."""
    return (test.schema.critical_class or "") if name.startswith("critical_") else ""


def ece_floor(part: ScoredPredictions, *, seed: int) -> dict[str, float]:
    """What the ECE of these samples reads in a calibrated model: mean and 95th percentile.

    A small slice has a large ECE by chance alone. Images count as independent.
    """
    errors = calibrate.noise(
        part.events, n_bins=measures.ECE_BINS, replicates=FLOOR_REPLICATES, seed=seed
    ).mean(axis=0)
    ends = (float(errors.mean()), float(np.quantile(errors, 0.95)))
    return dict(zip(FLOORS, ends, strict=True))
