"""``penstock cancel ID…``."""

import typer

from penstock.cli.many import for_each
from penstock.client import AsyncClient


def command() -> typer.Typer:
    """Cancel jobs."""
    text = "Cancel jobs: waiting ones end at once, running ones are stopped within seconds."
    return for_each(text, AsyncClient.cancel)
