"""What reads files of a user, what meets it, and what an honest reader makes of the same file."""

from __future__ import annotations

import contextlib
import csv
import gzip
import io
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml
from damage import ODD_TEXTS, arrays, images, mutated, parquets
from PIL import Image, ImageOps
from test_frozen_readers import FACTS
from test_readers import FILES, JSON, PROFILE, SCHEMA, SECTIONS, SEED_TABLE, YAML

from medaudit import cli
from medaudit.audits import corruption_errors
from medaudit.commands import deployment, label_tables, verify
from medaudit.core import findings, frozen
from medaudit.core.files import read_json
from medaudit.core.keys import entries
from medaudit.core.params import load, read_yaml
from medaudit.data import external_arrays
from medaudit.data.datasets import chestxray14, csv_file, folder, ham10000, source_files
from medaudit.data.datasets.source_files import read_table
from medaudit.data.external_arrays import ArrayInputs
from medaudit.data.external_outputs import read_outputs
from medaudit.data.external_tables import TruthColumns, read_truth
from medaudit.metrics import classification
from medaudit.model import model_config
from medaudit.pixels.decode import decode, decode_mask
from medaudit.pixels.ingest import Source, examine
from medaudit.pixels.packed import MaskReader, ShardReader
from medaudit.report import checklist, reproduction, results
from medaudit.tables import calibrators, manifest, operating_points, predictions
from medaudit.tables.manifest import read_preparation
from medaudit.tables.predictions import PredictionTable, Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

ROOT = Path(__file__).parents[2]
IMAGES = images()


@dataclass(frozen=True)
class Reader:
    """A line of the table.

    Args:
        name: of the line.
        read: what the program does with a folder that holds an input.
        right: whether what came out is what an honest reader gets from the same folder.
        known: inputs that were once an attack, by name; all are tried each time.
        draw: writes one more input.
        flips: whether single bits of whole files are turned; these are drawn in addition.
    """

    name: str
    read: Callable[[Path], object]
    right: Callable[[Path, Any], bool]
    known: Mapping[str, Callable[[Path], object]]
    draw: Callable[[Path, np.random.Generator], object] | None = None
    flips: bool = False


def same(one: object, other: object) -> bool:
    """Equal to the last digit, where NaN equals NaN."""
    return repr(one) == repr(other)


