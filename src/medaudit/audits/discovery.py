"""Slices that nobody named: found on the calibration and validation roles, confirmed on test.

Rules of up to three conditions are searched as SliceLine does, and embeddings are clustered. What
is found is frozen, so that its error on the test role is that of a slice chosen beforehand.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medaudit.audits.error_gaps import ERROR_COLUMNS, ErrorGaps, error_kinds
from medaudit.audits.properties import (
    NOT_MEASURED,
    ConditionMatrix,
    DiscoveryParams,
    Property,
    condition_matrix,
    principal_components,
    properties,
)
from medaudit.core.findings import Findings, Scalar
from medaudit.core.privacy import joined
from medaudit.stats.weighting import ratio

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from medaudit.audits.error_gaps import ErrorKind
    from medaudit.core.arrays import BoolArray, Float64Array, IntArray
    from medaudit.stats.bootstrap import Bootstrap
    from medaudit.tables.scoring import ScoredPredictions

RULE, CLUSTER = "rule", "cluster"
CONFIRMED, NOT_CONFIRMED = "confirmed", "not confirmed"
EXAMPLES = 6
MIN_ERRORS = 3  # fewer are no finding
CHUNK = 512  # rules at a time
DIGITS = 9
TOO_SMALL = {"n_groups": np.nan, "n_errors": np.nan}
FOUND = ("found_n", "found_error", "found_expected", "score")
COLUMNS = (
    "error",
    "kind",
    "slice",
    "found_on",
    *FOUND,
    *ERROR_COLUMNS,
    "verdict",
    "sample_ids",
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Candidate:
    """A part of the rows on which it was found.

    Args:
        score: of SliceLine, above 0.
        inside: (n,) rows that it holds.
        conditions: columns of the condition matrix that it joins by `and`; none for a cluster.
    """

    score: float
    inside: BoolArray
    conditions: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class DiscoveredSlice:
    """A frozen slice.

    Args:
        error: name of the kind of error.
        words: the rule, or what a cluster holds more of than the rest.
        rule: pairs of a property's number and a code, all of which hold; empty for a cluster.
        cluster: its number; −1 for a rule.
        found_n: rows that can be wrong in this way, where it was found.
        found_error: their share of errors.
        found_expected: the share that their classes have there.
        score: of SliceLine.
    """

    error: str
    words: str
    rule: tuple[tuple[int, int], ...]
    cluster: int
    found_n: int
    found_error: float
    found_expected: float
    score: float


@dataclass(frozen=True, eq=False)
class EmbeddingClusters:
    """k-means over principal components of embeddings, beside the class.

    What is linear in the logits is taken out of the embeddings first: a cluster of what the model
    mistakes would else be a slice of its own calls, and confirm itself on any data.

    Args:
        linear: embeddings by logits.
        reduce: principal components.
        classes: values of the strata.
        class_scale: length of the indicator of a class: the spread of the components.
        means: k-means.
    """

    linear: Any
    reduce: Any
    classes: IntArray
    class_scale: float
    means: Any

    def codes(self, scored: ScoredPredictions) -> IntArray:
        """Cluster of every row, (n,)."""
        residual = _residual(self.linear, scored)
        found = self.means.predict(_with_class(self, self.reduce.transform(residual), scored))
        return np.asarray(found, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class FrozenDiscovery:
    """What is known of a sample before the test role is looked at.

    Args:
        known: properties with their values and bins.
        clusters: of embeddings; `None` where the model has none.
        slices: that were found.
        found_on: names of the roles.
    """

    known: tuple[Property, ...]
    clusters: EmbeddingClusters | None
    slices: tuple[DiscoveredSlice, ...] = field(default=())
    found_on: str = ""


def freeze(source: ScoredPredictions, params: DiscoveryParams) -> FrozenDiscovery:
    """Find slices with more errors than their classes have, on predictions that are not the test's.

    Args:
        source: calibration and validation roles at the frozen thresholds.
        params: sizes and numbers.
    """
    known = properties(source.table.rows, params)
    conditions = condition_matrix(known, source.table.rows)
    clusters = clusters_of(source, params)
    codes = None if clusters is None else clusters.codes(source)
    found: list[DiscoveredSlice] = []
    for kind in error_kinds(source):
        rules = search(conditions, kind, params)
        found += [_described(known, conditions, kind, each) for each in rules]
        if codes is not None:
            parts = worst_clusters(codes, kind, params)
            found += [
                _described(known, conditions, kind, part, cluster=number) for number, part in parts
            ]
    roles = sorted(set(source.table.rows["role"]))
    return FrozenDiscovery(known, clusters, tuple(found), " + ".join(map(str, roles)))


def audit(
    test: ScoredPredictions, frozen: FrozenDiscovery, params: DiscoveryParams, bootstrap: Bootstrap
) -> Findings:
    """Measure every frozen slice on the test role.

    Args:
        test: predictions of the test role at the frozen thresholds.
        frozen: slices from `freeze`.
        params: sizes.
        bootstrap: of the groups of the test role.
    """
    conditions = condition_matrix(frozen.known, test.table.rows)
    codes = None if frozen.clusters is None else frozen.clusters.codes(test)
    gaps = ErrorGaps(test.group_ids, bootstrap)
    rows: list[dict[str, object]] = []
    for kind in error_kinds(test):
        slices = [each for each in frozen.slices if each.error == kind.name]
        parts = [inside(each, conditions, codes) for each in slices]
        sizes = [int((part & kind.among).sum()) for part in parts]
        large = [part & (n >= params.min_size) for part, n in zip(parts, sizes, strict=True)]
        measured = gaps.rows(kind, large)
        for each, part, row, n in zip(slices, parts, measured, sizes, strict=True):
            counted = row if row["n"] else row | TOO_SMALL | {"n": n}
            shown = verdict(float(counted["p_adjusted"]), bootstrap.params.level)  # type: ignore[arg-type]
            rows.append(
                _row(test, frozen, each, counted | {"verdict": shown}, wrong=part & kind.wrong)
            )
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    if frozen.clusters is None:
        log.info("no clusters are looked for: the predictions have no embeddings")
    return Findings(headline(table, frozen), {"discovered": table})


def inside(each: DiscoveredSlice, conditions: ConditionMatrix, codes: IntArray | None) -> BoolArray:
    """Rows of a frozen slice, (n,)."""
    if codes is not None and each.cluster >= 0:
        return np.asarray(codes == each.cluster)
    place = {
        pair: i for i, pair in enumerate(zip(conditions.owners, conditions.codes, strict=True))
    }
    return np.asarray(conditions.holds[:, [place[pair] for pair in each.rule]].all(axis=1))


def search(
    conditions: ConditionMatrix, kind: ErrorKind, params: DiscoveryParams
) -> list[Candidate]:
    """The rules with the highest scores, no two of which hold nearly the same rows.

    score = α (ē_S / ē − 1) − (1 − α) (n / |S| − 1), where S are the rows of a rule that can be
    wrong, ē_S is their share of errors and ē the share that their classes have in the sample, both
    after `shrinkage` rows with the errors of their classes are added to S: with one class and
    without shrinkage this is SliceLine's score. All rules of at least `min_size` such rows are
    scored, of one condition up to `max_conditions` of different columns. Only scores above 0 count.

    Reference: Sagadeeva & Boehm 2021, SIGMOD, SliceLine.
    """
    among = kind.among
    holds = conditions.holds[among]
    wrong, expected = kind.wrong[among], kind.expected[among]
    found = list(_levels(holds, conditions.owners, wrong, expected, params))
    scores = np.concatenate([scores for _, scores in found])
    rules = [rule for rules, _ in found for rule in rules]
    chosen: list[Candidate] = []
    for i in np.argsort(-scores, kind="stable"):  # of equal scores the rule of fewer conditions
        if not scores[i] > 0 or len(chosen) == params.rules:
            break
        part = np.asarray(conditions.holds[:, rules[i]].all(axis=1))
        if all(overlap(part & among, each.inside & among) <= params.max_overlap for each in chosen):
            chosen.append(Candidate(float(scores[i]), part, tuple(rules[i].tolist())))
    return chosen


def _levels(
    holds: BoolArray,
    owners: IntArray,
    wrong: BoolArray,
    expected: Float64Array,
    params: DiscoveryParams,
) -> Iterator[tuple[IntArray, Float64Array]]:
    """Rules (m, conditions) of 1, 2, ... conditions that are large enough, with their scores."""
    single = holds.astype(np.float64)
    added = np.concatenate([single, single * wrong[:, None], single * expected[:, None]], axis=1)
    rules = np.zeros((1, 0), np.int64)
    for _ in range(params.max_conditions):
        parts = [
            _longer(rules[start : start + CHUNK], added, owners, params)
            for start in range(0, len(rules), CHUNK)
        ]
        rules, sums = (np.concatenate(each) for each in zip(*parts, strict=True))
        # Equal scores stay equal in whatever order they were summed.
        scores = slice_scores(*sums.T, n=len(holds), params=params).round(DIGITS)
        yield rules, scores
        rules = rules[sums[:, 1] >= MIN_ERRORS]  # a part of fewer has no more
        if not len(rules):
            return


def _longer(
    rules: IntArray, added: Float64Array, owners: IntArray, params: DiscoveryParams
) -> tuple[IntArray, Float64Array]:
    """Rules with one more condition that are large enough; rows, errors and expected errors."""
    masks = np.ones((len(added), len(rules)))
    for conditions in rules.T:
        masks *= added[:, conditions]  # the first third of the columns
    sums = (masks.T @ added).reshape(len(rules), 3, -1)
    last = owners[rules[:, -1]] if rules.shape[1] else np.full(len(rules), -1)
    allowed = (owners > last[:, None]) & (sums[:, 0] >= params.min_size)
    parents, conditions = np.nonzero(allowed)
    return np.column_stack([rules[parents], conditions]), sums[parents, :, conditions]


def slice_scores(
    sizes: Float64Array,
    errors: Float64Array,
    expected: Float64Array,
    *,
    n: int,
    params: DiscoveryParams,
) -> Float64Array:
    """Scores of parts of n rows, (m,); −∞ where fewer than `MIN_ERRORS` are wrong.

    Args:
        sizes: (m,) rows of each.
        errors: (m,) errors in each.
        expected: (m,) sums of the error rates of the classes of its rows.
        n: rows in all.
        params: weight of the error against the size, and shrinkage.
    """
    added = params.shrinkage * expected / np.maximum(sizes, 1)
    excess = ratio(errors + added, expected + added) - 1
    scores = params.alpha * excess - (1 - params.alpha) * (n / np.maximum(sizes, 1) - 1)
    return np.asarray(np.where((expected > 0) & (errors >= MIN_ERRORS), scores, -np.inf))


def overlap(first: BoolArray, second: BoolArray) -> float:
    """Rows in both over rows in either (Jaccard), in [0, 1]; 0 for two empty parts."""
    either = int((first | second).sum())
    return int((first & second).sum()) / either if either else 0.0


def worst_clusters(
    codes: IntArray, kind: ErrorKind, params: DiscoveryParams
) -> list[tuple[int, Candidate]]:
    """Clusters that are large enough and have a score above 0, the highest first."""
    parts = [codes == number for number in range(params.clusters)]
    among = [part & kind.among for part in parts]
    sizes, errors, expected = (
        np.array([float(value[rows].sum()) for rows in among])
        for value in (kind.among, kind.wrong, kind.expected)
    )
    scores = slice_scores(sizes, errors, expected, n=int(kind.among.sum()), params=params)
    scores[sizes < params.min_size] = -np.inf
    order = [int(i) for i in np.argsort(-scores, kind="stable")[: params.rules] if scores[i] > 0]
    return [(i, Candidate(float(scores[i]), parts[i])) for i in order]


def clusters_of(source: ScoredPredictions, params: DiscoveryParams) -> EmbeddingClusters | None:
    """Clusters of embeddings, or `None` where there are none or too few rows for one each."""
    from sklearn.cluster import KMeans
    from sklearn.linear_model import LinearRegression

    embeddings = source.table.embeddings
    if embeddings is None or len(source) < params.clusters * params.min_size:
        return None
    linear = LinearRegression().fit(_logits(source), embeddings.astype(np.float64))
    residual = _residual(linear, source)
    reduce = principal_components(residual, params, most=params.components).fit(residual)
    reduced = reduce.transform(residual)
    scale = float(np.sqrt((reduced**2).sum(axis=1).mean()))
    fitted = EmbeddingClusters(linear, reduce, np.unique(source.strata), scale, None)
    means = KMeans(params.clusters, random_state=params.seed, n_init=10)
    means.fit(_with_class(fitted, reduced, source))
    return EmbeddingClusters(linear, reduce, fitted.classes, scale, means)


def _logits(scored: ScoredPredictions) -> Float64Array:
    return np.asarray(scored.table.logits.mean(axis=0), dtype=np.float64)


def _residual(linear: Any, scored: ScoredPredictions) -> Float64Array:
    embeddings = np.asarray(scored.table.embeddings, dtype=np.float64)
    return np.asarray(embeddings - linear.predict(_logits(scored)))


def _with_class(
    fitted: EmbeddingClusters, reduced: Float64Array, scored: ScoredPredictions
) -> Float64Array:
    indicators = scored.strata[:, None] == fitted.classes
    return np.concatenate([reduced, fitted.class_scale * indicators], axis=1)


def _described(
    known: Sequence[Property],
    conditions: ConditionMatrix,
    kind: ErrorKind,
    found: Candidate,
    *,
    cluster: int = -1,
) -> DiscoveredSlice:
    rows = found.inside & kind.among
    rule = tuple((int(conditions.owners[i]), int(conditions.codes[i])) for i in found.conditions)
    words = " and ".join(known[owner].words(code) for owner, code in rule)
    return DiscoveredSlice(
        error=kind.name,
        words=words or f"embedding cluster {cluster}: {typical(known, conditions, rows, kind)}",
        rule=rule,
        cluster=cluster,
        found_n=int(rows.sum()),
        found_error=float(kind.wrong[rows].mean()),
        found_expected=float(kind.expected[rows].mean()),
        score=found.score,
    )


def typical(
    known: Sequence[Property], conditions: ConditionMatrix, rows: BoolArray, kind: ErrorKind
) -> str:
    """The condition whose share in a part exceeds that in the rest most, in words."""
    rest = kind.among & ~rows
    if not conditions.holds.shape[1] or not rest.any():
        return "no property tells it apart"
    here, there = conditions.holds[rows].mean(axis=0), conditions.holds[rest].mean(axis=0)
    i = int((here - there).argmax())
    words = known[conditions.owners[i]].words(conditions.codes[i])
    return f"{words} in {here[i]:.0%} (rest {there[i]:.0%})"


def _row(
    test: ScoredPredictions,
    frozen: FrozenDiscovery,
    each: DiscoveredSlice,
    measured: dict[str, object],
    *,
    wrong: BoolArray,
) -> dict[str, object]:
    return {
        "error": each.error,
        "kind": RULE if each.rule else CLUSTER,
        "slice": each.words,
        "found_on": frozen.found_on,
        **{name: getattr(each, name) for name in FOUND},
        **measured,
        "sample_ids": joined(examples(test, wrong)),
    }


def verdict(p_adjusted: float, level: float) -> str:
    """Whether more errors inside are shown on the test role."""
    if math.isnan(p_adjusted):
        return NOT_MEASURED
    return CONFIRMED if p_adjusted <= 1 - level else NOT_CONFIRMED


def examples(test: ScoredPredictions, wrong: BoolArray) -> list[str]:
    """Ids of errors, the truth that the model believed least first."""
    rows = np.flatnonzero(wrong)
    order = rows[np.argsort(test.p_true[rows], kind="stable")]
    return [str(name) for name in test.sample_ids[order[:EXAMPLES]]]


def headline(table: pd.DataFrame, frozen: FrozenDiscovery) -> dict[str, Scalar]:
    """How many slices were found and confirmed, and the confirmed one with the largest gap."""
    confirmed = table[table["verdict"] == CONFIRMED]
    n_clusters = int((table["kind"] == CLUSTER).sum())
    scalars: dict[str, Scalar] = {
        "n_discovered": len(table),
        "n_discovered_confirmed": len(confirmed),
        "n_discovered_clusters": None if frozen.clusters is None else n_clusters,
    }
    if len(confirmed):
        worst = confirmed.iloc[int(confirmed["gap"].argmax())]
        scalars |= {
            "worst_discovered_slice": str(worst["slice"]),
            "worst_discovered_error": str(worst["error"]),
            "worst_discovered_n": int(worst["n"]),
            "worst_discovered_gap": float(worst["gap"]),
            "worst_discovered_gap_ci_low": float(worst["gap_low"]),
            "worst_discovered_gap_ci_high": float(worst["gap_high"]),
        }
    return scalars
