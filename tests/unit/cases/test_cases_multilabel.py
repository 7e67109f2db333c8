"""Cases of several labels, whose calls are right only where every label is, read on paper."""

import numpy as np
import pandas as pd
import pytest

from medaudit.cases import case_record, case_selection, case_study, taxonomy
from medaudit.cases import intervention_effects as effects
from medaudit.cases.case_selection import CasesParams
from medaudit.tables import tasks
from medaudit.tables.operating_points import OperatingPoints
from medaudit.tables.predictions import Condition, PredictionTable, Schema
from tests.audit_runs import case_study_of, conditions, over

LABELS = ("edema", "effusion", "mass")
EDEMA, EFFUSION, MASS = 0, 1, 2
PARAMS = CasesParams(per_kind=2, confident=0.6)
POINTS = OperatingPoints(LABELS, (0.5, 0.5, 0.5), 0.95, (10, 10, 10))
# truth; probabilities of the labels
CLEAN = {
    "a": ((1, 1, 0), (0.9, 0.8, 0.1)),  # right; confidence 0.9 · 0.8 · 0.9 = 0.648
    "b": ((1, 1, 0), (0.9, 0.3, 0.1)),  # misses effusion; 0.9 · 0.7 · 0.9 = 0.567
    "c": ((0, 0, 0), (0.1, 0.1, 0.2)),  # right; 0.9 · 0.9 · 0.8 = 0.648
    "d": ((0, 0, 0), (0.2, 0.1, 0.7)),  # calls mass; 0.8 · 0.9 · 0.7 = 0.504
    "e": ((0, 0, 1), (0.6, 0.1, 0.95)),  # calls edema as well; 0.6 · 0.9 · 0.95 = 0.513
}
# a loses effusion, which was the less probable of its two labels.
BLUR = {"a": ((1, 1, 0), (0.95, 0.2, 0.1))}


def make(samples, *, condition=None, critical=None):
    stated = np.array([p for _, p in samples.values()])
    return PredictionTable(
        schema=Schema("multilabel", LABELS, critical),
        rows=pd.DataFrame(
            {
                "sample_id": list(samples),
                "group_id": [f"patient_{name}" for name in samples],
                "role": "test",
            }
        ),
        targets=np.array([truth for truth, _ in samples.values()], dtype=np.int64),
        logits=tasks.get("multilabel").logits(stated)[None].astype(np.float32),
        condition=condition or Condition.clean(),
    )


def blurred(severity=1, critical=None):
    return make(CLEAN | BLUR, condition=Condition("gaussian_blur", severity), critical=critical)


def studied(*, critical=None):
    corrupted = [blurred(1, critical), blurred(2, critical)]
    return case_study_of(make(CLEAN, critical=critical), corrupted, POINTS, PARAMS)


def flip_of(study):
    return next(case for case in study.cases if case.kind == "corruption_flip")


class TestOutcomes:
    def test_truth_and_call_are_sets_in_words(self):
        test = conditions(make(CLEAN), [], POINTS).clean
        assert test.truth_names.tolist() == [
            "edema + effusion",
            "edema + effusion",
            "(none)",
            "(none)",
            "mass",
        ]
        assert test.predicted_names.tolist() == [
            "edema + effusion",
            "edema",
            "(none)",
            "mass",
            "edema + mass",
        ]

    def test_right_is_the_exact_set(self):
        test = conditions(make(CLEAN), [], POINTS).clean
        assert test.correct.tolist() == [True, False, True, False, False]

    def test_one_output_stands_for_the_set(self):
        test = conditions(make(CLEAN), [], POINTS).clean
        # The missed one (b), else the most probable that is true (a, e), or that is called
        # wrongly (d, e); where nothing is, the most probable of all.
        assert test.true_output.tolist() == [EDEMA, EFFUSION, MASS, MASS, MASS]
        assert test.predicted_output.tolist() == [EDEMA, EDEMA, MASS, MASS, EDEMA]

    def test_confidence_is_of_the_whole_set(self):
        test = conditions(make(CLEAN), [], POINTS).clean
        expected = [0.648, 0.567, 0.648, 0.504, 0.513]
        assert test.confidence_score() == pytest.approx(expected, abs=1e-6)


