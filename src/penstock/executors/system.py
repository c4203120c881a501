"""What only the operating system can promise: dying with a parent, being the first to go when memory ends."""

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None

SINGLE_THREADED = dict.fromkeys(
    (
        "OMP_NUM_THREADS",
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",
        "BLIS_NUM_THREADS",
        "VECLIB_MAXIMUM_THREADS",
        "NUMEXPR_NUM_THREADS",
    ),
    "1",
)
"""Environment in which numeric libraries start one thread; a slot is one CPU's worth of work."""


SUPERVISOR = "PENSTOCK_SUPERVISOR_MARK"
"""The variable that the zygote, its slots and all that tasks start inherit: whose they are."""


def supervisor_mark(house: str) -> dict[str, str]:
    """The variable: this process's id, when it began (as ids are used again), and whose workers it is of."""
    return {SUPERVISOR: f"{os.getpid()}:{started_at(os.getpid())}:{house}"}


def started_at(pid: int) -> str:
    """When a process began, in its system's own words; "" if there is none."""
    try:
        _, _, rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        return rest.split()[19]
    except OSError:
        return ""


def die_with_parent() -> None:
    """Ask for SIGKILL when the parent dies, however it dies. Linux only; elsewhere the closed line tells."""
    if _libc is not None:
        parent = os.getppid()
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def name_process(name: str) -> None:
    """The name that ``ps`` and ``top`` show."""
    if _libc is not None:
        _libc.prctl(_PR_SET_NAME, name.encode()[:15])


def prefer_as_victim() -> None:
    """When the machine runs out of memory the kernel should end this process, not its supervisor."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


def ignore_interrupts() -> None:
    """Ctrl-C reaches the whole terminal group; only the supervisor acts on it, by draining."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
