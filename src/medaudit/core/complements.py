"""Which cells of a table to leave out with small ones, so that its totals do not give them back.

Who reads the table knows which cells are missing, that each holds one at least, and every total.
`WIDTH` is by how much the value of a small cell may then vary.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medaudit.core.cell_rules import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

LEAST = 5
WIDTH = 3
# Measures that count the images without a class or label (as in `report.formatting.WITHOUT`).
_WITHOUT = ("specificity", "false_alarms_per_100")


def complemented(counts: Any, hidden: Mask, *, order: Any = None) -> Mask:
    """The hidden cells of a line with a known total, and as many more as protect them.

    Two at least, and so many images in them that any one may hold `WIDTH` more or fewer when each
    holds one at least.
    """
    numbers = np.nan_to_num(np.asarray(counts, dtype=float))
    hidden, there = hidden.copy(), numbers > 0
    ranked = np.argsort(numbers, kind="stable") if order is None else order
    waiting = deque(i for i in ranked if there[i] and not hidden[i])
    while (hidden & there).any() and waiting and not _slack(numbers[hidden & there]):
        hidden[waiting.popleft()] = True
    return hidden


def _slack(numbers: NDArray[np.float64]) -> bool:
    return len(numbers) > 1 and numbers.sum() - len(numbers) >= WIDTH


def grid_hidden(
    values: NDArray[np.int64], hidden: Mask, *, primary: Mask, free: Mask, turned: Mask
) -> Mask:
    """Cells of a table with known totals of rows and columns to leave out.

    For every small cell a rectangle of cells is left out in which images can be moved around
    without a change of any total; all that may be, where no rectangle has enough images. What no
    small cell needs in the end is shown.

    Args:
        values: counts, of shape (rows, columns).
        hidden: cells that are left out anyway.
        primary: small cells among them.
        free: cells that may be left out, too; the others are published elsewhere.
        turned: totals among the cells, which lose where others of their line gain.
    """
    given = hidden | primary
    hidden = given.copy()
    able = (free | hidden) & (values > 0)
    for cell in map(tuple, np.argwhere(primary)):
        if width(values, hidden & (values > 0), cell, turned=turned) >= WIDTH:
            continue
        corners = _cheapest(values, hidden, able & ~turned, cell)
        if corners is None:
            hidden |= able
            break
        hidden[tuple(zip(*corners, strict=True))] = True
    return _pruned(values, hidden, primary=primary, given=given, turned=turned)


def _pruned(
    values: NDArray[np.int64], hidden: Mask, *, primary: Mask, given: Mask, turned: Mask
) -> Mask:
    """Without those that no small cell needs any more, the largest first."""
    start = hidden & (values > 0)
    cells = {
        tuple(cell): width(values, start, tuple(cell), turned=turned)
        for cell in np.argwhere(primary)
    }
    extra = [tuple(cell) for cell in np.argwhere(hidden & ~given)]
    for cell in sorted(extra, key=lambda each: -int(values[each])):
        hidden[cell] = False
        there = hidden & (values > 0)
        hidden[cell] = any(
            width(values, there, each, turned=turned) < least for each, least in cells.items()
        )
    return hidden


def _cheapest(
    values: NDArray[np.int64], hidden: Mask, able: Mask, cell: tuple[int, int]
) -> list[tuple[int, int]] | None:
    row, column = cell
    found: list[tuple[int, list[tuple[int, int]]]] = []
    for i, j in product(np.flatnonzero(able[:, column]), np.flatnonzero(able[row])):
        corners = [(row, int(j)), (int(i), column), (int(i), int(j))]
        if i == row or j == column or not able[i, j]:
            continue
        beside, below, across = (int(values[corner]) for corner in corners)
        moves = min(beside, below) - 1 + min(int(values[cell]), across) - 1
        if moves >= WIDTH:
            found.append((sum(int(values[c]) for c in corners if not hidden[c]), corners))
    return min(found)[1] if found else None


def width(
    values: NDArray[np.int64], hidden: Mask, cell: tuple[int, int], *, turned: Mask | None = None
) -> int:
    """By how much a hidden cell may vary, with all totals as they are; `WIDTH` where by more.

    Every hidden cell holds one at least. What a cell gains, others of its row and column lose: the
    largest flow from the row to the column, through cells that lose, and gain, in turn.
    """
    others = hidden.copy()
    others[cell] = False
    turns = np.where(np.zeros_like(hidden) if turned is None else turned, -1, 1)
    losing = -int(turns[cell])
    gains = _flow(values, others, cell, turns=turns, sign=losing, most=WIDTH)
    most = min(WIDTH - gains, int(values[cell]) - 1)
    return gains + _flow(values, others, cell, turns=turns, sign=-losing, most=most)


def _flow(
    values: NDArray[np.int64],
    cells: Mask,
    ends: tuple[int, int],
    *,
    turns: NDArray[np.int64],
    sign: int,
    most: int,
) -> int:
    """The largest flow from a row to a column in steps of one, up to `most`."""
    moved = np.zeros_like(values)
    for done in range(most):
        path = _path(values + moved, cells, ends, turns=turns, sign=sign)
        if path is None:
            return done
        for step, cell in enumerate(path):
            moved[cell] += int(turns[cell]) * (sign if step % 2 == 0 else -sign)
    return max(most, 0)


def _path(
    values: NDArray[np.int64],
    cells: Mask,
    ends: tuple[int, int],
    *,
    turns: NDArray[np.int64],
    sign: int,
) -> list[tuple[int, int]] | None:
    """Cells that gain and lose one in turn, the first by `sign`, from a row to a column."""
    # Every hidden cell may gain; it may lose while it holds more than one.
    able = {way: cells & ((turns == way) | (values > 1)) for way in (1, -1)}
    start, end = (0, ends[0]), (1, ends[1])
    came: dict[tuple[int, int], tuple[int, int] | None] = {start: None}
    queue = deque([start])
    while queue and end not in came:
        side, i = node = queue.popleft()
        line = able[sign][i] if side == 0 else able[-sign][:, i]
        for other in ((1 - side, int(j)) for j in np.flatnonzero(line)):
            if other not in came:
                came[other] = node
                queue.append(other)
    if end not in came:
        return None
    nodes: list[tuple[int, int]] = [end]
    while (before := came[nodes[-1]]) is not None:
        nodes.append(before)
    nodes.reverse()
    return [(a[1], b[1]) if a[0] == 0 else (b[1], a[1]) for a, b in pairwise(nodes)]


def small(counts: pd.Series[Any]) -> Mask:
    """Which counts are small: 1 to 4."""
    numbers = pd.to_numeric(counts, errors="coerce").to_numpy(dtype=float)
    return np.asarray((numbers > 0) & (numbers < LEAST))


def together(table: pd.DataFrame, columns: Sequence[str]) -> Iterable[NDArray[np.intp]]:
    """Positions of rows that are alike in these columns."""
    if not columns:
        return [np.arange(len(table))]
    found = table.groupby(list(columns), sort=False, dropna=False).indices.values()
    return [np.asarray(rows, dtype=np.intp) for rows in found]


def in_grid(
    table: pd.DataFrame,
    lines: tuple[str, str],
    count: str,
    *,
    hidden: Mask,
    tiny: Mask,
    free: Mask,
    turned: Mask | None = None,
) -> Mask:
    """`grid_hidden` of a table with a row for every cell; `lines` name its row and its column."""
    (i, names), (j, heads) = (pd.factorize(table[name]) for name in lines)

    def as_grid(values: Any) -> Any:
        grid = np.zeros((len(names), len(heads)), dtype=values.dtype)
        grid[i, j] = values
        return grid

    found = grid_hidden(
        as_grid(table[count].fillna(0).to_numpy(dtype=np.int64)),
        as_grid(hidden),
        primary=as_grid(tiny),
        free=as_grid(free),
        turned=as_grid(np.zeros(len(table), dtype=bool) if turned is None else turned),
    )
    return np.asarray(found[i, j])


def halves(crossed: str) -> list[str]:
    """The two halves of a crossed slice or column, or conditions of a rule."""
    return str(crossed).split(" and ")


def hidden_slices(
    tables: Mapping[str, pd.DataFrame], critical: str | None
) -> tuple[frozenset[str], frozenset[tuple[str, str | None]]]:
    """Slices of which nothing is told, and pairs (slice, class) of which nothing is."""
    cut = slice_sizes(tables)
    tiny = small(cut["n"]) | small(cut["n_groups"])
    whole = frozenset(cut["slice"][_covered(cut, "n", tiny, tiny)])
    measured = tables.get("slices", pd.DataFrame({"output": []}))
    hidden: set[tuple[str, str | None]] = set()
    for output in dict.fromkeys([critical, *measured["output"].dropna()]):
        part = _with_and_without(tables, output, critical=output == critical)
        inside = part["slice"].isin(whole).to_numpy()
        few = np.logical_or.reduce([small(part[name]) for name in _PARTS])
        gone = _covered(part, "positive", few | inside, few | (inside & small(part["positive"])))
        hidden |= {(name, output) for name in part["slice"][gone]}
    return whole, frozenset(hidden)


def slice_sizes(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Every slice, measured or refused, with `column`, `n` and, where known, `n_groups`."""
    columns = ["column", "slice", "n", "n_groups"]
    parts = [
        tables.get(name, pd.DataFrame()).reindex(columns=columns) for name in ("slices", "refused")
    ]
    found = pd.concat([part.astype({"n": float, "n_groups": float}) for part in parts])
    return found.groupby(["column", "slice"], sort=False).first().reset_index()


