"""Calibration as a straight line between log-odds, and a test of calibration without bins."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import fft, sparse
from scipy.special import expit, logit
from scipy.stats import norm

from medaudit.core.arrays import BoolArray, Float64Array
from medaudit.metrics.calibration import events
from medaudit.stats.weighting import (
    Indices,
    Weights,
    by_chunks,
    checked_weights,
    plain,
    ratio,
    weighted_sums,
)

# Log-odds of 0 and 1 are infinite: they count as this far from them.
CLIP = 1e-7

# Above this n a replicate takes one Newton step from the estimate of the sample.
MAX_FULL = 5_000
STEPS = 100
TOLERANCE = 1e-10


@dataclass(frozen=True, eq=False)
class Cox:
    """logit P(y = 1) = intercept + slope · logit p, (replicates,) each; ideal are 0 and 1.

    A slope below 1 is overconfidence, an intercept below 0 (at slope 1) stating too much.
    """

    intercept: Float64Array
    slope: Float64Array


def weighted_cox(probability: ArrayLike, outcome: ArrayLike, weights: ArrayLike) -> Cox:
    """Cox's recalibration line by maximum likelihood in every replicate.

    NaN where no finite line is best: all or none happened, or a threshold on the probability tells
    the outcomes apart but for ties at it (so also where all probabilities are equal). Probabilities
    are clipped to [1e-7, 1 − 1e-7], log-odds of ±16.1: one of exactly 0 or 1 that does not come
    true pulls hard, and as hard as the clip lets it.

    Up to n = 5,000 every replicate is solved. Above, it takes one Newton step from the solution of
    the sample, which is as good to the order of the bootstrap itself.

    Args:
        probability: (n,) in [0, 1].
        outcome: (n,) booleans.
        weights: (replicates, n), non-negative.

    Reference: Cox 1958, Biometrika 45:562-565; Davidson & MacKinnon 1999, Int. Econ. Rev.
    40:487-508 (the one-step bootstrap); on existence Albert & Anderson 1984, Biometrika 71:1-10.
    """
    stated, event = events(probability, outcome)
    checked = checked_weights(weights, len(stated))
    x = logit(np.clip(stated, CLIP, 1 - CLIP))
    if len(x) > MAX_FULL:
        start = _solved(x, event, np.ones((1, len(x))))
        lines = _one_step(x, event, checked, start)
    else:
        lines = by_chunks(lambda part: _solved(x, event, part), checked)
    return Cox(lines[:, 0], lines[:, 1])


def cox(probability: ArrayLike, outcome: ArrayLike) -> tuple[float, float]:
    """Intercept and slope of the sample itself."""
    line = weighted_cox(probability, outcome, np.ones((1, len(np.asarray(probability)))))
    return float(line.intercept[0]), float(line.slope[0])


def _solved(x: Float64Array, event: Float64Array, weights: Weights) -> Float64Array:
    """The best lines of some replicates, (replicates, 2); NaN where no finite line is best."""
    lines = np.full((len(weights), 2), np.nan)
    finite = _overlap(x, event > 0, weights)
    if finite.any():
        lines[finite] = _newton(x, event, weights[finite].astype(np.float64))
    return lines


def _newton(x: Float64Array, event: Float64Array, weights: Float64Array) -> Float64Array:
    """Newton's method for all replicates at once, from the flat line; NaN where it does not end."""
    line = np.zeros((len(weights), 2))
    step, rise = np.zeros_like(line), np.zeros(len(line))
    ended = np.zeros(len(line), dtype=bool)
    for _ in range(STEPS):
        gradient, information = _derivatives(line, x, event, weights)
        # The likelihood is concave: where it falls along the step, the top was passed.
        passed = (gradient * step).sum(axis=1) < -rise / 2
        fresh = _solve(information, gradient)
        step = np.where(passed[:, None], step / 2, fresh)
        rise = np.where(passed, rise / 2, (gradient * step).sum(axis=1))
        line += np.where(passed[:, None], -step, step)
        ended = np.abs(step).max(axis=1) <= TOLERANCE * (1 + np.abs(line).max(axis=1))
        if ended.all():
            break
    return np.where(ended[:, None], line, np.nan)


