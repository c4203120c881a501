"""``kill-inflight``: SIGKILL to a worker and all its children in the middle of its messages."""

from penstock.cli.experiments import promises as common
from penstock.cli.experiments.ledger import Ledger
from penstock.cli.experiments.plan import Plan
from penstock.cli.experiments.promises import Promise
from penstock.cli.experiments.stage import Stage

PROVES = "a worker killed in the middle of its messages loses none and doubles none"
PLAN = Plan(messages=200, parallel=50, kill_after=10, delay_ms=500)
REMOTE = False
AT_MOST_ONCE = True


async def run(stage: Stage) -> None:
    """Kill the worker after so many dequeues and start it again, ``rounds`` times."""
    sending = stage.in_background(stage.send(stage.plan.messages))
    for turn in range(stage.plan.rounds):
        await stage.dequeued(stage.plan.kill_after * (turn + 1))
        stage.board.say("killing the worker")
        async with stage.disturbed("worker killed"):
            await stage.workers[0].kill()
            await stage.workers[0].start()
    await sending


def promises(ledger: Ledger, plan: Plan) -> list[Promise]:
    """Beside what every run promises: the kill hit something, and work went on."""
    del plan
    return [common.interrupted(ledger), common.recovered(ledger)]
