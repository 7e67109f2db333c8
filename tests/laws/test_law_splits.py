import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medaudit.core.errors import DataError
from medaudit.data.splits import assign_roles, check_roles

FRACTIONS = {"train": 0.70, "validation": 0.05, "calibration": 0.10, "test": 0.15}


@st.composite
def labelled_groups(draw: st.DrawFn) -> tuple[list[str], np.ndarray]:
    """Group ids and one-hot classes; 2-4 classes of 4-60 groups with 1-4 images each."""
    group_ids, labels = [], []
    n_classes = draw(st.integers(2, 4))
    for label in range(n_classes):
        for group in range(draw(st.integers(4, 60))):
            size = draw(st.integers(1, 4))
            group_ids += [f"c{label}g{group:02}"] * size
            labels += [label] * size
    return group_ids, np.eye(n_classes, dtype=bool)[labels]


def split(group_ids: list[str], truth: np.ndarray, *, seed: int = 0) -> np.ndarray:
    classes = [f"class {k}" for k in range(truth.shape[1])]
    return assign_roles(group_ids, truth, classes=classes, fractions=FRACTIONS, seed=seed)


@given(labelled_groups(), st.integers(0, 5))
@settings(max_examples=60, deadline=None)
def test_a_group_has_one_role_and_a_class_stands_in_every_role(
    data: tuple[list[str], np.ndarray], seed: int
) -> None:
    group_ids, truth = data
    roles = split(group_ids, truth, seed=seed)
    check_roles(pd.DataFrame({"group_id": group_ids, "role": roles}))
    for column in truth.T:
        assert set(roles[column]) == set(FRACTIONS)


@given(labelled_groups())
@settings(max_examples=60, deadline=None)
def test_shares_of_a_class_are_kept_to_a_group_or_two(data: tuple[list[str], np.ndarray]) -> None:
    # A group has at most 4 images and each of the 4 roles may have been given one out of turn.
    group_ids, truth = data
    roles = split(group_ids, truth)
    for column in truth.T:
        for role, fraction in FRACTIONS.items():
            assert abs((roles[column] == role).sum() - fraction * column.sum()) <= 8


@given(labelled_groups(), st.randoms(use_true_random=False))
@settings(max_examples=40, deadline=None)
def test_the_order_of_rows_has_no_influence(
    data: tuple[list[str], np.ndarray], random: st.DrawFn
) -> None:
    group_ids, truth = data
    order = list(range(len(group_ids)))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = split([group_ids[i] for i in order], truth[order])
    assert (shuffled == split(group_ids, truth)[order]).all()


def test_the_seed_decides_and_nothing_else() -> None:
    group_ids, truth = [f"g{i:03}" for i in range(100)], np.ones((100, 1), dtype=bool)
    assert (split(group_ids, truth, seed=1) == split(group_ids, truth, seed=1)).all()
    assert (split(group_ids, truth, seed=1) != split(group_ids, truth, seed=2)).any()


def test_large_groups_are_not_kept_for_the_largest_role() -> None:
    # 100 groups of 3 images and 100 of 1: every role gets both kinds in proportion.
    group_ids = [f"big{i:02}" for i in range(100) for _ in range(3)]
    group_ids += [f"one{i:02}" for i in range(100)]
    roles = split(group_ids, np.ones((400, 1), dtype=bool))
    big = roles[:300]
    assert (big == "test").sum() == pytest.approx(45, abs=3)
    assert (roles[300:] == "test").sum() == pytest.approx(15, abs=3)


def test_rows_of_several_and_of_no_classes() -> None:
    # Class 0 in rows 0-39, class 1 in rows 20-59, rows 60-99 have neither.
    truth = np.zeros((100, 2), dtype=bool)
    truth[:40, 0] = truth[20:60, 1] = True
    roles = split([f"g{i:03}" for i in range(100)], truth)
    for chosen in (truth[:, 0], truth[:, 1], ~truth.any(axis=1)):
        assert (roles[chosen] == "train").sum() == pytest.approx(28, abs=3)
        assert set(roles[chosen]) == set(FRACTIONS)


def test_a_class_with_fewer_groups_than_roles_is_named() -> None:
    truth = np.eye(2, dtype=bool)[[0] * 10 + [1] * 6]
    group_ids = [f"a{i}" for i in range(10)] + ["b0", "b0", "b1", "b1", "b2", "b2"]
    with pytest.raises(DataError, match=r"fewer groups than the 4 roles .*: class 1 \(3\)"):
        split(group_ids, truth)


def test_a_group_in_two_roles_is_named() -> None:
    rows = pd.DataFrame({"group_id": ["g1", "g1", "g2"], "role": ["train", "test", "test"]})
    with pytest.raises(DataError, match=r"1 groups stand in more than one role.*: g1;"):
        check_roles(rows)
