"""``lose-broker``: the broker goes away under load, again and again.

A Redis of the experiment's own is killed and started again; the file of SQLite is blocked by its lock.
"""

import asyncio

from penstock.cli.experiments import promises as common
from penstock.cli.experiments.ledger import Ledger
from penstock.cli.experiments.plan import Plan
from penstock.cli.experiments.promises import Promise
from penstock.cli.experiments.stage import Stage

PROVES = "nothing accepted is lost when the broker dies under load, and workers take jobs again"
PLAN = Plan(messages=300, parallel=20, kill_after=10, delay_ms=100, rounds=3, outage_s=3.0)
REMOTE = False
AT_MOST_ONCE = False


async def run(stage: Stage) -> None:
    """In each round half of its messages are sent before the outage, the others during it."""
    plan = stage.plan
    for turn, share in enumerate(_shares(plan.messages, plan.rounds)):
        await stage.send(share // 2)
        await stage.dequeued(
            min(plan.kill_after, share // 2) + sum(_shares(plan.messages, plan.rounds)[:turn])
        )
        stage.board.say(f"outage {turn + 1} of {plan.rounds}")
        async with stage.disturbed(f"broker away ({stage.broker.outage_kind})"), stage.broker.outage():
            sending = stage.in_background(stage.send(share - share // 2))
            await asyncio.sleep(plan.outage_s)
        stage.board.say("broker is back")
        await sending
        await stage.settled()


def _shares(messages: int, rounds: int) -> list[int]:
    return [messages // rounds + (number < messages % rounds) for number in range(rounds)]


def promises(ledger: Ledger, plan: Plan) -> list[Promise]:
    """The outages were felt by those who sent during them, and jobs were taken again after each."""
    # Beyond the time that a broker call may take, 5 s, the answer is 503.
    expected_ms = min(plan.outage_s, 4.0) * 800
    longest_ms = ledger.answer_ms.max if ledger.answer_ms else 0.0
    felt = Promise("the outages were felt", longest_ms >= expected_ms, f"an answer took {longest_ms} ms")
    return [felt, common.recovered(ledger)]
