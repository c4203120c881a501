"""Threads for calls that block, when nobody knows for how long."""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

Answer = TypeVar("Answer")


class Threads:
    """A few threads that end with the process, whatever they are waiting for.

    A database that is frozen answers nothing for as long as it likes; the threads of ``asyncio.to_thread``
    would keep the process from ending until then.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count, self._name = count, name
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._started = False

    async def do(self, call: Callable[..., Answer], *args: Any) -> Answer:
        """The answer of ``call(*args)``. Cancelled while it waits for its turn, it is not called."""
        self._start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Answer] = loop.create_future()
        self._calls.put(partial(_answer, loop, future, partial(call, *args)))
        return await future

    def close(self) -> None:
        """No more calls; those that have begun go on."""
        for _ in range(self._count if self._started else 0):
            self._calls.put(None)
        self._started = False

    def _start(self) -> None:
        if not self._started:
            self._started = True
            for number in range(self._count):
                threading.Thread(target=self._work, name=f"{self._name}-{number}", daemon=True).start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def _answer(
    loop: asyncio.AbstractEventLoop, future: "asyncio.Future[Answer]", call: Callable[[], Answer]
) -> None:
    if future.cancelled():
        return
    try:
        tell = partial(_tell, future, call(), None)
    except Exception as failed:  # noqa: BLE001 - it belongs to whoever waits
        tell = partial(_tell, future, None, failed)
    with contextlib.suppress(RuntimeError):  # the loop is closed, and nobody waits
        loop.call_soon_threadsafe(tell)


def _tell(future: "asyncio.Future[Any]", answer: Any, failed: Exception | None) -> None:
    if future.done():
        return
    if failed is None:
        future.set_result(answer)
    else:
        future.set_exception(failed)
