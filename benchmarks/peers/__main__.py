"""Run the comparison: ``python -m peers [--quick] [--only drain,latency] [--contestants penstock,huey]``."""

import argparse
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path

from peers import chart, markdown
from peers.environments import ROOT, contestants
from peers.measurement import Measurement, found
from peers.plan import QUICK, Plan
from peers.results import Results
from peers.rig import rig


def main() -> None:
    """Measure what was asked for, and report after every round so that nothing is lost."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # unwinds, so that nothing is left running
    asked = arguments()
    if shutil.which("redis-server") is None:
        sys.exit("redis-server is not installed (Debian: apt install redis-server)")
    results = Results(plan_of(asked))
    chosen = [each for each in found() if not asked.only or each.name in asked.only]
    for measurement, contestant in schedule(chosen, asked.contestants, results.plan.rounds):
        describe(results, contestant)
        measure(results, measurement, contestant)
        results.save(asked.out / "peers.json")
    (asked.out / "peers.md").write_text(markdown.render(results, chosen))
    chart.draw(results, chosen, asked.out / "peers.png")
    print("\n" + markdown.render(results, chosen))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m peers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small counts and one round: does it all run?")
    parser.add_argument("--only", type=words, default=[], help="measurements, separated by commas")
    parser.add_argument("--contestants", type=words, default=contestants(), help="separated by commas")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "benchmarks" / "results", help="folder of the report"
    )
    for each in fields(Plan):
        option = "--" + each.name.replace("_", "-")
        parser.add_argument(option, type=type(each.default), help=f"default {each.default}")
    asked = parser.parse_args()
    refuse_unknown(parser, asked.only, [each.name for each in found()])
    refuse_unknown(parser, asked.contestants, contestants())
    return asked


def words(text: str) -> list[str]:
    """A list separated by commas."""
    return [word.strip() for word in text.split(",") if word.strip()]


def refuse_unknown(parser: argparse.ArgumentParser, given: Sequence[str], known: Sequence[str]) -> None:
    """End with a message that names what there is."""
    unknown = sorted(set(given) - set(known))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")


def plan_of(asked: argparse.Namespace) -> Plan:
    """The usual or the quick plan, with what the command line changes."""
    given = {each.name: getattr(asked, each.name) for each in fields(Plan)}
    return replace(QUICK if asked.quick else Plan(), **{k: v for k, v in given.items() if v is not None})


def schedule(
    measurements: Sequence[Measurement], names: Sequence[str], rounds: int
) -> Iterator[tuple[Measurement, str]]:
    """Every contestant once, then again, so that a slow hour of the machine hits all alike."""
    for measurement in measurements:
        who = [
            name for name in measurement.contestants or names if name in names or name not in contestants()
        ]
        for _ in range(rounds):
            yield from ((measurement, name) for name in who)


def describe(results: Results, contestant: str) -> None:
    """Note versions and settings, once."""
    if contestant in results.contestants or contestant not in contestants():
        return
    with rig(contestant, "describe", results.plan) as built:
        results.redis = str(built.server.client.info("server")["redis_version"])
        results.contestants[contestant] = built.driver.about()


def measure(results: Results, measurement: Measurement, contestant: str) -> None:
    """One round; a contestant that fails does not keep the others from being measured."""
    began = time.monotonic()
    try:
        figures = measurement.run(contestant, results.plan)
    except Exception as failed:  # noqa: BLE001 - it is reported, and the next one has its turn
        results.fail(measurement.name, contestant, str(failed))
        shown = f"FAILED {failed}"
    else:
        results.add(measurement.name, contestant, figures)
        shown = "  ".join(f"{key} {value:,.4g}" for key, value in figures.items())
    print(f"{measurement.name:8} {contestant:12} {time.monotonic() - began:5.1f} s  {shown}", flush=True)


if __name__ == "__main__":
    main()
