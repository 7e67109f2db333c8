"""What an exported program says about itself, and what is asked of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from medaudit.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    import torch

Floats = npt.NDArray[np.float32]
Size = int | None


@dataclass(frozen=True)
class Input:
    """The batches that a program takes.

    Args:
        smallest: batch; a shorter one is filled up.
        largest: batch; `None` without a limit.
        height: of the images; `None` where any will do.
        width: likewise.
    """

    smallest: int
    largest: Size
    height: Size
    width: Size


class Program(Protocol):
    """A program from one kind of file."""

    @property
    def engine(self) -> str:
        """What runs it."""

    @property
    def device_type(self) -> str:
        """Where it runs."""

    @property
    def input(self) -> Input:
        """The batches that it takes."""

    def on(self, device: torch.device) -> Self:
        """Itself on a device, or where it was if it cannot go there."""

    def run(self, x: Floats) -> Floats:
        """Outputs of normalised images (n, 3, h, w), for n within `input`."""


def checked_input(shape: Sequence[object], dtype: str, *, batch: tuple[int, Size]) -> Input:
    """The input of a program; a `ModelError` unless it is float32 images, channels first.

    Args:
        shape: four sizes; those that are not whole numbers are free.
        dtype: as the format writes it.
        batch: smallest and largest batch.
    """
    known = [size if isinstance(size, int) else None for size in shape]
    if (
        dtype not in {"torch.float32", "tensor(float)"}
        or len(known) != 4
        or known[1] not in {3, None}
    ):
        found = ", ".join("any" if size is None else str(size) for size in known)
        raise ModelError(
            f"expected one float32 input of shape (n, 3, height, width), got {dtype} ({found}); "
            f"put other scalings and layouts into the model, then export it again"
        )
    return Input(*batch, height=known[2], width=known[3])


def in_pieces(program: Program, x: Floats) -> Floats:
    """Outputs for any number of images: cut to the largest batch, filled up to the smallest."""
    taken = program.input
    step = taken.largest or max(len(x), 1)
    return np.concatenate(
        [_filled(program, x[i : i + step], taken.smallest) for i in range(0, len(x), step)]
    )


def _filled(program: Program, x: Floats, smallest: int) -> Floats:
    lacking = max(smallest - len(x), 0)
    padded = np.concatenate([x, np.repeat(x[-1:], lacking, axis=0)])
    return program.run(np.ascontiguousarray(padded))[: len(x)]
