"""Evidence, base rates and diagnoses on hand-made interventions."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from test_cases import BKL, CLEAN, MEL, NV, PARAMS, POINTS, make, stressed

from medaudit.audits import casebook, evidence
from medaudit.audits.causes import CAUSES, CORRECTIVE, cause, cause_of
from medaudit.audits.diagnosis import diagnose
from medaudit.audits.judging import judge
from medaudit.pixels.corruptions import CORRUPTIONS
from medaudit.pixels.counterfactuals import COUNTERFACTUALS

EDITS = {"hair_removed": "undo", "mirrored": "undo"}


def row(sample, intervention, before, after, *, truth="mel", p=(0.1, 0.2), kind="undo"):
    return {
        "sample_id": sample,
        "intervention": intervention,
        "kind": kind,
        "cause": COUNTERFACTUALS[intervention].cause,
        "truth": truth,
        "predicted_before": before,
        "predicted_after": after,
        "p_true_before": p[0],
        "p_true_after": p[1],
    }


def quiet(intervention, n=10, *, turned=0, to="mel", kind="undo"):
    """`n` right nv controls, of which the first `turned` become `to`."""
    return [
        row(f"r{i}", intervention, "nv", to if i < turned else "nv", truth="nv", kind=kind)
        for i in range(n)
    ]


def trials(*groups):
    return pd.DataFrame([each for group in groups for each in group])


@pytest.fixture
def clean():
    return make(CLEAN)


@pytest.fixture
def corrupted():
    return [
        stressed("gaussian_blur-1", {"d": (MEL, MEL, 0.6)}),
        stressed("gaussian_blur-2", {"d": (MEL, NV, 0.9)}),
        stressed("brightness_up-1", {"a": (MEL, MEL, 0.7)}),
    ]


@pytest.fixture
def book(clean, corrupted):
    return casebook.study([clean, *corrupted], POINTS, PARAMS)


def case(book, kind):
    return next(each for each in book.cases if each.kind == kind)


def diagnosed(book, found, tried, kind="confident_critical_miss"):
    weighed = evidence.weigh(pd.DataFrame(found), tried, max_base_rate=0.25)
    chosen = case(book, kind)
    return diagnose(chosen, weighed, book.taxonomy, mode=book.mode(chosen))


class TestWeigh:
    def one(self, found, tried):
        return evidence.weigh(pd.DataFrame([found]), tried, max_base_rate=0.25).iloc[0]

    def test_an_edit_that_turns_the_case_and_few_controls_is_specific(self):
        # 1 of 10 right controls changes; 1 of 10 not called mel before is so afterwards.
        found = self.one(
            row("a", "hair_removed", "nv", "mel"), trials(quiet("hair_removed", turned=1))
        )
        assert found["turned"]
        assert found["base_rate"] == pytest.approx(0.1)
        assert found["specific"]

    def test_an_edit_that_turns_everything_is_no_evidence(self):
        found = self.one(
            row("a", "hair_removed", "nv", "mel"), trials(quiet("hair_removed", turned=9))
        )
        assert found["turned"]
        assert found["base_rate"] == pytest.approx(0.9)
        assert not found["specific"]

    def test_errors_that_all_become_the_class_count_as_well(self):
        # Right controls stay, but all 5 wrong ones (bkl called nv) become mel: 5 of 15.
        wrong = [row(f"w{i}", "hair_removed", "nv", "mel", truth="bkl") for i in range(5)]
        found = self.one(
            row("a", "hair_removed", "nv", "mel"), trials(quiet("hair_removed"), wrong)
        )
        assert found["base_rate"] == pytest.approx(5 / 15)

    def test_untried_interventions_are_no_evidence(self):
        found = self.one(row("a", "hair_removed", "nv", "mel"), trials(quiet("mirrored")))
        assert found["turned"]
        assert np.isnan(found["base_rate"])
        assert not found["specific"]

    def test_the_case_is_not_its_own_control(self):
        own = row("a", "hair_removed", "nv", "mel")
        found = self.one(own, trials(quiet("hair_removed"), [own]))
        assert found["base_rate"] == 0

    @pytest.mark.parametrize(
        ("kind", "before", "after", "turned"),
        [
            ("undo", "nv", "mel", True),
            ("undo", "nv", "bkl", False),
            ("undo", "mel", "mel", False),
            ("remove", "nv", "nv", True),
            ("remove", "nv", "mel", False),
            ("remove", "mel", "mel", False),
            ("apply", "mel", "nv", True),
            ("apply", "nv", "mel", False),
        ],
    )
    def test_what_turned_means(self, kind, before, after, turned):
        found = pd.DataFrame([row("a", "mirrored", before, after, kind=kind)])
        assert evidence.turns(found).tolist() == [turned]


class TestBaseRates:
    def test_counts_right_and_wrong_apart(self):
        wrong = [
            row("w0", "hair_removed", "nv", "mel"),
            row("w1", "hair_removed", "nv", "bkl"),
        ]
        found = evidence.base_rates(trials(quiet("hair_removed", turned=3), wrong)).iloc[0]
        assert (found["n_right"], found["n_flipped"], found["flip_rate"]) == (10, 3, 0.3)
        assert (found["n_wrong"], found["n_repaired"], found["repair_rate"]) == (2, 1, 0.5)
        assert found["flip_rate_low"] < 0.3 < found["flip_rate_high"]

    def test_without_wrong_controls_the_repair_rate_is_undefined(self):
        assert np.isnan(evidence.base_rates(trials(quiet("mirrored"))).iloc[0]["repair_rate"])


class TestStressEvidence:
    def test_corrective_conditions_undo_as_well(self, clean, corrupted):
        test, judged = judge(clean, corrupted, POINTS)
        found = evidence.stress_evidence(test, judged, ["a"])
        assert list(zip(found["intervention"], found["kind"], strict=True)) == [
            ("gaussian_blur-1", "apply"),
            ("gaussian_blur-2", "apply"),
            ("brightness_up-1", "apply"),
            ("brightness_up-1", "undo"),
        ]
        last = found.iloc[-1]
        assert (last["predicted_before"], last["predicted_after"]) == ("nv", "mel")
        assert (last["p_true_before"], last["p_true_after"]) == pytest.approx((0.05, 0.7))

    def test_undoing_goes_from_corrupted_to_clean(self, clean, corrupted):
        test, judged = judge(clean, corrupted, POINTS)
        found = evidence.undo_evidence(test, judged[1], ["d"]).iloc[0]
        assert found["intervention"] == "undo_gaussian_blur-2"
        assert (found["predicted_before"], found["predicted_after"]) == ("nv", "mel")
        assert evidence.turns(pd.DataFrame([found])).all()

    def test_no_conditions_no_rows(self, clean):
        test, judged = judge(clean, [], POINTS)
        assert evidence.stress_evidence(test, judged, ["a"]).empty


class TestDiagnose:
    def test_greatest_change_first(self, book):
        found = [
            row("a", "mirrored", "nv", "mel", p=(0.05, 0.5)),
            row("a", "hair_removed", "nv", "mel", p=(0.05, 0.8)),
        ]
        result = diagnosed(book, found, trials(quiet("mirrored"), quiet("hair_removed")))
        assert result.supported == ("hair", "instability")
        assert result.mitigations[0] == CAUSES["hair"].mitigation
        assert result.statement.startswith(
            "Evidence for hair across the lesion: hair_removed turns nv to mel (mel 0.05 to 0.80); "
            "base rate 0 %, 0 to 28."
        )
        # Each turned 0 of 10 controls: 1/11 by chance, both together 1/121 = 0.008.
        assert result.p_turned == pytest.approx(1 / 121)
        assert result.expected_turned == pytest.approx(2 / 11)
        assert "2 of 2 interventions turn it, more than chance would give (p = 0.008;" in (
            result.statement
        )

    def test_one_of_many_that_turns_is_no_more_than_chance(self, book):
        # 10 edits that turn 1 of 9 controls each: 2/10 by chance, and 1 - 0.8^10 = 0.89 for one.
        names = list(COUNTERFACTUALS)[:10]
        found = [row("a", name, "nv", "mel" if i == 0 else "nv") for i, name in enumerate(names)]
        result = diagnosed(book, found, trials(*(quiet(name, 9, turned=1) for name in names)))
        assert result.p_turned == pytest.approx(1 - 0.8**10)
        assert (
            "1 of 10 interventions turn it, no more than chance would give (expected 2.0 of 10; "
            "taken as independent, which they are not)." in result.statement
        )

    def test_interventions_without_controls_are_left_out_of_the_count(self, book):
        found = [row("a", "mirrored", "nv", "mel"), row("a", "hair_removed", "nv", "nv")]
        result = diagnosed(book, found, trials(quiet("hair_removed")))
        assert "0 of 1 interventions turn it" in result.statement
        assert result.p_turned == 1

    def test_nothing_turns(self, book):
        result = diagnosed(book, [row("a", "mirrored", "nv", "nv")], trials(quiet("mirrored")))
        assert result.supported == ()
        assert result.statement == (
            "No tested cause explains it: none of 1 interventions is evidence."
        )
        assert result.mitigations == (
            "no targeted one is supported by the evidence; defer by confidence",
        )

    def test_what_turns_everything_is_named_but_supports_nothing(self, book):
        found = [row("a", "mirrored", "nv", "mel")]
        result = diagnosed(book, found, trials(quiet("mirrored", turned=10)))
        assert result.supported == ()
        assert result.unspecific == ("mirrored",)
        assert "Too common among the controls to be evidence: mirrored." in result.statement
        assert "no more than chance would give (expected 1.0 of 1;" in result.statement

    def test_prediction_that_does_not_need_the_lesion(self, book):
        found = [row("a", "lesion_replaced", "nv", "nv", kind="remove")]
        others = [row(f"m{i}", "lesion_replaced", "mel", "bkl", kind="remove") for i in range(10)]
        result = diagnosed(book, found, trials(others))
        assert result.supported == ("context_shortcut",)
        assert "it stays nv after lesion_replaced; base rate 0 %, 0 to 28." in result.statement

    def test_staying_says_nothing_where_all_plain_skin_is_called_that(self, book):
        found = [row("a", "lesion_replaced", "nv", "nv", kind="remove")]
        others = [row(f"m{i}", "lesion_replaced", "mel", "nv", kind="remove") for i in range(10)]
        assert diagnosed(book, found, trials(others)).supported == ()

    def test_how_common_the_failure_is(self, book):
        result = diagnosed(book, [row("a", "mirrored", "nv", "nv")], trials(quiet("mirrored")))
        (common,) = result.residual_risks
        assert common.startswith("2 of 8 test samples (25.0%, 95 % interval ")
        assert common.endswith(
            "2 of them hold the critical class, of which its frozen threshold flags 0"
        )


def edits_of(book, ids):
    """Edits that leave every prediction as it is."""
    names = [(name, edit) for name in ids for edit in EDITS]
    frame = pd.DataFrame(
        {
            "sample_id": [name for name, _ in names],
            "intervention": [edit for _, edit in names],
            "kind": [EDITS[edit] for _, edit in names],
            "cause": [COUNTERFACTUALS[edit].cause for _, edit in names],
        }
    )
    table = book.test.scored.table
    return frame, table.logits[:, book.test.rows_of(frame["sample_id"])]


@pytest.fixture
def pages(book):
    tried = casebook.control_evidence(book, *edits_of(book, book.controls["sample_id"]))
    found = [
        casebook.case_evidence(book, each, *edits_of(book, [each.sample_id])) for each in book.cases
    ]
    return tried, [
        casebook.weigh(book, each, rows, tried)
        for each, rows in zip(book.cases, found, strict=True)
    ]


def flip_of(book):
    """The diagnosis of the flip, with edits that leave the corrupted prediction as it is."""
    tried = casebook.control_evidence(book, *edits_of(book, book.controls["sample_id"]))
    flip = case(book, "corruption_flip")
    trials, _ = edits_of(book, [flip.sample_id])
    corrupted = book.before(flip)
    logits = corrupted.scored.table.logits[:, corrupted.rows_of(trials["sample_id"])]
    found = casebook.case_evidence(book, flip, trials, logits)
    return casebook.weigh(book, flip, found, tried).diagnosis


class TestCasebook:
    def test_a_flip_is_proven_by_applying_and_undoing(self, book, pages):
        flip = next(p for p in pages[1] if p.case.kind == "corruption_flip")
        # The edits give the clean prediction here, so they repair the corrupted one as well.
        assert flip.diagnosis.supported == ("blur", "hair", "instability")
        assert (
            "Evidence for loss of sharpness: clean, it is called mel (0.80); with gaussian_blur of "
            "severity (call, probability of mel) 1: mel 0.60, 2: nv 0.05. gaussian_blur-2 turns "
            "few other right predictions (base rate 0 %, 0 to 66)." in flip.diagnosis.statement
        )

    def test_a_flip_that_turns_most_predictions_is_no_evidence(self, clean):
        # Of the three right ones (d, e, g) the blur turns d and g: 1 of the 2 others.
        both = {"d": (MEL, NV, 0.9), "g": (NV, BKL, 0.7)}
        found = flip_of(casebook.study([clean, stressed("gaussian_blur-1", both)], POINTS, PARAMS))
        assert "blur" not in found.supported
        assert "Seen, but no evidence: clean, it is called mel (0.80)" in found.statement
        assert (
            "gaussian_blur-1 turns this image, and too many of all right predictions as well "
            "(base rate 50 %, 9 to 91)." in found.statement
        )
        assert "loss of sharpness" not in found.statement

    def test_a_flip_that_more_of_the_same_undoes_is_no_evidence(self, clean):
        tables = [
            clean,
            stressed("gaussian_blur-1", {"d": (MEL, NV, 0.9)}),
            stressed("gaussian_blur-2", {}),
        ]
        found = flip_of(casebook.study(tables, POINTS, PARAMS))
        assert "blur" not in found.supported
        assert "Higher severities are right again, so it is not" in found.statement
        assert "too many" not in found.statement
        assert "loss of sharpness" not in found.statement

    def test_a_miss_that_light_repairs(self, book, pages):
        first = pages[1][0]
        assert first.case.sample_id == "a"
        assert first.diagnosis.supported == ("exposure",)
        assert first.cited == "brightness_up-1"
        assert first.stem == "1_a"

    def test_a_long_id_is_cut_in_the_names_of_pictures(self, pages):
        first = pages[1][0]
        long = dataclasses.replace(first.case, sample_id="é" * 240)
        stem = dataclasses.replace(first, case=long).stem
        assert stem.startswith("1_éé")
        assert len(f"{stem}_cam_predicted.png".encode()) < 255

    def test_success_is_held_against_the_same_interventions(self, book, pages):
        success = pages[1][-1]
        assert success.diagnosis.supported == ()
        assert success.diagnosis.mitigations == ()
        assert success.diagnosis.statement == (
            "0 of 2 edits that take a nuisance away change it. 0 of 3 conditions change it."
        )
        (common,) = success.diagnosis.residual_risks
        assert "come out as stable" in common

    def test_a_success_that_does_not_need_the_lesion_says_so(self, book):
        found = [row("e", "lesion_replaced", "mel", "mel", kind="remove")]
        others = [row(f"n{i}", "lesion_replaced", "nv", "nv", kind="remove") for i in range(4)]
        result = diagnosed(book, found, trials(others), kind="success")
        assert (
            "Without the lesion it is still called mel, as are 0% of the controls that were "
            "called something else before." in result.statement
        )

    def test_findings_and_dossier_are_ready_for_disk(self, book, pages):
        tried, found = pages
        focus = pd.DataFrame(columns=["sample_id", "cam_energy", "lesion_share"])
        result = casebook.findings(book, found, tried, focus)
        assert result.scalars["n_cases"] == len(book.cases)
        assert result.scalars["confident_critical_miss_n"] == 2
        assert result.scalars["n_clean_failures_explained"] == 1
        drawn = ({"image": "1_a_image.png"}, {"lesion_share": float("nan")})
        entries = [casebook.entry(book, p, drawn=drawn, questions={}) for p in found]
        content = casebook.dossier(book, entries, result, questions={"zoom_to_lesion": "?"})
        again = json.loads(json.dumps(content, allow_nan=False))
        assert again["cases"][0]["focus"] == {"lesion_share": None}
        assert again["not_testable"] == {"zoom_to_lesion": "no mask"}
        assert [dose["condition"] for dose in again["cases"][2]["dose_response"]] == [
            "clean",
            "gaussian_blur-1",
            "gaussian_blur-2",
        ]

    def test_focus_is_the_median_by_call(self, book):
        ids = book.controls["sample_id"].tolist()
        focus = pd.DataFrame({"sample_id": ids, "cam_energy": 0.5, "lesion_share": 0.2})
        found = casebook.focus_by_call(book, focus)
        # d and e are cases, so that g is the one right control.
        assert dict(zip(found["call"], found["n"], strict=True)) == {
            "right": 1,
            "wrong": len(ids) - 1,
        }
        assert found["cam_energy"].tolist() == [0.5, 0.5]


class TestCauses:
    @pytest.mark.parametrize("name", sorted(COUNTERFACTUALS))
    def test_every_edit_supports_a_listed_cause(self, name):
        assert COUNTERFACTUALS[name].cause in CAUSES

    @pytest.mark.parametrize("name", sorted(CORRUPTIONS))
    def test_every_corruption_stands_for_a_listed_cause(self, name):
        assert cause_of(name) in CAUSES

    def test_corrective_corruptions_exist(self):
        assert set(CORRECTIVE) <= set(CORRUPTIONS)

    def test_an_unlisted_corruption_is_its_own_cause(self):
        assert cause(cause_of("gel_bubbles")).phrase == "gel bubbles"
