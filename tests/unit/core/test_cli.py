"""The command line, and the profiles that it hands out."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from medaudit.audits.calibrate import CalibrateParams
from medaudit.audits.evaluate import EvaluateParams
from medaudit.audits.properties import DiscoveryParams
from medaudit.audits.selective import SelectiveParams
from medaudit.audits.slicing import SliceParams
from medaudit.audits.stress import StressParams
from medaudit.cases.case_selection import CasesParams
from medaudit.cli import app
from medaudit.core.params import load, read_yaml
from medaudit.data import datasets
from medaudit.data.manifest import PrepareParams
from medaudit.model.compute import ComputeParams
from medaudit.model.predictions import PredictParams
from medaudit.pixels import corruptions
from medaudit.report.blocks import ReportParams
from medaudit.stats.bootstrap import IntervalParams
from medaudit.training.loop import TrainParams

ROOT = Path(__file__).resolve().parents[3]
PROFILES = sorted((ROOT / "profiles").glob("*.yaml"))
SECTIONS = (
    PrepareParams,
    ComputeParams,
    TrainParams,
    PredictParams,
    IntervalParams,
    EvaluateParams,
    StressParams,
    SliceParams,
    DiscoveryParams,
    CalibrateParams,
    SelectiveParams,
    CasesParams,
    ReportParams,
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    profiles = tmp_path / "profiles"
    profiles.mkdir()
    (profiles / "one.yaml").write_text("# first\na: 1\n")
    (profiles / "two.yaml").write_text("# second\na: 2\n")
    (tmp_path / "params.yaml").write_text("# first\na: 1\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def call(*words):
    return CliRunner().invoke(app, list(words))


@pytest.mark.parametrize("profile", PROFILES, ids=lambda path: path.stem)
def test_every_profile_is_complete_and_nothing_else(profile):
    datasets.read_params(profile)
    for section in SECTIONS:
        load(section, profile)
    assert set(read_yaml(profile)) == {"data", *(section.section for section in SECTIONS)}
    assert corruptions.conditions(load(StressParams, profile).corruptions)


def test_params_yaml_is_the_default_profile():
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    assert text == (ROOT / "profiles/phantom.yaml").read_text(encoding="utf-8")


def test_use_copies_a_profile_and_shows_the_difference(folder):
    done = call("use", "two")
    assert done.exit_code == 0
    assert "+a: 2" in done.output
    assert (folder / "params.yaml").read_text() == "# second\na: 2\n"


def test_use_does_not_overwrite_hand_edits(folder):
    (folder / "params.yaml").write_text("a: 99\n")
    assert call("use", "two").exit_code == 1
    assert (folder / "params.yaml").read_text() == "a: 99\n"
    assert call("use", "two", "--force").exit_code == 0
    assert (folder / "params.yaml").read_text() == "# second\na: 2\n"


def test_parameters_that_are_no_text_are_shown_and_kept(folder):
    (folder / "params.yaml").write_bytes(b"a: \xff\n")
    assert "two" in call("profiles").output
    assert call("use", "two").exit_code == 1
    assert (folder / "params.yaml").read_bytes() == b"a: \xff\n"


def test_use_names_the_known_profiles(folder, caplog):
    assert call("use", "three").exit_code == 1


def test_profiles_are_listed_with_the_current_one_marked(folder):
    assert call("profiles").output.splitlines() == [
        "* one              first",
        "  two              second",
    ]


@pytest.mark.parametrize("command", ["use", "profiles", "clean"])
def test_help_says_what_a_command_does(command):
    done = call(command, "--help")
    assert done.exit_code == 0
    assert "Usage" in done.output
