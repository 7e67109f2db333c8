"""The cases with their evidence and diagnoses, and what goes to disk of them."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from case_tables import BKL, CLEAN, MEL, NV, PARAMS, POINTS, make, stressed
from evidence_tables import diagnosed, flip_of, row, trials

from medaudit.cases import case_record, case_study
from tests.audit_runs import case_study_of


class TestCasebook:
    def test_a_flip_is_proven_by_applying_and_undoing(self, study, case_records):
        flip = next(p for p in case_records[1] if p.case.kind == "corruption_flip")
        # The edits give the clean prediction here, so they repair the corrupted one as well; but
        # with so few controls chance does not rule that out.
        assert flip.diagnosis.supported == ("blur",)
        assert (
            "Evidence for loss of sharpness: clean, it is called mel (0.80); with gaussian blur of "
            "severity (call, probability of mel) 1: mel 0.60, 2: nv 0.05. gaussian blur, "
            "severity 2, turns few other right predictions (base rate 0 %, 0 to 66)."
            in flip.diagnosis.statement
        )

    def test_a_flip_that_turns_most_predictions_is_no_evidence(self, clean):
        # Of the three right ones (d, e, g) the blur turns d and g: 1 of the 2 others.
        both = {"d": (MEL, NV, 0.9), "g": (NV, BKL, 0.7)}
        found = flip_of(case_study_of(clean, [stressed("gaussian_blur-1", both)], POINTS, PARAMS))
        assert "blur" not in found.supported
        assert "Seen, but no evidence: clean, it is called mel (0.80)" in found.statement
        assert (
            "gaussian blur, severity 1, turns this image, and too many of all right predictions "
            "as well (base rate 50 %, 9 to 91)." in found.statement
        )
        assert "loss of sharpness" not in found.statement

    def test_a_flip_that_more_of_the_same_undoes_is_no_evidence(self, clean):
        tables = [
            stressed("gaussian_blur-1", {"d": (MEL, NV, 0.9)}),
            stressed("gaussian_blur-2", {}),
        ]
        found = flip_of(case_study_of(clean, tables, POINTS, PARAMS))
        assert "blur" not in found.supported
        assert "Higher severities are right again, so it is not" in found.statement
        assert "too many" not in found.statement
        assert "loss of sharpness" not in found.statement

    def test_a_corruption_that_happens_to_repair_a_miss_is_no_evidence(self, study, case_records):
        first = case_records[1][0]
        assert first.case.sample_id == "a"
        turned = first.evidence.loc[first.evidence["intervention"] == "brightness_up-1"]
        assert turned["predicted_after"].tolist() == ["mel"]
        assert first.diagnosis.supported == ()
        assert first.diagnosis.statement.startswith("No tested cause explains it (2 edits, ")
        assert first.cited is None
        assert first.stem == "1_a"

    def test_a_long_id_is_cut_in_the_names_of_pictures(self, case_records):
        first = case_records[1][0]
        long = dataclasses.replace(first.case, sample_id="é" * 240)
        stem = dataclasses.replace(first, case=long).stem
        assert stem.startswith("1_éé")
        assert len(f"{stem}_cam_predicted.png".encode()) < 255

    def test_success_is_held_against_the_same_interventions(self, study, case_records):
        success = case_records[1][-1]
        assert success.diagnosis.supported == ()
        assert success.diagnosis.mitigations == ()
        assert success.diagnosis.statement == (
            "0 of 2 edits that take a nuisance away change it. 0 of 3 conditions change it."
        )
        (common,) = success.diagnosis.residual_risks
        assert "come out as stable" in common

    def test_a_success_that_does_not_need_the_lesion_says_so(self, study):
        found = [row("e", "lesion_replaced", "mel", "mel", kind="remove")]
        others = [row(f"n{i}", "lesion_replaced", "nv", "nv", kind="remove") for i in range(4)]
        result = diagnosed(study, found, trials(others), kind="success")
        assert (
            "Without the masked region it is still called mel, as are 0 % of the controls that "
            "were called something else before." in result.statement
        )

    def test_findings_and_dossier_are_ready_for_disk(self, study, case_records):
        tried, found = case_records
        focus = pd.DataFrame(columns=["sample_id", "cam_energy", "lesion_share"])
        result = case_study.findings(study, found, tried, focus)
        assert result.scalars["n_cases"] == len(study.cases)
        assert result.scalars["confident_critical_miss_n"] == 2
        assert result.scalars["n_clean_failures_explained"] == 0
        drawn = ({"image": "1_a_image.png"}, {"lesion_share": float("nan")})
        entries = [case_record.case_json(study, p, drawn=drawn, questions={}) for p in found]
        content = case_record.cases_json(study, entries, result, questions={"zoom_to_lesion": "?"})
        again = json.loads(json.dumps(content, allow_nan=False))
        assert again["cases"][0]["focus"] == {"lesion_share": None}
        assert again["not_testable"] == {"zoom_to_lesion": "no mask"}
        assert [dose["condition"] for dose in again["cases"][2]["dose_response"]] == [
            "clean",
            "gaussian_blur-1",
            "gaussian_blur-2",
        ]

    def test_focus_is_the_mean_by_call_with_an_interval_over_groups(self, study):
        # d and e are cases, so that g is the one right control; c and h are the wrong ones.
        focus = pd.DataFrame(
            {
                "sample_id": ["c", "g", "h"],
                "cam_energy": [0.2, 0.7, 0.4],
                "lesion_share": [0.1, 0.5, 0.3],
            }
        )
        found = case_study.focus_scalars(study, focus)
        assert found["cam_energy_right"] == pytest.approx(0.7)
        assert found["lesion_share_right"] == pytest.approx(0.5)
        # (0.2 + 0.4) / 2; one resample in four is c twice, and one in four h twice.
        assert found["cam_energy_wrong"] == pytest.approx(0.3)
        assert found["cam_energy_wrong_ci_low"] == pytest.approx(0.2)
        assert found["cam_energy_wrong_ci_high"] == pytest.approx(0.4)
        assert found["lesion_share_wrong"] == pytest.approx(0.2)

    def test_focus_is_for_controls_with_masks_alone(self, study):
        # a is a case, and h has no mask.
        focus = pd.DataFrame(
            {
                "sample_id": ["a", "c", "h"],
                "cam_energy": [0.9, 0.2, np.nan],
                "lesion_share": [0.9, 0.1, np.nan],
            }
        )
        found = case_study.focus_scalars(study, focus)
        assert found["cam_energy_wrong"] == pytest.approx(0.2)
        assert "cam_energy_right" not in found
        assert case_study.focus_scalars(study, focus.iloc[:0]) == {}

    def test_images_of_one_lesion_are_one_case_for_the_focus(self, clean):
        same = {"c": "same", "h": "same"}
        study = case_study_of(make(CLEAN, groups=same), [], POINTS, PARAMS)
        focus = pd.DataFrame(
            {"sample_id": ["c", "h"], "cam_energy": [0.2, 0.4], "lesion_share": 0.1}
        )
        found = case_study.focus_scalars(study, focus)
        # Every resample is the one lesion: of what lesions differ in, nothing is known.
        assert found["cam_energy_wrong"] == pytest.approx(0.3)
        assert np.isnan(found["cam_energy_wrong_ci_low"])
        assert np.isnan(found["cam_energy_wrong_ci_high"])
