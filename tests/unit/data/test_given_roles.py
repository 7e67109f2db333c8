"""Roles that come with the data: kept, completed by dividing, and checked for copies."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medaudit.core.errors import DataError
from medaudit.core.findings import read_scalars
from medaudit.data import splits
from medaudit.data.integrity import merge_groups, without_conflict
from medaudit.data.splits import assign_roles, given_to_groups
from medaudit.tables.manifest import read_manifest, read_preparation
from stages import prepare

Draw = Callable[[Path, int], None]
Project = Callable[..., Path]
FRACTIONS = {"train": 0.70, "validation": 0.05, "calibration": 0.10, "test": 0.15}
ANY = "train/validation/calibration/test"


def test_words_for_roles_in_any_case() -> None:
    words = pd.Series(["Train", "VAL", "valid", "validation", "tune", "Cal", "calibration", "TEST"])
    assert splits.roles_of(words, source="t").tolist() == [
        "train",
        *["validation"] * 4,
        *["calibration"] * 2,
        "test",
    ]
    with pytest.raises(DataError, match=r"t\.csv: unknown splits holdout, 3; known: train, "):
        splits.roles_of(pd.Series(["train", "holdout", "3", None]), source="t.csv")


@pytest.mark.parametrize(
    ("roles", "completed"),
    [
        (
            ["train", "validation", "calibration", "test"],
            ["train", "validation", "calibration", "test"],
        ),
        (["train", "validation", "test"], ["train", "validation/calibration", "test"]),
        (["train", "test"], ["train/validation/calibration", "test"]),
        (["train", "calibration", "test"], ["train/validation", "calibration", "test"]),
        (["train", "validation"], ["train/test", "validation/calibration"]),
        (["train"], ["train/validation/calibration/test"]),
    ],
)
def test_roles_that_no_row_has_are_made_by_dividing(roles: list[str], completed: list[str]) -> None:
    found, notes = splits.completed(pd.Series(roles))
    assert found.tolist() == completed
    assert len(notes) == 1 + sum("/" in role for role in completed)


def test_words_joined_by_a_slash_are_divided_among_their_roles() -> None:
    words = pd.Series(["cal/Test", "test/val", None])
    found = splits.roles_of(words, source="t")
    assert found.tolist()[:2] == ["calibration/test", "validation/test"]
    assert found.isna().tolist() == [False, False, True]
    kept, notes = splits.completed(found)
    assert kept.tolist()[:2] == found.tolist()[:2]
    assert notes == ("The split came with the data (validation, calibration, test).",)
    with pytest.raises(DataError, match="unknown splits test/never"):
        splits.roles_of(pd.Series(["test/never"]), source="t")


def test_empty_cells_stay_empty() -> None:
    found, _ = splits.completed(pd.Series(["train", None, "validation", "calibration", "test"]))
    assert found.isna().tolist() == [False, True, False, False, False]


def test_given_roles_are_kept_and_count_when_others_are_filled_up() -> None:
    # 100 groups of one image: 40 given to test, far beyond its 15 %, so the 60 free ones fill
    # the others as 0.70 : 0.05 : 0.10 of 100, capped by what is left: about 49 : 4 : 7.
    roles = np.array(["test"] * 40 + [ANY] * 60)
    found = assign_roles(
        [f"g{i:03}" for i in range(100)],
        np.ones((100, 1), dtype=bool),
        classes=["a"],
        fractions=FRACTIONS,
        seed=0,
        given=roles.tolist(),
    )
    assert (found[:40] == "test").all()
    assert (found[40:] == "train").sum() == pytest.approx(49, abs=1)
    assert (found[40:] == "validation").sum() == pytest.approx(3.5, abs=1)
    assert (found[40:] == "calibration").sum() == pytest.approx(7, abs=1)
    assert "test" not in found[40:]


def test_rows_are_divided_among_their_roles_alone_with_every_label_in_each() -> None:
    # 20 groups of two images; label 1 in four of the groups
    groups = [f"g{i // 2:02}" for i in range(40)]
    truth = np.column_stack([np.ones(40, bool), np.arange(40) // 2 % 5 == 0])
    found = assign_roles(
        groups,
        truth,
        classes=["a", "b"],
        fractions=FRACTIONS,
        seed=3,
        given=["validation/calibration"] * 40,
        scarce="allow",
    )
    assert set(found) == set(found[truth[:, 1]]) == {"validation", "calibration"}
    assert (found[::2] == found[1::2]).all()


def test_a_scarce_label_stops_or_is_allowed() -> None:
    truth = np.zeros((40, 1), dtype=bool)
    truth[:2] = True
    how: dict[str, Any] = {"classes": ["rare"], "fractions": FRACTIONS, "seed": 0}
    groups = [f"g{i:02}" for i in range(40)]
    with pytest.raises(DataError, match=r"rare \(2\)"):
        assign_roles(groups, truth, **how)
    found = assign_roles(groups, truth, scarce="allow", **how)
    assert set(found) == set(FRACTIONS)
    assert len(set(found[:2])) == 2


def test_a_group_in_two_given_roles_is_named() -> None:
    rows = pd.DataFrame(
        {
            "group_id": ["a", "a", "b", "b", "c", "c"],
            "role": ["train", "test", "validation/calibration", "train", "test", None],
        }
    )
    with pytest.raises(
        DataError,
        match=r"2 groups stand in two roles .*: a \(test and train\), b \(train and validation",
    ):
        given_to_groups(rows)
    assert given_to_groups(rows[4:]).to_dict() == {"c": "test"}


def test_copies_join_groups_only_where_roles_agree() -> None:
    rows = pd.DataFrame({"sample_id": list("abcde"), "group_id": list("ABCDE")})
    pairs = pd.DataFrame({"first": ["a", "b", "d", "a"], "second": ["b", "c", "e", "c"]})
    roles = {"A": "train", "C": "test"}
    # b has no role and joins a; thereby b-c would put one group into train and test, as does a-c
    kept = without_conflict(rows, pairs, roles)
    assert kept.to_numpy().tolist() == [["a", "b"], ["d", "e"]]
    assert merge_groups(rows, kept).tolist() == ["A", "A", "C", "D", "D"]


@pytest.fixture
def table(tmp_path: Path, draw: Draw) -> pd.DataFrame:
    """Forty images of two classes with given roles; number 39 (test) is a copy of 0 (train)."""
    for i in range(40):
        draw(tmp_path / f"mine/{i:02}.png", 0 if i == 39 else i)
    return pd.DataFrame(
        {
            "image_path": [f"{i:02}.png" for i in range(40)],
            "diagnosis": np.where(np.arange(40) % 4 < 2, "nv", "mel"),
            "patient": [f"p{i:02}" for i in range(40)],
            "split": np.array(["train", "val", "cal", "test"])[np.arange(40) // 10],
        }
    )


def run(project: Project, rows: pd.DataFrame, **settings: Any) -> Path:
    data = {"dataset": "csv", "root": "mine", "table": "t.csv", "label": "diagnosis"}
    folder = project({**data, "group": "patient", "split": "split"}, **settings)
    rows.to_csv(folder / "mine/t.csv", index=False)
    prepare.main()
    return folder


def test_copies_across_given_roles_are_reported_and_not_moved(
    project: Project, table: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    folder = run(project, table)
    rows = read_manifest(folder / "artifacts/prepared").set_index("sample_id")
    assert (
        rows["role"].tolist()
        == np.repeat(["train", "validation", "calibration", "test"], 10).tolist()
    )
    assert rows["group_id"].tolist() == table["patient"].tolist()
    duplicates = pd.read_csv(folder / "plots/prepare/duplicates.csv")
    assert duplicates[["pair", "across_roles"]].to_numpy().tolist() == [["00.png 39.png", True]]
    assert read_scalars("prepare", root=folder)["n_duplicate_pairs_across_roles"] == 1
    message = "1 pairs of copies stand in different roles"
    assert [each.levelno for each in caplog.records if message in each.getMessage()] == [
        logging.WARNING
    ]
    notes = read_preparation(folder / "artifacts/prepared").notes
    assert notes[-1].startswith(message)
    assert "00.png and 39.png" in notes[-1]


def test_copies_across_given_roles_stop_the_run_when_asked(
    project: Project, table: pd.DataFrame
) -> None:
    with pytest.raises(DataError, match=r"00\.png and 39\.png; correct the split, or set `prepare"):
        run(project, table, on_duplicate_across_roles="stop")


def test_a_copy_without_a_given_role_follows_the_other(
    project: Project, table: pd.DataFrame
) -> None:
    table.loc[39, "split"] = None
    folder = run(project, table)
    rows = read_manifest(folder / "artifacts/prepared").set_index("sample_id")
    assert rows.loc["39.png", ["role", "group_id"]].tolist() == ["train", "p00"]
    assert not pd.read_csv(folder / "plots/prepare/duplicates.csv")["across_roles"].any()


def test_a_group_in_two_roles_of_the_table(project: Project, table: pd.DataFrame) -> None:
    table.loc[35, "patient"] = "p05"
    with pytest.raises(DataError, match=r"1 groups stand in two roles .*: p05 \(test and train\)"):
        run(project, table)


def test_a_role_that_cannot_be_made(project: Project, table: pd.DataFrame) -> None:
    table["split"] = table["split"].replace({"cal": "val"})
    table.loc[table["split"] == "val", "patient"] = "one"
    with pytest.raises(DataError, match="no group of images is left for the role validation"):
        run(project, table)
    table["split"] = "test"
    with pytest.raises(DataError, match="for the role train, validation, calibration"):
        run(project, table)


def test_a_class_that_a_given_role_lacks_is_warned_of(
    project: Project, table: pd.DataFrame, caplog: pytest.LogCaptureFixture
) -> None:
    table.loc[table["split"] == "test", "diagnosis"] = "nv"
    folder = run(project, table)
    note = "No positive image of mel in test: metrics there are undefined."
    assert note in caplog.text
    assert note in read_preparation(folder / "artifacts/prepared").notes
