"""Servers that all tests of one process share: started when first asked for, ended with the test run.

A test leaves no key behind, and nothing that it stopped; whatever changes a server for good, such as a
password or a failover, belongs on a server of the test's own.
"""

import functools
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from support.postgres_server import PostgresServer
from support.redis_groups import Group
from support.redis_server import RedisServer

Service = TypeVar("Service", bound=RedisServer | Group | PostgresServer)

_running = ExitStack()


@functools.cache
def shared(kind: type[Service]) -> Service:
    """The server or group of servers of this kind: ``shared(Cluster).url("t-1")``."""
    folder = Path(tempfile.mkdtemp(prefix="penstock-services-"))
    _running.callback(shutil.rmtree, folder, ignore_errors=True)
    return _running.enter_context(kind(folder))


def end_services() -> None:
    """End what was started; the next test that asks has it started anew."""
    shared.cache_clear()
    _running.close()
