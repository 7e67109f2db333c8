"""Four roles, stratified by class and never parting a group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from medaudit.errors import DataError, listed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pandas as pd

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def assign_roles(
    group_ids: Sequence[str],
    positives: npt.NDArray[np.bool_],
    *,
    classes: Sequence[str],
    fractions: Mapping[str, float],
    seed: int,
) -> npt.NDArray[np.str_]:
    """The role of every row, such that a group has one role and classes keep their shares.

    Classes are served from the rarest to the most common, their groups from the largest to the
    smallest; each group goes to the role that is furthest behind its share of that class
    (Webster's rule), and the last groups of a class to the roles that have none of it yet. So
    every role gets large and small groups alike, and every class. Groups of equal size come in
    an order that depends on `seed`; the order of the rows has no influence.

    Args:
        group_ids: lesion or patient per row, (n,).
        positives: which classes each row has, (n, k); rows of several or no classes are fine.
        classes: k names, for the error.
        fractions: share of the images per role, adding up to 1.
        seed: of the order among equals.

    Raises:
        DataError: a class has fewer groups than there are roles.

    Reference: iterative stratification, Sechidis et al., ECML PKDD 2011, on groups.
    """
    names, index = np.unique(np.asarray(group_ids, dtype=str), return_inverse=True)
    counts = np.zeros((len(names), positives.shape[1]), dtype=np.int64)
    np.add.at(counts, index, positives.astype(np.int64))
    _require_enough_groups(counts, classes, roles=list(fractions))
    sizes = np.bincount(index)
    shares = np.array(list(fractions.values()), dtype=np.float64)
    chosen = _distribute(counts, sizes, shares, seed=seed)
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


def _require_enough_groups(counts: Ints, classes: Sequence[str], *, roles: Sequence[str]) -> None:
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


def _distribute(counts: Ints, sizes: Ints, shares: Floats, *, seed: int) -> Ints:
    """Role index per group; the last, artificial class holds all images and serves the rest."""
    wanted = np.column_stack([counts, sizes])
    rarest_first = [*np.argsort((counts > 0).sum(axis=0), kind="stable"), counts.shape[1]]
    shuffled = np.random.default_rng(seed).permutation(len(sizes))
    tally = np.zeros((len(shares), wanted.shape[1]))
    chosen = np.full(len(sizes), -1, dtype=np.int64)
    for label in rarest_first:
        members = shuffled[(wanted[shuffled, label] > 0) & (chosen[shuffled] < 0)]
        members = members[np.argsort(-wanted[members, label], kind="stable")]
        for left, group in zip(range(len(members), 0, -1), members, strict=True):
            role = _neediest(tally[:, label], wanted[group, label], shares, left=left)
            chosen[group] = role
            tally[role] += wanted[group]
    return chosen


def _neediest(have: Floats, more: int, shares: Floats, *, left: int) -> int:
    behind = (have + more / 2) / shares
    lacking = have == 0
    if left <= lacking.sum():
        behind = np.where(lacking, behind, np.inf)
    return int(behind.argmin())
