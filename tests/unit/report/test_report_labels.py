"""Images with several labels, and predictions that were made elsewhere."""

import dataclasses
import re
import shutil
from importlib import resources
from pathlib import Path

import pytest
import synthetic_results

from medaudit.core.errors import DataError, UnknownNameError
from medaudit.core.privacy import Privacy
from medaudit.report import figures, interval_warnings, narrative, render, results
from medaudit.report.blocks import Context, ReportParams
from medaudit.report.reproduction import Commit
from medaudit.report.sections import cases, performance, stress

REPOSITORY = Path(__file__).resolve().parents[3]
AUDITED = ("evaluate", "slice", "calibrate", "selective")
SOURCE = "made elsewhere, read from p.csv"


def content_of(root, folder, only=None):
    found = results.read_results(root, only=only)
    context = Context(
        results=found,
        params=ReportParams(title="Test"),
        checklist=render.questions(found),
        commit=Commit("", dirty=False),
        source=SOURCE,
    )
    return render.build(context, drawn=figures.draw_all(found, folder))


def words_of(report):
    return " ".join(
        interval_warnings.strings([report["summary"], report["alerts"], report["sections"]])
    )


@pytest.fixture(scope="module")
def report(labelled, tmp_path_factory):
    return content_of(labelled, tmp_path_factory.mktemp("figures"))


@pytest.fixture(scope="module")
def audit(elsewhere, tmp_path_factory):
    return content_of(elsewhere, tmp_path_factory.mktemp("figures"), AUDITED)


class TestLabels:
    def test_no_sentence_of_ours_supposes_one_class_or_a_lesion(self, report):
        titles = ("Problem and data", "Performance on clean images", "Stress and slices")
        chosen = [each for each in report["sections"] if each["title"] in titles]
        said = " ".join(interval_warnings.strings([report["summary"], chosen]))
        assert not re.search(r"\bclass(es)?\b", said.replace("lack a class or label", ""))
        assert "lesion" not in said
        assert "None" not in said

    def test_one_row_per_label_with_prevalence_and_what_it_rests_on(self, labelled):
        found = results.read_results(labelled)
        block = performance.by_label(found)
        assert [row[0] for row in block["rows"]] == list(found.classes)
        assert block["columns"][1:3] == ["prevalence", "n"]
        assert len(block["columns"]) == len(block["rows"][0]) == 10
        first = found.of_class("Infiltration", "auroc")
        assert block["rows"][0][2] == str(first.n_positive)

    def test_the_range_over_labels_is_said(self, labelled):
        first, second, *_ = narrative.summary(results.read_results(labelled))
        assert "the label of the lowest measured sensitivity is" in first
        assert "By label it was measured from" in second

    def test_co_occurrence_counts_every_image_of_a_label(self, labelled):
        found = results.read_results(labelled)
        totals = figures.performance.truths(found.table("evaluate", "confusion"))
        for name in found.classes:
            assert totals[name] == found.of_class(name, "auroc").n_positive

    def test_reliability_has_a_panel_per_label(self, labelled):
        found = results.read_results(labelled)
        figure = figures.calibration_and_selection.reliability_figure(found)
        drawn = [ax.get_title(loc="left") or ax.get_title() for ax in figure.axes]
        assert [each.splitlines()[0] for each in drawn if each] == list(found.classes)

    def test_without_a_critical_label_its_recall_is_not_drawn(self, labelled):
        figure = figures.calibration_and_selection.risk_coverage_figure(
            results.read_results(labelled)
        )
        assert [ax.get_title() for ax in figure.axes] == ["Risk", "Generalised risk"]

    def test_several_labels_of_a_case_are_all_marked_as_true(self):
        entry = {"probabilities": {"A": 0.1, "B": 0.7, "C": 0.2}, "truth": "A + B"}
        shown = {each["class"]: each["truth"] for each in cases.probabilities(entry, {})}
        assert shown == {"B": True, "C": False, "A": True}

    def test_a_label_of_a_case_stands_beside_its_threshold(self):
        entry = {"probabilities": {"A": 0.1234, "B": 0.7}, "truth": "A"}
        shown = [each["value"] for each in cases.probabilities(entry, {"A": 0.2, "B": 0.05})]
        assert shown == ["0.700 (threshold 0.050)", "0.123 (threshold 0.200)"]

    def test_the_probability_of_an_answer_is_explained(self, report):
        (chosen,) = (each for each in report["sections"] if each["title"] == "Cases")
        assert "is the product over labels" in chosen["blocks"][0]["text"]

    def test_cases_without_maps_say_so(self, labelled):
        found = results.read_results(labelled)
        assert "an illustration" in cases.maps(found)
        bare = [entry | {"images": {"image": "a.png"}} for entry in found.cases]
        without = dataclasses.replace(found, case_study={"cases": bare})
        assert cases.maps(without).startswith("There is no Grad-CAM")
        exported = dataclasses.replace(without, exported=True)
        assert "an exported model" in cases.maps(exported)

    def test_an_exported_model_is_called_by_its_file(self):
        card = {"backbone": "theirs", "kind": "exported", "file": "model.onnx"}
        assert results.backbone_or_file(card) == "model.onnx"
        assert results.backbone_or_file({"backbone": "net", "kind": "backbone"}) == "net"


