"""Work spread over processes that end with the one that started them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import connection, get_context, parent_process
from typing import Any

Job = tuple[int, tuple[Any, ...], Mapping[str, Any]]


def run_in_processes(work: Callable[..., None], jobs: Iterable[Job], *, workers: int) -> Iterator[int]:
    """Run jobs, in this process where one worker is asked for, and say how much each has done.

    Jobs are taken from `jobs` one by one, as workers become free, so that neither jobs nor results pile up.
    When this generator is closed or interrupted, jobs that have begun are finished and no new one is begun.

    Parameters
    ----------
    work
        A function that another process can import.
    jobs
        Size, positional and keyword arguments of each.
    workers
        How many processes.

    Yields
    ------
    int
        The size of a job that is done.

    Raises
    ------
    OSError
        If a worker was killed.
    """
    if workers == 1:
        for size, arguments, keywords in jobs:
            work(*arguments, **keywords)
            yield size
        return
    jobs = iter(jobs)
    pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_prepare_worker)
    with pool:
        sizes: dict[Future[None], int] = {}
        while True:
            for size, arguments, keywords in islice(jobs, workers - len(sizes)):
                sizes[pool.submit(work, *arguments, **keywords)] = size
            if not sizes:
                return
            for future in wait(sizes, return_when=FIRST_COMPLETED).done:
                try:
                    future.result()
                except BrokenProcessPool:
                    raise OSError(
                        "a worker process was killed, as happens when memory runs out; go on with --resume and fewer "
                        "--workers"
                    ) from None
                yield sizes.pop(future)


def _prepare_worker() -> None:
    """Leave Ctrl-C to the parent, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
