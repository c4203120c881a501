"""A node's history: which database, and who writes it."""

import asyncio
import contextlib
import importlib
from collections.abc import AsyncIterator
from pathlib import Path

from penstock.core.errors import ErrorCode, PenstockError
from penstock.history_port import History
from penstock.ports import Broker
from penstock.service.archive import Archive
from penstock.service.recorder import Recorder, RecorderPolicy
from penstock.settings import Settings

_FILE = "sqlite:///"
_SCHEMES = (_FILE, "postgresql://", "postgres://", "postgresql+psycopg://")


def database_url(settings: Settings) -> str:
    """The database that is told, else a file beside the broker's, else one in ``.penstock``.

    Raises INVALID_REQUEST for a URL of another kind, without showing it: it may hold a password.
    """
    if settings.database_url is None:
        return f"{_FILE}{_beside(settings.broker_url)}"
    if not settings.database_url.startswith(_SCHEMES):
        message = "PENSTOCK_DATABASE_URL starts with sqlite:/// or postgresql://"
        raise PenstockError(ErrorCode.INVALID_REQUEST, message)
    return settings.database_url


def _beside(broker_url: str) -> Path:
    if not broker_url.startswith(_FILE):
        return Path(".penstock/history.db")
    broker = Path(broker_url.removeprefix(_FILE).partition("?")[0])
    return broker.with_name(f"{broker.stem}-history.db")


def make_archive(settings: Settings) -> Archive | None:
    """History for questions, None where it is switched off; opens nothing yet."""
    if not settings.history:
        return None
    url = database_url(settings)

    def make() -> History:
        # SQLAlchemy takes a quarter of a second to import; whoever never asks history is spared it.
        store = importlib.import_module("penstock.history.store")
        made: History = store.SqlHistory(url, settings.namespace)
        return made

    return Archive(make)


@contextlib.asynccontextmanager
async def kept(
    archive: Archive | None, broker: Broker, settings: Settings, *, recording: bool
) -> AsyncIterator[None]:
    """Inside it history is written, if it is kept and this process is one that does it."""
    if archive is None:
        yield
        return
    writing = None
    if recording:
        policy = RecorderPolicy(
            keep_ms=settings.keep_history,
            keep_results_ms=settings.keep_results,
            keep_events_ms=settings.keep_events,
            parts=settings.history_parts,
        )
        writing = asyncio.create_task(Recorder(broker, archive, settings.node, policy).run())
    try:
        yield
    finally:
        if writing is not None:
            writing.cancel()
            await asyncio.wait({writing})
        await archive.close()
