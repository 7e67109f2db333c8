"""Typing mistakes, Ctrl-C and kill -9 in every stage: one line, nothing half written."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
import yaml
from small_repo import ROOT, environment

pytestmark = [pytest.mark.slow, pytest.mark.pipeline]

PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
STAGES = tuple(PIPELINE["stages"])


# Read by Python at its start: whoever opens the parameters waits, till a signal comes.
WAITS = """
import sys, time

def wait(event, arguments):
    if event == "open" and str(arguments[0]).endswith("params.yaml"):
        time.sleep(60)

sys.addaudithook(wait)
"""


def start(repo, stage, *, python_path=()):
    known = environment()
    paths = [*map(str, python_path), *filter(None, [known.get("PYTHONPATH")])]
    return subprocess.Popen(
        [sys.executable, "-m", f"stages.{stage}"],
        cwd=repo.path,
        env={**known, "PYTHONPATH": os.pathsep.join(paths)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def begun(process, stage):
    """Read what the stage says up to the line with which its work begins."""
    line = process.stderr.readline()
    assert line.rstrip().endswith(f"{stage}: begins"), line


def clear(repo, stage):
    """What DVC does before a stage runs, and what would let the stage skip its work."""
    for path in outputs(repo, stage):
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
    shutil.rmtree(repo.path / ".resume", ignore_errors=True)


def outputs(repo, stage):
    entry = PIPELINE["stages"][stage]
    names = [*entry.get("outs", [])]
    for kind in ("metrics", "plots"):
        names += [next(iter(each)) for each in entry.get(kind, [])]
    return [repo.path / name for name in names]


def assert_whole(path):
    """Files are complete or absent."""
    files = [path] if path.is_file() else [p for p in path.rglob("*") if p.is_file()]
    for file in files:
        if file.suffix == ".json":
            json.loads(file.read_text())
        elif file.suffix == ".csv":
            pd.read_csv(file)
        elif file.suffix == ".parquet":
            pd.read_parquet(file)
        elif file.suffix == ".pdf":
            assert file.read_bytes().rstrip().endswith(b"%%EOF")


def temporary(repo):
    """Unfinished files and folders, save those that are kept to go on from."""
    found = [path.relative_to(repo.path) for path in repo.path.rglob(".*.part")]
    return [path for path in found if path.parts[0] != ".resume"]


@pytest.mark.parametrize("stage", STAGES)
def test_kill_nine_leaves_nothing_half_written_and_the_stage_runs_again(repo, stage):
    expected = {p: p.read_bytes() for p in outputs(repo, stage) if p.suffix in {".json", ".csv"}}
    for delay in (0, 0.3, 1.0):
        clear(repo, stage)
        process = start(repo, stage)
        begun(process, stage)
        time.sleep(delay)
        process.kill()
        process.communicate()
        for path in outputs(repo, stage):
            assert_whole(path)
    repo.stage(stage)
    for path, content in expected.items():
        assert path.read_bytes() == content, path


def assert_interrupted(repo, stage, process):
    """Press Ctrl-C: one line, the exit code of an interruption, nothing unfinished left."""
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert said.count("interrupted") == 1
    assert said.splitlines()[-1].startswith(f"ERROR   {stage}: interrupted")
    assert temporary(repo) == []
    for path in outputs(repo, stage):
        assert_whole(path)


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c_is_one_line(repo, stage, tmp_path):
    clear(repo, stage)
    # Some stages are done before a signal could reach them, so they are made to wait.
    (tmp_path / "gate").mkdir()
    (tmp_path / "gate/sitecustomize.py").write_text(WAITS, encoding="utf-8")
    process = start(repo, stage, python_path=[tmp_path / "gate"])
    begun(process, stage)
    time.sleep(0.5)
    assert_interrupted(repo, stage, process)


@pytest.mark.parametrize("stage", ["evaluate", "stress", "report"])
def test_ctrl_c_amid_the_work_leaves_nothing_temporary(repo, stage):
    clear(repo, stage)
    process = start(repo, stage)
    begun(process, stage)
    time.sleep(0.5)  # each takes more than two seconds
    assert_interrupted(repo, stage, process)


@pytest.mark.parametrize("stage", STAGES)
def test_a_misspelt_parameter_stops_the_stage_before_any_work(repo, stage):
    section = {"slice": "slice"}.get(stage, stage)
    repo.params(**{section: {"sede": 3}})
    before = {p: p.read_bytes() for p in outputs(repo, stage) if p.is_file()}
    done = repo.stage(stage, check=False)
    assert done.returncode == 1
    assert f"unknown key `{section}.sede`" in done.stderr
    assert "Traceback" not in done.stderr
    begins, error = done.stderr.strip().splitlines()
    assert begins.endswith(f"{stage}: begins")
    assert error.startswith("ERROR")
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.parametrize(
    ("stage", "section", "values", "words"),
    [
        ("train", "train", {"backbone": "resnet5O"}, "resnet5O"),
        ("train", "train", {"weights": "nowhere.safetensors"}, "nowhere.safetensors"),
        ("train", "train", {"weights": "bundled"}, "bundled"),
        ("stress", "stress", {"corruptions": ["gausian_blur"]}, "gausian_blur"),
        ("slice", "slice", {"columns": ["sexx"], "confirmatory": []}, "sexx"),
        ("calibrate", "calibrate", {"methods": ["identity", "plat"]}, "calibrate.methods"),
        ("selective", "selective", {"scores": ["msp"]}, "selective.scores"),
        ("prepare", "data", {"dataset": "ham1000"}, "ham1000"),
        ("prepare", "data", {"root": "data/none"}, "data/none"),
    ],
)
def test_an_unknown_name_is_one_line(repo, stage, section, values, words):
    repo.params(**{section: values})
    done = repo.stage(stage, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert words in last


@pytest.mark.parametrize(
    ("stage", "missing", "words"),
    [
        ("train", "artifacts/prepared", "prepare"),
        ("evaluate", "artifacts/model", "train"),
        ("stress", "artifacts/operating_points.json", "evaluate"),
        ("slice", "artifacts/predictions/clean/plain.parquet", "stage"),
        ("report", "metrics/stress.json", "stress"),
    ],
)
def test_a_missing_input_names_the_stage_that_makes_it(repo, stage, missing, words):
    path = repo.path / missing
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    shutil.rmtree(repo.path / ".resume", ignore_errors=True)
    done = repo.stage(stage, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert words in done.stderr.strip().splitlines()[-1]
