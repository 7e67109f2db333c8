"""What the reproduction notes say about code, machines, times and parameters."""

import dataclasses
import subprocess
from pathlib import Path

import pytest
import yaml

from medaudit.core import git as git_room
from medaudit.report import reproduction
from medaudit.report.blocks import Context, ReportParams
from medaudit.report.reproduction import Commit
from medaudit.report.sections import deployment

COMMIT = Commit("0123abc", dirty=False)
PROFILE = {
    "data": {"dataset": "ham10000", "root": "data/ham10000"},
    "train": {"epochs": 10, "patience": None, "augment": {"flips": True}},
    "stress": {"severities": [1, 2]},
    "report": {"title": "A"},
}
EMBEDDED = PROFILE | {"data": {"dataset": "ham10000", "root": "data/phantom"}}
MACHINE = {"processor": "CPU", "cores": 2, "system": "Linux", "python": "3.11"}


def git(folder, *words):
    author = ["-c", "user.name=a", "-c", "user.email=a@b"]
    command = ["git", *author, *words]
    done = subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_drawn_images_do_not_pass_for_photographs(found):
    """The embedded data take the layout of HAM10000; none of its facts is true of them."""
    histology = "every melanoma was confirmed by histology"
    preparation = dataclasses.replace(found.preparation, dataset="ham10000", notes=(histology,))
    drawn = dataclasses.replace(found, preparation=preparation)
    assert reproduction.data_set(drawn) == "embedded drawn images, laid out as ham10000"
    (note,) = reproduction.data_notes(drawn)
    assert "drawn by tools/phantom, not photographed" in note
    real = dataclasses.replace(drawn, params={**found.params, "data": PROFILE["data"]})
    assert reproduction.data_set(real) == "ham10000"
    assert reproduction.data_notes(real) == (histology,)


def test_outside_of_a_repository(tmp_path):
    assert reproduction.commit(tmp_path, PROFILE) == Commit("", dirty=False)
    assert Commit("", dirty=False).words == "not in a git repository"


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init")
    for name in ("params.yaml", "data.dvc", "dvc.yaml", "results.json"):
        (tmp_path / name).write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    return tmp_path


@pytest.mark.parametrize("name", ["params.yaml", "data.dvc", "dvc.yaml"])
def test_code_parameters_and_data_make_a_commit_dirty(repository, name):
    (repository / "results.json").write_text("2")
    assert not reproduction.commit(repository, EMBEDDED).dirty
    (repository / name).write_text("2")
    found = reproduction.commit(repository, EMBEDDED)
    assert found.dirty
    assert len(found.sha) == 40
    assert found.words == f"{found.sha[:12]} with uncommitted changes"


def test_what_the_commands_restore_is_no_uncommitted_change(repository):
    for name in ("params.yaml", "data.dvc"):
        (repository / name).write_text("2")
    assert not reproduction.commit(repository, PROFILE).dirty
    (repository / "dvc.yaml").write_text("2")
    assert reproduction.commit(repository, PROFILE).dirty


def test_the_code_is_that_of_its_own_checkout(repository, monkeypatch):
    """Not that of the repository that the results lie in; a version where it was installed."""
    other = repository / "results"
    other.mkdir()
    monkeypatch.setattr(git_room, "home", lambda: None)
    assert reproduction.code(repository, PROFILE) == Commit("", dirty=False)
    monkeypatch.setattr(git_room, "home", lambda: repository)
    sha = reproduction.code(other, {}).sha
    assert sha == reproduction.code(repository, PROFILE).sha == git(repository, "rev-parse", "HEAD")
    # Parameters beside the code are not those of an audit elsewhere; code is.
    (repository / "params.yaml").write_text("2")
    assert reproduction.code(repository, EMBEDDED).dirty
    assert not reproduction.code(other, {}).dirty
    (repository / "src").mkdir()
    (repository / "src/new.py").write_text("")
    assert reproduction.code(other, {}).dirty


