"""Runs ``penstock experiment …`` as a user does, in a folder of its own, and reads its report."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

COURIER = Path(__file__).with_name("courier.py")


class Desk:
    """Where experiments are run; ``folder`` is the current one, its ``tmp`` the temporary files' place."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        self.reports = folder / "reports"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
        self._environment = kept | {"TMPDIR": str(self.temporary), "REPORT_DIR": str(self.reports)}

    def start(self, *words: object, **variables: object) -> "subprocess.Popen[str]":
        """Start ``penstock experiment`` with these words and variables."""
        return subprocess.Popen(
            [sys.executable, "-m", "penstock", "experiment", *map(str, words)],
            cwd=self.folder,
            env=self._environment | {name: str(value) for name, value in variables.items()},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: object, expect: int = 0, **variables: object) -> str:
        """Run it to its end; what it printed. Fails unless it ends with this exit code."""
        process = self.start(*words, **variables)
        try:
            out, err = process.communicate(timeout=200)
        finally:
            process.kill()
        assert process.returncode == expect, f"exit code {process.returncode}\n{out}\n{err}"
        return out + err

    def report(self) -> dict[str, Any]:
        """The only report there is; it is taken away."""
        (path,) = self.reports.iterdir()
        found: dict[str, Any] = json.loads(path.read_text())
        path.unlink()
        return found

    def left_over(self) -> list[str]:
        """What lies among the temporary files."""
        return sorted(path.name for path in self.temporary.iterdir())


def own_task(name: str) -> tuple[object, ...]:
    """The words that aim an experiment at a task of `courier`."""
    return ("--task", name, "--module", COURIER)
