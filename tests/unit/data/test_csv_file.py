"""A user's own table: one label column or several columns of 0 and 1, on drawn images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medaudit.core.errors import DataError, ParamsError
from medaudit.data.datasets import base, csv_file, read_params
from medaudit.data.datasets.base import RawDataset
from medaudit.tables.manifest import read_manifest, read_preparation, targets
from stages import prepare

Draw = Callable[[Path, int], None]
Project = Callable[..., Path]

N = 60
LABELS = ["Cardiomegaly", "Edema", "Effusion"]
FINDINGS = {"labels": LABELS, "group": "patient_id"}


def table() -> pd.DataFrame:
    """Two images a patient; one column of 0/1 per finding, and the usual companions."""
    i = np.arange(N)
    flags = {name: (i // 2 % (k + 2) == 0).astype(int).astype(str) for k, name in enumerate(LABELS)}
    return pd.DataFrame(
        {
            "image_path": [f"images/{k:03}.png" for k in i],
            **flags,
            "split": np.array(["train", "val", "test"])[np.digitize(i, [30, 46])],
            "patient_id": [f"p{k // 2:02}" for k in i],
            "view": np.where(i % 3 == 0, "AP", "PA"),
            "sex": np.where(i % 2 == 0, "F", "M"),
            "age": (20 + i % 50).astype(str),
        }
    )


@pytest.fixture
def root(tmp_path: Path, draw: Draw) -> Path:
    folder = tmp_path / "mine"
    for i in range(N):
        draw(folder / f"images/{i:03}.png", i)
    write(folder, table())
    return folder


def write(root: Path, rows: pd.DataFrame) -> None:
    rows.to_csv(root / "labels.csv", index=False)


def change(root: Path, row: int, column: str, value: str) -> None:
    rows = pd.read_csv(root / "labels.csv", dtype=str, keep_default_na=False)
    rows.loc[row, column] = value
    write(root, rows)


def load(root: Path, **options: Any) -> RawDataset:
    return csv_file.load(csv_file.Params(root=root, table="labels.csv", **{**FINDINGS, **options}))


def test_several_labels(root: Path) -> None:
    raw = load(root, critical="Edema")
    assert raw.schema.classes == tuple(LABELS)
    assert raw.schema.critical_class == "Edema"
    assert np.array_equal(np.array(raw.rows["target"].tolist()), table()[LABELS].astype(int))
    assert raw.rows["sample_id"].tolist() == table()["image_path"].tolist()
    assert raw.slice_columns == ("split", "view", "sex", "age")
    assert raw.rows["age"].dtype == float
    assert raw.group_meaning == "patient"
    assert raw.notes == ()
    assert "role" not in raw.rows


def test_spaces_after_commas_and_around_values(root: Path) -> None:
    expected = load(root, split="split").rows
    names = ", ".join(table())
    body = [",  ".join(f"{cell} " for cell in row) for row in table().itertuples(index=False)]
    (root / "labels.csv").write_text("\n".join([names, *body]))
    pd.testing.assert_frame_equal(load(root, split="split").rows, expected)


@pytest.mark.parametrize("form", ["{:.1f}", "{:d}.", "{:02d}"])
def test_other_ways_of_writing_0_and_1(root: Path, form: str) -> None:
    expected = load(root).rows["target"].tolist()
    rows = table()
    for name in LABELS:
        rows[name] = [form.format(int(cell)) if "f" not in form else form.format(float(cell))
                      for cell in rows[name]]  # fmt: skip
    write(root, rows)
    assert load(root).rows["target"].tolist() == expected


def test_false_and_true_and_the_index_of_a_data_frame(root: Path) -> None:
    expected = load(root)
    rows = table()
    rows["Edema"] = np.where(rows["Edema"] == "1", "True", "False")
    rows.to_csv(root / "labels.csv")
    found = load(root)
    assert found.rows["target"].tolist() == expected.rows["target"].tolist()
    assert found.slice_columns == expected.slice_columns


@pytest.mark.parametrize("value", ["2", "yes", "0.5", "-2"])
def test_a_value_that_is_not_binary_is_quoted_with_its_row(root: Path, value: str) -> None:
    change(root, 7, "Edema", value)
    with pytest.raises(
        DataError, match=rf"label `Edema` must be 0 or 1, got '{value}' in images/007\.png;"
    ):
        load(root)


@pytest.mark.parametrize("value", ["", "nan", "-1", "-1.0"])
def test_uncertain_labels(root: Path, value: str) -> None:
    change(root, 0, "Edema", value)  # certain: 1
    with pytest.raises(
        DataError, match=r"label Edema is empty or -1 in 1 rows: images/000\.png; .*`leave_out`"
    ):
        load(root)
    assert load(root, uncertain="negative").rows["target"][0] == [1, 0, 1]
    raw = load(root, uncertain="leave_out")
    assert len(raw.rows) == N - 1
    assert raw.left_out[0] == base.LeftOut("uncertain label", ("images/000.png",))


def test_cells_that_count_as_negative_are_told(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Of 60 images two lack Edema and one Effusion; a table without gaps says nothing."""
    assert load(root, uncertain="negative").notes == ()
    for row, column, value in [(0, "Edema", "-1"), (1, "Edema", ""), (1, "Effusion", "")]:
        change(root, row, column, value)
    (note,) = load(root, uncertain="negative").notes
    assert "empty or -1 count as negative (images of 60: Edema 2, Effusion 1)" in note
    assert caplog.text.count(note) == 1