class TestChoose:
    def test_worked_example(self):
        found = case_selection.choose(conditions(make(CLEAN), [blurred()], POINTS), PARAMS)
        assert [(case.kind, case.sample_id, case.condition.name) for case in found] == [
            ("uncertain_error", "b", "clean"),
            ("uncertain_error", "e", "clean"),
            ("corruption_flip", "a", "gaussian_blur-1"),
            ("success", "c", "clean"),
        ]

    def test_a_case_tells_the_sets_and_the_missed_label(self):
        first = case_selection.choose(conditions(make(CLEAN), [], POINTS), PARAMS)[0]
        assert (first.truth, first.predicted) == ("edema + effusion", "edema")
        assert (first.true_index, first.predicted_index) == (EFFUSION, EDEMA)
        assert first.reason.startswith(
            "true edema + effusion, called edema with probability 0.57 (effusion 0.30); number 1"
        )
        assert not first.critical

    def test_a_miss_of_the_critical_label_comes_first(self):
        found = case_selection.choose(
            conditions(make(CLEAN, critical="effusion"), [], POINTS), PARAMS
        )
        assert (found[0].kind, found[0].sample_id) == ("uncertain_critical_miss", "b")
        assert found[0].critical
        assert not found[0].flagged

    def test_a_critical_label_that_is_found_is_no_miss_where_another_is_wrong(self):
        found = case_selection.choose(conditions(make(CLEAN, critical="mass"), [], POINTS), PARAMS)
        kinds = {case.sample_id: case.kind for case in found}
        # e holds mass and it is called, and edema as well, which is wrong.
        assert kinds["e"] == "uncertain_error"
        assert next(c for c in found if c.sample_id == "e").flagged


class TestTaxonomy:
    def counts(self, *, critical=None, stressed=()):
        seen = conditions(make(CLEAN, critical=critical), stressed, POINTS)
        return taxonomy.taxonomy(seen, over(seen.clean), confident=0.6).set_index("mode")

    def test_without_a_critical_label(self):
        found = self.counts()
        assert found["n"].to_dict() == {"confident_error": 0, "uncertain_error": 3, "right": 2}
        assert found["n_critical"].sum() == 0

    def test_with_one_and_under_blur(self):
        found = self.counts(critical="effusion", stressed=[blurred(1, "effusion")])
        assert found["n"].to_dict() == {
            "confident_critical_miss": 0,
            "uncertain_critical_miss": 1,
            "false_alarm": 0,
            "confident_error": 0,
            "uncertain_error": 2,
            "fragile": 1,
            "fragile_when_severe": 0,
            "stable": 1,
        }

    def test_a_false_alarm_is_a_wrong_call_of_the_critical_label(self):
        assert self.counts(critical="mass").loc["false_alarm", "n"] == 1  # d

    def test_the_largest_confusion_is_of_sets(self):
        samples = CLEAN | {"f": CLEAN["b"]}
        seen = conditions(make(samples), [], POINTS)
        found = taxonomy.taxonomy(seen, over(seen.clean), confident=0.6).set_index("mode")
        assert (
            "most often edema + effusion called edema (2 of 4)"
            in (found.loc["confident_error", "definition"])
        )


class TestEvidence:
    def edited(self, sample, stated):
        test = conditions(make(CLEAN), [], POINTS).clean
        trials = pd.DataFrame(
            {
                "sample_id": [sample],
                "intervention": ["mirrored"],
                "kind": ["undo"],
                "cause": ["instability"],
            }
        )
        logits = tasks.get("multilabel").logits(np.array([stated]))[None].astype(np.float32)
        return effects.edit_evidence(trials, logits, test)

    @pytest.mark.parametrize(
        ("stated", "after", "turned"),
        [
            ((0.9, 0.6, 0.1), "edema + effusion", True),
            ((0.4, 0.6, 0.1), "effusion", False),
            ((0.9, 0.6, 0.6), "edema + effusion + mass", False),
            ((0.4, 0.3, 0.1), "(none)", False),
        ],
    )
    def test_only_the_exact_set_repairs_a_call(self, stated, after, turned):
        found = self.edited("b", stated)
        assert found["predicted_after"].item() == after
        assert effects.turns(found).tolist() == [turned]

    def test_the_probability_is_of_the_missed_label(self):
        found = self.edited("b", (0.9, 0.6, 0.1)).iloc[0]
        assert (found["p_true_before"], found["p_true_after"]) == pytest.approx((0.3, 0.6))

    def test_a_turned_study_is_seen_from_the_stress_tables(self):
        test, *stressed = conditions(make(CLEAN), [blurred()], POINTS)
        found = effects.stress_evidence(test, stressed, ["a"]).iloc[0]
        assert (found["predicted_before"], found["predicted_after"]) == (
            "edema + effusion",
            "edema",
        )

    def test_the_probability_of_a_turned_study_is_of_the_label_that_it_loses(self):
        test, *stressed = conditions(make(CLEAN), [blurred()], POINTS)
        found = effects.stress_evidence(test, stressed, ["a"]).iloc[0]
        assert (found["p_true_before"], found["p_true_after"]) == pytest.approx((0.8, 0.2))


