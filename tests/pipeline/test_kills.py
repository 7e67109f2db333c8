"""kill -9 at random moments of a whole run; MEDAUDIT_KILLS=200 asks for more than CI does."""

import ast
import json
import os
import shutil
import sys
from pathlib import Path

import pytest
from small_repo import Repo

pytestmark = [pytest.mark.slow, pytest.mark.pipeline]

KILLS = int(os.environ.get("MEDAUDIT_KILLS", "20"))
DRIVER = Path(__file__).with_name("kill_driver.py")
# Wall clocks and unfinished work, and what git, DVC and Python keep for themselves.
OWN = {".git", ".dvc", ".resume", "runtime", "__pycache__"}


def everything(root):
    """All files of a repository with their bytes."""
    files = (path for path in root.rglob("*") if path.is_file())
    named = {path.relative_to(root): path for path in files}
    return {name: path.read_bytes() for name, path in named.items() if not OWN & {*name.parts}}


def drive(repo, *, kills, seconds, seed):
    asked = (str(kills), json.dumps(seconds), str(seed))
    said = repo.run(sys.executable, str(DRIVER), *asked).stdout
    return ast.literal_eval(said.strip().splitlines()[-1])


@pytest.fixture
def new_repo(tmp_path, fresh_repo):
    """A repository with data, in which nothing was run."""
    shutil.copytree(fresh_repo.path, tmp_path / "repo", symlinks=True)
    return Repo(tmp_path / "repo")


def test_a_run_that_was_killed_over_and_over_leaves_the_bytes_of_one_that_was_not(new_repo):
    """All of them: artefacts, metrics, plots, report and PDF; and nothing besides."""
    repo = new_repo
    seconds = drive(repo, kills=0, seconds={}, seed=0)["seconds"]
    whole = everything(repo.path)
    assert Path("report/report.pdf") in whole
    for name in (".resume", "artifacts", "metrics", "plots", "runtime"):
        shutil.rmtree(repo.path / name)
    struck = drive(repo, kills=KILLS, seconds=seconds, seed=1)["struck"]
    sys.stdout.write(f"struck: {struck}\n")  # read by `python -m tests.fuzz`
    assert sum(struck.values()) == KILLS
    assert max(struck.values()) - min(struck.values()) <= 1
    found = everything(repo.path)
    assert sorted(found) == sorted(whole)
    assert [name for name in whole if found[name] != whole[name]] == []
    assert not list((repo.path / ".resume").rglob(".*.part"))
