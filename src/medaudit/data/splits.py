"""Four roles, stratified by class and never parting a group; splits that come with the data."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from medaudit.core.errors import DataError, listed
from medaudit.tables.manifest import ROLES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from medaudit.core.arrays import BoolArray, Float64Array, IntArray

Scarce = Literal["stop", "allow"]

EITHER = "/"  # joins the roles among which given rows are divided


def assign_roles(
    group_ids: Sequence[str],
    positives: BoolArray,
    *,
    classes: Sequence[str],
    fractions: Mapping[str, float],
    seed: int,
    given: Sequence[str] | None = None,
    scarce: Scarce = "stop",
) -> npt.NDArray[np.str_]:
    """The role of every row, such that a group has one role and classes keep their shares.

    Classes are served from the rarest to the most common, their groups from the largest to the
    smallest; each group goes to the role that is furthest behind its share of that class
    (Webster's rule), and the last groups of a class to the roles that have none of it yet. So
    every role gets large and small groups alike, and every class. A group of several labels is
    placed by its rarest one, and one without any label at the end, by its size. Groups of equal
    size come in an order that depends on `seed`; the order of the rows has no influence.

    Given roles are kept, and count when the others are filled up.

    Args:
        group_ids: lesion or patient per row, (n,).
        positives: which classes each row has, (n, k); rows of several or no classes are fine.
        classes: k names, for the error.
        fractions: share of the images per role, adding up to 1.
        seed: of the order among equals.
        given: the role of every row, or several joined by `EITHER` among which it is divided;
            the same for all rows of a group. Without it every row may have any role.
        scarce: whether to stop at a class with fewer groups than roles, or to allow that some
            role has none of it.

    Raises:
        DataError: a class has fewer groups than there are roles.

    Reference: iterative stratification, Sechidis et al., ECML PKDD 2011, on groups.
    """
    names, first, index = np.unique(
        np.asarray(group_ids, dtype=str), return_index=True, return_inverse=True
    )
    counts = np.zeros((len(names), positives.shape[1]), dtype=np.int64)
    np.add.at(counts, index, positives.astype(np.int64))
    if scarce == "stop":
        _require_enough_groups(counts, classes, roles=list(fractions))
    wanted = np.column_stack([counts, np.bincount(index)])
    anywhere = EITHER.join(fractions)
    allowed = np.full(len(names), anywhere) if given is None else np.asarray(given, str)[first]
    chosen = _in_turn(wanted, allowed, fractions=fractions, seed=seed)
    return np.array(list(fractions), dtype=str)[chosen[index]]


def check_roles(rows: pd.DataFrame) -> None:
    """Raise a `DataError` that names the groups which stand in more than one role."""
    roles = rows.groupby("group_id")["role"].nunique()
    torn = roles.index[roles > 1].tolist()
    if torn:
        raise DataError(
            f"{len(torn)} groups stand in more than one role, which leaks test images into "
            f"training: {listed(torn)}; every group must have one role"
        )


def require_rows(rows: pd.DataFrame, roles: Sequence[str]) -> None:
    """Raise a `DataError` that names the roles without a row."""
    empty = [role for role in roles if role not in set(rows["role"])]
    if empty:
        raise DataError(
            f"no group of images is left for the role {listed(empty)}; add data, or change the "
            f"given split or `prepare.fractions`"
        )


def given_to_groups(rows: pd.DataFrame) -> pd.Series[str]:
    """What `role` gives to the groups of `rows`; groups without any given role are absent.

    Raises:
        DataError: groups stand in two given roles.
    """
    given = rows.loc[rows["role"].notna(), ["group_id", "role"]].drop_duplicates()
    torn = given[given["group_id"].duplicated(keep=False)]
    if len(torn):
        joined = torn.groupby("group_id")["role"].agg(_joined)
        found = [f"{group} ({roles})" for group, roles in joined.items()]
        raise DataError(
            f"{len(joined)} groups stand in two roles of the given split, which leaks test images "
            f"into training: {listed(found)}; give every group one role"
        )
    return given.set_index("group_id")["role"]


def _joined(roles: pd.Series[str]) -> str:
    return " and ".join(sorted(role.partition(EITHER)[0] for role in roles))


def _require_enough_groups(
    counts: IntArray, classes: Sequence[str], *, roles: Sequence[str]
) -> None:
    groups = (counts > 0).sum(axis=0)
    short = [
        f"{name} ({count})"
        for name, count in zip(classes, groups, strict=True)
        if count < len(roles)
    ]
    if short:
        raise DataError(
            f"classes with fewer groups than the {len(roles)} roles ({', '.join(roles)}): "
            f"{listed(short)}; add data or leave the class out"
        )


def _in_turn(
    wanted: IntArray, allowed: npt.NDArray[np.str_], *, fractions: Mapping[str, float], seed: int
) -> IntArray:
    """Role index per group; groups with the least choice come first, the others fill up."""
    roles = list(fractions)
    shares = np.array(list(fractions.values()), dtype=np.float64)
    shuffled = np.random.default_rng(seed).permutation(len(wanted))
    tally = np.zeros((len(roles), wanted.shape[1]))
    chosen = np.full(len(wanted), -1, dtype=np.int64)
    pools = sorted(np.unique(allowed).tolist(), key=lambda pool: (pool.count(EITHER), pool))
    for pool in pools:
        open_to = np.array([role in pool.split(EITHER) for role in roles])
        members = shuffled[allowed[shuffled] == pool]
        chosen[members] = _distribute(wanted[members], np.where(open_to, shares, 0.0), tally)
    return chosen


def _distribute(wanted: IntArray, shares: Float64Array, tally: Float64Array) -> IntArray:
    """Role index per group, added to `tally`; the last column holds all images of a group.

    It comes last as an artificial class that serves the groups without any label.
    """
    rarest_first = [*np.argsort((wanted[:, :-1] > 0).sum(axis=0), kind="stable"), -1]
    chosen = np.full(len(wanted), -1, dtype=np.int64)
    for label in rarest_first:
        members = np.flatnonzero((wanted[:, label] > 0) & (chosen < 0))
        members = members[np.argsort(-wanted[members, label], kind="stable")]
        for left, group in zip(range(len(members), 0, -1), members, strict=True):
            role = _neediest(tally[:, label], wanted[group, label], shares, left=left)
            chosen[group] = role
            tally[role] += wanted[group]
    return chosen


def _neediest(have: Float64Array, more: int, shares: Float64Array, *, left: int) -> int:
    usable = shares > 0
    behind = np.full(len(shares), np.inf)
    behind[usable] = (have[usable] + more / 2) / shares[usable]
    lacking = usable & (have == 0)
    if left <= lacking.sum():
        behind = np.where(lacking, behind, np.inf)
    return int(behind.argmin())


WORDS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "tune": "validation",
    "cal": "calibration",
    "calib": "calibration",
    "calibration": "calibration",
    "test": "test",
    "testing": "test",
}

log = logging.getLogger(__name__)


def roles_of(words: pd.Series[str], *, source: Path | str) -> pd.Series[str]:
    """The roles that words such as `Val` mean, missing where a cell is empty.

    Several words joined by `/` stand for rows that are divided among those roles.

    Raises:
        DataError: unknown words, quoted.
    """
    found = words.map(_role, na_action="ignore")
    wrong = words[found.isna() & words.notna()].unique().tolist()
    if wrong:
        raise DataError(f"{source}: unknown splits {listed(wrong)}; known: {', '.join(WORDS)}")
    return found


def _role(word: str) -> str | None:
    roles = {WORDS.get(part.strip().lower()) for part in word.split(EITHER)}
    return None if None in roles else EITHER.join(role for role in ROLES if role in roles)


def completed(roles: pd.Series[str]) -> tuple[pd.Series[str], tuple[str, ...]]:
    """Given roles, divided further where a role has no rows, and what was done, for the report.

    Rows of `validation` make a missing `calibration`; rows of `train` make what else is missing.
    """
    present = {role for given in set(roles.dropna()) for role in given.split(EITHER)}
    filled = [role for role in ROLES if role in present]
    notes = [f"The split came with the data ({', '.join(filled)})."]
    divided: dict[str, tuple[str, ...]] = {}
    if "validation" in present and "calibration" not in present:
        divided["validation"] = ("validation", "calibration")
    lacking = {"validation", "calibration", "test"} - present - set(divided.get("validation", ()))
    if lacking:
        divided["train"] = tuple(role for role in ROLES if role in {"train", *lacking})
    for role, parts in divided.items():
        if role in present:
            names = f"{', '.join(parts[:-1])} and {parts[-1]}"
            notes.append(f"Its {role} rows were divided by group into {names}.")
    for note in notes:
        log.info(note)
    return roles.replace({role: EITHER.join(parts) for role, parts in divided.items()}), (*notes,)
