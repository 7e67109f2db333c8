import contextlib
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import model_files
import numpy as np
import pytest
import torch
from damage import mutated
from scipy.special import softmax

from medaudit.core.errors import DataError, ModelError, ParamsError
from medaudit.core.params import Section, parse
from medaudit.model import inference, network, predictions
from medaudit.model.compute import ComputeParams
from medaudit.model.inference import ImageModel, Images, LoaderConfig, Outputs
from medaudit.model.model_config import ModelCard, weights_digest
from medaudit.model.network import AuditModel
from medaudit.model.predictions import (
    PredictionJob,
    PredictParams,
    by_predictor,
    cached_predictions,
    condition_key,
)
from medaudit.model.predictors import PREDICTORS, plain
from medaudit.model.prepared import Prepared, read_prepared
from medaudit.tables import predictions as predictions_module
from medaudit.tables import tasks
from medaudit.tables.manifest import write_manifest
from medaudit.tables.predictions import Condition
from medaudit.training.loop import TrainParams

CLEAN, NOISE = Condition.clean(), Condition("gaussian_noise", 2)
LOADER = LoaderConfig(batch_size=4, loader_threads=2, device=torch.device("cpu"))


def make_card(*, image_size: int) -> ModelCard:
    third = (0.5, 0.5, 0.5)
    return ModelCard(
        "test_resnet", "multiclass", ("a", "b"), image_size, dropout=0.5, mean=third, std=third
    )


@pytest.fixture(scope="module")
def model() -> AuditModel:
    torch.manual_seed(0)
    return network.create("test_resnet", 2, weights="none", dropout=0.5).eval()


