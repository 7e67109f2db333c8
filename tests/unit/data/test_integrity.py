from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from medaudit.core.errors import DataError
from medaudit.data.integrity import duplicate_table, merge_groups

ROWS = pd.DataFrame(
    {
        "sample_id": ["a", "b", "c", "d", "e"],
        "group_id": ["g3", "g1", "g2", "g2", "g4"],
        "target": [0, 0, 1, 1, 0],
    }
)
NO_HASHES = pd.DataFrame(columns=["first", "second", "distance", "correlation"])


def pairs(*found: tuple[str, str]) -> pd.DataFrame:
    return pd.DataFrame(found, columns=["first", "second"])


def hashed(*found: tuple[str, str]) -> pd.DataFrame:
    return pairs(*found).assign(distance=2, correlation=0.995)


def test_groups_join_along_chains_under_the_smallest_id() -> None:
    # a-b joins g3 and g1, b-c joins g1 and g2: {g1, g2, g3} -> g1; d follows its group g2
    merged = merge_groups(ROWS, pairs(("a", "b"), ("b", "c")))
    assert merged.tolist() == ["g1", "g1", "g1", "g1", "g4"]


def test_no_pairs_change_nothing() -> None:
    assert merge_groups(ROWS, pairs()).tolist() == ROWS["group_id"].tolist()


def test_table_names_origin_and_conflicts() -> None:
    table = duplicate_table(ROWS, pairs(("b", "a"), ("e", "c")), hashed(("a", "b"), ("c", "d")))
    assert table["first"].tolist() == ["a", "c", "c"]
    assert table["second"].tolist() == ["b", "d", "e"]
    assert table["origin"].tolist() == ["both", "hash", "list"]
    assert table["across_groups"].tolist() == [True, False, True]
    assert table["labels_differ"].tolist() == [False, False, True]
    assert np.isnan(table["distance"][2])


def test_listed_pairs_of_absent_samples_are_left_out() -> None:
    assert duplicate_table(ROWS, pairs(("a", "zz")), NO_HASHES).empty


def test_lists_of_labels_are_compared_whole() -> None:
    rows = ROWS.assign(target=[[0, 1], [0, 1], [1, 1], [0, 0], [0, 0]])
    table = duplicate_table(rows, pairs(("a", "b"), ("a", "c")), NO_HASHES)
    assert table["labels_differ"].tolist() == [False, True]


def test_giant_group_is_refused() -> None:
    n = 100
    ids = [f"s{i:03}" for i in range(n)]
    rows = pd.DataFrame({"sample_id": ids, "group_id": ids, "target": 0})
    chain = pairs(*pairwise(ids[:21]))  # 21 of 100 images, limit 20
    with pytest.raises(DataError, match="a group of 21 of 100 images"):
        merge_groups(rows, chain)
    assert len(set(merge_groups(rows, chain.iloc[1:]))) == n - 19
