"""Parquet files that are read whole, or refused in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from medaudit.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path


def read(path: Path, *, what: str, absent: str, mend: str) -> pa.Table:
    """The table in a parquet file.

    Args:
        path: of the file.
        what: the file is, for people.
        absent: said where there is no such file.
        mend: what to do about a damaged one.
    """
    try:
        return pq.read_table(path)
    except FileNotFoundError:
        raise DataError(f"{path}: {absent}") from None
    except (pa.ArrowException, OSError) as error:
        # Damaged pages come as an OSError that no system call has given a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: not a readable {what}: {reason}; {mend}") from None
