"""Calibration and proper scores against unrelated libraries, by name of what is odd in a sample."""

import itertools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import brier_score_loss, log_loss

import medaudit  # noqa: F401  # lets torchvision import, which netcal wants
from medaudit.metrics import calibration, calibration_curves, proper
from medaudit.metrics.calibration import BINNINGS, Binning

with warnings.catch_warnings():
    # Imports of plotting code and of torch, which warn of their own affairs.
    warnings.simplefilter("ignore")
    import relplot  # type: ignore[import-untyped]
    import statsmodels.api as sm  # type: ignore[import-untyped]
    from calzone.metrics import cox_regression_analysis, spiegelhalter_z_test  # type: ignore[import-untyped]
    from netcal.metrics import ACE, ECE, MCE  # type: ignore[import-untyped]
    from statsmodels.tools.sm_exceptions import PerfectSeparationError  # type: ignore[import-untyped]

Sample = tuple[NDArray[Any], NDArray[Any]]  # confidence, happened


def events_like(n: int, *, a: float, b: float, power: float, seed: int) -> Sample:
    """Confidences from a beta distribution; the event happens with confidence^power."""
    generator = np.random.default_rng(seed)
    confidence = generator.beta(a, b, n)
    return confidence, generator.random(n) < confidence**power


def rounded(sample: Sample, levels: int) -> Sample:
    return np.round(sample[0] * levels) / levels, sample[1]


SMOOTH = {
    "calibrated": events_like(500, a=5, b=2, power=1.0, seed=0),
    "overconfident": events_like(400, a=4, b=2, power=2.0, seed=1),
    "timid": events_like(300, a=2, b=2, power=0.5, seed=2),
    "rare": events_like(400, a=1, b=12, power=1.0, seed=3),
    "few": events_like(12, a=2, b=2, power=1.0, seed=4),
    "one row": events_like(1, a=2, b=2, power=1.0, seed=5),
    "all happened": (np.linspace(0.05, 0.95, 40), np.ones(40, dtype=bool)),
    "none happened": (np.linspace(0.05, 0.95, 40), np.zeros(40, dtype=bool)),
}
# Ties, and confidences that are 0, 1 or the border of a bin.
EDGES = {
    "ties": rounded(events_like(300, a=2, b=2, power=1.0, seed=6), 8),
    "zeros and ones": rounded(events_like(60, a=0.3, b=0.3, power=1.0, seed=7), 1),
    "all right and certain": (np.repeat([0.0, 1.0], 9), np.repeat([False, True], 9)),
    "all wrong and certain": (np.repeat([0.0, 1.0], 9), np.repeat([True, False], 9)),
    "bin borders": (np.linspace(0, 1, 16), np.arange(16) % 3 > 0),
}
EVERY = SMOOTH | EDGES
SMOOTH_GRID = pytest.mark.parametrize("sample", SMOOTH.values(), ids=SMOOTH.keys())
GRID = pytest.mark.parametrize("sample", EVERY.values(), ids=EVERY.keys())


def draws_of(sample: Sample, *, replicates: int = 20) -> NDArray[np.int64]:
    n = len(sample[0])
    return np.random.default_rng(9).multinomial(n, np.full(n, 1 / n), size=replicates)


def by_loop(metric: Callable[..., Any], sample: Sample, draws: NDArray[Any]) -> NDArray[Any]:
    """The metric of the resampled rows themselves."""
    return np.array([metric(*(np.repeat(column, row) for column in sample)) for row in draws])


def ece_by_masks(
    confidence: NDArray[Any], happened: NDArray[Any], upper: NDArray[Any]
) -> tuple[float, float, float]:
    """ECE, MCE and the debiased root, bin by bin over masks; bins are (lo, hi], 0 in the first."""
    gaps, squares, n = [], [], len(confidence)
    for lo, hi in itertools.pairwise([-1.0, *upper]):
        inside = (confidence > lo) & (confidence <= hi)
        held, share = inside.sum(), inside.sum() / n
        if held:
            frequency = happened[inside].mean()
            gap = abs(frequency - confidence[inside].mean())
            noise = frequency * (1 - frequency) / (held - 1) if held > 1 else math.nan
            gaps.append((share * gap, gap))
            squares.append(share * (gap**2 - noise))
    total = math.fsum(squares)
    debiased = math.nan if math.isnan(total) else math.sqrt(max(0.0, total))
    return sum(each for each, _ in gaps), max(gap for _, gap in gaps), debiased


