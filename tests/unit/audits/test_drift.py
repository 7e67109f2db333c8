"""Image statistics of new images against the train role, and what is said against what was said."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medaudit.audits import drift
from medaudit.audits.drift import DriftParams, NewImages, PredictionSummary
from medaudit.stats.bootstrap import Bootstrap, IntervalParams

FEW = IntervalParams(replicates=100)


def summary(*called, confidence, groups=None):
    groups = groups or [f"g{i}" for i in range(len(confidence))]
    return PredictionSummary(
        ("a", "b"), np.array(called, dtype=bool), np.array(confidence), np.array(groups)
    )


def bootstrap_of(predictions, params=FEW):
    return Bootstrap.of_groups(predictions.group_ids, params)


ONE = summary([1, 0], [1, 0], [0, 1], [0, 0], confidence=[0.9, 0.8, 0.7, 0.6])


def audit(new, known, *, before=None):
    images, train = (pd.DataFrame({"brightness": np.asarray(x, dtype=float)}) for x in (new, known))
    params = DriftParams(columns=("brightness",))
    frozen = drift.freeze(train, params, predictions=before or {})
    return drift.audit(NewImages(images, ONE), frozen, params, bootstrap_of(ONE))


def test_distance_and_share_outside():
    """At 2 half of the new values and none of the known ones lie below or on: distance 1/2.

    The middle 99 % of 3, 4, 5, 6 begin at 3 + 0.005·3 = 3.015, so 1, 2, 3 lie outside.
    """
    (row,) = audit([1, 2, 3, 4], [3, 4, 5, 6]).series["statistics"].to_dict("records")
    assert row["ks_distance"] == pytest.approx(0.5)
    assert (row["range_low"], row["range_high"]) == pytest.approx((3.015, 5.985))
    assert row["share_outside"] == pytest.approx(0.75)
    assert (row["mean_new"], row["mean_reference"]) == (2.5, 4.5)
    assert (row["n_new"], row["n_reference"]) == (4, 4)


def test_equal_samples_do_not_differ():
    found = audit([1, 2, 3, 4], [1, 2, 3, 4], before={"test": ONE})
    assert found.series["statistics"]["ks_distance"].tolist() == [0.0, 0.0]
    assert found.scalars["n_significant"] == 0
    assert found.scalars["furthest_p_holm"] == 1.0


def test_p_values_are_of_one_family():
    """Two statistics, the smaller p-value is doubled."""
    table = audit([1, 2, 3, 4], [3, 4, 5, 6], before={"test": ONE}).series["statistics"]
    first, second = table["p_value"]
    assert first < second == 1.0
    assert table["p_holm"].tolist() == pytest.approx([2 * first, 1.0])


def test_shares_called_and_mean_confidence():
    """Two of four images are called a, one b; the mean of 0.9, 0.8, 0.7, 0.6 is 0.75."""
    table = audit([1, 2, 3, 4], [1, 2, 3, 4], before={"test": ONE}).series["prediction_drift"]
    assert set(table["source"]) == {"new", "test"}
    new = table[table["source"] == "new"]
    assert new["value"].tolist() == pytest.approx([0.5, 0.25, 0.75])
    assert (new["low"] <= new["value"]).all()
    assert (new["value"] <= new["high"]).all()


def test_images_of_one_group_are_no_independent_evidence():
    """Two groups of two alike images: the interval is as wide as that of two images."""
    pairs = summary(
        [1, 0], [1, 0], [0, 1], [0, 1], confidence=[1, 1, 0, 0], groups=["p", "p", "q", "q"]
    )
    lone = summary([1, 0], [0, 1], confidence=[1, 0], groups=["p", "q"])
    wide, narrow = (
        list(drift.prediction_rows("new", each, bootstrap_of(each)))[-1] for each in (pairs, lone)
    )
    assert (wide["low"], wide["high"]) == (narrow["low"], narrow["high"])
    assert wide["n_groups"] == 2


def test_the_method_of_the_parameters_is_honoured():
    """With few images adjusted percentiles reach further out than plain ones."""
    new = summary(
        *[[1, 0], [0, 1], [0, 1], [1, 1]] * 5, confidence=np.linspace(0.1, 1, 20).tolist()
    )
    percentile = FEW.model_copy(update={"method": "percentile"})
    wide, narrow = (
        list(drift.prediction_rows("new", new, bootstrap_of(new, each)))
        for each in (FEW, percentile)
    )
    assert {row["method"] for row in wide} == {"cluster_bootstrap_expanded"}
    assert {row["method"] for row in narrow} == {"cluster_bootstrap_percentile"}
    for far, near in zip(wide, narrow, strict=True):
        assert far["low"] < near["low"] < near["high"] < far["high"]


def test_headline_in_words():
    words = drift.sentence(audit([1, 2, 3, 4], [3, 4, 5, 6]))
    assert words.startswith("0 of 1 statistics")
    assert "furthest is brightness against train, distance 0.50; up to 75.0 % of" in words


def distance(new, known):
    """By hand: the largest gap between the shares of values that are at most x."""
    grid = np.concatenate([new, known])
    shares = [
        np.searchsorted(np.sort(each), grid, side="right") / len(each) for each in (new, known)
    ]
    return np.abs(shares[0] - shares[1]).max()


VALUES = arrays(np.float64, st.integers(1, 12), elements=st.integers(-4, 4).map(float))


@given(VALUES, VALUES)
def test_distance_is_the_largest_gap_between_distributions(new, known):
    found, p_value = drift.kolmogorov_smirnov(new, known)
    assert found == pytest.approx(distance(new, known), abs=1e-12)
    assert 0 <= p_value <= 1
    assert drift.kolmogorov_smirnov(known, new) == pytest.approx((found, p_value))


@given(VALUES)
def test_the_range_of_a_sample_leaves_out_its_ends_at_most(values):
    beyond = drift.outside(values, drift.usual_range(values))
    assert set(values[beyond]) <= {values.min(), values.max()}


def test_p_value_against_a_permutation_test():
    """The share of random divisions of 30 + 40 values that lie as far apart."""
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0.5, 1, 30), rng.normal(0, 1, 40)])
    found, p_value = drift.kolmogorov_smirnov(values[:30], values[30:])
    shuffled = (rng.permutation(values) for _ in range(2000))
    far = np.mean([distance(each[:30], each[30:]) >= found - 1e-12 for each in shuffled])
    assert p_value == pytest.approx(far, abs=0.04)
    assert 0.01 < far < 0.6
