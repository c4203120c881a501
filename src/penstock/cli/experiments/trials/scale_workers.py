"""``scale-workers``: several workers share one queue."""

from penstock.cli.experiments.ledger import Ledger
from penstock.cli.experiments.plan import Plan
from penstock.cli.experiments.promises import Promise
from penstock.cli.experiments.stage import Stage

PROVES = "several workers share a queue: each message exactly once, and every worker takes some"
PLAN = Plan(messages=300, parallel=80, kill_after=0, delay_ms=50, workers=3, slots=2)
REMOTE = True
AT_MOST_ONCE = False


async def run(stage: Stage) -> None:
    """Send everything; the workers were ready before."""
    await stage.send(stage.plan.messages)


def promises(ledger: Ledger, plan: Plan) -> list[Promise]:
    """Every worker took some, and nothing had to be done again."""
    told = ", ".join(f"{name} {share}" for name, share in ledger.shares.items()) or "nobody took any"
    return [
        Promise(f"all {plan.workers} workers took some", len(ledger.shares) >= plan.workers, told),
        Promise("each was executed once", ledger.re_executed == 0, f"{ledger.re_executed} re-executed"),
    ]
