"""Shortcut alarm: properties that go with a class in training, and errors that follow them.

A model may lean on a property that goes with a class in training, such as a ruler beside melanomas.
Then it misses cases where the property speaks against the class, and raises false alarms where it
speaks for it. Both together are an alarm. Whether the property is a sign of the disease, as the
size of a lesion may be, or an accident of how images were taken is for a person to say.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy import sparse

from medaudit.audits.error_gaps import ErrorGaps, false_alarm, missed, permuted_rows
from medaudit.audits.properties import (
    CHANCE,
    NOT_MEASURED,
    DiscoveryParams,
    Property,
    column_aurocs,
    principal_components,
    properties,
)
from medaudit.core.findings import Findings, Scalar
from medaudit.stats.bootstrap import Bootstrap, BootstrapDistribution, IntervalParams, Measure
from medaudit.stats.weighting import by_chunks, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from medaudit.core.arrays import BoolArray, Float64Array, IntArray
    from medaudit.stats.intervals import Estimate
    from medaudit.tables.scoring import Names, ScoredPredictions

ALARM, ASSOCIATED = "alarm", "associated"
NOTHING = "no association shown"
SHRINKAGE = 10.0  # rows of the whole sample's rate that are added to every value of a property
ENDS = ("", "_low", "_high")
ERROR_FIELDS = ("n", "inside", "expected", "gap", "gap_low", "gap_high", "p_adjusted")
COLUMNS = (
    "class",
    "property",
    "n_train",
    "n_positive_train",
    *(f"association{end}" for end in ENDS),
    "speaks_for",
    "weakest_source",
    *(f"weakest_association{end}" for end in ENDS),
    "breaks",
    "decodable",
    "decodable_chance_high",
    *(f"{kind}_{field}" for kind in ("missed", "false_alarm") for field in ERROR_FIELDS),
    *(f"{kind}_minimal_detectable" for kind in ("missed", "false_alarm")),
    "verdict",
)


@dataclass(frozen=True, eq=False)
class Association:
    """How a property goes with a class in the train role.

    Args:
        known: the property.
        output: number of the class.
        speaks_for: whether each code of the property is more often of the class than the others.
        auroc: of the class's rate at the property's value, with its interval.
        n_positive: cases of the class.
        weakest: value of the source where the association is weakest; empty where none is told.
        there: the AUROC in that source.
        breaks: whether it is shown to be weaker there than elsewhere.
    """

    known: Property
    output: int
    speaks_for: BoolArray
    auroc: Estimate
    n_positive: int
    weakest: str = ""
    there: Estimate | None = None
    breaks: bool = False

    def shown(self, params: DiscoveryParams) -> bool:
        """Whether the association is beyond chance and large enough to matter."""
        return self.auroc.low > 0.5 and self.auroc.value >= params.min_association

    def sides(self, rows: pd.DataFrame) -> tuple[BoolArray, BoolArray]:
        """Rows for which the property speaks for the class, and against it, (n,) each."""
        codes = self.known.codes(rows)
        says_for = self.speaks_for[np.maximum(codes, 0)]
        return says_for & (codes >= 0), ~says_for & (codes >= 0)


@dataclass(frozen=True, eq=False)
class TrainAssociations:
    """Associations in the train role, the critical class first."""

    found: tuple[Association, ...]


def freeze(
    train_rows: ScoredPredictions, params: DiscoveryParams, *, intervals: IntervalParams
) -> TrainAssociations:
    """Measure how every property goes with every class in the train role.

    The AUROC is that of the rate of the class at the property's value (or quantile), where the rate
    is of groups in other folds: a property that says nothing has 0.5 or a little less.

    Args:
        train_rows: predictions of the train role; only their rows and targets are read.
        params: bins, folds, source.
        intervals: of the bootstrap over the groups of the train role.
    """
    bootstrap = Bootstrap.of_groups(train_rows.group_ids, intervals)
    known = properties(train_rows.table.rows, params)
    folds = group_folds(train_rows.group_ids, params)
    first = train_rows.schema.critical_class
    outputs = sorted(range(len(train_rows.classes)), key=lambda k: train_rows.classes[k] != first)
    found = [
        each for one in known for each in _associations(train_rows, one, folds, params, bootstrap)
    ]
    return TrainAssociations(tuple(sorted(found, key=lambda each: outputs.index(each.output))))


def group_folds(group_ids: Names, params: DiscoveryParams) -> IntArray:
    """A fold for every row, the same for all rows of a group, (n,)."""
    names, groups = np.unique(np.asarray(group_ids), return_inverse=True)
    shuffled = np.random.default_rng(params.seed).permutation(len(names))
    return np.asarray(shuffled[groups] % params.folds, dtype=np.int64)


def _associations(
    train: ScoredPredictions,
    known: Property,
    folds: IntArray,
    params: DiscoveryParams,
    bootstrap: Bootstrap,
) -> Iterator[Association]:
    codes = known.codes(train.table.rows)
    cells = folds * len(known.names) + codes
    counted = CellCounts(cells, train.positives, params.folds * len(known.names))
    sources = _sources(train, known, params)
    for k in range(len(train.classes)):
        truth = train.positives[:, k]
        if truth.all() or not truth.any():
            continue
        scores = cross_fitted_rates(codes, truth, folds, n_codes=len(known.names), params=params)
        measure = Measure("auroc", partial(counted.auroc, k, scores), 0, interval_kind="auc")
        rates = value_rates(codes, truth, n_codes=len(known.names))
        association = Association(
            known,
            k,
            speaks_for=rates > truth.mean(),
            auroc=bootstrap.interval(_limited(bootstrap, measure, truth)),
            n_positive=int(truth.sum()),
        )
        yield _by_source(association, train, cells, scores, sources, params, bootstrap)


def _limited(bootstrap: Bootstrap, measure: Measure, truth: BoolArray) -> BootstrapDistribution:
    both = np.column_stack([truth, ~truth])
    return bootstrap.replicate(replace(measure, required_outcomes=both))


def value_rates(codes: IntArray, truth: BoolArray, *, n_codes: int) -> Float64Array:
    """Share of a class at every value, shrunk towards its share in all, (n_codes,)."""
    base = truth.mean()
    sizes = np.bincount(codes, minlength=n_codes)
    hits = np.bincount(codes, weights=truth, minlength=n_codes)
    return np.asarray((hits + SHRINKAGE * base) / (sizes + SHRINKAGE))


def cross_fitted_rates(
    codes: IntArray,
    truth: BoolArray,
    folds: IntArray,
    *,
    n_codes: int,
    params: DiscoveryParams,
) -> Float64Array:
    """For every fold and value the rate in the other folds, (folds · n_codes,)."""
    parts = []
    for fold in range(params.folds):
        others = folds != fold
        parts.append(value_rates(codes[others], truth[others], n_codes=n_codes))
    return np.concatenate(parts)


class CellCounts:
    """Rows and cases of every class by cell, summed under weights; a cell has one score.

    Args:
        cells: (n,) cell of every row.
        positives: (n, k) truth.
        n_cells: number of cells c.
    """

    def __init__(self, cells: IntArray, positives: BoolArray, n_cells: int) -> None:
        n = len(cells)
        self.rows = sparse.csr_array((np.ones(n), (np.arange(n), cells)), shape=(n, n_cells))
        self.positives = positives

    def auroc(self, k: int, scores: Float64Array, weights: Float64Array) -> Float64Array:
        """AUROC of class k, (replicates,), where a row has the score of its cell, (c,)."""
        truth = self.positives[:, k].astype(np.float64)
        hits = sparse.csr_array(self.rows.multiply(truth[:, None]))
        above = (scores[:, None] > scores) + 0.5 * (scores[:, None] == scores)

        def compute(part: Float64Array) -> Float64Array:
            one = (hits.T @ part.T.astype(np.float64)).T
            rest = (self.rows.T @ part.T.astype(np.float64)).T - one
            pairs = one.sum(axis=1) * rest.sum(axis=1)
            return ratio(((one @ above) * rest).sum(axis=1), pairs)

        return by_chunks(compute, weights)


def _sources(
    train: ScoredPredictions, known: Property, params: DiscoveryParams
) -> dict[str, BoolArray]:
    """Rows of every source, where the property is another column than the source."""
    rows = train.table.rows
    if params.source is None or params.source not in rows or params.source == known.column:
        return {}
    names = rows[params.source].astype(str).to_numpy()
    return {str(name): names == name for name in np.unique(names)}


def _by_source(
    whole: Association,
    train: ScoredPredictions,
    cells: IntArray,
    scores: Float64Array,
    sources: dict[str, BoolArray],
    params: DiscoveryParams,
    bootstrap: Bootstrap,
) -> Association:
    """The source where an association that is shown is weakest, and whether it breaks there.

    Each source is compared with all others on the same resamples, at a level that holds for all of
    them together (Bonferroni).
    """
    truth = train.positives[:, whole.output]
    enough = [
        rows
        for rows in sources.values()
        if min((truth & rows).sum(), (~truth & rows).sum()) >= params.min_size
    ]
    if not whole.shown(params) or len(enough) < 2:
        return whole
    level = 1 - (1 - bootstrap.params.level) / len(enough)
    strict = replace(bootstrap, params=bootstrap.params.model_copy(update={"level": level}))
    named = {rows.tobytes(): name for name, rows in sources.items()}

    def measured(rows: BoolArray) -> tuple[Bootstrap, BootstrapDistribution]:
        counts = CellCounts(cells[rows], train.positives[rows], len(scores))
        measure = Measure(
            "auroc", partial(counts.auroc, whole.output, scores), 0, interval_kind="auc"
        )
        part = strict.subset(rows)
        return part, _limited(part, measure, truth[rows])

    found = [(rows, *measured(rows)) for rows in enough]
    rows, part, weakest = min(found, key=lambda each: each[2].value)
    _, elsewhere = measured(~rows)
    return replace(
        whole,
        weakest=named[rows.tobytes()],
        there=part.interval(weakest),
        breaks=strict.paired(elsewhere, weakest).low > 0,
    )


def audit(
    test: ScoredPredictions,
    frozen: TrainAssociations,
    params: DiscoveryParams,
    bootstrap: Bootstrap,
) -> Findings:
    """Measure whether errors on the test role follow the associations of the train role.

    Args:
        test: predictions of the test role at the frozen thresholds.
        frozen: associations from `freeze`.
        params: sizes.
        bootstrap: of the groups of the test role.
    """
    rows: list[dict[str, object]] = []
    decoded = decodable(test, frozen, params)
    for k in dict.fromkeys(each.output for each in frozen.found):
        family = [each for each in frozen.found if each.output == k]
        rows += _class_rows(test, k, family, params, bootstrap, decoded)
    table = pd.DataFrame(rows, columns=list(COLUMNS))
    return Findings(headline(table), {"shortcuts": table})


def _class_rows(
    test: ScoredPredictions,
    k: int,
    family: Sequence[Association],
    params: DiscoveryParams,
    bootstrap: Bootstrap,
    decoded: dict[int, tuple[float, float]],
) -> Iterator[dict[str, object]]:
    """Rows of one class; the families of error gaps are the properties that go with it."""
    shown = [each for each in family if each.shown(params)]
    sides = [each.sides(test.table.rows) for each in shown]
    gaps = ErrorGaps(test.group_ids, bootstrap)
    kinds = {"missed": missed(test, k), "false_alarm": false_alarm(test, k)}
    # Misses are expected where a property speaks against the class, false alarms where for it.
    parts = {
        name: [pair[i] & _enough(kinds[name].among, pair, params) for pair in sides]
        for name, i in (("missed", 1), ("false_alarm", 0))
    }
    measured = {name: gaps.rows(kind, parts[name]) for name, kind in kinds.items()}
    for each in family:
        row = _association_row(test, each, decoded.get(id(each)))
        if each not in shown:
            yield row | {"verdict": NOTHING}
            continue
        i = shown.index(each)
        errors = {name: found[i] for name, found in measured.items()}
        yield row | _error_fields(errors) | {"verdict": verdict(errors, bootstrap.params.level)}


def _enough(among: BoolArray, sides: tuple[BoolArray, BoolArray], params: DiscoveryParams) -> bool:
    return min(int((among & side).sum()) for side in sides) >= params.min_size


def _association_row(
    test: ScoredPredictions, each: Association, decoded: tuple[float, float] | None
) -> dict[str, object]:
    says = [each.known.names[i] for i in np.flatnonzero(each.speaks_for)]
    return {
        "class": test.classes[each.output],
        "property": each.known.column,
        "n_train": each.auroc.n,
        "n_positive_train": each.n_positive,
        **_ends("association", each.auroc),
        "speaks_for": ", ".join(says),
        "weakest_source": each.weakest,
        **_ends("weakest_association", each.there),
        "breaks": ("yes" if each.breaks else "not shown") if each.weakest else "",
        **dict(zip(("decodable", "decodable_chance_high"), decoded or (np.nan,) * 2, strict=True)),
    }


def _ends(name: str, found: Estimate | None) -> dict[str, object]:
    values = (np.nan,) * 3 if found is None else (found.value, found.low, found.high)
    return {f"{name}{end}": value for end, value in zip(ENDS, values, strict=True)}


def _error_fields(errors: dict[str, dict[str, object]]) -> dict[str, object]:
    renamed = {"inside": "error_inside", "expected": "error_expected"}
    return {
        f"{name}_{field}": found[renamed.get(field, field)]
        for name, found in errors.items()
        for field in (*ERROR_FIELDS, "minimal_detectable")
    }


def verdict(errors: dict[str, dict[str, object]], level: float) -> str:
    """Whether misses or false alarms are shown to follow an association that is shown."""
    p_values = np.array([float(found["p_adjusted"]) for found in errors.values()])  # type: ignore[arg-type]
    if np.isnan(p_values).all():
        return NOT_MEASURED
    # Two families are asked.
    return ALARM if (p_values <= (1 - level) / 2).any() else ASSOCIATED


def decodable(
    test: ScoredPredictions, frozen: TrainAssociations, params: DiscoveryParams
) -> dict[int, tuple[float, float]]:
    """Whether embeddings tell a property, by `id` of the associations that are shown.

    The AUROC of a linear probe for "speaks for the class" on embeddings of the test role, which
    were not fitted, out of fold by groups; class means are taken out of both, and pairs are of one
    class, so that knowing the class is no knowledge of the property. Beside it what chance stays
    below with probability 0.95: the property is permuted between groups of the same classes, and
    the probe is fitted anew. What the model cannot see it cannot use. Empty without embeddings.
    """
    shown = [each for each in frozen.found if each.shown(params)]
    if test.table.embeddings is None or not shown:
        return {}
    features = _probe_features(test, params)
    drawn = permuted_rows(
        test.group_ids, test.strata, replicates=params.permutations, seed=params.seed
    )
    orders = np.concatenate([np.arange(len(test))[None], *drawn])
    found = {}
    for each in shown:
        says_for = each.sides(test.table.rows)[0]
        areas = probed(features, says_for[orders].T, test, params)
        found[id(each)] = (float(areas[0]), float(np.quantile(areas[1:], CHANCE)))
    return found


def _probe_features(test: ScoredPredictions, params: DiscoveryParams) -> Float64Array:
    embeddings = np.asarray(test.table.embeddings, dtype=np.float64)
    most = min(params.components, len(embeddings) // 2)
    reduce = principal_components(embeddings, params, most=most, whiten=True)
    return np.asarray(reduce.fit_transform(within_means(embeddings, test.strata)))


def probed(
    features: Float64Array, truth: BoolArray, test: ScoredPredictions, params: DiscoveryParams
) -> Float64Array:
    """AUROC over pairs of one class of a ridge regression out of fold, a column each, (m,)."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import PredefinedSplit, cross_val_predict

    folds = PredefinedSplit(group_folds(test.group_ids, params))
    wanted = within_means(truth.astype(np.float64), test.strata)
    scores = cross_val_predict(Ridge(alpha=1.0, fit_intercept=False), features, wanted, cv=folds)
    return column_aurocs(scores, truth, test.strata)


def within_means(values: Float64Array, strata: IntArray) -> Float64Array:
    """Values (n, m) minus the means of their class."""
    centred = values.copy()
    for stratum in np.unique(strata):
        centred[strata == stratum] -= values[strata == stratum].mean(axis=0)
    return centred


def headline(table: pd.DataFrame) -> dict[str, Scalar]:
    """How many properties go with a class, how many alarms, and the one with the widest gap."""
    alarms = table[table["verdict"] == ALARM]
    scalars: dict[str, Scalar] = {
        "n_shortcut_associations": int((table["verdict"] != NOTHING).sum()),
        "n_shortcut_alarms": len(alarms),
    }
    if len(alarms):
        first = alarms.iloc[0]
        scalars["first_shortcut_alarm"] = f"{first['property']} for {first['class']}"
    return scalars
