"""Marks beside numbers that rest on few groups, or on a part of the resamples."""

import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from medaudit.report import interval_warnings
from medaudit.report.blocks import details, note, section, table, text
from medaudit.report.formatting import Number, change, difference, estimate, number, percent
from medaudit.stats.intervals import FEW_POSITIVE_GROUPS

REPOSITORY = Path(__file__).resolve().parents[3]
DAGGER, DOUBLE = "\N{DAGGER}", "\N{DOUBLE DAGGER}"


def marked(found, stage, name, *, caution, n_positive_groups=None, undefined_share=0.0):
    """The results in which the first row of a series carries a caution."""
    changed = found.table(stage, name).astype({"caution": object})
    first = changed.index[0]
    changed.loc[first, "caution"] = caution
    changed.loc[first, "undefined_share"] = undefined_share
    if n_positive_groups is not None:
        changed.loc[first, "n_positive_groups"] = n_positive_groups
    tables = {**found.series[stage], name: changed}
    return dataclasses.replace(found, series={**found.series, stage: tables})


def printed(found):
    """The first measure of the clean test role as the report prints it."""
    return estimate(number(found.rows("evaluate", "metrics")[0]))


class TestMarks:
    @pytest.mark.parametrize(
        ("caution", "mark"),
        [
            ("", ""),
            ("few_positive_groups", DAGGER),
            ("undefined_replicates", DOUBLE),
            ("few_deciding_groups", "\N{SECTION SIGN}"),
            ("no_interval", "\N{PILCROW SIGN}"),
            ("undefined", ""),
        ],
    )
    def test_every_way_of_printing_a_number_carries_them(self, caution, mark):
        found = Number(0.5, 0.4, 0.6, caution=caution)
        assert estimate(found, 1) == f"0.5 (0.4–0.6){mark}"  # noqa: RUF001 - an interval
        assert difference(found, 1) == f"+0.5 (+0.4 to +0.6){mark}"
        assert percent(found) == f"50.0 % (40.0–60.0){mark}"  # noqa: RUF001 - an interval

    def test_without_an_interval_as_well(self):
        assert difference(Number(0.5, caution="few_positive_groups"), 1).endswith(DAGGER)

    def test_what_is_undefined_needs_none(self):
        assert estimate(Number(caution="few_positive_groups")) == "undefined"

    def test_they_are_read_from_the_series(self):
        row = {"value": 0.5, "low": 0.4, "high": 0.6, "caution": "few_positive_groups", "gap": 0.1}
        assert number(row).mark == DAGGER
        assert change(row, "gap", name="x", ends=("low", "high")).mark == DAGGER
        assert number(row | {"caution": float("nan")}).mark == ""

    def test_a_change_has_a_caution_of_its_own(self):
        row = {"value": 0.5, "low": 0.4, "high": 0.6, "caution": "few_positive_groups", "gap": 0.1}
        of_gap = row | {"change_caution": "few_deciding_groups"}
        assert number(of_gap).mark == DAGGER
        assert change(of_gap, "gap", name="x", ends=("low", "high")).mark == "\N{SECTION SIGN}"
        unmarked = row | {"change_caution": float("nan")}
        assert change(unmarked, "gap", name="x", ends=("low", "high")).mark == ""


