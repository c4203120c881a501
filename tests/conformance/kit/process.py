"""Another process with a broker of its own on the same store, driven line by line."""

import asyncio
import json
import sys
from types import TracebackType
from typing import Any, Self

from kit.backends import HERE, Backend
from kit.time import deadline


class OtherProcess:
    """``async with OtherProcess(backend) as other: await other.ask("submit", count=3)``."""

    def __init__(self, backend: Backend) -> None:
        self._command = [sys.executable, str(HERE / "other_process.py"), backend.module, backend.url]

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*self._command, stdin=pipe, stdout=pipe)
        assert await self.read() == "ready"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stdin.close()
        async with deadline():
            await self._process.wait()

    async def read(self) -> Any:
        """Its next answer."""
        async with deadline():
            return json.loads(await self._process.stdout.readline())

    async def ask(self, do: str, **arguments: Any) -> Any:
        """Send a command and return its answer."""
        self.send(do, **arguments)
        return await self.read()

    def send(self, do: str, **arguments: Any) -> None:
        """Send a command whose answers are read later."""
        self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")

    async def kill(self) -> list[Any]:
        """SIGKILL it; returns the answers that it had still given, without one cut in half."""
        self._process.kill()
        rest = await self._process.stdout.read()
        await self._process.wait()
        return [json.loads(line) for line in rest.splitlines(keepends=True) if line.endswith(b"\n")]
