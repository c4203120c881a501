"""A random but repeatable mix of everything that can be done to jobs."""

import random
from collections import Counter

from kit.time import ManualClock
from kit.values import BROKEN, CRASHED, DONE, finish, spec
from penstock.core.job import JobSpec, Limits, Priority
from penstock.core.lifecycle import Cancelled, Claim, Failed, Lost, Released
from penstock.ports import Broker

QUEUES = ("a", "b", "c")
OUTCOMES = (DONE, DONE, BROKEN, CRASHED, Released(), Cancelled(), Failed(BROKEN.error, permanent=True))


async def churn(brokers: list[Broker], clock: ManualClock, dice: random.Random, steps: int) -> Counter[str]:
    """Do this many random things; returns how often each submitted job was claimed."""
    claimed: Counter[str] = Counter()
    running: list[Claim] = []
    for _ in range(steps):
        broker = dice.choice(brokers)
        some = dice.sample(sorted(claimed), min(2, len(claimed)))
        match dice.randrange(8):
            case 0 | 1:
                specs = [_any_spec(dice) for _ in range(dice.randint(1, 4))]
                await broker.submit(specs)
                claimed.update({one.id: 0 for one in specs})
            case 2 | 3:
                claims = await broker.claim("w", dice.sample(QUEUES, 2), dice.randint(1, 5), 0)
                claimed.update(one.spec.id for one in claims)
                running += claims
            case 4 | 5:
                ending = [running.pop(dice.randrange(len(running))) for _ in range(min(2, len(running)))]
                await broker.settle([finish(one, dice.choice(OUTCOMES), dice.random()) for one in ending])
            case 6:
                await dice.choice([broker.cancel, broker.retry])(some)
            case 7:
                clock.advance(dice.choice([1, 500, 6_000]))
                taken = await broker.reclaim("r", 10)
                await broker.settle([finish(one, Lost(one.lost_by)) for one in taken])
    return claimed


def _any_spec(dice: random.Random) -> JobSpec:
    return spec(
        queue=dice.choice(QUEUES),
        priority=dice.choice(list(Priority)),
        delay_ms=dice.choice([0, 0, 0, 300, 5_000]),
        limits=Limits(max_attempts=dice.randint(1, 3), backoff_ms=500),
    )
