"""Planted, found? What was injected into a data set on purpose, beside what the audits say of it.

A data set that holds injected failures brings `planted.json`: a list of plants, each with the ids
of its images and the audits that must find it (tools/phantom/planted.py says its form). The other
half is what was called although nobody planted it, with the plants that may explain it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from scipy import stats

from medaudit.audits import slicing
from medaudit.core.errors import DataError, lookup
from medaudit.core.files import read_json
from medaudit.core.layout import PARAMS, PLANTED, PREPARED
from medaudit.core.params import parse
from medaudit.tables.manifest import read_manifest, read_preparation, targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from medaudit.audits.slicing import SliceParams

    Series = Mapping[str, Mapping[str, pd.DataFrame]]

Outcome = Literal["found", "missed", "not measured", "unplanted"]

SCHEMA = 2
WORSE = "worse"
ALPHA = 0.05
EXPLAINS = 0.01
COLUMNS = (
    "plant",
    "outcome",
    "audit",
    "row",
    "measure",
    "estimate",
    "low",
    "high",
    "p_value",
    "n",
    "n_planted",
    "evidence",
)


@dataclass(frozen=True)
class Line:
    """One audit of one plant, or one call that nobody planted.

    Args:
        plant: its name; of an unplanted call those that may explain it, or nothing.
        outcome: `found`, `missed`, `not measured`, or `unplanted`.
        audit: stage and series that was asked.
        row: the row of it, such as `dataset=rosendahl`.
        measure: what was measured there.
        estimate: with `low` and `high`, in the unit of the measure; NaN where there is none.
        low: lower end of the interval.
        high: upper end.
        p_value: adjusted where the audit adjusts it.
        n: images (of copies: pairs) that the estimate rests on.
        n_planted: images (of copies: pairs) that carry the plant there.
        evidence: the rest in words.
    """

    plant: str
    outcome: Outcome
    audit: str
    row: str = ""
    measure: str = ""
    estimate: float = np.nan
    low: float = np.nan
    high: float = np.nan
    p_value: float = np.nan
    n: float = np.nan
    n_planted: float = np.nan
    evidence: str = ""


@dataclass(frozen=True)
class World:
    """What the comparison looks at.

    Args:
        truth: the content of `planted.json`.
        series: the tables of the stages, whole, by stage and file stem.
        manifest: `sample_id`, `group_id`, `role`, `target`, and the columns of slices.
        slices: how slices were cut.
        critical: index of the class that must not be missed, or `None`.
    """

    truth: Mapping[str, Any]
    series: Series
    manifest: pd.DataFrame
    slices: SliceParams
    critical: int | None

    @property
    def plants(self) -> list[dict[str, Any]]:
        """Every plant, as it stands in the file."""
        if self.truth.get("schema") != SCHEMA:
            raise DataError(
                f"planted.json: expected schema {SCHEMA}, got {self.truth.get('schema')}: "
                f"draw the data again"
            )
        return list(self.truth["plants"])

    def table(self, stage: str, series: str) -> pd.DataFrame:
        """A series, empty where the stage wrote none."""
        return self.series.get(stage, {}).get(series, pd.DataFrame())


def read_world(root: Path, series: Series, params: Mapping[str, Any]) -> World | None:
    """The world of a run below `root`, or `None` where its data set holds no planted failures.

    Args:
        root: folder that holds `artifacts`.
        series: the tables of the stages, whole, by stage and file stem.
        params: all of params.yaml.
    """
    if not (root / PLANTED).exists():
        return None
    rows, schema = read_manifest(root / PREPARED), read_preparation(root / PREPARED).schema
    critical = schema.critical_class
    return World(
        truth=read_json(root / PLANTED, stage="prepare", keys=("plants",)),
        series=series,
        manifest=rows.assign(target=targets(rows)),
        slices=parse(slicing.SliceParams, dict(params), source=PARAMS),
        critical=None if critical is None else schema.classes.index(critical),
    )


def compare(world: World) -> pd.DataFrame:
    """A line for every audit of every plant, then one for every call that nobody planted.

    Raises:
        DataError: planted.json has another form, or names a check that is not known.
    """
    lines = [
        lookup("check of planted.json", audit["check"], CHECKS)(world, plant, audit)
        for plant in world.plants
        for audit in plant["audits"]
    ]
    return pd.DataFrame([asdict(line) for line in (*lines, *unplanted(world))], columns=COLUMNS)


def counts(table: pd.DataFrame) -> dict[str, int]:
    """Plants, those that every one of their audits found, and calls that nobody planted."""
    calls = table["outcome"] == "unplanted"
    whole = (table["outcome"] == "found").groupby(table["plant"].where(~calls)).all()
    return {
        "n_planted": len(whole),
        "n_planted_found": int(whole.sum()),
        "n_unplanted": int(calls.sum()),
        "n_unplanted_unexplained": int((calls & (table["plant"] == "")).sum()),
    }


def matching(table: pd.DataFrame, cells: Mapping[str, str]) -> pd.DataFrame:
    """The rows with these cells; a text that ends in `*` is a beginning. None lacks a column."""
    if not set(cells) <= set(table.columns):
        return table.iloc[:0]
    for column, wanted in cells.items():
        text = table[column].astype(str)
        fits = text.str.startswith(wanted[:-1]) if wanted.endswith("*") else text == wanted
        table = table[fits]
    return table


def verdict(world: World, plant: Mapping[str, Any], audit: Mapping[str, Any]) -> Line:
    """Found where a row of the series has the verdict that is expected."""
    rows = matching(world.table(audit["stage"], audit["series"]), audit["rows"])
    judged = rows[rows["verdict"].notna()] if "verdict" in rows else rows.iloc[:0]
    if judged.empty:
        return _unmeasured(plant, audit)
    said = judged["verdict"] == audit["expect"]
    best = _surest(judged[said] if said.any() else judged, audit)
    return _line(plant, audit, "found" if said.any() else "missed", best)


def pairs(world: World, plant: Mapping[str, Any], audit: Mapping[str, Any]) -> Line:
    """Found where every pair is in the series and none stands in two roles."""
    table = world.table(audit["stage"], audit["series"])
    if not {"first", "second", "across_roles"} <= set(table.columns):
        return _unmeasured(plant, audit)
    wanted = {frozenset((pair["from"], pair["to"])) for pair in plant["details"]["pairs"]}
    there = [frozenset(pair) for pair in table[["first", "second"]].itertuples(index=False)]
    known = pd.Series([pair in wanted for pair in there], index=table.index, dtype=bool)
    crossing = int((table["across_roles"].astype(bool) & known).sum())
    met = len(wanted & set(there))
    return Line(
        plant["name"],
        "found" if met == len(wanted) and not crossing else "missed",
        _name(audit),
        measure="pairs found",
        estimate=met / len(wanted),
        n=len(there),
        n_planted=len(wanted),
        evidence=f"{met} of {len(wanted)} pairs, {crossing} in two roles; "
        f"{len(set(there) - wanted)} pairs that were not planted",
    )


def enriched(world: World, plant: Mapping[str, Any], audit: Mapping[str, Any]) -> Line:
    """Found where planted groups are more frequent at the head of the series than by chance.

    The head holds as many groups as were planted in the roles that were searched; the p-value is
    hypergeometric over groups.
    """
    table = world.table(audit["stage"], audit["series"])
    if "sample_id" not in table or table.empty:
        return _unmeasured(plant, audit)
    rows = world.manifest
    searched = rows[rows["role"].isin(set(table["role"]))] if "role" in table else rows
    group_of = searched.set_index("sample_id")["group_id"]
    everywhere = set(group_of)
    carriers = set(group_of[group_of.index.isin(plant["ids"])])
    ranked = group_of.reindex(table["sample_id"]).dropna().drop_duplicates()
    head = ranked.head(len(carriers))
    hits = int(head.isin(carriers).sum())
    p_value = stats.hypergeom.sf(hits - 1, len(everywhere), len(carriers), len(head))
    return Line(
        plant["name"],
        "found" if p_value <= ALPHA else "missed",
        _name(audit),
        measure="share of the head",
        estimate=hits / max(len(head), 1),
        p_value=float(p_value),
        n=len(everywhere),
        n_planted=len(carriers),
        evidence=f"{hits} of the first {len(head)} groups are planted, where "
        f"{len(head) * len(carriers) / max(len(everywhere), 1):.1f} were to be expected; "
        f"{int(ranked.isin(carriers).sum())} among all {len(ranked)} listed",
    )


CHECKS: dict[str, Any] = {
    "verdict": verdict,
    "pairs": pairs,
    "enriched": enriched,
}


def unplanted(world: World) -> Iterator[Line]:
    """Slices that were called worse and are no row of any plant's audit."""
    table = world.table("slice", "slices")
    if "verdict" not in table:
        return
    called = table[table["verdict"] == WORSE]
    expected = {
        index
        for plant in world.plants
        for audit in plant["audits"]
        if (audit["stage"], audit["series"]) == ("slice", "slices")
        for index in matching(called, _place(audit["rows"])).index
    }
    members = slice_members(world.manifest, world.slices)
    for index, row in called.iterrows():
        if index not in expected:
            names, evidence = _explained(world, row, members.get(str(row["slice"])))
            audit = {"stage": "slice", "series": "slices"}
            yield _line({"name": names}, audit, "unplanted", row, evidence=evidence)


