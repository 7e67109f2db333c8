"""Sentences must not say more than the intervals do."""

import dataclasses
import math
import re

import pytest
from sentence_walk import MEANINGS, LieError, Walk

from medaudit.report import (
    comparison_sentences,
    comparisons,
    deferral_sentences,
    narrative,
    results,
)
from medaudit.report.comparisons import Comparison
from medaudit.report.formatting import Number


def condition(name, value, verdict, *, half=0.02, **more):
    """A comparison of a condition with clean."""
    common = {"n": 100, "n_positive": 40, "name": name, "words": name, "severity": 1}
    common |= {"metric": "critical_sensitivity", "interval": "simultaneous", "margin": 0.05}
    ends = (value - half, value + half)
    return Comparison(value, *ends, **common | {"verdict": verdict, "detectable": 0.12} | more)


def said(changes, metric="critical_sensitivity", wording=comparison_sentences.OF_STRESS):
    measured = comparison_sentences.Measured(metric, tuple(changes))
    return " ".join(comparison_sentences.sentences([measured], wording, "mel"))


class TestFamilies:
    def test_falls_are_counted_and_the_largest_is_named(self):
        words = said(
            [
                condition("blur", -0.05, "worse"),
                condition("noise", -0.24, "worse", half=0.04),
                condition("jpeg", -0.01, "within_margin"),
                condition("dark", -0.30, "undecided", half=0.4),
            ]
        )
        assert words == (
            "Against clean, sensitivity for mel falls in 2 of 4 conditions. The largest fall shown "
            "is 24 points (20 to 28) under noise (n=100 images, 40 with mel). Within the margin of "
            "5 points lies 1. Undecided is 1 (only falls above 12 points could have been seen)."
        )

    def test_what_falls_by_less_than_the_margin_is_told_as_both(self):
        small = condition("a", -0.03, "worse", half=0.01)
        words = said([small, condition("b", -0.01, "within_margin")])
        assert words.endswith(
            "Within the margin of 5 points lies 1; of the falls shown, 1 lies within it too."
        )
        alone = said([small, condition("b", -0.2, "worse")])
        assert "Within the margin of 5 points lie 0; of the falls shown, 1 lies" in alone
        assert small.said == "worse, within the margin"
        assert condition("b", -0.2, "worse").said == "worse"

    def test_gains_are_called_gains(self):
        words = said([condition("blur", 0.1, "better"), condition("noise", 0.2, "better")])
        assert words == (
            "Against clean, sensitivity for mel falls in 0 of 2 conditions. Sensitivity rises in 2."
        )

    def test_sensitivity_and_specificity_share_every_sentence(self):
        pair = [
            comparison_sentences.Measured(
                name, (condition("a", -0.2, verdict, metric=name), condition("b", 0, "undecided"))
            )
            for name, verdict in (
                ("critical_sensitivity", "worse"),
                ("critical_specificity", "within_margin"),
            )
        ]
        words = comparison_sentences.sentences(pair, comparison_sentences.OF_STRESS, "mel")
        assert words[0] == (
            "Against clean, sensitivity for mel falls in 1 of 2 conditions and specificity in 0 of "
            "2."
        )
        assert [("ensitivity" in each, "pecificity" in each) for each in words] == [
            (True, True),
            (True, False),
            (True, True),
            (True, True),
        ]

    def test_what_could_have_been_seen_is_a_range(self):
        words = said(
            [
                condition("a", 0, "undecided", detectable=0.12),
                condition("b", 0, "undecided", detectable=0.414),
            ]
        )
        assert "Undecided are 2 (only falls above 12 to 41 points could have been seen)" in words

    @pytest.mark.parametrize(
        ("detectable", "expected"),
        [
            (
                (0.2, 0.87, 1.0, 1.32),
                "only falls above 20 to 87 points could have been seen, and none in 2",
            ),
            (
                (0.2, 1.32, math.nan),
                "only falls above 20 points could have been seen, and none in 1",
            ),
            ((1.0, 1.32), "no fall could have been seen"),
            ((math.nan,), "what could have been seen is unknown"),
        ],
    )
    def test_nothing_larger_than_100_points_can_be_seen(self, detectable, expected):
        words = said([condition("a", 0, "undecided", detectable=each) for each in detectable])
        assert f" ({expected})" in words

    def test_what_has_no_interval_is_counted_apart(self):
        words = said([condition("a", -0.2, "worse"), Comparison(name="b", metric="x")])
        assert "falls in 1 of 1 condition." in words
        assert words.endswith("Too few cases for an interval has 1.")

    def test_nothing_is_said_of_a_family_without_members(self):
        assert said([]) == said([Comparison(name="b")]) == ""

    def test_the_slice_that_was_chosen_is_shrunk_where_its_interval_is_its_own(self):
        shrunk = Number(-0.1, -0.18, -0.02)
        own = {"interval": "marginal", "shrunk": shrunk, "family": "exploratory"}
        chosen = condition("sex is male", -0.3, "worse", half=0.1, **own)
        words = said([chosen], wording=comparison_sentences.OF_SLICES)
        assert "is 10 points (2 to 18) after shrinkage in sex is male" in words

    def test_planned_slices_come_before_the_exploratory_ones(self, found):
        said = comparison_sentences.slices(found)
        planned = [i for i, each in enumerate(said) if "confirmatory slices" in each]
        explored = [i for i, each in enumerate(said) if "exploratory slices" in each]
        assert planned
        assert max(planned) < min(explored)
        assert all(said[i].startswith("To be confirmed on other data: ") for i in explored)


