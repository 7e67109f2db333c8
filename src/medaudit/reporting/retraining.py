"""How far headline numbers move when the model is trained again, as it was measured.

A measured spread is a pair of files in `profiles/spread/`: `<name>.yaml`, the parameters that it
was measured with, and `<name>.csv`, a row per headline number that training moves, over several
`train.seed`. It says something about a run only where the parameters of the run are those.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from scipy import stats

from medaudit.errors import DataError
from medaudit.params import read_yaml
from medaudit.reporting.reproduction import leaves

if TYPE_CHECKING:
    from collections.abc import Mapping

SPREADS = Path("profiles/spread")
COLUMNS = ("stage", "metric", "seeds", "mean", "sd", "low", "high")
# Words, the seed that was varied, and the threads, which do what another seed does.
FREE = ("report.", "train.seed", "compute.")


@dataclass(frozen=True)
class Variation:
    """A headline number over retrainings with several seeds.

    Args:
        seeds: trainings in which the number was defined, at least 2.
        mean: over them.
        sd: standard deviation between them, n - 1 in the denominator.
        low: the smallest.
        high: the largest.
    """

    seeds: int
    mean: float
    sd: float
    low: float
    high: float

    def p_value(self, difference: float) -> float:
        """Probability that two retrainings differ by as much, two-sided, in [0, 1].

        Student's t of `seeds` - 1 degrees: two independent trainings differ by sqrt(2) SD. Where
        all seeds agree, 1 / (`seeds` + 1): one more is the odd one out as often as any of them.
        """
        if difference == 0:
            return 1.0
        if self.sd == 0:
            return 1 / (self.seeds + 1)
        return float(2 * stats.t.sf(abs(difference) / (math.sqrt(2) * self.sd), self.seeds - 1))


@dataclass(frozen=True)
class Spread:
    """Every headline number over retrainings, by `<stage>.<name>`, of a number of seeds."""

    seeds: int
    numbers: Mapping[str, Variation]


def measured(params: Mapping[str, Any], folder: Path = SPREADS) -> Spread | None:
    """The spread that was measured with these parameters, or `None` where none was."""
    for path in sorted(folder.glob("*.yaml")):
        if not unlike(params, read_yaml(path), free=FREE):
            return read(path.with_suffix(".csv"))
    return None


def unlike(
    params: Mapping[str, Any], others: Mapping[str, Any], *, free: tuple[str, ...]
) -> dict[str, tuple[Any, Any]]:
    """Parameters that differ, by dotted name: the value in each; `None` for one that is absent.

    Names that begin with one of `free` are left out.
    """
    one, two = dict(leaves(params)), dict(leaves(others))
    return {
        name: (one.get(name), two.get(name))
        for name in [*one, *(name for name in two if name not in one)]
        if not name.startswith(free) and one.get(name) != two.get(name)
    }


def read(path: Path) -> Spread:
    """A spread from its CSV file."""
    try:
        rows = pd.read_csv(path)
    except FileNotFoundError:
        raise DataError(f"{path}: missing beside {path.stem}.yaml; restore it from git") from None
    lacking = [name for name in COLUMNS if name not in rows]
    if lacking or rows.empty:
        raise DataError(f"{path}: expected rows with {', '.join(COLUMNS)}; restore it from git")
    numbers = {
        f"{row.stage}.{row.metric}": Variation(
            int(row.seeds), float(row.mean), float(row.sd), float(row.low), float(row.high)
        )
        for row in rows.itertuples()
    }
    return Spread(max(each.seeds for each in numbers.values()), numbers)