def test_machines_are_those_of_the_stages_that_ran_here(found):
    assert reproduction.machines(found) == ["Test CPU, 2 cores, Linux, Python 3.11.2"]


def test_the_report_does_not_say_how_long_anything_took(found):
    """A resumed run takes another time and leaves the same bytes."""
    record = {"seconds": 987.6, "machine": MACHINE, "versions": {"torch": "2.0"}}
    slow, fast = (
        dataclasses.replace(found, runtime={"train": record | {"seconds": seconds}})
        for seconds in (987.6, 1.2)
    )
    told = [
        deployment.reproduction_section(Context(each, ReportParams(), None, COMMIT, "a test"))
        for each in (slow, fast)
    ]
    assert told[0] == told[1]
    assert "2.0" in str(told[0])
    assert not any(time in str(told[0]) for time in ("987", "16.5 min"))


def test_several_machines_are_told_apart(found):
    record = {"seconds": 120, "machine": MACHINE, "versions": {"torch": "2.0"}}
    both = dataclasses.replace(found, runtime={**found.runtime, "stress": record})
    assert len(reproduction.machines(both)) == 2
    assert dict(reproduction.versions(both))["torch"] == "2.13.0, 2.0"


def test_parameters_are_flat_and_seeds_are_found():
    params = {"train": {"seed": 1, "augment": {"flips": True}}, "stress": {"severities": [1, 2]}}
    assert list(reproduction.flat(params)) == [
        ("train.seed", "1"),
        ("train.augment.flips", "True"),
        ("stress.severities", "1, 2"),
    ]
    assert reproduction.seeds(params) == [("train.seed", "1")]


@pytest.fixture
def profiles(tmp_path):
    """Two profiles: `far`, and `near`, which is `PROFILE`."""
    far = PROFILE | {"train": {"epochs": 1}, "stress": {"severities": [3]}}
    for name, content in {"far": far, "near": PROFILE}.items():
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def commands(profiles, **changes):
    return reproduction.commands(COMMIT, PROFILE | changes, profiles=profiles)


def test_the_embedded_data_need_two_commands(profiles):
    data = {"dataset": "ham10000", "root": "data/phantom"}
    assert commands(profiles, data=data) == ["git checkout 0123abc", "make repro"]


def test_other_data_are_put_in_place_and_tracked(profiles):
    expected = [
        "git checkout 0123abc",
        "make setup",
        "source .venv/bin/activate",
        "# put the data set ham10000 at data/ham10000",
        "medaudit use near",
        "dvc add data",
        "dvc repro",
    ]
    assert commands(profiles) == expected
    assert commands(profiles, report={"title": "B", "case_images": "withhold"}) == expected


def test_what_differs_from_the_nearest_profile_is_named(profiles):
    train = {"epochs": 12, "patience": None, "augment": {"flips": False}}
    found = commands(profiles, train=train, stress={"severities": [1], "seed": 2})
    assert found[4:9] == [
        "medaudit use near",
        "# in params.yaml set train.epochs: 12",
        "# in params.yaml set train.augment.flips: false",
        "# in params.yaml set stress.severities: [1]",
        "# in params.yaml set stress.seed: 2",
    ]


def test_what_a_profile_has_beyond_is_removed(profiles):
    assert "# in params.yaml remove train.patience" in commands(
        profiles, train={"epochs": 10, "augment": {"flips": True}}
    )


def test_data_outside_of_the_repository_are_not_added(profiles):
    found = commands(profiles, data=PROFILE["data"] | {"root": "/elsewhere/ham"})
    assert '# in params.yaml set data.root: "/elsewhere/ham"' in found
    assert not any(line.startswith("dvc add") for line in found)


def test_without_profiles_the_parameters_are_those_of_the_commit(tmp_path):
    assert not any("medaudit use" in line for line in commands(tmp_path))


