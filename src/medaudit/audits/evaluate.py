"""How good the model is on clean test images, class by class, at frozen thresholds."""

from __future__ import annotations

import logging
import math
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import Field

from medaudit.core.errors import listed
from medaudit.core.findings import Findings, Scalar, row_dicts
from medaudit.core.params import Section
from medaudit.metrics import operating, ranking
from medaudit.stats import bootstrap as bootstrap_module
from medaudit.stats.bootstrap import Measure
from medaudit.stats.delong import auroc_interval, clustered_auroc_interval
from medaudit.stats.weighting import ratio, weighted_mean
from medaudit.tables import measures, operating_points

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import ArrayLike

    from medaudit.core.arrays import Float64Array
    from medaudit.stats.bootstrap import Bootstrap, BootstrapDistribution
    from medaudit.stats.intervals import Estimate
    from medaudit.stats.weighting import Weights
    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.predictions import PredictionTable
    from medaudit.tables.scoring import ScoredPredictions

HEADLINE = (
    "macro_auroc",
    "macro_auprc",
    "macro_f1",
    "balanced_accuracy",
    "accuracy",
    "exact_match",
    "macro_sensitivity",
    "macro_specificity",
    "critical_auroc",
    "critical_sensitivity",
    "critical_specificity",
    "critical_false_alarms_per_100",
    "critical_ppv",
    "critical_npv",
    "critical_recall",
)
WORST = ("sensitivity", "specificity")
PREDICTIVE_VALUES = {
    "critical_ppv": operating.ppv_at_prevalence,
    "critical_npv": operating.npv_at_prevalence,
}
FROM_ENDS = "from_ends_of_sensitivity_and_specificity"
NO_TARGET = {"target": math.nan, "expected_low": math.nan, "expected_high": math.nan}
CURVE_POINTS = 200

log = logging.getLogger(__name__)


class EvaluateParams(Section):
    """Operating points and scoring of the clean test role.

    Args:
        specificity: at which thresholds are frozen on the calibration role.
        assurance: one-sided Clopper-Pearson level at which that specificity is promised for new
            samples; `null` freezes the threshold that reaches it on the calibration sample.
        prevalence: of the critical class where the model is to be used, for its predictive values;
            `null` takes that of the test role.
        threshold_uncertainty: whether intervals of rates at frozen thresholds count in that another
            calibration sample would have chosen other thresholds. By default they are about these
            thresholds on new samples.
    """

    section = "evaluate"
    specificity: float = Field(0.95, gt=0.5, lt=1)
    assurance: float | None = Field(None, gt=0.5, lt=1)
    prevalence: float | None = Field(None, gt=0, lt=1)
    threshold_uncertainty: bool = False


def freeze(calibration: PredictionTable, params: EvaluateParams) -> OperatingPoints:
    """Thresholds of all outputs, chosen on the calibration role.

    Where its rows are in folds instead, those of every fold are chosen on the others.
    """
    crossed = operating_points.FOLD in calibration.rows
    choose = operating_points.cross_fit if crossed else operating_points.choose
    return choose(calibration, specificity=params.specificity, assurance=params.assurance)


def audit(
    test: ScoredPredictions, frozen: OperatingPoints, params: EvaluateParams, bootstrap: Bootstrap
) -> Findings:
    """Score the clean test role at the frozen thresholds.

    Args:
        test: clean predictions of the test role.
        frozen: thresholds from `freeze`.
        params: the prevalence of predictive values, and what intervals count in.
        bootstrap: of the groups of the test role.
    """
    test = test.at(frozen)
    warn_of_absent(test)
    redrawn = rates_at_redrawn_thresholds(test, params, bootstrap)
    micro = (*measures.micro_measures(test), *measures.micro_areas(test))
    found = bootstrap.distribution((*measures.measures(test), *micro))
    found = with_replicates(found, replicates_of_whole(test, redrawn))
    estimates = {name: bootstrap.interval(each) for name, each in found.items()}
    if test.schema.critical_class is not None:
        estimates |= consequences(test, params, found, estimates, bootstrap)
    metrics = pd.DataFrame(
        [{"metric": name, **bootstrap_module.columns(e)} for name, e in estimates.items()]
    )
    per_class = per_class_table(test, bootstrap, redrawn)
    series = {
        "metrics": metrics,
        "per_class": per_class,
        "confusion": test.task.confusion(test),
        "roc": curve_table(test, "roc"),
        "precision_recall": curve_table(test, "precision_recall"),
        "threshold": threshold_table(test),
    }
    scalars: dict[str, Scalar] = {"n": len(test), "n_groups": bootstrap.n_groups}
    for name in HEADLINE:
        if name in estimates:
            scalars |= bootstrap_module.with_interval(name, estimates[name])
    return Findings(scalars | operating_scalars(test, params, per_class), series)


