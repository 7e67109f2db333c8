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
from medaudit.audits import evaluate
from medaudit.audits.evaluate import EvaluateParams
from medaudit.model.compute import ComputeParams
from medaudit.model.predictions import PredictionJob, PredictParams, cached_predictions
from medaudit.stats.bootstrap import Bootstrap, IntervalParams
from medaudit.tables.predictions import Condition
from medaudit.tables.scoring import ScoredPredictions

model, prepared, out = map(Path, sys.argv[1:])
job = PredictionJob(
    "evaluate", model, prepared, ("calibration", "test"),
    params=PredictParams(batch_size=8), compute=ComputeParams(threads=1, device="cpu"),
)
(table,) = cached_predictions(job, [Condition.clean()], root=out.with_suffix(".resume"))
params = EvaluateParams(specificity=0.8)
points = evaluate.freeze(table.role("calibration"), params)
test = ScoredPredictions(table.role("test"), points)
bootstrap = Bootstrap.of_groups(test.group_ids, IntervalParams(replicates=200, seed=1))
found = evaluate.audit(test, points, params, bootstrap)
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
    capability, elsewhere, scalars = audited(model_folder, more_prepared, tmp_path / "old.npy", OLD)
    assert capability in ("DEFAULT", "NO AVX")  # the old kernels were indeed taken
    assert 2 < np.abs(here).max() < 20
    np.testing.assert_allclose(elsewhere, here, rtol=0, atol=LOGITS)
    assert found.keys() == scalars.keys()
    assert 0.1 < found["macro_auroc"] < 0.9
    np.testing.assert_allclose(
        np.array(list(scalars.values()), dtype=float),
        np.array(list(found.values()), dtype=float),
        rtol=0,
        atol=HEADLINE,
    )