def put(path: Path, content: bytes | str) -> None:
    """Write a file, and its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    )


def known(name: str, contents: object) -> dict[str, Callable[[Path], object]]:
    """Writers of one file with each of these contents."""
    held = contents if isinstance(contents, dict) else dict(enumerate(contents))
    return {str(key): lambda top, c=content: put(top / name, c) for key, content in held.items()}


def damaged(name: str, *seeds: bytes) -> Callable[[Path, np.random.Generator], object]:
    """Writes one file: a damaged seed."""

    def write(top: Path, rng: np.random.Generator) -> None:
        put(top / name, mutated(seeds[int(rng.integers(len(seeds)))], int(rng.integers(2**32))))

    return write


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    """One bit of a file turned."""
    held = bytearray(content)
    held[int(rng.integers(len(held)))] ^= 1 << int(rng.integers(8))
    return bytes(held)


def odd(rng: np.random.Generator) -> str:
    """A text that has tripped something, or a few random characters."""
    if rng.random() < 0.6:
        return ODD_TEXTS[int(rng.integers(len(ODD_TEXTS)))]
    return "".join(map(chr, rng.integers(1, 0x2FF, int(rng.integers(1, 8)))))


def every() -> Iterator[Reader]:
    """All readers but those of models, bombs and writers."""
    yield from of_parameters()
    yield from of_json()
    yield from of_tables()
    yield from of_arrays()
    yield from of_images()
    yield from of_data_sets()
    yield from of_frozen()
    yield from of_results()


def of_parameters() -> Iterator[Reader]:
    """`params.yaml`, profiles, the checklist of the report, the spread of retraining."""
    mistakes = {
        "replicates 1e9": "calibrate: {floor_replicates: 1000000000}",
        "severity beyond int64": "stress: {severities: [99999999999999999999]}",
        "laughs": "a0: &a0 [x, x]\n"
        + "".join(f"a{k}: &a{k} [*a{k - 1}, *a{k - 1}]\n" for k in range(1, 40)),
        "twice": "train: {epochs: 1}\ntrain: {epochs: 2}",
        "twice inside": "train: {epochs: 1, epochs: 2}",
        **{f"odd {k}": text for k, text in enumerate(YAML)},
    }

    def every_section(top: Path) -> dict[str, object]:
        path = top / "params.yaml"
        content = read_yaml(path)
        for section in SECTIONS:
            if section.section in content:
                load(section, path)
        return content

    def right(top: Path, found: object) -> bool:
        return same(found, yaml.safe_load((top / "params.yaml").read_text(encoding="utf-8-sig")))

    draw = damaged("params.yaml", PROFILE)
    yield Reader("params.yaml", every_section, right, known("params.yaml", mistakes), draw)
    items = (ROOT / "report/deployment_checklist.yaml").read_bytes()
    yield Reader(
        "checklist",
        lambda top: checklist.read(top / "params.yaml"),
        lambda top, found: bool(found.items),
        known("params.yaml", YAML),
        damaged("params.yaml", items),
    )
    yield Reader(
        "medaudit use", _choose, lambda *_: True, known("params.yaml", {"latin": b"\xff\xfe"}), draw
    )


def _choose(top: Path) -> None:
    os.chdir(top)
    put(top / "profiles/a.yaml", PROFILE)
    try:
        cli._show()
        cli._choose("a", force=False)
    finally:
        (top / "profiles/a.yaml").unlink()
        (top / "profiles").rmdir()


def of_json() -> Iterator[Reader]:
    """JSON that stages and models come with."""

    def plain(top: Path, found: object) -> bool:
        return same(found, json.loads((top / "a.json").read_text(encoding="utf-8")))

    deep = {str(k): text for k, text in enumerate(JSON)} | {
        "scalar": b"7",
        "latin": b'{"a": "\xff"}',
    }
    yield Reader(
        "json",
        lambda top: read_json(top / "a.json"),
        plain,
        known("a.json", deep),
        damaged("a.json", SCHEMA),
    )
    yield Reader(
        "schema.json",
        lambda top: read_preparation(top),
        lambda top, found: (
            list(found.schema.classes) == json.loads((top / "schema.json").read_bytes())["classes"]
        ),
        known("schema.json", deep),
        damaged("schema.json", SCHEMA),
    )
    read: dict[str, Callable[[Path], object]] = {
        "model.json": lambda top: asdict(model_config.read_card(top)),
        "operating_points.json": lambda top: asdict(
            operating_points.read(top / "operating_points.json")
        ),
        "calibrators.json": lambda top: {
            n: {} for n in calibrators.read(top / "calibrators.json", classes=("a", "b"))
        },
        "deferral.json": lambda top: asdict(deployment.read_deferral(top / "deferral.json")),
    }
    for name, one in read.items():
        known_ = known(name, deep | _impossible(name))
        yield Reader(
            name, one, lambda top, found, n=name: _as_said(top / n, found), known_, _changed(name)
        )
    yield Reader(
        "users.json",
        _users,
        lambda *_: True,
        known(
            "kept/users.json",
            deep | {"other kind": b'{"a": 7, "b": {"c": []}}', "inner": b'{"a": [[1]]}'},
        ),
        damaged("kept/users.json", b'{"a": ["x"], "b": []}'),
    )


def _users(top: Path) -> None:
    held = (top / "kept/users.json").read_bytes()
    try:
        with entries("kept", user="a", names=("y",), root=top):
            pass
    finally:  # noted there on purpose, so put back for the comparison
        (top / "kept/users.json").write_bytes(held)
        (top / "kept.lock").unlink(missing_ok=True)


def _impossible(name: str) -> dict[str, bytes]:
    """Values of the right kind that no run can give."""
    odd_values: dict[str, dict[str, object]] = {
        "operating_points.json": {"thresholds": [-5, 0.5], "specificity": 7, "n_negative": [-1, 2]},
        "deferral.json": {"coverage": -1, "score": "", "threshold": "0.6"},
        "model.json": {
            "image_size": -1,
            "file": "../../x",
            "std": [0, 0, 0],
            "classes": ["a", "a"],
        },
        "calibrators.json": {"temperature": {"temperature": -3}, "identity": {"a": 1}},
    }
    found = {
        key: json.dumps({**FACTS[name], key: v}).encode() for key, v in odd_values[name].items()
    }
    return found | {"empty": b"{}"}


def _changed(name: str) -> Callable[[Path, np.random.Generator], object]:
    whole = json.dumps(FACTS[name]).encode()
    others: list[object] = [None, -1, 1e999, [], {}, "x", [[]], True, 10**30, -0.0, [None], "\x1b"]

    def write(top: Path, rng: np.random.Generator) -> None:
        if rng.random() < 0.5:
            put(top / name, mutated(whole, int(rng.integers(2**32))))
            return
        key = list(FACTS[name])[int(rng.integers(len(FACTS[name])))]
        other = others[int(rng.integers(len(others)))]
        put(top / name, json.dumps({**FACTS[name], key: other}))

    return write


def _as_said(path: Path, found: dict[str, Any]) -> bool:
    """Whether every value is the one of the file."""
    said = json.loads(path.read_text(encoding="utf-8"))
    if path.name == "calibrators.json":
        return set(found) == set(said)
    plain = json.loads(json.dumps(found, default=lambda value: np.asarray(value).tolist()))
    return all(value == said[key] for key, value in plain.items() if key in said)


def of_tables() -> Iterator[Reader]:
    """CSV, TSV and parquet of a user."""
    texts = {f"odd {k}": text for k, text in enumerate(ODD_TEXTS)}
    cells = {f"cell {k}": _table([["a", "b"], [text, "1"]]) for k, text in enumerate(ODD_TEXTS)}
    yield Reader("tables", _rows, _as_csv, known("t.csv", texts | cells), _cells)
    yield Reader("tables, damaged", _rows, _as_csv, {}, damaged("t.csv", SEED_TABLE))
    yield Reader(
        "tables.gz",
        lambda top: read_table(top / "t.csv.gz", required=()),
        lambda top, found: _as_csv_text(gzip.decompress((top / "t.csv.gz").read_bytes()), found),
        known("t.csv.gz", {"no gzip": b"a,b\n1,2\n", "cut": gzip.compress(SEED_TABLE)[:-9]}),
        damaged("t.csv.gz", gzip.compress(SEED_TABLE, mtime=0)),
    )
    numbers = _table(
        [["id", "a", "b"], ["x", "0.25", "0.75"], ["y", "0.5", "0.5"], ["z", "1", "0"]]
    )

    def outputs(top: Path, found: Any) -> bool:
        rows = list(
            csv.reader(io.StringIO((top / "t.csv").read_text(encoding="utf-8-sig"), newline=""))
        )
        return same(
            found.numbers.tolist(),
            [[float(cell) for cell in row[1:]] for row in rows[1:] if any(row)],
        )

    yield Reader(
        "outputs",
        lambda top: read_outputs(top / "t.csv"),
        outputs,
        known("t.csv", texts),
        damaged("t.csv", numbers),
    )
    truth = TruthColumns(label="a")
    yield Reader(
        "truth",
        lambda top: read_truth(top / "t.csv", truth, names=("0", "1"), critical=None),
        lambda top, found: (
            [str(t) for t in found.targets]
            == [
                str(c).strip()
                for c in pd.read_csv(top / "t.csv", dtype=str, sep=None, engine="python")["a"]
            ]
        ),
        known("t.csv", texts),
        damaged("t.csv", SEED_TABLE),
    )
    yield Reader(
        "labels of images",
        _labels,
        lambda top, found: len(found.rows) <= 3,
        known("t.csv", texts),
        damaged("t.csv", SEED_TABLE),
    )
    yield Reader(
        "tables for people",
        _for_people,
        lambda _, found: found[0] == found[1],
        known("a.json", {str(k): json.dumps(text) for k, text in enumerate(ODD_TEXTS)}),
        lambda top, rng: put(top / "a.json", json.dumps(odd(rng))),
    )
    yield Reader(
        "parquet",
        lambda top: source_files.read_parquet(top / "p.parquet"),
        lambda top, found: _as_parquet(top / "p.parquet", found),
        known("p.parquet", parquets()),
        damaged("p.parquet", *parquets()),
    )


def _for_people(top: Path) -> tuple[str, str]:
    """A text as it comes out of a table for people, and as it should: no formula in it."""
    text = json.loads((top / "a.json").read_text(encoding="utf-8"))
    findings.write_for_people(pd.DataFrame({"x": [text], "y": [1]}), top / "t.csv")
    ((cell, _),) = list(csv.reader((top / "t.csv").open(encoding="utf-8", newline="")))[1:]
    (top / "t.csv").unlink()
    formula = text.startswith(("=", "+", "-", "@", "\t", "\r"))
    with contextlib.suppress(ValueError):
        formula = formula and not (np.isfinite(float(text)) and "_" not in text)
    return cell, f"'{text}" if formula else text


def _table(rows: list[list[str]]) -> bytes:
    stream = io.StringIO(newline="")
    csv.writer(stream).writerows(rows)
    return stream.getvalue().encode("utf-8", "surrogatepass")


def _cells(top: Path, rng: np.random.Generator) -> None:
    width = int(rng.integers(1, 4))
    rows = [[odd(rng) for _ in range(width)] for _ in range(int(rng.integers(1, 4)))]
    put(top / "t.csv", _table([[f"c{k}" for k in range(width)], *rows]))


def _rows(top: Path) -> pd.DataFrame:
    return read_table(top / "t.csv", required=())


def _as_csv(top: Path, found: pd.DataFrame) -> bool:
    return _as_csv_text((top / "t.csv").read_bytes(), found)


def _as_csv_text(content: bytes, found: pd.DataFrame) -> bool:
    """Whether Python's reader finds the same cells that are not missing."""
    text = content.decode("utf-8-sig")
    header = text.splitlines()[0] if text.strip() else ""
    delimiter = max(",;\t", key=header.count)
    rows = [
        [_stripped(cell) for cell in row]
        for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    ]
    rows = [row for row in rows if any(row)]
    names = rows[0] if rows else []
    width = len(names)
    theirs = [[c for c, name in zip(row[:width], names, strict=False) if name] for row in rows[1:]]
    ours = found.astype(object).where(found.notna(), None).to_numpy().tolist()
    pairs = [(a, b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True)]
    return all(a == b or (a is None and b.lower() in source_files._MISSING) for a, b in pairs)


