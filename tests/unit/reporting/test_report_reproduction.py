"""What the reproduction notes say about code, machines, times and parameters."""

import dataclasses
import subprocess

from medaudit.reporting import reproduction
from medaudit.reporting.reproduction import Commit

MACHINE = {"processor": "CPU", "cores": 2, "system": "Linux", "python": "3.11"}


def git(folder, *words):
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *author, *words], cwd=folder, check=True, capture_output=True)


def test_outside_of_a_repository(tmp_path):
    assert reproduction.commit(tmp_path) == Commit("", dirty=False)
    assert Commit("", dirty=False).words == "not in a git repository"


def test_only_code_and_parameters_make_a_commit_dirty(tmp_path):
    git(tmp_path, "init")
    for name in ("params.yaml", "results.json"):
        (tmp_path / name).write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    (tmp_path / "results.json").write_text("2")
    assert not reproduction.commit(tmp_path).dirty
    (tmp_path / "params.yaml").write_text("2")
    found = reproduction.commit(tmp_path)
    assert found.dirty
    assert len(found.sha) == 40
    assert found.words == f"{found.sha[:12]} with uncommitted changes"


def test_stages_without_a_record_came_from_the_cache(found):
    clock = dict(reproduction.clock(found))
    assert clock["train"] == "75.2 s"
    assert clock["stress"] == "restored from cache"
    assert reproduction.machines(found) == ["Test CPU, 2 cores, Linux, Python 3.11.2"]


def test_several_machines_are_told_apart(found):
    record = {"seconds": 120, "machine": MACHINE, "versions": {"torch": "2.0"}}
    both = dataclasses.replace(found, runtime={**found.runtime, "stress": record})
    assert len(reproduction.machines(both)) == 2
    assert dict(reproduction.clock(both))["stress"] == "2.0 min"
    assert dict(reproduction.versions(both))["torch"] == "2.13.0, 2.0"


def test_parameters_are_flat_and_seeds_are_found():
    params = {"train": {"seed": 1, "augment": {"flips": True}}, "stress": {"severities": [1, 2]}}
    assert list(reproduction.flat(params)) == [
        ("train.seed", "1"),
        ("train.augment.flips", "True"),
        ("stress.severities", "1, 2"),
    ]
    assert reproduction.seeds(params) == [("train.seed", "1")]
