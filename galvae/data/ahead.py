"""Work done in the background, a little ahead of its use."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Piece = TypeVar("Piece")
Result = TypeVar("Result")


def ahead(
    work: Callable[[Piece], Result], pieces: Iterable[Piece], *, count: int = 2, threads: int = 1,
    begin: Callable[[], object] | None = None,
) -> Generator[Result, None, None]:  # fmt: skip
    """Results of `work`, in the order of `pieces`; while one is in use the next `count` are made by a thread.

    For reading it is one thread: HDF5 lets no second one in, and so the next piece is never kept waiting by the one
    after it. The threads end with this generator, however that ends: at most the pieces that are begun are waited for.

    Parameters
    ----------
    work
        Takes a piece; its exceptions are raised here, where their result would have come.
    pieces
        Taken one by one, in the thread that asks for results; it may be endless.
    count
        How many results wait or are made at most.
    threads
        How many of them are made at once.
    begin
        What each thread does first.
    """
    pieces = iter(pieces)
    pool = ThreadPoolExecutor(threads, "galvae-ahead", begin)
    try:
        waiting = deque(pool.submit(work, piece) for piece in islice(pieces, count))
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(pool.submit(work, piece) for piece in islice(pieces, 1))
            yield result
            del result  # what is asked for next must not find the last one still in memory
    finally:
        pool.shutdown(cancel_futures=True)
