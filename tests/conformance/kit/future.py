"""Writes into a store as a newer release may: fields, priorities, states and events that nobody here knows.

A job is first submitted in the usual way, and then what is stored of it is changed.
"""

import contextlib
import json
import sqlite3
from typing import Any, Protocol

import msgspec

from kit.backends import Backend, RedisBackend, SqliteBackend
from penstock.brokers.redis.digits import id_bytes
from penstock.brokers.redis.records import _STAMP, _Fixed
from support.redis_groups import Cluster, SentinelGroup


class Future(Protocol):
    """A newer release at work on one store."""

    def more_fields(self, job_id: str) -> None:
        """The job's fixed part has fields of a later day."""

    def priority(self, job_id: str) -> None:
        """The job has a priority that is none here."""

    def state(self, job_id: str) -> None:
        """The job is in a state that is none here, has left the line and is counted there."""

    def event(self, job_id: str) -> None:
        """The feed tells of the job what cannot be told here."""

    def schema(self) -> None:
        """The store has a layout of its own."""


def future_of(backend: Backend) -> Future:
    """The one that writes to this store."""
    return InFile(backend) if isinstance(backend, SqliteBackend) else OnServer(backend)


class InFile:
    """On SQLite."""

    def __init__(self, backend: SqliteBackend) -> None:
        self._path = backend.path

    def _do(self, statement: str, *values: Any) -> list[Any]:
        with contextlib.closing(sqlite3.connect(self._path, isolation_level=None)) as connection:
            return connection.execute(statement, values).fetchall()

    def _respec(self, job_id: str, **changes: Any) -> None:
        (n, body), *_ = self._do("SELECT n, body FROM specs JOIN jobs USING (n) WHERE id = ?", job_id)
        self._do("UPDATE specs SET body = ? WHERE n = ?", json.dumps(json.loads(body) | changes).encode(), n)

    def more_fields(self, job_id: str) -> None:
        self._respec(job_id, colour="red", limits={"max_attempts": 2, "gpu": 1})
        with contextlib.suppress(sqlite3.OperationalError):
            self._do("ALTER TABLE jobs ADD COLUMN colour TEXT DEFAULT 'red'")

    def priority(self, job_id: str) -> None:
        self._respec(job_id, priority="urgent")

    def state(self, job_id: str) -> None:
        self._do("UPDATE jobs SET state = 'parked' WHERE id = ?", job_id)
        self._do("UPDATE depths SET jobs = jobs - 1 WHERE state = 'queued'")
        self._do("INSERT INTO depths VALUES ('default', 'parked', 1)")

    def event(self, job_id: str) -> None:
        self._do("INSERT INTO events (at, job_id, kind, data) VALUES (1, ?, 'parked', '{}')", job_id)

    def schema(self) -> None:
        self._do("PRAGMA user_version = 2")


class OnServer:
    """On Redis and its like."""

    def __init__(self, backend: RedisBackend) -> None:
        self._server = backend.server
        self._base = f"{{{backend.namespace}}}"

    def _do(self, command: str, key: str, *values: Any) -> Any:
        key = f"{self._base}:{key}"
        server = self._server
        if isinstance(server, Cluster):
            server = server.owner(self._base)
        elif isinstance(server, SentinelGroup):
            server = server.primary
        with server.client(decode_responses=False) as client:
            return client.execute_command(command, key, *values)

    def _respec(self, job_id: str, change: Any) -> None:
        stored = self._do("HGET", "specs", id_bytes(job_id))
        body = _STAMP + stored[9]
        fields = msgspec.msgpack.decode(stored[body:])
        changed = stored[:body] + msgspec.msgpack.encode(change(fields))
        self._do("HSET", "specs", id_bytes(job_id), changed)

    def more_fields(self, job_id: str) -> None:
        limits = msgspec.msgpack.encode({"max_attempts": 2, "gpu": 1})
        rest = [*_Fixed.__struct_defaults__, "red", {"a": 1}]
        self._respec(job_id, lambda fields: [*fields[:4], limits, *fields[5:7], *rest])

    def priority(self, job_id: str) -> None:
        self._respec(job_id, lambda fields: [*fields[:3], 3, *fields[4:]])

    def state(self, job_id: str) -> None:
        raw = id_bytes(job_id)
        self._do("ZREM", "queue:default", raw)
        self._do("HSET", "jobs", raw, b"\x06" + bytes(36) + b"\x07default")
        self._do("HINCRBY", "depths", "1default", -1)
        self._do("HINCRBY", "depths", "6default", 1)

    def event(self, job_id: str) -> None:
        self._do("XADD", "events", "*", "h", b"z" + bytes(6), "i", id_bytes(job_id), "d", b"")

    def schema(self) -> None:
        self._do("HSET", "meta", "schema", 2)