def warn_of_absent(test: ScoredPredictions) -> None:
    """Say which outputs have no metric because the test role lacks positives or negatives."""
    if test.left_out:
        log.warning(
            "test role: %s lack positives or negatives; their metrics are undefined, and macro "
            "means are over the other %d",
            listed(test.left_out, limit=20),
            len(test.in_means),
        )


def stated_prevalence(test: ScoredPredictions, params: EvaluateParams) -> float:
    """Prevalence of the critical class for predictive values: as stated, or that of the test role.

    NaN where the test role has only one of both outcomes and none is stated.
    """
    if params.prevalence is not None:
        return params.prevalence
    share = float(test.critical.mean())
    return share if 0 < share < 1 else math.nan


def consequences(
    test: ScoredPredictions,
    params: EvaluateParams,
    found: Mapping[str, BootstrapDistribution],
    estimates: Mapping[str, Estimate],
    bootstrap: Bootstrap,
) -> dict[str, Estimate]:
    """False alarms among 100 without the critical class, and predictive values at a prevalence.

    They are functions of sensitivity and specificity, resample by resample; the prevalence is taken
    as known.
    """
    names = ("critical_sensitivity", "critical_specificity")
    rates, ends = [found[name] for name in names], [estimates[name] for name in names]
    prevalence = stated_prevalence(test, params)
    values = {"critical_false_alarms_per_100": false_alarms(ends[1])}
    if math.isfinite(prevalence):
        for name, of_rates in PREDICTIVE_VALUES.items():
            known = partial(of_rates, prevalence=prevalence)
            values[name] = predictive_value(known, name, rates, ends, bootstrap)
    return values


def false_alarms(specificity: Estimate) -> Estimate:
    """100 · (1 − specificity): of 100 without the class, how many are flagged."""
    return replace(
        specificity,
        value=100 * (1 - specificity.value),
        low=100 * (1 - specificity.high),
        high=100 * (1 - specificity.low),
    )


def predictive_value(
    of_rates: Callable[[ArrayLike, ArrayLike], Float64Array],
    name: str,
    rates: Sequence[BootstrapDistribution],
    ends: Sequence[Estimate],
    bootstrap: Bootstrap,
) -> Estimate:
    """A function of sensitivity and specificity that rises with both, with its interval.

    Where a rate is 0 or 1 no resample moves it; the interval is then from the value at both lower
    ends to that at both upper ends, which is too wide rather than too narrow.
    """
    value, replicates = (
        of_rates(*(getattr(rate, what) for rate in rates)) for what in ("value", "replicates")
    )
    fewest = min(rates, key=lambda rate: rate.n_independent)
    joint = replace(
        fewest,
        measure=Measure(name, fewest.measure.statistic, 1),
        value=float(value),
        replicates=replicates,
        n_positive_groups=min(rate.n_positive_groups or 0 for rate in rates),
    )
    found = bootstrap.interval(joint)
    if not any(rate.value in (0, 1) for rate in rates):
        return found
    low, high = (float(of_rates(*(getattr(e, end) for e in ends))) for end in ("low", "high"))
    return replace(found, low=low, high=high, method=FROM_ENDS)


def rates_at_redrawn_thresholds(
    test: ScoredPredictions, params: EvaluateParams, bootstrap: Bootstrap
) -> list[dict[str, Float64Array]]:
    """Of every output its rates in every resample of the test role, at a threshold of its own.

    Each is chosen anew on a resample of the calibration role, so that the spread is that of both
    samples. Empty unless it is asked for.
    """
    if not params.threshold_uncertainty or test.points is None:
        return []
    weights = bootstrap.resamples.weights
    drawn = test.points.redrawn(replicates=len(weights), seed=bootstrap.params.seed + 1)
    return [_rates_at(test, k, drawn[:, k], weights) for k in range(len(test.classes))]