_PARTS = words("positive positive_groups negative negative_groups")


def _with_and_without(
    tables: Mapping[str, pd.DataFrame], output: str | None, *, critical: bool
) -> pd.DataFrame:
    """Images of every slice with a class and without it, and whether any measure rests on them."""
    measured, refused = (tables.get(name, pd.DataFrame()) for name in ("slices", "refused"))
    parts = [pd.DataFrame(columns=["column", "slice", "n", *_PARTS])]
    if not measured.empty:
        told = measured[(measured["output"] == output) & measured["n_positive"].notna()]
        without = told["metric"].astype(str).str.endswith(_WITHOUT)
        for name, rows in (("positive", told[~without]), ("negative", told[without])):
            counts = {"n_positive": name, "n_positive_groups": f"{name}_groups"}
            parts.append(rows[["column", "slice", "n", *counts]].rename(columns=counts))
    if critical and not refused.empty:
        counts = {"n_positive": "positive"}
        parts.append(refused[["column", "slice", "n", "n_positive"]].rename(columns=counts))
    found = pd.concat(
        [part.astype(dict.fromkeys(set(part) - {"column", "slice"}, float)) for part in parts]
    )
    found = found.groupby(["column", "slice"], sort=False).first().reset_index()
    found["judged"] = found["positive_groups"].notna()
    found["positive"] = found["positive"].fillna(found["n"] - found["negative"])
    found["negative"] = found["negative"].fillna(found["n"] - found["positive"])
    return found


