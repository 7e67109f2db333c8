"""Small files that ask for gigabytes or hours: one line, within 5 s, under a limit of memory."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import battery
import bombs
import pytest

# What every line must say, so that no file is refused for another reason than its size.
EXPECTED = {
    "169-megapixels.png": "pixels",
    "49-megapixels.png": None,
    "81-megapixels.tif": "pixels",
    "cells.csv.gz": "unpacks to more",
    "columns.csv": "columns",
    "deep.json": "nested",
    "deep.yaml": "levels",
    "digits.json": "digits",
    "field.csv": "field larger than field limit",
    "ids.csv": "100000 characters",
    "keys.yaml": None,
    "laughs.yaml": "alias",
    "line.csv.gz": "unpacks to more",
    "long.yaml": "bytes",
    "nothing.csv.gz": "unpacks to more",
    "promise.bmp": "image",
    "promise.gif": "pixels",
    "promise.npy": "promises",
    "promise.pgm": "pixels",
    "rows.parquet": "cells",
    "scans.jpg": "scans",
    "text.parquet": "characters",
    "wide.yaml": None,
    "zeros.npy": "not a readable",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bombs")
    bombs.drop(folder)
    command = [sys.executable, str(Path(bombs.__file__)), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert {path.name for path in folder.iterdir()} == EXPECTED.keys()
    found = [json.loads(line) for line in done.stdout.splitlines()]
    slow = {each["name"] for each in found if each["seconds"] > battery.SECONDS}
    starved = {each["name"] for each in found if "out of memory" in (each["line"] or "")}
    accepted = sum(each["line"] is None for each in found)
    battery.TALLY["bombs"] = Counter(
        {"tried": len(found), "accepted": accepted, "one line": len(found) - accepted}
        | {"hang": len(slow), "memory": len(starved)}
    )
    return {each["name"]: each for each in found}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_small_file_that_asks_for_much_is_one_line(results, name):
    line = results[name]["line"]
    if EXPECTED[name] is None:
        assert line is None or "must hold numbers" in line
    else:
        assert EXPECTED[name] in line
        assert len(line) < 2000
    assert results[name]["seconds"] <= battery.SECONDS
