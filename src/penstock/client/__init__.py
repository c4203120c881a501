"""The Python client: messages without I/O, two thin shells that send them, and an executor over jobs."""

from penstock.client.executor import Executor
from penstock.client.feed import JobEvent
from penstock.client.future import JobFuture
from penstock.client.gathering import JobFailed
from penstock.client.shells import AsyncClient, Client

__all__ = ["AsyncClient", "Client", "Executor", "JobEvent", "JobFailed", "JobFuture"]
