"""Work in processes: every result once, and one line when a worker is killed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from galvae.data.pool import run_in_processes


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_gives_its_result_once(workers):
    jobs = (((number,), {"base": 2}) for number in map(str, (0, 1, 10, 11, 100)))
    assert sorted(run_in_processes(int, jobs, workers=workers)) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("workers", [1, 2])
def test_what_a_job_raises_is_raised(workers):
    with pytest.raises(ValueError, match="invalid literal"):
        list(run_in_processes(int, [(("x",), {})], workers=workers))


def test_a_killed_worker_is_an_error_of_one_line():
    with pytest.raises(OSError, match=r"a worker process was killed, .* with fewer --workers$"):
        list(run_in_processes(os._exit, [((9,), {})], workers=2))


def test_workers_find_made_ready_what_they_need():
    program = (
        "from galvae.data.pool import ready_workers, run_in_processes\n"
        "ready_workers('colorsys', 'no_such_module')\n"
        "print(*run_in_processes(eval, [((\"'colorsys' in __import__('sys').modules\",), {})], workers=2))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(sys.platform != "win32")]