def _stripped(cell: str) -> str:
    return cell.replace("\r\n", "\n").replace("\r", "\n").strip()


def _as_parquet(path: Path, found: pd.DataFrame) -> bool:
    try:
        theirs = pd.read_parquet(path).reset_index(drop=False)
    except (KeyError, TypeError, ValueError):  # damaged notes of pandas, which are not needed
        theirs = pq.read_table(path).to_pandas(ignore_metadata=True)
    kept = [name for name in found.columns if name in theirs.columns]
    return all(_texts(found[name]) == _texts(theirs[name]) for name in kept)


def _texts(column: pd.Series) -> list[str | None]:
    """Cells as texts; `None` where there is none."""
    return [None if gone else str(cell) for cell, gone in zip(column, column.isna(), strict=True)]


def _labels(top: Path) -> object:
    schema = Schema("multiclass", ("0", "1"))
    columns = label_tables.LabelColumns(label="a")
    return label_tables.read_labels(
        top / "t.csv", columns, schema=schema, folder=top, sample_ids=["x1", "x2", "x3"]
    )


def of_arrays() -> Iterator[Reader]:
    """`.npy` files, packed pixels and masks, and what a caller hands over."""

    def outputs(top: Path) -> Any:
        return read_outputs(top / "p.npy", names=("x", "y", "z"), ids=top / "ids.txt")

    def with_ids(write: Callable[..., object]) -> Callable[..., object]:
        def both(top: Path, *more: Any) -> None:
            write(top, *more)
            put(top / "ids.txt", "a\nb\nc\n")

        return both

    def as_numpy(top: Path, found: Any) -> bool:
        held = found.numbers if hasattr(found, "numbers") else found
        return same(
            np.asarray(held, float).tolist(),
            np.load(top / "p.npy", allow_pickle=False).astype(float).tolist(),
        )

    whole = {name: with_ids(write) for name, write in known("p.npy", arrays()).items()}
    yield Reader("npy", outputs, as_numpy, whole, with_ids(damaged("p.npy", *arrays())))
    pixels = _npy(np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3))
    yield Reader(
        "pixels",
        lambda top: (reader := ShardReader(top)).take(range(len(reader))),
        lambda top, found: bool((found == np.load(top / "p.npy")).all()),
        known("p.npy", arrays()),
        damaged("p.npy", pixels),
    )
    yield Reader(
        "masks",
        lambda top: MaskReader(top / "p.npy", size=4)[0],
        lambda *_: True,
        known("p.npy", arrays()),
        damaged("p.npy", _npy(np.full((2, 2), 255, np.uint8))),
    )
    yield Reader(
        "arrays",
        _in_memory,
        lambda top, found: found[0] == found[1],
        known("a.json", {str(k): json.dumps([text] * 4) for k, text in enumerate(ODD_TEXTS)}),
        lambda top, rng: put(top / "a.json", json.dumps([odd(rng) for _ in range(4)])),
    )


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _in_memory(top: Path) -> tuple[list[str], list[str]]:
    """Ids, a cell and the name of a condition that a caller of the API hands over."""
    *ids, cell = json.loads((top / "a.json").read_text(encoding="utf-8"))
    given = ArrayInputs(
        targets=["a", "b", "a"],
        outputs=pd.DataFrame({"a": [0.1, 0.2, 0.7], "b": [0.9, 0.8, 0.3]}),
        kind="probabilities",
        ids=[f"{name}{k}" for k, name in enumerate(ids)],
        groups=["1", "2", "3"],
        metadata=pd.DataFrame({"site": [cell, "x", cell]}),
        roles=["calibration", "test", "test"],
        conditions={"blur-1": [[0.5, 0.5]] * 3},
    )
    found = external_arrays.read_arrays(given)
    return sorted(found.clean.rows["sample_id"]), sorted(
        f"{name}{k}".strip() for k, name in enumerate(ids)
    )