def _rates_at(
    test: ScoredPredictions, k: int, thresholds: Float64Array, weights: Weights
) -> dict[str, Float64Array]:
    scores, truth = test.probabilities[:, k], test.positives[:, k]
    hits, alarms = (
        operating.weighted_share_above(scores, members, weights, thresholds=thresholds)
        for members in (truth, ~truth)
    )
    positives = weighted_mean(truth, weights)
    spared = 1 - positives - alarms
    found = {
        "sensitivity": ratio(hits, positives),
        "specificity": ratio(spared, 1 - positives),
        "ppv": ratio(hits, hits + alarms),
        "npv": ratio(spared, 1 - hits - alarms),
    }
    # Labels are called at thresholds; the most probable class of several is not.
    called = {} if test.task.exclusive else {"recall": "sensitivity", "precision": "ppv"}
    return found | {name: found[same] for name, same in called.items()}


def replicates_of_whole(
    test: ScoredPredictions, redrawn: Sequence[Mapping[str, Float64Array]]
) -> dict[str, Float64Array]:
    """The same for rates of the critical class, and for means over the outputs."""
    if not redrawn:
        return {}
    means = {
        f"macro_{rate}": np.asarray(np.mean([redrawn[k][rate] for k in test.in_means], axis=0))
        for rate in WORST
        if test.in_means
    }
    if test.schema.critical_class is None:
        return means
    of_critical = redrawn[test.schema.critical_index]
    return means | {f"critical_{rate}": values for rate, values in of_critical.items()}


def with_replicates(
    found: Mapping[str, BootstrapDistribution], redrawn: Mapping[str, Float64Array]
) -> dict[str, BootstrapDistribution]:
    """Distributions whose replicates are replaced where there are others of that name."""
    return {
        name: replace(each, replicates=redrawn[name]) if name in redrawn else each
        for name, each in found.items()
    }


def operating_scalars(
    test: ScoredPredictions, params: EvaluateParams, per_class: pd.DataFrame
) -> dict[str, Scalar]:
    """What macro means cover, and the operating point of the critical class or the worst output."""
    points = test.points
    scalars: dict[str, Scalar] = {
        "n_outputs_in_means": len(test.in_means),
        "threshold_uncertainty": params.threshold_uncertainty,
        "cross_fitted": points is not None and points.cross_fitted,
    }
    if test.schema.critical_class is None:
        return scalars | worst_output(test, per_class)
    k = test.schema.critical_index
    row = _row(per_class, test.classes[k], "specificity")
    return scalars | {
        "critical_threshold": float(test.thresholds[k]),
        "n_critical": int(test.positives[:, k].sum()),
        "critical_specificity_target": row["target"],
        "critical_specificity_expected_low": row["expected_low"],
        "critical_specificity_expected_high": row["expected_high"],
        "critical_prevalence": stated_prevalence(test, params),
        "prevalence_stated": params.prevalence is not None,
    }


def worst_output(test: ScoredPredictions, per_class: pd.DataFrame) -> dict[str, Scalar]:
    """The output of which least is found at its frozen threshold, for sure.

    It is the one whose interval of the sensitivity has the lowest upper end: low beyond its own
    uncertainty, where the lowest value, or the lowest lower end, is mostly that of the rarest
    output. Among those in macro means; nothing where no sensitivity has an interval.
    """
    kept = [test.classes[k] for k in test.in_means]
    rows = per_class[(per_class["metric"] == "sensitivity") & per_class["class"].isin(kept)]
    rows = rows[np.isfinite(rows["high"].to_numpy(dtype=np.float64))]
    if rows.empty:
        return {}
    found = rows.loc[rows["high"].astype(float).idxmin()]
    name = str(found["class"])
    scalars: dict[str, Scalar] = {"worst_output": name, "worst_output_n": int(found["n_positive"])}
    for rate in WORST:
        row = _row(per_class, name, rate)
        scalars |= {
            f"worst_output_{rate}": float(row["value"]),
            f"worst_output_{rate}_ci_low": float(row["low"]),
            f"worst_output_{rate}_ci_high": float(row["high"]),
        }
    return scalars | {
        "worst_output_false_alarms_per_100": 100 * (1 - float(row["value"])),
        "worst_output_false_alarms_per_100_ci_low": 100 * (1 - float(row["high"])),
        "worst_output_false_alarms_per_100_ci_high": 100 * (1 - float(row["low"])),
    }


def _row(per_class: pd.DataFrame, name: str, metric: str) -> dict[str, Any]:
    chosen = (per_class["class"] == name) & (per_class["metric"] == metric)
    return row_dicts(per_class[chosen])[0]


