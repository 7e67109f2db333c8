"""Unfinished work kept by the content that it depends on, outside the outputs of any stage.

A store is the folder `.resume/<kind>-<key>/`. The key hashes everything that decides the result
(weights, data, parameters, versions, the source of the modules that compute it), so stale work is
never taken up. One process at a time holds a kind; the lock lies beside the folder, not in it,
because folders are removed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import logging
import shutil
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from medaudit.files import digest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

ROOT = Path(".resume")
KEY_LENGTH = 16

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


def content_key(parts: Mapping[str, object], *, modules: Iterable[str]) -> str:
    """SHA-256 over named JSON values and the source of the modules that use them."""
    named = json.dumps(parts, sort_keys=True, allow_nan=False)
    return digest([named.encode(), source_digest(modules).encode()])


def source_digest(modules: Iterable[str]) -> str:
    """SHA-256 over the source files of modules, found without importing them."""
    return digest(_source(name).read_bytes() for name in sorted(modules))


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Installed versions of packages, read without importing them."""
    return {package: metadata.version(package) for package in packages}


def _source(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise ValueError(f"module {name} has no source file")
    return Path(spec.origin)


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
