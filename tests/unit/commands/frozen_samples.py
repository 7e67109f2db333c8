"""A model with random weights and all that the stages leave beside it, on generated images."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image

from medaudit.audits import calibrate, selective
from medaudit.audits.calibrate import CalibrateParams
from medaudit.audits.selective import SelectiveParams
from medaudit.core import frozen
from medaudit.core.files import write_json, write_text
from medaudit.model import network
from medaudit.model.compute import ComputeParams
from medaudit.model.model_config import ModelCard
from medaudit.model.predictions import PredictionJob, PredictParams, cached_predictions
from medaudit.pixels.ingest import Source, ingest
from medaudit.tables import operating_points, predictions
from medaudit.tables.manifest import Preparation, write_manifest, write_preparation
from medaudit.tables.predictions import Condition, Schema
from medaudit.tables.scoring import ScoredPredictions

SIZE, N = 32, 96
MULTICLASS = Schema("multiclass", ("a", "b"), "b")
MULTILABEL = Schema("multilabel", ("red", "blue"), "blue")
ROLES = ("train", "calibration", "test", "train")
PARAMS = """
compute: {threads: 1, device: cpu}
intervals: {replicates: 100}
slice: {min_size: 5, min_positives: 2}
calibrate: {floor_replicates: 50}
"""


def draw(path: Path, rng: np.random.Generator, *, red: bool, blue: bool) -> None:
    """A noisy image that is not square, with a cast or none."""
    pixels = rng.integers(40, 160, (30, 40, 3))
    pixels[..., 0] += 60 * red
    pixels[..., 2] += 60 * blue
    pixels += rng.integers(0, 30)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def build(root: Path, schema: Schema) -> Path:
    """`root/repo` with artefacts and parameters, `root/test` with the images of the test role."""
    rng = np.random.default_rng(0)
    flags = rng.random((N, 2)) < 0.5
    flags[:, 1] = ~flags[:, 0] if schema == MULTICLASS else flags[:, 1]
    rows = pd.DataFrame(
        {
            "sample_id": [f"s{i:03d}" for i in range(N)],
            "group_id": [f"g{i // 4:03d}" for i in range(N)],
            "role": [ROLES[i // 4 % 4] for i in range(N)],
            "target": flags[:, 1].astype(np.int64)
            if schema == MULTICLASS
            else list(flags.astype(np.int64)),
        }
    )
    for row, (red, blue) in zip(rows.itertuples(), flags, strict=True):
        draw(place_of(root, row.role, row.sample_id), rng, red=red, blue=blue)
    prepare(root, rows, schema)
    store_model(root / "repo/artifacts", schema)
    freeze(root / "repo/artifacts")
    frozen.seal(root / "repo/artifacts")
    write_text(root / "repo/params.yaml", PARAMS)
    return root


def place_of(root: Path, role: str, sample_id: str) -> Path:
    number = int(sample_id[1:])
    return root / role / f"site{number % 2}" / f"{sample_id}.png"


def prepare(root: Path, rows: pd.DataFrame, schema: Schema) -> None:
    folder = root / "repo/artifacts/prepared"
    sources = [
        Source(row.sample_id, place_of(root, row.role, row.sample_id)) for row in rows.itertuples()
    ]
    found = ingest(sources, folder / "pixels", size=SIZE, on_unreadable=lambda _: None)
    write_manifest(rows.merge(found.table(), on="sample_id"), folder)
    write_preparation(Preparation(schema, SIZE, {}, "toy", "patient"), folder)


def store_model(artifacts: Path, schema: Schema) -> None:
    torch.manual_seed(0)
    model = network.create("test_resnet", 2, weights="none", dropout=0.0)
    with torch.no_grad():  # random features differ little between images
        model.head[1].weight *= 500
        model.head[1].bias.zero_()
    card = ModelCard("test_resnet", schema.task, schema.classes, SIZE, 0.0, (0.5,) * 3, (0.5,) * 3)
    network.save_model(model, artifacts / "model", card=card)


def freeze(artifacts: Path) -> None:
    """What the evaluate, calibrate and selective stages leave behind."""
    job = PredictionJob(
        stage="evaluate",
        model_folder=artifacts / "model",
        prepared_folder=artifacts / "prepared",
        roles=("calibration", "test"),
        params=PredictParams(batch_size=8),
        compute=ComputeParams(threads=1, device="cpu"),
    )
    (clean,) = cached_predictions(job, [Condition.clean()], root=artifacts.parent / ".resume")
    points = operating_points.choose(clean.role("calibration"), specificity=0.8)
    methods = CalibrateParams(methods=("identity", "temperature", "affine"))
    fitted = calibrate.freeze(clean.role("calibration"), methods)
    role = ScoredPredictions(clean.role("calibration"), points)
    rule = selective.freeze(role, SelectiveParams(coverage=0.75))
    predictions.write(clean, artifacts / "predictions/clean/plain.parquet")
    operating_points.write(points, artifacts / "operating_points.json")
    write_json(
        artifacts / "calibrators.json", {name: each.facts() for name, each in fitted.items()}
    )
    write_json(artifacts / "deferral.json", rule.facts())


def truth_of(root: Path, schema: Schema) -> pd.DataFrame:
    """The table that comes with the images of the test role."""
    clean = predictions.read(root / "repo/artifacts/predictions/clean/plain.parquet").role("test")
    table = pd.DataFrame(
        {
            "image_path": [
                place_of(root, "test", name).relative_to(root / "test").as_posix()
                for name in clean.sample_ids
            ],
            "patient_id": clean.group_ids,
            "age": np.linspace(20, 80, len(clean)),
            "sex": ["f", "m"] * (len(clean) // 2),
        }
    )
    if schema == MULTICLASS:
        return table.assign(dx=np.array(schema.classes)[clean.targets])
    return table.assign(**dict(zip(schema.classes, clean.targets.T, strict=True)))
