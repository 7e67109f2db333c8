"""Alerts and checklist: what must be noticed, and what must not be claimed."""

import dataclasses
import re
from pathlib import Path

import pandas as pd
import pytest

from medaudit.core.errors import DataError
from medaudit.report import checklist, interval_warnings
from medaudit.report.checklist import Item

REPOSITORY = Path(__file__).resolve().parents[3]
ITEMS = checklist.read(REPOSITORY / "report/deployment_checklist.yaml").items


def with_table(found, stage, name, table):
    series = {**found.series, stage: {**found.series[stage], name: table}}
    return dataclasses.replace(found, series=series)


def with_values(found, stage, name, *, where, **values):
    table = found.table(stage, name).copy()
    chosen = pd.Series(True, index=table.index)
    for column, value in where.items():
        chosen &= table[column] == value
    for column, value in values.items():
        table.loc[chosen, column] = value
    return with_table(found, stage, name, table)


def with_scalars(found, stage, **values):
    scalars = {**found.scalars[stage], **values}
    return dataclasses.replace(found, scalars={**found.scalars, stage: scalars})


def with_expected(found, low, high):
    """Where sampling of calibration and test role leaves a specificity."""
    ends = {"critical_specificity_expected_low": low, "critical_specificity_expected_high": high}
    return with_scalars(found, "evaluate", **ends)


def with_harm(found, stage, metric, harm, half, verdict):
    """Every tested comparison of one measure has this harm and verdict."""
    name, what = {"stress": ("conditions", "delta"), "slice": ("slices", "gap")}[stage]
    ends = {f"{what}_low": -harm - half, f"{what}_high": -harm + half}
    table = found.table(stage, name)
    tested = (table["metric"] == metric) & table["verdict"].notna()
    changed = table.astype({"verdict": object})
    for column, value in {what: -harm, **ends, "verdict": verdict}.items():
        changed.loc[tested, column] = value
    return with_table(found, stage, name, changed)


def answer(found, check, **fields):
    return checklist.answer(Item(question="?", check=check, **fields), found)


class TestAlerts:
    def alerts(self, found, **expected):
        return " ".join(interval_warnings.alerts(found, expected))

    def test_a_class_that_ranks_well_but_is_never_found(self, found):
        broken = found
        for metric, value in {"auroc": 0.9, "sensitivity": 0.0045}.items():
            where = {"class": "mel", "metric": metric}
            broken = with_values(broken, "evaluate", "per_class", where=where, value=value)
        assert "mel: AUROC 0.900 with sensitivity 0.004" in self.alerts(broken)
        assert "contradict" not in self.alerts(found)

    def test_too_good_to_be_believed(self, found):
        where = {"metric": "macro_auroc"}
        perfect = with_values(found, "evaluate", "metrics", where=where, value=0.999)
        assert "check for leakage" in self.alerts(perfect)
        assert "check for leakage" not in self.alerts(found)

    def test_outside_of_the_expected_range(self, found):
        assert "outside of 0.1 to 0.2" in self.alerts(found, macro_auroc=(0.1, 0.2))
        assert "outside" not in self.alerts(found, macro_auroc=(0.5, 1.0))

    def test_operating_point_that_did_not_carry_over(self, found):
        where = {"metric": "critical_specificity"}
        off = with_values(found, "evaluate", "metrics", where=where, value=0.8, low=0.7, high=0.9)
        said = self.alerts(with_expected(off, 0.91, 0.99))
        assert "realises specificity 0.800" in said
        assert "outside of 0.910–0.990" in said  # noqa: RUF001 - an interval
        assert "sensitivity there is" in said

    def test_what_sampling_explains_is_no_alert(self, found):
        where = {"metric": "critical_specificity"}
        off = with_values(found, "evaluate", "metrics", where=where, value=0.92, low=0.9, high=0.94)
        assert "realises" not in self.alerts(with_expected(off, 0.91, 0.99))

    def test_leak(self, found):
        leaky = dataclasses.replace(found, groups_in_two_roles=("L1", "L2"))
        assert "2 groups stand in two roles" in self.alerts(leaky)