class TestSlicesThatAreAlike:
    """By hand: ids of missed melanomas in three slices that are called worse."""

    A, B, C = (frozenset(each) for each in ("abcdefgh", "abcdefij", "xyz"))

    def with_errors(self, found, *errors):
        table = found.table("slice", "slices")
        table = table[table["metric"] == "critical_sensitivity"].head(3)
        gaps = [-0.5, -0.4, -0.3]
        table = table.assign(verdict="worse", gap=gaps, gap_low=-0.6, gap_high=-0.2, words=[*"XYZ"])
        output = table["output"].iloc[0]
        inside = {
            (name, "critical_sensitivity", output if isinstance(output, str) else ""): each
            for name, each in zip(table["slice"], errors, strict=True)
        }
        series = {**found.series, "slice": {**found.series["slice"], "slices": table}}
        return dataclasses.replace(found, series=series, errors_inside=inside)

    def groups(self, found, *errors):
        known = self.with_errors(found, *errors)
        return [
            ("".join(each.words for each in group.slices), group.n, group.shared)
            for group in comparisons.alike(known, "critical_sensitivity")
        ]

    def test_slices_that_share_half_of_their_errors_are_told_as_one(self, found):
        assert self.groups(found, self.A, self.B, self.C) == [("XY", 10, 6)]
        assert self.groups(found, self.A, self.C, self.B) == [("XZ", 10, 6)]

    def test_less_than_half_or_a_handful_is_not_the_same(self, found):
        assert self.groups(found, frozenset("abcdefgh"), frozenset("abcdeijk"), self.C) == []
        assert self.groups(found, frozenset("abcd"), frozenset("abcd"), self.C) == []

    def test_all_of_a_group_share_them(self, found):
        """The third is like the second, but not like both."""
        third = frozenset("cdefijkl")
        assert self.groups(found, self.A, self.B, third) == [("XY", 10, 6)]

    def test_the_sentence_names_them_and_is_borne_out(self, found):
        known = self.with_errors(found, self.A, self.B, self.C)
        said = narrative.same_images(known)
        assert said == (
            "Some slices are worse for largely the same test images: of 10 missed mel in X or Y, "
            "6 lie in both."
        )
        assert Walk(known).paragraphs([said]).read == 1
        with pytest.raises(LieError):
            Walk(known).paragraphs([said.replace("6 lie", "7 lie")])

    def test_errors_are_read_from_the_predictions_of_a_run(self, study, elsewhere):
        only = ("evaluate", "slice", "calibrate", "selective")
        for found in (results.read_results(study), results.read_results(elsewhere, only=only)):
            names = {name for name, *_ in found.errors_inside}
            table = found.table("slice", "slices")
            assert names
            assert names <= set(table["slice"])

    def test_where_predictions_are_not_at_hand_nothing_is_said(self, found):
        assert comparisons.alike(found_without_errors(found), "critical_sensitivity") == []


def found_without_errors(found):
    return dataclasses.replace(found, errors_inside={})


class TestCalibration:
    def say(self, found, **floor):
        row = {"mean": 0.02, "p95": 0.03, "p_value": 0.004, "p_value_grouped": 0.2} | floor
        return narrative.ece_sentence(found, row, of="ECE of the called class", least=1 / 501)

    def test_ece_above_its_floor_is_shown(self):
        said = self.say(Number(0.05, n=500, n_groups=500), p_value=0.001996)
        assert said == (
            "The ECE of the called class before calibration is 0.050 (n=500 images). A perfectly "
            "calibrated model with these confidences shows 0.020 on average and 0.030 or less in "
            "95 of 100 draws (p < 0.002). Miscalibration is shown."
        )

    def test_images_that_share_groups_are_no_evidence_by_themselves(self):
        shared = Number(0.05, n=500, n_groups=300)
        assert self.say(shared).endswith("takes the images of a group for independent.")
        assert self.say(shared, p_value_grouped=0.01).endswith("Miscalibration is shown.")
        assert "undecided" in self.say(shared, p_value_grouped=math.nan)

    def test_ece_below_its_floor_tells_what_would_have_shown_it(self):
        said = self.say(Number(0.025, n=500), p_value=0.3)
        assert said.endswith("is undecided: only an ECE above 0.030 would have shown it.")

    def test_undefined(self):
        assert self.say(Number()) == "The ECE of the called class is undefined."

    def test_a_slope_is_told_where_its_interval_excludes_1(self, found):
        def with_slope(low, high):
            table = found.table("calibrate", "events").astype({"caution": object})
            chosen = (
                (table["calibrator"] == "identity")
                & (table["event"] == "mel")
                & (table["metric"] == "cox_slope")
            )
            assert chosen.sum() == 1
            table.loc[chosen, ["value", "low", "high", "caution"]] = [1.49, low, high, ""]
            tables = {**found.series["calibrate"], "events": table}
            return dataclasses.replace(found, series={**found.series, "calibrate": tables})

        said = narrative.calibration(with_slope(1.12, 2.24))
        assert "extreme enough) is 1.49 (1.12–2.24) for mel." in said  # noqa: RUF001
        assert "Cox slope" not in narrative.calibration(with_slope(0.9, 2.24))


