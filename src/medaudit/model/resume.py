"""Unfinished and finished work kept by its content key, outside the outputs of any stage.

Everything lies in `.resume/`, which neither git nor DVC sees, and which `medaudit clean` removes.
Keys say all that decides a result, so stale work is never taken up. One process at a time holds a
kind of work; the lock lies beside the folders, not in them, because folders are removed.

- `store`: one folder `<kind>-<key>/` for work that goes on, such as a training run. Folders of
  other keys go once a run ends well.
- `entries`: one folder `<kind>/` of finished files, named by their keys and shared by several
  users, such as predictions by the stages that ask for them. A file goes once it stands neither
  in the last run of any user that ended well nor in one that was broken off.
"""

from __future__ import annotations

import contextlib
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from medaudit.files import read_json, write_json

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

ROOT = Path(".resume")
KEY_LENGTH = 16
RECORD = "users.json"

log = logging.getLogger(__name__)


@contextlib.contextmanager
def store(kind: str, key: str, *, root: Path = ROOT) -> Iterator[Path]:
    """The folder of this kind and key, held alone; older keys go once the block ends well."""
    root.mkdir(parents=True, exist_ok=True)
    with _held(root / f"{kind}.lock"):
        folder = root / f"{kind}-{key[:KEY_LENGTH]}"
        folder.mkdir(exist_ok=True)
        yield folder
        for other in root.glob(f"{kind}-*"):
            if other != folder and len(other.name) == len(folder.name):
                shutil.rmtree(other)


@contextlib.contextmanager
def entries(kind: str, *, user: str, names: Collection[str], root: Path = ROOT) -> Iterator[Path]:
    """The folder of finished files of this kind, held alone while the block runs.

    Args:
        kind: of the work.
        user: who asks, for example a stage.
        names: of all files that this run of the user will read or write.
        root: holds the folder.
    """
    folder = root / kind
    folder.mkdir(parents=True, exist_ok=True)
    with _held(root / f"{kind}.lock"):
        record = folder / RECORD
        used = read_json(record) if record.exists() else {}
        # Noted before the work, so that nobody else removes what an interruption leaves behind.
        write_json(record, used | {user: sorted({*used.get(user, []), *names})})
        yield folder
        used[user] = sorted(names)
        write_json(record, used)
        kept = {RECORD, *(name for each in used.values() for name in each)}
        for file in folder.iterdir():
            if file.name not in kept:
                file.unlink()


@contextlib.contextmanager
def _held(path: Path) -> Iterator[None]:
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        log.info("%s is held by another process; waiting for it to end", path)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
