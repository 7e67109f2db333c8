"""Sentences must not say more than the intervals do."""

import dataclasses
import re

import pytest

from medaudit.report import narrative
from medaudit.report.formatting import Change, Number

SUPERLATIVE = re.compile(r"\b(largest|worst|best|lowest|highest)\b")


def fall(name, value, *, half=0.02, p=0.001, n=100):
    return Change(value, value - half, value + half, n=n, name=name, p_holm=p)


class TestStress:
    def say(self, *changes):
        return narrative.stress(changes, "macro_auroc", "mel")

    def test_the_largest_loss_is_named_when_it_is_shown(self):
        said = self.say(fall("blur-1", -0.05), fall("noise-3", -0.20), fall("jpeg-1", -0.01, p=0.4))
        assert "falls under 2 of 3 conditions" in said
        assert "largest loss measured is −0.200 (−0.220 to −0.180) under noise" in said  # noqa: RUF001
        assert "n=100" in said
        assert "separable" not in said  # −0.03 is the upper end of the next one

    def test_overlapping_intervals_take_the_superlative_back(self):
        said = self.say(fall("blur-3", -0.18), fall("noise-3", -0.20))
        assert "not separable from blur, severity 3" in said

    def test_severities_of_one_corruption_are_no_rivals(self):
        said = self.say(fall("noise-2", -0.19), fall("noise-3", -0.20))
        assert "separable" not in said

    @pytest.mark.parametrize(
        "change",
        [
            fall("blur-3", -0.5, half=0.6),  # interval holds 0
            fall("blur-3", -0.5, p=0.06),  # not after Holm
            fall("blur-3", 0.5),  # a gain
        ],
    )
    def test_nothing_shown_means_no_superlative(self, change):
        said = self.say(change)
        assert "no loss against clean could be shown" in said
        assert "n=100" in said
        assert not SUPERLATIVE.search(said)

    def test_undefined_changes_are_not_counted(self):
        said = self.say(fall("blur-1", -0.05), Change(name="blur-2"))
        assert "1 of 1 conditions" in said
        assert "no condition could be compared" in self.say(Change(name="blur-2"))


class TestSlices:
    def say(self, *changes):
        return narrative.slices(changes, "accuracy", None)

    def test_a_shown_gap_is_named_with_its_n(self):
        said = self.say(fall("sex=male", -0.2, n=40), fall("sex=female", 0.1))
        assert "1 of 2 slices" in said
        assert "in sex=male (n=40)" in said

    def test_without_a_shown_gap_the_smallest_slice_is_told(self):
        said = self.say(fall("a=x", -0.2, p=0.3, n=31), fall("a=y", -0.1, p=0.9, n=70))
        assert "no slice could be shown to be worse" in said
        assert "the smallest with n=31" in said
        assert not SUPERLATIVE.search(said)

    def test_one_slice_is_singular(self):
        said = self.say(fall("a=x", -0.2, p=0.3, n=31), Change(name="a=y"))
        assert "(1 slice, Holm-corrected" in said
        assert "1 more has no interval" in said

    def test_gaps_of_the_whole_call_are_told_beside_the_primary_ones(self, found):
        said = narrative.slice_sentence(found)
        assert "Accuracy is lower than in the rest of the test role" in said
        assert "dataset=source_c" in said

    def test_no_slice_at_all(self):
        assert "no slice is large enough" in self.say()


class TestCalibration:
    def say(self, found, floor=0.03):
        return narrative.ece_sentence(found, floor, of="ECE of the called class")

    def test_ece_above_its_floor_is_shown(self):
        said = self.say(Number(0.05, 0.04, 0.06, n=500, n_groups=500))
        assert "above 0.030" in said
        assert said.endswith("(n=500): miscalibration is shown by the ECE of the called class.")

    def test_images_that_share_groups_get_no_verdict(self):
        said = self.say(Number(0.05, 0.04, 0.06, n=500, n_groups=300))
        assert said.endswith(
            "with these confidences, which assumes independent images (n=500 in 300 groups)."
        )

    def test_ece_below_its_floor_says_nothing(self):
        said = self.say(Number(0.025, 0.02, 0.06, n=500))
        assert said.endswith(": miscalibration is not shown by the ECE of the called class.")

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
        assert "The Cox slope, ideally 1, is 1.49 (1.12–2.24) for mel." in said  # noqa: RUF001
        assert "Cox slope" not in narrative.calibration(with_slope(0.9, 2.24))


@pytest.mark.parametrize(
    ("first", "second", "word"),
    [
        ((0.1, 0.2), (0.3, 0.4), "and so less than"),
        ((0.3, 0.4), (0.1, 0.2), "and so more than"),
        ((0.1, 0.3), (0.2, 0.4), "beside"),
    ],
)
def test_unpaired_numbers_are_compared_only_when_disjoint(first, second, word):
    assert narrative.compared(Number(0, *first), Number(0, *second)) == word


class TestSummary:
    def test_five_to_eight_sentences_with_numbers_behind_them(self, found):
        said = narrative.summary(found)
        assert 5 <= len(said) <= 8
        assert "285 clean test images of" in said[0]
        assert "threshold frozen on calibration" in said[1]

    def test_planted_noise_is_found_as_the_largest_loss(self, found):
        said = " ".join(narrative.summary(found))
        assert re.search(r"Macro AUROC falls .* under gaussian noise, severity 3", said)

    def test_the_harmless_corruption_is_not_accused(self, found):
        changes = narrative.stress_changes(found, "macro_auroc")
        assert not [c.name for c in changes if c.name.startswith("jpeg") and c.shown_worse]
