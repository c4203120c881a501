"""What is seen while an experiment runs: a live table on a terminal, else a line now and then."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

from rich.live import Live
from rich.table import Table

from penstock.cli import show

LOOK_S = 0.25
LINE_S = 2.0
"""Between two lines where there is no terminal."""


class Lines:
    """The output file, read as it grows; what stands in a line is what follows its last tab."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self.texts: Counter[str] = Counter()

    def read(self) -> Counter[str]:
        """How often each text stands in the file by now; an unfinished line is left for the next time."""
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(self._offset)
            whole, newline, _ = file.read().rpartition(b"\n")
            self._offset += len(whole) + len(newline)
            if newline:
                lines = whole.decode(errors="replace").split("\n")
                self.texts.update(line.rpartition("\t")[2] for line in lines)
        return self.texts


class Board:
    """The figures of this moment. ``ended`` counts jobs known to have ended, where no lines can be read."""

    def __init__(self, name: str, messages: int) -> None:
        self.name = name
        self.messages = messages
        self.attempted = 0
        self.accepted = 0
        self.ended = 0
        self.lines: Lines | None = None
        self._began = self._sending_since = time.monotonic()
        self._phase = "starting"

    def say(self, phase: str) -> None:
        """What goes on now."""
        self._phase = phase
        if not show.errors.is_terminal:
            self._print()

    def figures(self) -> dict[str, str]:
        """By column, as they are shown."""
        texts = self.lines.read() if self.lines else Counter[str]()
        done = len(texts) if self.lines else self.ended
        now = time.monotonic()
        if not self.attempted:
            self._sending_since = now  # the start of processes is no part of the rate
        elapsed, sending_s = now - self._began, now - self._sending_since
        return {
            "attempted": f"{self.attempted}/{self.messages}",
            "accepted": str(self.accepted),
            "done": str(done),
            "open": str(max(0, self.accepted - done)),
            "duplicated": str(texts.total() - len(texts)),
            "rate": f"{done / sending_s:.1f}/s" if sending_s else "-",
            "elapsed": f"{elapsed:.1f} s",
        }

    def _table(self) -> Table:
        title = f"{self.name}: {self._phase}"
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        figures = self.figures()
        for column in figures:
            table.add_column(column, justify="right", no_wrap=True)
        table.add_row(*map(show.escape, figures.values()))
        return table

    def _print(self) -> None:
        told = "  ".join(f"{name} {value}" for name, value in self.figures().items())
        show.errors.print(f"{self.name}: {show.escape(told)}  {self._phase}", soft_wrap=True)

    @contextlib.asynccontextmanager
    async def shown(self) -> AsyncIterator[None]:
        """Keep showing it inside."""
        drawing = asyncio.create_task(self._draw() if show.errors.is_terminal else self._print_lines())
        try:
            yield
        finally:
            drawing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await drawing

    async def _draw(self) -> None:
        with Live(self._table(), console=show.errors, auto_refresh=False) as live:
            try:
                while True:
                    live.update(self._table(), refresh=True)
                    await asyncio.sleep(LOOK_S)
            finally:
                live.update(self._table(), refresh=True)

    async def _print_lines(self) -> None:
        while True:
            await asyncio.sleep(LINE_S)
            self._print()
