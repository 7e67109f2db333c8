"""What stages hand to each other and a model is shipped with, under damage and malice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from battery import attempt
from damage import damaged, odd_text
from hypothesis import given
from hypothesis import strategies as st
from test_readers import JSON, room, tried, written

from medaudit.tables import manifest, predictions
from medaudit.tables.predictions import PredictionTable, Schema

__all__ = ["room"]  # the fixture

SHARES = [0.5, 0.25]
FACTS = {
    "model.json": {
        "backbone": "resnet18",
        "classes": ["a", "b"],
        "dropout": 0.2,
        "file": "model.safetensors",
        "format": 2,
        "image_size": 16,
        "kind": "backbone",
        "logit_shift": None,
        "mean": [0.5, 0.5, 0.5],
        "outputs": "logits",
        "std": [0.5, 0.5, 0.5],
        "task": "multiclass",
    },
    "operating_points.json": {
        "assurance": None,
        "by_fold": [],
        "classes": ["a", "b"],
        "format": 4,
        "n_independent": SHARES,
        "n_negative": [3, 4],
        "n_negative_groups": [2, 2],
        "on_calibration": SHARES,
        "specificity": 0.95,
        "thresholds": SHARES,
    },
    "calibrators.json": {"identity": {}, "temperature": {"temperature": 1.5}},
    "deferral.json": {"coverage": 0.8, "score": "max_probability", "threshold": 0.6},
}
values = st.one_of(odd_text, st.none(), st.floats(), st.integers(), st.lists(st.floats()))


@st.composite
def changed(draw: st.DrawFn, facts: dict[str, object]) -> bytes:
    """The facts with some values of another kind, or their text damaged."""
    odd = draw(st.dictionaries(st.sampled_from([*facts, "other"]), values, max_size=2))
    text = json.dumps({**facts, **odd}).encode()
    return draw(st.one_of(st.just(text), damaged((json.dumps(facts).encode(), *JSON))))


@tried
@given(name=st.sampled_from(sorted(FACTS)), data=st.data())
def test_json_of_the_model_folder(room, name, data):
    from medaudit.commands import deployment
    from medaudit.model import model_config
    from medaudit.tables import calibrators, operating_points

    top = room()
    path = written(top / name, data.draw(changed(FACTS[name])))
    read = {
        "model.json": lambda: model_config.read_card(top),
        "operating_points.json": lambda: operating_points.read(path),
        "calibrators.json": lambda: calibrators.read(path, classes=("a", "b")),
        "deferral.json": lambda: deployment.read_deferral(path),
    }
    attempt(name, read[name], folder=top)


@pytest.fixture(scope="module")
def tables(tmp_path_factory) -> dict[str, bytes]:
    """A prediction table and a manifest as stages write them."""
    folder = tmp_path_factory.mktemp("tables")
    rows = pd.DataFrame({"sample_id": list("abc"), "group_id": list("uvw"), "role": ["test"] * 3})
    targets = np.array([0, 1, 0])
    logits = np.zeros((1, 3, 2), dtype=np.float32)
    schema = Schema("multiclass", ("a", "b"))
    predictions.write(PredictionTable(schema, rows, targets, logits), folder / "table.parquet")
    manifest.write_manifest(rows.assign(target=targets), folder)
    return {path.name: path.read_bytes() for path in folder.glob("*.parquet")}


@tried
@given(data=st.data())
def test_tables_of_stages(room, tables, data):
    top = room()
    name = data.draw(st.sampled_from(sorted(tables)))
    path = written(top / name, data.draw(damaged((tables[name],))))
    read = {
        "table.parquet": lambda: predictions.read(path),
        "manifest.parquet": lambda: manifest.targets(manifest.read_manifest(top)),
    }
    attempt(name, read[name], folder=top)


def test_no_thread_of_arrow_outlives_a_damaged_table(room, tables):
    """A crash of the process, in 4 of 4 runs of a thousand such files, within the first hundred."""
    code = """
import sys, tracemalloc
from pathlib import Path
import numpy as np
from damage import mutated
from medaudit.core.errors import DataError
from medaudit.tables import predictions

path = Path(sys.argv[1])
whole = path.read_bytes()
for seed in range(500):
    path.write_bytes(mutated(whole, seed))
    tracemalloc.start()
    try:
        predictions.read(path)
    except DataError:
        pass
    tracemalloc.stop()
"""
    path = written(room() / "table.parquet", tables["table.parquet"])
    folder = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([folder, *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1000:]
