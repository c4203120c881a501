"""``restart-persistence``: everything is killed and started again while messages wait."""

from penstock.cli.experiments import promises as common
from penstock.cli.experiments.ledger import Ledger
from penstock.cli.experiments.plan import Plan
from penstock.cli.experiments.promises import Promise
from penstock.cli.experiments.stage import Stage

PROVES = "messages outlive the death of API, workers and (its own) broker at the same time"
PLAN = Plan(messages=20, parallel=10, kill_after=2, delay_ms=500, slots=2)
REMOTE = False
AT_MOST_ONCE = True


async def run(stage: Stage) -> None:
    """Send everything, wait for the first dequeues, kill -9 all there is, start it again."""
    await stage.send(stage.plan.messages)
    await stage.dequeued(stage.plan.kill_after)
    stage.board.say("killing everything")
    async with stage.disturbed("everything killed"):
        for program in (stage.api, *stage.workers):
            await program.kill()
        await stage.broker.restart()
        for program in (stage.api, *stage.workers):
            await program.start()


def promises(ledger: Ledger, plan: Plan) -> list[Promise]:
    """Work went on, and there was some left to go on with."""
    del plan
    return [common.interrupted(ledger), common.recovered(ledger)]
