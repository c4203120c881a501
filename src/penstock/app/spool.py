"""Where a worker of these settings spools, and what lies there."""

import hashlib
from pathlib import Path

from penstock.settings import Settings
from penstock.spool.folder import FolderSpool, SpoolFile, survey

_FILE = "sqlite:///"


def worker_spool(settings: Settings, worker: str) -> FolderSpool:
    """The spool of one worker."""
    return FolderSpool(settings.spool, broker_key(settings), worker, settings.spool_limit)


def spooled(settings: Settings) -> list[SpoolFile]:
    """What workers of this machine, dead or alive, have spooled for this broker."""
    return survey(settings.spool, broker_key(settings))


def broker_key(settings: Settings) -> str:
    """Tells brokers apart in one folder: the same for every worker of a machine that uses this one."""
    scheme, _, rest = settings.broker_url.partition("://")
    place = f"{scheme}://{rest.rpartition('@')[2]}"  # a new password makes no new broker
    if place.startswith(_FILE):
        place = str(Path(place.removeprefix(_FILE).partition("?")[0]).absolute())
    return hashlib.sha256(f"{settings.namespace} {place}".encode()).hexdigest()[:16]
