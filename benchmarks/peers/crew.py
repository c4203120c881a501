"""The worker processes of a measurement, with everything they start."""

import contextlib
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil


class Crew:
    """Worker processes that were started together and die together."""

    def __init__(self, processes: Sequence[subprocess.Popen[bytes]]) -> None:
        self._processes = processes
        self.started_at = time.monotonic()

    def tree(self) -> list[psutil.Process]:
        """The worker processes and all their descendants that are alive."""
        found = []
        for process in self._processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                root = psutil.Process(process.pid)
                found += [root, *root.children(recursive=True)]
        return found

    def cpu_seconds(self) -> float:
        """CPU time that the tree has used."""
        return sum(cpu_seconds(process) for process in self.tree())

    def kill(self) -> None:
        """SIGKILL to every process, parents first so that nothing is started anew."""
        tree = self.tree()
        for process in tree:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(tree, timeout=10)
        for started in self._processes:
            started.wait()


def cpu_seconds(process: psutil.Process) -> float:
    """User and system time of one process and of its children that have ended; 0 if it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        ended = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
        return float(times.user + times.system + ended)
    return 0.0


def start(
    python: str, processes: Sequence[dict[str, Any]], environment: Mapping[str, str], log: Path
) -> Crew:
    """Start what a contestant named; what they print goes to ``log``."""
    with log.open("ab") as output:
        return Crew(
            [
                subprocess.Popen(
                    [python, *each["arguments"]],
                    env={**environment, **each["environment"]},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    process_group=0,
                )
                for each in processes
            ]
        )