def per_class_table(
    test: ScoredPredictions,
    bootstrap: Bootstrap,
    redrawn: Sequence[Mapping[str, Float64Array]] = (),
) -> pd.DataFrame:
    """One row per class and metric, with intervals, prevalence and threshold.

    Specificities have the `target` that the threshold was chosen for beside them, and the range
    `expected_low` to `expected_high` in which that of a test role lies that is like calibration.
    """
    rows = []
    for k, name in enumerate(test.schema.classes):
        found = bootstrap.distribution(measures.per_output_measures(test, k))
        found = with_replicates(found, redrawn[k] if redrawn else {})
        estimates = {metric: bootstrap.interval(each) for metric, each in found.items()}
        for metric, estimate in (estimates | delong(test, k, bootstrap)).items():
            expected = expectation(test, k, bootstrap) if metric == "specificity" else NO_TARGET
            rows.append(
                {
                    "class": name,
                    "metric": metric,
                    **bootstrap_module.columns(estimate),
                    "prevalence": float(test.positives[:, k].mean()),
                    "threshold": float(test.thresholds[k]),
                    **expected,
                }
            )
    return pd.DataFrame(rows)


def expectation(test: ScoredPredictions, k: int, bootstrap: Bootstrap) -> dict[str, float]:
    """The specificity that output k was given on calibration, and what follows for the test role.

    Both samples have their own chance; groups count for as many cases as they tell.
    """
    points, negatives = test.points, ~test.positives[:, k]
    if points is None:
        return NO_TARGET
    spared = ~test.above_threshold[negatives, k]
    n_new = operating.independent_cases(spared, test.group_ids[negatives])
    low, high = points.expected_specificity(k, n_new=n_new, level=bootstrap.params.level)
    return {"target": points.specificity, "expected_low": low, "expected_high": high}


def delong(test: ScoredPredictions, k: int, bootstrap: Bootstrap) -> dict[str, Estimate]:
    """DeLong's interval of the AUROC beside the bootstrap, of groups where these hold several."""
    scores, truth, level = test.probabilities[:, k], test.positives[:, k], bootstrap.params.level
    if bootstrap.n_groups < bootstrap.n:
        found = clustered_auroc_interval(scores, truth, test.group_ids, level=level)
        return {"auroc_clustered": found}
    found = auroc_interval(scores, truth, level=level)
    rarer = min(int(truth.sum()), int((~truth).sum()))
    return {"auroc_delong": replace(found, n_positive_groups=rarer)}


def curve_table(test: ScoredPredictions, kind: str) -> pd.DataFrame:
    """ROC or precision-recall points of every class that has both outcomes, thinned for charts."""
    parts = []
    for k, name in enumerate(test.schema.classes):
        scores, truth = test.probabilities[:, k], test.positives[:, k]
        if truth.all() or not truth.any():
            continue
        if kind == "roc":
            curve = ranking.roc_curve(scores, truth)
            part = pd.DataFrame({"class": name, "fpr": curve.fpr, "tpr": curve.tpr})
        else:
            pr = ranking.precision_recall_curve(scores, truth)
            part = pd.DataFrame({"class": name, "recall": pr.recall, "precision": pr.precision})
        parts.append(thinned(part))
    axes = ["fpr", "tpr"] if kind == "roc" else ["recall", "precision"]
    empty = pd.DataFrame(columns=["class", *axes])
    return pd.concat(parts, ignore_index=True) if parts else empty


def threshold_table(test: ScoredPredictions) -> pd.DataFrame:
    """Sensitivity and specificity of every class over thresholds, long form.

    The column `frozen` is the threshold from calibration, the same in all rows of a class.
    """
    parts = [_class_thresholds(test, k) for k in range(len(test.classes))]
    return pd.concat(parts, ignore_index=True)


def _class_thresholds(test: ScoredPredictions, k: int) -> pd.DataFrame:
    rates = ranking.rates_by_threshold(test.probabilities[:, k], test.positives[:, k])
    wide = pd.DataFrame({name: getattr(rates, name) for name in ("sensitivity", "specificity")})
    wide.insert(0, "threshold", rates.thresholds)
    long = thinned(wide[np.isfinite(wide["threshold"])]).melt(
        "threshold", var_name="rate", value_name="value"
    )
    long.insert(0, "class", test.classes[k])
    return long.assign(frozen=float(test.thresholds[k]))


def thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """At most `CURVE_POINTS` rows, first and last kept."""
    if len(curve) <= CURVE_POINTS:
        return curve
    keep = np.unique(np.linspace(0, len(curve) - 1, CURVE_POINTS).round().astype(int))
    return curve.iloc[keep].reset_index(drop=True)
