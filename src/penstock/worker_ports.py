"""What a worker needs of its machine: child processes, and a disk for outcomes the broker cannot take."""

from collections.abc import Callable, Generator, Sequence
from typing import Protocol

import msgspec

from penstock.core.attempt import FromChild, Reply, Run
from penstock.core.lifecycle import Settlement


class Leftover(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker that died had spooled, ours until the next one is asked for or the search ends.

    ``spoilt`` counts lines that cannot be understood. ``remove`` forgets all of it, to be called when it
    is settled; otherwise it is found again.
    """

    name: str
    settlements: tuple[Settlement, ...]
    spoilt: int
    remove: Callable[[], None]


class Spool(Protocol):
    """Keeps the outcomes that the broker cannot take, on a disk that outlives the process.

    Every call blocks for the disk and raises OSError when that fails; then nothing of it was kept.
    """

    def keep(self, settlements: Sequence[Settlement]) -> int:
        """Keep them; how many had room. They outlive a power cut when this returns."""
        ...

    def clear(self) -> None:
        """Forget what was kept: all of it is settled."""
        ...

    def close(self) -> None:
        """Leave what was kept to the next worker."""
        ...

    def leftovers(self) -> Generator[Leftover, None, None]:
        """What dead workers of this machine left for the same broker, each given to one asker only."""
        ...


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How a child process ended. ``status`` is its exit code, negative for a signal, None if unknown."""

    status: int | None
    max_rss: int = 0


class Child(Protocol):
    """One child process: a slot's body. It can be killed at any time without touching its neighbours."""

    pid: int

    def send(self, runs: Sequence[Run]) -> None:
        """Run these attempts after those sent before."""
        ...

    def cancel(self, token: int) -> None:
        """Tell the running attempt that it was cancelled (cooperative)."""
        ...

    def reply(self, reply: Reply) -> None:
        """Answer a request of the running attempt."""
        ...

    def recall(self) -> None:
        """Give back every attempt that was not begun; answered by `Recalled`."""
        ...

    def look(self) -> None:
        """Hear now what it has answered but not sent yet."""
        ...

    def terminate(self) -> None:
        """SIGTERM: raise in the running attempt."""
        ...

    def kill(self) -> None:
        """SIGKILL."""
        ...

    def close(self) -> None:
        """No more work: the child exits when it has nothing left to run."""
        ...

    def rss(self) -> int:
        """Resident memory in bytes now, 0 if it has ended."""
        ...

    def cpu_ms(self) -> float:
        """CPU time it has used so far, and those of its own children that have ended; 0 if it has ended."""
        ...


class Executor(Protocol):
    """Starts children that have the tasks imported."""

    async def start(self) -> None:
        """Import the tasks once; raises `PenstockError` naming a module that cannot be imported."""
        ...

    async def spawn(self, on_message: Callable[[FromChild], None], on_exit: Callable[[Exit], None]) -> Child:
        """A new child. Both callbacks run on the event loop; ``on_exit`` comes last, exactly once."""
        ...

    async def stop(self) -> None:
        """Kill what is left and end."""
        ...
