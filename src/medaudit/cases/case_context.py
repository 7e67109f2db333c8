"""What the tables say of a case: images of the training role that look like it, its label, slices.

None of it is an experiment. Every statement is held against how often it is true of others:
distance from training of right images; neighbours and doubts about the label of other errors, since
both come from the features of the model that erred, and so agree with its calls.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medaudit.audits import slicing
from medaudit.core import findings
from medaudit.core.findings import row_dicts
from medaudit.core.layout import TRAIN_TABLE
from medaudit.stats.intervals import wilson
from medaudit.tables import predictions
from medaudit.tables.scoring import ScoredPredictions

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from medaudit.audits.slicing import Slice, SliceEdges, SliceParams
    from medaudit.cases.case_selection import ChosenCase
    from medaudit.core.arrays import BoolArray, Float64Array, IntArray
    from medaudit.stats.intervals import Estimate
    from medaudit.tables.operating_points import OperatingPoints
    from medaudit.tables.predictions import PredictionTable

N_NEIGHBOURS = 5
CHUNK = 512  # rows whose similarities are held at once
FAR = 0.95  # of the calibration images lie nearer to training
LABEL, OVERLAP, UNLIKE = "label", "class_overlap", "unlike_training"
MEASURES = {
    "miss": ("critical_sensitivity", "sensitivity"),
    "alarm": ("critical_specificity", "specificity"),
    "other": ("standardised_accuracy",),
}


@dataclass(frozen=True, eq=False)
class Neighbours:
    """The nearest training images of some samples, each of another group, nearest first.

    Distances are 1 minus the cosine of embeddings: 0 equal, 1 unrelated.

    Attributes:
        ids: (n, k) sample ids.
        truths: (n, k) what their labels say, in words.
        distances: (n, k).
    """

    ids: pd.DataFrame
    truths: pd.DataFrame
    distances: Float64Array


def nearest(
    table: ScoredPredictions, train: ScoredPredictions, *, k: int = N_NEIGHBOURS
) -> Neighbours:
    """The `k` nearest training images of every row, at most one of a group.

    Args:
        table: predictions with embeddings (n, d).
        train: predictions of the train role with embeddings (m, d).
        k: how many; fewer where the train role has fewer groups.
    """
    _, groups = np.unique(train.group_ids, return_inverse=True)
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    ours, theirs = normalised(table), normalised(train)[order]
    parts = [
        _nearest_places(ours[first : first + CHUNK] @ theirs.T, starts, k)
        for first in range(0, len(ours), CHUNK)
    ]
    places = order[np.concatenate([places for places, _ in parts])]
    return Neighbours(
        ids=pd.DataFrame(train.sample_ids[places]),
        truths=pd.DataFrame(train.truth_names[places]),
        distances=1 - np.concatenate([found for _, found in parts]),
    )


def _nearest_places(
    similarity: Float64Array, starts: IntArray, k: int
) -> tuple[IntArray, Float64Array]:
    """Columns of the best of each of the `k` best groups, and how similar they are.

    Args:
        similarity: (n, m), columns of one group beside each other.
        starts: first column of every group.
        k: groups wanted.
    """
    best = np.maximum.reduceat(similarity, starts, axis=1)
    chosen = np.argsort(-best, axis=1, kind="stable")[:, :k]
    ends = np.append(starts[1:], similarity.shape[1])
    places = [
        [starts[g] + int(row[starts[g] : ends[g]].argmax()) for g in groups]
        for row, groups in zip(similarity, chosen, strict=True)
    ]
    return np.array(places, dtype=np.int64), np.take_along_axis(best, chosen, axis=1)


def normalised(table: ScoredPredictions) -> Float64Array:
    """Embeddings of length 1, (n, d)."""
    found = np.asarray(table.table.embeddings, dtype=np.float64)
    lengths = np.linalg.norm(found, axis=1, keepdims=True)
    return np.asarray(found / np.maximum(lengths, np.finfo(np.float64).tiny))


@dataclass(frozen=True)
class Association:
    """Something that is true of a case, and of how many others.

    Attributes:
        cause: name of the failure factor; empty where it is a fact and speaks for no cause.
        statement: one sentence.
        base_rate: share of other right, or other wrong, test images of which it is true, with
            Wilson's interval.
        supported: whether it is rare enough among them to be evidence.
    """

    cause: str
    statement: str
    base_rate: Estimate
    supported: bool


@dataclass(frozen=True, eq=False)
class CaseContext:
    """What is known of every test image besides what the model does to it.

    Args:
        test: the test role, clean.
        train: the train role with embeddings; `None` where there are none.
        calibration: the calibration role with embeddings, to say how far is far.
        label_issues: `label_issues.csv` of the slice stage; may be empty.
        weak: slices that are shown to be worse: `slice`, `metric`, `words`, and the gap.
        members: for each of these slices which test images it holds, (n,) booleans by `slice`.
        max_base_rate: share of right images up to which a fact is evidence.
    """

    test: ScoredPredictions
    train: ScoredPredictions | None = None
    calibration: ScoredPredictions | None = None
    label_issues: pd.DataFrame = field(default_factory=pd.DataFrame)
    weak: pd.DataFrame = field(default_factory=pd.DataFrame)
    members: dict[str, BoolArray] = field(default_factory=dict)
    max_base_rate: float = 0.1

    @cached_property
    def neighbours(self) -> Neighbours | None:
        """Nearest training images of the test images; `None` without embeddings."""
        if self.train is None or self.train.table.embeddings is None:
            return None
        return nearest(self.test, self.train) if self.test.table.embeddings is not None else None

    @cached_property
    def far(self) -> BoolArray:
        """Test images farther from training than `FAR` of the calibration images, (n,)."""
        if self.neighbours is None or self.calibration is None or self.train is None:
            return np.zeros(len(self.test), dtype=bool)
        usual = nearest(self.calibration, self.train, k=1).distances[:, 0]
        return np.asarray(self.neighbours.distances[:, 0] > np.quantile(usual, FAR))

    @cached_property
    def surrounded(self) -> BoolArray:
        """Test images whose nearest training images all say one thing, and not the truth, (n,)."""
        if self.neighbours is None:
            return np.zeros(len(self.test), dtype=bool)
        truths = self.neighbours.truths.to_numpy()
        same = (truths == truths[:, :1]).all(axis=1)
        return np.asarray(same & (truths[:, 0] != self.test.truth_names))

    @cached_property
    def doubted(self) -> BoolArray:
        """Test images whose label is flagged, (n,)."""
        if self.label_issues.empty:
            return np.zeros(len(self.test), dtype=bool)
        flagged = self.label_issues["flagged"].astype(bool)
        ids = set(self.label_issues.loc[flagged, "sample_id"].astype(str))
        return np.isin(self.test.sample_ids, list(ids))

    def of(self, case: ChosenCase) -> list[Association]:
        """What is true of a case, evidence first; nothing of a success."""
        if case.kind == "success":
            return []
        (row,) = self.test.rows_of([case.sample_id])
        found = [*self._label(row), *self._overlap(row, case), *self._unlike(row)]
        found += self._slices(row, case)
        return sorted(found, key=lambda each: not each.supported)

    def _made(self, cause: str, members: BoolArray, statement: str) -> Association:
        """A statement held against right images."""
        among = self.test.correct
        rate = wilson(int((members & among).sum()), int(among.sum()))
        words = f"{statement}; the same is true of {100 * rate.value:.0f} % of the right images."
        return Association(cause, words, rate, bool(cause) and rate.value <= self.max_base_rate)

    def _made_of_errors(
        self, cause: str, row: int, members: BoolArray, statement: str
    ) -> Association:
        """A statement held against the other errors."""
        among = ~self.test.correct & (np.arange(len(self.test)) != row)
        rate = wilson(int((members & among).sum()), int(among.sum()))
        words = f"{statement}; as much is true of {100 * rate.value:.0f} % of the other errors."
        return Association(cause, words, rate, rate.value <= self.max_base_rate)

    @cached_property
    def ranks(self) -> Float64Array:
        """Place of every test image in the list of doubtful labels; infinite if not in it, (n,)."""
        places = np.full(len(self.test), np.inf)
        if not self.label_issues.empty:
            known = self.label_issues.groupby(self.label_issues["sample_id"].astype(str))["rank"]
            lowest = known.min()
            for i, name in enumerate(self.test.sample_ids.tolist()):
                places[i] = lowest.get(name, np.inf)
        return places

    def _label(self, row: int) -> Iterator[Association]:
        if not self.doubted[row]:
            return
        mine = self.label_issues["sample_id"].astype(str) == self.test.sample_ids[row]
        (issue,) = row_dicts(self.label_issues[mine].head(1))
        yield self._made_of_errors(
            LABEL,
            row,
            self.ranks <= self.ranks[row],
            f"Its label is doubted (place {issue['rank']} of all): given is {issue['given']}, and "
            f"a classifier on embeddings that never saw it suggests {issue['suggested']} "
            f"(probabilities {issue['p_given']:.2f} and {issue['p_suggested']:.2f})",
        )

    def _overlap(self, row: int, case: ChosenCase) -> Iterator[Association]:
        if self.neighbours is None:
            return
        truths = self.neighbours.truths.iloc[row]
        if self.surrounded[row] and truths.iloc[0] == case.predicted:
            yield self._made_of_errors(
                OVERLAP,
                row,
                self.surrounded,
                f"Its {len(truths)} nearest training images are all {truths.iloc[0]}, as it was "
                f"called",
            )

    def _unlike(self, row: int) -> Iterator[Association]:
        if self.far[row] and self.neighbours is not None:
            yield self._made(
                UNLIKE,
                self.far,
                f"It lies farther from every training image than {100 * FAR:.0f} % of the "
                f"calibration images (distance {self.neighbours.distances[row, 0]:.2f})",
            )

    def _slices(self, row: int, case: ChosenCase) -> Iterator[Association]:
        """Slices shown to be worse in what went wrong here; a fact, and no cause of one case."""
        if self.weak.empty:
            return
        asked = self.weak[self.weak["metric"].isin(MEASURES[went_wrong(self.test, row, case)])]
        for each in row_dicts(asked.drop_duplicates("slice")):
            members = self.members[str(each["slice"])]
            if members[row]:
                gap = 100 * abs(float(each["gap"]))
                yield self._made(
                    "",
                    members,
                    f"It lies in a slice shown to be worse, {each['words']}: "
                    f"{str(each['metric']).replace('_', ' ')} {gap:.0f} points below the rest",
                )

    def facts(self, case: ChosenCase) -> dict[str, Any]:
        """Nearest training images and distance, ready for JSON; empty without embeddings."""
        if self.neighbours is None:
            return {}
        (row,) = self.test.rows_of([case.sample_id])
        return {
            "nearest": [
                {"sample_id": str(name), "truth": str(truth), "distance": round(float(far), 4)}
                for name, truth, far in zip(
                    self.neighbours.ids.iloc[row],
                    self.neighbours.truths.iloc[row],
                    self.neighbours.distances[row],
                    strict=True,
                )
            ],
            "unlike_training": bool(self.far[row]),
        }


def went_wrong(test: ScoredPredictions, row: int, case: ChosenCase) -> str:
    """`miss` or `alarm` of the critical class (or of any label), or `other`."""
    if test.schema.critical_class is None and not test.task.exclusive:
        missed = test.positives[row] & ~test.decisions[row]
        return "miss" if missed[case.true_index] else "alarm"
    if case.critical:
        return "miss"
    return "alarm" if bool(test.predicted_critical[row]) else "other"


def read_context(
    clean: PredictionTable,
    points: OperatingPoints,
    edges: SliceEdges,
    slice_params: SliceParams,
    *,
    max_base_rate: float,
) -> CaseContext:
    """What the evaluate and slice stages left about the test images.

    Args:
        clean: predictions of the calibration and test roles.
        points: frozen thresholds.
        edges: of the bins of numeric columns.
        slice_params: the slices that were cut.
        max_base_rate: share of right images up to which a fact is evidence.
    """
    test, calibration = (
        ScoredPredictions(clean.role(role), points) for role in ("test", "calibration")
    )
    train = None
    if TRAIN_TABLE.exists():
        train = ScoredPredictions(predictions.read(TRAIN_TABLE).role("train"), points)
    params = slicing.without(slice_params, slicing.absent_columns(test.table.rows, slice_params))
    named = slicing.slices(test.table.rows, edges, params)
    weak, members = weak_slices(findings.read_table("slice", "slices"), named)
    return CaseContext(
        test=test,
        train=train,
        calibration=calibration,
        label_issues=findings.read_table("slice", "label_issues"),
        weak=weak,
        members=members,
        max_base_rate=max_base_rate,
    )


def weak_slices(
    found: pd.DataFrame, named: Iterable[Slice]
) -> tuple[pd.DataFrame, dict[str, BoolArray]]:
    """Declared slices that are shown to be worse, and which test images each of them holds.

    Args:
        found: `slices.csv` of the slice stage.
        named: the slices of the test role.
    """
    if found.empty or "verdict" not in found:
        return pd.DataFrame(), {}
    weak = found[(found["verdict"] == "worse") & (found["family"] == "confirmatory")]
    masks = {each.label: each.mask for each in named}
    known = weak[weak["slice"].isin(masks)]
    return known, {str(name): masks[name] for name in known["slice"].unique()}
