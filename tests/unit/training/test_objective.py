import numpy as np
import pytest
import torch
from torch.nn import functional

from medaudit.core.errors import DataError
from medaudit.training import objectives
from medaudit.training.loop import mixup, rate_factor

MULTICLASS = objectives.get("multiclass")
ONES = torch.ones(3)


def test_smoothed_targets() -> None:
    # s = 0.3, k = 3: the truth gets 0.7 + 0.1, the others 0.1
    encoded = MULTICLASS.encode(np.array([1]), n_outputs=3, smoothing=0.3)
    assert encoded[0].tolist() == pytest.approx([0.1, 0.8, 0.1])


def test_loss_by_hand() -> None:
    # logits ln(1, 2, 1) give p = (.25, .5, .25); y = (.1, .8, .1):
    # -(.1 ln .25 + .8 ln .5 + .1 ln .25) = .8317766
    logits = torch.log(torch.tensor([[1.0, 2.0, 1.0]]))
    encoded = MULTICLASS.encode(np.array([1]), n_outputs=3, smoothing=0.3)
    loss = MULTICLASS.loss(logits, encoded, weights=ONES)
    assert loss.item() == pytest.approx(0.8317766, abs=1e-6)


def test_weighted_loss_by_hand() -> None:
    # uniform p over 2 classes: every sample costs w_y ln 2; weights 3 and 1 average 2 ln 2
    encoded = MULTICLASS.encode(np.array([0, 1]), n_outputs=2, smoothing=0.0)
    loss = MULTICLASS.loss(torch.zeros(2, 2), encoded, weights=torch.tensor([3.0, 1.0]))
    assert loss.item() == pytest.approx(2 * np.log(2), abs=1e-6)


def test_loss_agrees_with_torch_label_smoothing() -> None:
    logits, targets = torch.randn(20, 3), np.arange(20) % 3
    encoded = MULTICLASS.encode(targets, n_outputs=3, smoothing=0.2)
    theirs = functional.cross_entropy(logits, torch.from_numpy(targets), label_smoothing=0.2)
    assert torch.allclose(MULTICLASS.loss(logits, encoded, weights=ONES), theirs)


def test_mixed_loss_is_the_mixture_of_losses() -> None:
    logits = torch.tensor([[2.0, 0.0], [2.0, 0.0]])
    x, y = torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.eye(2)
    x[1] = 200
    rng = np.random.default_rng(1)
    mixed_x, mixed_y = mixup(x, y, alpha=0.4, rng=rng)
    reference = np.random.default_rng(1)
    share, order = reference.beta(0.4, 0.4), reference.permutation(2)
    other = y[torch.from_numpy(order)]
    assert torch.allclose(mixed_y, share * y + (1 - share) * other)
    # each row of targets still sums to 1, and images mix as the targets do: 200 = share of class 1
    assert torch.allclose(mixed_y.sum(1), torch.ones(2))
    assert torch.allclose(mixed_x[:, 0, 0, 0], 200 * mixed_y[:, 1])
    whole = MULTICLASS.loss(logits, mixed_y, weights=torch.ones(2))
    parts = [MULTICLASS.loss(logits, t, weights=torch.ones(2)) for t in (y, other)]
    assert whole.item() == pytest.approx((share * parts[0] + (1 - share) * parts[1]).item())


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        # counts 8 and 2, n / (k n_c) = 0.625 and 2.5; the mean over the ten samples is 1 already
        ("balanced", [0.625, 2.5]),
        # roots 0.790569 and 1.581139, mean over samples 0.948683
        ("sqrt", [0.833333, 1.666667]),
        ("none", [1.0, 1.0]),
    ],
)
def test_class_weights(kind: str, expected: list[float]) -> None:
    targets = np.array([0] * 8 + [1] * 2)
    weights = MULTICLASS.weights(targets, classes=("a", "b"), kind=kind)
    assert weights.tolist() == pytest.approx(expected, abs=1e-6)


def test_class_without_training_image_is_named() -> None:
    with pytest.raises(DataError, match="no training image of class mel"):
        MULTICLASS.weights(np.array([0, 0]), classes=("nv", "mel"), kind="none")


def test_validation_scores_by_hand() -> None:
    # decisions 0 0 1 0 against 0 0 1 1: recalls 1 and 1/2; F1 4/5 and 2/3
    # class 1 against the rest: positives score .9 and .4, negatives .2 and .3: AUROC 1
    p = np.array([0.2, 0.3, 0.9, 0.4])
    logits = np.log(np.stack([1 - p, p], axis=1))
    scores = MULTICLASS.validation_scores(logits, np.array([0, 0, 1, 1]))
    assert scores["balanced_accuracy"] == pytest.approx(0.75)
    assert scores["macro_f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert scores["macro_auroc"] == pytest.approx(1.0)
    assert scores["loss"] == pytest.approx(-np.log([0.8, 0.7, 0.9, 0.4]).mean())


def test_validation_auroc_of_one_class_is_undefined() -> None:
    scores = MULTICLASS.validation_scores(np.zeros((3, 2)), np.zeros(3, dtype=np.int64))
    assert np.isnan(scores["macro_auroc"])


def test_unknown_task_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="known: multiclass"):
        objectives.get("ranking")


def test_learning_rate_rises_then_falls_to_zero() -> None:
    def rate(done: float) -> float:
        return rate_factor(done, epochs=10, warmup=2)

    assert rate(1) == 0.5
    assert rate(2) == 1.0
    assert rate(6) == pytest.approx(0.5)
    assert rate(10) == pytest.approx(0.0)
