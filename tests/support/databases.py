"""The databases that history is tested on, and a recorder whose waits are short."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from penstock.service.recorder import RecorderPolicy
from support.postgres_server import PostgresServer
from support.services import shared

DATABASES: dict[str, Callable[[Path], str]] = {
    "sqlite": lambda folder: f"sqlite:///{folder / 'history.db'}",
    "postgresql": lambda _: shared(PostgresServer).url(),
}
"""By name, what makes an empty database for one test and returns its URL."""


def prompt(**policy: Any) -> RecorderPolicy:
    """A policy under which nothing is waited for long."""
    return RecorderPolicy(**{"lease_s": 0.4, "beat_s": 0.1, "gather_s": 0.01} | policy)
