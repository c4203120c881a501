"""What the operator decides about a worker, in one value."""

import msgspec


class SlotPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """``memory_bytes``: an attempt whose process grows beyond it is killed, unless its task says else.

    A child is replaced after ``recycle_after`` attempts or when it rests above ``recycle_bytes``.
    """

    memory_bytes: int
    recycle_after: int = 100
    recycle_bytes: int = 2**30


class WorkerPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """``slots`` attempts at a time from ``queues``; a stopping worker lets them finish for ``drain_s``.

    The lease is renewed every ``renew_s``.
    """

    slots: int
    queues: tuple[str, ...]
    drain_s: float
    renew_s: float = 1.0
    slot: SlotPolicy
