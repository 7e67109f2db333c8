"""Diagnoses from hand-made evidence."""

import numpy as np
import pandas as pd
import pytest
from evidence_tables import diagnosed, quiet, row, trials
from hypothesis import given
from hypothesis import strategies as st

from medaudit.cases.case_context import Association
from medaudit.cases.diagnosis import chance
from medaudit.cases.failure_factors import FAILURE_FACTORS, factor, factor_of
from medaudit.pixels.corruptions import CORRUPTIONS
from medaudit.pixels.interventions import COUNTERFACTUALS
from medaudit.pixels.transplants import TRANSPLANTS
from medaudit.stats.intervals import wilson

ENOUGH = {
    "transplant": "lesion_size",
    "cause": "small_lesion",
    "words": "size of the masked region",
    "n": 20,
    "n_turned": 15,
    "n_turned_other": 3,
    "p_value": 0.0002,
    "p_holm": 0.0012,
    "shown": True,
}
DOUBT = Association("label", "Its label may be wrong.", wilson(1, 50), supported=True)
SLICE = Association("", "It lies in a weak slice.", wilson(20, 50), supported=False)


class TestDiagnose:
    def test_greatest_change_first(self, study):
        found = [
            row("a", "mirrored", "nv", "mel", p=(0.05, 0.5)),
            row("a", "hair_removed", "nv", "mel", p=(0.05, 0.8)),
        ]
        tried = trials(quiet("mirrored", 60), quiet("hair_removed", 60))
        result = diagnosed(study, found, tried)
        assert result.supported == ("hair", "instability")
        assert result.mitigations[0] == FAILURE_FACTORS["hair"].mitigation
        assert result.statement.startswith(
            "Evidence for thin dark lines: hair_removed turns nv to mel (mel 0.05 to "
            "0.80); base rate 0 %, 0 to 6."
        )

    def test_one_of_many_that_turns_is_no_more_than_chance(self, study):
        # 10 edits that turn 1 of 9 controls each: 2/10 by chance, and 1 - 0.8^10 = 0.89 for one.
        names = list(COUNTERFACTUALS)[:10]
        found = [row("a", name, "nv", "mel" if i == 0 else "nv") for i, name in enumerate(names)]
        result = diagnosed(study, found, trials(*(quiet(name, 9, turned=1) for name in names)))
        assert result.supported == ()
        assert result.statement.startswith("No tested cause explains it (10 edits, ")

    def test_nothing_is_told_in_one_sentence(self, study):
        found = [row("a", "mirrored", "nv", "nv")]
        properties = [ENOUGH | {"shown": False, "p_holm": 0.4}]
        result = diagnosed(study, found, trials(quiet("mirrored")), properties=properties)
        assert result.supported == result.associated == ()
        assert result.statement == (
            "No tested cause explains it (1 edits, 1 of its properties given to right images, "
            "its nearest training images, slices and label)."
        )
        assert result.mitigations == (
            "none is supported by the evidence; its confidence is high, so deferral misses it",
        )

    def test_what_turns_everything_is_named_but_supports_nothing(self, study):
        found = [row("a", "mirrored", "nv", "mel")]
        result = diagnosed(study, found, trials(quiet("mirrored", turned=10)))
        assert result.supported == ()
        assert result.unspecific == ("mirrored",)

    def test_a_property_that_is_enough(self, study):
        found = [row("a", "mirrored", "nv", "nv")]
        result = diagnosed(study, found, trials(quiet("mirrored")), properties=[ENOUGH])
        assert result.supported == ("small_lesion",)
        assert result.statement == (
            "This image's size of the masked region is enough: of 20 right images of mel, 15 turn "
            "wrong when given it, 3 when given that of another right image (p = 0.001)."
        )
        assert result.mitigations == (FAILURE_FACTORS["small_lesion"].mitigation,)
        assert result.residual_risks[0] == FAILURE_FACTORS["small_lesion"].residual

    def test_associations_stand_apart_from_experiments(self, study):
        found = [row("a", "mirrored", "nv", "nv")]
        result = diagnosed(study, found, trials(quiet("mirrored")), associations=[DOUBT, SLICE])
        assert result.supported == ()
        assert result.associated == ("label",)
        assert result.statement == "Its label may be wrong. It lies in a weak slice."
        assert result.mitigations == (FAILURE_FACTORS["label"].mitigation,)

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
        assert common.startswith("2 of 8 test samples (25.0 %, 95 % interval ")
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

    @pytest.mark.parametrize("name", sorted(TRANSPLANTS))
    def test_every_transplant_supports_a_listed_cause(self, name):
        assert TRANSPLANTS[name].cause in FAILURE_FACTORS

    def test_an_unlisted_corruption_is_its_own_cause(self):
        assert factor(factor_of("gel_bubbles")).phrase == "gel bubbles"


class TestChance:
    """How often chance turns a case with an edit as specific as this one."""

    def edits(self, *controls):
        """Edits that turn k of n controls."""
        rates = [k / n if n else np.nan for k, n in controls]
        return pd.DataFrame({"n_controls": [n for _, n in controls], "base_rate": rates})

    def test_worked_example(self):
        # (0 + 1)/(9 + 1) = 0.1 and (4 + 1)/10 = 0.5: alone 0.1; either of both 1 - 0.9 * 0.5.
        assert chance(self.edits((0, 9), (4, 9))) == pytest.approx([0.1, 0.55])

    def test_an_edit_without_controls_proves_nothing_and_costs_nothing(self):
        assert chance(self.edits((0, 9), (0, 0))) == pytest.approx([0.1, 1.0])

    @given(st.lists(st.tuples(st.integers(0, 20), st.integers(20, 60)), min_size=1, max_size=8))
    def test_is_the_distribution_of_the_smallest_rate_that_turns(self, controls):
        """P(smallest rate among those that turn <= r), enumerated over all outcomes."""
        rates = np.array([(k + 1) / (n + 1) for k, n in controls])
        outcomes = np.indices((2,) * len(rates)).reshape(len(rates), -1).T.astype(bool)
        weights = np.where(outcomes, rates, 1 - rates).prod(axis=1)
        smallest = np.where(outcomes, rates, np.inf).min(axis=1)
        expected = [weights[smallest <= rate].sum() for rate in rates]
        assert chance(self.edits(*controls)) == pytest.approx(expected)
