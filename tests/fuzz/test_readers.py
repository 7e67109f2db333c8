"""Every reader of files from elsewhere, under damaged and malicious input."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from battery import LONG, TRIES, attempt
from damage import ODD_TEXTS, arrays, damaged, images, odd_text, parquets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from medaudit.audits.calibrate import CalibrateParams
from medaudit.audits.evaluate import EvaluateParams
from medaudit.audits.properties import DiscoveryParams
from medaudit.audits.slicing import SliceParams
from medaudit.audits.stress import StressParams
from medaudit.core.files import read_json
from medaudit.core.params import load, parse
from medaudit.data import external_arrays, external_tables
from medaudit.data.datasets import chestxray14, csv_file, folder, ham10000, source_files
from medaudit.data.external_arrays import ArrayInputs
from medaudit.data.external_outputs import read_outputs
from medaudit.data.external_tables import TruthColumns, read_truth
from medaudit.data.manifest import PrepareParams
from medaudit.pixels.decode import decode, decode_mask
from medaudit.pixels.ingest import Source, examine
from medaudit.pixels.packed import MaskReader, ShardReader
from medaudit.stats.bootstrap import IntervalParams
from medaudit.tables.manifest import read_preparation

ROOT = Path(__file__).parents[2]
PROFILE = (ROOT / "profiles/phantom.yaml").read_bytes()
SECTIONS = (
    *(PrepareParams, EvaluateParams, StressParams, SliceParams, DiscoveryParams),
    *(CalibrateParams, IntervalParams),
)
IMAGES = images()
CELLS = st.lists(st.lists(odd_text, min_size=1, max_size=4), min_size=1, max_size=5)
tried = settings(
    max_examples=TRIES,
    deadline=None,
    derandomize=not LONG,
    database=None,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def room(tmp_path_factory):
    """Give each input a folder of its own, and take it away."""
    top = tmp_path_factory.mktemp("fuzz")

    def new() -> Path:
        shutil.rmtree(top)
        top.mkdir()
        return top

    return new


def written(place: Path, content: bytes) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


def table(rows: list[list[str]], delimiter: str = ",") -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream, delimiter=delimiter).writerows(rows)
    return stream.getvalue().encode("utf-8", "surrogatepass")


YAML = (
    *("a: &a [*a]", "a: {<<: {b: 1}}", "prepare: !!int x", "prepare: 2024-99-99", "? [1]\n: 2"),
    *("prepare: " + "{a: " * 400, "prepare: [" + "[" * 400, "prepare: !!python/name:os.system"),
    *("prepare: {seed: " + "9" * 5000 + "}", "stress: {corruptions: [blur], severities: [9e99]}"),
    *("slice: {quantiles: {age: 1e9}}", "calibrate: {floor_replicates: 1000000000}", "- 1", "~"),
    *("&a a: 1", "prepare: !!binary x", "prepare: !!timestamp x", "\ufffe", "prepare: {1: 2}"),
)
values = st.recursive(
    st.one_of(odd_text, st.none(), st.integers(), st.floats(), st.booleans(), st.dates()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(odd_text, inner, max_size=3)
    ),
    max_leaves=6,
)


@tried
@given(data=st.data())
def test_params(room, data):
    section = data.draw(st.sampled_from(SECTIONS))
    names = st.sampled_from(list(section.model_fields))
    mapping = st.dictionaries(names, values, max_size=3).map(lambda keys: {section.section: keys})
    content = data.draw(
        st.one_of(
            damaged((PROFILE,)),
            st.sampled_from(YAML).map(str.encode),
            mapping.map(lambda found: yaml.safe_dump(found).encode("utf-8", "surrogatepass")),
        )
    )
    top = room()
    path = written(top / "params.yaml", content)
    attempt("params", lambda: load(section, path), folder=top)


@tried
@given(rows=CELLS, delimiter=st.sampled_from(",;\t"), packed=st.booleans())
def test_tables_are_read_as_they_were_written(room, rows, delimiter, packed):
    width = max(map(len, rows))
    header = [f"column {k}" for k in range(width)]
    full = [[*row, *[""] * (width - len(row))] for row in rows]
    content = table([header, *full], delimiter)
    top = room()
    path = written(
        top / f"t.csv{'.gz' if packed else ''}", gzip.compress(content) if packed else content
    )
    found: list[pd.DataFrame] = []
    line = attempt(
        "tables",
        lambda: found.append(source_files.read_table(path, required=(), verbatim=header)),
        folder=top,
    )
    if line is None and width > 1:
        kept = [
            [cell.replace("\r\n", "\n").replace("\r", "\n").strip() for cell in row]
            for row in full
            if any(c.strip() for c in row)
        ]
        assert found[0].fillna("").to_numpy().tolist() == kept


SEED_TABLE = table([["id", "a", "b"], ["x1", "0", "1"], ["x2", "1", "0"], ["x3", "0", "1"]])
SEED_TABLES = (
    SEED_TABLE,
    gzip.compress(SEED_TABLE, mtime=0),
    *(each.encode("utf-8", "surrogatepass") for each in ODD_TEXTS),
)


@tried
@given(
    content=damaged(SEED_TABLES),
    ending=st.sampled_from((".csv", ".csv.gz", ".tsv", ".txt")),
)
def test_damaged_tables(room, content, ending):
    top = room()
    path = written(top / f"t{ending}", content)
    attempt("tables", lambda: read_outputs(path), folder=top)
    truth = TruthColumns(label="a")
    attempt("truth", lambda: read_truth(path, truth, names=("0", "1"), critical=None), folder=top)
    flags = TruthColumns(labels=("a", "b"))
    attempt("truth", lambda: read_truth(path, flags, names=("a", "b"), critical="a"), folder=top)


@tried
@given(
    names=st.lists(odd_text, min_size=1, max_size=3),
    cells=st.lists(odd_text, min_size=4, max_size=4),
    picture=st.sampled_from(sorted(IMAGES)),
)
def test_a_data_set_in_a_table(room, names, cells, picture):
    top = room()
    written(top / "data" / picture, IMAGES[picture])
    header = ["image_path", "label", *names]
    rows = [[picture, "a", *cells[: len(names)]], [cells[3], "b", *cells[: len(names)]]]
    written(top / "data" / "t.csv", table([header, *rows]))
    asked = {"root": str(top / "data"), "table": "t.csv", "label": "label", "group": names[0]}

    def read() -> object:
        return csv_file.load(parse(csv_file.Params, {"data": asked}, source=top))

    attempt("data set csv", read, folder=top)


CHEST = table(
    [
        [*chestxray14.REQUIRED, "Patient Sex"],
        ["1.png", "Edema|Mass", "0", "7", "058Y", "PA", "M"],
        ["2.png", "No Finding", "1", "8", "58", "AP", "F"],
    ]
)
HAM = table([[*ham10000.REQUIRED], ["l1", "1", "mel", "histo", "50", "male", "back"]])


FILES = {
    chestxray14.TABLES[0]: CHEST,
    ham10000.METADATA[0]: HAM,
    chestxray14.TRAIN_LIST: b"1.png\n",
    chestxray14.TEST_LIST: b"2.png\n",
}


@tried
@given(name=st.sampled_from(sorted(FILES)), data=st.data())
def test_data_sets_of_known_layout(room, name, data):
    top = room()
    for each in ("1.png", "2.png"):
        written(top / "images" / each, IMAGES["grey.png"])
    for each, content in FILES.items():
        written(top / each, data.draw(damaged((content,))) if each == name else content)
    own = chestxray14.Params(root=top, dataset="chestxray14", split="official")
    attempt("chestxray14", lambda: chestxray14.load(own), folder=top)
    params = ham10000.Params(root=top, dataset="ham10000")
    attempt("ham10000", lambda: ham10000.load(params), folder=top)


names_on_disk = st.one_of(
    st.binary(min_size=1, max_size=12), odd_text.map(lambda text: text.encode("utf-8", "replace"))
).filter(lambda name: b"/" not in name and b"\0" not in name and name not in (b".", b"..", b""))


@tried
@given(folders=st.lists(names_on_disk, min_size=1, max_size=3), files=st.lists(names_on_disk))
def test_names_of_class_folders_and_files(room, folders, files):
    top = room()
    for each in (b"good", *folders):
        place = top / os.fsdecode(each[:200])
        place.mkdir(exist_ok=True)
        for name in (b"1.png", *files[:2]):
            with contextlib.suppress(IsADirectoryError):
                (place / os.fsdecode(name[:200])).write_bytes(IMAGES["grey.png"])
    attempt("folder names", lambda: folder.load(folder.Params(root=top)), folder=top)


@tried
@given(name=st.sampled_from(sorted(IMAGES)), data=st.data())
def test_images_and_masks(room, name, data):
    content = data.draw(damaged((IMAGES[name],)))
    top = room()
    path = written(top / name, content)
    mask = written(top / "mask.png", data.draw(damaged((IMAGES["grey.png"], content))))
    attempt("images", lambda: decode(path), folder=top)
    attempt("masks", lambda: decode_mask(mask), folder=top)
    attempt("images", lambda: examine(Source("x", path, mask), size=16), folder=top)


@tried
@given(content=damaged(arrays()), ids=damaged((b"a\nb\nc\n", "\ufeffé\r\nb\nc".encode())))
def test_npy(room, content, ids):
    top = room()
    path, beside = written(top / "p.npy", content), written(top / "ids.txt", ids)
    attempt("npy", lambda: read_outputs(path, names=("x", "y", "z"), ids=beside), folder=top)
    attempt("npy", lambda: ShardReader(top), folder=top)
    attempt("npy", lambda: MaskReader(path, size=4), folder=top)


PARQUETS = parquets()


@tried
@given(content=damaged(PARQUETS))
def test_parquet(room, content):
    top = room()
    path = written(top / "p.parquet", content)
    attempt("parquet", lambda: read_outputs(path), folder=top)
    attempt("parquet", lambda: read_outputs(path, names=("x", "y")), folder=top)
    columns = TruthColumns(label="category")
    attempt(
        "parquet", lambda: read_truth(path, columns, names=("u", "v"), critical=None), folder=top
    )


SCHEMA = json.dumps(
    {
        "task": "multiclass",
        "classes": ["a", "b"],
        "critical_class": "a",
        "image_size": 16,
        "class_counts_train": {"a": 1, "b": 2},
        "dataset": "csv",
        "group_meaning": "image",
        "notes": [],
    }
).encode()
JSON = tuple(
    text.encode()
    for text in (
        *("{", "[]", "null", '{"a": NaN}', '{"a": 1, "a": 2}', '{"a": ' + "[" * 100_000),
        *('{"a": ' + "9" * 5000 + "}", '{"a": 1e999}', '{"a": "\\ud800"}', "\ufeff{}"),
    )
)


@tried
@given(content=damaged((SCHEMA, *JSON)))
def test_json(room, content):
    top = room()
    path = written(top / "schema.json", content)
    attempt("json", lambda: read_json(path), folder=top)
    attempt("json", lambda: read_preparation(top), folder=top)


@tried
@given(name=odd_text, ids=st.lists(odd_text, min_size=3, max_size=3), cell=odd_text)
def test_what_is_held_in_memory(tmp_path, name, ids, cell):
    given_ = ArrayInputs(
        targets=["a", "b", "a"],
        outputs=pd.DataFrame({"a": [0.1, 0.2, 0.7], "b": [0.9, 0.8, 0.3]}),
        kind="probabilities",
        ids=ids,
        groups=["1", "2", "3"],
        metadata=pd.DataFrame({"site": [cell, "x", cell]}),
        roles=["calibration", "test", "test"],
        conditions={name: [[0.5, 0.5]] * 3},
    )
    attempt("arrays", lambda: external_arrays.read_arrays(given_), folder=tmp_path)
    attempt("conditions", lambda: external_tables.condition(f"{name}-{cell}"), folder=tmp_path)
