"""What docs/extending.md promises: how many files an extension touches, and what it computes again.

Every test edits a copy of a repository whose train, evaluate and stress stages are done, runs these
stages again in one process, and counts optimizer steps and forward passes.
"""

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml
from documented import apply, blocks, places
from small_repo import Repo, copy_tracked

from medaudit.core import layout
from tests.prepared_folders import make_prepared

pytestmark = [pytest.mark.slow, pytest.mark.pipeline]

RUN = """
import collections, importlib, json, os, signal, sys

import stages  # puts the package beside it first on the path
import torch
from medaudit.model import network

deadly, counts = json.loads(sys.argv[1]), collections.Counter()


def count(owner, name, what):
    real = getattr(owner, name)

    def counted(*args, **kwargs):
        if stage == "stress" and counts[stage, what] == deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        counts[stage, what] += 1
        return real(*args, **kwargs)

    setattr(owner, name, counted)


count(torch.optim.AdamW, "step", "steps")
count(network.AuditModel, "predict", "passes")
for stage in ("train", "evaluate", "stress"):
    importlib.import_module(f"stages.{stage}").main()
asked = (("train", "steps"), ("evaluate", "passes"), ("stress", "passes"))
print(json.dumps([counts[each] for each in asked]))
"""
NOTHING = [0, 0, 0]  # optimizer steps of train, forward passes of evaluate and of stress
PARAMS = {
    "compute": {"threads": 1, "device": "cpu"},
    "train": {
        "backbone": "test_resnet",
        "weights": "none",
        "epochs": 1,
        "warmup_epochs": 0,
        "class_weights": "none",
    },
    "predict": {"batch_size": 128},  # every table is one pass
    "intervals": {"replicates": 100},
    "stress": {"corruptions": ["jpeg", "gaussian_noise"], "severities": [1, 2, 3]},
}
CHECKS = (
    "tests/laws/test_law_corruptions.py",
    "tests/unit/metrics/test_metrics_documented.py",
    "tests/unit/model/test_versions.py",
    "tests/pipeline/test_dag.py",
)


