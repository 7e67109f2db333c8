"""Errors that reach the user as one line: what was expected, what came, and what to do."""

import contextlib
import difflib
import re
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

T = TypeVar("T")

LONGEST_LINE = 4000  # characters of an error; what to do stands at its end, so the middle goes
LONGEST_VALUE = 200  # characters of one value of a file that an error quotes
_TAIL = 1000
_CUT = " [...] "

# What no name or cell may hold: control characters but tab and line feed, what separates lines or
# turns the direction of text, halves of surrogate pairs, and code points that are no characters.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff"
    "\ufdd0-\ufdef"
    + "".join(chr(plane << 16 | end) for plane in range(17) for end in (0xFFFE, 0xFFFF))
    + "]"
)
_QUOTES = reprlib.Repr()
_QUOTES.maxstring = _QUOTES.maxother = _QUOTES.maxlong = LONGEST_VALUE


class MedauditError(Exception):
    """Base of every error that is shown without a traceback: one line, whatever it quotes."""

    def __str__(self) -> str:
        return plain(super().__str__())


class ParamsError(MedauditError):
    """`params.yaml` does not say what a stage needs."""


class DataError(MedauditError):
    """An input file or row is not what it should be."""


class ModelError(MedauditError):
    """A backbone or its weights cannot be used."""


class ReportError(MedauditError):
    """A figure or a page could not be made; what it would show has been written."""


@contextlib.contextmanager
def making(what: str) -> Iterator[None]:
    """Name the figure or page in which something that nobody foresaw goes wrong.

    Raises:
        ReportError: instead of any error that names no file by itself.
    """
    try:
        yield
    except MedauditError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise ReportError(
            f"{what} could not be made ({type(error).__name__}: {error}); "
            "metrics/ and plots/ hold every number"
        ) from error


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
    close = difflib.get_close_matches(name[:LONGEST_VALUE], table, n=1)
    hint = f", did you mean {close[0]!r}?" if close else ";"
    raise UnknownNameError(f"unknown {kind} {quoted(name)}{hint} known: {', '.join(table)}")


def listed(items: Sequence[object], *, limit: int = 5) -> str:
    """Comma-separated items, cut after `limit` with the number left out.

    >>> listed(["a", "b", "c"], limit=2)
    'a, b and 1 more'
    """
    shown = ", ".join(_short(item) for item in items[:limit])
    rest = len(items) - limit
    return f"{shown} and {rest} more" if rest > 0 else shown


def quoted(value: object) -> str:
    """`repr` of a value of a file, cut to about `LONGEST_VALUE` characters.

    >>> len(quoted("x" * 10**6)) <= LONGEST_VALUE
    True
    """
    try:
        return _QUOTES.repr(value)
    except ValueError:  # Python writes no integer of more than 4300 digits
        return f"a {type(value).__name__} that is too long to show"


def unprintable(text: str) -> str | None:
    r"""The first character that no name or cell may hold, as `U+001B`, or `None`.

    >>> unprintable("na\u00efve"), unprintable("a\x1b[2Jb")
    (None, 'U+001B')
    """
    found = _UNPRINTABLE.search(text)
    return None if found is None else f"U+{ord(found.group()):04X}"


def plain(text: str) -> str:
    r"""One line for a terminal or a log: control characters escaped, the middle of a long one cut.

    >>> plain("two\nlines and \x1b[2J")
    'two\\nlines and \\x1b[2J'
    """
    if len(text) > LONGEST_LINE:
        text = text[: LONGEST_LINE - _TAIL - len(_CUT)] + _CUT + text[-_TAIL:]
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _escaped(each) for each in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _short(item: object) -> str:
    text = str(item)
    return text if len(text) <= LONGEST_VALUE else f"{text[: LONGEST_VALUE - 3]}..."
