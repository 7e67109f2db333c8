"""Nearest training images, doubtful labels and weak slices of a case, on hand-made embeddings."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from case_tables import CLEAN, MEL, NV, POINTS, make
from sklearn.neighbors import NearestNeighbors

from medaudit.audits.slicing import Slice
from medaudit.cases import case_context
from medaudit.cases.case_context import CaseContext, nearest
from medaudit.cases.case_selection import CasesParams, choose
from medaudit.core.errors import DataError
from medaudit.tables.scoring import Conditions, ScoredPredictions


def at(angles, samples=CLEAN, groups=None):
    """Samples whose embeddings have these angles in degrees."""
    turns = np.deg2rad(np.asarray(angles, dtype=float))
    features = np.column_stack([np.cos(turns), np.sin(turns)]).astype(np.float32)
    table = dataclasses.replace(make(samples, groups=groups), embeddings=features)
    return ScoredPredictions(table, POINTS)


def train_of(truths, angles, groups=None):
    return at(angles, {f"t{i}": (truth, truth, 0.9) for i, truth in enumerate(truths)}, groups)


TEST = at([0, 90, 90, 90, 90, 90, 2, 90])  # a: mel, called nv, alone at 0 degrees
TRAIN = train_of([NV] * 5 + [MEL] * 5, [1, 2, 3, 4, 5, 60, 65, 70, 85, 90])


def case_of(test, sample_id="a"):
    found = choose(Conditions(test), CasesParams(per_kind=3))
    return next(each for each in found if each.sample_id == sample_id)


class TestNearest:
    def test_by_angle_nearest_first(self):
        found = nearest(TEST, TRAIN, k=3)
        assert found.ids.iloc[0].tolist() == ["t0", "t1", "t2"]
        assert found.truths.iloc[1].tolist() == ["mel"] * 3
        assert found.distances[0] == pytest.approx(1 - np.cos(np.deg2rad([1, 2, 3])))

    def test_one_image_of_a_group(self):
        groups = {f"t{i}": "same" if i < 3 else f"g{i}" for i in range(10)}
        train = train_of([NV] * 5 + [MEL] * 5, [1, 2, 3, 4, 5, 60, 65, 70, 85, 90], groups)
        assert nearest(TEST, train, k=3).ids.iloc[0].tolist() == ["t0", "t3", "t4"]

    def test_fewer_groups_than_asked(self):
        assert nearest(TEST, train_of([NV, MEL], [0, 1]), k=5).ids.shape == (8, 2)

    def test_equals_scikit_learn(self):
        generator = np.random.default_rng(0)
        test, train = at(generator.uniform(0, 360, 8)), at(generator.uniform(0, 360, 8))
        oracle = NearestNeighbors(n_neighbors=4, metric="cosine").fit(train.table.embeddings)
        distances, places = oracle.kneighbors(test.table.embeddings)
        found = nearest(test, train, k=4)
        assert found.distances == pytest.approx(distances, abs=1e-6)
        assert np.array_equal(found.ids.to_numpy(), train.sample_ids[places])


class TestAssociations:
    def test_neighbours_that_all_bear_the_called_class(self):
        test = at([0, 90, 90, 90, 90, 2, 2, 33])  # no other error has neighbours that all agree
        found = CaseContext(test, TRAIN, test).of(case_of(test))
        (overlap,) = [each for each in found if each.cause == "class_overlap"]
        assert overlap.supported
        assert overlap.statement == (
            "Its 5 nearest training images are all nv, as it was called; as much is true of 0 % of "
            "the other errors."
        )

    def test_what_is_true_of_many_errors_is_no_evidence(self):
        # The other errors are b, c (mel), f (nv called mel) and h (bkl): b and c lie among nv too.
        test = at([0, 2, 2, 90, 90, 2, 2, 90])
        found = CaseContext(test, TRAIN, test).of(case_of(test))
        (overlap,) = [each for each in found if each.cause == "class_overlap"]
        assert overlap.base_rate.value == pytest.approx(3 / 4)  # h: bkl among mel
        assert not overlap.supported

    def test_far_from_training(self):
        test = at([-60, 90, 90, 90, 90, 90, 90, 90])
        calibration = at([1, 2, 3, 60, 65, 70, 85, 90])
        found = CaseContext(test, TRAIN, calibration).of(case_of(test))
        assert "unlike_training" in [each.cause for each in found if each.supported]

    def test_a_doubtful_label(self):
        issues = pd.DataFrame(
            {
                "sample_id": ["a", "b"],
                "given": "mel",
                "suggested": "bkl",
                "p_given": 0.02,
                "p_suggested": 0.9,
                "flagged": [True, False],
                "rank": [1, 2],
            }
        )
        context = CaseContext(TEST, label_issues=issues)
        (doubt,) = context.of(case_of(TEST))
        assert doubt.cause == "label"
        assert doubt.supported
        assert doubt.statement == (
            "Its label is doubted (place 1 of all): given is mel, and a classifier on embeddings "
            "that never saw it suggests bkl (probabilities 0.02 and 0.90); as much is true of 0 % "
            "of the other errors."
        )
        assert context.of(case_of(TEST, "b")) == []

    def test_weak_slices_are_told_and_name_no_cause(self):
        slices = pd.DataFrame(
            {
                "slice": ["site=x", "site=x", "site=y"],
                "metric": ["critical_sensitivity", "critical_specificity", "critical_sensitivity"],
                "verdict": ["worse", "worse", "undecided"],
                "words": "site x",
                "family": "confirmatory",
                "gap": [-0.31, -0.2, -0.1],
            }
        )
        mask = np.arange(8) == 0
        named = [Slice("site", "x", mask), Slice("site", "y", ~mask)]
        weak, members = case_context.weak_slices(slices, named)
        assert weak["slice"].tolist() == ["site=x", "site=x"]
        context = CaseContext(TEST, weak=weak, members=members)
        (fact,) = context.of(case_of(TEST))
        assert (fact.cause, fact.supported) == ("", False)
        assert fact.statement.startswith(
            "It lies in a slice shown to be worse, site x: critical sensitivity 31 points below"
        )

    def test_a_success_is_left_alone(self):
        success = choose(Conditions(TEST), CasesParams())[-1]
        assert CaseContext(TEST, TRAIN, TEST).of(success) == []

    def test_without_embeddings_nothing_is_said(self):
        bare = ScoredPredictions(make(CLEAN), POINTS)
        context = CaseContext(bare, None, bare)
        assert context.of(case_of(bare)) == []
        assert context.facts(case_of(bare)) == {}


class TestChosenBySlice:
    def test_only_its_samples(self):
        table = make(CLEAN)
        rows = table.rows.assign(site=["x", "y"] * 4)
        test = ScoredPredictions(dataclasses.replace(table, rows=rows), POINTS)
        found = choose(Conditions(test), CasesParams(slice={"site": "y"}))
        assert {each.sample_id for each in found} <= {"b", "d", "f", "h"}
        assert found[0].sample_id == "b"

    @pytest.mark.parametrize(
        ("wanted", "message"),
        [
            ({"place": "y"}, "cases.slice names place"),
            ({"role": "train"}, "no test sample has role = train"),
        ],
    )
    def test_a_slice_that_is_not_there(self, wanted, message):
        with pytest.raises(DataError, match=message):
            choose(Conditions(TEST), CasesParams(slice=wanted))
