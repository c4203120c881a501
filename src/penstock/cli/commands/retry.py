"""``penstock retry ID…``."""

import typer

from penstock.cli.many import for_each
from penstock.client import AsyncClient


def command() -> typer.Typer:
    """Retry jobs."""
    return for_each("Queue failed or cancelled jobs anew, with all their attempts.", AsyncClient.retry)
