"""Errors that reach the user as one line: what was expected, what came, and what to do."""

import difflib
from collections.abc import Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")


class MedauditError(Exception):
    """Base of every error that is shown without a traceback."""


class ParamsError(MedauditError):
    """`params.yaml` does not say what a stage needs."""


class DataError(MedauditError):
    """An input file or row is not what it should be."""


class ModelError(MedauditError):
    """A backbone or its weights cannot be used."""


class UnknownNameError(MedauditError, ValueError):
    """A name that stands in no table; the message lists the known ones."""


def lookup(kind: str, name: str, table: Mapping[str, T]) -> T:
    """`table[name]`, or an error that lists the known names and the closest one.

    >>> lookup("fruit", "aple", {"apple": 1})
    Traceback (most recent call last):
    medaudit.core.errors.UnknownNameError: unknown fruit 'aple', did you mean 'apple'? known: apple
    """
    if name in table:
        return table[name]
    close = difflib.get_close_matches(name, table, n=1)
    hint = f", did you mean {close[0]!r}?" if close else ";"
    raise UnknownNameError(f"unknown {kind} {name!r}{hint} known: {', '.join(table)}")


def listed(items: Sequence[object], *, limit: int = 5) -> str:
    """Comma-separated items, cut after `limit` with the number left out.

    >>> listed(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    shown = ", ".join(str(item) for item in items[:limit])
    rest = len(items) - limit
    return f"{shown} and {rest} more" if rest > 0 else shown
