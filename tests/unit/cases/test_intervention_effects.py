"""What interventions are worth as evidence, on hand-made ones."""

import numpy as np
import pandas as pd
import pytest
from case_tables import POINTS
from evidence_tables import quiet, row, trials

from medaudit.cases import intervention_effects as effects
from tests.audit_runs import conditions


class TestWeigh:
    def one(self, found, tried):
        return effects.weigh(pd.DataFrame([found]), tried, max_base_rate=0.25).iloc[0]

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
        assert effects.turns(found).tolist() == [turned]


class TestBaseRates:
    def test_counts_right_and_wrong_apart(self):
        wrong = [
            row("w0", "hair_removed", "nv", "mel"),
            row("w1", "hair_removed", "nv", "bkl"),
        ]
        found = effects.base_rates(trials(quiet("hair_removed", turned=3), wrong)).iloc[0]
        assert (found["n_right"], found["n_flipped"], found["flip_rate"]) == (10, 3, 0.3)
        assert (found["n_wrong"], found["n_repaired"], found["repair_rate"]) == (2, 1, 0.5)
        assert found["flip_rate_low"] < 0.3 < found["flip_rate_high"]

    def test_without_wrong_controls_the_repair_rate_is_undefined(self):
        assert np.isnan(effects.base_rates(trials(quiet("mirrored"))).iloc[0]["repair_rate"])


class TestStressEvidence:
    def test_every_condition_is_applied(self, clean, corrupted):
        test, *judged = conditions(clean, corrupted, POINTS)
        found = effects.stress_evidence(test, judged, ["a"])
        assert list(zip(found["intervention"], found["kind"], strict=True)) == [
            ("gaussian_blur-1", "apply"),
            ("gaussian_blur-2", "apply"),
            ("brightness_up-1", "apply"),
        ]
        last = found.iloc[-1]
        assert (last["predicted_before"], last["predicted_after"]) == ("nv", "mel")
        assert (last["p_true_before"], last["p_true_after"]) == pytest.approx((0.05, 0.7))

    def test_undoing_goes_from_corrupted_to_clean(self, clean, corrupted):
        test, *judged = conditions(clean, corrupted, POINTS)
        found = effects.undo_evidence(test, judged[1], ["d"]).iloc[0]
        assert found["intervention"] == "undo_gaussian_blur-2"
        assert (found["predicted_before"], found["predicted_after"]) == ("nv", "mel")
        assert effects.turns(pd.DataFrame([found])).all()

    def test_no_conditions_no_rows(self, clean):
        test, *judged = conditions(clean, [], POINTS)
        assert effects.stress_evidence(test, judged, ["a"]).empty
