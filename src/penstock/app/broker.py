"""The broker of a URL, and how a node waits for it to be there."""

import asyncio
import importlib
import random
from typing import Any

import structlog
from prometheus_client import CollectorRegistry

from penstock.core.clock import system_clock
from penstock.core.errors import ErrorCode, PenstockError
from penstock.ports import Broker, BrokerOptions, Meter
from penstock.settings import Settings
from penstock.telemetry.broker import observed


def make_broker(settings: Settings, registry: CollectorRegistry) -> Broker:
    """The broker of the URL's scheme, counted and timed; opens nothing yet."""
    connect = _adapter(settings).connect
    broker: Broker = connect(settings.broker_url, _options(settings), system_clock)
    return observed(broker, registry)


def make_meter(settings: Settings) -> Meter | None:
    """What counts requests for all nodes of the broker, None where each has to count for itself."""
    meter = getattr(_adapter(settings), "meter", None)
    return None if meter is None else meter(settings.broker_url, _options(settings))


def _adapter(settings: Settings) -> Any:
    """The module of the URL's scheme. Raises INVALID_REQUEST for one that there is none of."""
    scheme = _scheme(settings.broker_url)
    name = f"penstock.brokers.{scheme}"
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if not f"{name}.".startswith(f"{missing.name}."):
            raise  # the adapter is there, its driver is not
        message = f"no broker speaks {scheme!r}; PENSTOCK_BROKER_URL starts with sqlite:// or redis://"
        raise PenstockError(ErrorCode.INVALID_REQUEST, message) from None


def _options(settings: Settings) -> BrokerOptions:
    return BrokerOptions(
        namespace=settings.namespace,
        lease_ms=settings.lease,
        timeout_s=settings.broker_timeout / 1000,
        keep_jobs_ms=settings.keep_results,
        keep_events_ms=settings.keep_events,
        max_depth=settings.max_depth,
    )


def _scheme(url: str) -> str:
    before, separator, _ = url.partition("://")
    if not separator:  # the whole text, which may hold a password, must not end up in a message
        raise PenstockError(ErrorCode.INVALID_REQUEST, "PENSTOCK_BROKER_URL has no ://")
    return before.partition("+")[0]


class BrokerNeverCame(PenstockError):
    """It was waited for at the start, and that was in vain."""


FIRST_PAUSE_S = 2.0
TRIES = 5


async def open_patiently(broker: Broker, url: str, first_pause_s: float = FIRST_PAUSE_S) -> None:
    """Connect, giving a server that is still starting the time to do so; a line in the log per try.

    Raises `BrokerNeverCame` after the last try; once a node is up, it waits for a lost broker for ever.
    A file is tried once: what is wrong with it does not mend itself.
    """
    if _scheme(url) == "sqlite":
        await broker.open()
        return
    log = structlog.get_logger("penstock.broker").bind(broker=without_password(url))
    for attempt in range(1, TRIES + 1):
        try:
            await broker.open()
        except PenstockError as failed:
            if failed.code is not ErrorCode.BROKER_UNAVAILABLE:
                raise
            pause_s = first_pause_s * 2 ** (attempt - 1) * random.uniform(0.75, 1.25)  # noqa: S311 - jitter
            if attempt == TRIES:
                message = f"gave up after {TRIES} tries: {failed.message}"
                raise BrokerNeverCame(failed.code, message, retry_after_s=failed.retry_after_s) from failed
            said = {"error": failed.message, "try": attempt, "of": TRIES, "again_in_s": round(pause_s, 1)}
            log.warning("broker cannot be reached", **said)
            await asyncio.sleep(pause_s)
        else:
            if attempt > 1:
                log.info("connected", **{"try": attempt})
            return


def without_password(url: str) -> str:
    """A broker's URL as it may be shown: no user, no password, no options."""
    scheme, _, rest = url.partition("?")[0].partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