def with_per_class(found, delta, half=0.01):
    """Deferral that changes the recall of every class by so much."""
    table = found.table("selective", "per_class").assign(
        recall_delta=delta,
        recall_delta_low=delta - half,
        recall_delta_high=delta + half,
    )
    series = {**found.series, "selective": {**found.series["selective"], "per_class": table}}
    return dataclasses.replace(found, series=series)


class TestDeferral:
    def test_a_recall_that_falls_for_most_leads(self, found):
        words = deferral_sentences.deferral(with_per_class(found, -0.05))
        assert words.startswith("Deferral lowers recall among the kept for 7 of 7 classes")
        assert words.endswith(
            "Deferral by max probability is not advised: it lowers recall among the kept for most."
        )

    def test_otherwise_the_risk_leads(self, found):
        words = deferral_sentences.deferral(with_per_class(found, 0.05))
        assert words.startswith("Keeping ")
        assert "raises it for 7 and leaves 0 undecided" in words
        assert "not advised" not in words

    def test_a_score_that_is_not_above_chance_is_not_advised(self, found):
        scalars = {**found.scalars["selective"], "failure_auroc_ci_low": 0.49}
        chance = dataclasses.replace(found, scalars={**found.scalars, "selective": scalars})
        assert "not shown to be above 0.5" in deferral_sentences.deferral(chance)

    @pytest.mark.parametrize(
        ("low", "high", "words"),
        [
            (0.72, 0.79, "fewer than were asked for."),
            (0.81, 0.9, "more than were asked for."),
            (0.75, 0.85, "and its interval holds what was asked for."),
        ],
    )
    def test_what_was_asked_for_stands_beside_what_is_kept(self, found, low, high, words):
        table = found.table("selective", "deferral").copy()
        table.loc[table["metric"] == "coverage", ["low", "high"]] = [low, high]
        scalars = {**found.scalars["selective"], "coverage_asked": 0.8}
        series = {**found.series, "selective": {**found.series["selective"], "deferral": table}}
        asked = dataclasses.replace(
            found, scalars={**found.scalars, "selective": scalars}, series=series
        )
        said = deferral_sentences.asked_sentence(asked)
        assert said.startswith("The threshold was set to keep 80.0 % of the calibration images; ")
        assert said.endswith(words)
        assert said in deferral_sentences.deferral(asked)

    @pytest.mark.parametrize(
        ("kept", "errors", "deferred", "confident"),
        [
            (46, 61, 40, True),  # 40 deferrals could have found 40 of 61
            (46, 61, 30, False),  # 30 could not have found most
            (20, 61, 45, False),
        ],
    )
    def test_errors_are_confident_where_deferral_could_have_found_most(
        self, kept, errors, deferred, confident
    ):
        assert deferral_sentences.mostly_confident(kept, errors, deferred) is confident


class TestTerms:
    def test_a_term_is_explained_where_it_stands_first(self):
        said = narrative.explained(
            ["Within the margin of 5 points lie 2.", "Within the margin of 0.050 lies 1."]
        )
        assert said == [
            "Within the margin of 5 points (harm that was set as too small to matter) lie 2.",
            "Within the margin of 0.050 lies 1.",
        ]

    def test_every_term_of_the_summary_is_explained_once(self, found):
        said = " ".join(narrative.summary(found))
        for term, meaning in narrative.TERMS.items():
            known = re.search(term, said, re.IGNORECASE) is not None
            assert said.count(f" ({meaning})") == known
            assert meaning in MEANINGS  # so that the walk reads what is left


class TestSummary:
    def test_it_begins_with_who_is_found_and_who_is_alarmed(self, found):
        said = narrative.summary(found)
        assert said[0].startswith("On 285 clean test images of")
        assert "sensitivity for mel" in said[0]
        assert "raise a false alarm" in said[0]
        assert "At the prevalence of the test role" in said[0]

    def test_a_stated_prevalence_is_called_so(self, found):
        scalars = {**found.scalars["evaluate"], "prevalence_stated": True}
        stated = dataclasses.replace(found, scalars={**found.scalars, "evaluate": scalars})
        assert "At the stated prevalence" in narrative.operating_points(stated)

    def test_planted_noise_is_found_as_the_largest_loss(self, found):
        said = " ".join(narrative.summary(found))
        assert re.search(r"macro AUROC falls .* under gaussian noise, severity 3", said)

    def test_the_harmless_condition_is_not_accused(self, found):
        # jpeg of severity 3 does cost a little.
        (change,) = (
            each
            for each in comparisons.of_conditions(found, "macro_auroc")
            if each.name == "jpeg-1"
        )
        assert change.verdict in ("within_margin", "undecided")
