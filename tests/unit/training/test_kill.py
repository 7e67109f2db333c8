"""A trainer that is killed without warning goes on and ends with the same files."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[3]
PARAMS = {
    "compute": {"threads": 1, "device": "cpu"},
    "train": {
        "backbone": "test_efficientnet",
        "epochs": 3,
        "batch_size": 4,
        "learning_rate": 0.001,
        "mixup": 0.2,
        "warmup_epochs": 0.5,
    },
    "report": {"privacy": "open"},
}
OUTPUTS = ("artifacts", "metrics", "plots")


def workspace(folder: Path, prepared: Path) -> Path:
    shutil.copytree(prepared, folder / "artifacts/prepared")
    (folder / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    return folder


def start(folder: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen([sys.executable, "-m", "stages.train"], cwd=folder, env=environment)


def files(folder: Path) -> dict[str, bytes]:
    found = (path for name in OUTPUTS for path in (folder / name).rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def kill_after_an_epoch(folder: Path) -> None:
    trainer = start(folder)
    deadline = time.monotonic() + 120
    while not list(folder.glob(".resume/train-*/checkpoint.pt")):
        assert trainer.poll() is None, "the trainer ended before its first checkpoint"
        assert time.monotonic() < deadline
        time.sleep(0.001)
    trainer.send_signal(signal.SIGKILL)
    assert trainer.wait() == -signal.SIGKILL


@pytest.mark.slow
def test_killed_and_resumed_training_gives_identical_files(
    tmp_path: Path, prepared_folder: Path
) -> None:
    whole = workspace(tmp_path / "whole", prepared_folder)
    assert start(whole).wait() == 0

    broken = workspace(tmp_path / "broken", prepared_folder)
    kill_after_an_epoch(broken)
    assert not (broken / "artifacts/model").exists()
    shutil.rmtree(broken / "artifacts/live")  # DVC removes outputs before it runs a stage
    assert start(broken).wait() == 0

    assert files(whole) == files(broken)
    assert "artifacts/model/model.safetensors" in files(whole)