class TestChecklist:
    @pytest.mark.parametrize(
        ("low", "high", "status"),
        [
            (0.81, 0.9, "met"),
            (0.80, 0.9, "met"),
            (0.6, 0.79, "not met"),
            (0.6, 0.9, "inconclusive"),
            (0.9, 0.9, "inconclusive"),  # no width is no certainty
            (float("nan"), float("nan"), "inconclusive"),
        ],
    )
    def test_the_whole_interval_must_lie_on_the_good_side(self, found, low, high, status):
        where = {"metric": "critical_sensitivity"}
        known = with_values(
            found, "evaluate", "metrics", where=where, value=0.85, low=low, high=high
        )
        assert answer(known, "at_least", metric="critical_sensitivity", bound=0.8).status == status

    def test_what_is_undefined_is_not_measured(self, found):
        assert answer(found, "at_least", metric="nothing").status == "not measured"

    def test_without_a_check_an_item_is_not_measured(self, found):
        item = Item(question="External validation?", note="needs other data")
        assert checklist.answer(item, found) == checklist.Answer("not measured", "needs other data")

    def test_leaks_are_counted(self, found):
        assert answer(found, "no_leak").status == "met"
        leaky = dataclasses.replace(found, groups_in_two_roles=("L1",))
        assert answer(leaky, "no_leak").status == "not met"

    @pytest.mark.parametrize(
        ("stage", "check", "margin"),
        [("stress", "mild_stress", 0.05), ("slice", "no_worse_slice", 0.1)],
    )
    @pytest.mark.parametrize("metric", ["sensitivity", "specificity"])
    def test_four_states_of_a_family(self, found, stage, check, margin, metric):
        def status(harm, half, verdict):
            known = with_harm(found, stage, f"critical_{metric}", harm, half, verdict)
            return answer(known, check, metric=metric)

        assert status(0.3, 0.1, "worse").status == "not met"
        assert status(0.0, margin / 2, "within_margin").status == "met"
        assert status(-0.3, 0.1, "better").status == "met"
        judged = status(0.0, 2 * margin, "undecided")
        assert judged.status == "inconclusive"
        assert "could have been seen" in judged.basis
        assert status(0.0, 0.1, None).status == "not measured"

    @pytest.mark.parametrize(
        ("harm", "half", "status"),
        [
            (0.01, 0.005, "met"),  # shown, and shown to be smaller than 0.05
            (0.06, 0.02, "inconclusive"),  # shown, but 0.05 lies inside
            (0.08, 0.02, "not met"),
        ],
    )
    def test_a_harm_that_is_shown_is_held_against_the_margin(self, found, harm, half, status):
        known = with_harm(found, "stress", "critical_sensitivity", harm, half, "worse")
        judged = answer(known, "mild_stress", metric="sensitivity")
        assert judged.status == status
        assert ("by less or more than that, e.g." in judged.basis) == (status == "inconclusive")
        assert "could have been seen" not in judged.basis

    def test_one_comparison_that_is_open_is_enough_to_be_inconclusive(self, found):
        fine = with_harm(found, "stress", "macro_auroc", 0.0, 0.01, "within_margin")
        assert answer(fine, "mild_stress", metric="macro_auroc").status == "met"
        where = {"metric": "macro_auroc", "condition": "jpeg-1"}
        changes = {"delta_low": -0.2, "delta_high": 0.2, "verdict": "undecided"}
        open_one = with_values(fine, "stress", "conditions", where=where, **changes)
        judged = answer(open_one, "mild_stress", metric="macro_auroc")
        assert judged.status == "inconclusive"
        assert judged.basis.startswith("2 of 3 conditions of severity 1")

    def test_a_bound_of_the_list_takes_the_place_of_the_margin(self, found):
        fine = with_harm(found, "stress", "macro_auroc", 0.0, 0.03, "within_margin")
        assert answer(fine, "mild_stress", metric="macro_auroc", bound=0.04).status == "met"
        strict = answer(fine, "mild_stress", metric="macro_auroc", bound=0.02)
        assert strict.status == "inconclusive"

    def test_exploratory_slices_raise_doubt_and_no_verdict(self, found):
        fine = with_harm(found, "slice", "critical_sensitivity", 0.0, 0.01, "within_margin")
        where = {"metric": "critical_sensitivity", "family": "exploratory"}

        def judged(gap, half):
            ends = {"gap": gap, "gap_low": gap - half, "gap_high": gap + half}
            doubt = with_values(fine, "slice", "slices", where=where, verdict="worse", **ends)
            return answer(doubt, "no_worse_slice", metric="sensitivity")

        assert judged(-0.3, 0.1).status == "inconclusive"
        assert judged(-0.3, 0.1).basis.endswith("to be confirmed")
        assert judged(-0.03, 0.02).status == "met"  # smaller than the margin of 0.1

    def test_mild_noise_is_found(self, found):
        judged = answer(found, "mild_stress", metric="macro_auroc")
        assert judged.status == "inconclusive"
        assert re.search(r"of 3 conditions .*; 1 worse by less or more than that", judged.basis)

    def test_realised_specificity_is_compared_with_what_sampling_explains(self, found):
        def judged(value, low, high, expected):
            where = {"metric": "critical_specificity"}
            ends = {"value": value, "low": low, "high": high}
            known = with_values(found, "evaluate", "metrics", where=where, **ends)
            asked = answer(with_expected(known, *expected), "realised_specificity", bound=0.05)
            return asked.status

        assert judged(0.95, 0.92, 0.97, (0.92, 0.98)) == "met"
        assert judged(0.93, 0.88, 0.96, (0.92, 0.98)) == "inconclusive"
        assert judged(0.85, 0.80, 0.89, (0.80, 0.98)) == "not met"
        # Within the tolerance; that sampling does not explain it is said, and alarms on page 1.
        assert judged(0.91, 0.901, 0.92, (0.94, 0.96)) == "met"

    def test_where_no_pair_is_a_duplicate_no_label_was_compared(self, found):
        scalars = {**found.scalars, "prepare": {"n_duplicate_pairs": 0}}
        none = dataclasses.replace(found, scalars=scalars)
        assert answer(none, "labels_agree").status == "not measured"

    @pytest.mark.parametrize(
        ("ece", "mean", "p95", "status"),
        [
            (0.03, 0.02, 0.03, "met"),  # 0.03 + 0.01 within 0.05
            (0.045, 0.02, 0.03, "inconclusive"),
            (0.07, 0.02, 0.03, "inconclusive"),
            (0.09, 0.02, 0.03, "not met"),  # above 0.05 + 0.03
        ],
    )
    def test_calibration_is_judged_by_a_tolerance_with_room_for_chance(
        self, found, ece, mean, p95, status
    ):
        where = {"calibrator": "identity", "event": "mean"}
        floors = with_values(found, "calibrate", "noise_floor", where=where, mean=mean, p95=p95)
        where = {"calibrator": "identity", "metric": "ece"}
        own = {"value": ece, "n": 300.0, "n_groups": 300.0}
        known = with_values(floors, "calibrate", "summary", where=where, **own)
        assert answer(known, "calibrated", bound=0.05).status == status

    def test_images_that_share_groups_widen_the_room_for_chance(self, found):
        where = {"calibrator": "identity", "event": "mean"}
        floors = with_values(found, "calibrate", "noise_floor", where=where, mean=0.02, p95=0.03)
        where = {"calibrator": "identity", "metric": "ece"}
        own = {"value": 0.09, "n": 400.0, "n_groups": 100.0}  # floor twice as high: 0.06
        known = with_values(floors, "calibrate", "summary", where=where, **own)
        judged = answer(known, "calibrated", bound=0.05)
        assert judged.status == "inconclusive"
        assert "up to 0.060 for one image per group" in judged.basis

    @pytest.mark.parametrize(
        ("delta", "half", "status"),
        [
            (-0.10, 0.02, "not met"),
            (-0.02, 0.01, "met"),  # lower, but by less than 0.05
            (-0.05, 0.02, "inconclusive"),
            (0.0, 0.02, "met"),
            (-0.04, 0.05, "inconclusive"),
        ],
    )
    def test_recall_among_the_kept_of_every_class(self, found, delta, half, status):
        table = found.table("selective", "per_class").assign(
            recall_delta=delta,
            recall_delta_low=delta - half,
            recall_delta_high=delta + half,
        )
        known = with_table(found, "selective", "per_class", table)
        assert answer(known, "recall_not_lowered", bound=0.05).status == status

    @pytest.mark.parametrize("name", [name for name in checklist.CHECKS if name != "at_least"])
    def test_every_check_gives_a_number(self, found, name):
        judged = answer(found, name, metric="macro_auroc", bound=0.5)
        assert judged.status in checklist.STATUSES
        assert judged.status == "not measured" or re.search(r"\d", judged.basis)

    @pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.question[:30])
    def test_nothing_is_met_because_nothing_was_found(self, found, item):
        """Whoever has no cases gets no verdict."""
        blank = found
        for stage, name in (("stress", "conditions"), ("slice", "slices")):
            table = found.table(stage, name).assign(verdict=None, family=None)
            blank = with_table(blank, stage, name, table)
        for stage, name in (("evaluate", "metrics"), ("selective", "deferral")):
            table = found.table(stage, name).assign(low=float("nan"), high=float("nan"))
            blank = with_table(blank, stage, name, table)
        for name in ("failure_auroc_ci_low", "failure_auroc_ci_high"):
            blank = with_scalars(blank, "selective", **{name: None})
        per_class = found.table("selective", "per_class").assign(recall_delta_low=float("nan"))
        blank = with_table(blank, "selective", "per_class", per_class)
        judged = checklist.answer(item, blank)
        if item.check not in ("no_leak", "labels_agree", "enough_positives", "calibrated"):
            assert judged.status in ("inconclusive", "not measured")

    def test_the_shipped_checklist_is_valid(self, study):
        items = checklist.read(study / "report/deployment_checklist.yaml").items
        assert any(item.check is None and "External" in item.question for item in items)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("items: [{question: a, check: nonsense}]", "unknown check 'nonsense'"),
            ("items: [{question: a, bounds: 1}]", "items.0.bounds"),
            ("things: []", "items"),
        ],
    )
    def test_a_wrong_checklist_is_one_clear_line(self, tmp_path, text, message):
        path = tmp_path / "list.yaml"
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            checklist.read(path)
