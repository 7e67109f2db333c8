"""A repository of its own for a test: tracked files of this one, run with this environment."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SMALL = {
    "prepare": {"image_size": 64},
    "compute": {"threads": 1},
    "train": {"backbone": "test_resnet", "weights": "none", "epochs": 1, "warmup_epochs": 0},
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
"""Parameters of a run of a minute, whatever the task."""


@dataclass(frozen=True)
class Repo:
    """A git and DVC repository in a folder of its own."""

    path: Path

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command there with the environment of the tests first on the path."""
        done = subprocess.run(
            command, cwd=self.path, env=environment(), capture_output=True, text=True, check=False
        )
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{tail(done)}")
        return done

    def stage(self, name: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one stage without DVC."""
        return self.run(sys.executable, "-m", f"stages.{name}", check=check)

    def params(self, **sections: dict[str, object]) -> None:
        """Change keys of `params.yaml`."""
        path = self.path / "params.yaml"
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        for section, values in sections.items():
            content[section] = content[section] | values
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")

    def clone(self, path: Path) -> "Repo":
        """A clone of what is committed: without data, artifacts and DVC's cache."""
        self.run("git", "clone", "-q", str(self.path), str(path))
        return Repo(path)

    def copy(self, path: Path) -> "Repo":
        """A copy of all there is, with data, artifacts and DVC's cache."""
        shutil.copytree(self.path, path, symlinks=True)
        return Repo(path)

    def built(self) -> "Repo":
        """This repository after `dvc repro`, committed."""
        self.run("dvc", "repro")
        self.commit("results")
        return self

    def commit(self, message: str = "change") -> None:
        """Commit everything that git does not ignore."""
        self.run("git", "add", "-A")
        self.run("git", "commit", "-q", "--allow-empty", "-m", message)


def environment() -> dict[str, str]:
    """This environment, with its interpreter's folder first and git's identity set."""
    names = {f"GIT_{who}_NAME": "test" for who in ("AUTHOR", "COMMITTER")}
    mails = {f"GIT_{who}_EMAIL": "test@example.org" for who in ("AUTHOR", "COMMITTER")}
    first = str(Path(sys.executable).parent)
    return (
        os.environ
        | names
        | mails
        | {
            "PATH": first + os.pathsep + os.environ["PATH"],
            "DVC_NO_ANALYTICS": "1",
            "PYTHONWARNINGS": "default",
        }
    )


def tail(done: subprocess.CompletedProcess[str]) -> str:
    """The last lines that a command printed."""
    return "\n".join((done.stdout + done.stderr).splitlines()[-25:])


UNWANTED = ("metrics/", "plots/", "docs/", "tests/", "data.dvc", "dvc.lock")


def copy_tracked(target: Path, *, unwanted: tuple[str, ...] = UNWANTED) -> None:
    """Copy the working tree's tracked files, without those whose names begin so."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        source = ROOT / name
        if name.startswith(unwanted) or not source.is_file():
            continue
        place = target / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, place)
