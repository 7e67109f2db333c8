"""What must hold for every set of events: invariances, bounds, identities."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from medaudit.metrics import calibration, calibration_curves, proper
from medaudit.metrics.calibration import BINNINGS

Array = NDArray[Any]
Rows = list[tuple[float, bool, int]]
Weighted = Callable[[Array, Array, Array], Array]

# A coarse grid, so that ties, 0 and 1 come up often.
ROWS: st.SearchStrategy[Rows] = st.lists(
    st.tuples(st.integers(0, 20).map(lambda i: i / 20), st.booleans(), st.integers(0, 3)),
    min_size=1,
    max_size=30,
)


def three_classes(confidence: Array) -> Array:
    return np.column_stack([confidence, (1 - confidence) / 4, 3 * (1 - confidence) / 4])


def part(name: str) -> Weighted:
    def weighted(c: Array, y: Array, w: Array) -> Array:
        return np.asarray(getattr(proper.weighted_brier_decomposition(c, y, w, n_bins=5), name))

    return weighted


# Name: metric, lowest and highest value.
METRICS: dict[str, tuple[Weighted, float, float]] = {
    "classwise ece": (
        lambda c, y, w: calibration.weighted_classwise_ece(three_classes(c), y.astype(int), w),
        0,
        1,
    ),
    "debiased ece": (
        lambda c, y, w: calibration.weighted_debiased_ece(c, y, w, n_bins=4, binning="equal_width"),
        0,
        1,
    ),
    "smooth ece": (calibration_curves.weighted_smooth_ece, 0, 1),
    "cox intercept": (
        lambda c, y, w: calibration_curves.weighted_cox(c, y, w).intercept,
        -math.inf,
        math.inf,
    ),
    "cox slope": (
        lambda c, y, w: calibration_curves.weighted_cox(c, y, w).slope,
        -math.inf,
        math.inf,
    ),
    "spiegelhalter z": (calibration_curves.weighted_spiegelhalter_z, -math.inf, math.inf),
    "event brier loss": (proper.weighted_event_brier_loss, 0, 1),
    "brier skill": (proper.weighted_brier_skill_score, -math.inf, 1),
    "multiclass brier skill": (
        lambda c, y, w: proper.weighted_multiclass_brier_skill_score(
            three_classes(c), y.astype(int), w
        ),
        -math.inf,
        1,
    ),
    "log loss": (
        lambda c, y, w: proper.weighted_log_loss(three_classes(c), y.astype(int), w),
        0,
        36.05,
    ),
    "reliability": (part("reliability"), 0, 1),
    "resolution": (part("resolution"), 0, 0.25),
    "uncertainty": (part("uncertainty"), 0, 0.25),
    "within-bin variance": (part("within_bin_variance"), 0, 0.01),
    "within-bin covariance": (part("within_bin_covariance"), -0.1, 0.1),
}
EVERY = pytest.mark.parametrize(("metric", "lowest", "highest"), METRICS.values(), ids=METRICS)
# They know the size of the sample.
COUNTING = ("spiegelhalter z", "debiased ece")


def columns(rows: Rows) -> tuple[Array, Array, Array]:
    confidence, happened, counts = (np.array(column) for column in zip(*rows, strict=True))
    return confidence, happened, counts


def same(actual: Array, expected: Array) -> None:
    np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-7)


@EVERY
@given(rows=ROWS)
def test_a_weight_is_a_number_of_copies(
    metric: Weighted, lowest: float, highest: float, rows: Rows
) -> None:
    confidence, happened, counts = columns(rows)
    c, y = np.repeat(confidence, counts), np.repeat(happened, counts)
    weighted = metric(confidence, happened, counts[None])
    same(weighted, metric(c, y, np.ones((1, len(c)), dtype=np.uint16)))
    if not math.isnan(weighted[0]):
        assert lowest - 1e-9 <= weighted[0] <= highest + 1e-9


@EVERY
@given(rows=ROWS, seed=st.integers(0, 99))
def test_the_order_of_rows_is_nothing(
    metric: Weighted, lowest: float, highest: float, rows: Rows, seed: int
) -> None:
    confidence, happened, counts = columns(rows)
    order = np.random.default_rng(seed).permutation(len(confidence))
    shuffled = metric(confidence[order], happened[order], counts[order][None])
    same(shuffled, metric(confidence, happened, counts[None]))


@pytest.mark.parametrize("name", [name for name in METRICS if name not in COUNTING])
@given(rows=ROWS)
def test_every_row_twice_is_weights_doubled_is_the_same(name: str, rows: Rows) -> None:
    metric = METRICS[name][0]
    confidence, happened, counts = columns(rows)
    once, twice = metric(confidence, happened, np.stack([counts, 2 * counts]))
    again = metric(np.tile(confidence, 2), np.tile(happened, 2), np.tile(counts, 2)[None])
    same(np.array([twice, again[0]]), np.array([once, once]))


@given(rows=ROWS)
def test_twice_the_sample_is_root_two_times_the_z(rows: Rows) -> None:
    confidence, happened, counts = columns(rows)
    once, twice = calibration_curves.weighted_spiegelhalter_z(
        confidence, happened, np.stack([counts, 2 * counts])
    )
    same(twice, once * math.sqrt(2))


@given(events=st.lists(st.tuples(st.integers(0, 10), st.integers(1, 4)), min_size=1, max_size=9))
def test_perfect_bins(events: list[tuple[int, int]]) -> None:
    # Confidence i/10 given to 10 m samples of which i m happen.
    confidence = np.concatenate([np.full(10 * m, i / 10) for i, m in events])
    happened = np.concatenate([np.arange(10 * m) < i * m for i, m in events])
    for binning in BINNINGS:
        options: dict[str, Any] = {"n_bins": 10, "binning": binning}
        assert calibration.ece(confidence, happened, **options) == pytest.approx(0, abs=1e-12)
        assert calibration.mce(confidence, happened, **options) == pytest.approx(0, abs=1e-12)
        assert calibration.debiased_ece(confidence, happened, **options) == 0.0
        parts = proper.brier_decomposition(confidence, happened, **options)
        assert parts.reliability == pytest.approx(0, abs=1e-12)
    assert calibration_curves.smooth_ece(confidence, happened) == pytest.approx(0, abs=1e-9)
    surplus = calibration_curves.spiegelhalter(confidence, happened).z
    assert math.isnan(surplus) or surplus == pytest.approx(0, abs=1e-9)
    line = calibration_curves.cox(confidence, happened)
    if not math.isnan(line[0]):
        # Announced 0 and 1 count as 1e-7 from them.
        assert line == pytest.approx((0, 1), abs=1e-4)


@given(rows=ROWS, n_bins=st.integers(1, 12))
def test_the_parts_add_up_to_the_brier_loss(rows: Rows, n_bins: int) -> None:
    confidence, happened, counts = columns(rows)
    weights = np.stack([counts, np.ones_like(counts)])
    loss = proper.weighted_event_brier_loss(confidence, happened, weights)
    for binning in BINNINGS:
        parts = proper.weighted_brier_decomposition(
            confidence, happened, weights, n_bins=n_bins, binning=binning
        )
        np.testing.assert_allclose(parts.brier_loss, loss, rtol=0, atol=1e-12)


@given(rows=ROWS)
def test_one_confidence_a_bin_has_nothing_within_bins(rows: Rows) -> None:
    confidence, happened, _ = columns(rows)
    parts = proper.brier_decomposition(confidence, happened, n_bins=20)
    assert parts.within_bin_variance == pytest.approx(0, abs=1e-12)
    assert parts.within_bin_covariance == pytest.approx(0, abs=1e-12)


@given(rows=ROWS)
def test_the_prevalence_forecast_has_no_skill_no_error_and_no_resolution(rows: Rows) -> None:
    _, happened, _ = columns(rows)
    share = np.full(len(happened), happened.mean())
    skill = proper.brier_skill_score(share, happened)
    both = proper.multiclass_brier_skill_score(np.column_stack([1 - share, share]), happened)
    assert math.isnan(skill) == math.isnan(both) == (share[0] in {0.0, 1.0})
    if not math.isnan(skill):
        assert skill == pytest.approx(0, abs=1e-9)
        assert both == pytest.approx(0, abs=1e-9)
    assert calibration.ece(share, happened) == pytest.approx(0, abs=1e-12)
    parts = dataclasses.asdict(proper.brier_decomposition(share, happened))
    rest = {name: value for name, value in parts.items() if name != "uncertainty"}
    assert rest == pytest.approx(dict.fromkeys(rest, 0), abs=1e-12)


@given(rows=ROWS)
def test_skill_of_the_truth_is_one(rows: Rows) -> None:
    _, happened, _ = columns(rows)
    skill = proper.brier_skill_score(happened.astype(float), happened)
    assert math.isnan(skill) or skill == 1.0


@given(rows=ROWS)
def test_the_event_and_its_opposite_are_one_thing(rows: Rows) -> None:
    confidence, happened, counts = columns(rows)
    # Not through the spacing of 1 - p near p = 0, which the clip would see.
    inner = 0.05 + 0.9 * confidence
    ours = calibration_curves.weighted_cox(inner, happened, counts[None])
    theirs = calibration_curves.weighted_cox(1 - inner, ~happened, counts[None])
    same(ours.slope, theirs.slope)
    same(ours.intercept, -theirs.intercept)
    for metric in (
        calibration_curves.weighted_smooth_ece,
        calibration_curves.weighted_spiegelhalter_z,
        proper.weighted_brier_skill_score,
    ):
        same(metric(inner, happened, counts[None]), metric(1 - inner, ~happened, counts[None]))


@given(rows=ROWS)
def test_smooth_ece_lies_between_the_bias_and_the_mean_residual(rows: Rows) -> None:
    confidence, happened, _ = columns(rows)
    residuals = happened - confidence
    value = calibration_curves.smooth_ece(confidence, happened)
    assert abs(residuals.mean()) - 1e-6 <= value <= np.abs(residuals).mean() + 1e-6


@given(rows=ROWS)
def test_debiasing_never_adds(rows: Rows) -> None:
    confidence, happened, _ = columns(rows)
    debiased = calibration.debiased_ece(confidence, happened, n_bins=3)
    bins = calibration.reliability_bins(confidence, happened, n_bins=3, binning="equal_mass")
    held = bins.count > 0
    squares = (bins.frequency - bins.mean_confidence)[held] ** 2
    root = math.sqrt(bins.count[held] @ squares / len(confidence))
    assert math.isnan(debiased) == bool((bins.count == 1).any())
    assert math.isnan(debiased) or debiased <= root + 1e-9
