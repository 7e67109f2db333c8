"""Models that come trained are checked, scored and stored as they are."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from medaudit.core.errors import ModelError, ParamsError
from medaudit.core.findings import on_disk
from medaudit.model import network
from medaudit.model.compute import ComputeParams
from medaudit.model.prepared import Prepared
from medaudit.training import checkpoint, train_or_load
from medaudit.training.loop import Trained, TrainParams
from tests.unit.model.exported_samples import pt2

REPOSITORY = Path(__file__).parents[3]
CPU = torch.device("cpu")


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(2)
    model = network.create("test_resnet", 2, weights="none", dropout=0.0)
    path = tmp_path / "mine.pt"
    torch.save({f"module.{key}": value for key, value in as_timm(model).items()}, path)
    return path


def as_timm(model: network.AuditModel) -> dict[str, torch.Tensor]:
    head = {f"fc.{key[2:]}": value for key, value in model.head.state_dict().items()}
    return model.backbone.state_dict() | head


def take(prepared: Prepared, **values: object) -> Trained:
    params = TrainParams.model_validate(
        {"backbone": "test_resnet", "epochs": 0, "learning_rate": 1e-3} | values
    )
    return train_or_load.fit_or_load(
        prepared,
        params,
        compute=ComputeParams(),
        device=CPU,
        store=Path(),
        on_epoch=lambda _: None,
    )


def test_a_model_is_recorded_unchanged(
    prepared: Prepared, weights: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        trained = take(prepared, weights=str(weights))
    assert "outputs are taken as a, b, in this order" in caplog.text
    params = TrainParams(backbone="test_resnet", epochs=0, learning_rate=1e-3)
    network.save_model(
        trained.model, tmp_path / "m", card=train_or_load.model_card(prepared, params, trained)
    )
    held = network.load_model(tmp_path / "m")
    assert isinstance(held, network.AuditModel)
    given = torch.load(weights, weights_only=True)
    assert all(torch.equal(value, given[f"module.{k}"]) for k, value in as_timm(held).items())


def test_findings_of_epoch_0(prepared: Prepared, weights: Path) -> None:
    found = checkpoint.findings(take(prepared, weights=str(weights)), n_train=24, n_validation=12)
    assert (found.scalars["best_epoch"], found.scalars["epochs_run"]) == (0, 0)
    assert on_disk(found.scalars["train_loss"]) is None
    assert math.isfinite(found.scalars["validation_macro_auroc"])
    assert found.series["curves"][["epoch", "split"]].to_numpy().tolist() == [
        [0, "train"],
        [0, "validation"],
    ]


def test_channel_statistics_can_be_given(prepared: Prepared, weights: Path) -> None:
    other = {"mean": (0.1, 0.2, 0.3), "std": (0.5, 0.5, 0.5)}
    params = TrainParams(backbone="test_resnet", epochs=0, learning_rate=1e-3)
    trained = take(prepared, weights=str(weights), **other)
    card = train_or_load.model_card(prepared, params, trained)
    assert (card.mean, card.std) == tuple(other.values())
    assert trained.best.validation != take(prepared, weights=str(weights)).best.validation


def test_a_ranking_below_chance_is_pointed_out(
    prepared: Prepared, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The same head with its rows swapped ranks the other way round."""
    aurocs = []
    for turned in (False, True):
        torch.manual_seed(2)
        model = network.create("test_resnet", 2, weights="none", dropout=0.0)
        state = as_timm(model)
        if turned:
            state |= {key: state[key].flip(0) for key in ("fc.weight", "fc.bias")}
        torch.save(state, tmp_path / "w.pt")
        aurocs.append(take(prepared, weights=str(tmp_path / "w.pt")).best.validation["macro_auroc"])
    assert sum(aurocs) == pytest.approx(1)
    assert min(aurocs) < 0.5
    assert caplog.text.count("ranked below chance; check the order of the outputs") == 1


def test_a_head_of_more_outputs_says_what_to_name(prepared: Prepared, tmp_path: Path) -> None:
    model = network.create("test_resnet", 14, weights="none", dropout=0.0)
    torch.save(as_timm(model), tmp_path / "w.pt")
    message = r"found \(14, .*; name all 14 in the model's order in `data.labels`"
    with pytest.raises(ModelError, match=message):
        take(prepared, weights=str(tmp_path / "w.pt"))


@pytest.mark.parametrize(
    ("values", "gets"),
    [
        ({}, "x / 255 without normalisation"),
        ({"mean": (0.5, 0.5, 0.5)}, "x / 255 without train.std"),
        ({"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}, None),
    ],
)
def test_input_that_is_not_normalised_is_pointed_out(
    prepared: Prepared,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    values: dict[str, tuple[float, ...]],
    gets: str | None,
) -> None:
    file = pt2(tmp_path / "theirs.pt2")
    take(prepared, weights=str(file), outputs="logits", trust=True, **values)
    expected = f"{file} gets {gets}; set train.mean and train.std if it was trained with one"
    assert caplog.text.count(expected) == (gets is not None)
    assert caplog.text.count(" gets x / 255") == (gets is not None)


def test_nothing_to_verify(prepared: Prepared) -> None:
    with pytest.raises(ModelError, match="holds no trained head, so there is nothing to record"):
        take(prepared, weights="none")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weights": "m.onnx", "epochs": 3}, "m.onnx is an exported model, which cannot be train"),
        ({"weights": "m.pt2"}, "say whether the exported model gives `logits` or `probabilities`"),
        ({"weights": "m.pt", "outputs": "probabilities"}, "a backbone gives logits"),
    ],
)
def test_parameters_that_contradict_each_other(
    prepared: Prepared, values: dict[str, object], message: str
) -> None:
    with pytest.raises(ParamsError, match=message):
        take(prepared, **values)


@pytest.mark.slow
def test_the_stage_writes_model_card_and_metrics(
    multilabel_folder: Path, weights: Path, tmp_path: Path
) -> None:
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts/prepared").symlink_to(multilabel_folder)
    params = {"backbone": "test_resnet", "epochs": 0, "learning_rate": 0.1, "weights": str(weights)}
    sections = {
        "compute": {"threads": 1, "device": "cpu"},
        "train": params,
        "report": {"privacy": "open"},
    }
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(sections))
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    subprocess.run(
        [sys.executable, "-m", "stages.train"], cwd=tmp_path, env=environment, check=True
    )
    metrics = json.loads((tmp_path / "metrics/train.json").read_text())
    assert (metrics["best_epoch"], metrics["train_loss"]) == (0, None)
    assert json.loads((tmp_path / "artifacts/model/model.json").read_text())["kind"] == "backbone"
    assert (tmp_path / "artifacts/live").is_dir()
    assert "epoch,split,loss" in (tmp_path / "plots/train/curves.csv").read_text()
