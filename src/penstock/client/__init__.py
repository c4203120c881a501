"""The Python client: messages without I/O, two thin shells that send them, and an executor over jobs."""

from penstock.client.asynchronous import AsyncClient
from penstock.client.blocking import Client
from penstock.client.executor import Executor
from penstock.client.feed import JobEvent
from penstock.client.future import JobFuture
from penstock.client.gathering import JobFailed

__all__ = ["AsyncClient", "Client", "Executor", "JobEvent", "JobFailed", "JobFuture"]
