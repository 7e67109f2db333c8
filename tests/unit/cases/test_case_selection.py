"""Choosing cases and counting modes, on eight samples that can be read on paper."""

import numpy as np
import pytest
from case_tables import BKL, CLEAN, MEL, NV, PARAMS, POINTS, make, stressed
from pydantic import ValidationError

from medaudit.cases import case_selection, taxonomy
from medaudit.cases.case_selection import CasesParams
from medaudit.tables.predictions import Condition
from medaudit.tables.scoring import ScoredPredictions, leading
from tests.audit_runs import conditions, over

TAXONOMY = {
    "confident_critical_miss": 2,
    "uncertain_critical_miss": 1,
    "false_alarm": 1,
    "confident_error": 1,
    "uncertain_error": 0,
    "fragile": 1,
    "fragile_when_severe": 1,
    "stable": 1,
}


@pytest.fixture
def clean():
    return make(CLEAN)


@pytest.fixture
def corrupted():
    """Blur turns d (mel) at severity 2; jpeg turns g (nv) at 1, and both g and e at 2."""
    g = {"g": (NV, BKL, 0.7)}
    return [
        stressed("blur-1", {}),
        stressed("blur-2", {"d": (MEL, NV, 0.9)}),
        stressed("jpeg-1", g),
        stressed("jpeg-2", g | {"d": (MEL, NV, 0.6)}),
    ]


def chosen(clean, corrupted, **changes):
    return case_selection.choose(
        conditions(clean, corrupted, POINTS), PARAMS.model_copy(update=changes)
    )


def summary(found):
    return [(case.kind, case.sample_id, case.condition.name) for case in found]


class TestChoose:
    def test_worked_example(self, clean, corrupted):
        # Flips: mel (d) before nv (g) whatever the severity; d falls furthest under blur-2.
        # Success: e is the one mel that no condition turns.
        assert summary(chosen(clean, corrupted)) == [
            ("confident_critical_miss", "a", "clean"),
            ("confident_critical_miss", "b", "clean"),
            ("corruption_flip", "d", "blur-2"),
            ("corruption_flip", "g", "jpeg-1"),
            ("confident_false_alarm", "f", "clean"),
            ("success", "e", "clean"),
        ]

    def test_a_case_says_what_it_is(self, clean, corrupted):
        first = chosen(clean, corrupted)[0]
        assert (first.true_index, first.predicted_index) == (MEL, NV)
        assert first.confidence == pytest.approx(0.9)
        assert first.probabilities == pytest.approx((0.05, 0.05, 0.9))
        assert first.critical
        assert not first.flagged
        assert "number 1 by confidence of 2 such cases among 8 test samples" in first.reason

    def test_a_flip_holds_both_probabilities(self, clean, corrupted):
        flip = chosen(clean, corrupted)[2]
        assert flip.clean_probabilities == pytest.approx((0.1, 0.8, 0.1))
        assert flip.probabilities == pytest.approx((0.05, 0.05, 0.9))
        assert "one of 1 right calls of 3 that this turns" in flip.reason

    def test_an_uncertain_miss_is_not_called_confident(self, clean, corrupted):
        found = chosen(clean, corrupted, per_kind=3)
        assert summary(found)[2] == ("uncertain_critical_miss", "c", "clean")
        assert found[2].flagged  # p(mel) 0.25 > 0.2

    def test_without_critical_misses_other_errors_come_under_their_own_name(self):
        samples = {name: CLEAN[name] for name in "defgh"}
        assert summary(chosen(make(samples), []))[0] == ("confident_error", "f", "clean")

    def test_without_critical_class_there_are_still_cases(self):
        found = chosen(make(CLEAN, critical=None), [])
        assert [case.kind for case in found] == ["confident_error", "confident_error", "success"]
        assert not any(case.critical for case in found)

    def test_one_case_a_group(self, corrupted):
        groups = {"a": "same", "b": "same"}
        found = chosen(make(CLEAN, groups=groups), corrupted)
        assert [case.sample_id for case in found][:2] == ["a", "c"]

    def test_ties_are_broken_by_id_whatever_the_order_of_rows(self):
        samples = dict.fromkeys("zyx", (MEL, NV, 0.9))
        assert [case.sample_id for case in chosen(make(samples), [])] == ["x", "y"]

    def test_all_right_leaves_the_success_alone(self):
        samples = {"d": CLEAN["d"], "g": CLEAN["g"]}
        assert summary(chosen(make(samples), [])) == [("success", "d", "clean")]