def of_images() -> Iterator[Reader]:
    """Images and masks of every kind."""
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(x) print\nshowpage\n"
    attacks = {
        "x.jpg": script,
        "x.png": script,
        **{f"whole {name}": held for name, held in IMAGES.items()},
    }
    seeds = tuple(IMAGES.values())
    yield Reader("images", _image, _as_pillow, known("x.jpg", attacks), damaged("x.jpg", *seeds))
    yield Reader(
        "mask images",
        lambda top: decode_mask(top / "x.png"),
        lambda top, found: found.shape == _pillow(top / "x.png").size[::-1],
        known("x.png", attacks),
        damaged("x.png", *seeds),
    )
    yield Reader(
        "ingest",
        lambda top: examine(Source("x", top / "x.jpg", None), size=16),
        lambda *_: True,
        known("x.jpg", attacks),
        damaged("x.jpg", *seeds),
    )


def _image(top: Path) -> np.ndarray:
    """With a `gs` on the path that leaves a marker; Pillow would start it for PostScript."""
    place = top / "bin"
    place.mkdir()
    try:
        (place / "gs").write_text(f"#!/bin/sh\n: > {top}/marker\n")
        (place / "gs").chmod(0o755)
        os.environ["PATH"] = f"{place}{os.pathsep}{os.environ['PATH']}"
        return decode(top / "x.jpg")
    finally:
        (place / "gs").unlink()
        place.rmdir()


