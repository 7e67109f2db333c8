from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from medaudit.core.errors import DataError, MedauditError, UnknownNameError
from medaudit.data import datasets
from medaudit.data.datasets import base, ham10000, source_files
from medaudit.data.datasets.base import DataParams, RawDataset
from medaudit.pixels import statistics

PROFILES = sorted((Path(__file__).resolve().parents[3] / "profiles").glob("*.yaml"))


def load(root: Path) -> RawDataset:
    return ham10000.load(ham10000.Params(root=root))


def rewrite(root: Path, change: Callable[[pd.DataFrame], pd.DataFrame], **how: object) -> None:
    path = root / "HAM10000_metadata.csv"
    change(pd.read_csv(path, dtype=str)).to_csv(path, index=False, **how)


def test_reads_the_layout(ham: Path, rows: pd.DataFrame) -> None:
    raw = load(ham)
    assert len(raw.rows) == len(rows) == 7 * (3 * 1 + 2 * 2)
    assert raw.schema.classes[4] == raw.schema.critical_class == "mel"
    assert raw.rows["target"].tolist() == [ham10000.CLASSES.index(dx) for dx in rows["dx"]]
    assert raw.slice_columns == ("age", "sex", "localization", "dx_type")
    assert raw.rows["age"].dtype == float
    assert raw.rows["mask_path"].isna().all()
    assert all(Path(path).is_file() for path in raw.rows["image_path"])
    assert raw.images_without_row == ()


@pytest.mark.parametrize("name", ["images", "Images", "ham10000_IMAGES_part_1"])
def test_image_folders_in_any_case(ham: Path, name: str) -> None:
    (ham / "HAM10000_images_part_2").rename(ham / "rest")
    (ham / "HAM10000_images_part_1").rename(ham / name)
    for path in (ham / "rest").iterdir():
        path.rename(ham / name / path.name)
    assert load(ham).rows["image_path"].notna().all()


def test_images_loose_in_the_root(ham: Path) -> None:
    loose(ham)
    assert load(ham).rows["image_path"].notna().all()


def test_no_images_at_all(ham: Path) -> None:
    for part in ham.glob("HAM10000_images_part_*"):
        part.rename(ham.parent / part.name)
    with pytest.raises(DataError, match="no images; expected folders such as"):
        load(ham)


def loose(ham: Path) -> None:
    for path in ham.glob("HAM*/*.jpg"):
        path.rename(ham / path.name)
    for part in ham.glob("HAM10000_images_part_*"):
        part.rmdir()


def test_a_mask_is_no_image(ham: Path) -> None:
    loose(ham)
    (ham / "ISIC_000.jpg").rename(ham / "elsewhere")
    for place in ("masks/ISIC_000.png", "ISIC_000_segmentation.png", "more/ISIC_000.jpg"):
        (ham / place).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(ham / place), np.zeros((3, 4), np.uint8))
    raw = load(ham)
    found = raw.rows.set_index("sample_id")["image_path"]
    assert found[found.isna()].index.tolist() == ["ISIC_000"]
    assert raw.images_without_row == ()


def test_masks_within_the_image_folder_are_no_images(ham: Path) -> None:
    part = ham / "HAM10000_images_part_1"
    (part / "Masks").mkdir()
    cv2.imwrite(str(part / "Masks/ISIC_000.png"), np.zeros((3, 4), np.uint8))
    found = load(ham).rows.set_index("sample_id")["image_path"]
    assert found["ISIC_000"].endswith("part_1/ISIC_000.jpg")


@pytest.mark.parametrize("other", ["HAM10000_images_part_1/ISIC_000.png", "images/ISIC_000.jpg"])
def test_two_different_files_of_one_image_are_named(ham: Path, other: str) -> None:
    (ham / other).parent.mkdir(exist_ok=True)
    cv2.imwrite(str(ham / other), np.zeros((3, 4), np.uint8))
    with pytest.raises(DataError, match="two different files of one image") as error:
        load(ham)
    assert str(ham / "HAM10000_images_part_1/ISIC_000.jpg") in str(error.value)
    assert str(ham / other) in str(error.value)


