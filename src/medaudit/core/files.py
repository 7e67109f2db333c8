"""Files that are either whole or absent, and fingerprints of their content."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from medaudit.core.errors import DataError, listed


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary sibling that replaces `path` when the block ends well and vanishes otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.chmod(0o644)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write UTF-8 text with Unix line ends, atomically."""
    with atomic(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with sorted keys; NaN is refused, so undefined values must be `None`."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n")


def read_json(path: Path, *, stage: str | None = None, keys: Iterable[str] = ()) -> dict[str, Any]:
    """Read a JSON object.

    Args:
        path: of the file.
        stage: that writes the file; the user is sent there.
        keys: that must be present.

    Raises:
        DataError: no such file, not JSON, not an object, or a key is missing.
    """
    maker = f"the {stage} stage" if stage else "the stage that writes it"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path}: not found; run {maker} first") from None
    except ValueError as error:  # no JSON, or no UTF-8
        raise DataError(f"{path}: not valid JSON ({error}); run {maker} again") from None
    if not isinstance(content, dict):
        got = type(content).__name__
        raise DataError(f"{path}: expected a JSON object, got {got}; run {maker} again")
    missing = [key for key in keys if key not in content]
    if missing:
        raise DataError(f"{path}: lacks the keys {listed(missing)}; run {maker} again")
    return content


def digest(parts: Iterable[bytes]) -> str:
    """SHA-256 over length-prefixed parts, so that no two lists of parts can collide by joining."""
    state = hashlib.sha256()
    for part in parts:
        state.update(len(part).to_bytes(8, "little"))
        state.update(part)
    return state.hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
