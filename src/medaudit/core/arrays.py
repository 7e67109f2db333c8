"""Names of the array types that rooms exchange, and arrays of numbers in files."""

import math
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from medaudit.core.errors import DataError
from medaudit.core.files import plain_file

Float64Array = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.floating]  # of either precision
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
_LONGEST_HEADER = 10_000  # characters, as NumPy bounds them


def read_npy(path: Path, *, mapped: bool = False) -> npt.NDArray[Any]:
    """The array of numbers or flags in an `.npy` file.

    What the header promises is compared with the size of the file before memory is taken; a zip
    archive, as `.npz` is, and arrays of Python objects are refused.

    Args:
        path: of the file.
        mapped: whether to map the file instead of reading it.

    Raises:
        FileNotFoundError: nothing is there.
        DataError: not a whole `.npy` file of numbers.
    """
    shape, kind, start = _header(plain_file(path))
    size = path.stat().st_size - start
    if kind.kind not in "biuf" or kind.itemsize == 0:
        raise _unreadable(path, f"elements are {str(kind)[:80]}")
    if any(length < 0 for length in shape) or math.prod(shape) * kind.itemsize != size:
        promised = f"{str(shape)[:80]} elements of {kind.itemsize} bytes"
        raise _unreadable(path, f"its header promises {promised}, {size} bytes follow")
    mode: Literal["r"] | None = "r" if mapped and size else None
    return np.asanyarray(np.load(path, mmap_mode=mode, allow_pickle=False))


def _header(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Shape, type, and where the numbers begin."""
    with path.open("rb") as handle:
        try:
            read = _HEADERS[npy.read_magic(handle)]
            shape, _, kind = read(handle, max_header_size=_LONGEST_HEADER)
        # What Python finds wrong in the header, its parser's memory included.
        except Exception as error:  # noqa: BLE001
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise _unreadable(path, reason) from None
        return shape, kind, handle.tell()


def _unreadable(path: Path, reason: str) -> DataError:
    return DataError(f"{path}: not a readable .npy array of numbers ({reason})")
