"""Measures the embedded node (SQLite) from outside: a real node, over HTTP, through the Python client.

``python benchmarks/embedded.py [--jobs N] [--rounds N] [--synchronous full|normal]`` starts a node of
its own in a temporary folder, prints a Markdown table and writes it with the machine's description
to ``benchmarks/results/embedded.json``. Figures belong to the machine they were taken on.
"""

import argparse
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock import Client, __version__
from penstock.core.errors import PenstockError

HERE = Path(__file__).parent
BATCH = 1_000
READY_S = 30.0


def main() -> None:
    """Run every measurement and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=20_000, help="no-op jobs per bulk round")
    parser.add_argument("--rounds", type=int, default=3, help="bulk rounds; the median is reported")
    parser.add_argument("--singles", type=int, default=1_000, help="jobs of the latency measurement")
    parser.add_argument("--synchronous", choices=("full", "normal"), default="full")
    asked = parser.parse_args()
    with node(asked.synchronous) as client:
        warm_up(client)
        bulk = [bulk_round(client, asked.jobs) for _ in range(asked.rounds)]
        latencies = sorted(single(client, n) for n in range(asked.singles))
    figures = {
        "bulk submit, jobs/s": median(each[0] for each in bulk),
        "no-op jobs end to end, jobs/s": median(each[1] for each in bulk),
        "submit to result p50, ms": percentile(latencies, 50) * 1000,
        "submit to result p99, ms": percentile(latencies, 99) * 1000,
    }
    report(figures, asked)


@contextmanager
def node(synchronous: str) -> Iterator[Client]:
    """A node with a broker file of its own, stopped at the end."""
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        environment = os.environ | {
            "PENSTOCK_BROKER_URL": f"sqlite:///{folder}/penstock.db?synchronous={synchronous}",
            "PENSTOCK_LOG_LEVEL": "warning",
            "PENSTOCK_PORT": str(port),
        }
        command = [sys.executable, "-m", "penstock", "up", str(HERE / "tasks.py")]
        process = subprocess.Popen(command, env=environment)
        try:
            with Client(f"http://127.0.0.1:{port}") as client:
                wait_until_ready(client)
                yield client
        finally:
            process.terminate()
            process.wait()


def free_port() -> int:
    """A port nobody listens on at this moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def wait_until_ready(client: Client) -> None:
    """Until the API answers and a worker is there."""
    deadline = time.monotonic() + READY_S
    while time.monotonic() < deadline:
        try:
            if any(worker["live"] for worker in client.stats()["workers"]):
                return
        except PenstockError:
            pass  # not listening yet
        time.sleep(0.05)
    raise SystemExit("the node did not come up")


def warm_up(client: Client) -> None:
    """Let the worker learn how long the task takes."""
    bulk_round(client, 2 * BATCH)


def bulk_round(client: Client, jobs: int) -> tuple[float, float]:
    """Submit ``jobs`` no-ops in batches from this one process; jobs/s submitted, and jobs/s finished."""
    before = succeeded(client)
    began = time.perf_counter()
    for numbers in batched_range(jobs):
        client.submit_many({"task": "noop", "params": {"n": n}} for n in numbers)
    submitted = time.perf_counter() - began
    while succeeded(client) < before + jobs:
        time.sleep(0.01)
    return jobs / submitted, jobs / (time.perf_counter() - began)


def batched_range(jobs: int) -> Iterator[range]:
    """0 … jobs-1 in batches."""
    return (range(start, min(jobs, start + BATCH)) for start in range(0, jobs, BATCH))


def succeeded(client: Client) -> int:
    """Jobs that ended well so far."""
    return int(client.stats()["states"].get("succeeded", 0))


def single(client: Client, number: int) -> float:
    """Seconds from handing in one job to holding its result, the node being idle otherwise."""
    began = time.perf_counter()
    job = client.submit("noop", {"n": number}, wait_s=10)
    elapsed = time.perf_counter() - began
    if job.result != number:
        raise SystemExit(f"wrong result: {job}")
    return elapsed


def median(values: Iterator[float]) -> float:
    """The middle of what was measured."""
    return statistics.median(values)


def percentile(ordered: list[float], per_cent: int) -> float:
    """Nearest rank."""
    return ordered[min(len(ordered) - 1, round(len(ordered) * per_cent / 100))]


def report(figures: dict[str, float], asked: argparse.Namespace) -> None:
    """Print the table and keep it."""
    machine = f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {platform.system()}"
    print(f"\nPenstock {__version__}, SQLite synchronous={asked.synchronous}, {machine}\n")
    print("| figure | value |\n| --- | ---: |")
    for name, value in figures.items():
        print(f"| {name} | {value:,.0f} |" if value > 100 else f"| {name} | {value:.2f} |")
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    document = {"machine": machine, "version": __version__, "settings": vars(asked), "figures": figures}
    (results / "embedded.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
