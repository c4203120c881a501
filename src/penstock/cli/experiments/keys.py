"""Deletes what experiments left on a Redis or Valkey server, namespace by namespace."""

import re
from collections.abc import Callable
from typing import Any

import hiredis

from penstock.brokers.redis.directory import call_primary
from penstock.brokers.redis.line import Line, ask
from penstock.brokers.redis.url import parse
from penstock.core.errors import broker_unavailable

PREFIX = "penstock-experiment-"
"""How the namespace and the folder of every run begin."""

_NAMESPACE = re.compile(rb"\{(" + PREFIX.encode() + rb"[A-Za-z0-9\-]+)\}")
_PAGE = 1_000


async def delete_namespace(url: str, namespace: str) -> int:
    """Delete every key of this run's namespace; returns how many. Raises BROKER_UNAVAILABLE."""
    return (await _delete(url, lambda found: found == namespace, namespace)).get(namespace, 0)


async def delete_left_over(url: str, running: Callable[[str], bool]) -> dict[str, int]:
    """Delete the keys of all runs but those that are ``running``; the numbers of keys by namespace."""
    return await _delete(url, lambda found: not running(found), f"{PREFIX}any")


async def _delete(url: str, doomed: Callable[[str], bool], tag: str) -> dict[str, int]:
    target = parse(url, tag)
    deleted: dict[str, int] = {}
    try:
        line = await call_primary(target, f"{{{tag}}}")
        try:
            await _sweep(line, doomed, deleted)
        finally:
            line.close()
    except (OSError, hiredis.ReplyError) as failed:
        raise broker_unavailable(f"the broker cannot be reached: {failed}") from failed
    return deleted


async def _sweep(line: Line, doomed: Callable[[str], bool], deleted: dict[str, int]) -> None:
    cursor: Any = b"0"
    while True:
        cursor, keys = await ask(line, "SCAN", cursor, "MATCH", f"{{{PREFIX}*", "COUNT", _PAGE)
        for key in keys:
            named = _NAMESPACE.match(key)
            if named is not None and doomed(name := named[1].decode()):
                deleted[name] = deleted.get(name, 0) + await ask(line, "UNLINK", key)
        if int(cursor) == 0:
            return
