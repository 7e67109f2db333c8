"""The section on what was found by search, and the sentences that tell of it."""

import dataclasses
import shutil

import pandas as pd
import pytest
import synthetic_verdicts as verdicts
from sentence_walk import LieError, Walk

from medaudit.report import comparison_sentences, interval_warnings
from medaudit.report.blocks import Context, ReportParams
from medaudit.report.results import read_results
from medaudit.report.sections import found as found_section


@pytest.fixture(scope="module")
def held(study, tmp_path_factory):
    """The made-up study with findings that nobody named."""
    root = tmp_path_factory.mktemp("found") / "study"
    shutil.copytree(study, root)
    return read_results(verdicts.found_without_a_name(root))


def section(results):
    """The section of some results."""
    return found_section.section(Context(results, ReportParams(), None, None, "a test"))


def replaced(results, name, **columns):
    """The results with other values in all rows of a series."""
    tables = {**results.series["slice"], name: results.table("slice", name).assign(**columns)}
    return dataclasses.replace(results, series={**results.series, "slice": tables})


def told(results):
    return " ".join(each["text"] for each in section(results)["blocks"] if each["kind"] == "text")


class TestSection:
    def test_a_run_that_looked_for_nothing_has_none(self, found):
        assert section(found) is None
        assert comparison_sentences.unnamed(found) == ""
        assert comparison_sentences.shortcut_alert(found) == ""

    def test_totals_stand_beside_what_could_have_been_seen(self, held):
        text = told(held)
        assert "Slices: 2 were found on calibration + validation" in text
        assert "1 is confirmed on test (gaps above 17 to 26 points, by slice," in text
        assert "of 3 pairs of property and class, 2 go together in training; 1 of these" in text
        assert "(gaps above 24 to 31 points, by pair, could have been seen)" in text
        assert "Roles: 2 of 3 comparisons tell the roles apart: train against test" in text
        assert "In the other 1 no difference is shown; by itself an AUROC above 0.561" in text
        assert "Labels: 11 of 1,000 labels are flagged" in text

    def test_no_gap_is_larger_than_100_points(self, held):
        rows = held.table("slice", "discovered")
        wide = [0.26, *[1.32] * (len(rows) - 1)]
        some = replaced(held, "discovered", minimal_detectable=wide)
        none = replaced(held, "discovered", minimal_detectable=1.32)
        assert "(gaps above 26 points could have been seen, and none in 1)" in told(some)
        assert "(no gap could have been seen)" in told(none)
        tables = [each for each in section(none)["blocks"] if each["kind"] == "table"]
        seen = {row[tables[0]["columns"].index("seen from")] for row in tables[0]["rows"]}
        assert seen == {"none"}

    def test_what_was_not_measured_is_told_by_what_it_needs(self, found):
        table = pd.DataFrame(
            {
                "sought": ["shortcuts", "clusters of embeddings", "label issues"],
                "needs": ["rows of the train role", "embeddings", "embeddings"],
            }
        )
        slices = {**found.series["slice"], "not_measured": table}
        lacking = dataclasses.replace(found, series={**found.series, "slice": slices})
        (block,) = section(lacking)["blocks"]
        assert block["text"] == (
            "Not measured: shortcuts (they need rows of the train role); clusters of embeddings "
            "and label issues (they need embeddings)."
        )

    def test_a_search_that_found_nothing_says_so(self, held):
        scalars = {**held.scalars, "slice": {**held.scalars["slice"], "n_discovered": 0}}
        series = {**held.series["slice"], "discovered": held.table("slice", "discovered")[:0]}
        empty = dataclasses.replace(held, scalars=scalars, series={**held.series, "slice": series})
        assert found_section.discovered(empty) == (
            "Slices: none with more errors than its classes explain was found."
        )

    def test_without_labels_to_look_at_none_are_promised(self, held):
        series = {**held.series["slice"], "label_issues": held.table("slice", "label_issues")[:0]}
        bare = dataclasses.replace(held, series={**held.series, "slice": series})
        (fold,) = (block for block in section(bare)["blocks"] if block["kind"] == "details")
        assert fold["summary"] == "All that was found by search"

    def test_roles_that_are_not_told_apart(self, held):
        alike = replaced(held, "role_drift", verdict="no difference shown")
        assert found_section.role_drift(alike) == (
            "Roles: in 3 comparisons no difference is shown; by itself an AUROC above 0.561 would "
            "have been beyond chance."
        )

    def test_confirmed_slices_and_alarms_come_first(self, held):
        slices, pairs = (b for b in section(held)["blocks"] if b["kind"] == "table")
        assert [row[-1] for row in slices["rows"]] == ["confirmed", "not confirmed"]
        assert slices["rows"][0][2:5] == ["70.0 % (20.0 %)", "+50 (+30 to +70)", "26"]
        assert [row[-1] for row in pairs["rows"]] == ["alarm", "associated"]
        assert pairs["rows"][0][3] == "+48 (+25 to +67) [31]"

    def test_the_fold_names_the_first_ten_labels_and_examples(self, held):
        (fold,) = (block for block in section(held)["blocks"] if block["kind"] == "details")
        assert fold["summary"].endswith(", and the first 10 labels to look at")
        labels = fold["blocks"][-1]
        assert len(labels["rows"]) == 10
        assert labels["rows"][0][0] == "TEST_00000"
        (examples,) = (b for b in fold["blocks"] if b["caption"].startswith("Errors inside"))
        assert examples["rows"] == [["ruler = no and sex = male", "missed mel", EXAMPLES]]


EXAMPLES = "TEST_00001, TEST_00002"


class TestSentences:
    def test_they_are_borne_out_by_the_tables(self, held):
        walk = Walk(held).paragraphs([comparison_sentences.unnamed(held)])
        assert walk.read == 3
        assert walk.alerts([comparison_sentences.shortcut_alert(held)]).read == 4

    def test_an_alarm_is_an_alert(self, held):
        (said,) = (a for a in interval_warnings.alerts(held, {}) if a.startswith("Shortcut"))
        assert (
            "63.0 % where it speaks against mel (n=109 images with it), 15.0 % in the rest" in said
        )

    def test_what_is_not_confirmed_is_not_told(self, held):
        quiet = replaced(held, "discovered", verdict="not confirmed")
        quiet = replaced(quiet, "shortcuts", verdict="associated")
        quiet = replaced(quiet, "role_drift", verdict="no difference shown")
        assert comparison_sentences.unnamed(quiet) == ""
        assert comparison_sentences.shortcut_alert(quiet) == ""

    def test_embeddings_of_fitted_images_are_no_drift(self, held):
        assert "embeddings" not in comparison_sentences.unnamed(held)

    @pytest.mark.parametrize(
        ("name", "column", "value"),
        [
            ("discovered", "gap", 0.2),
            ("discovered", "verdict", "not confirmed"),
            ("shortcuts", "verdict", "alarm"),
            ("role_drift", "auroc", 0.9),
        ],
    )
    def test_a_table_that_says_otherwise_is_caught(self, held, name, column, value):
        said = comparison_sentences.unnamed(held)
        with pytest.raises((LieError, ValueError)):
            Walk(replaced(held, name, **{column: value})).paragraphs([said])

    @pytest.mark.parametrize("column", ["missed_inside", "missed_p_adjusted", "association"])
    def test_an_alert_that_lies_is_caught(self, held, column):
        said = comparison_sentences.shortcut_alert(held)
        with pytest.raises(LieError):
            Walk(replaced(held, "shortcuts", **{column: 0.9})).alerts([said])