def test_an_unknown_label_lists_the_columns(root: Path) -> None:
    with pytest.raises(
        DataError, match="missing columns Edemas; found image_path, Cardiomegaly, Edema, Effusion"
    ):
        load(root, labels=["Cardiomegaly", "Edemas"])


def classes_of(root: Path) -> None:
    names = np.array(["nv", "mel", "bcc"])[np.arange(N) // 2 % 3]
    write(root, table().assign(diagnosis=names))


def test_one_label_column(root: Path) -> None:
    classes_of(root)
    raw = load(root, labels=None, label="diagnosis", critical="mel")
    assert raw.schema.task == "multiclass"
    assert raw.schema.classes == ("bcc", "mel", "nv")
    assert raw.rows["target"].tolist()[::2] == [2, 1, 0] * 10
    raw = load(root, labels=None, label="diagnosis", classes=["nv", "mel", "bcc"])
    assert raw.rows["target"].tolist()[::2] == [0, 1, 2] * 10


def test_errors_of_one_label_column(root: Path) -> None:
    classes_of(root)
    with pytest.raises(DataError, match=r"unknown classes nv in images/000\.png.*known: mel, bcc"):
        load(root, labels=None, label="diagnosis", classes=["mel", "bcc"])
    with pytest.raises(DataError, match=r"critical class 'melanoma' is not one of bcc, mel, nv"):
        load(root, labels=None, label="diagnosis", critical="melanoma")
    write(root, table().assign(diagnosis="nv"))
    with pytest.raises(DataError, match=r"`diagnosis` has 1 classes \(nv\); expected 2 to 100"):
        load(root, labels=None, label="diagnosis")
    change(root, 3, "diagnosis", "")
    with pytest.raises(DataError, match="label diagnosis is empty or -1 in 1 rows"):
        load(root, labels=None, label="diagnosis")


def test_absolute_paths_inside_the_root(root: Path) -> None:
    expected = load(root).rows["sample_id"].tolist()
    write(root, table().assign(image_path=[str(root / p) for p in table()["image_path"]]))
    assert load(root).rows["sample_id"].tolist() == expected


@pytest.mark.parametrize("kind", ["dots", "absolute", "link", "linked folder"])
def test_paths_that_lead_out_of_the_root(root: Path, draw: Draw, kind: str) -> None:
    outside = root.parent / "outside"
    draw(outside / "x.png", 1000)
    (root / "link.png").symlink_to(outside / "x.png")
    (root / "folder").symlink_to(outside)
    cell = {
        "dots": "images/../../outside/x.png",
        "absolute": str(outside / "x.png"),
        "link": "link.png",
        "linked folder": "folder/x.png",
    }[kind]
    change(root, 5, "image_path", cell)
    with pytest.raises(DataError, match=r"1 image paths lead out of .*; put the images") as error:
        load(root)
    assert f": {cell};" in str(error.value)
    if kind == "dots":
        with pytest.raises(DataError, match="1 image paths lead out"):
            load(root, allow_absolute=True)
    else:
        path = load(root, allow_absolute=True).rows["image_path"][5]
        assert Path(path).resolve() == outside / "x.png"


def test_dots_within_the_root_and_a_linked_root_are_fine(root: Path) -> None:
    change(root, 5, "image_path", "images/../images/005.png")
    moved = root.rename(root.parent / "elsewhere")
    root.symlink_to(moved)
    raw = load(root)
    assert raw.rows["sample_id"][5] == "images/005.png"
    assert raw.rows["image_path"].notna().all()


def test_images_that_are_absent(root: Path) -> None:
    (root / "images/004.png").unlink()
    rows = load(root).rows
    assert rows.loc[rows["image_path"].isna(), "sample_id"].tolist() == ["images/004.png"]
    write(root, table().assign(image_path=[f"mine/{p}" for p in table()["image_path"]]))
    with pytest.raises(DataError, match=r"none of its 60 images is there, such as .*relative to"):
        load(root)
    write(root, table().head(0))
    with pytest.raises(DataError, match="none of its 0 images is there"):
        load(root)


def test_doubled_rows(root: Path) -> None:
    rows = table()
    write(root, pd.concat([rows, rows.iloc[[3]].assign(image_path="./images/003.png", age="7")]))
    raw = load(root)
    assert len(raw.rows) == N
    assert raw.left_out[1].ids == ("images/003.png",)
    for column, value in {"Edema": "1", "patient_id": "p99"}.items():
        write(root, pd.concat([rows, rows.iloc[[3]].assign(**{column: value})]))
        with pytest.raises(DataError, match=r"1 images have several rows .*: images/003\.png;"):
            load(root)


def test_empty_cells_of_path_and_group(root: Path) -> None:
    change(root, 3, "patient_id", "")
    with pytest.raises(DataError, match="empty patient_id in rows 5"):
        load(root)
    change(root, 4, "image_path", "")
    with pytest.raises(DataError, match="empty image_path in rows 6"):
        load(root)


def test_without_groups_it_warns_once_and_the_report_will_say_so(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw = load(root, group=None)
    assert raw.notes == (base.NO_GROUPS,)
    assert raw.group_meaning == "image"
    assert raw.rows["group_id"].is_unique
    (record,) = [each for each in caplog.records if each.levelname == "WARNING"]
    assert record.getMessage() == f"{base.NO_GROUPS} {csv_file.NAME_GROUP}"


def test_columns_that_are_sliced_unasked(root: Path) -> None:
    rows = table().assign(
        study=range(N), note=[f"text {i}" for i in range(N)], empty="", site="A", megapixels="3"
    )
    write(root, rows)
    assert load(root, split="split").slice_columns == ("view", "sex", "age", "site")
    assert load(root, slices=["note", "view"]).slice_columns == ("note", "view")
    with pytest.raises(DataError, match="names that medaudit gives itself: megapixels"):
        load(root, slices=["megapixels"])


def test_where_the_table_lies(root: Path) -> None:
    with pytest.raises(DataError, match=r"other\.csv: no such table; `data\.table` is relative"):
        csv_file.load(csv_file.Params(root=root, table="other.csv", labels=["Edema"]))
    (root / "labels.csv").rename(root.parent / "labels.csv")
    with pytest.raises(DataError, match=r"lies outside of .*, where DVC would not see"):
        csv_file.load(csv_file.Params(root=root, table="../labels.csv", labels=["Edema"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give `labels`"),
        ({"labels": LABELS, "label": "x"}, "give `labels`"),
        ({"labels": LABELS, "classes": ["a", "b"]}, "`classes` belongs to `label`"),
        ({"label": "x", "uncertain": "negative"}, "belongs to `labels`"),
        ({"labels": LABELS, "group": "Edema"}, "Edema stands twice"),
        ({"labels": LABELS, "critical": "Edemas"}, "did you mean 'Edema'"),
        ({"labels": LABELS, "group": "sample_id"}, "gives itself; rename the column"),
        ({"labels": LABELS, "groups": "x"}, "unknown key `data.groups`; did you mean `group`"),
    ],
)
def test_wrong_options(project: Project, options: dict[str, Any], message: str) -> None:
    project({"dataset": "csv", "root": "mine", "table": "labels.csv", **options})
    with pytest.raises(ParamsError, match=message):
        read_params()


def test_the_split_of_the_table_is_kept_and_val_is_divided(project: Project, root: Path) -> None:
    data = {"dataset": "csv", "root": str(root), "table": "labels.csv", **FINDINGS}
    folder = project({**data, "split": "split"})
    prepare.main()
    rows = read_manifest(folder / "artifacts/prepared")
    assert targets(rows).shape == (N, 3)
    given = table().set_index("image_path")["split"].loc[rows["sample_id"]].to_numpy()
    # 30 train, 16 val in 8 patients, 14 test; 16 divide as 0.05 : 0.10
    assert (rows["role"][given == "train"] == "train").all()
    assert (rows["role"][given == "test"] == "test").all()
    held = rows[given == "val"]
    assert set(held["role"]) == {"validation", "calibration"}
    assert held.groupby("group_id")["role"].nunique().max() == 1
    assert 8 <= (held["role"] == "calibration").sum() <= 14
    notes = read_preparation(folder / "artifacts/prepared").notes
    assert "The split came with the data (train, validation, test)." in notes
    assert "Its validation rows were divided by group into validation and calibration." in notes
