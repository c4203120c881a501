"""``POST /jobs`` over 50 connections, against a bare route that takes the same body and stores nothing.

Both are one uvicorn process on uvloop and httptools; no worker runs.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping

import httpx

from peers import crew
from peers.environments import PACKAGE
from peers.measurement import Column, Figures, Measurement
from peers.plan import Plan
from peers.redis_server import free_port
from peers.rig import rig

CONNECTIONS = 50
WARM_UP_S = 1.0
START_S = 20.0
BODY = {"task": "noop", "params": {"n": 0}}


def command(contestant: str, port: int) -> list[str]:
    """What serves this contestant's route."""
    if contestant == "penstock":
        tasks = str(PACKAGE.parent / "tasks.py")
        return ["-m", "penstock", "api", "--host", "127.0.0.1", "--port", str(port), tasks]
    server = ["-m", "uvicorn", "peers.bare_api:app", "--host", "127.0.0.1", "--port", str(port)]
    return [*server, "--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]


def run(contestant: str, plan: Plan) -> Figures:
    """One round."""
    if shutil.which("wrk") is None:
        raise RuntimeError("wrk is not installed")
    port = free_port()
    with rig("penstock", "http", plan) as built:
        process = {"arguments": command(contestant, port), "environment": {}}
        log = built.folder / "api.log"
        built.crews.append(crew.start(sys.executable, [process], built.environment, log))
        wait_until_up(f"http://127.0.0.1:{port}/jobs")
        load(port, WARM_UP_S)
        return figures(load(port, plan.seconds))


def wait_until_up(url: str) -> None:
    """Until the route takes a job."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            if httpx.post(url, json=BODY).status_code == httpx.codes.ACCEPTED:
                return
        except httpx.TransportError:
            pass  # not listening yet
        time.sleep(0.05)
    raise RuntimeError(f"{url} did not come up")


def load(port: int, seconds: float) -> Mapping[str, float]:
    """What wrk's script reports; its durations are whole seconds."""
    size = ["-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s"]
    asked = ["wrk", *size, "-s", str(PACKAGE / "post.lua"), f"http://127.0.0.1:{port}"]
    done = subprocess.run(asked, check=True, capture_output=True, text=True, timeout=seconds + 30)
    report: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return report


def figures(report: Mapping[str, float]) -> Figures:
    """Requests that were answered as they should be, per second."""
    answered = report["requests"] - report["failed"]
    rate = answered / report["seconds"]
    return {"rate": rate, "p50": report["p50_ms"], "p99": report["p99_ms"], "failed": report["failed"]}


MEASUREMENT = Measurement(
    name="http",
    title="POST /jobs over 50 connections",
    order=9,
    columns=(
        Column("rate", "requests/s"),
        Column("p50", "p50, ms", 1),
        Column("p99", "p99, ms", 1),
        Column("failed", "failed"),
    ),
    run=run,
    target="0.6 of the bare route",
    contestants=("penstock", "bare-fastapi"),
)
