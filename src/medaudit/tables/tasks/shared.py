"""What several kinds of task have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

# Logits are stored in single precision: the smallest normal number of it.
TINY = float(np.finfo(np.float32).tiny)


def pair_table(
    counts: npt.NDArray[np.integer],
    totals: npt.NDArray[np.integer],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
) -> pd.DataFrame:
    """Long table of a matrix of counts: truth, predicted, count, and rate = count / row total."""
    under = np.asarray(totals, dtype=np.float64)[:, None]
    rates = np.divide(counts, under, out=np.full(counts.shape, np.nan), where=under > 0)
    truth, called = np.indices(counts.shape).reshape(2, -1)
    return pd.DataFrame(
        {
            "truth": np.array(rows)[truth],
            "predicted": np.array(columns)[called],
            "count": counts.ravel(),
            "rate": rates.ravel(),
        }
    )
