"""Every reader and writer against everything that was ever tried: `python -m tests.fuzz`.

python -m tests.fuzz --inputs 2000 --bits 300 --kills 60 --stages 200
python -m tests.fuzz --inputs 100 --bits 10 --kills 12 --out ""      a minute; nothing is written

Each input meets its reader in a process of its own, with 1.5 GiB and 5 s of the processor. Writes
`battery.csv` and `README.md`; ends with 1 if anything but one line or the right value came out.
"""

from __future__ import annotations

import argparse
import ast
import gc
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from tqdm import tqdm

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import bombs  # noqa: E402
import model_files  # noqa: E402
import readers  # noqa: E402
import writers  # noqa: E402
from harness import BAD, GOOD, Input, Result, attempt  # noqa: E402

from medaudit.core.files import write_text  # noqa: E402
from medaudit.core.runner import machine  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

OUT = HERE.parents[1] / "docs/results/security"
COLUMNS = ("tried", *GOOD, *BAD)
START, END = "<!-- table: python -m tests.fuzz -->", "<!-- end of table -->"


def inputs(*, drawn: int, bits: int, seed: int) -> list[Input]:
    """All inputs that are known, and as many drawn ones: the same for the same seed."""
    found: list[Input] = []
    every = [*readers.every(), *model_files.every(), bombs_reader()]
    shares = [each for each in every if each.draw is not None and not each.flips]
    for reader in every:
        found += [
            Input(reader.name, name, write, reader.read, reader.right)
            for name, write in reader.known.items()
        ]
        more = bits if reader.flips else -(-drawn // len(shares)) if reader in shares else 0
        for number in range(more):
            found.append(_drawn(reader, number, seed))
    return found


def _drawn(reader: readers.Reader, number: int, seed: int) -> Input:
    name = f"{seed}-{number}"

    def write(top: Path) -> None:
        assert reader.draw is not None
        reader.draw(top, np.random.default_rng([seed, number, *reader.name.encode()]))

    return Input(reader.name, name, write, reader.read, reader.right)


def bombs_reader() -> readers.Reader:
    """Small files that ask for much."""
    with tempfile.TemporaryDirectory() as name:
        bombs.drop(Path(name))
        held = {path.name: path.read_bytes() for path in Path(name).iterdir()}

    def read(top: Path) -> object:
        (path,) = top.iterdir()
        return bombs.READERS[path.suffix](path)

    known = {
        key: lambda top, k=key, c=content: readers.put(top / k, c) for key, content in held.items()
    }
    return readers.Reader("bombs", read, lambda *_: True, known)


def tried(args: argparse.Namespace, top: Path) -> Iterator[Result]:
    """What came of everything, one after the other, with a bar."""
    every = inputs(drawn=args.inputs, bits=args.bits, seed=args.seed)
    only = [each for each in every if args.only in each.reader]
    gc.freeze()  # what a forked process does not look at, it does not copy
    for each in tqdm(only, desc="inputs", unit="input", disable=args.quiet):
        yield attempt(each, top / "room")
    if not args.only:
        rng = np.random.default_rng(args.seed)
        struck = writers.struck(top / "room", rng, kills=args.kills)
        yield from tqdm(struck, desc="kills", unit="kill", total=2 * args.kills, disable=args.quiet)
        if args.stages:
            yield from stages(args.stages)


def stages(kills: int) -> list[Result]:
    """Kills of a whole run, which must then leave the same bytes: `test_kills.py`."""
    test = "tests/pipeline/test_kills.py"
    command = [sys.executable, "-m", "pytest", "-q", "-s", "-p", "no:cacheprovider", test]
    environment = os.environ | {"MEDAUDIT_KILLS": str(kills)}
    done = subprocess.run(
        command, cwd=HERE.parents[1], env=environment, capture_output=True, text=True, check=False
    )
    found = ("accepted",) if re.search(r"^1 passed", done.stdout, re.MULTILINE) else ("lost",)
    said = re.search(r"^struck: (.*)$", done.stdout, re.MULTILINE)
    struck = ast.literal_eval(said[1]) if said else {"unknown": kills}
    names = [name for name, n in struck.items() for _ in range(n)]
    return [Result(f"stage {name} under SIGKILL", "", found, done.stdout[-1500:]) for name in names]


def table(results: Sequence[Result]) -> list[tuple[str, ...]]:
    """A row for each reader, and their sum."""
    counts: dict[str, Counter[str]] = {}
    for each in results:
        counts.setdefault(each.reader, Counter())["tried"] += 1
        counts[each.reader].update(each.found)
    counts["all"] = sum(counts.values(), Counter())
    return [(name, *(str(found[column]) for column in COLUMNS)) for name, found in counts.items()]


def publish(rows: list[tuple[str, ...]], out: Path, *, command: str) -> None:
    """Write the table as CSV, and put it into the README, whose other text stays."""
    lines = [
        ",".join(("reader", *COLUMNS)),
        *(",".join(f'"{c}"' if "," in c else c for c in row) for row in rows),
    ]
    write_text(out / "battery.csv", "\n".join(lines) + "\n")
    path = out / "README.md"
    text = path.read_text(encoding="utf-8")
    facts = machine()
    shown = [
        f"`{command}` on {facts['processor']}, {facts['cores']} cores, {facts['system']}, "
        f"Python {facts['python']}:",
        "",
        "| " + " | ".join(("reader", *COLUMNS)) + " |",
        "| --- |" + " ---: |" * len(COLUMNS),
        *("| " + " | ".join(row) + " |" for row in rows),
    ]
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    write_text(path, "\n".join((before + START, *shown, END)) + after)


def main(arguments: Sequence[str] | None = None) -> int:
    """Try everything, print what went wrong and the table, and publish it."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__.partition("\n")[0]
    )
    parser.add_argument("--inputs", type=int, default=2000, help="drawn, besides the known ones")
    parser.add_argument("--bits", type=int, default=300, help="turned in each frozen file")
    parser.add_argument("--kills", type=int, default=60, help="while files are written")
    parser.add_argument("--stages", type=int, default=0, help="kills of whole runs; takes minutes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="readers whose name holds this")
    parser.add_argument("--quiet", action="store_true", help="no bars")
    parser.add_argument("--out", type=str, default=str(OUT), help="folder; empty: write nothing")
    args = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as name:
        results = list(tried(args, Path(name).resolve()))
    wrong = [each for each in results if {*each.found} & {*BAD}]
    for each in wrong:
        sys.stdout.write(f"{each.reader}: {each.name}: {', '.join(each.found)}: {each.told}\n")
    rows = table(results)
    widths = [max(map(len, column)) for column in zip(("reader", *COLUMNS), *rows, strict=True)]
    for row in (("reader", *COLUMNS), *rows):
        sys.stdout.write(
            "  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() + "\n"
        )
    if args.out and not args.only:
        names = ("inputs", "bits", "kills", "stages", "seed")
        asked = " ".join(f"--{name} {getattr(args, name)}" for name in names)
        publish(rows, Path(args.out), command=f"python -m tests.fuzz {asked}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
