"""Alerts and checklist: what must be noticed, and what must not be claimed."""

import dataclasses

import pandas as pd
import pytest

from medaudit.core.errors import DataError
from medaudit.report import checklist, interval_warnings
from medaudit.report.checklist import Item


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
        assert "not the 0.95 that it was chosen for" in self.alerts(off)

    def test_leak(self, found):
        leaky = dataclasses.replace(found, groups_in_two_roles=("L1", "L2"))
        assert "2 groups stand in two roles" in self.alerts(leaky)


class TestChecklist:
    def test_the_lower_end_must_reach_the_bound(self, found):
        low = found.measure("critical_sensitivity").low
        fields = {"metric": "critical_sensitivity"}
        assert answer(found, "at_least", bound=low - 0.01, **fields).status == "pass"
        assert answer(found, "at_least", bound=low + 0.01, **fields).status == "fail"

    def test_what_is_undefined_is_not_measured(self, found):
        assert answer(found, "at_least", metric="nothing").status == "not measured"

    def test_without_a_check_an_item_is_not_measured(self, found):
        item = Item(question="External validation?", note="needs other data")
        assert checklist.answer(item, found) == checklist.Answer("not measured", "needs other data")

    def test_leaks_fail(self, found):
        assert answer(found, "no_leak").status == "pass"
        leaky = dataclasses.replace(found, groups_in_two_roles=("L1",))
        assert answer(leaky, "no_leak").status == "fail"

    def test_planted_weak_source_fails_the_slices(self, found):
        params = {**found.params, "slice": {"primary": "accuracy"}}
        judged = answer(dataclasses.replace(found, params=params), "no_worse_slice")
        assert judged.status == "fail"
        assert "dataset=source_c" in judged.basis

    def test_mild_noise_fails_and_counts_conditions(self, found):
        judged = answer(found, "mild_stress", metric="macro_auroc")
        assert judged.status == "fail"
        assert "of 3 conditions" in judged.basis

    def test_no_loss_passes_only_where_one_could_be_shown(self, found):
        where = {"metric": "macro_auroc"}
        none = with_values(found, "stress", "conditions", where=where, delta=0.0, p_holm=1.0)
        least = min(checklist.positives(none).values())
        fields = {"metric": "macro_auroc"}
        assert answer(none, "mild_stress", bound=least, **fields).status == "pass"
        judged = answer(none, "mild_stress", bound=least + 1, **fields)
        assert judged.status == "not measured"
        assert judged.basis.endswith(f"{least} positives; at least {least + 1} asked")

    def test_without_an_interval_nothing_was_compared(self, found):
        where = {"metric": "macro_auroc"}
        none = with_values(
            found, "stress", "conditions", where=where, delta_low=float("nan"), p_holm=1.0
        )
        judged = answer(none, "mild_stress", metric="macro_auroc")
        assert judged.status == "not measured"
        assert "no interval under a condition" in judged.basis

    def test_a_value_without_interval_neither_passes_nor_fails(self, found):
        nan = float("nan")
        where = {"metric": "critical_sensitivity"}
        bare = with_values(found, "evaluate", "metrics", where=where, low=nan, high=nan)
        judged = answer(bare, "at_least", metric="critical_sensitivity", bound=0.1)
        assert judged.status == "not measured"

    def test_where_no_pair_is_a_duplicate_no_label_was_compared(self, found):
        none = with_table(found, "prepare", "duplicates", pd.DataFrame())
        assert answer(none, "labels_agree").status == "not measured"

    def test_calibration_of_what_is_audited_is_judged_by_its_floor(self, found):
        def judged(name, p95):
            where = {"calibrator": name}
            return answer(
                with_values(found, "calibrate", "noise_floor", where=where, p95=p95), "calibrated"
            )

        assert judged("identity", 0.9).status == "pass"
        assert judged("identity", 0.0).status == "fail"
        assert judged("temperature", 0.9).status == judged("temperature", 0.0).status

    def test_the_calibrated_one_stands_beside(self, found):
        basis = answer(found, "calibrated").basis
        assert basis.startswith("audited identity: ")
        assert "; beside it temperature: " in basis

    def test_the_order_of_calibrators_does_not_matter(self, found):
        table = found.table("calibrate", "noise_floor").iloc[::-1]
        turned = with_table(found, "calibrate", "noise_floor", table)
        assert answer(turned, "calibrated") == answer(found, "calibrated")

    @pytest.mark.parametrize("name", [name for name in checklist.CHECKS if name != "at_least"])
    def test_every_check_gives_a_number(self, found, name):
        judged = answer(found, name, metric="macro_auroc", bound=0.5)
        assert judged.status in ("pass", "fail")
        assert any(letter.isdigit() for letter in judged.basis)

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
