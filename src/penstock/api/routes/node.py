"""The node itself: who it is, whether it is well, its metrics."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest

from penstock.api.gauges import CacheCollector
from penstock.api.health import health_of
from penstock.api.office import Office
from penstock.api.routing import make_router
from penstock.api.wire import answer
from penstock.core.errors import PenstockError
from penstock.ports import Stats
from penstock.service.desk import Desk


def router(office: Office) -> APIRouter:
    """Health, identity and metrics."""
    routes = make_router("node")
    desk = office.desk
    gauges = _Gauges(office)

    @routes.get("/whoami")
    async def whoami() -> dict[str, Any]:
        """Which node answers."""
        return {"node": office.node, "host": office.host, "version": office.version}

    @routes.head("/livez", include_in_schema=False)
    @routes.get("/livez")
    async def livez() -> dict[str, str]:
        """200 as long as this process answers at all."""
        return {"status": "ok"}

    @routes.head("/healthz", include_in_schema=False)
    @routes.get("/healthz")
    async def healthz() -> Response:
        """200 when this node can take jobs, 503 when its broker is away or it is about to stop."""
        trouble = await _trouble(desk)
        return answer(trouble, 503, {"Retry-After": "1"}) if trouble else answer({"status": "ok"})

    @routes.get("/health")
    async def health() -> Response:
        """How things are; ``degraded`` when the broker is away or no worker is live, history or not."""
        return answer(await health_of(office))

    @routes.get("/metrics", responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}})
    async def metrics() -> Response:
        """Prometheus text format."""
        if office.archive is not None:
            gauges.show_history(await office.archive.status())
        try:
            gauges.show(await desk.stats())
        except PenstockError:
            gauges.down()
        return Response(generate_latest(office.registry), media_type=CONTENT_TYPE_LATEST)

    return routes


async def _trouble(desk: Desk) -> dict[str, str]:
    """Why this node should be given no jobs, nothing if it should."""
    if desk.leaving:
        return {"status": "leaving", "reason": "this node is stopping"}
    try:
        await desk.ready()
    except PenstockError as failed:
        return {"status": "unavailable", "reason": failed.message}
    return {}


class _Gauges:
    """Figures of the whole system, read from the broker when somebody scrapes."""

    def __init__(self, office: Office) -> None:
        registry = office.registry
        self.broker_up = Gauge("penstock_broker_up", "1 if the broker answers.", registry=registry)
        self._jobs = Gauge("penstock_jobs", "Jobs by queue and state.", ["queue", "state"], registry=registry)
        self._age = Gauge(
            "penstock_queue_age_seconds",
            "Wait of the job at the head of the line.",
            ["queue"],
            registry=registry,
        )
        self._workers = Gauge("penstock_workers", "Live workers.", registry=registry)
        self._limits = Gauge("penstock_queue_max_depth", "Jobs that may wait.", ["queue"], registry=registry)
        self._drain = Gauge(
            "penstock_queue_drain_per_second", "Jobs that ended lately.", ["queue"], registry=registry
        )
        self._cache = CacheCollector(registry)
        self._slots = Gauge("penstock_slots", "Slots of live workers.", ["use"], registry=registry)
        self._history_up = Gauge(
            "penstock_history_up", "1 if the database of history answers.", registry=registry
        )
        self._history_lag = Gauge(
            "penstock_history_lag_seconds", "Age of what is not recorded yet.", registry=registry
        )
        self._history_rows = Gauge(
            "penstock_history_jobs", "Jobs in history, counted once a minute.", registry=registry
        )

    def show_history(self, told: Mapping[str, Any]) -> None:
        self._history_up.set(told["connected"])
        self._history_lag.set(told["lag_s"] or 0.0)
        self._history_rows.set(told["rows"] or 0)

    def down(self) -> None:
        self.broker_up.set(0)
        self._cache.show(None)

    def show(self, stats: Stats) -> None:
        self.broker_up.set(1)
        self._cache.show(stats.cache)
        for queue in stats.queues:
            for state in ("scheduled", "queued", "running"):
                self._jobs.labels(queue.name, state).set(getattr(queue, state))
            self._age.labels(queue.name).set(queue.oldest_age_ms / 1000)
            self._limits.labels(queue.name).set(queue.max_depth or 0)
            self._drain.labels(queue.name).set(queue.drain_per_s)
        live = [worker.info for worker in stats.workers if worker.live]
        self._workers.set(len(live))
        self._slots.labels("all").set(sum(worker.slots for worker in live))
        self._slots.labels("busy").set(sum(worker.busy for worker in live))
