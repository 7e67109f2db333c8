"""Batches in a fixed order, made ahead of the model by background threads."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
IntArray = npt.NDArray[np.int64]


def in_batches(indices: IntArray, *, batch_size: int) -> list[IntArray]:
    """Consecutive pieces of at most `batch_size` indices."""
    return [indices[i : i + batch_size] for i in range(0, len(indices), batch_size)]


def shuffled_batches(
    indices: IntArray, *, batch_size: int, seed: int, epoch: int
) -> list[IntArray]:
    """Full batches in the order of this epoch; a short last one would disturb batch statistics."""
    order = np.random.default_rng([seed, epoch]).permutation(indices)
    batches = in_batches(order, batch_size=batch_size)
    if len(batches) > 1 and len(batches[-1]) < batch_size:
        batches.pop()
    return batches


def prefetched(
    make: Callable[[IntArray], T], batches: Iterable[IntArray], *, threads: int
) -> Iterator[T]:
    """`make(batch)` for every batch, in order, with `threads` + 1 batches under way.

    `make` must depend on its argument alone; then the number of threads changes nothing.
    """
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for batch in batches:
            waiting.append(pool.submit(make, batch))
            if len(waiting) > threads + 1:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
