"""What a whole corruption does, on eight samples that can be read on paper."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from audit_tables import FEW, at
from case_tables import CLEAN, MEL, NV, POINTS, make, stressed

from medaudit.audits import corruption_errors
from medaudit.audits import stress as stress_audit
from medaudit.audits.stress import StressParams
from medaudit.core.errors import DataError
from medaudit.stats import few_groups
from medaudit.stats.bootstrap import Bootstrap
from medaudit.stats.intervals import estimate_from, expanded
from medaudit.tables import measures
from medaudit.tables.predictions import Condition
from medaudit.tables.scoring import ScoredPredictions
from tests.audit_runs import stress

# d is called right when clean; blur of severity 2 turns it.
BLUR = [("blur-1", {}), ("blur-2", {"d": (MEL, NV, 0.9)})]
REFERENCE = pd.DataFrame(
    {
        "corruption": ["clean", "blur", "blur", "blur"],
        "severity": [0, 1, 2, 2],
        "metric": [*["balanced_accuracy"] * 3, "accuracy"],
        "value": [0.8, 0.7, 0.5, 0.1],
    }
)


def audit(reference=None, conditions=BLUR):
    tables = [stressed(name, changes) for name, changes in conditions]
    return stress(make(CLEAN), tables, POINTS, baseline=reference)


class TestTrend:
    def table(self, **curves):
        rows = [("clean", 0, "macro_auroc", 0.9)]
        rows += [
            (name, severity, "macro_auroc", value)
            for name, values in curves.items()
            for severity, value in enumerate(values, start=1)
        ]
        frame = pd.DataFrame(rows, columns=["corruption", "severity", "metric", "value"])
        return stress_audit.trend_table(frame, ["macro_auroc"])

    def test_by_hand(self):
        found = at(self.table(blur=[0.8, 0.85, 0.7]))
        # 0.9, 0.8, 0.85, 0.7: five of six pairs fall, one (0.8 to 0.85) rises: (1 - 5) / 6.
        assert found["tau"] == pytest.approx(-4 / 6)
        assert found["n_severities"] == 4

    def test_a_few_severities_are_described_and_prove_nothing(self):
        # Four in perfect order reach a two-sided p of 2/24 at best: there is none to be shown.
        found = at(self.table(blur=[0.8, 0.7, 0.6]))
        assert found["tau"] == -1
        assert not [name for name in found.index if "p_value" in name]

    def test_an_undefined_value_leaves_the_trend_undefined(self):
        found = self.table(blur=[0.8, np.nan], jpeg=[0.8, 0.7])
        assert np.isnan(at(found, corruption="blur")["tau"])
        assert at(found, corruption="jpeg")["tau"] == -1

    def test_every_corruption_and_primary_measure_has_a_row(self):
        found = audit(conditions=[*BLUR, ("jpeg-1", {})]).series["trend"]
        assert sorted(zip(found["corruption"], found["metric"], strict=True)) == [
            ("blur", "critical_sensitivity"),
            ("blur", "critical_specificity"),
            ("blur", "macro_auroc"),
            ("jpeg", "critical_sensitivity"),
            ("jpeg", "critical_specificity"),
            ("jpeg", "macro_auroc"),
        ]


class TestChangeCaution:
    def test_untested_changes_say_when_few_groups_make_them(self):
        rows = audit().series["conditions"]
        untested = rows[(rows["verdict"] == "") & (rows["severity"] > 0)]
        # Eight samples, of which one changes.
        assert "few_deciding_groups" in set(untested["change_caution"])
        ends = untested["delta_low"].notna()
        assert not untested[ends]["change_caution"].eq("no_interval").any()
        assert untested[~ends]["change_caution"].ne("").all()

    def test_tested_changes_and_clean_have_none(self):
        rows = audit().series["conditions"]
        assert rows[rows["verdict"] != ""]["change_caution"].eq("").all()
        assert rows[rows["severity"] == 0]["change_caution"].eq("").all()


class TestMeanDelta:
    def noisy(self, make_table):
        return [
            make_table(noise=1.5 * s, seed=s, condition=Condition("noise", s)).role("test")
            for s in (1, 2)
        ]

    def test_is_the_mean_of_the_deltas(self, make_table, table, points):
        found = stress(table, self.noisy(make_table), points)
        rows = found.series["conditions"].query("severity > 0")
        for metric in ("macro_auroc", "critical_sensitivity", "critical_specificity"):
            deltas = rows.loc[rows["metric"] == metric, "delta"]
            assert len(deltas) == 2
            assert found.scalars[f"mean_{metric}_delta"] == pytest.approx(deltas.mean())

    def test_its_interval_is_of_the_mean_replicate_by_replicate(self, make_table, table, points):
        noisy = self.noisy(make_table)
        found = stress(table, noisy, points).scalars
        test = table.role("test")
        resamples = Bootstrap.of_groups(test.group_ids, FEW).resamples
        clean, *after = (
            next(
                measure.statistic(resamples.weights)
                for measure in measures.measures(ScoredPredictions(each, points))
                if measure.name == "macro_auroc"
            )
            for each in (test, *noisy)
        )
        drawn = np.mean(after, axis=0) - clean
        plain = estimate_from(
            found["mean_macro_auroc_delta"], drawn, n=len(test), n_groups=resamples.n_groups
        )
        # It rests on the groups of every class, each by its share of the variance.
        whole = Bootstrap(resamples, FEW)
        groups = [np.unique(resamples.groups[test.targets == k]) for k in range(4)]
        degrees = few_groups.degrees(groups, drawn, whole.resamples)
        assert min(map(len, groups)) - 1 < degrees < resamples.n_groups
        expected = expanded(plain, drawn, degrees=degrees)
        assert found["mean_macro_auroc_delta_ci_low"] == pytest.approx(expected.low)
        assert found["mean_macro_auroc_delta_ci_high"] == pytest.approx(expected.high)

    def test_is_paired(self, table, points):
        same = [
            dataclasses.replace(table.role("test"), condition=Condition("jpeg", s)) for s in (1, 2)
        ]
        found = stress(table, same, points).scalars
        assert found["mean_macro_auroc_delta"] == 0
        # That nothing moved here is no certainty that nothing ever will.
        assert np.isnan(
            [found[f"mean_macro_auroc_delta_ci_{end}"] for end in ("low", "high")]
        ).all()


class TestCorruptionErrors:
    def test_balanced_error_by_hand(self):
        # Recall clean: bkl 0 of 1, mel 2 of 5, nv 1 of 2: error 1 - 0.9 / 3 = 0.7. So under
        # blur-1; under blur-2 mel 1 of 5: 1 - 0.7 / 3. Their mean: 0.7 + 0.1 / 3.
        found = at(audit().series["corruption_errors"], corruption="blur")
        assert (found["corruption"], found["quantity"]) == ("blur", "balanced_error")
        assert found["value"] == pytest.approx(0.7 + 0.1 / 3)

    def test_beside_a_reference_by_hand(self):
        table = audit(REFERENCE).series["corruption_errors"]
        found = table[table["corruption"] == "blur"].set_index("quantity")["value"]
        # Reference: clean 0.2, blur 0.3 and 0.5.
        assert found["corruption_error"] == pytest.approx((1.4 + 0.2 / 3) / 0.8)
        assert found["relative_corruption_error"] == pytest.approx((0.1 / 3) / (0.4 - 0.2))

    def test_have_intervals(self, make_table, table, points):
        noisy = make_table(noise=2.0, condition=Condition("blur", 1)).role("test")
        found = stress(table, [noisy], points, baseline=REFERENCE).series["corruption_errors"]
        assert found["corruption"].tolist() == ["blur"] * 3 + ["mean"] * 3
        assert (found["low"] < found["value"]).all()
        assert (found["value"] < found["high"]).all()
        assert (found["n_groups"] == 75).all()

    def test_the_error_against_itself_is_one(self, make_table, table, points):
        noisy = make_table(noise=2.0, condition=Condition("noise", 1)).role("test")
        own = stress(table, [noisy], points).series["conditions"]
        found = stress(table, [noisy], points, baseline=own).series["corruption_errors"]
        ratios = found.query("quantity != 'balanced_error'")
        assert ratios["value"].to_numpy() == pytest.approx([1, 1, 1, 1])

    def test_the_mean_is_over_corruptions(self, make_table, table, points):
        noisy = [
            make_table(noise=noise, condition=Condition(name, 1)).role("test")
            for name, noise in (("blur", 1.0), ("noise", 3.0))
        ]
        found = stress(table, noisy, points)
        errors = found.series["corruption_errors"].set_index("corruption")["value"]
        assert errors["mean"] == pytest.approx((errors["blur"] + errors["noise"]) / 2)

    def test_a_condition_that_the_reference_lacks_is_named(self):
        with pytest.raises(DataError, match=r"no balanced_accuracy under blur-2;") as caught:
            audit(REFERENCE.query("not (severity == 2 and metric == 'balanced_accuracy')"))
        assert "\n" not in str(caught.value)

    def test_a_reference_without_the_clean_images_is_refused(self):
        with pytest.raises(DataError, match="under clean-0;"):
            audit(REFERENCE.query("severity > 0"))

    def test_another_table_is_no_reference(self):
        with pytest.raises(DataError, match=r"conditions\.csv, without metric, value"):
            audit(REFERENCE[["corruption", "severity"]])

    @pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00"])
    def test_an_unreadable_baseline_is_one_line(self, tmp_path, content):
        file = tmp_path / "conditions.csv"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(DataError, match="is no readable table") as caught:
            corruption_errors.read_baseline(file)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("value", ["x", "-7", "", "1e999"])
    def test_values_of_a_baseline_that_no_run_gives_are_one_line(self, value):
        odd = REFERENCE.assign(value=REFERENCE["value"].astype(object))
        odd.loc[odd["metric"] == "balanced_accuracy", "value"] = value
        with pytest.raises(DataError, match=r"one balanced_accuracy in \[0, 1\]") as caught:
            audit(odd)
        assert "\n" not in str(caught.value)

    def test_a_condition_that_stands_twice_is_one_line(self):
        with pytest.raises(DataError, match="for every condition, got others in"):
            audit(pd.concat([REFERENCE, REFERENCE]))

    def test_no_baseline_is_asked_for(self, tmp_path):
        assert corruption_errors.read_baseline(None) is None
        REFERENCE.to_csv(tmp_path / "conditions.csv", index=False)
        params = StressParams(corruptions=("blur",), baseline_model=tmp_path / "conditions.csv")
        pd.testing.assert_frame_equal(stress_audit.freeze(POINTS, params).baseline, REFERENCE)
