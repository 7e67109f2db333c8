"""Folders of classes, with and without folders of splits above, on drawn images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medaudit.core.errors import DataError
from medaudit.data.datasets import base, folder
from medaudit.data.datasets.base import RawDataset
from medaudit.tables.manifest import read_manifest, read_preparation
from stages import prepare

Draw = Callable[[Path, int], None]
Project = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path, draw: Draw) -> Path:
    """Three classes of eight images; the file names repeat from class to class."""
    top = tmp_path / "mine"
    for i in range(24):
        draw(top / ("mel", "nv", "bcc")[i // 8] / f"{i % 8}.png", i)
    return top


def load(root: Path, **options: Any) -> RawDataset:
    return folder.load(folder.Params(root=root, **options))


def test_classes_are_folders(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    raw = load(root, critical="mel")
    assert raw.schema.classes == ("bcc", "mel", "nv")
    assert raw.schema.critical_class == "mel"
    rows = raw.rows.set_index("sample_id")
    assert len(rows) == 24
    assert rows.loc[["bcc/0.png", "mel/0.png", "nv/7.png"], "target"].tolist() == [0, 1, 2]
    assert raw.rows["group_id"].is_unique
    assert raw.notes == (base.NO_GROUPS,)
    assert len([each for each in caplog.records if each.levelname == "WARNING"]) == 1
    assert "role" not in raw.rows


def test_images_below_deeper_folders_and_outside_of_classes(root: Path, draw: Draw) -> None:
    draw(root / "mel/more/9.png", 90)
    draw(root / "stray.png", 91)
    (root / "nv/notes.txt").write_text("no image")
    (root / "empty").mkdir()
    raw = load(root)
    assert len(raw.rows) == 25
    assert raw.images_without_row == ("stray.png",)
    assert raw.schema.classes == ("bcc", "mel", "nv")


def test_classes_in_an_order_of_ones_own(root: Path) -> None:
    assert load(root, classes=["nv", "mel", "bcc"]).schema.classes == ("nv", "mel", "bcc")
    with pytest.raises(DataError, match=r"folders bcc are not in `data\.classes` \(nv, mel\)"):
        load(root, classes=["nv", "mel"])


def test_what_is_no_folder_of_classes(root: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        load(root / "nowhere")
    with pytest.raises(DataError, match=r"no images; expected <class>/ or <split>/<class>/"):
        load(root / "mel")
    for name in ("nv", "bcc"):
        (root / name).rename(root.parent / name)
    with pytest.raises(DataError, match="2 class folders or more, got only mel"):
        load(root)


def test_splits_are_folders_above(project: Project, root: Path, draw: Draw) -> None:
    top = root.parent / "splits"
    for i in range(48):
        split = ("Train", "Valid", "test")[i // 16]
        draw(top / split / ("mel", "nv")[i // 8 % 2] / f"{i % 8}.png", 100 + i)
    work = project({"dataset": "folder", "root": str(top)})
    prepare.main()
    rows = read_manifest(work / "artifacts/prepared")
    assert (rows["role"] == "train").sum() == 16
    assert set(rows.loc[rows["sample_id"].str.startswith("test/"), "role"]) == {"test"}
    held = rows.loc[rows["sample_id"].str.startswith("Valid/"), "role"]
    assert set(held) == {"validation", "calibration"}
    notes = read_preparation(work / "artifacts/prepared").notes
    assert notes[:2] == (base.NO_GROUPS, "The split came with the data (train, validation, test).")


def test_splits_beside_classes(root: Path, draw: Draw) -> None:
    draw(root / "train/mel/0.png", 0)
    with pytest.raises(DataError, match=r"folders of splits \(train\) and others \(bcc, mel, nv\)"):
        load(root)
