"""What must hold for every selective prediction, balanced or not."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from medaudit.metrics import classification, ranking, selective, selective_balanced
from medaudit.metrics.selective_balanced import balanced_risk_coverage

Rows = list[tuple[float, bool, int, int]]

# Confidence on a coarse grid with 0 and 1, error, class, weight.
ROWS: st.SearchStrategy[Rows] = st.lists(
    st.tuples(
        st.integers(0, 12).map(lambda i: i / 12),
        st.booleans(),
        st.integers(0, 2),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=40,
)
CLASSES = [0, 1, 2]

BALANCED: dict[str, Any] = {
    "aurc": selective_balanced.weighted_balanced_aurc,
    "augrc": selective_balanced.weighted_balanced_augrc,
    "risk at coverage": lambda e, c, t, w, **o: (
        selective_balanced.weighted_balanced_risk_at_coverage(e, c, t, w, coverage=0.6, **o)
    ),
    "coverage at risk": lambda e, c, t, w, **o: (
        selective_balanced.weighted_coverage_at_balanced_risk(e, c, t, w, max_risk=0.3, **o)
    ),
}
UNBALANCED: dict[str, Any] = {
    "aurc": selective.weighted_aurc,
    "augrc": selective.weighted_augrc,
    "risk at coverage": lambda e, c, w: selective.weighted_risk_at_coverage(e, c, w, coverage=0.6),
    "coverage at risk": lambda e, c, w: selective.weighted_coverage_at_risk(e, c, w, max_risk=0.3),
}
EVERY_METRIC = pytest.mark.parametrize("name", BALANCED)


def columns(rows: Rows) -> tuple[NDArray[Any], ...]:
    confidence, errors, targets, counts = (np.array(column) for column in zip(*rows, strict=True))
    return errors, confidence, targets, counts


def ones(n: int) -> NDArray[Any]:
    return np.ones((1, n), dtype=np.uint16)


def same(first: Any, second: Any) -> None:
    np.testing.assert_allclose(first, second, rtol=0, atol=1e-9)


@EVERY_METRIC
@given(rows=ROWS)
def test_a_weight_is_a_number_of_copies(name: str, rows: Rows) -> None:
    *sample, counts = columns(rows)
    copies = [np.repeat(column, counts) for column in sample]
    weighted = BALANCED[name](*sample, counts[None], classes=CLASSES)
    same(weighted, BALANCED[name](*copies, ones(counts.sum()), classes=CLASSES))


@EVERY_METRIC
@given(rows=ROWS, seed=st.integers(0, 99))
def test_the_order_of_rows_is_nothing(name: str, rows: Rows, seed: int) -> None:
    *sample, counts = columns(rows)
    order = np.random.default_rng(seed).permutation(len(counts))
    shuffled = BALANCED[name](*(column[order] for column in sample), counts[order][None])
    same(shuffled, BALANCED[name](*sample, counts[None]))


@EVERY_METRIC
@given(rows=ROWS)
def test_only_the_order_of_confidence_counts(name: str, rows: Rows) -> None:
    errors, confidence, targets, counts = columns(rows)
    stretched = np.exp(3 * confidence) - 9
    for metric, sample in ((BALANCED, (targets,)), (UNBALANCED, ())):
        once = metric[name](errors, confidence, *sample, counts[None])
        same(once, metric[name](errors, stretched, *sample, counts[None]))


@EVERY_METRIC
@given(rows=ROWS)
def test_the_names_of_classes_are_nothing(name: str, rows: Rows) -> None:
    errors, confidence, targets, counts = columns(rows)
    renamed = np.array([5, -1, 3])[targets]
    once = BALANCED[name](errors, confidence, targets, counts[None])
    same(once, BALANCED[name](errors, confidence, renamed, counts[None]))


@EVERY_METRIC
@given(rows=ROWS)
def test_values_are_shares_or_undefined(name: str, rows: Rows) -> None:
    *sample, counts = columns(rows)
    (value,) = BALANCED[name](*sample, counts[None])
    complete = set(sample[2][counts > 0].tolist()) == set(sample[2].tolist())
    assert math.isnan(value) != complete
    assert math.isnan(value) or -1e-12 <= value <= 1 + 1e-9


@EVERY_METRIC
@given(rows=ROWS)
def test_one_class_is_the_unbalanced_form(name: str, rows: Rows) -> None:
    errors, confidence, _, counts = columns(rows)
    balanced = BALANCED[name](errors, confidence, np.full(len(errors), 4), counts[None])
    same(balanced, UNBALANCED[name](errors, confidence, counts[None]))


@pytest.mark.parametrize("name", ["risk at coverage", "coverage at risk"])
@given(rows=ROWS)
def test_points_of_the_curve_know_no_sample_size(name: str, rows: Rows) -> None:
    *sample, counts = columns(rows)
    once, thrice = BALANCED[name](*sample, np.stack([counts, 3 * counts]))
    same(once, thrice)


@given(rows=ROWS)
def test_areas_of_copies_tend_to_a_limit_from_the_sample(rows: Rows) -> None:
    # Copies add between the points of the curve, no further than the step of one case.
    errors, confidence, targets, _ = columns(rows)
    once = selective_balanced.balanced_augrc(errors, confidence, targets)
    (thrice,) = selective_balanced.weighted_balanced_augrc(
        errors, confidence, targets, 3 * ones(len(errors))
    )
    full = selective_balanced.balanced_risk_at_coverage(errors, confidence, targets, coverage=1.0)
    # Each step of a generalised curve is replaced by its thirds: 1/3 of full/n less.
    assert once - thrice == pytest.approx(full / (3 * len(errors)), abs=1e-9)


@given(rows=ROWS)
def test_classes_of_one_size_make_augrc_the_unbalanced_one(rows: Rows) -> None:
    # Balanced AURC is not the same even then: who is kept need not be balanced.
    errors, confidence, _, _ = columns(rows)
    targets = np.repeat(CLASSES, len(errors))
    errors = np.r_[errors, ~errors, errors[::-1]]
    confidence = np.r_[confidence, confidence / 2, confidence]
    balanced = selective_balanced.balanced_augrc(errors, confidence, targets)
    assert balanced == pytest.approx(selective.augrc(errors, confidence), abs=1e-9)
    at_full = selective_balanced.balanced_risk_at_coverage(
        errors, confidence, targets, coverage=1.0
    )
    assert at_full == pytest.approx(errors.mean())


@given(rows=ROWS)
def test_balanced_augrc_is_the_mean_of_an_identity_by_class(rows: Rows) -> None:
    # Σ over errors i of (cases behind i, half of its ties and itself) = n (1 - coverage at i)...:
    # for one class it is err_c times 1 minus the mean rank of its errors among all cases.
    errors, confidence, targets, _ = columns(rows)
    n, shares = len(errors), []
    for c in np.unique(targets):
        wrong = confidence[errors & (targets == c)]
        ahead = (confidence > wrong[:, None]).sum(axis=1)
        tied = (confidence == wrong[:, None]).sum(axis=1)
        behind = n - ahead - tied + (tied + 1) / 2
        shares.append(behind.sum() / n / (targets == c).sum())
    assert selective_balanced.balanced_augrc(errors, confidence, targets) == pytest.approx(
        np.mean(shares)
    )


@given(rows=ROWS)
def test_areas_are_the_means_of_their_curve(rows: Rows) -> None:
    *sample, _ = columns(rows)
    curve = balanced_risk_coverage(*sample)
    assert selective_balanced.balanced_aurc(*sample) == pytest.approx(curve.selective_risk.mean())
    assert selective_balanced.balanced_augrc(*sample) == pytest.approx(
        curve.generalised_risk.mean()
    )
    assert curve.selective_risk[-1] == pytest.approx(curve.generalised_risk[-1])
    assert (np.diff(curve.n_classes) >= 0).all()
    assert (np.diff(curve.generalised_risk) >= -1e-12).all()


@given(rows=ROWS)
def test_keeping_everybody_is_balanced_accuracy(rows: Rows) -> None:
    errors, confidence, targets, _ = columns(rows)
    predicted = np.where(errors, (targets + 1) % 3, targets)
    present = np.unique(targets).tolist()
    accuracy = classification.balanced_accuracy_score(
        predicted, targets, n_classes=3, classes=present
    )
    at_full = selective_balanced.balanced_risk_at_coverage(
        errors, confidence, targets, coverage=1.0
    )
    assert at_full == pytest.approx(1 - accuracy)
    assert selective_balanced.balanced_aurc(
        errors, np.zeros(len(errors)), targets
    ) == pytest.approx(at_full)


@given(rows=ROWS)
def test_augrc_identity(rows: Rows) -> None:
    errors, confidence, _, _ = columns(rows)
    accuracy = 1 - errors.mean()
    ranked = ranking.auroc(confidence, ~errors) if 0 < accuracy < 1 else 1.0
    identity = (1 - ranked) * accuracy * (1 - accuracy) + (1 - accuracy) ** 2 / 2
    assert selective.augrc(errors, confidence) == pytest.approx(identity, abs=1 / len(errors))
