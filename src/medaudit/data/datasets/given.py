"""Splits that come with the data."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from medaudit.data.splits import EITHER
from medaudit.errors import DataError, listed
from medaudit.tables.manifest import ROLES

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

WORDS = {
    "train": "train",
    "training": "train",
    "val": "tune",
    "valid": "tune",
    "validation": "tune",
    "dev": "tune",
    "tune": "tune",
    "cal": "calibration",
    "calib": "calibration",
    "calibration": "calibration",
    "test": "test",
    "testing": "test",
}

log = logging.getLogger(__name__)


def roles_of(words: pd.Series[str], *, source: Path | str) -> pd.Series[str]:
    """The roles that words such as `Val` mean, missing where a cell is empty.

    Raises:
        DataError: unknown words, quoted.
    """
    found = words.str.lower().map(WORDS)
    wrong = words[found.isna() & words.notna()].unique().tolist()
    if wrong:
        raise DataError(f"{source}: unknown splits {listed(wrong)}; known: {', '.join(WORDS)}")
    return found


def completed(roles: pd.Series[str]) -> tuple[pd.Series[str], tuple[str, ...]]:
    """Given roles, divided further where a role has no rows, and what was done, for the report.

    Rows of `tune` make a missing `calibration`; rows of `train` make what else is missing.
    """
    present = set(roles.dropna())
    told = [role for role in ROLES if role in present]
    notes = [f"The split came with the data ({', '.join(told)})."]
    divided: dict[str, tuple[str, ...]] = {}
    if "tune" in present and "calibration" not in present:
        divided["tune"] = ("tune", "calibration")
    lacking = {"tune", "calibration", "test"} - present - set(divided.get("tune", ()))
    if lacking:
        divided["train"] = tuple(role for role in ROLES if role in {"train", *lacking})
    for role, parts in divided.items():
        if role in present:
            names = f"{', '.join(parts[:-1])} and {parts[-1]}"
            notes.append(f"Its {role} rows were divided by group into {names}.")
    for note in notes:
        log.info(note)
    return roles.replace({role: EITHER.join(parts) for role, parts in divided.items()}), (*notes,)
