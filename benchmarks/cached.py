"""Measures what an answer from the cache takes over HTTP: a real node, asked the same again and again.

``python benchmarks/cached.py [--seconds S] [--rounds N] [--connections N …] [--broker URL]`` starts a node
of its own, on a file in a temporary folder unless told otherwise, and lets it answer once. Beside it stands a
bare FastAPI route that takes the same body and stores nothing; ``wrk`` asks both in turn, on every connection
again as soon as the last answer is there. Prints a Markdown table and writes it with the machine's
description to ``benchmarks/results/cached.json``. Figures belong to the machine they were taken on.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from embedded import free_port, wait_until_ready
from peers.measurements.http import command, wait_until_up
from penstock import Client, __version__

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PARAMS = {"load": 100_000, "repeats": 20}
BODY = json.dumps({"task": "credit_loss", "params": PARAMS})

Figures = dict[str, float]


def main() -> None:
    """Run every measurement and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=4, help="whole seconds per measurement")
    parser.add_argument("--rounds", type=int, default=3, help="the median of each figure is reported")
    parser.add_argument(
        "--connections", type=int, nargs="+", default=[1, 4, 16], help="connections at a time"
    )
    parser.add_argument("--broker", default="sqlite:///{folder}/penstock.db", help="where jobs are kept")
    asked = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed")
    with node(asked.broker) as client, bare_route() as bare:
        client.submit("credit_loss", PARAMS, wait_s=30)
        port = int(client.url.rpartition(":")[2])
        for each in (port, bare):
            ask(each, 1, 1)  # warms up
        figures = {str(n): rounds(client, port, bare, n, asked) for n in asked.connections}
    report(figures, asked)


def rounds(client: Client, port: int, bare: int, connections: int, asked: argparse.Namespace) -> Figures:
    """The medians of some rounds, in which the node and the bare route take turns."""
    taken: list[Figures] = []
    for _ in range(asked.rounds):
        known = hits(client)
        ours = ask(port, asked.seconds, connections)
        if hits(client) - known < ours["answers"]:
            raise SystemExit("some answers were not from the cache")
        theirs = ask(bare, asked.seconds, connections)
        ours |= {"bare_p95_ms": theirs["p95_ms"], "of_bare": ours["answers_per_s"] / theirs["answers_per_s"]}
        taken.append(ours)
    return {name: statistics.median(each[name] for each in taken) for name in taken[0]}


def hits(client: Client) -> int:
    """Answers that the cache has given so far."""
    return int(client.stats()["cache"]["hits"])


@contextmanager
def node(broker: str) -> Iterator[Client]:
    """A node of its own, stopped at the end."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        environment = os.environ | {
            "PENSTOCK_BROKER_URL": broker.format(folder=folder),
            "PENSTOCK_NAMESPACE": f"bench-{port}",
            "PENSTOCK_LOG_LEVEL": "warning",
            "PENSTOCK_PORT": str(port),
        }
        process = subprocess.Popen([sys.executable, "-m", "penstock", "up"], env=environment)
        try:
            with Client(f"http://127.0.0.1:{port}") as client:
                wait_until_ready(client)
                yield client
        finally:
            process.terminate()
            process.wait()


@contextmanager
def bare_route() -> Iterator[int]:
    """The port of a route that answers at once."""
    port = free_port()
    process = subprocess.Popen([sys.executable, *command("bare-fastapi", port)], cwd=HERE)
    try:
        wait_until_up(f"http://127.0.0.1:{port}/jobs")
        yield port
    finally:
        process.terminate()
        process.wait()


def ask(port: int, seconds: int, connections: int) -> Figures:
    """What `wrk` tells of so many seconds: times in ms, and how many answers came in a second."""
    load = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "-s", str(HERE / "cached.lua")]
    asked = subprocess.run(
        [*load, f"http://127.0.0.1:{port}/jobs"],
        env=os.environ | {"BODY": BODY},
        check=True,
        capture_output=True,
        text=True,
        timeout=seconds + 30,
    )
    told: Figures = json.loads(asked.stdout.splitlines()[-1])
    if told["failed"]:
        raise SystemExit(f"{told['failed']} of {told['answers']} requests failed")
    return told


def report(figures: dict[str, Figures], asked: argparse.Namespace) -> None:
    """Print the table and keep it."""
    machine = f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {platform.system()}"
    scheme = asked.broker.partition(":")[0]
    print(f"\nPenstock {__version__}, {scheme}, {machine}\n")
    columns = ("p50_ms", "p95_ms", "p99_ms", "bare_p95_ms", "answers_per_s", "of_bare")
    print("| connections | p50, ms | p95, ms | p99, ms | bare route's p95, ms | answers/s | of its own |")
    print("| ---: |" + " ---: |" * len(columns))
    for connections, row in figures.items():
        print(f"| {connections} | " + " | ".join(f"{row[name]:,.2f}" for name in columns) + " |")
    RESULTS.mkdir(exist_ok=True)
    document = {"machine": machine, "version": __version__, "broker": scheme, "by_connections": figures}
    (RESULTS / "cached.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
