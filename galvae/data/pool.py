"""Work spread over processes that end with the one that started them."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import connection, forkserver, get_all_start_methods, get_context, parent_process
from typing import Any, TypeVar

Job = tuple[tuple[Any, ...], Mapping[str, Any]]
Result = TypeVar("Result")
# Where it can be, all workers are copies of one process that has imported what they need: for two of them that takes
# half of the time, and of the memory, of starting each on its own.
_START = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")


def ready_workers(*modules: str) -> None:
    """Begin to import, in the background, what workers will need; without it each of them does so when it starts."""
    if _START.get_start_method() == "forkserver":
        _START.set_forkserver_preload([*modules])
        forkserver.ensure_running()


def run_in_processes(work: Callable[..., Result], jobs: Iterable[Job], *, workers: int) -> Iterator[Result]:
    """Run jobs, in this process where one worker is asked for.

    Jobs are taken from `jobs` one by one, as workers become free, so that neither jobs nor results pile up.
    When this generator is closed or interrupted, jobs that have begun are finished and no new one is begun.

    Parameters
    ----------
    work
        A function that another process can import.
    jobs
        Positional and keyword arguments of each.
    workers
        How many processes.

    Yields
    ------
    Result
        What `work` gave for a job, in the order in which jobs are done.

    Raises
    ------
    OSError
        If a worker was killed.
    """
    if workers == 1:
        for arguments, keywords in jobs:
            yield work(*arguments, **keywords)
        return
    jobs = iter(jobs)
    pool = ProcessPoolExecutor(workers, mp_context=_START, initializer=_prepare_worker)
    with pool:
        begun: set[Future[Result]] = set()
        while True:
            for arguments, keywords in islice(jobs, workers - len(begun)):
                begun.add(pool.submit(work, *arguments, **keywords))
            if not begun:
                return
            done, begun = wait(begun, return_when=FIRST_COMPLETED)
            for future in done:
                try:
                    result = future.result()
                except BrokenProcessPool:
                    raise OSError(
                        "a worker process was killed, as happens when memory runs out; try again with fewer --workers"
                    ) from None
                yield result


def _prepare_worker() -> None:
    """Leave Ctrl-C to the parent, and do not outlive it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()
    assert parent is not None
    threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(1)
