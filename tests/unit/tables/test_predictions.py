import dataclasses

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from medaudit.core.errors import DataError
from medaudit.core.files import read_json, write_json
from medaudit.tables import manifest, predictions
from medaudit.tables.predictions import Condition, Schema, align


def test_what_is_written_is_read(table, tmp_path):
    full = dataclasses.replace(
        table,
        embeddings=np.arange(len(table) * 3, dtype=np.float32).reshape(-1, 3),
        condition=Condition("gaussian_blur", 2),
        provenance={"engine": "eager"},
    )
    predictions.write(full, tmp_path / "a.parquet")
    back = predictions.read(tmp_path / "a.parquet")
    assert (back.logits == full.logits).all()
    assert (back.targets == full.targets).all()
    assert (back.embeddings == full.embeddings).all()
    assert (back.schema, back.condition) == (full.schema, full.condition)
    assert back.provenance == full.provenance
    pd.testing.assert_frame_equal(back.rows, full.rows)


def test_several_members_keep_their_order(table, tmp_path):
    members = np.concatenate([table.logits, table.logits + 1, table.logits * 2])
    predictions.write(dataclasses.replace(table, logits=members), tmp_path / "a.parquet")
    assert (predictions.read(tmp_path / "a.parquet").logits == members).all()


def test_bytes_are_the_same_twice(table, tmp_path):
    for name in ("a", "b"):
        predictions.write(table, tmp_path / f"{name}.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_repeated_ids_are_named(table):
    rows = table.rows.assign(sample_id=["s0001", *table.rows["sample_id"][1:]])
    with pytest.raises(DataError, match="repeated: s0001"):
        dataclasses.replace(table, rows=rows)


def test_logits_that_are_not_finite_are_named(table):
    logits = table.logits.copy()
    logits[0, 7, 1] = np.nan
    with pytest.raises(DataError, match="finite; not so for s0007"):
        dataclasses.replace(table, logits=logits)


def test_targets_out_of_range_are_named(table):
    targets = table.targets.copy()
    targets[3] = 4
    with pytest.raises(DataError, match=r"class indices below 4, .*not so for s0003"):
        dataclasses.replace(table, targets=targets)


@pytest.mark.parametrize("field", ["targets", "logits", "embeddings"])
def test_lengths_must_agree(table, field):
    wrong = {
        "targets": table.targets[:-1],
        "logits": table.logits[:, :-1],
        "embeddings": np.zeros((3, 2), np.float32),
    }[field]
    with pytest.raises(DataError, match="expected"):
        dataclasses.replace(table, **{field: wrong})


def test_align_puts_rows_in_the_order_of_the_first(table):
    order = np.random.default_rng(0).permutation(len(table))
    shuffled = table.where(order)
    back = align(table, shuffled)
    assert back.sample_ids == table.sample_ids
    assert (back.logits == table.logits).all()


def test_align_names_samples_that_stand_in_one_table_only(table):
    with pytest.raises(DataError, match="s0000"):
        align(table, table.where(np.arange(1, len(table))))


def test_unknown_role_lists_the_known_ones(table):
    with pytest.raises(DataError, match="calibration, test, train, validation"):
        table.role("tset")


def test_other_parquet_is_refused(tmp_path):
    pd.DataFrame({"a": [1]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(DataError, match="not a prediction table"):
        predictions.read(tmp_path / "x.parquet")


def test_truncated_file_is_one_error(table, tmp_path):
    path = tmp_path / "a.parquet"
    predictions.write(table, path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="not a readable prediction table"):
        predictions.read(path)


def test_damage_inside_of_a_parquet_file_is_one_error(table, tmp_path):
    path = tmp_path / "t.parquet"
    predictions.write(table, path)
    whole = path.read_bytes()
    said = []
    for place in range(4, len(whole) - 8, len(whole) // 40):
        path.write_bytes(whole[:place] + b"\xff" * 8 + whole[place + 8 :])
        try:
            predictions.read(path)
        except DataError as error:
            said.append(str(error))
    assert len(said) > 10
    assert all(line.startswith(f"{path}: ") and "\n" not in line for line in said)


def flipped(path, *, n, seed):
    """The file over and over, each time with one other bit; half of them in the last 8 kB."""
    whole, rng = path.read_bytes(), np.random.default_rng(seed)
    for number in range(n):
        first = 0 if number % 2 else max(0, len(whole) - 8192)
        damaged = bytearray(whole)
        damaged[rng.integers(first, len(whole))] ^= 1 << int(rng.integers(8))
        path.write_bytes(damaged)
        yield


def test_no_flipped_bit_changes_what_is_read(make_table, tmp_path):
    """It is an error, or the bit stands where nobody reads, such as in column statistics."""
    table, path = make_table(n=80), tmp_path / "t.parquet"
    predictions.write(dataclasses.replace(table, provenance={"weights": "abc"}), path)
    whole, refused = predictions.read(path), 0
    for _ in flipped(path, n=300, seed=0):
        try:
            found = predictions.read(path)
        except DataError:
            refused += 1
            continue
        pd.testing.assert_frame_equal(found.rows, whole.rows)
        assert (found.logits == whole.logits).all()
        assert (found.targets == whole.targets).all()
        assert (found.schema, found.provenance) == (whole.schema, whole.provenance)
    assert refused > 150


def test_no_flipped_bit_changes_the_manifest(table, tmp_path):
    rows = table.rows.assign(target=list(np.eye(4, dtype=np.int64)[table.targets])).head(80)
    manifest.write_manifest(rows.assign(age=np.where(rows.index % 3, 50.0, np.nan)), tmp_path)
    whole, refused = manifest.read_manifest(tmp_path), 0
    for _ in flipped(tmp_path / "manifest.parquet", n=300, seed=1):
        try:
            found = manifest.read_manifest(tmp_path)
        except DataError:
            refused += 1
            continue
        pd.testing.assert_frame_equal(found, whole)
    assert refused > 150


def test_a_page_that_was_exchanged_is_noticed(table, tmp_path):
    """Page checksums alone let a whole file of another table pass under this metadata."""
    path = tmp_path / "t.parquet"
    predictions.write(table, path)
    packed = pq.read_table(path)
    other = packed.set_column(0, "sample_id", packed.column(0)[::-1])
    pq.write_table(other, path, write_page_checksum=True)
    with pytest.raises(DataError, match="damaged: this is not the prediction table that was"):
        predictions.read(path)


def test_a_damaged_manifest_is_one_error(table, tmp_path):
    manifest.write_manifest(table.rows.assign(target=table.targets), tmp_path)
    path = tmp_path / "manifest.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + b"\xff" * 64 + whole[68:])
    with pytest.raises(DataError, match=r"not a readable manifest.*run the prepare stage again"):
        manifest.read_manifest(tmp_path)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda known: known.pop("task"), "lacks the keys task"),
        (lambda known: known.update(classes=3), "unexpected values of classes"),
    ],
)
def test_a_damaged_schema_names_file_and_stage(tmp_path, damage, words):
    facts = manifest.Preparation(Schema("multiclass", ("a",)), 32, {"a": 1}, "toy", "lesion")
    manifest.write_preparation(facts, tmp_path)
    known = read_json(tmp_path / "schema.json")
    damage(known)
    write_json(tmp_path / "schema.json", known)
    with pytest.raises(DataError, match=rf"schema\.json: {words}; run the prepare stage again"):
        manifest.read_preparation(tmp_path)


def test_critical_class_must_be_a_class():
    with pytest.raises(DataError, match="not one of"):
        Schema("multiclass", ("a", "b"), "c")


@pytest.mark.parametrize("name", ["clean", "gaussian_blur-2", "down_up_sampling-3"])
def test_condition_names_go_both_ways(name):
    assert Condition.parse(name).name == name


@pytest.mark.parametrize(("corruption", "severity"), [("clean", 1), ("blur", 0), ("blur", -1)])
def test_severity_zero_is_clean_and_only_that(corruption, severity):
    with pytest.raises(ValueError, match="severity"):
        Condition(corruption, severity)