@pytest.mark.parametrize("name", ["ham", "ham/HAM10000_images_part_2"])
def test_a_link_is_warned_of_in_one_line(
    ham: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert load(ham).rows["image_path"].notna().all()
    assert not caplog.records
    place = ham.parent / name
    place.rename(ham.parent / "moved")
    place.symlink_to(ham.parent / "moved")
    assert load(ham).rows["image_path"].notna().all()
    (record,) = caplog.records
    assert f"{place}: a symbolic link; DVC does not see through links" in record.getMessage()


def test_a_link_above_the_root_counts_within_the_repository(
    ham: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (ham.parent / "data").symlink_to(ham.parent)
    monkeypatch.chdir(ham.parent)
    load(Path("data/ham"))
    assert "data: a symbolic link" in caplog.text


def test_doubled_kaggle_folders_count_once(ham: Path) -> None:
    copy = ham / "ham10000_images_part_1"
    copy.mkdir()
    for path in (ham / "HAM10000_images_part_1").iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    assert load(ham).images_without_row == ()


def test_dataverse_metadata_is_preferred(ham: Path, rows: pd.DataFrame) -> None:
    rows.assign(dataset="rosendahl").to_csv(ham / "HAM10000_metadata_dataverse.csv", index=False)
    raw = load(ham)
    assert "dataset" in raw.slice_columns
    assert (raw.rows["dataset"] == "rosendahl").all()


@pytest.mark.parametrize("name", ["HAM10000_metadata", "HAM10000_metadata.tab"])
def test_dataverse_file_names_and_tabs(ham: Path, rows: pd.DataFrame, name: str) -> None:
    (ham / "HAM10000_metadata.csv").unlink()
    rows.to_csv(ham / name, sep="\t", index=False)
    assert len(load(ham).rows) == len(rows)


def test_masks_by_their_ending(ham: Path, rows: pd.DataFrame) -> None:
    (ham / "masks").mkdir()
    first = rows["image_id"][0]
    cv2.imwrite(str(ham / "masks" / f"{first}_segmentation.png"), np.zeros((3, 4), np.uint8))
    found = load(ham).rows.set_index("sample_id")["mask_path"]
    assert found[first].endswith(f"{first}_segmentation.png")
    assert found.notna().sum() == 1


def test_known_duplicates_lose_their_suffix(ham: Path) -> None:
    (ham / "known_duplicates.csv").write_text(
        "similarity,from_img,to_img\n0.98,ISIC_000.jpg,ISIC_001.jpg\n"
    )
    pairs = load(ham).known_duplicates
    assert pairs.to_dict("records") == [{"first": "ISIC_000", "second": "ISIC_001"}]


def test_listed_duplicates_that_name_no_row_are_counted(
    ham: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lines = ["from_img,to_img", "ISIC_000,ISIC_001", "ISIC_002,", "gone,ISIC_003", "gone,lost"]
    (ham / "known_duplicates.csv").write_text("\n".join(lines))
    pairs = load(ham).known_duplicates
    assert pairs.to_dict("records") == [{"first": "ISIC_000", "second": "ISIC_001"}]
    (record,) = caplog.records
    assert "known_duplicates.csv: expected ids of the metadata" in record.getMessage()
    assert "in 3 pairs, which are left out: (empty), gone, lost;" in record.getMessage()


@pytest.mark.parametrize(
    "how", [{"encoding": "utf-8-sig"}, {"sep": ";"}, {"sep": ";", "encoding": "utf-8-sig"}]
)
def test_byte_order_mark_and_semicolons(ham: Path, how: dict[str, str]) -> None:
    expected = load(ham).rows
    rewrite(ham, lambda frame: frame, **how)
    pd.testing.assert_frame_equal(load(ham).rows, expected)


def test_names_and_cells_are_stripped(ham: Path) -> None:
    rewrite(ham, lambda frame: frame.rename(columns={"dx": " dx "}).assign(sex=" male "))
    assert (load(ham).rows["sex"] == "male").all()


def test_missing_columns_are_named_with_what_was_found(ham: Path) -> None:
    rewrite(ham, lambda frame: frame.drop(columns=["dx", "sex"]))
    with pytest.raises(DataError, match=r"missing columns dx, sex; found lesion_id, image_id"):
        load(ham)


def test_extra_columns_become_slice_columns(ham: Path) -> None:
    rewrite(ham, lambda frame: frame.assign(site="Vienna", dose="1.5"))
    raw = load(ham)
    assert raw.slice_columns[-2:] == ("site", "dose")
    assert raw.rows["dose"].dtype == float
    assert raw.rows["site"].tolist() == ["Vienna"] * len(raw.rows)


@pytest.mark.parametrize("name", [*base.TAKEN])
def test_a_column_with_a_taken_name_is_refused(ham: Path, name: str) -> None:
    rewrite(ham, lambda frame: frame.assign(**{name: "1"}))
    with pytest.raises(DataError, match=rf"metadata\.csv: .* gives itself: {name}; .*rename it"):
        load(ham)


def test_every_name_that_is_made_later_is_taken() -> None:
    made = {"sample_id", "group_id", "role", "target", "image_path", "mask_path"}
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    described = {
        *statistics.describe(image),
        *statistics.describe_mask(None, image),
        *statistics.describe_size(image),
    }
    assert {*described, *made, "logits", "embedding"} <= set(base.TAKEN)


def test_unknown_class_names_rows(ham: Path) -> None:
    rewrite(ham, lambda frame: frame.assign(dx=frame["dx"].replace("mel", "melanoma")))
    with pytest.raises(DataError, match=r"unknown classes melanoma in ISIC_028.*and 2 more; known"):
        load(ham)


def test_empty_class_is_unknown(ham: Path) -> None:
    rewrite(ham, lambda frame: frame.assign(dx=frame["dx"].replace("mel", "")))
    with pytest.raises(DataError, match=r"\(empty\)"):
        load(ham)


def test_repeated_image_id(ham: Path) -> None:
    rewrite(ham, lambda frame: pd.concat([frame, frame.head(1)]))
    with pytest.raises(DataError, match="image ids must be unique; repeated: ISIC_000"):
        load(ham)


def test_empty_lesion_id(ham: Path) -> None:
    rewrite(ham, lambda frame: frame.assign(lesion_id=frame["lesion_id"].replace("HAM_00", "")))
    with pytest.raises(DataError, match="empty group_id in rows 2"):
        load(ham)


def test_missing_age_stays_and_keeps_its_row(ham: Path, rows: pd.DataFrame) -> None:
    rewrite(ham, lambda frame: frame.assign(age=["", "NaN", *frame["age"][2:]]))
    age = load(ham).rows["age"]
    assert len(age) == len(rows)
    assert age.isna().sum() == 2


def test_age_that_is_no_number(ham: Path) -> None:
    rewrite(ham, lambda frame: frame.assign(age=["fifty", *frame["age"][1:]]))
    with pytest.raises(DataError, match="column `age` must hold numbers, got fifty"):
        load(ham)


def test_ages_that_no_one_has_are_warned_of(ham: Path, caplog: pytest.LogCaptureFixture) -> None:
    rewrite(ham, lambda frame: frame.assign(age=["-1", "121", "", "0", "120", *frame["age"][5:]]))
    assert load(ham).rows["age"].tolist()[:2] == [-1, 121]
    (record,) = caplog.records
    assert "metadata.csv: expected `age` in 0..120" in record.getMessage()
    assert "in 2 rows: ISIC_000, ISIC_001;" in record.getMessage()


def test_the_word_unknown_is_a_category(ham: Path) -> None:
    assert (load(ham).rows["sex"] == "unknown").sum() == 7


def test_image_without_row_and_row_without_image(ham: Path) -> None:
    old = ham / "HAM10000_images_part_1" / "ISIC_000.jpg"
    old.rename(old.with_name("ISIC_999.jpg"))
    raw = load(ham)
    assert raw.images_without_row == ("ISIC_999",)
    assert raw.rows.set_index("sample_id")["image_path"].isna().sum() == 1


def test_no_metadata_and_no_folder(ham: Path) -> None:
    (ham / "HAM10000_metadata.csv").unlink()
    with pytest.raises(DataError, match="no metadata; expected one of"):
        load(ham)
    with pytest.raises(DataError, match="no such folder"):
        load(ham / "nowhere")


def test_ragged_line_is_numbered(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(DataError, match="row 3 has 1 cells where the header has 2"):
        source_files.read_table(path, required=["a"])


def test_not_utf8_and_empty(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes("a,b\n1,é\n".encode("latin-1"))
    with pytest.raises(DataError, match="expected UTF-8"):
        source_files.read_table(path, required=["a"])
    path.write_bytes(b"")
    with pytest.raises(DataError, match="missing columns a; found nothing"):
        source_files.read_table(path, required=["a"])


def test_doubled_column(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("a,a\n1,2\n")
    with pytest.raises(DataError, match="columns stand twice: a"):
        source_files.read_table(path, required=["a"])


def test_unknown_data_set() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown `data\.dataset` 'ham'.* known: ham10000"):
        datasets.load(DataParams(dataset="ham", root=Path()))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {dataset: ham, root: x}", "unknown `data.dataset` 'ham'.* known: ham10000"),
        ("data: {datset: csv, root: x}", r"must name a kind of data set \(ham10000, .*, folder\)"),
        ("prepare: {}", "must name a kind of data set"),
        ("data: {dataset: ham10000, rot: x}", "unknown key `data.rot`; did you mean `root`"),
        ("data: {dataset: ham10000}", "`data.root`: Field required"),
    ],
)
def test_the_data_section_is_read_by_the_adapter(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(MedauditError, match=message):
        datasets.read_params(path)


@pytest.mark.parametrize("path", PROFILES, ids=lambda path: path.stem)
def test_every_profile_names_a_data_set_with_its_options(path: Path) -> None:
    params = datasets.read_params(path)
    assert type(params) is datasets.DATASETS[params.dataset].params


def test_unnamed_columns_are_left_out_and_overlong_lines_are_not(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(",a,b,,\n0,1,2,,\n1,3,4\n")
    assert source_files.read_table(path, required=["a"]).to_numpy().tolist() == [
        ["1", "2"],
        ["3", "4"],
    ]
    path.write_text("a,b\n1,2,3\n")
    with pytest.raises(DataError, match="row 2 has 3 cells where the header has 2"):
        source_files.read_table(path, required=["a"])


@pytest.mark.realdata
def test_published_facts_of_ham10000(ham10000: Path) -> None:
    rows = load(ham10000).rows
    lesions = rows["group_id"].value_counts()
    sizes = lesions.value_counts().to_dict()
    assert len(rows) == 10_015
    assert len(lesions) == 7_470
    assert sizes == {1: 5514, 2: 1423, 3: 490, 4: 34, 5: 5, 6: 4}
    assert rows["age"].isna().sum() == 57
    assert rows.drop(columns=["age", "mask_path"]).notna().all().all()
    counts = [327, 514, 1099, 115, 1113, 6705, 142]
    assert rows["target"].value_counts().sort_index().tolist() == counts
    assert rows.groupby("group_id")["target"].nunique().max() == 1
