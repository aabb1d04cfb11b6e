"""How many cores this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_GROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


def cores() -> int:
    """Cores that this process may run on, and that its control groups grant it the time of; at least 1."""
    if hasattr(os, "process_cpu_count"):
        allowed = os.process_cpu_count() or 1
    else:
        allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(allowed, granted(_OWN, _GROUPS))))


def granted(own: Path, groups: Path) -> float:
    """Seconds of processors a second that control groups grant, infinity where they do not limit it.

    Parameters
    ----------
    own
        Which groups a process is in, as ``/proc/self/cgroup`` lists them.
    groups
        Where they are mounted. In a container those above its own cannot be seen, and its own may be the root.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return math.inf
    found = [math.inf]
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:  # version 2
            root, read = groups, _quota
        elif "cpu" in controllers.split(","):
            root, read = groups / "cpu", _quota_of_version_1
        else:
            continue
        group = root / path.lstrip("/")
        found += [read(folder) for folder in (root, *(f for f in (group, *group.parents) if root in f.parents))]
    return min(found)


def _quota(folder: Path) -> float:
    try:
        quota, period = (folder / "cpu.max").read_text().split()
        return math.inf if quota == "max" else int(quota) / int(period)
    except (OSError, ValueError):
        return math.inf


def _quota_of_version_1(folder: Path) -> float:
    try:
        quota, period = (int((folder / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))
        return quota / period if quota > 0 else math.inf
    except (OSError, ValueError):
        return math.inf
