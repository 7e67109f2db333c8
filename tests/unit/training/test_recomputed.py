"""What an edit of the code computes again: each test edits a copy of the package and counts."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.slow  # every run is a process of its own that imports the edited package

REPOSITORY = Path(__file__).parents[3]
RUN = """
import json, os, signal, sys
from pathlib import Path

import torch

from medaudit.model import backbones, cached, resume, stored
from medaudit.model.predictions import PredictionJob, PredictParams, cached_predictions
from medaudit.model.compute import ComputeParams
from medaudit.model.prepared import read_prepared
from medaudit.training import making, recipe
from medaudit.training.loop import TrainParams
from medaudit.pixels import corruptions

folder, asked = Path(sys.argv[1]), json.loads(sys.argv[2])
counts = {"steps": 0, "passes": 0}


def count(owner, name, what, deadly):
    real = getattr(owner, name)

    def counted(*args, **kwargs):
        if counts[what] == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        counts[what] += 1
        return real(*args, **kwargs)

    setattr(owner, name, counted)


count(torch.optim.AdamW, "step", "steps", None)
prepared = read_prepared(folder / "prepared")
cpu = torch.device("cpu")
compute = ComputeParams(threads=1, device="cpu")
params = TrainParams(
    backbone="test_resnet", weights="none", epochs=1, batch_size=8, learning_rate=0.001
)
key = recipe.key(prepared, params, compute=compute, device=cpu)
with resume.store("train", key, root=folder / "resume") as store:
    trained = making.make(
        prepared, params, compute=compute, device=cpu, store=store, on_epoch=lambda _: None
    )
    stored.save(trained.model, folder / "model", card=recipe.card(prepared, params, trained))

count(backbones.AuditModel, "predict", "passes", asked.get("deadly"))
job = PredictionJob(
    stage="stress",
    model_folder=folder / "model",
    prepared_folder=folder / "prepared",
    roles=("test",),
    params=PredictParams(predictors=asked.get("predictors", ["plain"])),
    compute=compute,
)
conditions = corruptions.conditions(asked["corruptions"])
tables = list(cached_predictions(job, conditions, root=folder / "resume"))
print(json.dumps({**counts, "tables": len(tables)}))
"""
CORRUPTION = """

def darkened(image, level, _):
    return (image // level).astype(image.dtype)


CORRUPTIONS = {**CORRUPTIONS, "darkened": Corruption(darkened, (2, 3), "shift", "divisor")}
"""
PREDICTOR = """

def mirrored(model, images, *, sample_ids, seed):
    return model.predict(images[:, :, ::-1].copy())


PREDICTORS = {**PREDICTORS, "mirrored": mirrored}
"""
METRIC = """

def new_metric(matrix):
    return matrix.sum()
"""


class Counts(NamedTuple):
    """Optimizer steps, forward passes, and tables; one pass makes a table of the tiny data."""

    steps: int
    passes: int
    tables: int


class Copy:
    """A copy of the package with its own data and stores."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.package = folder, folder / "src/medaudit"

    def append(self, module: str, text: str) -> None:
        with (self.package / module).open("a", encoding="utf-8") as handle:
            handle.write(text)

    def replace(self, module: str, old: str, new: str) -> None:
        path = self.package / module
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new), encoding="utf-8")

    def process(self, **asked: object) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": str(self.folder / "src")}
        return subprocess.run(
            [sys.executable, "-c", RUN, str(self.folder), json.dumps(asked)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, *corruptions: str, **asked: object) -> Counts:
        done = self.process(corruptions=corruptions, **asked)
        assert done.returncode == 0, done.stderr
        return Counts(**json.loads(done.stdout))


@pytest.fixture(scope="module")
def finished(prepared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A trained model, killed during its third condition of six and then run to the end."""
    copy = Copy(tmp_path_factory.mktemp("finished"))
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(REPOSITORY / "src/medaudit", copy.package, ignore=ignored)
    shutil.copytree(prepared_folder, copy.folder / "prepared")
    killed = copy.process(corruptions=["jpeg", "gaussian_noise"], deadly=2)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    store = copy.folder / "resume/predictions"
    assert len(list(store.glob("*.npz"))) == 2
    counts = copy.run("jpeg", "gaussian_noise")
    assert counts == Counts(
        steps=0, passes=4, tables=6
    )  # the two that were done are not done again
    assert len(list(store.iterdir())) == 7  # six files and the record; nothing unfinished
    return copy


@pytest.fixture
def copy(finished: Copy, tmp_path: Path) -> Copy:
    """One of its own for every test."""
    shutil.copytree(finished.folder, tmp_path / "copy")
    return Copy(tmp_path / "copy")


def test_a_metric_and_a_comment_neither_train_nor_infer(copy: Copy) -> None:
    copy.append("metrics/classification.py", METRIC)
    copy.append("model/forward.py", "\n# a thought\n")
    copy.replace("model/backbones.py", '"""Logits (n, outputs)."""', '"""Other words."""')
    assert copy.run("jpeg", "gaussian_noise") == Counts(steps=0, passes=0, tables=6)


def test_a_new_corruption_infers_only_itself(copy: Copy) -> None:
    copy.append("pixels/corruptions.py", CORRUPTION)
    found = copy.run("jpeg", "gaussian_noise", "darkened")
    assert found == Counts(steps=0, passes=2, tables=8)


def test_a_new_predictor_infers_only_itself(copy: Copy) -> None:
    copy.append("model/predictors.py", PREDICTOR)
    found = copy.run("jpeg", "gaussian_noise", predictors=["plain", "mirrored"])
    assert found == Counts(steps=0, passes=6, tables=12)


def test_an_edited_corruption_infers_itself_and_a_version_everything(copy: Copy) -> None:
    copy.replace("pixels/corruptions.py", "int(quality)]", "int(quality) + 1]")
    assert copy.run("jpeg", "gaussian_noise") == Counts(steps=0, passes=3, tables=6)
    copy.replace("model/__init__.py", "VERSION = ", "VERSION = 10 + ")
    copy.replace("model/training/__init__.py", "VERSION = ", "VERSION = 10 + ")
    counts = copy.run("jpeg", "gaussian_noise")
    assert counts.steps > 0
    assert counts.passes == counts.tables == 6