@GRID
@pytest.mark.parametrize("binning", BINNINGS)
@pytest.mark.parametrize("n_bins", [1, 4, 15])
def test_binned_errors_by_masks(sample: Sample, binning: Binning, n_bins: int) -> None:
    # Confidence on a border belongs below it, in replicates too, and 0 and 1 are in a bin.
    upper = calibration.reliability_bins(*sample, n_bins=n_bins, binning=binning).hi
    draws = draws_of(sample)
    metrics = (
        calibration.weighted_ece,
        calibration.weighted_mce,
        calibration.weighted_debiased_ece,
    )
    for k, weighted in enumerate(metrics):
        expected = by_loop(lambda c, y, k=k: ece_by_masks(c, y, upper)[k], sample, draws)
        actual = weighted(*sample, draws, n_bins=n_bins, binning=binning)
        # A root of a difference near 0 magnifies rounding errors.
        tolerance = 1e-12 if k < 2 else 1e-7
        np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


@SMOOTH_GRID
@pytest.mark.parametrize("n_bins", [1, 10, 15])
def test_ece_mce_and_ace_of_netcal(sample: Sample, n_bins: int) -> None:
    # Their bins are [lo, hi), which is the same without confidences on a border.
    confidence, happened = sample
    theirs = [
        metric(bins=n_bins).measure(confidence, happened.astype(int)) for metric in (ECE, MCE, ACE)
    ]
    assert calibration.ece(*sample, n_bins=n_bins) == pytest.approx(theirs[0], abs=1e-12)
    assert calibration.mce(*sample, n_bins=n_bins) == pytest.approx(theirs[1], abs=1e-12)
    # Their ACE is the unweighted mean of the gaps over bins that hold a sample.
    bins = calibration.reliability_bins(*sample, n_bins=n_bins)
    gaps = np.abs(bins.frequency - bins.mean_confidence)[bins.count > 0]
    assert gaps.mean() == pytest.approx(theirs[2], abs=1e-12)


@pytest.mark.parametrize("n_bins", [1, 5, 10])
def test_equal_mass_ece_of_netcal(n_bins: int) -> None:
    # Their borders are interpolated quantiles between our order statistics: with n a multiple of
    # the bins and no ties both cut between the same samples.
    sample = events_like(300, a=3, b=2, power=1.5, seed=8)
    theirs = ECE(bins=n_bins, equal_intervals=False).measure(sample[0], sample[1].astype(int))
    ours = calibration.ece(*sample, n_bins=n_bins, binning="equal_mass")
    assert ours == pytest.approx(theirs, abs=1e-12)


def test_a_border_is_ours_below_and_theirs_above() -> None:
    # 0.5 in (0, 1/2]: gaps -0.5 of one and 0.1 of one. In [1/2, 1): (-0.5 + 0.1) / 2 together.
    confidence, happened = np.array([0.5, 0.9]), np.array([0, 1])
    assert calibration.ece(confidence, happened, n_bins=2) == pytest.approx((0.5 + 0.1) / 2)
    assert ECE(bins=2).measure(confidence, happened) == pytest.approx(abs(-0.5 + 0.1) / 2)


@pytest.mark.parametrize("k", [2, 7])
@pytest.mark.parametrize("binning", BINNINGS)
def test_classwise_ece_by_masks(k: int, binning: Binning) -> None:
    generator = np.random.default_rng(k)
    table, targets = generator.dirichlet(np.ones(k), 80), generator.integers(0, k, 80)
    per_class = []
    for column in range(k):
        event = (table[:, column], targets == column)
        upper = calibration.reliability_bins(*event, n_bins=10, binning=binning).hi
        per_class.append(ece_by_masks(*event, upper)[0])
    ours = calibration.classwise_ece(table, targets, n_bins=10, binning=binning)
    assert ours == pytest.approx(np.mean(per_class), abs=1e-12)
    if binning == "equal_width":
        theirs = [ECE(bins=10).measure(table[:, c], (targets == c).astype(int)) for c in range(k)]
        assert ours == pytest.approx(np.mean(theirs), abs=1e-12)