def slice_members(manifest: pd.DataFrame, params: SliceParams) -> dict[str, frozenset[str]]:
    """Test images of every slice, by its label; edges are those of the train role."""
    train, test = (manifest[manifest["role"] == role] for role in ("train", "test"))
    absent = tuple(name for name in (*params.columns, *params.quantiles) if name not in test)
    params = slicing.without(params, absent)
    ids = test["sample_id"].to_numpy()
    cut = slicing.slices(test, slicing.edges(train, params), params)
    return {each.label: frozenset(ids[each.mask]) for each in cut}


def _explained(world: World, row: pd.Series[Any], inside: frozenset[str] | None) -> tuple[str, str]:
    """Plants that are more frequent inside the slice than in the rest, and how frequent."""
    if inside is None:
        return "", "its images are not known"
    rows = _concerned(world, str(row["metric"]))
    within = rows["sample_id"].isin(inside)
    harms = [plant for plant in world.plants if plant["expect"] == WORSE]
    found = [(plant["name"], *_shares(rows, within, plant["ids"])) for plant in harms]
    kept = sorted((each for each in found if each[1] <= EXPLAINS), key=lambda each: each[1])
    words = [f"{name}: {a:.0%} of the images inside, {b:.0%} of the rest" for name, _, a, b in kept]
    return ", ".join(each[0] for each in kept), "; ".join(words)