def process(repo: Repo, deadly: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run the three stages, killed before a forward pass of stress if `deadly` says which."""
    return repo.run(sys.executable, "-c", RUN, json.dumps(deadly), check=False)


def computed(repo: Repo) -> list[int]:
    """Optimizer steps of train, forward passes of evaluate and of stress."""
    done = process(repo)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def changed(repo: Repo) -> set[str]:
    """The tracked files that are not as they were committed, and new ones."""
    listed = repo.run("git", "status", "--porcelain", "--untracked-files=all").stdout
    return {line[3:] for line in listed.splitlines()}


def touches_what_the_row_names(repo: Repo, row: str) -> bool:
    """Every changed file is named in the row, and every file that it names was changed."""
    named, found = places(row), changed(repo)
    return all(any(Path(file).match(name) for name in named) for file in found) and all(
        any(Path(file).match(name) for file in found) for name in named
    )


def replace(repo: Repo, path: str, old: str, new: str) -> None:
    file = repo.path / path
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), encoding="utf-8")


def add_corruption(repo: Repo) -> None:
    apply("A corruption, step by step", repo.path)
    repo.params(stress={"corruptions": [*PARAMS["stress"]["corruptions"], "salt"]})


def add_metric(repo: Repo) -> None:
    apply("A metric, step by step", repo.path)
    (line,) = blocks("A metric, step by step", "markdown")
    after = "| `npv` |"
    replace(repo, "docs/metrics.md", after, line + after)


def add_predictor(repo: Repo) -> None:
    apply("A predictor, step by step", repo.path)
    repo.params(predict={"predictors": ["plain", "mirrored"]})


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    """Trained and predicted: killed in its third condition of six, and then run to the end."""
    repo = Repo(tmp_path_factory.mktemp("finished") / "repo")
    copy_tracked(repo.path, unwanted=("docs/results/", "docs/images/", "data.dvc", "dvc.lock"))
    make_prepared(repo.path / layout.PREPARED, n=160)
    repo.params(**PARAMS)
    assert process(repo, deadly=2).returncode == -signal.SIGKILL
    store = repo.path / layout.RESUME / "predictions"
    assert len(list(store.glob("*.npz"))) == 4  # clean, train, and two conditions
    assert computed(repo) == [0, 0, 4]  # what was done is not done again
    assert len(list(store.iterdir())) == 9  # eight tables and the record; nothing unfinished
    repo.run("git", "init", "-q")
    repo.commit("done")
    return repo


@pytest.fixture
def repo(finished: Repo, tmp_path: Path) -> Repo:
    """One of its own for every test."""
    copy = Repo(tmp_path / "repo")
    shutil.copytree(finished.path, copy.path, symlinks=True)
    return copy


def test_a_corruption_touches_two_files_and_infers_only_itself(repo: Repo) -> None:
    add_corruption(repo)
    assert len(changed(repo)) == 2
    assert touches_what_the_row_names(repo, "corruption or shift")
    assert computed(repo) == [0, 0, 3]
    table = pd.read_csv(repo.path / "plots/stress/severity.csv")
    assert {"jpeg", "gaussian_noise", "salt"} <= set(table["corruption"])


def test_a_metric_touches_two_files_of_code_and_its_line_and_computes_nothing(repo: Repo) -> None:
    add_metric(repo)
    assert len(changed(repo)) == 3
    assert touches_what_the_row_names(repo, "metric")
    before = (repo.path / layout.CLEAN).read_bytes()
    assert computed(repo) == NOTHING
    assert (repo.path / layout.CLEAN).read_bytes() == before
    table = pd.read_csv(repo.path / "plots/evaluate/per_class.csv")
    found = table[table["metric"] == "youden"]
    parts = {name: table[table["metric"] == name]["value"].to_numpy() for name in set(table.metric)}
    assert len(found) == 2
    assert found["value"].to_numpy() == pytest.approx(
        parts["sensitivity"] + parts["specificity"] - 1
    )


def test_a_predictor_touches_two_files_and_infers_only_its_own(repo: Repo) -> None:
    add_predictor(repo)
    assert len(changed(repo)) == 2
    assert touches_what_the_row_names(repo, "predictor")
    before = (repo.path / layout.CLEAN).read_bytes()
    assert computed(repo) == [0, 2, 12]  # two passes make a table of two members
    assert (repo.path / layout.CLEAN).read_bytes() == before
    stages = yaml.safe_load((repo.path / "dvc.yaml").read_text())["stages"]
    outs = {name: [Path(out) for out in stages[name]["outs"]] for name in ("evaluate", "stress")}
    assert layout.clean_table("mirrored").parent in outs["evaluate"]
    assert layout.stress_table("jpeg-1", "mirrored").parents[1] in outs["stress"]
    tables = [path.relative_to(repo.path) for path in repo.path.glob("artifacts/**/*.parquet")]
    mirrored = [path for path in tables if "mirrored" in str(path)]
    assert len(mirrored) == 7
    owned = [out for held in outs.values() for out in held]
    assert all(any(out in path.parents for out in owned) for path in mirrored)


def test_an_edited_corruption_infers_itself_and_a_version_everything(repo: Repo) -> None:
    replace(repo, "src/medaudit/pixels/corruptions.py", "int(quality)]", "int(quality) + 1]")
    replace(repo, "src/medaudit/model/inference.py", "\nimport ", "\n# a thought\nimport ")
    replace(repo, "src/medaudit/model/network.py", '"""Logits (n, outputs)."""', '"""Others."""')
    assert computed(repo) == [0, 0, 3]
    for room in ("model", "training"):
        replace(repo, f"src/medaudit/{room}/__init__.py", "VERSION = ", "VERSION = 10 + ")
    steps, clean, stress = computed(repo)
    assert steps > 0
    assert (clean, stress) == (2, 6)  # the train role as well


def test_nothing_was_forgotten(repo: Repo) -> None:
    """The tests that name what is missing pass with all three, and fail without a line."""
    for add in (add_corruption, add_predictor, add_metric):
        add(repo)
    done = checked(repo)
    assert done.returncode == 0, done.stdout
    repo.run("git", "checkout", "-q", "docs/metrics.md")
    done = checked(repo, "-k", "documented")
    assert "no line in docs/metrics.md for ['youden']" in done.stdout


def checked(repo: Repo, *options: str) -> subprocess.CompletedProcess[str]:
    """The tests of the copy, on the code of the copy."""
    code = f"PYTHONPATH={repo.path / 'src'}"
    command = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, *CHECKS)
    return repo.run("env", code, *command, check=False)
