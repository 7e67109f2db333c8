"""Diagnoses from hand-made interventions."""

import functools

import numpy as np
import pytest
from evidence_tables import diagnosed, quiet, row, trials
from hypothesis import given
from hypothesis import strategies as st

from medaudit.cases.diagnosis import p_at_least
from medaudit.cases.failure_factors import CORRECTIVE, FAILURE_FACTORS, factor, factor_of
from medaudit.pixels.corruptions import CORRUPTIONS
from medaudit.pixels.interventions import COUNTERFACTUALS


class TestDiagnose:
    def test_greatest_change_first(self, study):
        found = [
            row("a", "mirrored", "nv", "mel", p=(0.05, 0.5)),
            row("a", "hair_removed", "nv", "mel", p=(0.05, 0.8)),
        ]
        result = diagnosed(study, found, trials(quiet("mirrored"), quiet("hair_removed")))
        assert result.supported == ("hair", "instability")
        assert result.mitigations[0] == FAILURE_FACTORS["hair"].mitigation
        assert result.statement.startswith(
            "Evidence for thin dark lines: hair_removed turns nv to mel (mel 0.05 to "
            "0.80); base rate 0 %, 0 to 28."
        )
        # Each turned 0 of 10 controls: 1/11 by chance, both together 1/121 = 0.008.
        assert result.p_turned == pytest.approx(1 / 121)
        assert result.expected_turned == pytest.approx(2 / 11)
        assert "2 of 2 interventions turn it, more than chance would give (p = 0.008;" in (
            result.statement
        )

    def test_one_of_many_that_turns_is_no_more_than_chance(self, study):
        # 10 edits that turn 1 of 9 controls each: 2/10 by chance, and 1 - 0.8^10 = 0.89 for one.
        names = list(COUNTERFACTUALS)[:10]
        found = [row("a", name, "nv", "mel" if i == 0 else "nv") for i, name in enumerate(names)]
        result = diagnosed(study, found, trials(*(quiet(name, 9, turned=1) for name in names)))
        assert result.p_turned == pytest.approx(1 - 0.8**10)
        assert (
            "1 of 10 interventions turn it, not shown to be more than chance (expected 2.0, "
            "p = 0.89; taken as independent, which they are not)." in result.statement
        )
        assert result.supported == ()
        assert result.statement.startswith("Seen, but no evidence: ")
        assert "Evidence for" not in result.statement
        assert result.mitigations[0].startswith("no targeted one")

    def test_interventions_without_controls_are_left_out_of_the_count(self, study):
        found = [row("a", "mirrored", "nv", "mel"), row("a", "hair_removed", "nv", "nv")]
        result = diagnosed(study, found, trials(quiet("hair_removed")))
        assert "0 of 1 interventions turn it" in result.statement
        assert result.p_turned == 1

    def test_nothing_turns(self, study):
        result = diagnosed(study, [row("a", "mirrored", "nv", "nv")], trials(quiet("mirrored")))
        assert result.supported == ()
        assert result.statement == (
            "No tested cause explains it: none of 1 interventions is evidence."
        )
        assert result.mitigations == (
            "no targeted one is supported by the evidence; defer by confidence",
        )

    def test_what_turns_everything_is_named_but_supports_nothing(self, study):
        found = [row("a", "mirrored", "nv", "mel")]
        result = diagnosed(study, found, trials(quiet("mirrored", turned=10)))
        assert result.supported == ()
        assert result.unspecific == ("mirrored",)
        assert "Too common among the controls to be evidence: mirrored." in result.statement
        assert "not shown to be more than chance (expected 1.0, p = 1.00;" in result.statement

    def test_prediction_that_does_not_need_the_lesion(self, study):
        found = [row("a", "lesion_replaced", "nv", "nv", kind="remove")]
        others = [row(f"m{i}", "lesion_replaced", "mel", "bkl", kind="remove") for i in range(30)]
        # It stays in 0 of 30 controls: 1/31 = 0.03 by chance.
        result = diagnosed(study, found, trials(others))
        assert result.supported == ("context_shortcut",)
        assert "it stays nv after lesion_replaced; base rate 0 %, 0 to 11." in result.statement

    def test_staying_says_nothing_where_all_plain_skin_is_called_that(self, study):
        found = [row("a", "lesion_replaced", "nv", "nv", kind="remove")]
        others = [row(f"m{i}", "lesion_replaced", "mel", "nv", kind="remove") for i in range(10)]
        assert diagnosed(study, found, trials(others)).supported == ()

    def test_how_common_the_failure_is(self, study):
        result = diagnosed(study, [row("a", "mirrored", "nv", "nv")], trials(quiet("mirrored")))
        (common,) = result.residual_risks
        assert common.startswith("2 of 8 test samples (25.0%, 95 % interval ")
        assert common.endswith(
            "2 of them hold the critical class, of which its frozen threshold flags 0"
        )


class TestCauses:
    @pytest.mark.parametrize("name", sorted(COUNTERFACTUALS))
    def test_every_edit_supports_a_listed_cause(self, name):
        assert COUNTERFACTUALS[name].cause in FAILURE_FACTORS

    @pytest.mark.parametrize("name", sorted(CORRUPTIONS))
    def test_every_corruption_stands_for_a_listed_cause(self, name):
        assert factor_of(name) in FAILURE_FACTORS

    def test_corrective_corruptions_exist(self):
        assert set(CORRECTIVE) <= set(CORRUPTIONS)

    def test_an_unlisted_corruption_is_its_own_cause(self):
        assert factor(factor_of("gel_bubbles")).phrase == "gel bubbles"


class TestAtLeast:
    """The tail of a count of unlike independent events, by hand and by convolution."""

    def test_worked_example(self):
        # Both of 0.1 and 0.5: 0.05. None: 0.9 * 0.5 = 0.45, so at least one: 0.55.
        assert p_at_least(1, [0.1, 0.5]) == pytest.approx(0.55)
        assert p_at_least(2, [0.1, 0.5]) == pytest.approx(0.05)

    def test_without_trials_no_success_is_certain(self):
        assert p_at_least(0, []) == 1
        assert p_at_least(1, []) == 0

    @given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
    def test_is_the_sum_of_the_convolved_trials(self, rates):
        counts = functools.reduce(lambda law, p: np.convolve(law, [1 - p, p]), rates, np.ones(1))
        found = [p_at_least(count, rates) for count in range(len(rates) + 1)]
        assert found == pytest.approx(np.cumsum(counts[::-1])[::-1], abs=1e-12)
