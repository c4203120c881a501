"""``slam-api``: many requests at a time."""

from penstock.cli.experiments.ledger import Ledger
from penstock.cli.experiments.plan import Plan
from penstock.cli.experiments.promises import Promise
from penstock.cli.experiments.stage import Stage

PROVES = "the API answers every one of many parallel requests with 2xx, and keeps what it accepted"
PLAN = Plan(messages=1000, parallel=100, kill_after=0)
REMOTE = True
AT_MOST_ONCE = False


async def run(stage: Stage) -> None:
    """Send everything as fast as it is answered."""
    await stage.send(stage.plan.messages)


def promises(ledger: Ledger, plan: Plan) -> list[Promise]:
    """All were answered, and well."""
    del plan
    good = sum(number for status, number in ledger.statuses.items() if status.startswith("2"))
    told = ", ".join(f"{number} x {status}" for status, number in ledger.statuses.items())
    return [Promise("every request was answered with 2xx", good == ledger.attempted, told)]
