"""The objective of labels that do not exclude each other, and what leaves a model trained by it."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.special import expit

from medaudit.core.errors import DataError
from medaudit.model import inference, network
from medaudit.model.compute import ComputeParams
from medaudit.model.prepared import Prepared
from medaudit.training import loop, objectives, train_or_load
from medaudit.training.loop import Trained, TrainParams, mixup
from medaudit.training.objectives import MAX_WEIGHT

MULTILABEL = objectives.get("multilabel")
CPU = torch.device("cpu")
LOADER = inference.LoaderConfig(batch_size=8, loader_threads=1, device=CPU)
BASE = TrainParams(
    backbone="test_resnet",
    epochs=3,
    batch_size=8,
    learning_rate=3e-3,
    mixup=0.2,
    label_smoothing=0.1,
    class_weights="balanced",
    precision="fp32",
)


def make(prepared: Prepared, store: Path, params: TrainParams) -> Trained:
    store.mkdir(exist_ok=True)
    return train_or_load.fit_or_load(
        prepared, params, compute=ComputeParams(), device=CPU, store=store, on_epoch=lambda _: None
    )


def test_smoothed_targets() -> None:
    # s = 0.2: yes becomes 0.8 + 0.1, no becomes 0.1
    encoded = MULTILABEL.encode(np.array([[1, 0, 1]]), n_outputs=3, smoothing=0.2)
    assert encoded[0].tolist() == pytest.approx([0.9, 0.1, 0.9])


def test_loss_by_hand() -> None:
    # z = 0, w = 3, so q = sigmoid(ln 3) = 3/4.  y = 1 costs -3 ln 3/4, y = 0 costs -ln 1/4
    y = torch.tensor([[1.0, 0.0]])
    loss = MULTILABEL.loss(torch.zeros(1, 2), y, weights=torch.tensor([3.0, 3.0]))
    assert loss.item() == pytest.approx((-3 * np.log(3 / 4) - np.log(1 / 4)) / 2, abs=1e-6)


def test_mixed_loss_is_the_mixture_of_losses() -> None:
    logits, weights = torch.tensor([[2.0, -1.0], [0.5, 0.0]]), torch.tensor([2.0, 5.0])
    y = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    rng = np.random.default_rng(1)
    _, mixed = mixup(torch.zeros(2, 3, 4, 4), y, alpha=0.4, rng=rng)
    reference = np.random.default_rng(1)
    share, order = reference.beta(0.4, 0.4), reference.permutation(2)
    parts = [
        MULTILABEL.loss(logits, each, weights=weights) for each in (y, y[torch.from_numpy(order)])
    ]
    whole = MULTILABEL.loss(logits, mixed, weights=weights)
    assert whole.item() == pytest.approx((share * parts[0] + (1 - share) * parts[1]).item())


@pytest.mark.parametrize(("kind", "expected"), [("none", 1.0), ("sqrt", 3.0), ("balanced", 9.0)])
def test_weights_by_hand(kind: str, expected: float) -> None:
    # 2 of 20 are positive: 18 / 2 = 9
    targets = np.zeros((20, 1), dtype=np.int64)
    targets[:2] = 1
    weights = MULTILABEL.weights(targets, classes=("edema",), kind=kind)
    assert weights.tolist() == [pytest.approx(expected)]


def test_weights_have_a_limit_and_the_shift_knows_it(caplog: pytest.LogCaptureFixture) -> None:
    targets = np.zeros((1000, 1), dtype=np.int64)
    targets[0] = 1  # 999 to 1
    with caplog.at_level(logging.INFO):
        weights = MULTILABEL.weights(targets, classes=("hernia",), kind="balanced")
    assert weights.tolist() == [MAX_WEIGHT]
    assert "cut to 100 for hernia" in caplog.text
    shift = MULTILABEL.logit_shift(weights)
    assert shift is not None
    assert shift.item() == pytest.approx(np.log(100))


@pytest.mark.parametrize(("value", "what"), [(0, "positive"), (1, "negative")])
def test_a_label_that_training_never_or_always_sees_is_named(value: int, what: str) -> None:
    targets = np.array([[0, value], [1, value]])
    with pytest.raises(DataError, match=f"no {what} training image of edema"):
        MULTILABEL.weights(targets, classes=("effusion", "edema"), kind="none")


def test_probabilities_that_leave_the_model_are_those_of_the_data() -> None:
    """Logistic regression on one feature, 15 % positives that weigh 5.7 times as much."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=4000)
    y = (rng.random(4000) < expit(1.5 * x - 2.3)).astype(np.int64)[:, None]
    weights = MULTILABEL.weights(y, classes=("edema",), kind="balanced")
    encoded = MULTILABEL.encode(y, n_outputs=1, smoothing=0.0)
    features = torch.from_numpy(x).float()[:, None]

    model = torch.nn.Linear(1, 1)
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=100)

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = MULTILABEL.loss(model(features), encoded, weights=weights)
        loss.backward()
        return loss

    optimizer.step(closure)
    logits = model(features).detach().numpy()
    prevalence = y.mean()
    assert expit(logits).mean() == pytest.approx(prevalence, abs=0.01)
    shift = MULTILABEL.logit_shift(weights)
    assert shift is not None
    assert expit(logits + shift.numpy()).mean() > prevalence + 0.2
    assert model.bias.item() == pytest.approx(-2.3, abs=0.2)