class TestTaxonomy:
    def table(self, clean, corrupted):
        seen = conditions(clean, corrupted, POINTS)
        return taxonomy.taxonomy(seen, over(seen.clean), confident=0.6).set_index("mode")

    def test_worked_example(self, clean, corrupted):
        # g turns under severity 1, d only under severity 2, e under nothing.
        assert self.table(clean, corrupted)["n"].to_dict() == TAXONOMY

    def test_shares_and_intervals(self, clean, corrupted):
        row = self.table(clean, corrupted).loc["confident_critical_miss"]
        assert row["share"] == 2 / 8
        assert row["share_low"] < 2 / 8 < row["share_high"]
        assert (row["n_critical"], row["n_flagged"]) == (2, 0)

    def test_groups_are_counted_once(self, corrupted):
        found = self.table(make(CLEAN, groups={"a": "same", "b": "same"}), corrupted)
        assert found.loc["confident_critical_miss", "n_groups"] == 1

    def test_largest_confusion_is_named(self, clean, corrupted):
        definition = self.table(clean, corrupted).loc["confident_error", "definition"]
        assert "bkl called nv (1 of 1)" in definition

    @pytest.mark.parametrize("critical", ["mel", None])
    @pytest.mark.parametrize("seed", range(3))
    def test_modes_exclude_each_other_and_sum_to_n(self, seed, critical):
        rng = np.random.default_rng(seed)

        def draw():
            return {f"s{i}": (i % 3, int(rng.integers(3)), rng.uniform(0.4, 1)) for i in range(60)}

        tables = [make(draw(), critical=critical, condition=Condition("blur", s)) for s in (1, 2)]
        found = self.table(make(draw(), critical=critical), tables)
        assert found["n"].sum() == 60
        assert found["share"].sum() == pytest.approx(1)

    def test_without_conditions_right_is_right(self, clean):
        assert self.table(clean, []).loc["right", "n"] == 3


class TestControls:
    def test_half_right_half_wrong_classes_in_turn_and_nobody_excluded(self, make_table, points):
        params = CasesParams(controls=12)
        test = ScoredPredictions(make_table(n=2000).role("test"), points)
        found = case_selection.controls(test, params, exclude=test.sample_ids[:50])
        assert found["right"].tolist() == [True] * 12 + [False] * 12
        assert found.groupby(["right", "truth"]).size().tolist() == [3] * 8
        assert not set(found["sample_id"]) & set(test.sample_ids[:50])

    def test_the_seed_decides(self, make_table, points):
        test = ScoredPredictions(make_table(n=2000).role("test"), points)
        draws = [case_selection.controls(test, CasesParams(seed=seed)) for seed in (1, 1, 2)]
        assert draws[0].equals(draws[1])
        assert not draws[0].equals(draws[2])

    def test_fewer_than_asked_are_all_taken(self, clean):
        found = case_selection.controls(ScoredPredictions(clean, POINTS), CasesParams(controls=40))
        assert sorted(found["sample_id"]) == sorted(CLEAN)


def test_leading_output_is_the_most_probable_flagged_one():
    flags = np.array([[True, True, False], [False, False, False]])
    probabilities = np.array([[0.2, 0.3, 0.5], [0.2, 0.3, 0.5]])
    assert leading(flags, probabilities).tolist() == [1, 2]


def test_unknown_parameter_is_refused():
    with pytest.raises(ValidationError):
        CasesParams(perkind=2)
