"""What a supervisor and a child process say to one another about attempts.

`Batch`, `CancelRun` and `Recall` go down to the child, each a length-prefixed msgpack value. The others
come up, in length-prefixed msgpack arrays. A child runs what it was sent in order, so the first
unanswered attempt is the one that is running.
"""

import msgspec

from penstock.core.job import JobProgress


class Run(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Run one attempt of a task on canonical JSON parameters, within so much time and CPU time."""

    job_id: str
    token: int
    attempt: int
    task: str
    params: bytes
    timeout_ms: int | None = None
    threads: int = 1
    cpu_ms: int | None = None


class Batch(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Attempts to be run one after the other."""

    runs: tuple[Run, ...]


class CancelRun(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The job of this attempt was cancelled; the task learns it through its `Progress`."""

    token: int


class Recall(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Give back every attempt that was not begun."""


class Done(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The attempt returned; ``result`` is JSON."""

    token: int
    result: bytes
    elapsed_us: int = 0


class Fault(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The attempt ended with an exception; ``permanent`` means that a retry cannot help."""

    token: int
    code: str
    message: str
    detail: str
    permanent: bool = False
    elapsed_us: int = 0


class Note(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The running attempt's progress."""

    token: int
    progress: JobProgress


class Line(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """A line that the running attempt logged or printed."""

    token: int
    stream: str
    text: str


class Recalled(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Answer to a recall: these attempts were not begun and will not be."""

    tokens: tuple[int, ...]


class Ready(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The child has started and takes work."""

    pid: int


FromChild = Done | Fault | Note | Line | Recalled | Ready
