"""What a supervisor and a child process say to one another about attempts.

`Batch`, `CancelRun`, `Recall` and `Reply` go down to the child, each a length-prefixed msgpack value. The
others come up, in length-prefixed msgpack arrays. A child runs what it was sent in order, so the first
unanswered attempt is the one that is running. An attempt that splits a job or merges its parts asks its
supervisor for what only the broker can do.
"""

import msgspec

from penstock.core.job import JobProgress


class SplitStep(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Split the job into parts, or run it whole if it is too small for that."""


class MergeStep(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Go on merging: of ``total`` parts the first ``ready`` have ended, ``merged`` are in ``partial``.

    ``block`` results are folded at a time.
    """

    partial: bytes | None
    merged: int
    ready: int
    total: int
    block: int


class Run(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Run one attempt of a task on canonical JSON parameters, within so much time and CPU time.

    ``part``: the parameters are a part's. ``step``: what is to be done with a job that has parts.
    """

    job_id: str
    token: int
    attempt: int
    task: str
    params: bytes
    timeout_ms: int | None = None
    threads: int = 1
    cpu_ms: int | None = None
    part: bool = False
    step: SplitStep | MergeStep | None = None


class Batch(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
    """Attempts to be run one after the other."""

    runs: tuple[Run, ...]


class CancelRun(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The job of this attempt was cancelled; the task learns it through its `Progress`."""

    token: int


class Recall(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Give back every attempt that was not begun."""


class Reply(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """What came of the last request. ``lost``: the attempt counts no more; ``error``: why nothing came."""

    token: int
    results: tuple[bytes | None, ...] = ()
    lost: bool = False
    error: str = ""


class Done(msgspec.Struct, frozen=True, tag=True, array_like=True, gc=False):
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


class SplitDone(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The attempt has handed out all ``total`` parts."""

    token: int
    total: int
    elapsed_us: int = 0


class MergeDone(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """The attempt has folded the first ``upto`` parts into ``partial`` (JSON)."""

    token: int
    partial: bytes
    upto: int
    progress: JobProgress
    elapsed_us: int = 0


class PartsPage(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Keep these parts (JSON parameters), numbered from ``first``; answered by `Reply`."""

    token: int
    first: int
    params: tuple[bytes, ...]


class ResultsWanted(msgspec.Struct, frozen=True, tag=True, array_like=True):
    """Bring the results of ``count`` parts from ``first`` on; answered by `Reply`."""

    token: int
    first: int
    count: int


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


Answer = Done | Fault | SplitDone | MergeDone
"""How an attempt ended: one for each."""

Request = PartsPage | ResultsWanted
ToChild = Batch | CancelRun | Recall | Reply
FromChild = Answer | Request | Note | Line | Recalled | Ready