def _concerned(world: World, metric: str) -> pd.DataFrame:
    """The test images that a measure rests on."""
    test = world.manifest[world.manifest["role"] == "test"]
    if world.critical is None or not metric.startswith("critical_se"):
        return test
    return test[test["target"] == world.critical]


def _shares(
    rows: pd.DataFrame, within: pd.Series[bool], ids: Iterable[str]
) -> tuple[float, float, float]:
    """Fisher's one-sided p over groups, and the shares of planted images inside and in the rest."""
    carries = rows["sample_id"].isin(set(ids))
    groups = pd.DataFrame({"group": rows["group_id"], "in": within, "has": carries})
    heads = groups.groupby("group").max()
    inside, has = heads["in"].to_numpy(), heads["has"].to_numpy()
    cells = np.array([[(i & has).sum(), (i & ~has).sum()] for i in (inside, ~inside)])
    p_value = float(stats.fisher_exact(cells, alternative="greater").pvalue)
    return p_value, float(carries[within].mean()), float(carries[~within].mean())


def _surest(rows: pd.DataFrame, audit: Mapping[str, Any]) -> pd.Series[Any]:
    """The row with the smallest adjusted p-value; the first one where the series has none."""
    column = audit.get("prefix", "") + "p_adjusted"
    return (rows.sort_values(column, kind="stable") if column in rows else rows).iloc[0]


def _place(cells: Mapping[str, str]) -> dict[str, str]:
    """Where a plant shows, whatever the measure: what harms one measure may harm others."""
    return {column: value for column, value in cells.items() if column != "metric"}


def _line(
    plant: Mapping[str, Any],
    audit: Mapping[str, Any],
    outcome: Outcome,
    row: pd.Series[Any],
    *,
    evidence: str = "",
) -> Line:
    """A line with the numbers of a row, as far as it has them."""
    columns = {name: audit.get("prefix", "") + column for name, column in NUMBERS.items()}
    if "gap_n" in row:  # a gap may rest on pooled cases
        columns["n"] = "gap_n"
    columns |= {name: text for name, text in audit.get("numbers", {}).items() if name in NUMBERS}
    numbers = {
        name: float(row[column])
        for name, column in columns.items()
        if column in row and pd.notna(row[column])
    }
    return Line(
        plant["name"],
        outcome,
        _name(audit),
        row=str(row["slice"]) if "slice" in row else _wanted(audit),
        measure=str(row.get("metric", "")),
        evidence=evidence,
        **numbers,
    )


NUMBERS = {
    "estimate": "gap",
    "low": "gap_low",
    "high": "gap_high",
    "p_value": "p_adjusted",
    "n": "n",
}


def _unmeasured(plant: Mapping[str, Any], audit: Mapping[str, Any]) -> Line:
    return Line(plant["name"], "not measured", _name(audit), row=_wanted(audit))


def _wanted(audit: Mapping[str, Any]) -> str:
    """The row that is asked, in words; of slices their label."""
    rows = audit.get("rows", {})
    return rows.get("slice") or ", ".join(f"{key}={value}" for key, value in rows.items())


def _name(audit: Mapping[str, Any]) -> str:
    return f"{audit['stage']}/{audit['series']}"
