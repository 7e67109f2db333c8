"""Rows without a readable image, and copies of one image under different groups."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from medaudit.core.errors import DataError, listed
from medaudit.data.data_summary import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from medaudit.core.arrays import IntArray
    from medaudit.data.datasets.base import RawDataset

OnBadImage = Literal["stop", "quarantine"]
GIANT_SHARE = 0.1  # of all images, in one group that merging made
GIANT_MINIMUM = 20  # images; below that a share says nothing
_WAY_OUT = "set `prepare.on_bad_image: quarantine` to leave the row out"

log = logging.getLogger(__name__)


def require_images(raw: RawDataset, *, on_bad_image: OnBadImage) -> tuple[pd.DataFrame, Ledger]:
    """The rows that have an image file, sorted by id, and a ledger that starts at the raw rows.

    Stops at rows without an image unless they are quarantined. Images without a row are noted.
    """
    rows, orphans = raw.rows, raw.images_without_row
    if orphans:
        log.warning("%d images have no row and are ignored: %s", len(orphans), listed(orphans))
    absent = rows["image_path"].isna()
    ids = rows.loc[absent, "sample_id"].tolist()
    if ids and on_bad_image == "stop":
        raise DataError(f"{len(ids)} rows have no image file: {listed(ids)}; add it, or {_WAY_OUT}")
    kept = rows[~absent].sort_values("sample_id", ignore_index=True)
    _require_some(kept)
    ledger = _read(raw)
    n = len(rows)
    return kept, ledger.add(
        "find images", "row without an image", rows_in=n, rows_out=len(kept), ids=ids
    )


def _read(raw: RawDataset) -> Ledger:
    """The ledger from the files to the rows that the adapter returns."""
    orphans = raw.images_without_row
    n = len(raw.rows) + sum(len(each.ids) for each in raw.left_out)
    ledger = Ledger().add(
        "read metadata", "image without a row", rows_in=n + len(orphans), rows_out=n, ids=orphans
    )
    for each in raw.left_out:
        left = n - len(each.ids)
        ledger = ledger.add("choose rows", each.reason, rows_in=n, rows_out=left, ids=each.ids)
        n = left
    return ledger


def on_unreadable(on_bad_image: OnBadImage) -> Callable[[DataError], None]:
    """What happens at an image that cannot be read: stop with its path, or note it and go on."""

    def stop(error: DataError) -> None:
        raise DataError(f"{error}; replace it, or {_WAY_OUT}") from None

    def quarantine(error: DataError) -> None:
        log.warning("quarantined: %s", error)

    return stop if on_bad_image == "stop" else quarantine


def leave_out(
    rows: pd.DataFrame, unreadable: Mapping[str, str], ledger: Ledger
) -> tuple[pd.DataFrame, Ledger]:
    """The rows whose image could be decoded."""
    kept = rows[~rows["sample_id"].isin(list(unreadable))].reset_index(drop=True)
    _require_some(kept)
    ledger = ledger.add(
        "decode", "unreadable image", rows_in=len(rows), rows_out=len(kept), ids=list(unreadable)
    )
    return kept, ledger


def duplicate_table(
    rows: pd.DataFrame, listed_pairs: pd.DataFrame, hashed_pairs: pd.DataFrame
) -> pd.DataFrame:
    """All duplicate pairs of the samples in `rows`, once each.

    Args:
        rows: `sample_id`, `group_id`, `target`.
        listed_pairs: `first`, `second` from a list that came with the data.
        hashed_pairs: `first`, `second`, `distance`, `correlation` from the images.

    Returns:
        `first`, `second`, `origin` (list, hash, or both), `distance`, `correlation` (NaN where
        not measured), `across_groups`, `labels_differ`; sorted by the ids.
    """
    ordered = _ordered(listed_pairs).assign(in_list=True)
    pairs = ordered.merge(hashed_pairs, on=["first", "second"], how="outer")
    known = rows.set_index("sample_id")
    pairs = pairs[pairs["first"].isin(known.index) & pairs["second"].isin(known.index)]
    in_list, in_hash = pairs["in_list"].notna(), pairs["distance"].notna()
    first, second = known.loc[pairs["first"]], known.loc[pairs["second"]]
    pairs = pairs.assign(
        origin=np.select([in_list & in_hash, in_list], ["both", "list"], "hash"),
        across_groups=first["group_id"].to_numpy() != second["group_id"].to_numpy(),
        labels_differ=_differ(first["target"], second["target"]),
    )
    columns = [*_PAIR, "origin", "distance", "correlation", "across_groups", "labels_differ"]
    return pairs[columns].sort_values(_PAIR, ignore_index=True)


def without_conflict(
    rows: pd.DataFrame, pairs: pd.DataFrame, given: Mapping[str, str]
) -> pd.DataFrame:
    """The pairs whose groups can be joined without putting one group into two given roles.

    Args:
        rows: `sample_id`, `group_id`.
        pairs: `first`, `second`.
        given: role by group, for the groups that have one.
    """
    group_of = dict(zip(rows["sample_id"], rows["group_id"], strict=True))
    leader: dict[str, str] = {}  # of a group that was joined to another
    role = dict(given)

    def leader_of(sample_id: str) -> str:
        group: str = group_of[sample_id]
        while group in leader:
            group = leader[group]
        return group

    def join(first: str, second: str) -> bool:
        one, other = leader_of(first), leader_of(second)
        roles = {role[group] for group in (one, other) if group in role}
        if one != other and len(roles) <= 1:
            leader[other] = one
            for each in roles:  # at most one
                role[one] = each
        return len(roles) <= 1

    kept = [join(*pair) for pair in zip(pairs["first"], pairs["second"], strict=True)]
    return pairs[np.array(kept, dtype=bool)]


def merge_groups(rows: pd.DataFrame, pairs: pd.DataFrame) -> npt.NDArray[np.str_]:
    """Group id of every row after joining the groups of duplicates.

    A merged group takes the smallest of its ids.

    Raises:
        DataError: a merged group holds more than `GIANT_SHARE` of the images, which means that
            the search for duplicates joins images that merely look alike.
    """
    names, index = np.unique(rows["group_id"].to_numpy(dtype=str), return_inverse=True)
    place = pd.Series(index, index=rows["sample_id"])
    first, second = place.loc[pairs["first"]], place.loc[pairs["second"]]
    joined = coo_array((np.ones(len(pairs)), (first, second)), shape=(len(names), len(names)))
    count, component = connected_components(joined, directed=False)
    smallest = np.full(count, len(names), dtype=np.int64)
    np.minimum.at(smallest, component, np.arange(len(names)))  # names are sorted
    merged = names[smallest[component]][index]
    _refuse_giants(merged, before=names[index])
    return merged


def _require_some(rows: pd.DataFrame) -> None:
    if rows.empty:
        raise DataError("no row with a readable image is left; check `data.root` and the metadata")


_PAIR = ["first", "second"]


def _ordered(pairs: pd.DataFrame) -> pd.DataFrame:
    both = np.sort(pairs[_PAIR].to_numpy(dtype=str).reshape(-1, 2), axis=1)
    return pd.DataFrame(both, columns=_PAIR, dtype=str).drop_duplicates()


def _differ(first: pd.Series, second: pd.Series) -> list[bool]:
    return [bool(np.any(a != b)) for a, b in zip(_arrays(first), _arrays(second), strict=True)]


def _arrays(targets: pd.Series) -> list[IntArray]:
    return [np.asarray(target, dtype=np.int64) for target in targets]


def _refuse_giants(merged: Sequence[str] | npt.NDArray[np.str_], *, before: npt.ArrayLike) -> None:
    sizes = pd.Series(merged).value_counts()
    limit = max(GIANT_SHARE * len(merged), GIANT_MINIMUM, pd.Series(before).value_counts().max())
    if sizes.iloc[0] > limit:
        raise DataError(
            f"merging duplicates made a group of {sizes.iloc[0]} of {len(merged)} images "
            f"({sizes.index[0]}); lower `prepare.duplicate_distance` or raise "
            f"`prepare.duplicate_correlation`"
        )
