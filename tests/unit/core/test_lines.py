"""Errors, log records and tables for people: one line, and nothing that steers who shows it."""

import logging

import numpy as np
import pandas as pd
import pytest

from medaudit.core import findings, runner
from medaudit.core.errors import LONGEST_LINE, DataError, UnknownNameError, listed, lookup

ESCAPES = "\x1b[2J\x1b]0;title\x07\x00\r\nINFO    all is well\u202e\x9b31m"


@pytest.fixture
def _logging_as_before():
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("_logging_as_before")
def test_a_log_record_is_one_line_whatever_it_quotes(capfd):
    runner.configure_logging()
    logging.getLogger("medaudit.any").warning("%s: left out", ESCAPES)
    logging.getLogger("medaudit.any").info("%s", "x" * 10**7)
    written = capfd.readouterr().err
    assert written.count("\n") == 2
    assert all(line.isprintable() for line in written.splitlines())
    assert r"\x1b[2J" in written
    assert len(written) < 3 * LONGEST_LINE


def test_an_error_is_one_line_whatever_it_quotes():
    told = runner.outcome(lambda: (_ for _ in ()).throw(DataError(f"{ESCAPES}: remove it")))
    assert told is not None
    assert told[1].isprintable()
    assert told[1].endswith("remove it")


def test_a_long_error_keeps_its_end_where_it_says_what_to_do():
    line = str(DataError("a.csv: " + "x" * 10**6 + "; save it anew"))
    assert len(line) <= LONGEST_LINE
    assert line.startswith("a.csv: x")
    assert line.endswith("x; save it anew")


def test_lists_and_unknown_names_quote_little():
    assert len(listed(["x" * 10**6] * 9)) < 2000
    with pytest.raises(UnknownNameError) as raised:
        lookup("fruit", "x" * 10**6, {"apple": 1})
    assert len(str(raised.value)) < 1000


FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\uff1d1+1", "-", "=HYPERLINK(A1)"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_for_people_is_a_formula(tmp_path, text):
    frame = pd.DataFrame({"id": [text, "a"], text: [1.0, np.nan]})
    findings.write_for_people(frame, tmp_path / "t.csv")
    found = pd.read_csv(tmp_path / "t.csv")
    assert found["id"].tolist() == [f"'{text}", "a"]
    assert list(found) == ["id", f"'{text}"]


def test_numbers_for_people_stay_numbers(tmp_path):
    frame = pd.DataFrame({"a": [-1.5, 2.0], "b": ["-0.5", "+1e3"], "c": [-1, 1]})
    findings.write_for_people(frame, tmp_path / "t.csv")
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "t.csv"), frame.assign(b=[-0.5, 1000.0]))


def test_what_is_read_again_keeps_its_texts(tmp_path):
    frame = pd.DataFrame({"value": FORMULAS[:4], "n": [1, 2, 3, 4]})
    findings.write(findings.Findings({}, {"slices": frame}), "slice", root=tmp_path)
    found = findings.read_table("slice", "slices", root=tmp_path)
    assert found["value"].tolist() == FORMULAS[:4]
