"""No small cell can be computed from what is published: linear programmes look for its range.

The oracle knows every number that is left, every total, and that no cell is left out that is empty.
It finds the least and the largest value that each small cell may have.
"""

from itertools import product

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from medaudit.core.cell_rules import COLUMN, LEAST, WIDTH, width
from medaudit.core.small_cells import Known, released, suppressed

COUNTS = st.sampled_from([0, 0, 1, 1, 2, 3, 4, 5, 7, 12, 40, 300])


def grids(rows, columns):
    """Tables of counts of that shape."""
    cells = st.lists(COUNTS, min_size=rows * columns, max_size=rows * columns)
    return cells.map(lambda values: np.array(values).reshape(rows, columns))


def ranges(values, hidden, equations, lower=1):
    """Least and largest value of every hidden cell.

    Args:
        values: the truth, of any shape.
        hidden: of that shape; the rest is published.
        equations: arrays of that shape with a 1 where a cell counts towards a published total.
        lower: what a hidden cell holds at least.
    """
    variables = np.flatnonzero(hidden)
    matrix = np.array([each.ravel()[variables] for each in equations], dtype=float)
    totals = matrix @ values.ravel()[variables]
    found = {}
    for place, cell in enumerate(variables):
        goal = np.zeros(len(variables))
        goal[place] = 1
        ends = [
            linprog(sign * goal, A_eq=matrix, b_eq=totals, bounds=(lower, None)) for sign in (1, -1)
        ]
        # An unbounded range has no end.
        found[int(cell)] = np.inf if ends[1].status == 3 else -ends[1].fun - ends[0].fun
    return found


def lines(shape):
    """The equations of a table with totals of rows and of columns."""
    rows, columns = shape
    whole = [np.arange(rows)[:, None] == i for i in range(rows)]
    down = [np.arange(columns)[None, :] == j for j in range(columns)]
    return [np.broadcast_to(each, shape).astype(float) for each in (*whole, *down)]


def is_small(values):
    """Cells of 1 to 4."""
    return (values > 0) & (values < LEAST)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 6).flatmap(lambda k: grids(k, k)))
def test_wrong_calls_cannot_be_computed_from_the_totals_and_the_diagonal(counts):
    names = [f"c{i}" for i in range(len(counts))]
    table = pd.DataFrame(
        [(a, b, counts[i, j]) for (i, a), (j, b) in product(enumerate(names), enumerate(names))],
        columns=["truth", "predicted", "count"],
    ).assign(rate=0.5)
    shown = suppressed("evaluate", "confusion", table)
    hidden = shown["count"].isna().to_numpy().reshape(counts.shape)
    wrong = ~np.eye(len(counts), dtype=bool)
    assert not hidden[~wrong].any()
    assert hidden[is_small(counts) & wrong].all()
    assert shown["rate"].isna().to_numpy().reshape(counts.shape).tolist() == hidden.tolist()
    found = ranges(counts, hidden, lines(counts.shape)) if hidden.any() else {}
    best = ranges(counts, wrong & (counts > 0), lines(counts.shape)) if hidden.any() else {}
    for cell in np.flatnonzero(is_small(counts) & wrong):
        # Where all wrong calls together cannot hide it, they are all left out or as good as that.
        assert found[cell] >= min(WIDTH, best[cell]) - 1e-6


@settings(max_examples=40, deadline=None)
@given(grids(4, 5), st.data())
def test_the_flow_finds_the_range_that_a_linear_programme_finds(counts, data):
    hidden = (counts > 0) & np.array(
        data.draw(st.lists(st.booleans(), min_size=20, max_size=20))
    ).reshape(4, 5)
    if not hidden.any():
        return
    found = ranges(counts, hidden, lines(counts.shape))
    for cell in np.argwhere(hidden):
        flat = int(np.ravel_multi_index(tuple(cell), counts.shape))
        expected = min(found[flat], WIDTH)
        assert width(counts, hidden, tuple(cell)) == pytest.approx(expected, abs=1e-6)