def _pillow(path: Path) -> Image.Image:
    with Image.open(path) as image:
        image.load()
        return ImageOps.exif_transpose(image)


def _as_pillow(top: Path, found: np.ndarray) -> bool:
    image = _pillow(top / "x.jpg")
    plain = image.mode in {"RGB", "L"} and not image.has_transparency_data
    return found.shape == (*image.size[::-1], 3) and (
        not plain or bool((found == np.asarray(image.convert("RGB"))).all())
    )


def of_data_sets() -> Iterator[Reader]:
    """Folders of images, and tables of known layout beside them."""
    names = {
        "not UTF-8": b"cl\xff\xfess",
        "escape": b"\x1b[2J",
        "line end": b"a\nb",
        "markup": b"<script>",
        "formula": b"=1+1",
        "mathtext": b"$5_000$",
        "dots": b"..x",
        "hidden": b".x",
        "space": b" ",
        "long": b"x" * 250,
    }
    folders = {key: lambda top, n=name: _class_folders(top, n) for key, name in names.items()}

    def draw(top: Path, rng: np.random.Generator) -> None:
        held = bytes(rng.integers(1, 256, int(rng.integers(1, 9))).astype(np.uint8)).replace(
            b"/", b"_"
        )
        _class_folders(top, held if held.strip(b".") else b"x")

    yield Reader(
        "folder names",
        lambda top: folder.load(folder.Params(root=top)),
        _every_image,
        folders,
        draw,
    )
    known_ = {key: lambda top, n=name: _file_names(top, n) for key, name in names.items()}
    yield Reader(
        "file names", lambda top: folder.load(folder.Params(root=top)), _every_image, known_
    )

    def layout(top: Path, rng: np.random.Generator) -> None:
        for each in ("1.png", "2.png"):
            put(top / "images" / each, IMAGES["grey.png"])
        hit = sorted(FILES)[int(rng.integers(len(FILES)))]
        for name, content in FILES.items():
            put(top / name, mutated(content, int(rng.integers(2**32))) if name == hit else content)

    def pipe(top: Path) -> None:
        layout(top, np.random.default_rng(0))
        (top / chestxray14.TABLES[0]).unlink()
        os.mkfifo(top / chestxray14.TABLES[0])

    chest = chestxray14.Params
    yield Reader(
        "chestxray14",
        lambda top: chestxray14.load(chest(root=top, dataset="chestxray14", split="official")),
        lambda *_: True,
        {"a pipe": pipe},
        layout,
    )
    yield Reader(
        "ham10000",
        lambda top: ham10000.load(ham10000.Params(root=top, dataset="ham10000")),
        lambda *_: True,
        {},
        layout,
    )

    def beside(top: Path, rng: np.random.Generator) -> None:
        put(top / "data/grey.png", IMAGES["grey.png"])
        rows = [
            ["image_path", "label", "x"],
            ["grey.png", odd(rng), odd(rng)],
            [odd(rng), "b", odd(rng)],
        ]
        put(top / "data/t.csv", _table(rows))

    def read(top: Path) -> object:
        asked = {"root": top / "data", "dataset": "csv", "table": "t.csv", "label": "label"}
        return csv_file.load(csv_file.Params.model_validate(asked))

    yield Reader("data set csv", read, lambda *_: True, {}, beside)


