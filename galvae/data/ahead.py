"""Work done in the background, a little ahead of its use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def ahead(work: Callable[[Piece], Result], pieces: Iterable[Piece], *, count: int = 2) -> Generator[Result, None, None]:
    """Results of `work`, in the order of `pieces`; while one is in use the next `count` are made by a thread.

    It is one thread: HDF5 lets no second one in, and so the next piece is never kept waiting by the one after it.
    The thread ends with this generator, however that ends: at most the piece that is begun is waited for.

    Parameters
    ----------
    work
        Takes a piece; its exceptions are raised here, where their result would have come.
    pieces
        Taken one by one, in the thread that asks for results; it may be endless.
    count
        How many results wait or are made at most.
    """
    pieces = iter(pieces)
    thread = ThreadPoolExecutor(1, "galvae-ahead")
    try:
        waiting = deque(thread.submit(work, piece) for piece in islice(pieces, count))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(thread.submit(work, piece) for piece in islice(pieces, 1))
            yield result
            del result  # what is asked for next must not find the last one still in memory
    finally:
        thread.shutdown(cancel_futures=True)