class TestStudy:
    def test_numbers_of_one_case_are_of_one_label(self):
        study = studied()
        flip = flip_of(study)
        assert (flip.truth, flip.predicted) == ("edema + effusion", "edema")
        # Blur loses effusion: 0.8 on the clean image, 0.2 under both severities.
        assert flip.true_index == EFFUSION
        doses = case_record.dose_response(study, flip)
        assert [dose["predicted"] for dose in doses] == ["edema + effusion", "edema", "edema"]
        assert [dose["p_true"] for dose in doses] == pytest.approx([0.8, 0.2, 0.2], abs=1e-6)

    def test_with_a_critical_label_they_are_of_that_one(self):
        study = studied(critical="effusion")
        doses = case_record.dose_response(study, flip_of(study))
        assert [dose["p_true"] for dose in doses] == pytest.approx([0.8, 0.2, 0.2], abs=1e-6)

    def test_flips_are_ranked_by_the_loss_of_the_lost_label(self):
        # Both lose effusion: a 0.8 to 0.45, f 0.55 to 0.4, and edema stays where it is.
        clean = {"a": CLEAN["a"], "f": ((1, 1, 0), (0.99, 0.55, 0.01))}
        after = {"a": ((1, 1, 0), (0.9, 0.45, 0.1)), "f": ((1, 1, 0), (0.99, 0.4, 0.01))}
        params = PARAMS.model_copy(update={"confident": 0.1})
        blur = make(after, condition=Condition("gaussian_blur", 1))
        found = case_selection.choose(conditions(make(clean), [blur], POINTS), params)
        assert found[0].kind == "corruption_flip"
        assert found[0].sample_id == "a"

    def test_modes_controls_and_findings(self):
        study = studied()
        assert {case.sample_id: study.mode(case) for case in study.cases} == {
            "a": "fragile",
            "b": "uncertain_error",
            "c": "stable",
            "e": "uncertain_error",
        }
        assert study.controls["sample_id"].tolist() == ["d"]
        trials = pd.DataFrame(
            {
                "sample_id": ["d"],
                "intervention": ["mirrored"],
                "kind": ["undo"],
                "cause": ["instability"],
            }
        )
        logits = study.test.table.logits[:, study.test.rows_of(["d"])]
        tried = case_study.control_evidence(study, trials, logits)
        focus = pd.DataFrame(columns=["sample_id", "cam_energy", "lesion_share"])
        found = case_study.findings(study, [], tried, focus)
        assert found.scalars["fragile_share"] == 1 / 5
        assert found.scalars["mirrored_flip_rate"] != found.scalars["mirrored_flip_rate"]

    def test_a_flip_is_diagnosed_and_ready_for_disk(self):
        study = studied()
        flip = flip_of(study)
        trials = pd.DataFrame(columns=["sample_id", "intervention", "kind", "cause"])
        empty = np.zeros((1, 0, 3), dtype=np.float32)
        tried = case_study.control_evidence(study, trials, empty)
        record = case_study.weigh(
            study, flip, case_study.case_evidence(study, flip, trials, empty), tried
        )
        case_json = case_record.case_json(study, record, drawn=({}, {}), questions={})
        assert case_json["truth"] == "edema + effusion"
        assert case_json["predicted"] == "edema"
        assert case_json["p_true"] == pytest.approx(0.2, abs=1e-6)
        assert case_json["probabilities"] == pytest.approx(
            {"edema": 0.95, "effusion": 0.2, "mass": 0.1}, abs=1e-6
        )
        # No other right study is turned: c is the one control, and stays.
        assert "clean, it is called edema + effusion" in case_json["diagnosis"]["statement"]