@pytest.fixture(scope="module")
def model_folder(model: AuditModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    card = make_card(image_size=32)
    network.save_network(model, folder, card=card)
    return folder


def outputs(
    model: AuditModel, prepared: Prepared, positions: np.ndarray, condition: Condition
) -> Outputs:
    return inference.predict(
        model, prepared, positions, predictor=plain, condition=condition, seed=1, loader=LOADER
    )


@pytest.mark.parametrize("condition", [CLEAN, NOISE])
def test_predictions_do_not_depend_on_order(
    model: AuditModel, prepared: Prepared, condition: Condition
) -> None:
    positions = prepared.positions(["test", "calibration"])
    order = np.random.default_rng(0).permutation(len(positions))

    def predict(chosen: np.ndarray) -> np.ndarray:
        return outputs(model, prepared, chosen, condition).logits

    assert np.allclose(predict(positions)[:, order], predict(positions[order]), atol=1e-6)


def test_logits_are_the_head_of_the_features(model: AuditModel, prepared: Prepared) -> None:
    positions = prepared.positions(["test"])
    done = outputs(model, prepared, positions, CLEAN)
    assert done.logits.shape == (1, len(positions), 2)
    x = torch.from_numpy(prepared.reader.take(positions)).permute(0, 3, 1, 2)
    with torch.inference_mode():
        assert np.allclose(done.logits, model(x).numpy(), atol=1e-5)
        assert np.allclose(done.logits[0], model.head(torch.from_numpy(done.features)), atol=1e-6)


def make_job(model_folder: Path, prepared_folder: Path) -> PredictionJob:
    return PredictionJob(
        stage="stress",
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
from medaudit.model.predictions import PredictionJob, PredictParams, cached_predictions
from medaudit.model.compute import ComputeParams
from medaudit.tables.predictions import Condition
model, prepared, root = map(Path, sys.argv[1:])
job = PredictionJob(
    stage="stress", model_folder=model, prepared_folder=prepared, roles=("test",),
    params=PredictParams(batch_size=4), compute=ComputeParams(), embeddings=False,
)
names = ("clean", "gaussian_noise-2")
tables = list(cached_predictions(job, [Condition.parse(n) for n in names], root=root))
assert [t.condition.name for t in tables] == list(names)
assert "torch" not in sys.modules, "torch was imported although everything is cached"
"""


def stored(root: Path) -> list[Path]:
    return sorted((root / "predictions").glob("*.npz"))


def test_table_carries_rows_and_provenance(
    model_folder: Path, prepared: Prepared, tmp_path: Path
) -> None:
    job = replace(make_job(model_folder, prepared.folder), embeddings=True)
    (table,) = cached_predictions(job, [NOISE], root=tmp_path)
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
        "backbone": "test_resnet",
        "weights": weights_digest(model_folder),
    }


def test_finished_conditions_are_kept_and_read_back_without_torch(
    model_folder: Path, prepared_folder: Path, tmp_path: Path
) -> None:
    job = make_job(model_folder, prepared_folder)
    with contextlib.closing(cached_predictions(job, [CLEAN, NOISE], root=tmp_path)) as running:
        clean = next(running)  # as if the process ended here
    (file,) = stored(tmp_path)
    assert file.name.startswith("plain-clean-")
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
    def key(job: PredictionJob, condition: Condition = NOISE) -> str:
        return condition_key(job, "plain", condition)

    job = make_job(model_folder, prepared_folder)
    found = {
        key(job),
        key(job, CLEAN),
        key(job, replace(NOISE, severity=3)),
        key(job, Condition("jpeg", 2)),
        key(replace(job, roles=("calibration",))),
        key(replace(job, params=PredictParams(batch_size=5))),
        key(replace(job, params=PredictParams(batch_size=4, seed=1))),
        key(replace(job, compute=ComputeParams(threads=1))),
        key(replace(job, embeddings=True)),
    }
    assert len(found) == 9
    assert key(replace(job, compute=ComputeParams(loader_threads=4))) == key(job)
    assert key(replace(job, stage="evaluate")) == key(job)
    with pytest.raises(ModelError, match="run the train stage first"):
        key(replace(job, model_folder=tmp_path))


def test_the_key_covers_pixels_and_ids_and_no_slice_column(
    model_folder: Path, prepared: Prepared, tmp_path: Path
) -> None:
    def key(change: str) -> str:
        folder = tmp_path / change
        shutil.copytree(prepared.folder, folder)
        if change == "pixel":
            shard = folder / "pixels/00000.npy"
            images = np.load(shard)
            images[prepared.positions(["test"])[0], 0, 0, 0] ^= 1
            np.save(shard, images)
        elif change != "none":
            rows = prepared.manifest.copy()
            rows[change] = [f"z{value}" for value in rows[change]]
            write_manifest(rows, folder)
        return condition_key(make_job(model_folder, folder), "plain", CLEAN)

    found = {change: key(change) for change in ("none", "sex", "pixel", "sample_id")}
    assert found["none"] == found["sex"]
    assert len(set(found.values())) == 3


def three(model: ImageModel, images: Images, *, sample_ids: Sequence[str], seed: int) -> Outputs:
    """Three members: the logits, the logits with a draw by id, and twice the logits."""
    found = model.predict(images)
    draws = [np.random.default_rng([seed, *name.encode()]).normal() for name in sample_ids]
    moved = found.logits + np.array(draws, dtype=np.float32)[:, None] * np.float32([1, -1])
    return replace(found, logits=np.concatenate([found.logits, moved, 2 * found.logits]))


def test_a_predictor_of_three_members_flows_through(
    model_folder: Path, prepared_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From one function and one row to storage, tables and probabilities."""
    monkeypatch.setattr(predictions, "PREDICTORS", {**PREDICTORS, "three": three})
    params = PredictParams(batch_size=4, predictors=("plain", "three"))
    job = replace(make_job(model_folder, prepared_folder), params=params)
    tables, others = by_predictor(cached_predictions(job, [CLEAN, NOISE], root=tmp_path))
    assert [table.condition for table in tables] == [CLEAN, NOISE]
    assert [table.condition for table in others["three"]] == [CLEAN, NOISE]
    names = [file.name.rpartition("-")[0] for file in stored(tmp_path)]
    assert names == [
        "plain-clean",
        "plain-gaussian_noise-2",
        "three-clean",
        "three-gaussian_noise-2",
    ]

    one, many = tables[0], others["three"][0]
    assert many.provenance["predictor"] == "three"
    assert many.logits.shape == (3, len(one), 2)
    assert np.array_equal(many.logits[0], one.logits[0])
    assert not np.array_equal(many.logits[1], one.logits[0])
    assert np.array_equal(many.logits[2], 2 * one.logits[0])

    predictions_module.write(many, tmp_path / "three.parquet")
    back = predictions_module.read(tmp_path / "three.parquet")
    assert np.array_equal(back.logits, many.logits)
    found = tasks.get("multiclass").probabilities(back.logits)
    assert found == pytest.approx(softmax(many.logits.astype(float), axis=-1).mean(axis=0))

    others_batches = replace(job, params=params.model_copy(update={"batch_size": 3}))
    again = by_predictor(cached_predictions(others_batches, [CLEAN], root=tmp_path))[1]["three"]
    assert again[0].logits == pytest.approx(many.logits, abs=1e-5)


def test_predictors_are_known_by_name_and_plain_is_one_of_them() -> None:
    def read(*names: str) -> None:
        parse(PredictParams, {"predict": {"predictors": names}}, source=Path("params.yaml"))

    with pytest.raises(ParamsError, match=r"predict\.predictors.* 'plainn', did you mean 'plain'"):
        read("plainn")
    with pytest.raises(ParamsError, match="`plain` must be among"):
        read()
    with pytest.raises(ParamsError, match="plain stands twice"):
        read("plain", "plain")


def broken(model: ImageModel, images: Images, *, sample_ids: Sequence[str], seed: int) -> Outputs:
    """Logits that are no numbers."""
    found = model.predict(images)
    return replace(found, logits=found.logits * np.float32("nan"))


def test_outputs_that_are_no_numbers_are_not_kept(
    model_folder: Path, prepared_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions, "PREDICTORS", {**PREDICTORS, "broken": broken})
    params = PredictParams(batch_size=4, predictors=("plain", "broken"))
    job = replace(make_job(model_folder, prepared_folder), params=params)
    with pytest.raises(DataError, match="logits must be finite; not so for s"):
        list(cached_predictions(job, [CLEAN], root=tmp_path))
    assert [file.name.partition("-")[0] for file in stored(tmp_path)] == ["plain"]


def test_unreadable_predictions_are_made_again(
    model_folder: Path, prepared_folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    job = make_job(model_folder, prepared_folder)
    (first,) = cached_predictions(job, [CLEAN], root=tmp_path)
    (file,) = stored(tmp_path)
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
    network.save_network(model, tmp_path / "model", card=card)
    job = make_job(tmp_path / "model", prepared_folder)
    with pytest.raises(ModelError, match=r"at 64 pixels, but .* at 32; run the train stage again"):
        list(cached_predictions(job, [CLEAN], root=tmp_path))


def test_a_job_without_prepared_data_names_the_stage(model_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"manifest\.parquet: not found; run the prepare stage"):
        condition_key(make_job(model_folder, tmp_path), "plain", CLEAN)


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


def test_kept_predictions_that_are_damaged_anywhere_are_not_used(tmp_path: Path) -> None:
    whole = model_files.kept_predictions()
    path = tmp_path / "clean-0.npz"
    path.write_bytes(whole)
    assert predictions._at_hand(path) is not None
    for seed in range(200):
        path.write_bytes(mutated(whole, seed))
        found = predictions._at_hand(path)
        assert found is None or (found.logits == 0.5).all()
