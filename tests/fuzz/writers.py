"""What is killed, interrupted or out of space while it writes: the old or the new, and no rest."""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from harness import Result, contents, in_child

from medaudit.core import findings
from medaudit.core.files import new_folder, write_json, write_text
from medaudit.core.findings import Findings
from medaudit.core.runner import heed_signals, outcome
from medaudit.tables import predictions
from medaudit.tables.predictions import PredictionTable, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Write = Callable[[Path, int], object]

N = 2000


def table(number: int) -> PredictionTable:
    """A prediction table of which every number says which version it is."""
    rows = pd.DataFrame({"sample_id": [f"s{i}" for i in range(N)]})
    rows = rows.assign(group_id=rows["sample_id"], role="test")
    logits = np.full((1, N, 2), number, np.float32)
    return PredictionTable(Schema("multiclass", ("a", "b")), rows, np.zeros(N, np.int64), logits)


def folder(top: Path, number: int) -> None:
    """A folder of two files that are moved there together."""
    target = top / "made"
    shutil.rmtree(target, ignore_errors=True)
    with new_folder(target) as part:
        for name in ("a.txt", "b.txt"):
            write_text(part / name, f"{number}\n" * N)


def audit(top: Path, number: int) -> None:
    """Scalars and a series, as every stage leaves them."""
    series = {"numbers": pd.DataFrame({"x": np.full(N, float(number))})}
    findings.write(Findings({"number": float(number)}, series), "slice", root=top)


WRITERS: dict[str, Write] = {
    "text": lambda top, number: write_text(top / "a.txt", f"{number}\n" * N),
    "json": lambda top, number: write_json(top / "a.json", {str(k): number for k in range(N)}),
    "table": lambda top, number: predictions.write(table(number), top / "t.parquet"),
    "findings": audit,
    "folder": folder,
    "for people": lambda top, number: findings.write_for_people(
        pd.DataFrame({"=a": ["=1+1", "@x", "-0.5"] * number}), top / "people.csv"
    ),
}


def killed(top: Path, name: str, rng: np.random.Generator, *, by: signal.Signals) -> Result:
    """Strike a process that overwrites again and again at a random moment, then write once more."""
    whole, old = _versions(top, name)
    receiving, sending = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            heed_signals()
            quiet = os.open(os.devnull, os.O_WRONLY)
            os.dup2(quiet, 2)
            os.write(sending, b"x")
            outcome(lambda: [WRITERS[name](top, 2) for _ in range(1000)])
        finally:
            os._exit(0)
    os.read(receiving, 1)
    time.sleep(float(rng.uniform(0, 0.1)))
    os.kill(pid, by)
    os.waitpid(pid, 0)
    os.close(receiving)
    os.close(sending)
    here = contents(top)
    lost = [
        p for p, held in here.items() if not _rest(p) and held not in (old.get(p), whole.get(p))
    ]
    if name != "folder":  # whose old version was taken away before
        lost += [path for path in old if path not in here]
    # A signal may strike between the making of a file and the `try` around it, so only what the
    # next writer leaves as well counts as left behind.
    bad = ["lost"] * bool(lost)
    with contextlib.suppress(FileExistsError):
        in_child(lambda: {"told": str(WRITERS[name](top, 2))})
    bad += ["left behind"] * (contents(top) != whole)
    return Result(
        f"written under {by.name}", name, tuple(dict.fromkeys(bad)) or ("one line",), str(lost)
    )


def full(top: Path, name: str, rng: np.random.Generator) -> Result:
    """Write where a file may have only so many bytes: one line, and the old version stays."""
    whole, old = _versions(top, name)
    most = int(rng.integers(0, 2 * max(len(held or b"") for held in old.values())))

    def work() -> dict[str, str]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
        try:
            told = outcome(lambda: WRITERS[name](top, 2))
        except BaseException as error:  # noqa: BLE001
            return {"outcome": "traceback", "told": repr(error)}
        return {"outcome": "accepted" if told is None else "one line", "told": str(told)}

    said = in_child(work)
    here = contents(top)
    bad = [said["outcome"]] if said["outcome"] == "traceback" else []
    expected = whole if said["outcome"] == "accepted" else old
    # Of several files the first may be new; of a folder that is made anew the old one was taken.
    wrong = [
        p for p, held in here.items() if held not in (expected.get(p), whole.get(p), old.get(p))
    ]
    bad += ["lost"] * bool(wrong) + ["left behind"] * any(map(_rest, here))
    return Result("written on a full disk", name, tuple(bad) or (said["outcome"],), said["told"])


def _versions(top: Path, name: str) -> tuple[dict[Path, bytes | None], dict[Path, bytes | None]]:
    """What the new and the old version look like; the old one lies there afterwards."""
    found = []
    for number in (2, 1):
        shutil.rmtree(top, ignore_errors=True)
        top.mkdir(parents=True)
        in_child(lambda number=number: {"told": str(WRITERS[name](top, number))})
        found.append(contents(top))
    return found[0], found[1]


def _rest(path: Path) -> bool:
    return any(part.endswith(".part") for part in path.parts)


def struck(top: Path, rng: np.random.Generator, *, kills: int) -> Iterator[Result]:
    """As many kills as asked, a fifth of them signals that unwind, and as often a full disk."""
    names = list(WRITERS)
    for number in range(kills):
        by = (signal.SIGTERM, signal.SIGINT)[number // 5 % 2] if number % 5 == 4 else signal.SIGKILL
        yield killed(top, names[number % len(names)], rng, by=by)
    for number in range(kills):
        yield full(top, names[number % len(names)], rng)
