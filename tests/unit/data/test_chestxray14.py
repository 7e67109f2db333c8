"""The layouts and errors of NIH ChestX-ray14, on drawn images."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medaudit.core.errors import DataError, ParamsError
from medaudit.core.findings import read_scalars
from medaudit.data.datasets import chestxray14, read_params
from medaudit.data.datasets.base import RawDataset
from medaudit.tables.manifest import read_manifest, read_preparation, targets
from stages import prepare

Draw = Callable[[Path, int], None]
Project = Callable[..., Path]

COMMON = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age"
NIH = (
    f"{COMMON},Patient Gender,View Position,OriginalImage[Width,Height],"
    "OriginalImagePixelSpacing[x,y]"
)
KAGGLE = (
    f"{COMMON},Patient Gender,View Position,OriginalImageWidth,OriginalImageHeight,"
    "OriginalImagePixelSpacing_x,OriginalImagePixelSpacing_y,Unnamed: 11"
)
LABELS = ("No Finding", "Effusion", "Edema|Effusion", "Cardiomegaly", "Hernia|Mass|Edema")
PATIENTS = 40


def lines(*, age: str = "{age}", end: str = "") -> list[str]:
    """Two images a patient, every patient with one of `LABELS`."""
    return [
        f"{patient:08}_{visit:03}.png,{LABELS[patient % 5]},{visit},{patient},"
        f"{age.format(age=20 + patient)},{'MF'[patient % 2]},{('PA', 'AP')[visit]},"
        f"2500,2048,0.17,0.17{end}"
        for patient in range(PATIENTS)
        for visit in range(2)
    ]


@pytest.fixture
def root(tmp_path: Path, draw: Draw) -> Path:
    folder = tmp_path / "cxr"
    for i, line in enumerate(lines()):
        draw(folder / "images" / line.partition(",")[0], i)
    write(folder, NIH, lines())
    return folder


def write(root: Path, header: str, body: list[str], name: str = "Data_Entry_2017.csv") -> Path:
    path = root / name
    path.write_text("\n".join([header, *body]) + "\n")
    return path


def load(root: Path, **options: Any) -> RawDataset:
    return chestxray14.load(chestxray14.Params(root=root, **options))


def test_targets_slices_and_groups(root: Path) -> None:
    raw = load(root, labels=["Edema", "Effusion"], critical="Edema")
    assert raw.schema.task == "multilabel"
    assert raw.schema.classes == ("Edema", "Effusion")
    assert raw.schema.critical_class == "Edema"
    rows = raw.rows.set_index("sample_id")
    # patients 0 to 4 have LABELS[0] to LABELS[4]
    found = [rows.loc[f"{patient:08}_000", "target"] for patient in range(5)]
    assert found == [[0, 0], [0, 1], [1, 1], [0, 0], [1, 0]]
    assert [rows.loc[f"{patient:08}_001", "n_findings"] for patient in range(5)] == [0, 1, 2, 1, 3]
    third = rows.loc["00000002_001", [*chestxray14.SLICES, "group_id"]]
    assert third.tolist() == ["AP", "M", 22.0, 1.0, 2.0, "2"]
    assert raw.group_meaning == "patient"
    assert rows["image_path"].notna().all()


@pytest.mark.parametrize(
    ("header", "end"),
    [(NIH, ""), (NIH + ",", ","), (NIH, ","), (NIH + ",", ""), (KAGGLE, ","),
     (NIH.replace("Gender", "Sex"), "")],
)  # fmt: skip
def test_every_form_of_the_table_reads_the_same(root: Path, header: str, end: str) -> None:
    expected = load(root).rows
    write(root, header, lines(end=end))
    assert load(root).rows.equals(expected)


def test_ages_of_the_first_release(root: Path) -> None:
    body = lines(age="{age:03}Y")
    body[0] = body[0].replace(",020Y,", ",018M,")
    body[1] = body[1].replace(",020Y,", ",,")
    write(root, NIH, body)
    age = load(root).rows["age"]
    assert age[0] == 1.5
    assert np.isnan(age[1])
    assert age[2] == 21
    write(root, NIH, lines(age="old"))
    with pytest.raises(DataError, match="column `Patient Age` must hold ages, got old"):
        load(root)


def test_ages_that_no_one_has_are_kept_and_warned_of(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = lines()
    body[0] = body[0].replace(",20,", ",414,")
    write(root, NIH, body)
    assert load(root).rows["age"][0] == 414
    assert "expected `age` in 0..120, got other values in 1 rows: 00000000_000" in caplog.text


def test_packed_tables_and_which_is_taken(root: Path) -> None:
    text = (root / "Data_Entry_2017.csv").read_text().replace(",20,M,", ",99,M,")
    (root / "Data_Entry_2017_v2020.csv.gz").write_bytes(gzip.compress(text.encode()))
    assert load(root).rows["age"][0] == 99
    assert load(root, table="Data_Entry_2017.csv").rows["age"][0] == 20
    (root / "Data_Entry_2017_v2020.csv.gz").write_bytes(gzip.compress(text.encode())[:99])
    with pytest.raises(DataError, match="not a whole gzip file"):
        load(root)
    with pytest.raises(DataError, match=r"no table of findings; expected mine\.csv"):
        load(root, table="mine.csv")


def test_images_in_twelve_folders(root: Path) -> None:
    expected = load(root).rows.drop(columns="image_path")
    for i, path in enumerate(sorted((root / "images").iterdir())):
        place = root / f"images_{1 + i % 12:03}" / "images"
        place.mkdir(parents=True, exist_ok=True)
        path.rename(place / path.name)
    (root / "images").rmdir()
    found = load(root).rows
    assert found["image_path"].notna().all()
    assert found.drop(columns="image_path").equals(expected)


def test_rows_without_an_image(root: Path) -> None:
    for path in sorted((root / "images").iterdir())[:3]:
        path.unlink()
    with pytest.raises(DataError, match=r"3 of 80 rows .*00000000_000.*missing_images: leave_out"):
        load(root)
    raw = load(root, missing_images="leave_out")
    assert len(raw.rows) == 77
    assert {each.reason: len(each.ids) for each in raw.left_out} == {
        "a second row of the same image": 0,
        "image is not at hand": 3,
    }


def test_doubled_rows(root: Path) -> None:
    body = lines()
    write(root, NIH, [*body, body[3]])
    raw = load(root)
    assert len(raw.rows) == 80
    assert raw.left_out[0].ids == ("00000001_001",)
    write(root, NIH, [*body, body[3].replace("Effusion", "Edema")])
    with pytest.raises(DataError, match=r"1 images have several rows that differ .*: 00000001_001"):
        load(root)


def test_an_unknown_finding_in_the_table(root: Path) -> None:
    body = lines()
    body[2] = body[2].replace("Effusion", "Efusion")
    body[4] = body[4].replace("Edema|Effusion", "")
    write(root, NIH, body)
    with pytest.raises(
        DataError, match=r"unknown findings \(empty\), Efusion in 00000001_000, 00000002_000; known"
    ):
        load(root)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": ["Edema", "Efusion"]}, r"`data.labels`.* 'Efusion', did you mean 'Effusion'"),
        ({"labels": ["Edema"]}, r"`data.labels`: .*at least 2 items"),
        ({"labels": ["Edema", "Edema"]}, "Edema stands twice"),
        ({"critical": "Mass"}, "`data.critical`: .*'Mass'; known: Cardiomegaly, Edema, Effusion"),
        ({"label": ["Edema"]}, "unknown key `data.label`; did you mean `labels`"),
        ({"missing_images": "ignore"}, "`data.missing_images`"),
    ],
)
def test_wrong_options(project: Project, root: Path, options: dict[str, Any], message: str) -> None:
    project({"dataset": "chestxray14", "root": str(root), **options})
    with pytest.raises(ParamsError, match=message):
        read_params()


def official(root: Path, *, test: range) -> None:
    names = [line.partition(",")[0] for line in lines()]
    chosen = [name for name in names if int(name[:8]) in test]
    (root / "test_list.txt").write_text("\n".join(chosen))
    rest = [name for name in names if name not in chosen]
    (root / "train_val_list.txt").write_text("\n".join(rest) + "\n")


def test_the_official_split_is_kept_and_divided_by_patient(project: Project, root: Path) -> None:
    official(root, test=range(10))
    folder = project({"dataset": "chestxray14", "root": str(root), "split": "official"})
    prepare.main()
    rows = read_manifest(folder / "artifacts/prepared")
    assert set(rows.loc[rows["role"] == "test", "group_id"]) == {str(p) for p in range(10)}
    counts = rows["role"].value_counts()
    # 60 images in 30 patients divide as 0.70 : 0.05 : 0.10, that is 49.4 : 3.5 : 7.1
    assert counts["test"] == 20
    assert abs(counts["train"] - 49.4) <= 4
    assert counts["validation"] >= 2
    assert rows.groupby("group_id")["role"].nunique().max() == 1
    notes = read_preparation(folder / "artifacts/prepared").notes
    assert "The split came with the data (train, test)." in notes
    assert "Its train rows were divided by group into train, validation and calibration." in notes


def test_errors_of_the_official_split(root: Path) -> None:
    with pytest.raises(DataError, match=r"train_val_list\.txt is missing.*split: patient"):
        load(root, split="official")
    official(root, test=range(10))
    whole = (root / "test_list.txt").read_text()
    (root / "test_list.txt").write_text(whole + "\n00000010_000.png")
    with pytest.raises(DataError, match=r"1 images stand in both .*: 00000010_000;"):
        load(root, split="official")
    (root / "test_list.txt").write_text(whole.replace("00000000_001.png", ""))
    with pytest.raises(DataError, match=r"1 images stand in neither .*: 00000000_001;"):
        load(root, split="official")
    official(root, test=range(0))
    with pytest.raises(DataError, match=r"no image of test_list\.txt is at hand"):
        load(root, split="official")


def test_a_patient_in_both_official_lists(project: Project, root: Path) -> None:
    official(root, test=range(10))
    moved = "00000000_001.png"
    test_list, train_list = root / "test_list.txt", root / "train_val_list.txt"
    test_list.write_text(test_list.read_text().replace(moved, ""))
    train_list.write_text(train_list.read_text() + moved)
    project({"dataset": "chestxray14", "root": str(root), "split": "official"})
    with pytest.raises(DataError, match=r"1 groups stand in two roles .*: 0 \(test and train\)"):
        prepare.main()


def test_prepared_data_of_several_labels(
    project: Project, root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = ["Cardiomegaly", "Edema", "Effusion", "Pneumonia"]
    folder = project({"dataset": "chestxray14", "root": str(root), "labels": labels})
    prepare.main()
    rows = read_manifest(folder / "artifacts/prepared")
    assert targets(rows).shape == (80, 4)
    # patients of LABELS[i]: 8 each, so 16 images; Edema is in two of them, Effusion in two
    assert targets(rows).sum(axis=0).tolist() == [16, 32, 32, 0]
    facts = read_preparation(folder / "artifacts/prepared")
    assert facts.schema.critical_class is None
    absent = "No positive image of Pneumonia in train, validation, calibration, test"
    assert any(note.startswith(absent) for note in facts.notes)
    assert absent in caplog.text
    assert read_scalars("prepare", root=folder)["imbalance_ratio"] is None


@pytest.mark.realdata
def test_real_images_have_their_published_counts(project: Project) -> None:
    root = os.environ.get("MEDAUDIT_CXR", "")
    if not root or not Path(root).is_dir():
        pytest.skip("MEDAUDIT_CXR names no folder with real images of ChestX-ray14")
    table = "Data_Entry_2017.csv"
    folder = project({"dataset": "chestxray14", "root": root, "table": table})
    prepare.main()
    rows = read_manifest(folder / "artifacts/prepared")
    assert (len(rows), rows["group_id"].nunique()) == (537, 535)
    assert rows["view"].value_counts().to_dict() == {"PA": 443, "AP": 94}
    assert targets(rows).sum(axis=0).tolist() == [49, 18, 70]
    assert (rows["n_findings"] > 1).sum() == 193
