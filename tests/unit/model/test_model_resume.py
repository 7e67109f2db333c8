import subprocess
import sys
from pathlib import Path

import pytest

from medaudit.model import resume


def fail_in(root: Path, key: str) -> Path:
    store = resume.store("train", key, root=root)
    folder = store.__enter__()
    (folder / "epoch").write_text("3")
    error = OSError("boom")
    assert not store.__exit__(OSError, error, None)
    return folder


def test_work_survives_a_failure_and_goes_when_a_newer_key_succeeds(tmp_path: Path) -> None:
    one = fail_in(tmp_path, "a" * 64)
    assert (one / "epoch").read_text() == "3"

    fail_in(tmp_path, "b" * 64)
    assert one.exists()

    with resume.store("stress", "c" * 64, root=tmp_path) as other:
        pass
    with resume.store("train", "b" * 64, root=tmp_path) as two:
        pass
    assert two.exists()
    assert other.exists()
    assert not one.exists()


def test_keys_see_every_part_and_the_source() -> None:
    modules = ["medaudit.model.resume"]
    key = resume.content_key({"lr": 0.1, "data": "x"}, modules=modules)
    assert key == resume.content_key({"data": "x", "lr": 0.1}, modules=modules)
    assert key != resume.content_key({"data": "x", "lr": 0.2}, modules=modules)
    assert key != resume.content_key({"data": "x", "lr": 0.1}, modules=["medaudit.files"])


def test_source_digest_follows_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "digested_module.py"
    source.write_text("A = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = resume.source_digest(["digested_module"])
    source.write_text("A = 2\n")
    assert resume.source_digest(["digested_module"]) != before
    with pytest.raises(ModuleNotFoundError):
        resume.source_digest(["no_such_package.module"])


HOLD = """
import sys, time
from pathlib import Path
from medaudit.model import resume
root = Path(sys.argv[1])
with resume.store("train", "a" * 64, root=root) as folder:
    (root / "held").touch()
    time.sleep(1.0)
    (folder / "done").touch()
"""


def test_a_second_process_waits(tmp_path: Path) -> None:
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)])
    while not (tmp_path / "held").exists():
        assert first.poll() is None
    with resume.store("train", "a" * 64, root=tmp_path) as folder:
        assert (folder / "done").exists()
    assert first.wait() == 0
