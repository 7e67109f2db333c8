"""Tiny prepared folders as fixtures: classes that differ in colour are learnt in no time.

Imported by the conftest of every room that needs a model.
"""

from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
import torch

from medaudit.model.prepared import Prepared, read_prepared
from medaudit.pixels.packed import write_shards
from medaudit.tables.manifest import Preparation, write_manifest, write_preparation
from medaudit.tables.predictions import Schema

SIZE = 32


def make_prepared(folder: Path, *, n: int = 48, seed: int = 0) -> Path:
    """`n` noisy images, reddish for class `a` and bluish for class `b`, in four roles."""
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % 2
    images = rng.integers(60, 160, (n, SIZE, SIZE, 3)).astype(np.uint8)
    images[targets == 0, :, :, 0] += 60
    images[targets == 1, :, :, 2] += 60
    roles = np.array(
        ["train", "train", "train", "train", "validation", "validation", "calibration", "test"]
    )
    manifest = pd.DataFrame(
        {
            "sample_id": [f"s{i:03d}" for i in range(n)],
            "group_id": [f"g{i // 2:03d}" for i in range(n)],
            "role": roles[np.arange(n) // 2 % 8],
            "target": targets.astype(np.int64),
            "age": np.where(np.arange(n) == 3, np.nan, 40.0),
            "sex": np.where(np.arange(n) % 3 == 0, "female", "male"),
        }
    )
    preparation = Preparation(
        schema=Schema("multiclass", ("a", "b"), "b"),
        image_size=SIZE,
        class_counts_train={"a": n // 4, "b": n // 4},
        dataset="toy",
        group_meaning="lesion",
    )
    write_manifest(manifest, folder)
    write_preparation(preparation, folder)
    write_shards(iter(images), folder / "pixels", size=SIZE, per_shard=20)
    return folder


def make_multilabel(folder: Path, *, n: int = 64, seed: int = 0) -> Path:
    """Images with a red cast for `red`, a blue one for `blue`, both or neither."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, 2)) < [0.5, 0.25]).astype(np.int64)
    images = rng.integers(60, 160, (n, SIZE, SIZE, 3))
    images[..., 0] += 60 * targets[:, 0, None, None]
    images[..., 2] += 60 * targets[:, 1, None, None]
    roles = np.array(
        ["train", "train", "train", "train", "validation", "validation", "calibration", "test"]
    )
    manifest = pd.DataFrame(
        {
            "sample_id": [f"s{i:03d}" for i in range(n)],
            "group_id": [f"g{i:03d}" for i in range(n)],
            "role": roles[np.arange(n) % 8],
            "target": list(targets),
        }
    )
    preparation = Preparation(
        schema=Schema("multilabel", ("red", "blue"), "blue"),
        image_size=SIZE,
        class_counts_train={"red": n // 4, "blue": n // 8},
        dataset="toy",
        group_meaning="patient",
    )
    write_manifest(manifest, folder)
    write_preparation(preparation, folder)
    write_shards(iter(images.astype(np.uint8)), folder / "pixels", size=SIZE, per_shard=20)
    return folder


@pytest.fixture(scope="session")
def multilabel_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_multilabel(tmp_path_factory.mktemp("multilabel") / "data")


@pytest.fixture
def multilabel(multilabel_folder: Path) -> Prepared:
    return read_prepared(multilabel_folder)


@pytest.fixture(scope="session")
def prepared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_prepared(tmp_path_factory.mktemp("prepared") / "data")


@pytest.fixture(scope="session")
def more_prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As `prepared_folder`, with 40 images each to calibrate and to test on."""
    return make_prepared(tmp_path_factory.mktemp("more_prepared") / "data", n=320)


@pytest.fixture
def prepared(prepared_folder: Path) -> Prepared:
    return read_prepared(prepared_folder)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Tiny networks gain nothing from threads, and lose much where other work runs beside."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
