"""Prediction tables whose logits are computed once per content; torch is imported on a miss only.

What is kept is one file per condition and predictor: logits, features, and where they were
computed. Rows and targets are joined from the manifest as it is now, so that a new slice column
costs no inference.
"""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
from pydantic import Field, field_validator

from medaudit.core import keys
from medaudit.core.errors import ModelError, listed, lookup
from medaudit.core.files import atomic, file_digest
from medaudit.core.layout import PLAIN, RESUME
from medaudit.core.params import LARGEST_SEED, Section, each_once
from medaudit.model import VERSION
from medaudit.model.model_config import engine_versions, read_card, stages_trust
from medaudit.model.predictors import PREDICTORS
from medaudit.model.prepared import read_prepared, rows_digest
from medaudit.pixels import corruptions
from medaudit.tables.predictions import PredictionTable

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from medaudit.core.arrays import Float32Array
    from medaudit.model.compute import ComputeParams
    from medaudit.model.model_config import ModelCard
    from medaudit.model.prepared import Prepared
    from medaudit.tables.predictions import Condition

KIND = "predictions"
PACKAGES = ("torch", "timm", "numpy", "opencv-python-headless")
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")

log = logging.getLogger(__name__)


class PredictParams(Section):
    """How predictions are computed; the batch size changes the last bits.

    Args:
        batch_size: images per forward pass.
        seed: of the random corruptions and of random predictors.
        predictors: rows of `predictors.PREDICTORS`; `plain`, which the audits read, among them.
    """

    section: ClassVar[str] = "predict"

    batch_size: int = Field(default=32, ge=1, le=4096)
    seed: int = Field(default=0, ge=0, le=LARGEST_SEED)
    predictors: tuple[str, ...] = (PLAIN,)

    @field_validator("predictors")
    @classmethod
    def _known(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            lookup("predictor", name, PREDICTORS)
        if PLAIN not in names:
            raise ValueError(f"`{PLAIN}` must be among the predictors, since audits read it")
        return each_once(names)


@dataclass(frozen=True)
class PredictionJob:
    """A stored model, the rows to predict, and how.

    Args:
        stage: that asks; what its last run used is kept.
        model_folder: what the train stage wrote.
        prepared_folder: what the prepare stage wrote.
        roles: whose rows are predicted.
        params: section `predict`.
        compute: section `compute`.
        embeddings: whether tables keep the penultimate features, where the model shows them.
    """

    stage: str
    model_folder: Path
    prepared_folder: Path
    roles: tuple[str, ...]
    params: PredictParams
    compute: ComputeParams
    embeddings: bool = True

    def of_learnt(self) -> PredictionJob:
        """Plain predictions of the train and validation roles; what they keep is their own."""
        return replace(
            self,
            stage=f"{self.stage}: train and validation",
            roles=("train", "validation"),
            params=self.params.model_copy(update={"predictors": (PLAIN,)}),
        )


class Kept(NamedTuple):
    """What one file keeps: logits (members, n, outputs), features (n, d), engine and device."""

    logits: Float32Array
    features: Float32Array | None
    facts: Mapping[str, str]


def cached_predictions(
    job: PredictionJob, conditions: Sequence[Condition], *, root: Path = RESUME
) -> Generator[PredictionTable]:
    """One table per predictor and condition, in that order; each is on disk before the next."""
    inputs = _Inputs(job)
    wanted = [(name, condition) for name in job.params.predictors for condition in conditions]
    files = [_file_name(inputs, name, condition) for name, condition in wanted]
    with keys.entries(KIND, user=job.stage, names=files, root=root) as folder:
        for (name, condition), file in zip(wanted, files, strict=True):
            kept = _at_hand(folder / file)
            found = kept or inputs.predict(name, condition)
            table = inputs.table(found, predictor=name, condition=condition)  # checks what came
            if kept is None:
                _write(found, folder / file)
            yield table


def by_predictor(
    tables: Iterable[PredictionTable],
) -> tuple[list[PredictionTable], dict[str, list[PredictionTable]]]:
    """Tables of the plain predictor, and those of every other by its name, in their order."""
    others: dict[str, list[PredictionTable]] = {}
    for table in tables:
        others.setdefault(table.provenance["predictor"], []).append(table)
    return others.pop(PLAIN, []), others


def condition_key(job: PredictionJob, predictor: str, condition: Condition) -> str:
    """SHA-256 over all that decides the outputs of one predictor under one condition."""
    return _Inputs(job).key(predictor, condition)


class _Inputs:
    """What a job reads, opened once."""

    def __init__(self, job: PredictionJob) -> None:
        self.job = job
        self.card = read_card(job.model_folder)
        self.prepared = read_prepared(job.prepared_folder)
        _check_fit(self.card, self.prepared)
        self.positions = self.prepared.positions(job.roles)
        self.weights = _digest(job.model_folder / self.card.file)

    def key(self, predictor: str, condition: Condition) -> str:
        """A corruption counts by its own function and level, a predictor by its own source."""
        made = {"name": predictor, **keys.identity(lookup("predictor", predictor, PREDICTORS))}
        own = {"predictor": made, "corruption": corruptions.identity(condition)}
        return keys.content_key({**self._common, **own})

    @cached_property
    def _common(self) -> dict[str, object]:
        job = self.job
        return {
            "version": VERSION,
            "weights": self.weights,
            "card": asdict(self.card),
            "rows": rows_digest(self.prepared, self.positions),
            "seed": job.params.seed,
            "batch_size": job.params.batch_size,
            "threads": job.compute.threads,
            "device": _device(job.compute.device),
            "features": job.embeddings,
            "versions": keys.versions(PACKAGES) | engine_versions(self.card.file),
        }

    @cached_property
    def predict(self) -> Callable[[str, Condition], Kept]:
        """Outputs of a predictor under a condition; the model is loaded once."""
        from medaudit.model import inference, network
        from medaudit.model.compute import setup
        from medaudit.model.inference import LoaderConfig

        job, device = self.job, setup(self.job.compute)
        model = network.load_model(job.model_folder, trust=stages_trust()).on(device)
        loader = LoaderConfig(job.params.batch_size, job.compute.loader_threads, device)
        facts = {"engine": model.engine, "device": model.device_type, "dtype": inference.DTYPE}

        def predict(predictor: str, condition: Condition) -> Kept:
            found = inference.predict(
                model,
                self.prepared,
                self.positions,
                predictor=PREDICTORS[predictor],
                condition=condition,
                seed=job.params.seed,
                loader=loader,
            )
            log.info("%s: %s predicted %d images", condition.name, predictor, len(self.positions))
            return Kept(found.logits, found.features if job.embeddings else None, facts)

        return predict

    def table(self, kept: Kept, *, predictor: str, condition: Condition) -> PredictionTable:
        """Outputs with the rows and targets of the manifest."""
        rows = self.prepared.manifest.iloc[self.positions].drop(columns="target")
        return PredictionTable(
            schema=self.prepared.schema,
            rows=rows.reset_index(drop=True),
            targets=self.prepared.targets(self.positions),
            logits=kept.logits,
            embeddings=kept.features,
            condition=condition,
            provenance={
                "predictor": predictor,
                "backbone": self.card.backbone,
                "weights": self.weights,
                **kept.facts,
            },
        )


def _file_name(inputs: _Inputs, predictor: str, condition: Condition) -> str:
    key = inputs.key(predictor, condition)
    return f"{predictor}-{condition.name}-{key[: keys.KEY_LENGTH]}.npz"


def _device(asked: str) -> str:
    """What `auto` may mean on this machine, told apart without importing torch."""
    if asked != "auto":
        return asked
    return f"auto {NVIDIA_DRIVER.exists()} {os.environ.get('CUDA_VISIBLE_DEVICES')}"


def _digest(path: Path) -> str:
    if not path.exists():
        raise ModelError(f"{path}: not found; run the train stage first")
    return file_digest(path)


def _write(kept: Kept, path: Path) -> None:
    arrays: dict[str, Any] = {"logits": kept.logits, "facts": np.array(json.dumps(kept.facts))}
    if kept.features is not None:
        arrays["features"] = kept.features
    with atomic(path) as part, part.open("wb") as handle:
        np.savez(handle, **arrays)


def _at_hand(path: Path) -> Kept | None:
    """What a file keeps; `None` where there is none, or none that can be read whole."""
    if not path.exists():
        return None
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as found:
            features = found.get("features")
            kept = Kept(found["logits"], features, json.loads(str(found["facts"])))
    except Exception as error:  # noqa: BLE001  what numpy and zipfile raise at damaged bytes
        log.warning("%s: damaged (%s: %s); predicting again", path, type(error).__name__, error)
        return None
    log.info("%s: predictions are at hand", path.stem.rpartition("-")[0])  # without the key
    return kept


def _check_fit(card: ModelCard, prepared: Prepared) -> None:
    ours, theirs = (prepared.schema.classes, prepared.image_size), (card.classes, card.image_size)
    if ours != theirs:
        raise ModelError(
            f"the model was trained for {len(card.classes)} classes ({listed(card.classes)}) at "
            f"{card.image_size} pixels, but {prepared.folder} holds {len(prepared.schema.classes)} "
            f"({listed(prepared.schema.classes)}) at {prepared.image_size}; "
            f"run the train stage again"
        )
