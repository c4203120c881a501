"""Where the primary is now: at a fixed address, where Sentinel says, or where a cluster keeps our slot."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import hiredis

from penstock.brokers.redis.line import Line, ask, closed_unless_good, dial
from penstock.brokers.redis.url import Address, Target

DIRECTORY_S = 1.0
"""Longest that one sentinel or cluster node is waited for before the next one is asked."""


async def call_primary(target: Target, tag: str) -> Line:
    """A connection to the server that may write the keys of ``tag`` (the namespace in braces).

    Raises OSError or `hiredis.ReplyError` when there is none at this moment.
    """
    if target.kind == "alone":
        return await dial(target.addresses[0], target)
    if target.kind == "sentinel":
        address = await _first(target, lambda line, _: _by_sentinel(line, target.service), sentinel=True)
    else:
        address = await _first(target, lambda line, asked: _by_slot(line, asked, tag), sentinel=False)
    line = await dial(address, target)
    with closed_unless_good(line):
        await _insist_on_primary(line)
    return line


Question = Callable[[Line, Address], Awaitable[Address]]


async def _first(target: Target, question: Question, *, sentinel: bool) -> Address:
    """The first answer that any of the known addresses gives."""
    problems = []
    for address in target.addresses:
        try:
            async with asyncio.timeout(DIRECTORY_S):
                line = await dial(address, target, sentinel=sentinel)
                try:
                    return await question(line, address)
                finally:
                    line.close()
        except (OSError, hiredis.ReplyError) as failed:
            problems.append(f"{address[0]}:{address[1]}: {str(failed) or type(failed).__name__}")
    raise ConnectionError("; ".join(problems))


async def _by_sentinel(line: Line, service: str) -> Address:
    found = await ask(line, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", service)
    if found is None:
        raise ConnectionError(f"knows no primary {service!r}")
    return found[0].decode(), int(found[1])


async def _by_slot(line: Line, asked: Address, tag: str) -> Address:
    slot = await ask(line, "CLUSTER", "KEYSLOT", tag)
    for first, last, (host, port, *_), *_ in await ask(line, "CLUSTER", "SLOTS"):
        if first <= slot <= last:
            return host.decode() or asked[0], port
    raise ConnectionError(f"no node serves slot {slot}")


async def _insist_on_primary(line: Line) -> None:
    """Right after a failover, a directory may still name the server that was demoted."""
    role: Any = await ask(line, "ROLE")
    if role[0] != b"master":
        raise ConnectionError(f"is a {role[0].decode()}, not the primary")
