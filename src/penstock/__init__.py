"""Penstock turns CPU-heavy Python functions into durable jobs."""

from importlib.metadata import version

from penstock.client import AsyncClient, Client, Executor, JobFailed
from penstock.core.errors import PenstockError
from penstock.core.progress import DoNotRetry, JobCancelled, Progress, SoftTimeout
from penstock.core.submission import JobView
from penstock.core.task import Task, task

__all__ = [
    "AsyncClient",
    "Client",
    "DoNotRetry",
    "Executor",
    "JobCancelled",
    "JobFailed",
    "JobView",
    "PenstockError",
    "Progress",
    "SoftTimeout",
    "Task",
    "__version__",
    "task",
]
__version__ = version("penstock")
