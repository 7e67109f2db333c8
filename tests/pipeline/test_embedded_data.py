"""`make data` in clones of a repository whose embedded data are 50 images."""

import shutil
import sys

import pytest
from small_repo import Repo, copy_tracked

from tools.embedded_data import digest
from tools.phantom import generate

pytestmark = [pytest.mark.slow, pytest.mark.pipeline]

N, SEED = 50, 3


@pytest.fixture(scope="module")
def origin(tmp_path_factory):
    """The repository, with the data committed to data.dvc."""
    repo = Repo(tmp_path_factory.mktemp("origin") / "repo")
    copy_tracked(repo.path)
    generate(repo.path / "data/phantom", n=N, seed=SEED)
    repo.run("git", "init", "-q")
    repo.run("dvc", "add", "-q", "data")
    repo.commit("start")
    return repo


@pytest.fixture
def clone(origin, tmp_path):
    return origin.clone(tmp_path / "clone")


def make_data(repo, *, n=N, seed=SEED):
    words = ("-m", "tools.embedded_data", "--n", str(n), "--seed", str(seed))
    return repo.run(sys.executable, *words, check=False)


def files(repo):
    return sorted(p.relative_to(repo.path) for p in (repo.path / "data").rglob("*") if p.is_file())


def test_the_digest_is_that_of_dvc(origin):
    assert digest(origin.path / "data") in (origin.path / "data.dvc").read_text()


def test_a_clone_draws_the_data_once_and_then_has_them_in_its_cache(origin, clone):
    first = make_data(clone)
    assert first.returncode == 0
    assert "drawing 50 images" in first.stdout
    assert files(clone) == files(origin)
    assert clone.run("git", "status", "--porcelain").stdout == ""
    assert make_data(clone).stdout == ""
    shutil.rmtree(clone.path / "data")
    again = make_data(clone)
    assert (again.returncode, again.stdout) == (0, "")
    assert files(clone) == files(origin)


def test_other_bytes_than_those_of_data_dvc_do_not_reach_data(clone):
    done = make_data(clone, seed=SEED + 1)
    assert done.returncode == 1
    assert "are not those of data.dvc" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (clone.path / "data").exists()


def test_files_of_a_user_are_left_alone(clone):
    mine = clone.path / "data/mine/image.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    done = make_data(clone)
    assert done.returncode == 1
    assert "is left as it is. Your own data: dvc add data." in done.stderr
    assert files(clone) == [mine.relative_to(clone.path)]
    clone.run("dvc", "add", "-q", "data")
    assert make_data(clone).returncode == 0
    assert mine.read_bytes() == b"mine"


def test_data_of_a_user_come_from_the_remote_of_the_user(origin, clone, tmp_path):
    (clone.path / "data/mine").mkdir(parents=True)
    (clone.path / "data/mine/image.jpg").write_bytes(b"mine")
    clone.run("dvc", "remote", "add", "-q", "-d", "mine", str(tmp_path / "remote"))
    clone.run("dvc", "add", "-q", "data")
    clone.run("dvc", "push", "-q", "data.dvc")
    clone.commit("own data")
    other = clone.clone(tmp_path / "other")
    (tmp_path / "remote").rename(tmp_path / "away")
    done = make_data(other)
    assert done.returncode == 1
    assert "data.dvc names 1 files, the embedded data are 104" in done.stderr
    (tmp_path / "away").rename(tmp_path / "remote")
    assert make_data(other).returncode == 0
    assert (other.path / "data/mine/image.jpg").read_bytes() == b"mine"
