"""A worker that has nothing to do: commands it sends to Redis, CPU it uses."""

import threading
import time

import redis

from peers.measurement import Column, Figures, Measurement
from peers.plan import Plan
from peers.rig import Rig, rig

SETTLE_S = 3.0


def run(contestant: str, plan: Plan) -> Figures:
    """One round of twice the usual length: idle loops are slow."""
    seconds = 2 * plan.seconds
    with rig(contestant, "idle", plan) as built:
        crew = built.warm_workers()
        time.sleep(SETTLE_S)  # the waiter of the last answer leaves meanwhile
        before = crew.cpu_seconds()
        commands = count_commands(built, seconds)
        used = crew.cpu_seconds() - before
        return {"commands": commands / seconds, "cpu": 100 * used / seconds}


def count_commands(built: Rig, seconds: float) -> int:
    """Commands that clients send within some seconds, without those that scripts call."""
    seen: list[str] = []
    port = built.server.port
    client = redis.Redis(port=port, socket_timeout=None)
    with client.monitor() as monitor:  # type: ignore[no-untyped-call]
        listener = threading.Thread(target=_listen, args=(monitor, seen), daemon=True)
        listener.start()
        time.sleep(seconds)
        count = sum(kind != "lua" for kind in seen)
        built.server.client.echo("enough")  # wakes the listener, which ends on it
        listener.join(timeout=5)
    return count


def _listen(monitor: redis.client.Monitor, seen: list[str]) -> None:
    for command in monitor.listen():  # type: ignore[no-untyped-call]
        if command["command"] == "ECHO enough":
            return
        seen.append(command["client_type"])


MEASUREMENT = Measurement(
    name="idle",
    title="Idle worker",
    order=6,
    columns=(Column("commands", "Redis commands/s", 1), Column("cpu", "CPU, %", 2)),
    run=run,
    target="2 commands/s, below 1 % CPU",
    best=min,
)