class TestElsewhere:
    def test_only_what_there_is_evidence_for(self, audit):
        titles = [each["title"] for each in audit["sections"]]
        assert titles == [
            "Problem and data",
            "Performance on clean images",
            "Slices",
            "Uncertainty and calibration",
            "Deployment checklist",
            "Reproduction notes",
        ]
        assert [each["number"] for each in audit["sections"]] == [1, 2, 3, 4, 5, 6]

    def test_a_checklist_comes_with_the_package(self, audit):
        (block,) = (
            b for each in audit["sections"] for b in each["blocks"] if b["kind"] == "checklist"
        )
        shipped = resources.files("medaudit.report") / "templates/deployment_checklist.yaml"
        own = REPOSITORY / "report/deployment_checklist.yaml"
        assert shipped.read_text() == own.read_text()
        absent = [row for row in block["rows"] if row["basis"] == "this audit has no stress stage"]
        assert {row["status"] for row in absent} == {"not measured"}

    def test_what_is_left_out_is_said(self, audit):
        said = words_of(audit)
        assert "no case studies, for which" in said
        assert "no predictions under other conditions were given" in said

    def test_the_title_says_where_predictions_came_from(self, audit):
        assert ["Predictions", SOURCE] in audit["facts"]
        assert "Model" not in [name for name, _ in audit["facts"]]

    def test_both_files_are_written(self, elsewhere, tmp_path):
        params = ReportParams(title="Test")
        render.report(
            elsewhere,
            tmp_path,
            stages=AUDITED,
            params=params,
            privacy=Privacy("open"),
            source=SOURCE,
        )
        assert (tmp_path / "report.pdf").read_bytes().startswith(b"%PDF")
        assert SOURCE in (tmp_path / "report.html").read_text()

    def test_the_pipeline_stays_strict(self, elsewhere):
        with pytest.raises(DataError, match="not found"):
            results.read_results(elsewhere)

    def test_a_stage_that_is_named_must_be_there(self, elsewhere):
        with pytest.raises(DataError, match="run the stress stage"):
            results.read_results(elsewhere, only=(*AUDITED, "stress"))
        with pytest.raises(UnknownNameError, match="unknown stage 'strss'"):
            results.read_results(elsewhere, only=("strss",))

    def test_neither_manifest_nor_parameters_are_needed(self, elsewhere, tmp_path):
        root = shutil.copytree(elsewhere, tmp_path / "copy")
        (root / "params.yaml").unlink()
        (root / "artifacts/prepared/manifest.parquet").unlink()
        assert len(content_of(root, tmp_path / "figures", AUDITED)["sections"]) == 6

    def test_conditions_may_be_given(self, tmp_path):
        root = synthetic_results.write_audit(tmp_path / "audit", n_labels=None, stress=True)
        made = content_of(root, tmp_path / "figures", (*AUDITED, "stress"))
        assert "Conditions are predictions of the same test images" in words_of(made)


def test_errors_relative_to_a_reference_are_shown_where_there_is_one(found):
    assert stress.quantities(found) == ["balanced_error"]
    assert stress.errors_table(found)["columns"] == ["corruption", "balanced error"]