@settings(max_examples=25, deadline=None)
@given(grids(5, 4), st.sampled_from([None, "c0", "c3"]))
def test_no_class_of_a_role_can_be_computed_from_the_role(images, critical):
    roles = ["train", "validation", "calibration", "test"]
    groups = np.maximum(images // 2, (images > 0).astype(int))
    rows = [
        (f"c{i}", role, images[i, j], groups[i, j])
        for i, (j, role) in product(range(5), enumerate(roles))
    ]
    table = pd.DataFrame(rows, columns=["class", "role", "images", "groups"])
    test = table[table["role"] == "test"].reset_index(drop=True)
    known = Known.of(test, critical)
    shown = suppressed("prepare", "class_counts", table, known=known)
    for name, counts in (("images", images), ("groups", groups)):
        hidden = shown[name].isna().to_numpy().reshape(images.shape)
        tiny = is_small(images) | is_small(groups)
        assert hidden[tiny].all()
        for role in range(4):
            line, gone = counts[:, role], hidden[:, role]
            found = ranges(line, gone, [np.ones(5)]) if gone.any() else {}
            best = ranges(line, line > 0, [np.ones(5)]) if gone.any() else {}
            for cell in np.flatnonzero(is_small(line)):
                assert found[cell] >= min(WIDTH, best[cell]) - 1e-6
    in_test = shown[shown["role"] == "test"]
    # All stages leave out the same classes of the test role.
    assert known.classes == set(in_test["class"][in_test["images"].isna()])


@settings(max_examples=25, deadline=None)
@given(st.lists(COUNTS, min_size=3, max_size=15))
def test_no_bin_can_be_computed_from_the_others(counts):
    counts = np.array(counts)
    n = len(counts)
    bins = pd.DataFrame({"event": "mel", "stage": "identity", "count": counts})
    bins = bins.assign(bin_lo=np.arange(n), bin_hi=np.arange(1, n + 1), accuracy=0.5)
    shown = suppressed("calibrate", "reliability", bins)
    hidden = shown["count"].isna().to_numpy()
    assert hidden[is_small(counts)].all()
    assert (hidden == shown["accuracy"].isna()).all()
    if hidden.any():
        assert (shown[COLUMN].notna() == hidden).all()
        found = ranges(counts, hidden, [np.ones(n)])
        best = ranges(counts, counts > 0, [np.ones(n)])
        for cell in np.flatnonzero(is_small(counts)):
            assert found[cell] >= min(WIDTH, best[cell]) - 1e-6


def sliced(counts, positives, *, least):
    """Tables of slices on two columns and on both crossed, measured from `least` images on."""
    parts = {
        "a": [(f"a={i}", counts[i].sum(), positives[i].sum()) for i in range(len(counts))],
        "b": [
            (f"b={j}", counts[:, j].sum(), positives[:, j].sum()) for j in range(counts.shape[1])
        ],
        "a and b": [
            (f"a={i} and b={j}", counts[i, j], positives[i, j])
            for i, j in product(*map(range, counts.shape))
        ],
    }
    measured, refused = [], []
    for column, found in parts.items():
        for label, n, positive in found:
            if n >= least:
                for metric, rests_on in (("sensitivity", positive), ("specificity", n - positive)):
                    row = (column, label, f"critical_{metric}", "mel", n, n, rests_on, rests_on)
                    measured.append(row)
                measured.append((column, label, "accuracy", None, n, n, np.nan, np.nan))
            elif n:
                refused.append((column, label, n, positive, f"too small: {n}"))
    names = ["column", "slice", "metric", "output", "n", "n_groups", "n_positive"]
    slices = pd.DataFrame(measured, columns=[*names, "n_positive_groups"]).assign(value=0.5)
    refusals = pd.DataFrame(refused, columns=["column", "slice", "n", "n_positive", "reason"])
    return {"slices": slices, "refused": refusals}


def told(tables, column):
    """What is left of a count: `n`, or positives from the images with or without the class."""
    found = {}
    for _, row in tables["refused"].iterrows():
        value = row["n" if column == "n" else "n_positive"]
        found.setdefault(row["slice"], value)
    for _, row in tables["slices"].iterrows():
        if column == "n":
            value = row["n"]
        elif row["metric"] == "critical_sensitivity":
            value = row["n_positive"]
        elif row["metric"] == "critical_specificity":
            value = row["n"] - row["n_positive"]
        else:
            continue
        if pd.notna(value) or row["slice"] not in found:
            found[row["slice"]] = value
    return found


@settings(max_examples=20, deadline=None)
@given(grids(3, 4), st.data())
def test_no_slice_can_be_computed_from_its_column_or_a_crossed_one(counts, data):
    shares = data.draw(grids(3, 4))
    positives = np.minimum(counts, shares)
    tables = sliced(counts, positives, least=20)
    if tables["refused"].empty and tables["slices"].empty:
        return
    shown = released("slice", tables, Known("mel"))
    shape = (len(counts) + 1, counts.shape[1] + 1)
    for column, truth in (("n", counts), ("n_positive", positives)):
        left = told(shown, column)
        # The last row and column hold the slices on one column alone, with their sign turned.
        whole = np.zeros(shape)
        whole[:-1, :-1], whole[:-1, -1], whole[-1, :-1] = truth, truth.sum(1), truth.sum(0)
        gone = np.zeros(shape, dtype=bool)
        for i, j in product(*map(range, shape)):
            names = [f"a={i}"] * (i < shape[0] - 1) + [f"b={j}"] * (j < shape[1] - 1)
            label = " and ".join(names)
            gone[i, j] = bool(label) and label in left and pd.isna(left[label])
        equations = []
        for i in range(shape[0]):
            line = np.zeros(shape)
            line[i, :-1], line[i, -1] = 1, -1 if i < shape[0] - 1 else 0
            equations.append(line)
        for j in range(shape[1]):
            line = np.zeros(shape)
            line[:-1, j], line[-1, j] = 1, -1 if j < shape[1] - 1 else 0
            equations.append(line)
        if not gone.any():
            assert not is_small(whole).any() or column == "n_positive"
            continue
        lower = 1 if column == "n" else 0
        crossed = whole > 0
        crossed[-1], crossed[:, -1] = False, False
        found = ranges(whole, gone, equations, lower=lower)
        for cell in np.flatnonzero(is_small(whole)):
            assert gone.ravel()[cell]
            # Totals that are large are told; more than all crossed slices cannot be left out.
            best = ranges(whole, gone | crossed, equations, lower=lower)
            assert found[cell] >= min(WIDTH, best[cell]) - 1e-6