@SMOOTH_GRID
def test_smooth_ece_of_relplot(sample: Sample) -> None:
    # They step the bandwidth by 1/1024, integrate over 200 points, and cut the kernel off at a
    # distance of 1/2, which tells in small samples, where it is wide.
    theirs = relplot.smECE(sample[0], sample[1].astype(float))
    assert calibration_curves.smooth_ece(*sample) == pytest.approx(theirs, rel=0.01, abs=1e-3)


@SMOOTH_GRID
def test_smooth_ece_of_replicates_of_relplot(sample: Sample) -> None:
    draws = draws_of(sample, replicates=4)
    expected = by_loop(lambda c, y: relplot.smECE(c, y.astype(float)), sample, draws)
    actual = calibration_curves.weighted_smooth_ece(*sample, draws)
    np.testing.assert_allclose(actual, expected, rtol=0.02, atol=1e-3)


def smooth_ece_by_images(confidence: NDArray[Any], happened: NDArray[Any], width: float) -> float:
    """The integral at one bandwidth: a Gaussian at every mirror image of every confidence."""
    points = (np.arange(4000) + 0.5) / 4000
    smooth = np.zeros_like(points)
    for period in range(-4, 5):
        for image in (confidence, -confidence):
            away = (points[:, None] - image - 2 * period) / width
            smooth += np.exp(-(away**2) / 2) @ (happened - confidence)
    return float(np.abs(smooth).mean() / (width * math.sqrt(2 * math.pi) * len(confidence)))


@GRID
def test_smooth_ece_is_the_fixed_point_of_the_integral(sample: Sample) -> None:
    # At 0 and 1 relplot loses half of the kernel (its reflection leaves out the end itself), so
    # there the definition is the oracle.
    width = calibration_curves.smooth_ece(*sample)
    if width < 1e-3:
        assert np.abs(sample[1] - sample[0]).max() < 1e-3
        return
    assert smooth_ece_by_images(*sample, width) == pytest.approx(width, abs=2e-4)


def clipped(confidence: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.clip(confidence, calibration_curves.CLIP, 1 - calibration_curves.CLIP))


def cox_of_statsmodels(confidence: NDArray[Any], happened: NDArray[Any]) -> NDArray[Any]:
    """Intercept and slope of a binomial GLM; NaN where it finds the classes separated."""
    x = clipped(confidence)
    design = sm.add_constant(np.log(x / (1 - x)), has_constant="add")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            fit = sm.GLM(happened.astype(float), design, family=sm.families.Binomial()).fit(
                tol=1e-14, maxiter=200
            )
        except (Warning, PerfectSeparationError):
            return np.full(2, np.nan)
    return np.asarray(fit.params)


def told_apart(confidence: NDArray[Any], happened: NDArray[Any]) -> bool:
    """Whether some threshold has one outcome at most on either side, or there is one only."""
    with_event, without = confidence[happened], confidence[~happened]
    if not (len(with_event) and len(without)):
        return True
    return bool(with_event.min() >= without.max() or with_event.max() <= without.min())