def measured(found, folder, **changes):
    """The results of a run whose spread was measured, with other parameters if asked."""
    spreads = folder / "profiles/spread"
    spreads.mkdir(parents=True)
    (spreads / "study.yaml").write_text(yaml.safe_dump(dict(found.params)))
    (spreads / "study.csv").write_text(
        "stage,metric,seeds,mean,sd,low,high\n"
        "evaluate,macro_auroc,5,0.9,0.0063,0.89,0.91\n"
        "evaluate,critical_sensitivity,5,0.7,0.051,0.6,0.8\n"
        "slice,worst_accuracy,5,0.7,0.1,0.6,0.8\n"
    )
    params = {**found.params, "train": {**found.params["train"], **changes}}
    return dataclasses.replace(found, root=folder, params=params)


def test_the_report_tells_the_spread_between_seeds(found, tmp_path):
    said = deployment.uncertainty(measured(found, tmp_path, seed=99))
    assert said == (
        "Intervals hold the sampling of the test groups, not the training of the model. Another "
        "seed, number of threads or kind of processor trains another model; how far that moves "
        "the numbers was measured with 5 seeds: standard deviation of Macro AUROC 0.006, "
        f"Sensitivity of {found.critical} 0.051."
    )


def test_a_spread_of_other_parameters_is_not_told(found, tmp_path):
    said = deployment.uncertainty(measured(found, tmp_path, epochs=77))
    assert said.endswith("how far that moves the numbers was not measured.")


def test_a_model_that_came_trained_has_no_spread_of_training(found, tmp_path):
    said = deployment.uncertainty(measured(found, tmp_path, epochs=0))
    assert "rounding" in said
    assert "seed" not in said
    elsewhere = dataclasses.replace(found, stages=("evaluate",))
    assert deployment.uncertainty(elsewhere).endswith("not the training of the model.")


def unused_spreads(root):
    """Stored spreads that belong to the parameters of no profile."""
    profiles = [yaml.safe_load(path.read_text()) for path in (root / "profiles").glob("*.yaml")]
    return [
        path.stem
        for path in sorted((root / reproduction.SPREADS).glob("*.yaml"))
        if all(
            reproduction.unlike(profile, yaml.safe_load(path.read_text()), free=reproduction.FREE)
            for profile in profiles
        )
    ]


def test_every_stored_spread_is_that_of_a_profile():
    """A parameter that is renamed or added in a profile has to be in the spread's too."""
    root = Path(__file__).resolve().parents[3]
    assert unused_spreads(root) == []
    stored = sorted((root / reproduction.SPREADS).glob("*"))
    assert len({path.stem for path in stored}) * 2 == len(stored)  # parameters and numbers
    for path in (root / reproduction.SPREADS).glob("*.csv"):
        assert reproduction.read(path).seeds > 1


def test_a_spread_that_no_profile_uses_is_noticed(found, tmp_path):
    measured(found, tmp_path)
    profile = tmp_path / "profiles/study.yaml"
    profile.write_text(yaml.safe_dump(dict(found.params)))
    assert unused_spreads(tmp_path) == []
    profile.write_text(yaml.safe_dump({**found.params, "slice": {"margin": 0.2}}))
    assert unused_spreads(tmp_path) == ["study"]


def test_without_stored_spreads_nothing_is_told(found, tmp_path):
    said = deployment.uncertainty(dataclasses.replace(found, root=tmp_path))
    assert said.endswith("how far that moves the numbers was not measured.")


def test_a_table_that_the_run_writes_into_report_is_no_change_of_the_code(repository):
    (repository / "report").mkdir(exist_ok=True)
    (repository / "report/planted.csv").write_text("plant\n")
    assert not reproduction.commit(repository, PROFILE).dirty
    (repository / "report/deployment_checklist.yaml").write_text("items: []\n")
    assert reproduction.commit(repository, PROFILE).dirty
