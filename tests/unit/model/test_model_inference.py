import contextlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from medaudit.errors import DataError, ModelError, ParamsError
from medaudit.model import backbones, inference
from medaudit.model.backbones import AuditModel
from medaudit.model.cached import PredictionJob, PredictParams, cached_predictions, job_key
from medaudit.model.card import ModelCard
from medaudit.model.compute import ComputeParams
from medaudit.model.forward import Feed
from medaudit.model.prepared import Prepared, read_prepared
from medaudit.model.training.params import TrainParams
from medaudit.params import Section, parse
from medaudit.tables.conditions import Condition

CLEAN, NOISE = Condition.clean(), Condition("gaussian_noise", 2)
FEED = Feed(batch_size=4, loader_threads=2, device=torch.device("cpu"))


def make_card(*, image_size: int) -> ModelCard:
    third = (0.5, 0.5, 0.5)
    return ModelCard(
        "test_resnet", "multiclass", ("a", "b"), image_size, dropout=0.5, mean=third, std=third
    )


@pytest.fixture(scope="module")
def model() -> AuditModel:
    torch.manual_seed(0)
    return backbones.create("test_resnet", 2, weights="none", dropout=0.5).eval()


@pytest.fixture(scope="module")
def model_folder(model: AuditModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    card = make_card(image_size=32)
    backbones.save(model, folder, card=card)
    return folder


@pytest.mark.parametrize("condition", [CLEAN, NOISE])
def test_predictions_do_not_depend_on_order(
    model: AuditModel, prepared: Prepared, condition: Condition
) -> None:
    positions = prepared.positions(["test", "calibration"])
    order = np.random.default_rng(0).permutation(len(positions))

    def predict(chosen: np.ndarray) -> np.ndarray:
        done = inference.predict(model, prepared, chosen, condition=condition, seed=1, feed=FEED)
        return done.logits

    assert np.allclose(predict(positions)[order], predict(positions[order]), atol=1e-6)


def test_logits_are_the_head_of_the_features(model: AuditModel, prepared: Prepared) -> None:
    positions = prepared.positions(["test"])
    done = inference.predict(model, prepared, positions, condition=CLEAN, seed=1, feed=FEED)
    x = torch.from_numpy(prepared.reader.take(positions)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        assert np.allclose(done.logits, model(x).numpy(), atol=1e-5)
        assert np.allclose(done.logits, model.head(torch.from_numpy(done.features)), atol=1e-6)


def test_table_carries_rows_and_provenance(model: AuditModel, prepared: Prepared) -> None:
    table = inference.predict_table(
        model,
        prepared,
        prepared.positions(["test"]),
        condition=NOISE,
        seed=1,
        feed=FEED,
        provenance={"weights": "abc"},
    )
    test = prepared.manifest[prepared.manifest["role"] == "test"]
    assert table.sample_ids == test["sample_id"].tolist()
    assert table.targets.tolist() == test["target"].tolist()
    assert table.logits.shape == (1, len(test), 2)
    assert table.embeddings is not None
    assert "sex" in table.rows
    assert table.provenance == {
        "predictor": "plain",
        "engine": "eager",
        "dtype": "float32",
        "device": "cpu",
        "weights": "abc",
    }


def make_job(model_folder: Path, prepared_folder: Path) -> PredictionJob:
    return PredictionJob(
        kind="stress",
        model_folder=model_folder,
        prepared_folder=prepared_folder,
        roles=("test",),
        params=PredictParams(batch_size=4),
        compute=ComputeParams(),
        embeddings=False,
    )


CACHED = """
import sys
from pathlib import Path
from medaudit.model.cached import PredictionJob, PredictParams, cached_predictions
from medaudit.model.compute import ComputeParams
from medaudit.tables.conditions import Condition
model, prepared, root = map(Path, sys.argv[1:])
job = PredictionJob(
    kind="stress", model_folder=model, prepared_folder=prepared, roles=("test",),
    params=PredictParams(batch_size=4), compute=ComputeParams(), embeddings=False,
)
names = ("clean", "gaussian_noise-2")
tables = list(cached_predictions(job, [Condition.parse(n) for n in names], root=root))
assert [t.condition.name for t in tables] == list(names)
assert "torch" not in sys.modules, "torch was imported although everything is cached"
"""


def test_finished_conditions_are_kept_and_read_back_without_torch(
    model_folder: Path, prepared_folder: Path, tmp_path: Path
) -> None:
    job = make_job(model_folder, prepared_folder)
    with contextlib.closing(cached_predictions(job, [CLEAN, NOISE], root=tmp_path)) as running:
        clean = next(running)  # as if the process ended here
    (file,) = tmp_path.glob("stress-*/*.parquet")
    assert file.name == "clean.parquet"
    stamp = file.stat().st_mtime_ns

    tables = list(cached_predictions(job, [CLEAN, NOISE], root=tmp_path))
    assert np.array_equal(tables[0].logits, clean.logits)
    assert not np.array_equal(tables[1].logits, clean.logits)
    assert tables[1].embeddings is None
    assert file.stat().st_mtime_ns == stamp

    arguments = [str(model_folder), str(prepared_folder), str(tmp_path)]
    subprocess.run([sys.executable, "-c", CACHED, *arguments], check=True)


def test_the_key_covers_weights_rows_and_params(
    model_folder: Path, prepared_folder: Path, tmp_path: Path
) -> None:
    job = make_job(model_folder, prepared_folder)
    keys = {
        job_key(job),
        job_key(replace(job, roles=("calibration",))),
        job_key(replace(job, params=PredictParams(batch_size=5))),
        job_key(replace(job, params=PredictParams(batch_size=4, seed=1))),
        job_key(replace(job, compute=ComputeParams(threads=1))),
        job_key(replace(job, embeddings=True)),
    }
    assert len(keys) == 6
    assert job_key(replace(job, compute=ComputeParams(loader_threads=4))) == job_key(job)
    with pytest.raises(ModelError, match="run the train stage first"):
        job_key(replace(job, model_folder=tmp_path))


def test_unreadable_predictions_are_made_again(
    model_folder: Path, prepared_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = make_job(model_folder, prepared_folder)
    (first,) = cached_predictions(job, [CLEAN], root=tmp_path)
    (file,) = tmp_path.glob("stress-*/*.parquet")
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    (again,) = cached_predictions(job, [CLEAN], root=tmp_path)
    assert np.array_equal(first.logits, again.logits)
    assert file.read_bytes() == whole
    assert "predicting again" in caplog.text


def test_a_model_for_other_data_is_refused(
    model: AuditModel, prepared_folder: Path, tmp_path: Path
) -> None:
    card = make_card(image_size=64)
    backbones.save(model, tmp_path / "model", card=card)
    job = make_job(tmp_path / "model", prepared_folder)
    with pytest.raises(ModelError, match=r"at 64 pixels, but .* at 32; run the train stage again"):
        list(cached_predictions(job, [CLEAN], root=tmp_path))


def test_a_job_without_prepared_data_names_the_stage(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"manifest\.parquet: not found; run the prepare stage"):
        job_key(make_job(model_folder, tmp_path))


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (ComputeParams, {"threads": 257}),
        (ComputeParams, {"loader_threads": 257}),
        (TrainParams, {"backbone": "a", "epochs": 1, "learning_rate": 1.0, "seed": 2**63}),
    ],
)
def test_numbers_that_torch_cannot_take_are_refused(
    section: type[Section], values: dict[str, object]
) -> None:
    with pytest.raises(ParamsError, match="less than or equal to"):
        parse(section, {section.section: values}, source=Path("params.yaml"))


def test_prepared_folder_that_is_not_one(tmp_path: Path, prepared: Prepared) -> None:
    with pytest.raises(DataError, match=r"manifest\.parquet: not found; run the prepare stage"):
        read_prepared(tmp_path)
    with pytest.raises(DataError, match="no row has the role exam"):
        prepared.positions(["test", "exam"])
