"""A small repository to run the true pipeline in: 150 phantom images, a tiny net."""

import shutil
from pathlib import Path

import pytest
from small_repo import Repo, copy_tracked

from tools.phantom import generate

SMALL = {
    "prepare": {"image_size": 64},
    "compute": {"threads": 1},
    "train": {
        "backbone": "test_resnet",
        "weights": "none",
        "epochs": 1,
        "class_weights": "none",
        "warmup_epochs": 0,
    },
    "intervals": {"replicates": 200},
    "stress": {"corruptions": ["gaussian_blur", "jpeg"], "severities": [1, 3]},
    "slice": {
        "columns": ["sex"],
        "quantiles": {"age": 2},
        "crossed": [],
        "confirmatory": ["sex"],
        "min_size": 5,
        "min_positives": 1,
    },
    "discovery": {"permutations": 50},
    "calibrate": {"floor_replicates": 50},
    "cases": {"per_kind": 1},
}


@pytest.fixture(scope="session")
def small_data(tmp_path_factory) -> Path:
    """150 phantom images."""
    out = tmp_path_factory.mktemp("small") / "phantom"
    generate(out, n=150, seed=3)
    return out


@pytest.fixture(scope="session")
def fresh_repo(tmp_path_factory, small_data) -> Repo:
    """The small repository, committed, with nothing run yet; do not change it."""
    repo = Repo(tmp_path_factory.mktemp("fresh") / "repo")
    copy_tracked(repo.path)
    shutil.copytree(small_data, repo.path / "data/phantom")
    repo.params(**SMALL)
    repo.run("git", "init", "-q")
    repo.run("dvc", "add", "-q", "data")
    repo.commit("start")
    return repo


@pytest.fixture(scope="session")
def built_repo(tmp_path_factory, fresh_repo) -> Repo:
    """The small repository after `dvc repro`, committed; do not change it."""
    repo = Repo(tmp_path_factory.mktemp("built") / "repo")
    shutil.copytree(fresh_repo.path, repo.path, symlinks=True)
    repo.run("dvc", "repro")
    repo.commit("results")
    return repo


@pytest.fixture
def repo(tmp_path, built_repo) -> Repo:
    """A copy of the built repository that a test may change."""
    copy = Repo(tmp_path / "repo")
    shutil.copytree(built_repo.path, copy.path, symlinks=True)
    return copy
