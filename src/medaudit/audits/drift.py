"""Whether new images look like those that a model was trained on; no label is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.stats import ks_2samp

from medaudit.core.findings import Findings, Scalar
from medaudit.stats import bootstrap as bootstrap_module
from medaudit.stats.bootstrap import Bootstrap, Measure
from medaudit.stats.hypothesis_tests import holm
from medaudit.stats.weighting import weighted_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import numpy.typing as npt

    from medaudit.core.arrays import BoolArray, Float64Array
    from medaudit.tables.scoring import ScoredPredictions

RANGE = (0.005, 0.995)
QUANTILES = (0.05, 0.5, 0.95)
TRAIN, CONFIDENCE, SIGNIFICANT = "train", "confidence", 0.05
CAUTION = (
    "The p-values of the Kolmogorov-Smirnov test assume independent images. Several images of a "
    "patient or of one machine make them too small, and with thousands of images any difference is "
    "significant: read the statistic itself (0 equal, 1 apart) and the share outside first."
)


@dataclass(frozen=True)
class DriftParams:
    """What is compared.

    Args:
        columns: statistics of the images.
    """

    columns: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class PredictionSummary:
    """Predictions of n images, whose truth need not be known.

    Args:
        classes: names of the outputs, k of them.
        predicted: which outputs are predicted, (n, k).
        confidence: confidence score, (n,).
        group_ids: patient or lesion of every image, (n,).
    """

    classes: tuple[str, ...]
    predicted: BoolArray
    confidence: Float64Array
    group_ids: npt.NDArray[np.str_]

    @classmethod
    def of(cls, scored: ScoredPredictions, *, score: str) -> PredictionSummary:
        """Of predictions whose truth is known, with one of the confidence scores."""
        return cls(
            scored.classes, scored.decisions, scored.confidence_score(score), scored.group_ids
        )


@dataclass(frozen=True, eq=False)
class NewImages:
    """Statistics of n new images, a row each, and their predictions in the same order."""

    statistics: pd.DataFrame
    predictions: PredictionSummary


@dataclass(frozen=True, eq=False)
class KnownImages:
    """What new images are compared with.

    Args:
        statistics: values of the train role by the name of the statistic, (m,) each.
        predictions: by role, those of the same model for the images that it was audited with.
    """

    statistics: Mapping[str, Float64Array]
    predictions: Mapping[str, PredictionSummary]


def freeze(
    train_rows: pd.DataFrame,
    params: DriftParams,
    *,
    predictions: Mapping[str, PredictionSummary],
) -> KnownImages:
    """The statistics of the train role, and what the model predicted for the known roles."""
    statistics = {name: _numbers(train_rows[name]) for name in params.columns}
    return KnownImages(statistics, predictions)


def audit(
    test: NewImages, frozen: KnownImages, params: DriftParams, bootstrap: Bootstrap
) -> Findings:
    """Compare new images with the train role, and their predictions with those that are known.

    Args:
        test: the new images.
        frozen: what is known, from `freeze`.
        params: the statistics that are compared.
        bootstrap: of the groups of the new images.
    """
    pairs: list[tuple[str, str, Float64Array, Float64Array]] = [
        (name, TRAIN, _numbers(test.statistics[name]), frozen.statistics[name])
        for name in params.columns
    ]
    pairs += [
        (CONFIDENCE, role, test.predictions.confidence, each.confidence)
        for role, each in frozen.predictions.items()
    ]
    statistics = pd.DataFrame([statistic_row(*pair, bootstrap=bootstrap) for pair in pairs])
    statistics["p_holm"] = holm(statistics["p_value"].to_numpy())
    rows = list(prediction_rows("new", test.predictions, bootstrap))
    for role, each in frozen.predictions.items():
        role_bootstrap = Bootstrap.of_groups(each.group_ids, bootstrap.params)
        rows += prediction_rows(role, each, role_bootstrap)
    drift = pd.DataFrame(rows)
    series = {"statistics": statistics, "prediction_drift": drift}
    return Findings(headline(statistics, drift), series)


def usual_range(values: Float64Array) -> tuple[float, float]:
    """The middle 99 % of values (n,): their quantiles at 0.5 and 99.5 %."""
    low, high = np.quantile(values, RANGE)
    return float(low), float(high)


def outside(values: Float64Array, limits: tuple[float, float]) -> BoolArray:
    """Which values lie outside of closed limits, (n,)."""
    low, high = limits
    return np.asarray((values < low) | (values > high))


def statistic_row(
    name: str, reference: str, new: Float64Array, known: Float64Array, *, bootstrap: Bootstrap
) -> dict[str, object]:
    """One statistic, new against known: means, quantiles, KS distance, share outside the range.

    The share outside is that of the new images; 1 % is to be expected.
    """
    limits = usual_range(known)
    distance, p_value = kolmogorov_smirnov(new, known)
    beyond = bootstrap.share(outside(new, limits))
    return {
        "statistic": name,
        "reference": reference,
        "n_new": len(new),
        "n_reference": len(known),
        "mean_new": float(new.mean()),
        "mean_reference": float(known.mean()),
        **{f"q{100 * q:02.0f}_new": float(np.quantile(new, q)) for q in QUANTILES},
        **{f"q{100 * q:02.0f}_reference": float(np.quantile(known, q)) for q in QUANTILES},
        "range_low": limits[0],
        "range_high": limits[1],
        "share_outside": beyond.value,
        "share_outside_low": beyond.low,
        "share_outside_high": beyond.high,
        "ks_distance": distance,
        "p_value": p_value,
    }


def kolmogorov_smirnov(new: Float64Array, known: Float64Array) -> tuple[float, float]:
    """Distance of two samples (n,) and (m,), sup |F_new − F_known| in [0, 1], and its p-value.

    The p-value is asymptotic, for independent values; with ties it is too large.

    Reference: Hodges 1958, Ark. Mat. 3:469-486.
    """
    if len(new) == len(known) == 1:  # two values say nothing, and the asymptotic law has no size
        return float(new[0] != known[0]), 1.0
    found = ks_2samp(new, known, method="asymp")
    return float(found.statistic), float(found.pvalue)


def prediction_rows(
    source: str, predictions: PredictionSummary, bootstrap: Bootstrap
) -> Iterator[dict[str, object]]:
    """Share of the images for which each output is predicted, and the mean confidence."""
    for k, name in enumerate(predictions.classes):
        found = bootstrap.share(predictions.predicted[:, k])
        yield {
            "source": source,
            "quantity": "share predicted",
            "class": name,
            **bootstrap_module.columns(found),
        }
    measure = Measure("mean_confidence", partial(weighted_mean, predictions.confidence), 0)
    mean = bootstrap.interval(measure)
    yield {
        "source": source,
        "quantity": "mean confidence",
        "class": "",
        **bootstrap_module.columns(mean),
    }


def headline(statistics: pd.DataFrame, drift: pd.DataFrame) -> dict[str, Scalar]:
    """The statistic that is furthest apart, how many differ, and the mean confidence."""
    furthest = statistics.iloc[int(statistics["ks_distance"].argmax())]
    new = drift[(drift["source"] == "new") & (drift["quantity"] == "mean confidence")].iloc[0]
    return {
        "n": int(furthest["n_new"]),
        "n_statistics": len(statistics),
        "n_significant": int((statistics["p_holm"] < SIGNIFICANT).sum()),
        "furthest_statistic": f"{furthest['statistic']} against {furthest['reference']}",
        "furthest_ks_distance": float(furthest["ks_distance"]),
        "furthest_p_holm": float(furthest["p_holm"]),
        "largest_share_outside": float(statistics["share_outside"].max()),
        "mean_confidence": float(new["value"]),
        "mean_confidence_ci_low": float(new["low"]),
        "mean_confidence_ci_high": float(new["high"]),
    }


def sentence(found: Findings) -> str:
    """The headline in words, one sentence."""
    scalars = found.scalars
    return (
        f"{scalars['n_significant']} of {scalars['n_statistics']} statistics of the new images "
        f"differ from what is known (Holm-corrected, as if images were independent); furthest is "
        f"{scalars['furthest_statistic']}, distance {scalars['furthest_ks_distance']:.2f}; up to "
        f"{100 * float(scalars['largest_share_outside'] or 0):.1f} % of the images lie outside the "
        f"range of 99 % of the known ones."
    )


def _numbers(values: pd.Series[float]) -> Float64Array:
    return np.asarray(values, dtype=np.float64)
