"""Findings, atomic files, stage outcomes, the torchvision guard."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medaudit.core import files, findings, runner
from medaudit.core.errors import DataError, listed
from medaudit.core.findings import Findings

REPOSITORY = Path(__file__).parents[3]


def test_findings_are_rounded_and_undefined_is_null(tmp_path):
    found = Findings(
        {"a": 0.12345678, "b": float("nan"), "n": 3, "worst": "x", "np": np.float64(0.5)},
        {"t": pd.DataFrame({"v": [1 / 3]})},
    )
    findings.write(found, "toy", root=tmp_path)
    assert json.loads((tmp_path / "metrics/toy.json").read_text()) == {
        "a": 0.123457,
        "b": None,
        "n": 3,
        "worst": "x",
        "np": 0.5,
    }
    assert (tmp_path / "plots/toy/t.csv").read_bytes() == b"v\n0.333333\n"


def test_a_failed_write_leaves_the_old_file_and_no_part(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail():
        with files.atomic(path) as part:
            part.write_text("half")
            raise RuntimeError("halfway")

    with pytest.raises(RuntimeError, match="halfway"):
        fail()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_digest_separates_parts():
    assert files.digest([b"ab", b"c"]) != files.digest([b"a", b"bc"])


def test_nan_is_not_written_as_json(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "a.json", {"a": float("nan")})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "not found; run the toy stage first"),
        (b"{", "not valid JSON .*; run the toy stage again"),
        (b'{"a": "\xff"}', "not valid JSON .*; run the toy stage again"),
        (b"[1]", "expected a JSON object, got list; run the toy stage again"),
        (b'{"b": 1}', "lacks the keys a; run the toy stage again"),
    ],
)
def test_json_that_is_not_what_a_stage_wrote_is_one_line(tmp_path, content, words):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"a\.json: {words}") as caught:
        files.read_json(path, stage="toy", keys=["a"])
    assert "\n" not in str(caught.value)


def test_an_interrupt_while_a_stage_is_imported_is_one_line(tmp_path):
    planted = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(9)\n"
    (tmp_path / "pandas.py").write_text(planted)
    done = subprocess.run(
        [sys.executable, "-m", "stages.slice"],
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 130
    assert done.stderr == "interrupted before the stage began; run it again\n"


def test_an_interrupt_of_a_running_stage_ends_its_work_in_order(tmp_path):
    code = """
import os, signal, sys
sys.argv[0] = "-m"
import stages
from medaudit.core import runner
def main():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    finally:
        sys.stdout.write("left in order")
runner.run(main, "toy")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 130
    assert done.stdout == "left in order"
    assert "interrupted; run again" in done.stderr


def raiser(error):
    def main():
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (DataError("bad row"), 1, "bad row"),
        (KeyboardInterrupt(), 130, "run again"),
        (MemoryError(), 1, "batch size"),
        (OSError(errno.ENOSPC, "No space left on device", "x.npy"), 1, "no space.*x.npy"),
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), 1, "cannot use a/b: perm.*;"),
        (IsADirectoryError(errno.EISDIR, "Is a directory", "a"), 1, "cannot use a: is a dir.*;"),
    ],
)
def test_what_can_go_wrong_is_one_line_and_a_code(error, code, words):
    found = runner.outcome(raiser(error))
    assert found is not None
    assert found[0] == code

    assert re.search(words, found[1])
    assert "\n" not in found[1]


def test_a_programming_mistake_keeps_its_traceback():
    with pytest.raises(TypeError):
        runner.outcome(raiser(TypeError("bug")))
    with pytest.raises(OSError, match="denied"):
        runner.outcome(raiser(OSError(errno.EACCES, "denied")))


def test_a_full_disk_leaves_nothing_half_written(tmp_path):
    code = """
import resource, sys
from pathlib import Path
from medaudit.core import runner
from medaudit.core.files import write_text
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
found = runner.outcome(lambda: write_text(Path(sys.argv[1]) / "big.txt", "x" * 5000))
print(found)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert "no space left" in done.stdout
    assert not list(tmp_path.iterdir())


def test_lists_are_cut():
    assert listed([1, 2]) == "1, 2"
    assert listed(list(range(9)), limit=3) == "0, 1, 2 and 6 more"


def test_torchvision_imports_beside_any_torch():
    code = "import medaudit, torchvision; print(medaudit.core.tv_guard.status())"
    done = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() in {"declared", "untouched"}


def test_the_guard_leaves_a_working_torchvision_alone(tmp_path):
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("loaded = 1\n")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import medaudit, torchvision; "
        "print(torchvision.loaded, medaudit.core.tv_guard.status(), 'torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "untouched", "False"]
