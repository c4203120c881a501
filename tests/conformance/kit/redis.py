"""For tests of the broker on Redis alone: brokers by URL, and all that a server keeps."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import redis

from kit.backends import RedisBackend
from penstock.brokers.redis import RedisBroker, connect
from penstock.core.clock import Clock, system_clock
from penstock.ports import BrokerOptions
from support.redis_groups import Cluster
from support.redis_server import RedisServer

EVERY_KIND = ("redis", "valkey", "sentinel", "cluster")

Contents = dict[bytes, Any]


@contextlib.asynccontextmanager
async def opened(url: str, clock: Clock = system_clock, **options: Any) -> AsyncIterator[RedisBroker]:
    """A broker on this URL; ``options`` are those of `BrokerOptions`."""
    broker = connect(url, BrokerOptions(**options), clock)
    try:
        await broker.open()
        yield broker
    finally:
        await broker.close()


def owner(backend: RedisBackend) -> RedisServer:
    """The server that keeps the jobs of this namespace."""
    if isinstance(backend.server, RedisServer):
        return backend.server
    return backend.server.owner(f"{{{backend.namespace}}}")


def writable(backend: RedisBackend) -> list[RedisServer]:
    """Every server that takes writes to some key."""
    return backend.server.servers if isinstance(backend.server, Cluster) else [owner(backend)]


def contents(server: RedisServer, pattern: str = "*") -> Contents:
    """Every key of database 0 that fits, with its value down to the last field."""
    with server.client(decode_responses=False) as client:
        return {key: _value(client, key) for key in client.scan_iter(match=pattern, count=1_000)}


def _value(client: "redis.Redis", key: bytes) -> Any:
    kind = client.type(key).decode()
    match kind:
        case "hash":
            return client.hgetall(key)
        case "zset":
            return client.zrange(key, 0, -1, withscores=True)
        case "set":
            return client.smembers(key)
        case "list":
            return client.lrange(key, 0, -1)
        case "stream":
            return client.xrange(key)
    raise AssertionError(f"the broker keeps nothing in a {kind}: {key!r}")
