"""What this process may use of its machine: all, or the share of its container or service.

Control groups tell the shares, of both versions. A group is nested in others, and the smallest share counts;
inside a container the outermost that can be seen is often its own.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil

CGROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def available_memory() -> int:
    """Bytes that this process may use."""
    limits = [
        int(told)
        for file in ("memory.max", "memory.limit_in_bytes")
        for group in _groups("memory")
        if (told := _read(group / file)).isdecimal()  # not "max"
    ]
    return min([psutil.virtual_memory().total, *limits])


def available_cpus() -> int:
    """CPUs that this process may use: those that it may run on, or its share of their time rounded up."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([cpus, *(max(1, math.ceil(share)) for share in _shares())])


def _shares() -> Iterator[float]:
    """CPUs' worth of time that each group is limited to."""
    for group in _groups("cpu"):
        newer = _read(group / "cpu.max").split()
        older = [_read(group / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
        for told in (newer, older):
            if len(told) == 2 and told[0].isdecimal() and told[1].isdecimal():  # neither "max" nor -1
                yield int(told[0]) / int(told[1])


def _groups(controller: str) -> Iterator[Path]:
    """Folders of the groups that this process is in, from the innermost out; some may not be there."""
    for line in _read(OWN_GROUPS).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            root = CGROUPS / controller if controllers else CGROUPS
            inner = PurePosixPath(path.lstrip("/"))
            yield from (root / each for each in (inner, *inner.parents))


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""  # no such group or limit here, or no control groups at all
