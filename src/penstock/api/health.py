"""How things are, as ``/health`` and its aliases tell it."""

from collections.abc import Mapping
from typing import Any

from penstock.api.office import Office
from penstock.api.wire import queue_views
from penstock.core.errors import PenstockError


async def health_of(office: Office) -> dict[str, Any]:
    """``degraded`` when the broker is away or no worker is live, history or not; else ``ok``."""
    identity = {"node": office.node, "version": office.version, "history": await _history(office)}
    try:
        await office.desk.ready()
        stats = await office.desk.stats()
    except PenstockError as failed:
        broker = {"status": "unavailable", "reason": failed.message}
        return {"status": "degraded", "broker": broker, "workers": None, "queues": None} | identity
    live = [worker.info for worker in stats.workers if worker.live]
    workers = {"live": len(live), "slots": sum(w.slots for w in live), "busy": sum(w.busy for w in live)}
    return {
        "status": "ok" if live else "degraded",
        "broker": {"status": "ok", "warnings": stats.warnings},
        "workers": workers,
        "queues": queue_views(stats),
    } | identity


async def _history(office: Office) -> Mapping[str, Any] | None:
    """Whether history is being written; None where it is switched off."""
    if office.archive is None:
        return None
    told = await office.archive.status()
    status = {"status": "ok" if told["connected"] else "unavailable"}
    return status | {name: told[name] for name in ("lag_s", "reason") if told[name] is not None}
