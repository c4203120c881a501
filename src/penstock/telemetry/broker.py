"""A broker whose every verb is counted and timed, whatever broker it wraps."""

import time
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, cast

from prometheus_client import CollectorRegistry, Counter, Histogram

from penstock.core.errors import PenstockError
from penstock.ports import Broker

# From a memory hit to a claim that waited its whole turn.
_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


def observed(broker: Broker, registry: CollectorRegistry) -> Broker:
    """The same broker, seen by ``penstock_broker_calls_total`` and ``penstock_broker_seconds``."""
    return cast("Broker", _Observed(broker, registry))


class _Observed:
    """Wraps verbs as they are first used; a new verb of the contract needs no line here."""

    def __init__(self, broker: Broker, registry: CollectorRegistry) -> None:
        self._broker = broker
        self._calls = Counter(
            "penstock_broker_calls", "Broker verbs called.", ["verb", "outcome"], registry=registry
        )
        self._seconds = Histogram(
            "penstock_broker_seconds",
            "Time a verb took, waiting included.",
            ["verb"],
            buckets=_BUCKETS,
            registry=registry,
        )

    def __getattr__(self, name: str) -> Any:
        verb = self._timed(name, getattr(self._broker, name))
        setattr(self, name, verb)
        return verb

    def _timed(self, name: str, verb: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        seconds = self._seconds.labels(name)
        succeeded = self._calls.labels(name, "ok")

        @wraps(verb)
        async def timed(*args: Any, **kwargs: Any) -> Any:
            began = time.perf_counter()
            try:
                answer = await verb(*args, **kwargs)
            except PenstockError as refused:
                self._calls.labels(name, refused.code).inc()
                raise
            finally:
                seconds.observe(time.perf_counter() - began)
            succeeded.inc()
            return answer

        return timed
