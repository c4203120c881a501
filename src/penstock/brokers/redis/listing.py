"""Lists of jobs, newest first. The server only hands out pieces; looking through them happens here.

There is no index per task or queue: one would cost every job memory and time for the sake of a page
that somebody looks at now and then. Rare states are found where they are kept, the others by going
through the spans of time in which ids were made, from the newest on.
"""

from collections.abc import AsyncIterator

from penstock.brokers.redis.digits import id_bytes, id_texts
from penstock.brokers.redis.link import Link
from penstock.brokers.redis.records import may_match, read_jobs
from penstock.core.job import Job, State
from penstock.ports import JobQuery

PAGE = 1_000
SPAN = 5
"""Bytes of an id that name its span of 256 ms."""

BEYOND = b"\xff" * 16


async def find(link: Link, query: JobQuery) -> list[Job]:
    """See `Broker.find`."""
    found: list[Job] = []
    async for page in _candidates(link, query):
        clock, specs, records, *others = await link.call("get", b"".join(page), 0)
        wanted = [n for n, stored in enumerate(specs) if stored and may_match(stored, records[n], query)]
        parts = [[part[n] for n in wanted] if part else part for part in (specs, records, *others)]
        ids = id_texts(b"".join([page[n] for n in wanted]))
        found += [job for job in read_jobs(ids, [clock, *parts]) if job and _matches(job, query)]
        if len(found) >= query.limit:
            break
    return found[: query.limit]


def _matches(job: Job, query: JobQuery) -> bool:
    """What only a job that has been read shows."""
    ended = job.finished_at or 0
    return (
        query.code in {None, job.error and job.error.code}
        and (query.ended_after is None or ended >= query.ended_after)
        and (query.ended_before is None or 0 < ended < query.ended_before)
    )


async def _candidates(link: Link, query: JobQuery) -> AsyncIterator[list[bytes]]:
    """Pages of ids below ``query.before``, newest first, among which all that match are."""
    before = BEYOND if query.before is None else id_bytes(query.before)
    if before is None:
        return
    if query.parent_id is not None:
        pieces = _parts(link, [id_bytes(query.parent_id) or b""])
    elif query.parts:
        pieces = _all(link, before)
    elif query.state in {State.FAILED, State.CANCELLED}:
        pieces = _ended_badly(link, before)
    elif query.state is State.RUNNING:
        pieces = _running(link)
    else:
        pieces = _spans(link, before)
    # The first page may have all that is asked for; if it has not, whoever looks will look at many.
    size = min(PAGE, max(query.limit, 50))
    rest: list[bytes] = []
    async for piece in pieces:
        rest += sorted((each for each in piece if each < before), reverse=True)
        while len(rest) >= size:
            yield rest[:size]
            rest, size = rest[size:], PAGE
    if rest:
        yield rest


async def _ended_badly(link: Link, before: bytes) -> AsyncIterator[list[bytes]]:
    while page := await link.ask(
        "ZREVRANGEBYLEX", link.key("ended_badly"), b"(" + before, "-", "LIMIT", 0, PAGE
    ):
        yield page
        before = page[-1]


async def _running(link: Link) -> AsyncIterator[list[bytes]]:
    workers = await link.ask("ZRANGE", link.key("leases"), 0, -1)
    held = [await link.ask("HVALS", link.key("held:") + worker.decode()) for worker in workers]
    running = {each for ids in held for each in ids}
    parts = await link.ask("HMGET", link.key("part_of"), *running) if running else []
    running -= {each for each, part in zip(list(running), parts, strict=True) if part}
    yield list(
        running.union(await link.ask("HKEYS", link.key("families")))
    )  # of these some wait for their parts


async def _parts(link: Link, parents: list[bytes]) -> AsyncIterator[list[bytes]]:
    found: list[bytes] = []
    for parent in parents:
        _, ids = await link.call("parts", parent)
        found += [ids[at : at + 16] for at in range(0, len(ids), 16)]
    yield found


async def _all(link: Link, before: bytes) -> AsyncIterator[list[bytes]]:
    """Jobs and parts, which have no order among each other: ids only, in one piece."""
    found = [each async for piece in _spans(link, before) for each in piece]
    parents = await link.ask("HKEYS", link.key("families"))
    yield found + [each async for piece in _parts(link, parents) for each in piece]


async def _spans(link: Link, before: bytes) -> AsyncIterator[list[bytes]]:
    bound = b"[" + before[:SPAN]
    while spans := await link.ask("ZREVRANGEBYLEX", link.key("spans"), bound, "-", "LIMIT", 0, PAGE):
        for span in spans:
            yield await link.ask("LRANGE", link.key("ids:").encode() + span, 0, -1)
        bound = b"(" + spans[-1]
