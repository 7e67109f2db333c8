"""The failure taxonomy with its evidence, on eight samples that can be read on paper."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from case_tables import CLEAN, PARAMS, POINTS, make
from PIL import Image as Pillow
from scipy.stats import binomtest

from medaudit.cases import failure_modes as module
from medaudit.cases import investigation
from medaudit.cases.case_context import CaseContext
from medaudit.cases.failure_modes import NOT_MEASURABLE, failure_modes
from medaudit.cases.taxonomy import most_confident, outcome_statistics
from medaudit.core.files import write_json
from medaudit.core.findings import Findings, write
from medaudit.core.layout import DEFERRAL
from medaudit.tables.scoring import ScoredPredictions
from tests.audit_runs import case_study_of

RATES = pd.DataFrame(
    {
        "intervention": ["mirrored", "lesion_replaced"],
        "n_flipped": [1, 7],
        "n_right": [10, 10],
        "flip_rate_low": [0.02, 0.4],
        "flip_rate_high": [0.4, 0.9],
    }
)


@pytest.fixture(autouse=True)
def run(tmp_path, monkeypatch):
    """A run of other stages: their tables lie below the working folder."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("report: {privacy: open}")
    pairs = pd.DataFrame({"across_groups": [True, False, True]})
    write(Findings({}, {"duplicates": pairs}), "prepare")
    slices = pd.DataFrame({"verdict": ["worse", "undecided", None]})
    shortcuts = pd.DataFrame({"verdict": ["alarm", "no association shown"]})
    refused = pd.DataFrame({"slice": ["x", "y"]})
    discovered = pd.DataFrame(
        {
            "verdict": ["confirmed", "not confirmed"],
            "error": "missed mel",
            "slice": ["dark images", "bright images"],
            "sample_ids": ["a b", "c"],
        }
    )
    found = {"slices": slices, "shortcuts": shortcuts, "refused": refused, "discovered": discovered}
    write(Findings({}, found), "slice")
    deferral = pd.DataFrame(
        {
            "score": ["entropy", "margin", "margin"],
            "metric": ["coverage", "coverage", "critical_missed_share"],
            "value": [0.1, 0.75, 0.4],
            "low": [0.1, 0.6, 0.1],
            "high": [0.1, 0.9, 0.7],
            "n": 8,
            "n_positive": [None, None, 5],
        }
    )
    write(Findings({}, {"deferral": deferral}), "selective")
    write_json(DEFERRAL, {"score": "margin"})


def row(name, truth, before, after):
    edit = {"sample_id": name, "intervention": "lesion_replaced", "truth": truth}
    return edit | {"predicted_before": before, "predicted_after": after}


TRIED = pd.DataFrame(
    [
        *(row(f"m{i}", "mel", "mel", "mel") for i in range(2)),  # need no lesion
        *(row(f"n{i}", "mel", "mel", "nv") for i in range(2)),
        *(row(f"o{i}", "nv", "nv", "nv") for i in range(3)),  # what plain skin is called
        *(row(f"p{i}", "bkl", "bkl", "nv") for i in range(3)),
        row("q", "bkl", "mel", "mel"),  # wrong from the start
    ]
)


def rows_of(study, tried=TRIED):
    return failure_modes(study, RATES, tried).set_index("mode")


def test_every_bucket_is_there_and_nothing_is_passed_over_in_silence(study):
    found = rows_of(study)
    assert list(dict.fromkeys(found["bucket"])) == ["data", "model", "evaluation", "human"]
    unmeasured = found[found["stage"] == NOT_MEASURABLE]
    assert set(unmeasured.index) == {
        *("doubtful_label", "unlike_training", "one_training", "one_site"),
        *("disagreement", "automation_bias"),
    }
    assert unmeasured["n"].isna().all()
    assert found.loc[found["stage"] != NOT_MEASURABLE, "n"].notna().all()


def test_shares_of_samples_have_intervals_and_examples(study):
    miss = rows_of(study).loc["confident_critical_miss"]
    assert (miss["n"], miss["n_of"], miss["share"]) == (2, 8, 0.25)
    assert miss["share_low"] < 0.25 < miss["share_high"]
    assert miss["example_ids"] == "a b"


def test_what_other_stages_found_is_counted(study):
    found = rows_of(study)
    assert (found.loc["hidden_copies", "n"], found.loc["hidden_copies", "n_of"]) == (2, 3)
    assert (found.loc["shortcut", "n"], found.loc["shortcut", "n_of"]) == (1, 2)
    assert (found.loc["undecided", "n"], found.loc["undecided", "n_of"]) == (1, 2)
    assert found.loc["too_few_to_compare", "n"] == 2
    assert found.loc["hidden_copies", ["share_low", "share_high"]].isna().all()


