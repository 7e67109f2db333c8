"""Exported models on their way through the stages."""

from pathlib import Path

import pytest
from scipy.special import expit, softmax

from medaudit.cases.intervention_runner import InterventionRunner, open_runner
from medaudit.model import network
from medaudit.model.compute import ComputeParams
from medaudit.model.predictions import PredictionJob, PredictParams, cached_predictions
from medaudit.model.prepared import Prepared
from medaudit.tables import tasks
from medaudit.tables.predictions import Condition
from medaudit.training import checkpoint, train_or_load
from medaudit.training.loop import TrainParams
from tests.unit.model.exported_samples import (
    CARD,
    CPU,
    expected_logits,
    in_process,
    onnx_file,
    pt2,
    read,
)

__all__ = ["in_process"]
pytestmark = pytest.mark.usefixtures("in_process")


@pytest.mark.parametrize("suffix", ["pt2", "onnx"])
def test_from_parameters_to_predictions(
    prepared: Prepared,
    prepared_folder: Path,
    tmp_path: Path,
    suffix: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Verified, stored as the same bytes, loaded, predicted under a condition, told apart."""
    make = pt2 if suffix == "pt2" else onnx_file
    source = make(tmp_path / f"theirs.{suffix}")
    params = TrainParams(
        backbone="theirs",
        weights=str(source),
        outputs="logits",
        mean=CARD.mean,
        std=CARD.std,
        epochs=0,
        learning_rate=1.0,
        trust=True,
    )
    compute = ComputeParams(threads=1, device="cpu")
    key = train_or_load.key(prepared, params, compute=compute, device=CPU)
    assert key != train_or_load.key(
        prepared, TrainParams(**{**vars(params), "std": None}), compute=compute, device=CPU
    )
    trained = train_or_load.fit_or_load(
        prepared, params, compute=compute, device=CPU, store=tmp_path, on_epoch=lambda _: None
    )
    folder = tmp_path / "model"
    network.save_model(
        trained.model, folder, card=train_or_load.model_card(prepared, params, trained)
    )
    assert (folder / f"model.{suffix}").read_bytes() == source.read_bytes()
    assert checkpoint.findings(trained, n_train=1, n_validation=1).scalars["n_parameters"] is None

    assert key == train_or_load.key(
        prepared, TrainParams(**{**vars(params), "trust": False}), compute=compute, device=CPU
    )
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("train: {trust: true}")
    job = PredictionJob(
        stage="evaluate",
        model_folder=folder,
        prepared_folder=prepared_folder,
        roles=("test",),
        params=PredictParams(batch_size=4),
        compute=compute,
    )
    (table,) = cached_predictions(job, [Condition.clean()], root=tmp_path / "resume")
    images = prepared.reader.take(prepared.positions(["test"]))
    assert table.logits[0] == pytest.approx(expected_logits(images), abs=1e-5)
    assert table.embeddings is None
    engine = {"pt2": "torch.export", "onnx": "onnxruntime"}[suffix]
    assert (table.provenance["engine"], table.provenance["backbone"]) == (engine, "theirs")


@pytest.fixture
def lab(
    prepared_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> InterventionRunner:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("train: {trust: true}")
    model = read(pt2(tmp_path / "m.pt2"))
    network.save_model(model, tmp_path / "model", card=model.card)
    compute = ComputeParams(threads=1, device="cpu")
    return open_runner(tmp_path / "model", prepared_folder, PredictParams(), compute)


def test_cases_without_saliency(
    lab: InterventionRunner, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Edits and pictures are there, maps and numbers about them are not, and it is said why."""
    subjects = lab.samples(["s000", "s001"])
    trials, logits = lab.try_edits(subjects, label="test")
    assert logits.shape == (1, len(trials), 2)
    assert lab.focus_table(subjects, [0, 1])["cam_energy"].isna().all()
    drawn = lab.draw(
        "s000",
        Condition.clean(),
        classes={"predicted": 0, "true": 1},
        cited="mirrored",
        stem=tmp_path / "1",
    )
    assert set(drawn.images) == {"image", "counterfactual"}
    assert set(drawn.focus) == {"lesion_share"}
    reason = "an exported model shows neither features nor gradients"
    assert lab.no_saliency == reason
    assert caplog.text.count(reason) == 1


def test_verified_cases_state_the_stored_probabilities(lab: InterventionRunner) -> None:
    image = lab.samples(["s000"])[0].image
    p = softmax(expected_logits(image[None]), axis=1)[0]
    logits = lab.model.predict(image[None]).logits
    assert expit(logits).shape == (1, 1, 2)
    own = tasks.get("multiclass").probabilities(logits)[0]
    assert own == pytest.approx(p, abs=1e-5)
    assert lab.verified("s000", Condition.clean(), probabilities=p).sample_id == "s000"
