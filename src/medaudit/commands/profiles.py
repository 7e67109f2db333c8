"""Profiles: complete parameter files to choose from."""

from __future__ import annotations

import difflib
import logging
from typing import TYPE_CHECKING

import typer

from medaudit.core.errors import ParamsError, lookup
from medaudit.core.files import atomic
from medaudit.core.layout import PARAMS, PROFILES

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)


def choose(name: str, *, force: bool) -> None:
    """Copy a profile over `params.yaml`, showing the difference.

    Raises:
        UnknownNameError: no such profile.
        ParamsError: hand edits would be lost without `force`.
    """
    files = known()
    new = lookup("profile", name, files).read_text(encoding="utf-8")
    old = _current()
    edited = old and all(old != path.read_text(encoding="utf-8") for path in files.values())
    if edited and not force:
        raise ParamsError(
            f"{PARAMS} was edited by hand and equals no profile; keep a copy, then: "
            f"medaudit use {name} --force"
        )
    for line in difflib.unified_diff(old.splitlines(), new.splitlines(), "before", name, n=0):
        typer.echo(line.rstrip("\n"))
    with atomic(PARAMS) as part:
        part.write_text(new, encoding="utf-8")
    log.info("params.yaml is now profile %s; next: dvc repro", name)


def known() -> dict[str, Path]:
    """Profile files by name, sorted."""
    return {path.stem: path for path in sorted(PROFILES.glob("*.yaml"))}


def show() -> None:
    """Echo every profile with the first comment line of its file."""
    current = _current()
    for name, path in known().items():
        text = path.read_text(encoding="utf-8")
        mark = "*" if text == current else " "
        typer.echo(f"{mark} {name:<16} {text.splitlines()[0].lstrip('# ')}")


def _current() -> str:
    """What `params.yaml` says now, to be shown and compared; bytes of no text are escaped."""
    return PARAMS.read_text(encoding="utf-8", errors="backslashreplace") if PARAMS.exists() else ""
