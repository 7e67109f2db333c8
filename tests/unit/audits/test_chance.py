"""The distribution of a count of unlike independent events, by hand and by its laws."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from medaudit.audits.chance import poisson_binomial, upper_tail

RATES = st.lists(st.floats(0, 1), max_size=12)


def test_worked_example():
    # None: 0.9 * 0.5 = 0.45. Both: 0.1 * 0.5 = 0.05. One: the rest, 0.5.
    assert poisson_binomial([0.1, 0.5]) == pytest.approx([0.45, 0.5, 0.05])
    assert upper_tail(1, [0.1, 0.5]) == pytest.approx(0.55)
    assert upper_tail(2, [0.1, 0.5]) == pytest.approx(0.05)


def test_without_trials_no_success_is_certain():
    assert upper_tail(0, []) == 1
    assert upper_tail(1, []) == 0


@pytest.mark.parametrize("count", range(8))
def test_equal_rates_are_binomial(count):
    assert upper_tail(count, [0.3] * 7) == pytest.approx(binom.sf(count - 1, 7, 0.3))


@given(RATES)
def test_sums_to_one_with_the_mean_of_its_rates(rates):
    found = poisson_binomial(rates)
    assert found.sum() == pytest.approx(1)
    assert found @ np.arange(len(found)) == pytest.approx(sum(rates), abs=1e-9)


@given(RATES)
def test_the_tail_falls(rates):
    tails = [upper_tail(count, rates) for count in range(len(rates) + 1)]
    assert tails[0] == pytest.approx(1)
    assert (np.diff(tails) <= 1e-12).all()
