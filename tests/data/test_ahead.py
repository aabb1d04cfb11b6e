"""Work ahead of its use: in order, bounded, and over when its user is."""

import threading
import time
from itertools import count

import pytest

from galvae.data.ahead import ahead


def running():
    return [thread for thread in threading.enumerate() if thread.name.startswith("galvae-ahead")]


@pytest.mark.parametrize("pieces", [0, 1, 2, 3, 10])
def test_results_come_in_order(pieces):
    def slower_first(piece):
        time.sleep(0.001 * (pieces - piece))
        return piece * piece

    assert list(ahead(slower_first, range(pieces))) == [piece * piece for piece in range(pieces)]
    assert not running()


def test_two_are_made_ahead_and_no_more():
    begun, made = [], threading.Semaphore(0)

    def work(piece):
        begun.append(piece)
        made.release()
        return piece

    results = ahead(work, count())
    for wanted in range(4):
        assert next(results) == wanted
        for _ in range(3 if wanted == 0 else 1):
            assert made.acquire(timeout=10)
        time.sleep(0.02)
        assert begun == list(range(wanted + 3))
    assert len(running()) == 1
    results.close()
    assert not running()


def test_work_is_in_another_thread_and_pieces_are_taken_in_this_one():
    where = []

    def pieces():
        where.append(threading.current_thread())
        yield 0

    worked = list(ahead(lambda piece: threading.current_thread(), pieces()))
    assert where == [threading.current_thread()]
    assert worked[0] is not threading.current_thread()


def test_an_error_comes_where_its_result_would():
    def work(piece):
        if piece == 2:
            raise OSError("the disk is gone")
        return piece

    results = ahead(work, count())
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(OSError, match=r"^the disk is gone$"):
        next(results)
    assert not running()
    assert list(results) == []


def test_closing_waits_for_no_more_than_what_is_begun():
    begun, gate = [], threading.Event()

    def work(piece):
        begun.append(piece)
        if piece:
            gate.wait(10)

    results = ahead(work, count())
    next(results)
    while len(begun) < 2:
        time.sleep(0.001)
    threading.Timer(0.05, gate.set).start()
    results.close()
    assert begun == [0, 1]
    assert not running()


def test_several_threads_keep_the_order():
    meet, begun = threading.Barrier(2, timeout=30), []

    def work(piece):
        meet.wait()  # one thread alone would wait for ever
        return piece

    assert list(ahead(work, range(6), count=3, threads=2, begin=lambda: begun.append(0))) == list(range(6))
    assert len(begun) == 2
