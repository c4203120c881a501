"""The driver of a contestant, which runs in another environment, as an object here."""

import json
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Samples = list[tuple[float, int]]

PATIENCE_S = 120.0
"""Longer than any request should take; a driver that is silent for so long is given up."""


class DriverError(RuntimeError):
    """The driver failed, was silent for too long, or ended."""


class Remote:
    """One process of ``peers.driver``; the methods are its verbs."""

    def __init__(self, python: str, contestant: str, environment: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                [python, "-m", "peers.driver", contestant],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
            )

    def _ask(self, verb: str, patience_s: float = PATIENCE_S, **arguments: Any) -> Any:
        if self._process.stdin is None or self._process.stdout is None:
            raise DriverError("not connected")
        watchdog = threading.Timer(patience_s, self._process.kill)
        watchdog.start()
        try:
            self._process.stdin.write(json.dumps({"verb": verb, "with": arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            watchdog.cancel()
        if not line:
            raise DriverError(f"{verb}: no answer")
        answer = json.loads(line)
        if "error" in answer:
            raise DriverError(answer["error"])
        return answer["answer"]

    def about(self) -> dict[str, Any]:
        """See `driver.Driver`, as with the methods below."""
        found: dict[str, Any] = self._ask("about")
        return found

    def workers(self) -> list[dict[str, Any]]:
        """The worker processes to start."""
        found: list[dict[str, Any]] = self._ask("workers")
        return found

    def submit(self, task: str, count: int) -> float:
        """Seconds it took."""
        return float(self._ask("submit", task=task, count=count))

    def answers(self, count: int, pause_s: float = 0.0) -> list[float]:
        """Seconds each."""
        return [float(each) for each in self._ask("answers", count=count, pause_s=pause_s)]

    def stored(self) -> int:
        """Results so far."""
        return int(self._ask("stored"))

    def watch(self, until: int, timeout_s: float, every_s: float = 0.02) -> Samples:
        """``(time, results stored)`` until there are enough or time is over."""
        asked = {"until": until, "timeout_s": timeout_s, "every_s": every_s}
        return [(at, count) for at, count in self._ask("watch", timeout_s + PATIENCE_S, **asked)]

    def feed(self, depth: int, seconds: float, batch: int) -> Samples:
        """``(time, results stored)`` while the queue is kept ``depth`` deep."""
        asked = {"depth": depth, "seconds": seconds, "batch": batch}
        return [(at, count) for at, count in self._ask("feed", seconds + PATIENCE_S, **asked)]

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
