"""Properties given to right images: whom, and what a result is worth."""

import numpy as np
import pandas as pd
import pytest
from case_tables import MEL, NV, POINTS, make
from scipy.stats import binom

from medaudit.cases import sufficiency
from medaudit.cases.case_selection import CasesParams, choose
from medaudit.cases.sufficiency import OTHER, OWN
from medaudit.tables.scoring import Conditions, ScoredPredictions

RIGHT = {f"m{i:02d}": (MEL, MEL, 0.8) for i in range(20)}
SAMPLES = {"x": (MEL, NV, 0.9), "n": (NV, NV, 0.9)} | RIGHT


def scored(samples=SAMPLES, groups=None):
    return ScoredPredictions(make(samples, groups=groups), POINTS)


@pytest.fixture
def test():
    return scored()


@pytest.fixture
def miss(test):
    return next(iter(choose(Conditions(test), CasesParams())))


def trials_of(test, turned, turned_other, *, transplant="contrast"):
    """Hand-made trials on the right images: numbers of those that turn, own and other."""
    rows, flags = [], []
    for i, name in enumerate(RIGHT):
        for donor, which in ((OWN, turned), (OTHER, turned_other)):
            rows.append((transplant, transplant, transplant, name, donor))
            flags.append(i in which)
    mel, nv = (test.table.logits[:, test.rows_of([name])] for name in ("m00", "n"))
    logits = np.concatenate([nv if flag else mel for flag in flags], axis=1)
    return pd.DataFrame(rows, columns=list(sufficiency.TRIALS)), logits


class TestReceivers:
    def test_right_images_of_the_same_truth_in_other_groups(self, test, miss):
        found = sufficiency.receivers(miss, test, n=24, seed=0)
        assert sorted(found) == sorted(RIGHT)

    def test_one_of_each_group_and_at_most_so_many(self, miss):
        groups = {name: f"g{i // 2}" for i, name in enumerate(RIGHT)}
        test = scored(groups=groups)
        found = sufficiency.receivers(miss, test, n=24, seed=0)
        assert len(found) == 10
        assert len({groups[name] for name in found}) == 10
        assert len(sufficiency.receivers(miss, test, n=9, seed=0)) == 9

    def test_too_few_are_none(self, miss):
        few = {name: SAMPLES[name] for name in ("x", "n", *list(RIGHT)[:7])}
        assert sufficiency.receivers(miss, scored(few), n=24, seed=0) == []

    def test_a_success_has_none(self, test):
        success = choose(Conditions(test), CasesParams())[-1]
        assert success.kind == "success"
        assert sufficiency.receivers(success, test, n=24, seed=0) == []

    def test_the_draw_depends_on_the_case_and_the_seed_alone(self, test, miss):
        first = sufficiency.receivers(miss, test, n=8, seed=0)
        assert first == sufficiency.receivers(miss, test, n=8, seed=0)
        assert first != sufficiency.receivers(miss, test, n=8, seed=1)


class TestJudge:
    def test_worked_example(self, test, miss):
        # 9 turn by the case's property alone, 1 by the other's alone: P(X >= 9), X ~ B(10, 1/2).
        trials = trials_of(test, set(range(10)), {0, 19})
        (row,) = sufficiency.judge(miss, test, *trials).to_dict("records")
        assert (row["n"], row["n_turned"], row["n_turned_other"]) == (20, 10, 2)
        assert row["p_value"] == pytest.approx(11 / 1024)
        assert row["shown"]

    def test_as_many_by_any_image_show_nothing(self, test, miss):
        trials = trials_of(test, set(range(10)), set(range(10)))
        (row,) = sufficiency.judge(miss, test, *trials).to_dict("records")
        assert row["p_value"] == 1
        assert not row["shown"]

    def test_properties_are_corrected_together(self, test, miss):
        parts = [trials_of(test, set(range(6)), set(), transplant=f"t{i}") for i in range(4)]
        trials = pd.concat([part for part, _ in parts], ignore_index=True)
        logits = np.concatenate([logits for _, logits in parts], axis=1)
        found = sufficiency.judge(miss, test, trials, logits)
        assert found["p_value"].tolist() == pytest.approx([1 / 64] * 4)
        assert found["p_holm"].tolist() == pytest.approx([4 / 64] * 4)
        assert not found["shown"].any()

    def test_nothing_tried_nothing_found(self, test, miss):
        empty = pd.DataFrame(columns=list(sufficiency.TRIALS))
        found = sufficiency.judge(miss, test, empty, np.empty((1, 0, 0), np.float32))
        assert found.empty
        assert sufficiency.shown(found) == []

    @pytest.mark.parametrize(("more", "less"), [(0, 0), (5, 0), (7, 3), (2, 8)])
    def test_the_sign_test_is_binomial(self, more, less):
        first = np.array([True] * more + [False] * less + [True, False])
        second = np.array([False] * more + [True] * less + [True, False])
        expected = binom.sf(more - 1, more + less, 0.5)
        assert sufficiency.sign_test(first, second) == pytest.approx(expected)
