"""The results as Markdown: one table per measurement, ranked by its first column."""

from collections.abc import Iterator, Sequence

from peers.measurement import Column, Figures, Measurement
from peers.plan import Plan
from peers.results import Results, column, machine, median


def render(results: Results, measurements: Sequence[Measurement]) -> str:
    """The whole report."""
    return "\n".join(_lines(results, measurements)) + "\n"


def _lines(results: Results, measurements: Sequence[Measurement]) -> Iterator[str]:
    plan = results.plan
    yield "# Penstock and its peers\n"
    yield f"{machine()}; Redis {results.redis}, append-only file synced every second."
    yield f"Median of {plan.rounds} alternating rounds; in brackets the lowest and the highest."
    yield "`make bench-peers` takes these figures; [how and why so](../README.md).\n"
    for measurement in measurements:
        if measurement.name in results.rounds or measurement.name in results.failures:
            yield from _section(results, measurement)
    yield from _contestants(results)


def _section(results: Results, measurement: Measurement) -> Iterator[str]:
    rounds = results.rounds.get(measurement.name, {})
    yield f"## {measurement.title}\n"
    yield f"Penstock's target: {measurement.target}.\n"
    titles = [each.title for each in measurement.columns]
    yield f"| contestant | {' | '.join(titles)} | Penstock ÷ it |"
    yield f"| --- |{' ---: |' * (len(titles) + 1)}"
    for name in ranked(rounds, measurement):
        cells = [cell(rounds[name], each, results.plan) for each in measurement.columns]
        yield f"| {name} | {' | '.join(cells)} | {_ratio(rounds, name, measurement)} |"
    for name, reason in results.failures.get(measurement.name, {}).items():
        yield f"\n{name}, a round without figures: {_last_line(reason)}"
    yield ""


def ranked(rounds: dict[str, list[Figures]], measurement: Measurement) -> list[str]:
    """The contestants, best first; ties by the columns that follow."""
    sign = -1 if measurement.best is max else 1

    def place(name: str) -> list[float]:
        return [sign * median(rounds[name], each.key) for each in measurement.columns]

    return sorted(rounds, key=place)


def cell(rounds: Sequence[Figures], shown: Column, plan: Plan) -> str:
    """Median and spread of one figure."""
    values = column(rounds, shown.key)
    middle = median(rounds, shown.key)
    bound = getattr(plan, shown.bound) if shown.bound else None
    if bound is not None and middle >= bound:
        return f"> {bound:,.0f}"
    spread = f" ({_number(min(values), shown)} to {_number(max(values), shown)})" if len(values) > 1 else ""
    return _number(middle, shown) + spread


def _number(value: float, shown: Column) -> str:
    return f"{value:,.{shown.digits}f}"


def _ratio(rounds: dict[str, list[Figures]], name: str, measurement: Measurement) -> str:
    key = measurement.columns[0].key
    if name == "penstock" or "penstock" not in rounds or not median(rounds[name], key):
        return ""
    return f"{median(rounds['penstock'], key) / median(rounds[name], key):.2f}"


def _last_line(reason: str) -> str:
    lines = [line for line in reason.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"


def _contestants(results: Results) -> Iterator[str]:
    yield "## Versions and settings\n"
    yield "| contestant | versions | settings |\n| --- | --- | --- |"
    for name, about in results.contestants.items():
        versions = ", ".join(f"{package} {version}" for package, version in about["versions"].items())
        yield f"| {name} | {versions} | {about['settings']} |"
