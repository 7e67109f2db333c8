import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from medaudit.core.errors import DataError
from medaudit.model import inference
from medaudit.model.compute import ComputeParams
from medaudit.model.prepared import Prepared, read_prepared, training_digest
from medaudit.training import checkpoint, loop, objectives, train_or_load
from medaudit.training.augment import AugmentParams
from medaudit.training.checkpoint import EpochRecord, Progress
from medaudit.training.loop import TrainParams

CPU = torch.device("cpu")
COMPUTE = ComputeParams()
BASE = TrainParams(
    backbone="test_resnet",
    epochs=3,
    batch_size=8,
    learning_rate=3e-3,
    mixup=0.2,
    label_smoothing=0.1,
    precision="fp32",
)


def fit(prepared: Prepared, store: Path, params: TrainParams, **others: object) -> loop.Trained:
    store.mkdir(exist_ok=True)
    compute = ComputeParams.model_validate(others)
    return loop.fit(
        prepared, params, compute=compute, device=CPU, store=store, on_epoch=lambda _: None
    )


def same(one: torch.nn.Module, two: torch.nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_toy_data_is_learnt_and_thread_count_of_the_loader_changes_nothing(
    prepared: Prepared, tmp_path: Path
) -> None:
    trained = fit(prepared, tmp_path / "one", BASE)
    losses = [record.train_loss for record in trained.history]
    assert losses[-1] < 0.8 * losses[0]
    assert trained.history[-1].validation["macro_auroc"] > 0.95
    assert not trained.model.training
    again = fit(prepared, tmp_path / "two", BASE, loader_threads=3)
    assert same(trained.model, again.model)
    assert trained.history == again.history


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_an_interrupted_run_ends_with_the_same_bits(
    prepared: Prepared, tmp_path: Path, ema: float
) -> None:
    params = BASE.model_copy(update={"ema": ema})
    whole = fit(prepared, tmp_path / "whole", params)

    def stop(record: EpochRecord) -> None:
        if record.epoch == 2:
            raise KeyboardInterrupt

    store = tmp_path / "parts"
    store.mkdir()
    with pytest.raises(KeyboardInterrupt):
        loop.fit(prepared, params, compute=COMPUTE, device=CPU, store=store, on_epoch=stop)
    seen: list[int] = []
    resumed = loop.fit(
        prepared,
        params,
        compute=COMPUTE,
        device=CPU,
        store=store,
        on_epoch=lambda record: seen.append(record.epoch),
    )
    assert seen == [1, 2, 3]
    assert same(whole.model, resumed.model)
    assert whole.history == resumed.history


def test_the_moving_average_follows_the_weights_and_their_statistics() -> None:
    model = torch.nn.BatchNorm1d(1)
    average = loop.moving_average(model, 0.5)
    for value in (8.0, 4.0, 0.0):
        torch.nn.init.constant_(model.weight, value)
        model.running_mean = torch.tensor([value])
        model.num_batches_tracked = torch.tensor(int(value))
        average.update_parameters(model)
    # 8; then d = 2/11: 8 d + 4 (1 - d) = 52/11; then d = 3/12: 13/11
    held = average.module.state_dict()
    assert held["weight"].item() == pytest.approx(13 / 11)
    assert held["running_mean"].item() == pytest.approx(13 / 11)
    assert held["num_batches_tracked"].item() == 0


def test_the_decay_bounds_the_memory_of_the_moving_average() -> None:
    model = torch.nn.Linear(1, 1)
    average = loop.moving_average(model, 0.5)
    for value in (*[0.0] * 20, 8.0, 0.0):
        torch.nn.init.constant_(model.weight, value)
        average.update_parameters(model)
    assert average.module.weight.item() == pytest.approx(2.0)


def test_the_average_is_what_is_scored_and_kept(prepared: Prepared, tmp_path: Path) -> None:
    params = BASE.model_copy(update={"validation_metric": "loss"})
    plain = fit(prepared, tmp_path / "plain", params)
    averaged = fit(prepared, tmp_path / "averaged", params.model_copy(update={"ema": 0.9}))
    # The average steers no step: training is the same to the bit, what is scored is not.
    pairs = list(zip(plain.history, averaged.history, strict=True))
    assert all(one.train_loss == other.train_loss for one, other in pairs)
    assert all(one.validation["loss"] != other.validation["loss"] for one, other in pairs)
    loader = inference.LoaderConfig(params.batch_size, 1, CPU)
    scores = objectives.validation_scores(averaged.model, prepared, loader=loader)
    assert scores == averaged.best.validation


@pytest.mark.parametrize(("metric", "told"), [("loss", 1), ("macro_auroc", 2)])
def test_the_log_names_every_score_once(
    prepared: Prepared, tmp_path: Path, caplog: pytest.LogCaptureFixture, metric: str, told: int
) -> None:
    params = BASE.model_copy(update={"epochs": 1, "validation_metric": metric})
    with caplog.at_level("INFO"):
        fit(prepared, tmp_path / "s", params)
    (line,) = (text for text in caplog.messages if text.startswith("epoch 1/1"))
    assert line.count("validation ") == told
    assert f"validation {metric} " in line


@pytest.mark.parametrize("damage", ["cut", "empty", "words", "other keys"])
def test_an_unreadable_checkpoint_starts_again(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    path = tmp_path / "checkpoint.pt"
    progress = Progress()
    progress.add(EpochRecord(1, 0.1, 0.5, {"loss": 0.5}), score=-0.5, model=model)
    checkpoint.save(path, model=model, optimizer=optimizer.state_dict(), progress=progress)
    assert checkpoint.restore(path, model=model, optimizer=optimizer).epochs_done == 1

    whole = path.read_bytes()
    if damage == "other keys":
        torch.save({"model": 1}, path)
    else:
        held = {"cut": whole[: len(whole) // 2], "empty": b"", "words": b"no checkpoint"}
        path.write_bytes(held[damage])
    assert checkpoint.restore(path, model=model, optimizer=optimizer) == Progress()
    assert not path.exists()
    assert "unreadable" in caplog.text
    assert "training starts again" in caplog.text


def test_early_stopping_keeps_the_first_best_epoch(prepared: Prepared, tmp_path: Path) -> None:
    # a learning rate of next to nothing leaves the decisions of the validation role where they are
    params = BASE.model_copy(
        update={
            "epochs": 9,
            "patience": 2,
            "learning_rate": 1e-12,
            "validation_metric": "balanced_accuracy",
            "backbone": "test_vit",
        }
    )
    trained = fit(prepared, tmp_path / "s", params)
    assert (trained.best_epoch, len(trained.history)) == (1, 3)


def test_progress_keeps_weights_of_the_best_epoch() -> None:
    model, progress = torch.nn.Linear(1, 1), Progress()
    for epoch, score in enumerate([0.2, 0.9, 0.9, 0.1], start=1):
        torch.nn.init.constant_(model.weight, float(epoch))
        progress.add(EpochRecord(epoch, 0.1, 1.0, {"loss": 1.0}), score=score, model=model)
    assert progress.best_epoch == 2
    assert progress.best_state["weight"].item() == 2.0
    assert progress.exhausted(2)
    assert not progress.exhausted(3)
    assert not progress.exhausted(None)


def test_findings_and_curves(prepared: Prepared, tmp_path: Path) -> None:
    params = BASE.model_copy(update={"epochs": 2, "validation_metric": "loss"})
    trained = fit(prepared, tmp_path / "s", params)
    found = checkpoint.findings(trained, n_train=24, n_validation=12)
    losses = [record.validation["loss"] for record in trained.history]
    assert found.scalars["best_epoch"] == 1 + int(np.argmin(losses))
    assert found.scalars["validation_loss"] == min(losses)
    table = found.series["curves"]
    assert table[["epoch", "split"]].to_numpy().tolist() == [
        [1, "train"],
        [1, "validation"],
        [2, "train"],
        [2, "validation"],
    ]
    assert table.loc[table["split"] == "train", "macro_auroc"].isna().all()


def test_live_curves_hold_every_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with checkpoint.live(tmp_path / "live") as add:
        for epoch in (1, 2):
            add(EpochRecord(epoch, 0.01, 1 / epoch, {"loss": 0.5}))
    text = (tmp_path / "live/plots/metrics/train/loss.tsv").read_text()
    assert text.split() == ["step", "loss", "1", "1.0", "2", "0.5"]
    assert not (tmp_path / "dvc.yaml").exists()


def test_an_undefined_validation_metric_stops_training(prepared: Prepared, tmp_path: Path) -> None:
    one_class = (prepared.manifest["role"] == "validation") & (prepared.manifest["target"] == 1)
    manifest = prepared.manifest.assign(
        role=prepared.manifest["role"].mask(one_class, "calibration")
    )
    cut = Prepared(**{**vars(prepared), "manifest": manifest})
    with pytest.raises(DataError, match="`macro_auroc` is undefined on the validation role"):
        fit(cut, tmp_path / "s", BASE.model_copy(update={"epochs": 1}))


def test_precision() -> None:
    dense, depthwise = torch.nn.Conv2d(4, 4, 3), torch.nn.Conv2d(4, 4, 3, groups=4)
    cuda = torch.device("cuda")
    assert loop.resolve_precision("auto", depthwise, cuda) == "bf16"
    assert loop.resolve_precision("auto", depthwise, CPU) == "fp32"
    assert loop.resolve_precision("auto", dense, CPU) == ("bf16" if loop.cpu_has_bf16() else "fp32")
    assert loop.resolve_precision("fp32", dense, cuda) == "fp32"


def test_training_in_bf16_evaluates_in_fp32(prepared: Prepared, tmp_path: Path) -> None:
    params = BASE.model_copy(update={"epochs": 1, "precision": "bf16"})
    trained = fit(prepared, tmp_path / "s", params)
    assert trained.precision == "bf16"
    assert all(p.dtype == torch.float32 for p in trained.model.parameters())


def test_the_key_covers_data_params_and_threads(prepared: Prepared) -> None:
    def key(data: Prepared, params: TrainParams, threads: int = 2) -> str:
        return train_or_load.key(data, params, compute=ComputeParams(threads=threads), device=CPU)

    base = key(prepared, BASE)
    assert base == key(prepared, BASE.model_copy())
    assert base != key(prepared, BASE.model_copy(update={"seed": 1}))
    no_flips = AugmentParams(flips=False)
    assert base != key(prepared, BASE.model_copy(update={"augment": no_flips}))
    assert base != key(prepared, BASE, threads=1)
    older = prepared.manifest.assign(age=prepared.manifest["age"] + 1)
    assert base == key(Prepared(**{**vars(prepared), "manifest": older}), BASE)
    target = prepared.manifest["target"]
    for role, counts in (
        ("train", True),
        ("validation", True),
        ("calibration", False),
        ("test", False),
    ):
        moved = target.mask(prepared.manifest["role"] == role, 1 - target)
        other = Prepared(**{**vars(prepared), "manifest": prepared.manifest.assign(target=moved)})
        assert (base != key(other, BASE)) == counts, role


def test_the_key_covers_pixels_of_train_and_validation(prepared: Prepared, tmp_path: Path) -> None:
    def digest(role: str) -> str:
        folder = tmp_path / role
        shutil.copytree(prepared.folder, folder)
        shard = np.load(folder / "pixels/00000.npy")
        first = next(i for i in range(len(shard)) if prepared.manifest["role"].iloc[i] == role)
        shard[first, 0, 0, 0] ^= 1
        np.save(folder / "pixels/00000.npy", shard)
        return training_digest(read_prepared(folder))

    base = training_digest(prepared)
    assert len({base, digest("train"), digest("validation")}) == 3
    assert base == digest("test")
