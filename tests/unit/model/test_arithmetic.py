"""The audit of given weights on processors that compute differently.

Old instruction sets stand for another processor: torch's kernels without vectors and oneDNN's for
SSE 4.1, against what this one offers. Both are chosen by environment variables before torch is
loaded, hence the processes.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from medaudit.model import network
from medaudit.model.model_config import ModelCard

OLD = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}
# The largest difference seen: 1.7e-5 of logits up to 6.1 (trained EfficientNet-Lite0, 361 images).
LOGITS, HEADLINE = 1e-4, 1e-4

PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
import torch
from medaudit.audits import evaluation
from medaudit.stats.bootstrap import IntervalParams
from medaudit.model import compute, inference, stored
from medaudit.model.compute import ComputeParams
from medaudit.model.inference import Feed
from medaudit.model.prepared import read_prepared
from medaudit.tables import operating_points
from medaudit.tables.predictions import Condition

model, prepared, out = stored.load(Path(sys.argv[1])), read_prepared(Path(sys.argv[2])), sys.argv[3]
loader = LoaderConfig(8, 1, compute.setup(ComputeParams(threads=1, device="cpu")))
table = inference.predict_table(
    model, prepared, prepared.positions(["calibration", "test"]),
    condition=Condition.clean(), seed=0, loader=loader, provenance={},
)
points = operating_points.choose(table.role("calibration"), specificity=0.8, confidence=None)
found = evaluation.audit(table, points, intervals_params=IntervalParams(replicates=200, seed=1))
np.save(out, table.logits)
print(json.dumps([torch.backends.cpu.get_cpu_capability(), dict(found.scalars)]))
"""


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    """A model whose logits have a usual size."""
    torch.manual_seed(0)
    model = network.create("tf_efficientnet_lite0", 2, weights="bundled", dropout=0.0).eval()
    with torch.no_grad():
        model.head[1].weight.mul_(200)
    third = (0.5, 0.5, 0.5)
    card = ModelCard(
        "tf_efficientnet_lite0", "multiclass", ("a", "b"), 32, dropout=0.0, mean=third, std=third
    )
    network.save_network(model, tmp_path / "model", card=card)
    return tmp_path / "model"


def audited(
    model: Path, prepared: Path, out: Path, environment: dict[str, str]
) -> tuple[str, np.ndarray, dict[str, float]]:
    words = [sys.executable, "-c", PROGRAM, *map(str, (model, prepared, out))]
    done = subprocess.run(
        words, env={**os.environ, **environment}, check=True, capture_output=True, text=True
    )
    capability, scalars = json.loads(done.stdout)
    return capability, np.load(out), scalars


@pytest.mark.slow
def test_given_weights_agree_across_processors(
    model_folder: Path, more_prepared: Path, tmp_path: Path
) -> None:
    _, here, found = audited(model_folder, more_prepared, tmp_path / "here.npy", {})
    capability, elsewhere, told = audited(model_folder, more_prepared, tmp_path / "old.npy", OLD)
    assert capability in ("DEFAULT", "NO AVX")  # the old kernels were indeed taken
    assert 2 < np.abs(here).max() < 20
    np.testing.assert_allclose(elsewhere, here, rtol=0, atol=LOGITS)
    assert found.keys() == told.keys()
    assert 0.1 < found["macro_auroc"] < 0.9
    np.testing.assert_allclose(
        np.array(list(told.values()), dtype=float),
        np.array(list(found.values()), dtype=float),
        rtol=0,
        atol=HEADLINE,
    )
