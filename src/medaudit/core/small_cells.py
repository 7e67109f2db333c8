"""Cells of fewer than five images or patients, left out of what leaves the private folder.

`RULES` says for every table of `plots/` what its cells are, what adds up to totals that are
published, and what stands in it. docs/privacy.md tells the rule in words.

A cell of 1 to 4 is small. So that subtraction does not give it back, others are left out with it:
the attacker sees which cells are missing, that none of them is empty (empty cells stand), and every
total. `WIDTH` is by how much the value of a small cell may vary for all that they know.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from medaudit.core.cell_rules import (
    COLUMN,
    LEAST,
    LEFT_OUT,
    RULES,
    WORD,
    Rule,
    complemented,
    covered,
    halves,
    in_grid,
    small,
    together,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    Scalars = Mapping[str, float | int | str | None]
    Series = Mapping[str, pd.DataFrame]
    Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Known:
    """What is left out of every stage alike.

    Args:
        critical: the class that must not be missed, which is the last to be left out for others.
        classes: classes of the test role that are left out.
    """

    critical: str | None = None
    classes: frozenset[str] = frozenset()

    @classmethod
    def of(cls, counts: pd.DataFrame, critical: str | None) -> Known:
        """From `class`, `images`, and `groups` where known, of the test role."""
        hidden = _lacking(counts, critical)
        return cls(critical, frozenset(counts["class"].astype(str)[hidden]))

    @property
    def critical_hidden(self) -> bool:
        """Whether every number about the critical class is left out."""
        return self.critical in self.classes

    def names(self, tables: Series) -> frozenset[str]:
        """Measures of what is left out, and failure modes of few images."""
        modes = tables.get("taxonomy", pd.DataFrame())
        hidden = _own(modes, RULES["cases", "taxonomy"][0])
        return frozenset(modes["mode"][hidden]) if hidden.any() else frozenset()

    def hides(self, names: pd.Series[Any], tables: Series) -> Mask:
        """Which of these names are left out: of classes, measures, or failure modes."""
        found = names.isin(self.classes | self.names(tables))
        if self.critical_hidden:
            found |= names.astype(str).str.startswith("critical_")
        return np.asarray(found, dtype=bool)


def class_counts(prepared: pd.DataFrame, scored: pd.DataFrame) -> pd.DataFrame:
    """`class`, `images` and `groups` of the test role.

    Args:
        prepared: `plots/prepare/class_counts.csv`, empty where nothing was prepared.
        scored: `plots/evaluate/per_class.csv`, empty before that.
    """
    if not prepared.empty:
        return prepared[prepared["role"] == "test"].reset_index(drop=True)
    if scored.empty:
        return pd.DataFrame({"class": [], "images": [], "groups": []})
    rows = scored.drop_duplicates("class").reset_index(drop=True)
    return rows.rename(columns={"n_positive": "images", "n_positive_groups": "groups"})


def released(stage: str, tables: Series, known: Known) -> dict[str, pd.DataFrame]:
    """All tables of a stage without their small cells."""
    return {
        name: suppressed(stage, name, frame, beside=tables, known=known)
        for name, frame in tables.items()
    }


def suppressed(
    stage: str,
    name: str,
    table: pd.DataFrame,
    *,
    beside: Series | None = None,
    known: Known | None = None,
) -> pd.DataFrame:
    """The table without its small cells; itself where it has none.

    The numbers of a cell that is left out are empty, and the column `suppressed` says so; of curves
    the rows go. Of a table that `RULES` does not name no row is left.

    Args:
        stage: that found it.
        name: its file stem.
        table: as it was found.
        beside: what the stage found with it, whole.
        known: what is left out of all stages alike.
    """
    rules = RULES.get((stage, name))
    if rules is None:
        return table.head(0)
    if table.empty or rules[0].stands:
        return table
    tables, known = {**(beside or {}), name: table}, known or Known()
    shown = table
    for rule in rules:
        hidden = _own(table, rule)
        if rule.of in table:
            hidden |= known.hides(table[rule.of], tables)
        emptied = shown if rule.curve else _emptied(shown, hidden, _numbers(table, rule))
        shown = shown[~hidden] if rule.curve else emptied
    special = SPECIAL.get((stage, name))
    return special(shown, table, tables, known) if special else shown


def _numbers(table: pd.DataFrame, rule: Rule) -> list[str]:
    if rule.only:
        return [column for column in rule.only.split() if column in table]
    return [str(column) for column in table if column not in rule.keys.split()]


def _own(table: pd.DataFrame, rule: Rule) -> Mask:
    """Rows that are small by their own counts, with those that keep them from being computed."""
    hidden = np.zeros(len(table), dtype=bool)
    sizes = set(rule.sizes.split()) & {*table}
    for column in sizes:
        if not (column == "n_positive_groups" and "n_positive" in table):
            hidden |= small(table[column])
    if {"n_positive", "n_positive_groups"} <= sizes:
        # Of a mean over classes, this is the number of the smallest one; the mean is of all.
        hidden |= small(table["n_positive_groups"]) & table["n_positive"].notna().to_numpy()
    if rule.rest and {"n", "n_positive"} <= {*table}:
        hidden |= small(table["n"] - pd.to_numeric(table["n_positive"], errors="coerce"))
    if rule.adds_up is not None and hidden.any():
        for rows in together(table, rule.adds_up.split()):
            hidden[rows] = complemented(table[rule.total].to_numpy()[rows], hidden[rows])
    return hidden


def _lacking(table: pd.DataFrame, last: str | None) -> Mask:
    """Classes of one role that are small, with those that keep them from being computed.

    The critical class is the `last` to be left out for others.
    """
    sizes = [column for column in ("images", "groups") if column in table]
    hidden = np.asarray(np.logical_or.reduce([small(table[column]) for column in sizes]))
    names = table["class"].astype(str).to_numpy()
    order = np.lexsort((names, table["images"].to_numpy(), names == str(last)))
    for column in sizes:
        hidden = complemented(table[column].to_numpy(), hidden, order=order)
    return hidden


def _emptied(table: pd.DataFrame, hidden: Mask, columns: Iterable[str]) -> pd.DataFrame:
    """The table with nothing in these columns of the hidden rows, which a last column says."""
    hidden = hidden & ~table.isna()[list(columns)].all(axis=1).to_numpy()
    if not hidden.any():
        return table
    shown = table.copy()
    for column in columns:
        if column != COLUMN:
            shown[column] = _nullable(shown[column]).mask(hidden)
    said = shown.get(COLUMN, pd.Series(None, index=shown.index, dtype="object"))
    return shown.assign(**{COLUMN: said.mask(hidden, WORD)})


def _nullable(values: pd.Series[Any]) -> pd.Series[Any]:
    """The values in a kind that may lack some without becoming another: `3` stays `3`."""
    if values.dtype.kind in "iu":
        return values.astype("Int64")
    return values.astype("object") if values.dtype.kind == "b" else values


# What one rule cannot say.


def _class_counts(
    shown: pd.DataFrame, table: pd.DataFrame, _: Series, known: Known
) -> pd.DataFrame:
    """Classes of a role add up to it, and roles of a class to the class."""
    hidden = np.zeros(len(table), dtype=bool)
    for rows in together(table, ["role"]):
        hidden[rows] = _lacking(table.iloc[rows], known.critical)
    tiny = small(table["images"]) | small(table["groups"])
    # Other tables tell the classes of the test role, and the critical class of the train role.
    told = (table["role"] == "test") | (table["class"] == known.critical)
    hidden = in_grid(
        table, ("class", "role"), "images", hidden=hidden, tiny=tiny, free=~told.to_numpy()
    )
    return _emptied(shown, hidden, ["images", "groups"])


def _confusion(shown: pd.DataFrame, table: pd.DataFrame, _: Series, known: Known) -> pd.DataFrame:
    """Wrong calls: the sensitivities tell what is on the diagonal."""
    wrong = (table["truth"] != table["predicted"]).to_numpy()
    gone = table["truth"].isin(known.classes).to_numpy()
    tiny = small(table["count"]) & wrong & ~gone
    hidden = in_grid(
        table, ("truth", "predicted"), "count", hidden=tiny, tiny=tiny, free=wrong & ~gone
    )
    return _emptied(shown, hidden, ["count", "rate"])


def _predicted(shown: pd.DataFrame, table: pd.DataFrame, tables: Series, _: Known) -> pd.DataFrame:
    """Shares of what is called, which are counts when the number of images is known."""
    n = tables["conditions"]["n"].max() if "conditions" in tables else math.nan
    counts = (table["share"] * n).round()
    hidden = small(counts) | bool(np.isnan(n))
    for rows in together(table, ["condition"]):
        hidden[rows] = complemented(counts.to_numpy()[rows], hidden[rows])
    return _emptied(shown, hidden, ["share"])


def _risk_coverage(
    shown: pd.DataFrame, table: pd.DataFrame, tables: Series, _: Known
) -> pd.DataFrame:
    """Points of a curve that lie `LEAST` images or more from the one before, and from its ends."""
    n = float(tables["summary"]["n"].max()) if "summary" in tables else 1.0
    kept = np.zeros(len(table), dtype=bool)
    for rows in together(table, ["method"]):
        images = (table["coverage"].to_numpy()[rows] * n).round()
        last = 0.0
        for row, at in zip(rows, images, strict=True):
            if at - last >= LEAST and (n - at >= LEAST or at == n):
                kept[row], last = True, at
    return shown[kept]


def _by_coverage(shown: pd.DataFrame, table: pd.DataFrame, _: Series, known: Known) -> pd.DataFrame:
    columns = [str(name) for name in table if str(name).startswith("critical_")]
    return _emptied(shown, np.full(len(table), known.critical_hidden), columns)


def _slices(shown: pd.DataFrame, table: pd.DataFrame, tables: Series, known: Known) -> pd.DataFrame:
    """Slices of a column add up to the test role, and so do their images with a class."""
    whole, pairs = hidden_slices(tables, known.critical)
    named = zip(table["slice"], table["output"], strict=True)
    hidden = table["slice"].isin(whole) | np.array([pair in pairs for pair in named])
    hidden |= table["output"].isin(known.classes)
    keys = {"column", "slice", "words", "metric", "output", "direction"}
    return _emptied(shown, np.asarray(hidden), [str(name) for name in table if name not in keys])


def _refused(
    shown: pd.DataFrame, table: pd.DataFrame, tables: Series, known: Known
) -> pd.DataFrame:
    """Refused slices: their reasons hold the counts again."""
    whole, pairs = hidden_slices(tables, known.critical)
    hidden = table["slice"].isin(whole).to_numpy()
    few = [(name, known.critical) in pairs for name in table["slice"]]
    either = hidden | np.array(few) | known.critical_hidden
    shown = _emptied(_emptied(shown, hidden, ["n"]), either, ["n_positive"])
    return shown.assign(reason=shown["reason"].mask(either, f"{LEFT_OUT}: {WORD}"))


def _discovered(
    shown: pd.DataFrame, table: pd.DataFrame, tables: Series, known: Known
) -> pd.DataFrame:
    """A rule on columns of which a slice is left out may be that slice.

    A slice that is left out for one class or label says so of the errors about that one alone.
    """
    whole, pairs = hidden_slices(tables, known.critical)
    cut = slice_sizes(tables)

    def touched(rule: str, error: str) -> bool:
        own = {name for name, of in pairs if of is None or error.endswith(f" {of}")}
        of_hidden = cut["column"][cut["slice"].isin(whole | own)]
        named = {part for each in of_hidden for part in halves(each)}
        return all(_on(part, named) for part in halves(rule))

    rows = zip(table["slice"].astype(str), table["error"].astype(str), strict=True)
    about = table["error"].astype(str).str.endswith(f" {known.critical}") & known.critical_hidden
    gone = np.array([touched(*row) for row in rows], dtype=bool) | about.to_numpy()
    return _emptied(shown, gone, _numbers(table, RULES["slice", "discovered"][0]))


def _on(part: str, columns: Iterable[str]) -> bool:
    return any(part.startswith((f"{column} ", f"{column}=")) for column in columns)


# Measures that count the images without a class or label (as in `report.formatting.WITHOUT`).
_WITHOUT = ("specificity", "false_alarms_per_100")


def hidden_slices(
    tables: Series, critical: str | None
) -> tuple[frozenset[str], frozenset[tuple[str, str | None]]]:
    """Slices of which nothing is told, and pairs (slice, class) of which nothing is."""
    cut = slice_sizes(tables)
    tiny = small(cut["n"]) | small(cut["n_groups"])
    whole = frozenset(cut["slice"][covered(cut, "n", tiny, tiny)])
    measured = tables.get("slices", pd.DataFrame({"output": []}))
    hidden: set[tuple[str, str | None]] = set()
    for output in dict.fromkeys([critical, *measured["output"].dropna()]):
        part = _with_and_without(tables, output, critical=output == critical)
        inside = part["slice"].isin(whole).to_numpy()
        few = np.logical_or.reduce([small(part[name]) for name in _PARTS])
        gone = covered(part, "positive", few | inside, few | (inside & small(part["positive"])))
        hidden |= {(name, output) for name in part["slice"][gone]}
    return whole, frozenset(hidden)


def slice_sizes(tables: Series) -> pd.DataFrame:
    """Every slice, measured or refused, with `column`, `n` and, where known, `n_groups`."""
    columns = ["column", "slice", "n", "n_groups"]
    parts = [
        tables.get(name, pd.DataFrame()).reindex(columns=columns) for name in ("slices", "refused")
    ]
    found = pd.concat([part.astype({"n": float, "n_groups": float}) for part in parts])
    return found.groupby(["column", "slice"], sort=False).first().reset_index()


_PARTS = ["positive", "positive_groups", "negative", "negative_groups"]


def _with_and_without(tables: Series, output: str | None, *, critical: bool) -> pd.DataFrame:
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


def _failure_modes(
    shown: pd.DataFrame, table: pd.DataFrame, _: Series, known: Known
) -> pd.DataFrame:
    """Counts of images; those of pairs, comparisons and properties stand."""
    shown = _without_counts(shown)
    things = (table["bucket"] == "evaluation") | table["mode"].isin(["shortcut", "hidden_copies"])
    hidden = (small(table["n"]) | small(table["n_of"])) & ~things.to_numpy()
    hidden |= (table["mode"] == "kept_misses").to_numpy() & known.critical_hidden
    return _emptied(shown, hidden, _numbers(table, RULES["cases", "failure_modes"][0]))


def _taxonomy(shown: pd.DataFrame, table: pd.DataFrame, _: Series, known: Known) -> pd.DataFrame:
    hidden = np.full(len(table), known.critical_hidden)
    return _emptied(_without_counts(shown), hidden, ["n_critical", "n_critical_flagged"])


def _without_counts(table: pd.DataFrame) -> pd.DataFrame:
    """Definitions without the cell of the confusion that some hold, `(31 of 144)`."""
    plain = table["definition"].str.replace(r" \(\d+ of \d+\)", "", regex=True)
    return table.assign(definition=plain)


SPECIAL: Mapping[tuple[str, str], Callable[..., pd.DataFrame]] = {
    ("prepare", "class_counts"): _class_counts,
    ("evaluate", "confusion"): _confusion,
    ("stress", "predicted"): _predicted,
    ("slice", "slices"): _slices,
    ("slice", "primary"): _slices,
    ("slice", "refused"): _refused,
    ("slice", "discovered"): _discovered,
    ("selective", "risk_coverage"): _risk_coverage,
    ("selective", "by_coverage"): _by_coverage,
    ("cases", "taxonomy"): _taxonomy,
    ("cases", "failure_modes"): _failure_modes,
}


# Headline numbers.

_ROLES = ("train", "validation", "calibration", "test")
_TOTALS = ("n", "n_critical", "n_groups", "n_images", *(f"n_{role}" for role in _ROLES))


def scalars(stage: str, found: Scalars, tables: Series, known: Known) -> dict[str, Any]:
    """The headline numbers of a stage; `WORD`, or no text, for what is left out."""
    gone = [f"{mode}_" for mode in known.names(tables)] if stage == "cases" else []
    if stage == "slice":
        whole, pairs = hidden_slices(tables, known.critical)
        gone += [
            name.removesuffix("_slice")
            for name, value in found.items()
            if name.endswith("_slice")
            and (value in whole or ("critical" in name and (value, known.critical) in pairs))
        ]
    if found.get("recall_kept_worst_class") in known.classes:
        gone.append("recall_kept_worst_")
    if known.classes:
        gone.append("imbalance_ratio")
    return {
        name: _unsaid(value) if _about(name, value, gone, known) else value
        for name, value in found.items()
    }


def _unsaid(value: Any) -> str | None:
    return None if value is None or isinstance(value, str) else WORD


def _about(name: str, value: Any, gone: Sequence[str], known: Known) -> bool:
    if name in _TOTALS and isinstance(value, int):
        return 0 < value < LEAST
    return name.startswith(tuple(gone)) or ("critical" in name and known.critical_hidden)
