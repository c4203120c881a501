"""What it costs to do a job in parts: against as many plain jobs, and against one slot and NumPy.

``python benchmarks/fanout.py [--store redis|sqlite] [--parts N] [--loans N]`` starts workers of its own and
prints a Markdown table. Figures belong to the machine they were taken on.
"""

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from prometheus_client import CollectorRegistry

from peers import redis_server
from penstock.app.broker import make_broker
from penstock.core.catalog import load
from penstock.core.job import Job
from penstock.core.submission import Submission
from penstock.service.desk import Desk
from penstock.settings import Settings

HERE = Path(__file__).parent
BATCH = 500
PATIENCE_S = 600.0
CHUNK = 1_000_000


async def main() -> None:
    """Run every measurement and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", choices=("redis", "sqlite"), default="redis")
    parser.add_argument("--parts", type=int, default=100_000)
    parser.add_argument("--loans", type=int, default=200_000_000)
    parser.add_argument("--rounds", type=int, default=5, help="the best one is reported, of either side")
    asked = parser.parse_args()
    with store(asked.store) as url:
        settings = Settings(broker_url=url)
        broker = make_broker(settings, CollectorRegistry())
        await broker.open()
        desk = Desk(broker, load([str(HERE / "tasks.py")]), "bench")
        figures = await simulations(desk, url, asked)
        figures |= await no_ops(desk, url, asked)
        await broker.close()
    report(figures, asked)


async def simulations(desk: Desk, url: str, asked: argparse.Namespace) -> dict[str, float]:
    """One slot, two and none of Penstock's; first of all, as withdrawing many parts takes time afterwards."""
    best = {}
    for slots in (1, 2):
        with worker(url, slots):
            await credit_loss(desk, 40_000_000, 99)
            best[slots] = min([await credit_loss(desk, asked.loans, seed) for seed in range(asked.rounds)])
    return {
        f"credit_loss of {asked.loans:,} loans, one slot, s": best[1],
        "the same, two slots, s": best[2],
        "two slots against one": best[1] / best[2],
        "one NumPy pass over as many draws, s": min(numpy_pass(asked.loans) for _ in range(asked.rounds)),
    }


async def no_ops(desk: Desk, url: str, asked: argparse.Namespace) -> dict[str, float]:
    """Jobs that do nothing, as jobs of their own and as parts of one."""
    with worker(url, slots=2) as process:
        await warm_up(desk)
        plain = min([await plain_jobs(desk, asked.parts) for _ in range(asked.rounds)])
        parted = min([await one_job(desk, asked.parts) for _ in range(asked.rounds)])
        return {
            "plain no-op job, submitted and run, µs": plain * 1e6,
            "no-op part, split, run and merged, µs": parted * 1e6,
            "part against plain job": parted / plain,
        } | memory(process)


@contextmanager
def store(kind: str) -> Iterator[str]:
    """The address of an empty broker of this kind."""
    with tempfile.TemporaryDirectory() as folder:
        if kind == "sqlite":
            yield f"sqlite:///{folder}/penstock.db?synchronous=normal"
        else:
            with redis_server.running(Path(folder)) as server:
                yield server.url


@contextmanager
def worker(url: str, slots: int) -> Iterator[psutil.Process]:
    """A worker of the benchmark's tasks, stopped at the end."""
    environment = os.environ | {"PENSTOCK_BROKER_URL": url, "PENSTOCK_LOG_LEVEL": "warning"}
    command = [sys.executable, "-m", "penstock", "worker", str(HERE / "tasks.py"), "--slots", str(slots)]
    process = subprocess.Popen(command, env=environment)
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


async def ended(desk: Desk, job_id: str) -> Job:
    """The job when it has ended, as it should."""
    job = await desk.get(job_id, PATIENCE_S)
    if job.state != "succeeded":
        raise SystemExit(f"job {job_id} is {job.state}: {job.error}")
    return job


async def run(desk: Desk, task: str, **params: int) -> Job:
    """One job from being submitted to its result."""
    receipt = await desk.submit(Submission(task=task, params=params, cache="bypass"))
    if receipt.job is None:
        raise SystemExit("refused")
    return await ended(desk, receipt.job.id)


async def warm_up(desk: Desk) -> None:
    """Until the worker is there and knows how long a no-op takes."""
    await plain_jobs(desk, 4 * BATCH)
    await run(desk, "parts", count=4 * BATCH)


async def plain_jobs(desk: Desk, count: int) -> float:
    """Seconds per plain job, submitted from this process while the worker runs them."""
    began = time.perf_counter()
    last = []
    for start in range(0, count, BATCH):
        wanted = [Submission(task="noop", params={"n": n}) for n in range(start, min(count, start + BATCH))]
        last = await desk.submit_many(wanted)
    for receipt in last:
        if isinstance(receipt, Exception) or receipt.job is None:
            raise SystemExit(f"refused: {receipt}")
        await ended(desk, receipt.job.id)
    return (time.perf_counter() - began) / count


async def one_job(desk: Desk, count: int) -> float:
    """Seconds per part of one job."""
    began = time.perf_counter()
    job = await run(desk, "parts", count=count)
    if job.result is None or int(bytes(job.result)) != count * (count - 1) // 2:
        raise SystemExit(f"wrong total: {job.result!r}")
    return (time.perf_counter() - began) / count


async def credit_loss(desk: Desk, loans: int, seed: int) -> float:
    """Seconds from submission to result."""
    began = time.perf_counter()
    await run(desk, "credit_loss", load=loans, chunk=CHUNK, seed=seed)
    return time.perf_counter() - began


def numpy_pass(loans: int) -> float:
    """Seconds for drawing as many uniforms and counting those below a bound, in arrays of a chunk."""
    began = time.perf_counter()
    generator = np.random.Generator(np.random.SFC64(0))
    for _ in range(loans // CHUNK):
        np.count_nonzero(generator.random(CHUNK) < 0.05)
    return time.perf_counter() - began


def memory(process: psutil.Process) -> dict[str, float]:
    """The most that the supervisor and the largest of its children ever had resident, in MiB."""
    children = [peak(child.pid) for child in process.children(recursive=True)]
    return {"supervisor at most, MiB": peak(process.pid), "largest child at most, MiB": max(children)}


def peak(pid: int) -> float:
    """The peak resident size of a process, in MiB."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


def report(figures: dict[str, float], asked: argparse.Namespace) -> None:
    """Print the table."""
    print(
        f"\n{asked.store}, {asked.parts:,} parts, {os.cpu_count()} CPUs\n\n| figure | value |\n| --- | ---: |"
    )
    for name, value in figures.items():
        print(f"| {name} | {value:,.2f} |")


if __name__ == "__main__":
    asyncio.run(main())
