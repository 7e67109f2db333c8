"""Adapters from the layouts that data sets come in; one file and one line each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from medaudit.core.errors import ParamsError, lookup
from medaudit.core.layout import PARAMS
from medaudit.core.params import parse, read_yaml
from medaudit.data.datasets import chestxray14, csv_file, folder, ham10000
from medaudit.data.datasets.base import DataParams, RawDataset

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

P = TypeVar("P", bound=DataParams)


@dataclass(frozen=True)
class Adapter(Generic[P]):
    """How one kind of data set is asked for and read."""

    params: type[P]
    load: Callable[[P], RawDataset]


DATASETS: Mapping[str, Adapter[Any]] = {
    "ham10000": Adapter(ham10000.Params, ham10000.load),
    "chestxray14": Adapter(chestxray14.Params, chestxray14.load),
    "csv": Adapter(csv_file.Params, csv_file.load),
    "folder": Adapter(folder.Params, folder.load),
}


def read_params(path: Path | None = None) -> DataParams:
    """The `data` section of `params.yaml`, with the options of the adapter that it names."""
    source = path or PARAMS
    content = read_yaml(source)
    section = content.get(DataParams.section)
    if not isinstance(section, dict) or not isinstance(section.get("dataset"), str):
        raise ParamsError(
            f"{source}: `data.dataset` must name a kind of data set ({', '.join(DATASETS)}), got "
            f"`data: {section!r}`"
        )
    adapter = lookup("`data.dataset`", section["dataset"], DATASETS)
    params: DataParams = parse(adapter.params, content, source=source)
    return params


def load(params: DataParams) -> RawDataset:
    """Read the data set that the parameters name."""
    return lookup("`data.dataset`", params.dataset, DATASETS).load(params)


__all__ = ["DATASETS", "Adapter", "DataParams", "RawDataset", "load", "read_params"]
