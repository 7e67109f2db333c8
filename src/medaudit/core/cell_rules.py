"""Which cells of the tables of `plots/` are small, and which others would give them away.

`RULES` is the one list: which columns of every table count images or patients, which numbers hang
on them, what adds up to a published total. A table that it does not name leaves no row behind. The
functions find the cells to leave out with small ones. Who reads the rest knows which cells are
missing, that each holds one at least, and every total; `WIDTH` is by how much the value of a small
cell may then vary.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise, product
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

LEAST = 5
WIDTH = 3
COLUMN = "suppressed"
WORD = "small cell"
LEFT_OUT = "left out"


@dataclass(frozen=True)
class Rule:
    """What a table of `plots/` gives away, and what stays when a cell of it is small.

    Columns stand in one text, with spaces between.

    Args:
        stands: why nothing is left out, for tables without cells of persons; empty otherwise.
        keys: columns that say which cell a row is; all the others are emptied where it is small.
        sizes: columns that count images or groups; a row with 1 to 4 in one of them is small.
        rest: whether a row with 1 to 4 outside of its positives is small, too.
        adds_up: rows that are alike in these columns add up to a published total of `total`; `None`
            where nothing adds up.
        total: the column that adds up.
        only: columns that are emptied instead of all but `keys`.
        of: the column that names a class, event, mode or measure; rows of those hidden elsewhere in
            the same stage are emptied.
        curve: whether rows of what is hidden are removed instead, as points of a line are.
    """

    stands: str = ""
    keys: str = ""
    sizes: str = ""
    rest: bool = False
    adds_up: str | None = None
    total: str = ""
    only: str = ""
    of: str = ""
    curve: bool = False


_SIZES = "n n_groups n_positive n_positive_groups"
_CHANGE = "corruption severity metric output"
_MISSED = (
    "missed_n missed_inside missed_expected missed_gap missed_gap_low missed_gap_high "
    "missed_p_adjusted missed_minimal_detectable"
)
_FILES = "counts files, not persons"
_CASES = "a row is one image or pair, whose ids and whose release are ruled by report.privacy"
_LARGE = "numbers of a whole role"
_NONE = "holds no number"

# Several rules of one table apply one after the other.
RULES: Mapping[tuple[str, str], tuple[Rule, ...]] = {
    ("prepare", "class_counts"): (Rule(keys="class role"),),
    ("prepare", "missing"): (
        Rule(sizes="missing", adds_up="", total="missing", only="missing"),
        Rule(sizes="unknown", adds_up="", total="unknown", only="unknown"),
    ),
    ("prepare", "ledger"): (Rule(stands=_FILES),),
    ("prepare", "duplicates"): (Rule(stands=_CASES),),
    ("train", "curves"): (Rule(stands=_LARGE),),
    ("evaluate", "metrics"): (Rule(keys="metric", sizes=_SIZES, rest=True, of="metric"),),
    ("evaluate", "per_class"): (
        Rule(keys="class metric threshold", sizes=_SIZES, rest=True, of="class"),
    ),
    ("evaluate", "confusion"): (Rule(keys="truth predicted", of="truth"),),
    ("evaluate", "roc"): (Rule(of="class", curve=True),),
    ("evaluate", "precision_recall"): (Rule(of="class", curve=True),),
    ("evaluate", "threshold"): (Rule(of="class", curve=True),),
    ("evaluate", "duplicates_across_roles"): (Rule(stands=_CASES),),
    ("evaluate", "duplicates_in_test"): (Rule(stands=_CASES),),
    ("stress", "conditions"): (
        Rule(
            keys="condition corruption severity metric output direction",
            sizes=_SIZES,
            rest=True,
            of="metric",
        ),
    ),
    ("stress", "severity"): (Rule(keys="metric corruption severity", of="metric"),),
    ("stress", "delta"): (Rule(keys=_CHANGE, sizes="n", of="metric"),),
    ("stress", "delta_critical"): (Rule(keys=_CHANGE, sizes="n", of="metric"),),
    ("stress", "delta_specificity"): (Rule(keys=_CHANGE, sizes="n", of="metric"),),
    ("stress", "trend"): (Rule(keys="corruption metric n_severities", of="metric"),),
    ("stress", "ece_floor"): (Rule(stands=_LARGE),),
    ("stress", "corruption_errors"): (Rule(keys="corruption quantity", sizes=_SIZES, rest=True),),
    ("stress", "predicted"): (Rule(keys="condition class"),),
    ("slice", "slices"): (
        Rule(
            keys="column slice words metric output direction",
            sizes=f"{_SIZES} gap_n gap_n_positive gap_n_positive_groups",
            rest=True,
        ),
    ),
    ("slice", "primary"): (
        Rule(keys="metric output column slice", sizes="n n_groups n_positive", rest=True),
    ),
    ("slice", "refused"): (Rule(keys="column slice reason", sizes="n n_positive"),),
    ("slice", "discovered"): (Rule(keys="error kind slice found_on", sizes="found_n n n_groups"),),
    ("slice", "shortcuts"): (
        Rule(keys="class property", sizes="n_train n_positive_train"),
        Rule(sizes="missed_n", only=_MISSED, of="class"),
        Rule(sizes="false_alarm_n", only=_MISSED.replace("missed", "false_alarm"), of="class"),
    ),
    ("slice", "role_drift"): (Rule(keys="comparison features", sizes="n_first n_second n_groups"),),
    ("slice", "label_issues"): (Rule(stands=_CASES),),
    ("slice", "not_measured"): (Rule(stands=_NONE),),
    ("calibrate", "summary"): (Rule(keys="calibrator metric", sizes=_SIZES),),
    ("calibrate", "events"): (
        Rule(keys="calibrator event metric", sizes=_SIZES, rest=True, of="event"),
    ),
    ("calibrate", "reliability"): (
        Rule(
            keys="event bin_lo bin_hi stage",
            sizes="count",
            adds_up="event stage",
            total="count",
            of="event",
        ),
    ),
    ("calibrate", "noise_floor"): (Rule(keys="event calibrator", of="event"),),
    ("calibrate", "bins"): (Rule(stands=_LARGE),),
    ("calibrate", "fitted"): (Rule(stands=_LARGE),),
    ("selective", "summary"): (Rule(keys="score metric", sizes=_SIZES),),
    ("selective", "deferral"): (Rule(keys="score threshold metric", sizes=_SIZES, of="metric"),),
    ("selective", "risk_coverage"): (Rule(keys="method"),),
    ("selective", "per_class"): (Rule(keys="class", sizes="n", of="class"),),
    ("selective", "by_coverage"): (Rule(keys="asked", sizes="n"),),
    ("cases", "taxonomy"): (
        Rule(
            keys="mode definition example_ids", sizes="n n_groups", adds_up="", total="n", of="mode"
        ),
        Rule(
            sizes="n_critical", adds_up="", total="n_critical", only="n_critical n_critical_flagged"
        ),
    ),
    ("cases", "failure_modes"): (
        Rule(keys="bucket mode definition of stage example_ids", of="mode"),
    ),
    ("cases", "outcome_statistics"): (
        Rule(keys="statistic outcome low high", sizes="n", adds_up="statistic outcome", total="n"),
    ),
    ("cases", "evidence"): (
        Rule(sizes="n_controls", only="base_rate base_rate_low base_rate_high n_controls"),
    ),
    ("cases", "sufficiency"): (
        Rule(sizes="n", only="n n_turned n_turned_other p_value p_holm shown"),
    ),
    ("cases", "base_rates"): (
        Rule(sizes="n_right", only="flip_rate flip_rate_low flip_rate_high n_right n_flipped"),
        Rule(
            sizes="n_wrong", only="repair_rate repair_rate_low repair_rate_high n_wrong n_repaired"
        ),
    ),
}


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


def covered(cut: pd.DataFrame, count: str, hidden: Mask, tiny: Mask) -> Mask:
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
