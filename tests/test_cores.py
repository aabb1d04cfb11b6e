"""Cores: never more than affinity and control groups allow."""

import math
import os
import subprocess
import sys

import pytest

from galvae.cores import cores, granted


@pytest.fixture
def groups(tmp_path):
    """A function: the answer for groups of these files, where a process is in these groups."""

    def ask(own, **files):
        root = tmp_path / "cgroup"
        for name, text in files.items():
            path = root / name.replace("__", "/").replace("_max", ".max").replace("cfs", "cpu.cfs")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        (tmp_path / "own").write_text(own)
        return granted(tmp_path / "own", root)

    return ask


def test_no_limit(groups, tmp_path):
    assert groups("0::/\n", cpu_max="max 100000\n") == math.inf
    assert granted(tmp_path / "nowhere", tmp_path) == math.inf


@pytest.mark.parametrize("where", ["cpu_max", "a__cpu_max", "a__b__cpu_max"])
def test_the_tightest_group_counts(groups, where):
    limits = dict.fromkeys(("cpu_max", "a__cpu_max", "a__b__cpu_max"), "800000 100000")
    assert groups("0::/a/b\n", **{**limits, where: "150000 100000\n"}) == 1.5


def test_version_1(groups):
    files = {"cpu__a__cfs_quota_us": "250000", "cpu__a__cfs_period_us": "100000", "cpu__cfs_quota_us": "-1"}
    assert groups("9:cpuset:/x\n4:cpu,cpuacct:/a\n", **files, cpu__cfs_period_us="100000") == 2.5


def test_a_damaged_file_is_no_limit(groups):
    assert groups("0::/\n", cpu_max="\n") == math.inf


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the affinity cannot be set here")
def test_affinity_counts():
    assert cores() <= len(os.sched_getaffinity(0))
    one = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    code = f"{one}; from galvae.cores import cores; print(cores())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "1"
