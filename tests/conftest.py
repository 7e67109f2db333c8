"""Fixtures that several rooms share."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medaudit.tables import operating_points
from medaudit.tables.operating_points import OperatingPoints
from medaudit.tables.predictions import Condition, PredictionTable, Schema

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    # Started in the background of a shell, which makes every child deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Hundreds of short processes import the same packages; where the environment forbids to keep what
# was compiled, each compiles thousands of modules again.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

CLASSES = ("akiec", "bcc", "mel", "nv")
SCHEMA = Schema("multiclass", CLASSES, "mel")
LABELS = ("edema", "effusion", "mass", "hernia")
PREVALENCES = (0.3, 0.4, 0.2, 0.06)
TableMaker = Callable[..., PredictionTable]


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """A sync takes up to 30 ms a file on a busy disk; the tests of durability record it instead."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def own_folder_of_dvc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Hundreds of repositories that live for a test are remembered nowhere else on the machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path_factory.mktemp("dvc")))
        yield


@pytest.fixture
def make_table() -> TableMaker:
    """A table of random logits that carry `signal`; two samples a group, all four roles."""

    def make(
        *,
        n: int = 600,
        signal: float = 2.0,
        noise: float = 0.0,
        seed: int = 0,
        condition: Condition | None = None,
    ) -> PredictionTable:
        base = np.random.default_rng(1)
        targets = base.choice(len(CLASSES), size=n, p=[0.1, 0.15, 0.25, 0.5])
        logits = base.normal(size=(n, len(CLASSES)))
        logits[np.arange(n), targets] += signal
        logits += noise * np.random.default_rng(seed).normal(size=logits.shape)
        roles = np.repeat(["train", "validation", "calibration", "test"], n // 4)
        rows = pd.DataFrame(
            {
                "sample_id": [f"s{i:04}" for i in range(n)],
                "group_id": [f"g{i // 2:04}" for i in range(n)],
                "role": roles,
                "sex": base.choice(["female", "male"], n),
                "age": np.where(base.random(n) < 0.1, np.nan, base.integers(20, 80, n)),
            }
        )
        return PredictionTable(
            schema=SCHEMA,
            rows=rows,
            targets=targets.astype(np.int64),
            logits=logits[None].astype(np.float32),
            condition=condition or Condition.clean(),
        )

    return make


@pytest.fixture
def table(make_table: TableMaker) -> PredictionTable:
    """The default clean table."""
    return make_table()


@pytest.fixture
def points(table: PredictionTable) -> OperatingPoints:
    """Thresholds at 95 % specificity on the calibration role of `table`."""
    return operating_points.choose(table.role("calibration"), specificity=0.95)


@pytest.fixture
def make_multilabel_table() -> TableMaker:
    """Studies of four labels, the last one rare; two studies a group, all four roles."""

    def make(
        *,
        n: int = 600,
        signal: float = 2.0,
        noise: float = 0.0,
        seed: int = 0,
        condition: Condition | None = None,
        critical: str | None = None,
    ) -> PredictionTable:
        base = np.random.default_rng(2)
        targets = (base.random((n, len(LABELS))) < PREVALENCES).astype(np.int64)
        logits = base.normal(size=targets.shape) + signal * (targets - 0.5) - 0.5
        logits += noise * np.random.default_rng(seed).normal(size=logits.shape)
        rows = pd.DataFrame(
            {
                "sample_id": [f"s{i:04}" for i in range(n)],
                "group_id": [f"g{i // 2:04}" for i in range(n)],
                "role": np.repeat(["train", "validation", "calibration", "test"], n // 4),
                "view": base.choice(["AP", "PA"], n),
                "age": np.where(base.random(n) < 0.1, np.nan, base.integers(20, 80, n)),
            }
        )
        return PredictionTable(
            schema=Schema("multilabel", LABELS, critical),
            rows=rows,
            targets=targets,
            logits=logits[None].astype(np.float32),
            condition=condition or Condition.clean(),
        )

    return make


@pytest.fixture
def multilabel_table(make_multilabel_table: TableMaker) -> PredictionTable:
    """The default clean table of several labels."""
    return make_multilabel_table()


@pytest.fixture
def multilabel_points(multilabel_table: PredictionTable) -> OperatingPoints:
    """Thresholds at 90 % specificity on the calibration role of `multilabel_table`."""
    return operating_points.choose(multilabel_table.role("calibration"), specificity=0.9)


@pytest.fixture(scope="session")
def ham10000() -> Path:
    """The real HAM10000 folder named by MEDAUDIT_HAM10000; the test is skipped without it."""
    folder = os.environ.get("MEDAUDIT_HAM10000", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("MEDAUDIT_HAM10000 names no folder with the real HAM10000 data")
    return Path(folder)