def _covered(cut: pd.DataFrame, count: str, hidden: Mask, tiny: Mask) -> Mask:
    """Slices to leave out, column by column; of two crossed columns as in a grid."""
    hidden = hidden.copy()
    crossed = cut["column"].astype(str).str.contains(" and ", regex=False).to_numpy()
    for rows in together(cut[~crossed], ["column"]):
        at = np.flatnonzero(~crossed)[rows]
        # What no measure of the class rests on costs least to leave out.
        judged = cut["judged"].to_numpy(dtype=bool)[at] if "judged" in cut else np.ones(len(at))
        order = np.lexsort((cut[count].to_numpy()[at], judged))
        hidden[at] = complemented(cut[count].to_numpy()[at], hidden[at], order=order)
    for rows in together(cut[crossed], ["column"]):
        at = np.flatnonzero(crossed)[rows]
        hidden[at] = _crossed(cut, count, hidden, tiny, at)
    return hidden


def _crossed(cut: pd.DataFrame, count: str, hidden: Mask, tiny: Mask, at: NDArray[np.intp]) -> Mask:
    """Of two crossed columns: whose slices are the totals, told or left out."""
    pairs = [halves(label) for label in cut["slice"].to_numpy()[at]]
    gone = set(cut["slice"][hidden])
    seeds = hidden[at] | np.array([bool(gone & set(pair)) for pair in pairs])
    if not seeds.any():
        return hidden[at]
    if any(len(pair) != 2 for pair in pairs) or cut[count].iloc[at].isna().any():
        return np.ones(len(at), dtype=bool)
    ones, others = zip(*pairs, strict=True)
    labels = cut["slice"].to_numpy()
    sums = [i for i, label in enumerate(labels) if label in {*ones, *others}]
    part = pd.DataFrame(
        {
            "one": [*ones, *(labels[i] if labels[i] in ones else _TOTAL for i in sums)],
            "other": [*others, *(_TOTAL if labels[i] in ones else labels[i] for i in sums)],
            "n": cut[count].to_numpy()[[*at, *sums]],
        }
    )
    total = np.arange(len(part)) >= len(at)
    given = np.concatenate([seeds, hidden[sums]])
    found = in_grid(
        part,
        ("one", "other"),
        "n",
        hidden=given,
        tiny=tiny[[*at, *sums]] & given,
        free=~total,
        turned=total,
    )
    return found[: len(at)]


_TOTAL = ""
