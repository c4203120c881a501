"""What every route is given."""

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry

from penstock.api.entrance import Entrance
from penstock.service.archive import Archive
from penstock.service.desk import Desk


@dataclass(frozen=True)
class Office:
    """The node's desk, its metrics, and what it says of itself at ``/whoami``.

    ``archive`` is None where history is switched off.
    """

    desk: Desk
    registry: CollectorRegistry
    node: str
    host: str
    version: str
    max_body: int
    entrance: Entrance = field(default_factory=Entrance)
    archive: Archive | None = None
