"""Options of the command line that hold several values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from medaudit.core.errors import ParamsError

if TYPE_CHECKING:
    from collections.abc import Iterable


def names(text: str | None) -> tuple[str, ...]:
    """Names that are separated by commas."""
    parts = [part.strip() for part in (text or "").split(",")]
    return tuple(part for part in parts if part)


def pairs(items: Iterable[str], *, option: str) -> dict[str, str]:
    """`name=value` items; an error quotes what is none, or stands twice."""
    found: dict[str, str] = {}
    for item in items:
        name, equals, value = (part.strip() for part in item.partition("="))
        if not (name and equals and value):
            raise ParamsError(f"{option}: expected name=value, got {item!r}")
        if name in found:
            raise ParamsError(f"{option}: {name!r} is given twice; name every one once")
        found[name] = value
    return found


def paths(items: Iterable[str], *, option: str) -> dict[str, Path]:
    """`name=file` items."""
    return {name: Path(value) for name, value in pairs(items, option=option).items()}


def counts(items: Iterable[str], *, option: str) -> dict[str, int]:
    """`name=number` items with whole numbers."""
    found = pairs(items, option=option)
    wrong = [f"{name}={value}" for name, value in found.items() if not value.isdecimal()]
    if wrong:
        raise ParamsError(f"{option}: expected whole numbers, got {', '.join(wrong)}")
    return {name: int(value) for name, value in found.items()}
