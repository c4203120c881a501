"""A task whose answers are kept and that leaves a line each time it runs, so that runs can be counted."""

import time
from pathlib import Path

from wait import until  # which stands beside it, as every loader of this file sees

from penstock import task


@task(cache=True)
def tally(n: int, ledger: str, seconds: float = 0.0, release: str = "") -> int:
    """Add a line to ``ledger`` and give back the square, if ``release`` names a file when that is there."""
    with Path(ledger).open("a") as lines:
        lines.write(f"{n}\n")
    time.sleep(seconds)
    if release:
        until(Path(release).exists)
    return n * n