def test_validation_scores_by_hand() -> None:
    # red: p = .9 .4 .2 .3 against 1 1 0 0: AUROC 1, AP 1; called 1 0 0 0: F1 2/3, recalls 1/2 and 1
    # blue: p = .8 .6 .4 .2 against 0 1 0 0: AUROC 2/3, AP 1/2; called 1 1 0 0: F1 2/3, 1 and 2/3
    # none: nobody has it, so it stands in the loss alone
    p = np.array([[0.9, 0.8, 0.1], [0.4, 0.6, 0.1], [0.2, 0.4, 0.1], [0.3, 0.2, 0.1]])
    y = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 0, 0]])
    scores = MULTILABEL.validation_scores(np.log(p / (1 - p)), y)
    truth = [0.9, 0.4, 0.8, 0.7, 0.2, 0.6, 0.6, 0.8, 0.9, 0.9, 0.9, 0.9]
    assert scores["loss"] == pytest.approx(-np.log(truth).mean())
    assert scores["macro_auroc"] == pytest.approx((1 + 2 / 3) / 2)
    assert scores["macro_auprc"] == pytest.approx((1 + 1 / 2) / 2)
    assert scores["macro_f1"] == pytest.approx(2 / 3)
    assert scores["balanced_accuracy"] == pytest.approx((3 / 4 + 5 / 6) / 2)
    assert MULTILABEL.undefined(y, classes=("red", "blue", "none")) == ["none"]


def test_without_any_label_to_rank_the_means_are_undefined() -> None:
    scores = MULTILABEL.validation_scores(np.zeros((3, 1)), np.zeros((3, 1), dtype=np.int64))
    assert scores["loss"] == pytest.approx(np.log(2))
    assert all(np.isnan(value) for name, value in scores.items() if name != "loss")


def test_labels_are_learnt_and_the_card_notes_the_shift(
    multilabel: Prepared, tmp_path: Path
) -> None:
    trained = make(multilabel, tmp_path / "store", BASE)
    losses = [record.train_loss for record in trained.history]
    assert losses[-1] < 0.9 * losses[0]
    assert trained.best.validation["macro_auroc"] > 0.8
    card = train_or_load.model_card(multilabel, BASE, trained)
    truth = multilabel.targets(multilabel.positions(["train"]))
    ratios = (1 - truth.mean(axis=0)) / truth.mean(axis=0)
    assert card.logit_shift == pytest.approx(np.log(ratios), abs=1e-5)
    network.save_model(trained.model, tmp_path / "model", card=card)
    again = network.load_model(tmp_path / "model")
    assert objectives.validation_scores(again, multilabel, loader=LOADER) == pytest.approx(
        trained.best.validation
    )


def test_a_new_head_begins_where_unshifted_training_would(multilabel: Prepared) -> None:
    shift, images = torch.tensor([0.7, 1.9]), multilabel.reader.take(np.arange(3))
    torch.manual_seed(4)
    shifted = loop.new_model(multilabel, BASE, shift).on(CPU).predict(images).logits
    torch.manual_seed(4)
    plain = loop.new_model(multilabel, BASE, None).on(CPU).predict(images).logits
    assert shifted + shift.numpy() == pytest.approx(plain, abs=1e-5)


def test_equal_weights_leave_no_shift_to_note(multilabel: Prepared, tmp_path: Path) -> None:
    params = BASE.model_copy(update={"class_weights": "none", "epochs": 1})
    assert make(multilabel, tmp_path / "store", params).logit_shift is None


@pytest.mark.parametrize("metric", ["macro_auprc", "macro_f1", "balanced_accuracy", "loss"])
def test_every_validation_metric_can_choose(
    multilabel: Prepared, tmp_path: Path, metric: str
) -> None:
    params = BASE.model_copy(update={"validation_metric": metric, "epochs": 1})
    assert make(multilabel, tmp_path / "store", params).best_epoch == 1


def test_a_label_that_the_validation_role_lacks_is_named(
    multilabel: Prepared, caplog: pytest.LogCaptureFixture
) -> None:
    manifest = multilabel.manifest
    blue = np.stack(manifest["target"].to_numpy())[:, 1] == 1
    moved = manifest.assign(
        role=manifest["role"].mask(blue & (manifest["role"] == "validation"), "test")
    )
    objectives.warn_of_gaps(Prepared(**{**vars(multilabel), "manifest": moved}))
    assert "blue left out of mean scores" in caplog.text


@pytest.mark.slow
def test_a_densenet_takes_a_step(multilabel: Prepared, tmp_path: Path) -> None:
    """The recipe of the usual chest X-ray models."""
    params = TrainParams(
        backbone="densenet121",
        dropout=0.2,
        epochs=1,
        batch_size=16,
        learning_rate=1e-4,
        class_weights="balanced",
        seed=1337,
    )
    first16 = np.flatnonzero(multilabel.manifest["role"] == "train")[:16]
    kept = np.isin(np.arange(64), first16) | (multilabel.manifest["role"] != "train").to_numpy()
    manifest = multilabel.manifest.assign(role=multilabel.manifest["role"].where(kept, "spare"))
    trained = make(
        Prepared(**{**vars(multilabel), "manifest": manifest}), tmp_path / "store", params
    )
    assert np.isfinite(trained.best.train_loss)