@GRID
def test_cox_of_statsmodels(sample: Sample) -> None:
    # Where no finite line is best they warn, fail, or stop on the way to infinity: ours is NaN.
    draws = draws_of(sample)
    line = calibration_curves.weighted_cox(*sample, draws)
    found = np.column_stack([line.intercept, line.slope])
    expected = by_loop(cox_of_statsmodels, sample, draws)
    apart = np.array(
        [told_apart(*(np.repeat(column, row) for column in sample)) for row in draws], dtype=bool
    )
    np.testing.assert_array_equal(np.isnan(found), np.column_stack([apart, apart]))
    both = ~apart & ~np.isnan(expected).any(axis=1)
    assert both.sum() >= (~apart).sum() / 2
    np.testing.assert_allclose(found[both], expected[both], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", ["calibrated", "overconfident", "timid", "rare", "ties"])
def test_cox_of_calzone(name: str) -> None:
    # The same clip, 1e-7.
    confidence, happened = EVERY[name]
    table = np.column_stack([1 - confidence, confidence])
    slope, intercept, *_ = cox_regression_analysis(happened.astype(int), table, tol=1e-12)
    ours = calibration_curves.cox(confidence, happened)
    np.testing.assert_allclose(ours, (intercept, slope), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "name",
    ["one row", "all happened", "none happened", "all right and certain", "all wrong and certain"],
)
def test_cox_has_no_line_of_these(name: str) -> None:
    assert np.isnan(calibration_curves.cox(*EVERY[name])).all()


@GRID
def test_spiegelhalter_of_calzone(sample: Sample) -> None:
    confidence, happened = sample
    table = np.column_stack([1 - confidence, confidence])
    ours = calibration_curves.spiegelhalter(*sample)
    if np.isin(confidence, [0.0, 0.5, 1.0]).all():
        assert math.isnan(ours.z)  # they divide by 0
        return
    z, p_value = spiegelhalter_z_test(happened.astype(int), table)
    assert ours.z == pytest.approx(z, abs=1e-9)
    # Theirs is 1 minus a number near 1.
    assert ours.p_value == pytest.approx(p_value, abs=1e-12)


@GRID
def test_spiegelhalter_of_replicates(sample: Sample) -> None:
    draws = draws_of(sample)
    found = calibration_curves.weighted_spiegelhalter_z(*sample, draws)
    expected = by_loop(
        lambda c, y: calibration_curves.spiegelhalter(c, y).z,
        sample,
        draws,
    )
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


@GRID
def test_brier_loss_of_an_event_of_scikit_learn(sample: Sample) -> None:
    draws = draws_of(sample)
    expected = by_loop(
        lambda c, y: brier_score_loss(y.astype(int), c, pos_label=1, labels=[0, 1]), sample, draws
    )
    actual = proper.weighted_event_brier_loss(*sample, draws)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


def skill_by_definition(confidence: NDArray[Any], happened: NDArray[Any]) -> float:
    y = happened.astype(int)
    if y.min() == y.max():
        return math.nan
    own, climate = (
        brier_score_loss(y, stated) for stated in (confidence, np.full(len(y), y.mean()))
    )
    return float(1 - own / climate)


@GRID
def test_brier_skill_by_two_losses_of_scikit_learn(sample: Sample) -> None:
    draws = draws_of(sample)
    expected = by_loop(skill_by_definition, sample, draws)
    actual = proper.weighted_brier_skill_score(*sample, draws)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("k", [2, 3, 7])
def test_multiclass_scores_of_scikit_learn(k: int) -> None:
    generator = np.random.default_rng(k)
    table, targets = generator.dirichlet(np.full(k, 0.5), 60), generator.integers(0, k, 60)
    table[:5] = np.eye(k)[generator.integers(0, k, 5)]  # certain, some of them wrong
    options: dict[str, Any] = {"labels": range(k)}
    for row in draws_of((table, targets), replicates=10):
        t, y = np.repeat(table, row, axis=0), np.repeat(targets, row)
        climate = np.tile(np.bincount(y, minlength=k) / len(y), (len(y), 1))
        own, reference = (
            brier_score_loss(y, stated, scale_by_half=False, **options) for stated in (t, climate)
        )
        (brier,) = proper.weighted_brier_loss(table, targets, row[None])
        (skill,) = proper.weighted_multiclass_brier_skill_score(table, targets, row[None])
        (nats,) = proper.weighted_log_loss(table, targets, row[None])
        assert brier == pytest.approx(own, abs=1e-12)
        assert skill == pytest.approx(1 - own / reference, abs=1e-12)
        assert nats == pytest.approx(log_loss(y, t, **options), abs=1e-12)


@GRID
@pytest.mark.parametrize("binning", BINNINGS)
def test_decomposition_adds_up_to_the_loss_of_scikit_learn(
    sample: Sample, binning: Binning
) -> None:
    draws = draws_of(sample)
    parts = proper.weighted_brier_decomposition(*sample, draws, n_bins=6, binning=binning)
    expected = by_loop(
        lambda c, y: brier_score_loss(y.astype(int), c, pos_label=1, labels=[0, 1]), sample, draws
    )
    np.testing.assert_allclose(parts.brier_loss, expected, rtol=0, atol=1e-12)
    # Without the parts within bins it is the loss of the means of the bins.
    upper = calibration.reliability_bins(*sample, n_bins=6, binning=binning).hi

    def of_the_means(confidence: NDArray[Any], happened: NDArray[Any]) -> float:
        bins = np.searchsorted(upper, confidence)
        means = np.array([confidence[bins == b].mean() for b in bins])
        return float(((means - happened) ** 2).mean())

    murphy = parts.reliability - parts.resolution + parts.uncertainty
    np.testing.assert_allclose(murphy, by_loop(of_the_means, sample, draws), rtol=0, atol=1e-12)
