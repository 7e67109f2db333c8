"""What DVC remembers are pickles: after the set-up they lie where only this user writes."""

import os
import pickle
import sqlite3
import stat
import sys
from pathlib import Path

import pytest
from small_repo import Repo

from tools import install

pytestmark = pytest.mark.pipeline
MODE_PICKLE = 4  # of diskcache


@pytest.fixture
def repo(tmp_path, monkeypatch):
    """A repository with one tracked file, whose DVC remembers in a folder open to everybody."""
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "open"))
    repo = Repo(tmp_path / "repo")
    repo.path.mkdir()
    repo.run("git", "init", "-q")
    repo.run("dvc", "init", "-q")
    repo.run("dvc", "config", "core.site_cache_dir", str(tmp_path / "open"))
    monkeypatch.delenv("DVC_SITE_CACHE_DIR")
    for name in ("tracked.txt", "other.txt"):
        (repo.path / name).write_text(name)
    repo.run("dvc", "add", "-q", "tracked.txt")
    monkeypatch.chdir(repo.path)
    return repo


class Touch:
    """Leaves a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def plant(folder, marker):
    """Put a pickle among the links that DVC remembers."""
    (links,) = folder.rglob("links/cache.db")
    with sqlite3.connect(links) as database:
        planted = pickle.dumps(Touch(marker))
        changed = database.execute(
            "UPDATE Cache SET key = 'other.txt', mode = ?, value = ?", (MODE_PICKLE, planted)
        )
        assert changed.rowcount == 1
    database.close()


def rights(path):
    return stat.S_IMODE(path.stat().st_mode)


def test_a_pickle_that_somebody_else_put_there_is_not_read(repo, tmp_path):
    marker = tmp_path / "marker"
    plant(tmp_path / "open", marker)
    install.own_dvc_folder(tmp_path / "own")
    repo.run("dvc", "checkout")
    assert not marker.exists()
    (repo.path / ".dvc/config.local").unlink()
    repo.run("dvc", "checkout")
    assert marker.exists(), "without a folder of its own, DVC reads what was planted"


def test_the_folder_stays_closed_to_others_and_is_the_one_in_use(repo, tmp_path):
    before = os.umask(0)
    try:
        install.own_dvc_folder(tmp_path / "own")
        repo.run("dvc", "add", "-q", "other.txt")
    finally:
        os.umask(before)
    assert rights(tmp_path / "own") == 0o700
    assert list((tmp_path / "own").rglob("cache.db"))


def test_a_folder_that_was_open_is_closed(repo, tmp_path):
    (tmp_path / "own").mkdir(mode=0o777)
    (tmp_path / "own").chmod(0o777)
    install.own_dvc_folder(tmp_path / "own")
    assert rights(tmp_path / "own") == 0o700


def test_experiments_in_copies_use_the_same_folder(repo, tmp_path):
    install.own_dvc_folder(tmp_path / "own")
    repo.run("dvc", "stage", "add", "-q", "-n", "say", "-o", "said", "dvc doctor > said")
    repo.commit()
    repo.run("dvc", "exp", "run", "--temp", "-q", "-n", "copy")
    repo.run("dvc", "exp", "apply", "-q", "copy")
    assert f"Repo.site_cache_dir: {tmp_path / 'own'}" in (repo.path / "said").read_text()


def test_dvc_of_this_environment_was_given_a_folder_inside_it():
    """Skipped where the environment was not made by `make setup`, or serves several checkouts."""
    config = install.locks.ROOT / ".dvc/config.local"
    folder = Path(sys.prefix) / "dvc"
    if not config.is_file() or str(folder) not in config.read_text(encoding="utf-8"):
        pytest.skip("DVC of this checkout was not set up by `make setup`")
    assert rights(folder) == 0o700
