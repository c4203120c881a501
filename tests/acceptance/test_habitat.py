"""The optimiser's story: load, check, submit, the same again, a new price, a demand nobody can meet."""

import contextlib
import csv
import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from support.node import Node
from support.wait import until

pytestmark = pytest.mark.slow

PATIENCE_S = 60
DEMAND = {
    "demand_df": {"habitat_name": ["Lowland meadow", "Mixed scrub"], "units_required": [0.8, 1.5]},
    "target_lpa": "Winchester",
    "target_nca": "South Downs",
}


class Optimiser:
    """A node, and the command line on its machine."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def penstock(self, *words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "penstock", *map(str, words)],
            env=self.node.environment,
            cwd=self.node.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def told(self, *words: object) -> dict[str, object]:
        done = self.penstock(*words, "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    def ask(self, body: object, wait: float = PATIENCE_S) -> httpx.Response:
        return httpx.post(f"{self.node.url}/jobs?wait={wait}", json=body, timeout=PATIENCE_S + 5)

    def recorded(self, job_id: str) -> list[tuple[object, ...]]:
        question = "SELECT demand, bank, cost FROM penstock_allocations WHERE job_id = ? ORDER BY number"
        with contextlib.closing(sqlite3.connect(self.node.folder / "market.db")) as db:
            try:
                return db.execute(question, [job_id]).fetchall()
            except sqlite3.OperationalError:  # the node makes its tables in the background
                return []


@pytest.fixture(scope="module")
def optimiser(tmp_path_factory) -> Iterator[Optimiser]:
    folder = tmp_path_factory.mktemp("node")
    database = f"sqlite:///{folder / 'market.db'}"
    node = Node(folder, history="on", database_url=database, slots=1)
    try:
        yield Optimiser(node.start())
    finally:
        node.kill()


def make_dearer(folder: Path, bank: str, habitat: str) -> None:
    """A hundred times the price."""
    path = folder / "pricing.csv"
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        if (row["bank"], row["habitat"]) == (bank, habitat):
            row |= {tier: float(row[tier]) * 100 for tier in ("local", "adjacent", "far")}
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def test_a_quote_is_computed_once_and_again_when_a_price_changes(optimiser):
    first = optimiser.ask(DEMAND)
    assert first.status_code == 200, first.text
    assert set(first.json()) == {"job_id", "status", "result", "error", "cached"}
    quote = first.json()["result"]
    assert (first.json()["status"], first.json()["cached"], first.json()["error"]) == (
        "finished",
        False,
        None,
    )
    assert [row["demand"] for row in quote["allocation"]] == DEMAND["demand_df"]["habitat_name"]
    job_id = first.json()["job_id"]

    job = httpx.get(f"{optimiser.node.url}/jobs/{job_id}", timeout=30).json()
    assert (job["id"], job["state"], job["job_id"], job["status"]) == (
        job_id,
        "succeeded",
        job_id,
        "finished",
    )
    as_recorded = [(row["demand"], row["bank"], row["cost"]) for row in quote["allocation"]]
    until(lambda: optimiser.recorded(job_id) == as_recorded, what="the rows of the allocation are recorded")

    # Numbers that are written otherwise and keys in another order are the same question.
    same = {key: DEMAND[key] for key in reversed(DEMAND)} | {"quotes_hold_policy": 100.0}
    second = optimiser.ask(same, wait=0)
    assert (second.status_code, second.json()["cached"], second.json()["status"]) == (200, True, "finished")
    assert second.json()["result"] == quote

    folder = optimiser.node.folder / "market"
    assert optimiser.told("reference", "export", folder)["source"] == "the packaged set"
    cheapest = quote["allocation"][0]
    make_dearer(folder, cheapest["bank"], cheapest["supply"])
    loaded = optimiser.told("reference", "load", folder)
    assert loaded["changed"] is True
    assert loaded["version"] == optimiser.told("reference", "check")["version"] != quote["data_version"]

    third = optimiser.ask(DEMAND)
    assert third.json()["cached"] is False
    dearer = third.json()["result"]
    assert dearer["data_version"] == loaded["version"]
    assert dearer["total_cost"] > quote["total_cost"]
    again = dearer["allocation"][0]
    assert (again["bank"], again["supply"]) != (cheapest["bank"], cheapest["supply"])

    assert optimiser.told("reference", "load")["changed"] is True
    fourth = optimiser.ask(DEMAND)
    assert (fourth.json()["cached"], fourth.json()["result"]) == (False, quote)


def test_a_broken_price_list_is_refused_and_changes_nothing(optimiser):
    folder = optimiser.node.folder / "broken"
    before = optimiser.told("reference", "show")
    assert optimiser.penstock("reference", "export", folder).returncode == 0
    path = folder / "pricing.csv"
    lines = path.read_text().splitlines(keepends=True)
    lines[3] = lines[3].rpartition(",")[0] + ",free\n"
    path.write_text("".join(lines))
    refused = optimiser.penstock("reference", "load", folder)
    assert refused.returncode == 2
    assert "pricing.csv, row 3, far: " in refused.stderr
    assert optimiser.told("reference", "show") == before


def test_what_cannot_be_asked_or_met_is_named(optimiser):
    impossible = optimiser.ask(
        DEMAND | {"demand_df": {"habitat_name": ["Moon dust", "Ditches"], "units_required": [1, 9_000]}}
    )
    assert (impossible.status_code, impossible.json()["status"]) == (200, "failed")
    error = impossible.json()["error"]
    assert "Moon dust (1 units, unknown habitat)" in error["message"]
    assert "Ditches (9000 units)" in error["message"]

    uneven = optimiser.ask(DEMAND | {"demand_df": {"habitat_name": ["Ditches"], "units_required": [1, 2]}})
    assert uneven.status_code == 422
    fields = [each["field"] for each in uneven.json()["error"]["details"]["fields"]]
    assert fields == ["demand_df.units_required"]
    assert optimiser.ask({"target_lpa": "Winchester"}).status_code == 422
