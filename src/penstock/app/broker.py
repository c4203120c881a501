"""The broker of a URL."""

import importlib

from prometheus_client import CollectorRegistry

from penstock.core.clock import system_clock
from penstock.core.errors import ErrorCode, PenstockError
from penstock.ports import Broker, BrokerOptions
from penstock.settings import Settings
from penstock.telemetry.broker import observed


def make_broker(settings: Settings, registry: CollectorRegistry) -> Broker:
    """The broker of the URL's scheme, counted and timed; opens nothing yet."""
    scheme = settings.broker_url.partition("://")[0]
    name = f"penstock.brokers.{scheme}"
    try:
        adapter = importlib.import_module(name)
    except ModuleNotFoundError as missing:
        if not f"{name}.".startswith(f"{missing.name}."):
            raise  # the adapter is there, its driver is not
        message = f"no broker speaks {scheme!r}; PENSTOCK_BROKER_URL starts with sqlite://"
        raise PenstockError(ErrorCode.INVALID_REQUEST, message) from None
    options = BrokerOptions(
        lease_ms=settings.lease,
        timeout_s=settings.broker_timeout / 1000,
        keep_jobs_ms=settings.keep_results,
        keep_events_ms=settings.keep_events,
    )
    broker: Broker = adapter.connect(settings.broker_url, options, system_clock)
    return observed(broker, registry)
