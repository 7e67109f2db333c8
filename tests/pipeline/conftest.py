"""A small repository to run the true pipeline in: 150 phantom images, a tiny net."""

import shutil
from pathlib import Path

import pytest
from small_repo import SMALL, Repo, copy_tracked

from tools.phantom import generate


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
    repo.params(train={"class_weights": "none"})
    repo.run("git", "init", "-q")
    repo.run("dvc", "add", "-q", "data")
    repo.commit("start")
    return repo


@pytest.fixture(scope="session")
def built_repo(tmp_path_factory, fresh_repo) -> Repo:
    """The small repository after `dvc repro`, committed; do not change it."""
    return fresh_repo.copy(tmp_path_factory.mktemp("built") / "repo").built()


@pytest.fixture
def repo(tmp_path, built_repo) -> Repo:
    """A copy of the built repository that a test may change."""
    return built_repo.copy(tmp_path / "repo")
