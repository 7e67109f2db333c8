"""Which cells of a table to leave out with small ones, so that its totals do not give them back.

Who reads the table knows which cells are missing, that each holds one at least, and every total.
`WIDTH` is by how much the value of a small cell may then vary.
"""

from __future__ import annotations

from collections import deque
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

WIDTH = 3


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


def grid_hidden(values: NDArray[np.int64], hidden: Mask, *, primary: Mask, free: Mask) -> Mask:
    """Cells of a table with known totals of rows and columns to leave out.

    For every small cell a rectangle of cells is left out in which images can be moved around
    without a change of any total; all that may be, where no rectangle has enough images. What no
    small cell needs in the end is shown.

    Args:
        values: counts, of shape (rows, columns).
        hidden: cells that are left out anyway.
        primary: small cells among them.
        free: cells that may be left out, too; the others are published elsewhere.
    """
    given = hidden | primary
    hidden = given.copy()
    able = (free | hidden) & (values > 0)
    for cell in map(tuple, np.argwhere(primary)):
        if width(values, hidden & (values > 0), cell) >= WIDTH:
            continue
        corners = _cheapest(values, hidden, able, cell)
        if corners is None:
            hidden |= able
            break
        hidden[tuple(zip(*corners, strict=True))] = True
    return _pruned(values, hidden, primary=primary, given=given)


def _pruned(values: NDArray[np.int64], hidden: Mask, *, primary: Mask, given: Mask) -> Mask:
    """Without those that no small cell needs any more, the largest first."""
    start = hidden & (values > 0)
    cells = {tuple(cell): width(values, start, tuple(cell)) for cell in np.argwhere(primary)}
    extra = [tuple(cell) for cell in np.argwhere(hidden & ~given)]
    for cell in sorted(extra, key=lambda each: -int(values[each])):
        hidden[cell] = False
        there = hidden & (values > 0)
        hidden[cell] = any(width(values, there, each) < least for each, least in cells.items())
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


def width(values: NDArray[np.int64], hidden: Mask, cell: tuple[int, int]) -> int:
    """By how much a hidden cell may vary, with all totals as they are; `WIDTH` where by more.

    Every hidden cell holds one at least. What a cell gains, others of its row and column lose: the
    largest flow from the row to the column, through cells that lose, and gain, in turn.
    """
    others = hidden.copy()
    others[cell] = False
    gains = _flow(values, others, cell, losing_first=True, most=WIDTH)
    most = min(WIDTH - gains, int(values[cell]) - 1)
    return gains + _flow(values, others, cell, losing_first=False, most=most)


def _flow(
    values: NDArray[np.int64], cells: Mask, ends: tuple[int, int], *, losing_first: bool, most: int
) -> int:
    """The largest flow from a row to a column in steps of one, up to `most`."""
    moved = np.zeros_like(values)
    sign = -1 if losing_first else 1
    for done in range(most):
        path = _path(values + moved, cells, ends, sign=sign)
        if path is None:
            return done
        for step, cell in enumerate(path):
            moved[cell] += sign if step % 2 == 0 else -sign
    return max(most, 0)


def _path(
    values: NDArray[np.int64], cells: Mask, ends: tuple[int, int], *, sign: int
) -> list[tuple[int, int]] | None:
    """Cells that gain and lose one in turn, the first by `sign`, from a row to a column."""
    # Every hidden cell may gain; it may lose while it holds more than one.
    able = {1: cells, -1: cells & (values > 1)}
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
