"""Measures what an answer from the cache takes over HTTP: a real node, asked the same again and again.

``python benchmarks/cached.py [--answers N] [--connections N …] [--broker URL]`` starts a node of its own,
on a file in a temporary folder unless told otherwise, lets it answer once, prints a Markdown table and
writes it with the machine's description to ``benchmarks/results/cached.json``. Every connection asks as
soon as it has its last answer. Figures belong to the machine they were taken on.
"""

import argparse
import http.client
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from embedded import free_port, percentile, wait_until_ready
from penstock import Client, __version__

RESULTS = Path(__file__).parent / "results"
PARAMS = {"load": 100_000, "repeats": 20}
BODY = json.dumps({"task": "credit_loss", "params": PARAMS})


def main() -> None:
    """Run every measurement and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", type=int, default=4_000, help="answers per measurement")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 4], help="connections at a time")
    parser.add_argument("--broker", default="sqlite:///{folder}/penstock.db", help="where jobs are kept")
    asked = parser.parse_args()
    with node(asked.broker) as client:
        client.submit("credit_loss", PARAMS, wait_s=30)
        port = int(client.url.rpartition(":")[2])
        measure(port, asked.answers // 4, 1)  # warms up
        figures = {str(n): measure(port, asked.answers, n) for n in asked.connections}
        hits = client.stats()["cache"]["hits"]
    report(figures, hits, asked)


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


def measure(port: int, answers: int, connections: int) -> dict[str, float]:
    """So many answers over so many connections: their times in ms, and how many came in a second."""
    began = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        taken = pool.map(lambda _: connection(port, answers // connections), range(connections))
        times = sorted(each for one in taken for each in one)
    rate = len(times) / (time.perf_counter() - began)
    return {f"p{p}_ms": percentile(times, p) * 1000 for p in (50, 95, 99)} | {"answers_per_s": rate}


def connection(port: int, answers: int) -> list[float]:
    """The times in seconds of so many answers over one connection."""
    wire = http.client.HTTPConnection("127.0.0.1", port)
    try:
        return [ask(wire) for _ in range(answers)]
    finally:
        wire.close()


def ask(wire: http.client.HTTPConnection) -> float:
    """Seconds from the question to the whole answer, which must be one from the cache."""
    began = time.perf_counter()
    wire.request("POST", "/jobs", BODY, {"Content-Type": "application/json"})
    answer = wire.getresponse()
    body = answer.read()
    elapsed = time.perf_counter() - began
    if answer.status != http.client.OK or not json.loads(body)["cached"]:
        raise SystemExit(f"not from the cache: {answer.status} {body[:200]!r}")
    return elapsed


def report(figures: dict[str, dict[str, float]], hits: int, asked: argparse.Namespace) -> None:
    """Print the table and keep it."""
    machine = f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {platform.system()}"
    scheme = asked.broker.partition(":")[0]
    print(f"\nPenstock {__version__}, {scheme}, {hits:,} answers from the cache, {machine}\n")
    print("| connections | p50, ms | p95, ms | p99, ms | answers/s |\n| ---: | ---: | ---: | ---: | ---: |")
    for connections, row in figures.items():
        times = " | ".join(f"{row[name]:.2f}" for name in ("p50_ms", "p95_ms", "p99_ms"))
        print(f"| {connections} | {times} | {row['answers_per_s']:,.0f} |")
    RESULTS.mkdir(exist_ok=True)
    document = {"machine": machine, "version": __version__, "broker": scheme, "by_connections": figures}
    (RESULTS / "cached.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
