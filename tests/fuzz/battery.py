"""What is asked of every reader: accepted or one line, in time, in memory, nothing left behind."""

from __future__ import annotations

import os
import signal
import time
import tracemalloc
import warnings
from collections import Counter
from typing import TYPE_CHECKING

from medaudit.core.errors import LONGEST_LINE
from medaudit.core.runner import outcome

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Inputs of every test: the same few each time, or as many others as are asked for.
LONG = "MEDAUDIT_FUZZ" in os.environ
TRIES = int(os.environ.get("MEDAUDIT_FUZZ", "40"))
SECONDS = 5.0  # of the processor
ASLEEP = 60  # seconds, beyond which a reader waits for what does not come
MEGABYTES = 256  # that Python may take for one of these small inputs

# Reader to what came of its inputs; the summary of the session prints it.
TALLY: dict[str, Counter[str]] = {}


def attempt(reader: str, read: Callable[[], object], *, folder: Path) -> str | None:
    """Read once and return the line of an error, or `None` where the input was accepted."""
    tally = TALLY.setdefault(reader, Counter())
    before = below(folder)
    tally["tried"] += 1
    tracemalloc.start()
    began = time.process_time()
    signal.signal(signal.SIGALRM, _stuck)
    signal.alarm(ASLEEP)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            told = outcome(read)
    except BaseException:
        tally["traceback"] += 1
        raise
    finally:
        signal.alarm(0)
        seconds, peak = time.process_time() - began, tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    tally["hang"] += seconds > SECONDS
    tally["memory"] += peak > MEGABYTES << 20
    tally["left behind"] += below(folder) != before
    tally["accepted" if told is None else "one line"] += 1
    assert seconds <= SECONDS, f"{seconds:.1f} s"
    assert peak <= MEGABYTES << 20, f"{peak >> 20} MB"
    assert below(folder) == before
    if told is None:
        return None
    code, line = told
    assert code == 1
    assert line.isprintable(), line
    assert len(line) <= LONGEST_LINE
    return line


def _stuck(_signum: int, _frame: object) -> None:
    raise AssertionError(f"not done after {ASLEEP} s, waiting for something")


def below(folder: Path) -> set[Path]:
    """Everything in a folder."""
    return set(folder.rglob("*"))


def table() -> list[str]:
    """The summary, a line for each reader."""
    columns = ("tried", "accepted", "one line", "traceback", "hang", "memory", "left behind")
    rows = [("reader", *columns)]
    rows += [(name, *(str(found[each]) for each in columns)) for name, found in TALLY.items()]
    return ["  ".join(cell.ljust(12) for cell in row).rstrip() for row in rows]
