"""The broker's figures from the answer of ``lua/stats.lua``."""

from collections import Counter
from typing import Any

import msgspec

from penstock.brokers.redis.records import STATES
from penstock.brokers.redis.sharing import read_cache
from penstock.core import drain
from penstock.core.job import State, WorkerInfo
from penstock.ports import QueueStats, Stats, WorkerStats

_decode_worker = msgspec.json.Decoder(WorkerInfo).decode


def read_stats(answer: list[Any], warnings: tuple[str, ...], max_depth: int) -> Stats:
    """Depths as the verbs counted them, ages from the head of each line, workers with their leases.

    ``max_depth`` is that of queues without a limit of their own.
    """
    _, now, counted, paused, heads, told, seen, leases, holding, limited, lately, cache, entries = answer
    depths: dict[str, dict[State, int]] = {}
    states: Counter[str] = Counter()
    for field, jobs in _pairs(counted):
        place = field[0] - ord("0")
        if place >= len(STATES):
            continue  # a state of a newer release
        queue, state = field[1:].decode(), STATES[place]
        depths.setdefault(queue, {})[state] = int(jobs)
        states[state] += int(jobs)
    stopped = {queue.decode() for queue in paused}
    ages = {queue.decode(): max(0, now - due) for queue, due in _pairs(heads)}
    limits = {queue.decode(): int(limit) for queue, limit in _pairs(limited)}
    rates = {queue.decode(): drain.per_second(ended, now) for queue, ended in lately}
    queues = tuple(
        QueueStats(
            name=name,
            scheduled=depths.get(name, {}).get(State.SCHEDULED, 0),
            queued=depths.get(name, {}).get(State.QUEUED, 0),
            running=depths.get(name, {}).get(State.RUNNING, 0),
            oldest_age_ms=ages.get(name, 0),
            paused=name in stopped,
            max_depth=limits.get(name, max_depth),
            drain_per_s=rates.get(name, 0.0),
        )
        for name in sorted(depths.keys() | stopped | limits.keys())
    )
    workers = _workers(now, told, seen, leases, holding)
    return Stats(
        states=dict(states),
        queues=queues,
        workers=workers,
        warnings=warnings,
        cache=read_cache(dict(_pairs(cache)), entries),
    )


def _workers(
    now: int, told: list[bytes], seen: list[bytes], leases: list[bytes], holding: list[int]
) -> tuple[WorkerStats, ...]:
    last = {worker: int(at) for worker, at in _pairs(seen)}
    until = {worker: float(lapse) for worker, lapse in _pairs(leases)}
    found = [
        WorkerStats(
            info=_decode_worker(word),
            running=running,
            live=until.get(worker, 0) >= now,
            seen_at=last.get(worker, 0),
        )
        for (worker, word), running in zip(_pairs(told), holding, strict=True)
    ]
    return tuple(sorted(found, key=lambda each: each.info.id))


def _pairs(flat: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(flat[::2], flat[1::2], strict=True))
