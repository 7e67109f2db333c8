"""Adapters from the layouts that data sets come in; one file and one line each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from medaudit.data.datasets import ham10000
from medaudit.data.datasets.base import RawDataset
from medaudit.errors import lookup
from medaudit.params import Section

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DATASETS: Mapping[str, Callable[[Path], RawDataset]] = {
    "ham10000": ham10000.load,
}


class DataParams(Section):
    """Which data set, and where it lies.

    Args:
        dataset: a name in `DATASETS`.
        root: its folder, relative to the repository.
    """

    section: ClassVar[str] = "data"

    dataset: str
    root: Path


def load(params: DataParams) -> RawDataset:
    """Read the data set that the parameters name."""
    return lookup("`data.dataset`", params.dataset, DATASETS)(params.root)


__all__ = ["DATASETS", "DataParams", "RawDataset", "load"]