def _class_folders(top: Path, name: bytes) -> None:
    for each in (b"good", name):
        put(top / os.fsdecode(each) / "1.png", IMAGES["grey.png"])


def _file_names(top: Path, name: bytes) -> None:
    for each in (b"good", b"bad"):
        put(top / os.fsdecode(each) / "1.png", IMAGES["grey.png"])
    put(top / "bad" / os.fsdecode(name[:200] + b".png"), IMAGES["grey.png"])


def _every_image(top: Path, found: Any) -> bool:
    """All of them, but those in hidden folders."""
    held = [path for path in top.glob("*/*.png") if path.parent.name[0] != "."]
    return len(found.rows) == len(held)


def of_frozen() -> Iterator[Reader]:
    """Tables that stages hand on: damaged, and with one bit turned."""
    rows = pd.DataFrame({"sample_id": list("abc"), "group_id": list("uvw"), "role": ["test"] * 3})
    held = PredictionTable(
        Schema("multiclass", ("a", "b")),
        rows,
        np.array([0, 1, 0]),
        np.full((1, 3, 2), 0.5, np.float32),
    )
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        predictions.write(held, top / "table.parquet")
        manifest.write_manifest(rows.assign(target=held.targets), top)
        whole = {path.name: path.read_bytes() for path in top.glob("*.parquet")}

    def table(top: Path) -> PredictionTable:
        return predictions.read(top / "table.parquet")

    def as_written(_: Path, found: PredictionTable) -> bool:
        equal = (found.logits == held.logits).all() and (found.targets == held.targets).all()
        return bool(equal and found.rows.equals(held.rows) and found.schema == held.schema)

    def read_manifest(top: Path) -> pd.DataFrame:
        return manifest.read_manifest(top)

    def rows_as_written(_: Path, found: pd.DataFrame) -> bool:
        return found[["sample_id", "group_id", "role"]].equals(rows) and manifest.targets(
            found
        ).tolist() == [0, 1, 0]

    both: tuple[tuple[str, Any, Any], ...] = (
        ("table.parquet", table, as_written),
        ("manifest.parquet", read_manifest, rows_as_written),
    )
    for name, read, right in both:
        yield Reader(name, read, right, known(name, parquets()), damaged(name, whole[name]))

        def turn(top: Path, rng: np.random.Generator, name: str = name) -> None:
            put(top / name, flipped(whole[name], rng))

        yield Reader(f"{name}, 1 bit", read, right, {}, turn, flips=True)

    def sealed(top: Path, rng: np.random.Generator) -> None:
        put_sealed(top)
        names = [p for p in sorted(top.rglob("*")) if p.is_file()]
        hit = names[int(rng.integers(len(names)))]
        put(hit, flipped(hit.read_bytes(), rng))

    yield Reader(
        "sealed folder, 1 bit",
        lambda top: frozen.check(top),
        lambda *_: False,
        _sealed_otherwise(),
        sealed,
        flips=True,
    )


