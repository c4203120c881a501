"""Who waits and before whom, from the answers of ``lua/ahead.lua`` and ``lua/clients.lua``."""

from typing import Any

from penstock.brokers.redis.digits import id_text
from penstock.brokers.redis.records import read_spec
from penstock.core.forecast import Ahead, LineAhead, ahead
from penstock.ports import ClientWaits

_FIELDS = 5


def read_ahead(found: list[Any] | None) -> Ahead | None:
    """One job's entry; None for a job that does not wait."""
    if found is None:
        return None
    client, stride, *rest = found
    lines = [_line(*rest[at : at + _FIELDS]) for at in range(0, len(rest), _FIELDS)]
    return ahead(client, stride, lines)


def _line(client: bytes, stride: int, before: int, beside: int, tasks: list[bytes]) -> LineAhead:
    return LineAhead(
        client=client,
        stride=stride,
        before=before,
        beside=beside,
        tasks=[task.decode("utf-8", "replace") for task in tasks],
    )


def read_clients(found: list[Any]) -> list[ClientWaits]:
    """A client's name is known from one of its jobs."""
    return [
        ClientWaits(queue=queue.decode(), client=read_spec(_NO_ID, stored).client or "", jobs=jobs)
        for queue, stored, jobs in zip(*[iter(found)] * 3, strict=True)
    ]


_NO_ID = id_text(bytes(16))