def test_deferral_is_that_of_the_primary_score(study):
    found = rows_of(study)
    workload, kept = found.loc["workload"], found.loc["kept_misses"]
    assert (workload["n"], workload["n_of"]) == (2, 8)
    assert (workload["share_low"], workload["share_high"]) == pytest.approx((0.1, 0.4))
    assert (kept["n"], kept["n_of"]) == (2, 5)


def test_calls_that_need_no_lesion_leave_out_what_plain_skin_is_called(study):
    found = rows_of(study).loc["needs_no_lesion"]
    assert (found["n"], found["n_of"]) == (2, 7)
    assert found["of"] == "right controls other than nv"
    assert "calls of nv are left out" in found["definition"]
    # Wilson's interval of 2 of 7, as scipy.stats.binomtest gives it.
    expected = binomtest(2, 7).proportion_ci(method="wilson")
    assert (found["share_low"], found["share_high"]) == pytest.approx(tuple(expected))


def test_where_every_call_stays_none_is_left_out(study):
    stayed = TRIED[TRIED["predicted_before"] == TRIED["predicted_after"]]
    found = rows_of(study, stayed).loc["needs_no_lesion"]
    assert (found["n"], found["n_of"], found["of"]) == (5, 5, "right controls")


def test_a_call_that_fewer_than_most_become_is_not_left_out(study):
    spread = TRIED.copy()
    spread.loc[spread["sample_id"].isin(["p0", "p1", "n0"]), "predicted_after"] = "df"
    found = rows_of(study, spread).loc["needs_no_lesion"]  # 2 become nv, 3 df
    assert found["of"] == "right controls other than df"
    spread.loc[spread["sample_id"] == "p0", "predicted_after"] = "vasc"
    assert rows_of(study, spread).loc["needs_no_lesion", "of"] == "right controls"


def test_without_masks_no_call_is_said_to_need_no_lesion(study):
    assert "needs_no_lesion" not in rows_of(study, TRIED.iloc[:0]).index


def test_doubtful_labels_are_shares_of_the_errors(study, clean):
    issues = pd.DataFrame({"sample_id": ["a", "d"], "flagged": [True, True], "rank": [1, 2]})
    issues = issues.assign(given="mel", suggested=["bkl", "nv"])
    context = CaseContext(ScoredPredictions(make(CLEAN), POINTS), label_issues=issues)
    found = case_study_of(clean, study_tables(study), POINTS, PARAMS, context=context)
    row = rows_of(found).loc["doubtful_label"]
    # Wrong are a, b, c, f and h; d is right.
    assert (row["n"], row["n_of"]) == (1, 5)
    assert row["example_ids"] == "a"
    assert row["definition"].endswith("most such images are hard, and some mislabelled")


def study_tables(study):
    return [each.table for each in study.stressed]


def test_examples_are_of_different_groups_and_the_most_confident_first():
    test = ScoredPredictions(make(CLEAN, groups={"a": "g", "g": "g"}), POINTS)
    assert most_confident(test, np.ones(8, dtype=bool), 3) == ["a", "f", "d"]


class TestOutcomeStatistics:
    def with_contrast(self, values):
        table = make(CLEAN)
        table.rows["contrast"] = values
        return outcome_statistics(ScoredPredictions(table, POINTS))

    def test_shares_sum_to_one_for_each_outcome(self):
        found = self.with_contrast([0.1, 0.1, 0.2, 0.9, 0.8, 0.3, np.nan, 0.1])
        assert found.groupby("outcome")["share"].sum().tolist() == pytest.approx([1, 1])
        assert found.groupby("outcome")["n"].sum().to_dict() == {"right": 2, "wrong": 5}

    def test_what_never_varies_or_is_absent_is_left_out(self):
        assert self.with_contrast([0.5] * 8).empty
        assert outcome_statistics(ScoredPredictions(make(CLEAN), POINTS)).empty


class TestGalleries:
    def test_worst_errors_examples_labels_and_discovered_slices(self, study):
        found = {each.name: each for each in investigation.galleries(study)}
        assert found["errors_1"].sample_ids == ("a", "b", "c")
        assert found["errors_1"].captions[0] == "called nv (0.90)"
        assert found["errors_1"].title == "mel: the 3 most confident of 3 misses"
        assert found["discovered_1"].sample_ids == ("a", "b")
        assert "discovered_2" not in found
        assert "label_issues" not in found
        assert found["modes"].captions[0] == "confident critical miss"

    def test_what_the_report_reads(self, study, tmp_path):
        class Drawing:
            def draw_strip(self, sample_ids, path):
                Pillow.new("RGB", (len(sample_ids), 1)).save(path)
                return path.name

        first = next(iter(investigation.galleries(study)))
        told = investigation.drawn(first, Drawing(), tmp_path)
        assert json.loads(json.dumps(told))["file"] == f"{first.name}.png"
        assert (tmp_path / told["file"]).exists()


def test_columns_are_the_same_whatever_was_measured(study):
    assert tuple(failure_modes(study, RATES.iloc[:0], TRIED.iloc[:0]).columns) == module.COLUMNS