def _derivatives(
    line: Float64Array, x: Float64Array, event: Float64Array, weights: Float64Array
) -> tuple[Float64Array, Float64Array]:
    """Gradient of the log-likelihood (replicates, 2), and its information 00, 01, 11."""
    design = np.column_stack([np.ones_like(x), x, x * x])
    mean = expit(line[:, :1] + line[:, 1:] * x)
    gradient = (weights * (event - mean)) @ design[:, :2]
    return gradient, (weights * mean * (1 - mean)) @ design


def _solve(information: Float64Array, gradient: Float64Array) -> Float64Array:
    """information⁻¹ · gradient; NaN where it is singular."""
    h00, h01, h11 = information.T
    g0, g1 = gradient.T
    adjugate = np.column_stack([h11 * g0 - h01 * g1, h00 * g1 - h01 * g0])
    return ratio(adjugate, (h00 * h11 - h01**2)[:, None])


def _one_step(
    x: Float64Array, event: Float64Array, weights: Weights, start: Float64Array
) -> Float64Array:
    mean = expit(start[0, 0] + start[0, 1] * x)
    residual, curve = event - mean, mean * (1 - mean)
    columns = np.column_stack([residual, residual * x, curve, curve * x, curve * x * x])
    sums = weighted_sums(columns, weights)
    lines = start + _solve(sums[:, 2:], sums[:, :2])
    overlap = by_chunks(lambda part: _overlap(x, event > 0, part).astype(np.float64), weights)
    return np.where(overlap[:, None] > 0, lines, np.nan)


def _overlap(x: Float64Array, positive: BoolArray, weights: Weights) -> BoolArray:
    """Whether both outcomes have weight and their ranges share more than a point, (replicates,)."""
    low1, high1 = _range(x, np.flatnonzero(positive), weights)
    low0, high0 = _range(x, np.flatnonzero(~positive), weights)
    # NaN, an absent class, compares as False.
    return np.asarray((low1 < high0) & (low0 < high1))


def _range(x: Float64Array, rows: Indices, weights: Weights) -> tuple[Float64Array, Float64Array]:
    """The lowest and highest of x over the rows that have weight; NaN where none has."""
    if not len(rows):
        return np.full(len(weights), np.nan), np.full(len(weights), np.nan)
    order = rows[np.argsort(x[rows], kind="stable")]
    held = np.take(weights, order, axis=1) > 0
    some, first, last = held.any(axis=1), held.argmax(axis=1), held[:, ::-1].argmax(axis=1)
    lowest, highest = x[order][first], x[order][::-1][last]
    return np.where(some, lowest, np.nan), np.where(some, highest, np.nan)


def weighted_spiegelhalter_z(
    probability: ArrayLike, outcome: ArrayLike, weights: ArrayLike
) -> Float64Array:
    """Spiegelhalter's statistic in every replicate, shape (replicates,).

    Σ w (y − p)(1 − 2p) / √(Σ w (1 − 2p)² p (1 − p)), standard normal if the probabilities are true
    and cases independent: the Brier loss less what it should then be, in standard deviations. So it
    is positive where the loss is larger than announced, and grows with the root of n. NaN where the
    root is 0: all probabilities with weight are 0, 1/2 or 1.

    Reference: Spiegelhalter 1986, Stat. Med. 5:421-433.
    """
    stated, event = events(probability, outcome)
    lever = 1 - 2 * stated
    columns = np.column_stack([(event - stated) * lever, lever**2 * stated * (1 - stated)])
    above, variance = weighted_sums(columns, weights).T
    return ratio(above, np.sqrt(variance))


@dataclass(frozen=True)
class CalibrationTest:
    """A standard normal statistic and its two-sided p-value."""

    z: float
    p_value: float


