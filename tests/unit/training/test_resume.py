import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from medaudit.core import keys
from medaudit.core.errors import DataError
from medaudit.training import checkpoint
from tests.unit.model.test_state_files import archived, doubled


def fail_in(root: Path, key: str) -> Path:
    store = keys.store("train", key, root=root)
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

    with keys.store("stress", "c" * 64, root=tmp_path) as other:
        pass
    with keys.store("train", "b" * 64, root=tmp_path) as two:
        pass
    assert two.exists()
    assert other.exists()
    assert not one.exists()


def use(root: Path, user: str, *names: str) -> None:
    with keys.entries("predictions", user=user, names=names, root=root) as folder:
        for name in names:
            (folder / name).touch()


def kept(root: Path) -> set[str]:
    return {path.name for path in (root / "predictions").iterdir()} - {keys.RECORD}


def test_entries_are_shared_and_go_once_nobody_uses_them(tmp_path: Path) -> None:
    use(tmp_path, "evaluate", "clean", "noise")
    use(tmp_path, "stress", "noise", "blur")
    assert kept(tmp_path) == {"clean", "noise", "blur"}
    use(tmp_path, "stress", "blur")
    assert kept(tmp_path) == {"clean", "noise", "blur"}  # evaluate still uses noise
    use(tmp_path, "evaluate", "clean")
    assert kept(tmp_path) == {"clean", "blur"}


@pytest.mark.parametrize("held", ["[]", '{"stress": 7}', '{"stress": [[1]]}', "{"])
def test_a_damaged_record_of_users_is_one_line(tmp_path: Path, held: str) -> None:
    use(tmp_path, "stress", "blur")
    (tmp_path / "predictions" / keys.RECORD).write_text(held)
    with pytest.raises(DataError, match=r"users\.json"):
        use(tmp_path, "evaluate", "clean")
    assert kept(tmp_path) == {"blur"}


def test_what_an_interruption_leaves_stays_until_the_same_user_ends_well(tmp_path: Path) -> None:
    with (
        contextlib.suppress(KeyboardInterrupt),
        keys.entries("predictions", user="stress", names=["a", "b"], root=tmp_path) as folder,
    ):
        (folder / "a").touch()
        (folder / ".b.part").touch()  # as `kill -9` leaves it
        raise KeyboardInterrupt
    use(tmp_path, "evaluate", "clean")
    assert kept(tmp_path) == {"a", "clean"}
    use(tmp_path, "stress", "c")
    assert kept(tmp_path) == {"c", "clean"}


HOLD = """
import sys, time
from pathlib import Path
import pytest

from medaudit.core import keys
from medaudit.core.errors import DataError
root = Path(sys.argv[1])
with keys.store("train", "a" * 64, root=root) as folder:
    (root / "held").touch()
    time.sleep(1.0)
    (folder / "done").touch()
"""


def test_a_second_process_waits(tmp_path: Path) -> None:
    first = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)])
    while not (tmp_path / "held").exists():
        assert first.poll() is None
    with keys.store("train", "a" * 64, root=tmp_path) as folder:
        assert (folder / "done").exists()
    assert first.wait() == 0


def test_a_checkpoint_that_would_not_end_is_left_behind(tmp_path: Path) -> None:
    path = archived(tmp_path / "c.pt", doubled(60))
    model = torch.nn.Linear(2, 2)
    begun = time.process_time()
    found = checkpoint.restore(path, model=model, optimizer=torch.optim.SGD(model.parameters()))
    assert time.process_time() - begun < 5
    assert found == checkpoint.Progress()
    assert not path.exists()
