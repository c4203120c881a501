"""Where the node's database is, for tasks that keep reference data there."""

import os
from pathlib import Path

from penstock.app.history import database_url
from penstock.settings import Settings

VARIABLE = "PENSTOCK_REFERENCE_URL"
"""A task can be told nothing but through the environment, which its process inherits; see decision 0024."""

_FILE = "sqlite:///"


def reference_url(settings: Settings) -> str:
    """The database of the reference data, which is that of history. Raises INVALID_REQUEST."""
    url = database_url(settings)
    return f"{_FILE}{Path(url.removeprefix(_FILE)).absolute()}" if url.startswith(_FILE) else url


def tell_tasks(settings: Settings) -> None:
    """For this process and those that it starts from now on."""
    os.environ[VARIABLE] = reference_url(settings)