class TestFootnotes:
    @pytest.mark.parametrize(
        ("reason", "words"),
        [("few_deciding_groups", "this change"), ("no_interval", "raised by noise alone")],
    )
    def test_the_caution_of_a_printed_change_is_explained(self, found, reason, words):
        table = found.table("stress", "conditions")
        here = table["metric"] == "mean_confidence"
        changed = table.assign(change_caution="")
        changed["change_caution"] = changed["change_caution"].mask(here, reason)
        tables = {**found.series["stress"], "conditions": changed}
        held = dataclasses.replace(found, series={**found.series, "stress": tables})
        row = held.rows("stress", "conditions", metric="mean_confidence")[1]
        said = difference(change(row, "delta", name="", ends=("delta_low", "delta_high")))
        (note,) = interval_warnings.footnotes([said], held, ("stress",))
        assert note.startswith(said[-1])
        assert words in note

    def test_without_a_mark_there_is_none(self, found):
        assert interval_warnings.footnotes(["0.5 (0.4 to 0.6)"], found, ("evaluate",)) == []

    def test_few_groups_are_told_with_their_number(self, found):
        few = marked(
            found, "evaluate", "metrics", caution="few_positive_groups", n_positive_groups=3
        )
        (said,) = interval_warnings.footnotes([printed(few)], few, ("evaluate",))
        assert said.startswith(f"{DAGGER} fewer than {FEW_POSITIVE_GROUPS} groups of positives")
        assert "as few as 3" in said
        assert "the interval is made wider for it" in said
        assert "docs/results/coverage" in said

    def test_other_methods_are_not_said_to_allow_for_few_groups(self, found):
        rows = pd.DataFrame({"n_positive_groups": [3]})
        assert "are too narrow there" in interval_warnings.few(rows, "percentile")
        assert "are too narrow there" in interval_warnings.few(rows, "bca")

    def test_the_simulation_says_what_the_footnote_says(self):
        """Below 25 groups: percentiles fall short for all ranking, the default mostly does not."""
        cells = pd.read_csv(REPOSITORY / "docs/results/coverage/coverage.csv")
        cells = cells[cells["n_positive_groups"] < FEW_POSITIVE_GROUPS]
        auroc = cells[cells["metric"] == "auroc"]
        plain = auroc[auroc["method"] == "clustered"]["coverage"]
        default = auroc[auroc["method"] == "clustered_logit_t"]["coverage"]
        rates = cells[(cells["metric"] == "sensitivity")]
        expanded = rates[rates["method"] == "clustered_expanded"]["coverage"]
        assert plain.max() < 0.93
        assert default.min() > 0.9
        assert expanded.min() > 0.93

    def test_what_is_not_printed_is_not_counted(self, found):
        twice = found
        for name, least in {"metrics": 7, "per_class": 2}.items():
            twice = marked(
                twice, "evaluate", name, caution="few_positive_groups", n_positive_groups=least
            )
        (said,) = interval_warnings.footnotes([printed(twice)], twice, ("evaluate",))
        assert "as few as 7" in said
        both = [printed(twice), estimate(number(twice.rows("evaluate", "per_class")[0]), 2)]
        assert "as few as 2" in interval_warnings.footnotes(both, twice, ("evaluate",))[0]

    def test_lost_resamples_are_told_with_their_share(self, found):
        lost = marked(
            found, "evaluate", "metrics", caution="undefined_replicates", undefined_share=0.034
        )
        (said,) = interval_warnings.footnotes([printed(lost)], lost, ("evaluate",))
        assert said.startswith(f"{DOUBLE} 3.4 % of the resamples lack a class or label")

    def test_several_shares_are_a_range(self):
        rows = pd.DataFrame({"undefined_share": [0.034, 0.2, 0.012]})
        assert "between 1.2 % and 20.0 %, by number," in interval_warnings.incomplete(rows)

    def test_a_fold_explains_itself_since_the_pdf_leaves_it_out(self, found):
        few = marked(
            found, "evaluate", "metrics", caution="few_positive_groups", n_positive_groups=3
        )
        inside = details("all", table("t", ("a",), [(f"1{DAGGER}",)]))
        whole = interval_warnings.explained(section("s", text("none"), inside), few, ("evaluate",))
        assert [each["kind"] for each in whole["blocks"]] == ["text", "details"]
        assert whole["blocks"][1]["blocks"][-1]["kind"] == "note"

    def test_an_open_mark_is_explained_below_the_section(self, found):
        few = marked(
            found, "evaluate", "metrics", caution="few_positive_groups", n_positive_groups=3
        )
        whole = interval_warnings.explained(section("s", text(f"1{DAGGER}")), few, ("evaluate",))
        assert whole["blocks"][-1] == note(whole["blocks"][-1]["text"])
