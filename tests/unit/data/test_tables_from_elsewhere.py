"""Tables that are damaged or malicious: one line with file and row, before they cost anything."""

import gzip
import os

import numpy as np
import pandas as pd
import pytest

from medaudit.core.errors import DataError, ParamsError
from medaudit.data import external_tables
from medaudit.data.datasets import csv_file, folder, source_files
from medaudit.data.external_arrays import ArrayInputs, read_arrays
from medaudit.data.external_outputs import read_outputs

ODD = ["\x00", "\x1b", "\x0c", "\ufffe", "\u202e"]


@pytest.mark.parametrize("odd", ODD)
def test_an_unprintable_cell_is_refused_with_file_and_row(tmp_path, odd):
    path = tmp_path / "t.csv"
    path.write_text(f"id,site\na,x\nb,y{odd}\n", encoding="utf-8")
    with pytest.raises(
        DataError, match=rf"t\.csv: unprintable character U\+{ord(odd):04X} in row 3"
    ):
        source_files.read_table(path, required=())


@pytest.mark.parametrize("odd", ODD)
def test_an_unprintable_name_of_a_column_is_refused(tmp_path, odd):
    pd.DataFrame({"id": ["a"], f"x{odd}": [1.0]}).to_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text(f"id,x{odd}\na,1\n", encoding="utf-8")
    for path in (tmp_path / "t.parquet", tmp_path / "t.csv"):
        with pytest.raises(DataError, match="unprintable character"):
            read_outputs(path)


def test_an_unprintable_cell_of_a_parquet_file_is_refused(tmp_path):
    frame = pd.DataFrame({"id": ["a", "b", "c"], "site": ["x", "y", "z\x1b[2J"]})
    frame.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"t\.parquet: unprintable character U\+001B in row 3"):
        source_files.read_parquet(tmp_path / "t.parquet")


@pytest.mark.parametrize("where", ["ids", "groups", "site", "condition"])
def test_unprintable_names_that_are_held_in_memory_are_refused(where):
    words = {
        name: "\x1b" if name == where else "" for name in ("ids", "groups", "site", "condition")
    }
    with pytest.raises(DataError, match=r"U\+001B"):
        read_arrays(
            ArrayInputs(
                targets=["a", "b"],
                outputs=np.array([[0.5, 0.5], [0.2, 0.8]]),
                kind="probabilities",
                classes=["a", "b"],
                ids=["1" + words["ids"], "2"],
                groups=["1", "2" + words["groups"]],
                metadata=pd.DataFrame({"site": ["x" + words["site"], "y"]}),
                roles=["calibration", "test"],
                conditions={f"blur{words['condition']}": np.full((2, 2), 0.5)},
            )
        )


def test_a_packed_table_that_unpacks_too_far_is_refused(tmp_path):
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(b"a,b\n" + b"1,2\n" * (4 << 20)))
    assert path.stat().st_size < 100_000
    with pytest.raises(DataError, match="unpacks to more than"):
        source_files.read_table(path, required=())


def test_more_cells_than_fit_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(source_files, "MOST_CELLS", 10)
    (tmp_path / "t.csv").write_text("a,b\n" + "1,2\n" * 5)
    pd.DataFrame(np.zeros((6, 2)), columns=["a", "b"]).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="at most 10 cells"):
        source_files.read_table(tmp_path / "t.csv", required=())
    with pytest.raises(DataError, match="at most 10 cells"):
        source_files.read_parquet(tmp_path / "t.parquet")


def test_texts_of_a_parquet_file_come_as_they_are(tmp_path):
    frame = pd.DataFrame({"id": ["a", None, "c"], "x": [1.5, None, 2.0], "l": [[1], [2], []]})
    frame.to_parquet(tmp_path / "t.parquet")
    found = source_files.read_parquet(tmp_path / "t.parquet")
    assert list(found) == ["id", "x"]
    assert found["id"].dtype == object
    assert found["id"].isna().tolist() == [False, True, False]
    assert found["id"].dropna().tolist() == ["a", "c"]


def test_a_severity_beyond_all_numbers_is_refused():
    with pytest.raises(ParamsError, match="severity"):
        external_tables.condition("blur-" + "9" * 20)


@pytest.mark.parametrize("where", ["folder", "below", "file"])
def test_a_name_that_is_no_text_is_refused(tmp_path, where):
    odd = os.fsdecode(b"\xff\xfe")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").touch()
    place = {"folder": odd, "below": f"a/{odd}", "file": f"a/{odd}.png"}[where]
    if where == "file":
        (tmp_path / place).touch()
    else:
        (tmp_path / place).mkdir()
        (tmp_path / place / "1.png").touch()
    with pytest.raises(DataError, match="no plain text") as raised:
        folder.load(folder.Params(root=tmp_path))
    assert str(raised.value).isprintable()


def test_an_id_that_is_as_long_as_a_book_is_refused(tmp_path):
    (tmp_path / "a.png").touch()
    rows = "image_path,label,patient\na.png,x," + "p" * 2000 + "\nb.png,y,q\n"
    (tmp_path / "t.csv").write_text(rows)
    with pytest.raises(DataError, match="2000 characters"):
        csv_file.load(csv_file.Params(root=tmp_path, table="t.csv", label="label", group="patient"))
