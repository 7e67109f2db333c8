"""How numbers are printed, and when a difference counts as shown."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medaudit.report.formatting import (
    Change,
    Number,
    between,
    change,
    count,
    difference,
    estimate,
    number,
    p_equals,
    p_value,
    percent,
    plain,
    share,
    signed,
    sized,
)

ends = st.floats(-1, 1)


@pytest.mark.parametrize(
    ("found", "printed"),
    [
        (Number(0.91234, 0.88, 0.941), "0.912 (0.880–0.941)"),  # noqa: RUF001 - an interval
        (Number(), "undefined"),
        (Number(0.5), "0.500 (no interval)"),
        (Number(0.0, -0.1, 0.1), "0.000 (−0.100 to 0.100)"),  # noqa: RUF001 - a true minus
    ],
)
def test_estimates_are_printed_with_their_interval(found, printed):
    assert estimate(found) == printed


def test_differences_always_carry_a_sign():
    assert difference(Number(-0.12, -0.2, 0.04), 2) == "−0.12 (−0.20 to +0.04)"  # noqa: RUF001


def test_small_values_have_their_own_words():
    assert (p_value(0.0008), p_value(0.04), p_value(math.nan)) == ("0.0008", "0.040", "")
    assert (count(12345), count(None), count(np.int64(3))) == ("12,345", "–", "3")  # noqa: RUF001
    assert (share(0.125), share(math.nan)) == ("12.5 %", "undefined")
    assert between(math.nan, 1) == "no interval"


@pytest.mark.parametrize(
    ("value", "replicates", "printed"),
    [(0.0, 2000, "p < 0.0005"), (1 / 2001, 2000, "p < 0.0005"), (0.0, 200, "p < 0.005")],
)
def test_a_p_value_is_never_said_to_be_smaller_than_the_replicates_tell(value, replicates, printed):
    assert p_equals(round(value, 6), least=1 / (replicates + 1)) == printed


@given(value=st.floats(0, 1), replicates=st.integers(50, 20_000))
def test_no_p_value_is_printed_as_zero_or_below_what_is_resolved(value, replicates):
    printed = p_value(value, least=1 / (replicates + 1))
    assert float(printed.removeprefix("<")) > 0
    if printed.startswith("<"):
        assert value < float(printed[1:]) + 1e-6


@pytest.mark.parametrize(
    ("found", "metric", "printed"),
    [
        (Number(0.24, 0.20, 0.31), "critical_sensitivity", "24 points (20 to 31)"),
        (Number(0.014, 0.003, 0.022), "critical_specificity", "1.4 points (0.3 to 2.2)"),
        (Number(0.05, -0.03, 0.12), "accuracy", "5 points (−3 to 12)"),  # noqa: RUF001 - minus
        (Number(0.024, 0.01, 0.041), "macro_auroc", "0.024 (0.010 to 0.041)"),
    ],
)
def test_harms_of_rates_are_told_in_points(found, metric, printed):
    assert sized(found, metric) == printed


def test_an_interval_without_width_is_no_certainty():
    alike = Number(1.0, 1.0, 1.0, n=12)
    assert estimate(alike) == "1.000 (no interval, all alike)"
    assert percent(alike) == "100.0 % (no interval, all alike)"
    assert difference(Number(0.0, 0.0, 0.0)) == "0.000 (no interval, all alike)"


def test_zero_has_no_minus():
    assert plain(-0.0001) == signed(-0.0001) == "0.000"


def test_columns_become_a_number_and_gaps_stay_undefined():
    row = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 10.0, "n_positive": math.nan}
    assert number(row) == Number(0.5, 0.4, 0.6, n=10)


@pytest.mark.parametrize(
    ("low", "high", "p_holm", "shown"),
    [
        (-0.3, -0.1, 0.01, True),
        (0.1, 0.3, 0.01, True),
        (-0.3, -0.1, 0.2, False),  # the interval excludes 0, but not after Holm
        (-0.3, 0.1, 0.01, False),
        (-0.3, 0.0, 0.01, False),
        (-0.3, -0.1, math.nan, True),  # a single comparison has no family
        (math.nan, math.nan, math.nan, False),
    ],
)
def test_a_difference_is_shown_when_interval_and_family_agree(low, high, p_holm, shown):
    assert Change(-0.2, low, high, p_holm=p_holm).shown is shown


def test_direction_decides_what_a_loss_is():
    falls = {"delta": -0.2, "lo": -0.3, "hi": -0.1, "p_holm": 0.01}
    score = change({**falls, "direction": 1}, "delta", name="x", ends=("lo", "hi"))
    loss = change({**falls, "direction": -1}, "delta", name="x", ends=("lo", "hi"))
    assert score.shown_worse
    assert not loss.shown_worse


@given(value=ends, low=ends, high=ends, p=st.floats(0, 1))
def test_an_interval_around_zero_never_shows_anything(value, low, high, p):
    low, high = min(low, 0), max(high, 0)
    assert not Change(value, low, high, p_holm=p).shown
