"""The image's health check: whether what this container was started for still answers.

Run by the container engine every few seconds, so it imports nothing but the standard library. An API and
the page answer over HTTP. A worker has no port that others reach; it is alive while it goes on calling the
broker, answered or not: a broker that is away is no fault of the worker, which computes on.
"""

import contextlib
import http.client
import itertools
import os
import re
import sys
import time
from pathlib import Path

API_PORT = int(os.environ.get("PENSTOCK_PORT") or 8000)
WORKER_PORT = int(os.environ.get("PENSTOCK_WORKER_METRICS_PORT") or 9100)
PAGE_PORT = 8501

LONGEST_SILENCE_S = 8.0
"""Longer than a worker waits for one answer of its broker (PENSTOCK_BROKER_TIMEOUT, 5 s)."""

_CALLS = re.compile(r"^penstock_broker_calls_total\{.*\} (\S+)$", re.MULTILINE)


def asked(port: int, path: str) -> str:
    """The body of a good answer on this machine. Raises OSError or HTTPException for any other."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", path)
        answer = connection.getresponse()
        if answer.status != http.HTTPStatus.OK:
            raise http.client.HTTPException(f"{path} answers {answer.status}")
        return answer.read().decode()


def calls() -> float:
    """How often this worker has called its broker."""
    return sum(map(float, _CALLS.findall(asked(WORKER_PORT, "/metrics"))))


def worker_moves() -> None:
    """Wait until the worker calls its broker. Raises TimeoutError if it does not."""
    before, deadline = calls(), time.monotonic() + LONGEST_SILENCE_S
    while calls() == before:
        if time.monotonic() > deadline:
            raise TimeoutError(f"the worker has not called its broker for {LONGEST_SILENCE_S:.0f} s")
        time.sleep(0.1)


CHECKS = {
    "api": (lambda: asked(API_PORT, "/livez"),),
    "worker": (worker_moves,),
    "up": (lambda: asked(API_PORT, "/livez"), worker_moves),
    "page": (lambda: asked(PAGE_PORT, "/_stcore/health"),),
}


def role(words: list[str]) -> str:
    """Which command a command line runs. Raises LookupError if it is none that can be asked."""
    for word, following in itertools.pairwise(words):
        if Path(word).name == "penstock" and following in CHECKS:
            return following
    raise LookupError("this container serves nothing that could be asked")


def main() -> None:
    """Exit code 0 if all is well, else 1 and the reason on standard error."""
    started = Path("/proc/1/cmdline").read_text().split("\0")
    try:
        for check in CHECKS[role(started)]:
            check()
    except (OSError, http.client.HTTPException, LookupError) as failed:
        sys.exit(f"unhealthy: {failed}")


if __name__ == "__main__":
    main()