def put_sealed(top: Path) -> None:
    """A folder of artefacts of the right names, and its list of digests."""
    for name in (*frozen.CHOSEN, "model/model.json", "model/model.safetensors", frozen.PREDICTIONS):
        put(top / name, f"{name} " * 9)
    for name in (*frozen.PREPARED_FILES, "prepared/pixels/0.npy"):
        put(top / name, f"{name} " * 9)
    frozen.seal(top)


def _sealed_otherwise() -> dict[str, Callable[[Path], object]]:
    def more(top: Path) -> None:
        put_sealed(top)
        put(top / "model/more.py", "")

    def less(top: Path) -> None:
        put_sealed(top)
        (top / "model/model.json").unlink()

    def no_list(top: Path) -> None:
        put_sealed(top)
        (top / frozen.LIST).unlink()

    def folder_as_list(top: Path) -> None:
        no_list(top)
        (top / frozen.LIST).mkdir()

    return {
        "a file more": more,
        "a file less": less,
        "no list": no_list,
        "a folder as list": folder_as_list,
    }


def of_results() -> Iterator[Reader]:
    """What is read again of finished runs: series, scalars, the numbers of a commit, a baseline."""
    series = b"corruption,severity,metric,value\nclean,0,error,0.1\nblur,1,error,0.2\n"
    odd_series = {
        "latin": b"a\xff,b\n",
        "ragged": b"a,b\n1,2,3\n",
        "NUL": b"a,b\n\0,1\n",
        "nothing": b"",
        "quote": b'a,b\n"',
        "words": series.replace(b"0.2", b"x"),
        "twice": series + b"blur,1,error,0.3\n",
        "other columns": b"a,b\n1,2\n",
        "severity of 30 digits": series.replace(b"blur,1", b"blur," + b"9" * 30),
        "negative": series.replace(b"0.2", b"-7"),
    }

    def as_pandas(top: Path, found: pd.DataFrame) -> bool:
        (path,) = top.rglob("a.csv")
        try:
            theirs = pd.read_csv(path, keep_default_na=False, na_values=[""])
        except pd.errors.EmptyDataError:
            return found.empty
        return found.equals(theirs)

    whole, place = "artifacts/whole/slice/a.csv", "plots/slice/a.csv"
    yield Reader(
        "series",
        lambda top: findings.read_table("slice", "a", root=top),
        as_pandas,
        known(whole, odd_series),
        damaged(whole, series),
    )
    yield Reader(
        "series of a report",
        lambda top: results._csv(top / place, stage="slice"),
        as_pandas,
        known(place, odd_series),
        damaged(place, series),
    )
    errors = series.replace(b"error", corruption_errors.ERROR.encode())
    odd_errors = {
        key: text.replace(b"error", corruption_errors.ERROR.encode())
        for key, text in odd_series.items()
    }
    yield Reader(
        "stress.baseline_model",
        _baseline,
        lambda top, found: found == _plain_baseline(top / "b.csv"),
        known("b.csv", odd_errors),
        damaged("b.csv", errors),
    )
    spread = b"stage,metric,seeds,mean,sd,low,high\nevaluate,auroc,5,0.9,0.01,0.88,0.92\n"
    yield Reader(
        "spread of retraining",
        lambda top: reproduction.read(top / "s.csv"),
        lambda top, found: found.seeds == int(pd.read_csv(top / "s.csv")["seeds"].max()),
        known("s.csv", odd_series),
        damaged("s.csv", spread),
    )
    scalars = b'{"auroc": 0.9, "name": "x", "none": null}'
    yield Reader(
        "medaudit verify",
        lambda top: verify._here(top, ["evaluate"]),
        lambda top, found: same(
            found,
            {
                f"evaluate.{k}": v
                for k, v in json.loads((top / "metrics/evaluate.json").read_bytes()).items()
            },
        ),
        known(
            "metrics/evaluate.json",
            {str(k): text for k, text in enumerate(JSON)} | {"nested": b'{"a": [1]}'},
        ),
        damaged("metrics/evaluate.json", scalars),
    )


def _baseline(top: Path) -> list[float]:
    found = corruption_errors.read_baseline(top / "b.csv")
    blur = predictions.Condition("blur", 1)
    return (
        []
        if found is None
        else np.asarray(corruption_errors.baseline_errors(found, [blur])).tolist()
    )


def _plain_baseline(path: Path) -> list[float]:
    rows = list(csv.DictReader(io.StringIO(path.read_text(encoding="utf-8"))))
    picked = {
        (row["corruption"], int(row["severity"])): float(row["value"])
        for row in rows
        if row["metric"] == corruption_errors.ERROR
    }
    return np.asarray(
        classification.balanced_error([picked["clean", 0], picked["blur", 1]])
    ).tolist()