def spiegelhalter(probability: ArrayLike, outcome: ArrayLike) -> CalibrationTest:
    """Spiegelhalter's test that the probabilities are true; it assumes independent cases."""
    z = plain(weighted_spiegelhalter_z, probability, outcome)
    # A tail beyond the smallest number is not 0.
    return CalibrationTest(z, max(float(2 * norm.sf(abs(z))), float(np.finfo(np.float64).tiny)))


# Cells that [0, 1] is cut into.
GRID = 1024
# Halvings of the bracket of the fixed point, before one straight line through its ends.
HALVINGS = 8


def weighted_smooth_ece(
    probability: ArrayLike, outcome: ArrayLike, weights: ArrayLike
) -> Float64Array:
    """Smooth calibration error in every replicate, in [0, 1], shape (replicates,).

    smECE_σ = ∫₀¹ |Σ_i w_i (y_i − p_i) K_σ(t, p_i)| dt / Σ_i w_i with the Gaussian kernel of width
    σ, reflected at 0 and 1 as often as needed; smECE is its value where smECE_σ = σ, which exists
    and is unique as smECE_σ falls with σ. Lower is better. No bins to choose, and small changes of
    p change it little; in small samples it is biased upwards like any calibration error. NaN where
    no weight is left.

    The residuals lie on 1,024 cells, shared by the two nearest, and the fixed point is solved for:
    within 2e-4 of the exact integral. The reference implementation steps σ by 1/1024 and cuts the
    kernel off at 1/2: within 1e-3 + 1 % of it, but for p within 1/1000 of 0 and 1, where it loses
    half of the kernel. A replicate costs a few transforms of the cells, whatever n is.

    Reference: Błasiok & Nakkiran 2024, ICLR.
    """
    values, event = events(probability, outcome)
    checked = checked_weights(weights, len(values))
    shares = _shares_of_cells(values, event - values)
    return by_chunks(lambda part: _fixed_points(shares, part), checked)


def smooth_ece(probability: ArrayLike, outcome: ArrayLike) -> float:
    """`weighted_smooth_ece` of the sample itself."""
    return plain(weighted_smooth_ece, probability, outcome)


def _shares_of_cells(values: Float64Array, residuals: Float64Array) -> sparse.csr_array:
    """What every sample adds to the cells, (GRID, n): its residual, split between two centres."""
    position = np.clip(values * GRID - 0.5, 0, GRID - 1)
    below = np.minimum(position.astype(np.intp), GRID - 2)
    share = position - below
    samples = np.arange(len(values))
    parts = np.r_[residuals * (1 - share), residuals * share]
    cells = (np.r_[below, below + 1], np.r_[samples, samples])
    return sparse.csr_array((parts, cells), shape=(GRID, len(values)))


def _fixed_points(shares: sparse.csr_array, weights: Weights) -> Float64Array:
    """σ = smECE_σ of some replicates, by bisection."""
    residuals = shares @ weights.T.astype(np.float64)
    waves = ratio(fft.dct(residuals, axis=0), weights.sum(axis=1, dtype=np.float64))
    low, high = np.zeros(len(weights)), np.ones(len(weights))
    above, below = _excess(waves, low), _excess(waves, high)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        excess = _excess(waves, middle)
        rising = excess > 0
        low, above = np.where(rising, middle, low), np.where(rising, excess, above)
        high, below = np.where(rising, high, middle), np.where(rising, below, excess)
    return low + (high - low) * above / (above - below)


def _excess(waves: Float64Array, width: Float64Array) -> Float64Array:
    """smECE_σ − σ: in the cosine basis a reflected Gaussian only damps every wave."""
    speed = (np.pi * np.arange(len(waves))) ** 2 / 2
    smooth = fft.idct(waves * np.exp(-speed[:, None] * width**2), axis=0)
    return np.asarray(np.abs(smooth).sum(axis=0) - width)
