"""Whether roles can be told apart: classifier two-sample tests on properties and embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from medaudit.audits.properties import (
    CHANCE,
    NOT_MEASURED,
    DiscoveryParams,
    column_aurocs,
    feature_matrix,
    principal_components,
    properties,
    standardised,
)
from medaudit.core.findings import Findings, Scalar
from medaudit.metrics.ranking import auroc
from medaudit.stats.hypothesis_tests import holm
from medaudit.tables import predictions

if TYPE_CHECKING:
    from medaudit.core.arrays import BoolArray, Float64Array, IntArray
    from medaudit.stats.bootstrap import Bootstrap
    from medaudit.tables.predictions import PredictionTable
    from medaudit.tables.scoring import Names, ScoredPredictions

PROPERTIES, EMBEDDINGS = "properties", "embeddings"
LEADING = 3
DIFFER, UNDECIDED = "differ", "no difference shown"
MEMORISED = "train images were fitted, so embeddings may differ without any drift of images"
# Roles on either side, and what is compared.
COMPARISONS = (
    ("train", "test", PROPERTIES),
    ("train", "calibration", PROPERTIES),
    ("calibration", "test", PROPERTIES),
    ("train", "test", EMBEDDINGS),
    ("calibration", "test", EMBEDDINGS),
)
COLUMNS = (
    "comparison",
    "features",
    "n_first",
    "n_second",
    "n_groups",
    "auroc",
    "chance_high",
    "p_value",
    "p_adjusted",
    "adjustment",
    "n_family",
    "verdict",
    "leading",
    "caution",
)


@dataclass(frozen=True, eq=False)
class KnownRoles:
    """Predictions of the roles that the test role is compared with, in one table."""

    table: PredictionTable


def freeze(known: PredictionTable, params: DiscoveryParams) -> KnownRoles:  # noqa: ARG001
    """Keep the rows of the train and calibration roles; nothing is fitted beforehand."""
    wanted = {role for sides in COMPARISONS for role in sides[:2]} - {"test"}
    return KnownRoles(known.where(known.rows["role"].isin(sorted(wanted)).to_numpy()))


def audit(
    test: ScoredPredictions, frozen: KnownRoles, params: DiscoveryParams, bootstrap: Bootstrap
) -> Findings:
    """Try to tell the roles that there are apart, out of fold by groups.

    Args:
        test: predictions of the test role.
        frozen: the other roles, from `freeze`.
        params: bins, components, folds, permutations.
        bootstrap: gives the level; the null distribution permutes roles between groups.
    """
    everything = predictions.joined(frozen.table, test.table)
    known = set(everything.rows["role"])
    pairs = [each for each in COMPARISONS if known.issuperset(each[:2])]
    rows = [_compared(everything, *each, params=params) for each in pairs]
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    table["p_adjusted"] = holm(table["p_value"].to_numpy())
    table["adjustment"], table["n_family"] = "Holm", int(table["p_value"].notna().sum())
    level = 1 - bootstrap.params.level
    table["verdict"] = [
        NOT_MEASURED if np.isnan(p) else DIFFER if p <= level else UNDECIDED
        for p in table["p_adjusted"]
    ]
    return Findings(headline(table), {"role_drift": table})


def _compared(
    table: PredictionTable, first: str, second: str, features: str, *, params: DiscoveryParams
) -> dict[str, object]:
    part = table.where(table.rows["role"].isin([first, second]).to_numpy())
    is_second = (part.rows["role"] == second).to_numpy()
    row: dict[str, object] = {
        "comparison": f"{first} against {second}",
        "features": features,
        "n_first": int((~is_second).sum()),
        "n_second": int(is_second.sum()),
        "n_groups": len(np.unique(part.group_ids)),
        "p_value": np.nan,
        "caution": MEMORISED if features == EMBEDDINGS and "train" in (first, second) else "",
    }
    matrix, names = _features(part, features, params)
    fewest = min(len(np.unique(part.group_ids[side])) for side in (is_second, ~is_second))
    if fewest < params.folds or not matrix.shape[1]:
        return row | {"caution": f"no {features}" if not matrix.shape[1] else "too few groups"}
    found = two_sample_test(matrix, is_second.astype(np.int64), part.group_ids, params)
    leading = leading_columns(matrix, names, is_second) if features == PROPERTIES else ""
    return row | {
        "auroc": found.auroc,
        "chance_high": found.chance_high,
        "p_value": found.p_value,
        "leading": leading,
    }


def _features(
    part: PredictionTable, features: str, params: DiscoveryParams
) -> tuple[Float64Array, tuple[str, ...]]:
    """Standardised numbers (n, f) and where each is from; none without embeddings."""
    if features == PROPERTIES:
        return feature_matrix(properties(part.rows, params), part.rows)
    if part.embeddings is None:
        return np.zeros((len(part), 0)), ()
    embeddings = part.embeddings.astype(np.float64)
    reduce = principal_components(embeddings, params, most=params.components)
    return standardised(reduce.fit_transform(embeddings)), ()


@dataclass(frozen=True)
class TwoSampleTest:
    """How well roles are told apart.

    Attributes:
        auroc: out of fold.
        chance_high: what AUROCs stay below with probability 0.95 where roles do not differ.
        p_value: (1 + #permuted ≥ observed) / (1 + permutations).
    """

    auroc: float
    chance_high: float
    p_value: float


def two_sample_test(
    features: Float64Array, roles: IntArray, group_ids: Names, params: DiscoveryParams
) -> TwoSampleTest:
    """Test that rows of two roles come from one distribution.

    A ridge regression on the role is scored out of fold, folds being of whole groups. Roles are
    then permuted between groups, and the model is fitted anew to each permutation: it is linear in
    the roles, so all are fitted at once. Rows of one group share a role.

    Args:
        features: (n, f) standardised.
        roles: (n,) 0 or 1.
        group_ids: (n,) lesion or patient.
        params: folds, permutations, seed.

    Reference: Lopez-Paz & Oquab 2017, ICLR, Revisiting classifier two-sample tests.
    """
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GroupKFold, cross_val_predict

    _, firsts, groups = np.unique(group_ids, return_index=True, return_inverse=True)
    generator = np.random.default_rng(params.seed)
    by_group = roles[firsts]
    drawn = [generator.permutation(by_group) for _ in range(params.permutations)]
    targets = np.array([by_group, *drawn])[:, groups].T.astype(np.float64)
    scores = cross_val_predict(
        Ridge(alpha=1.0), features, targets, groups=groups, cv=GroupKFold(params.folds)
    )
    found = column_aurocs(scores, targets, np.zeros(len(targets), np.int64))
    observed, null = float(found[0]), found[1:]
    p_value = (1 + int((null >= observed - 1e-12).sum())) / (1 + len(null))
    return TwoSampleTest(observed, float(np.quantile(null, CHANCE)), p_value)


def leading_columns(features: Float64Array, names: tuple[str, ...], second: BoolArray) -> str:
    """The columns that tell the roles apart most by themselves: `width (AUROC 0.61), ...`."""
    best: dict[str, float] = {}
    for column, name in zip(features.T, names, strict=True):
        area = auroc(column, second)
        best[name] = max(best.get(name, 0.5), area, 1 - area)
    order = sorted(best, key=lambda name: -best[name])[:LEADING]
    return ", ".join(f"{name} (AUROC {best[name]:.2f})" for name in order)


def headline(table: pd.DataFrame) -> dict[str, Scalar]:
    """How many comparisons there are, how many differ, and the one that does most."""
    measured = table[table["p_value"].notna()]
    scalars: dict[str, Scalar] = {
        "n_role_comparisons": len(measured),
        "n_roles_differ": int((measured["verdict"] == DIFFER).sum()),
    }
    fair = measured[measured["caution"] == ""]
    if len(fair):
        widest = fair.iloc[int(fair["auroc"].argmax())]
        scalars["largest_role_drift"] = f"{widest['comparison']}, {widest['features']}"
        scalars["largest_role_drift_auroc"] = float(widest["auroc"])
    return scalars
