"""The Python client: messages without I/O, and two thin shells that send them."""

from penstock.client.gathering import JobFailed
from penstock.client.shells import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "JobFailed"]
