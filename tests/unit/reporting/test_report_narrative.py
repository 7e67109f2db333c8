"""Sentences must not say more than the intervals do."""

import re

import pytest

from medaudit.reporting import narrative
from medaudit.reporting.numbers import Change, Number

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

    def test_no_slice_at_all(self):
        assert "no slice is large enough" in self.say()


class TestCalibration:
    def test_ece_above_its_floor_is_shown(self):
        said = narrative.ece_sentence(Number(0.05, 0.04, 0.06, n=500), 0.03)
        assert "above 0.030" in said
        assert said.endswith("miscalibration is shown.")

    def test_ece_below_its_floor_says_nothing(self):
        said = narrative.ece_sentence(Number(0.025, 0.02, 0.06, n=500), 0.03)
        assert "no miscalibration could be shown" in said

    def test_undefined(self):
        assert narrative.ece_sentence(Number(), 0.03) == "The ECE is undefined."


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
