"""Schemathesis reads the OpenAPI document and tries, with all its checks, to find an answer that breaks it.

A few examples per operation by default; ``PENSTOCK_TEST_PROFILE=long`` tries many more.
"""

import os
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from penstock.core.keys import Role, entry, mint
from support.node import Node

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EXAMPLES = 150 if os.environ.get("PENSTOCK_TEST_PROFILE") == "long" else 8
TASKS = """
from penstock import task

@task
def scale(values: list[float], factor: float = 2.0, label: str = "x") -> list[float]:
    return values
"""

RULED = (
    "credit_loss",
    "european_option",
    "habitat_allocation",
    "optimal_portfolio",
    "portfolio_var",
    "stress_test",
)
UNSAID = {
    *("DELETE /dead", "POST /dead/retry", "DELETE /jobs", "GET /jobs/{job_id}/events"),
    *("GET /jobs", "GET /jobs/export", "POST /schedules", "PUT /schedules/{name}"),
    *(f"POST /tasks/{name}/jobs" for name in RULED),
}
"""Data that fit the document may be refused here: it cannot say "exactly one of" of a query, which events
there were, that history is off, what a cron line is, that volatilities are those of the positions, or
which simulation can go on."""

UNSAID_FIELDS = {"after", "run_at", "cron"}
"""Nor that jobs to wait for must be there, and times be near."""

ENDLESS = {"GET /events", "GET /add"}
"""The second waits for a worker, and nobody works here; ``POST /task`` takes the same questions."""


@pytest.fixture(scope="module", params=["no keys", "keys"])
def opened(request, tmp_path_factory):
    """A node and the headers that open it."""
    folder: Path = tmp_path_factory.mktemp("node")
    (folder / "scaling.py").write_text(TASKS)
    text, key = mint("root", Role.ADMIN)
    keys = {"api_keys": entry(key)} if request.param == "keys" else {}
    node = Node(folder, "api", tasks=str(folder / "scaling.py"), **keys)
    try:
        yield node.start(), {"Authorization": f"Bearer {text}"} if keys else {}
    finally:
        node.kill()


def tried(operation, headers):
    """Cases that fit the document and cases that do not."""
    cases = operation.as_strategy() | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=EXAMPLES < 100,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def attempt(case):
        if case.query and "wait" in case.query and _is_long(case.query["wait"]):
            case.query["wait"] = 0.01  # nobody works here, so that any wait lasts to its end
        unsaid = operation.label in UNSAID or _fields(case) & UNSAID_FIELDS
        excluded = [positive_data_acceptance] if unsaid else []
        case.call_and_validate(headers=headers, excluded_checks=excluded, timeout=20)

    attempt()


def _fields(case):
    """Names of everything that is given in the query, in the body, or in a batch."""
    body = case.body if isinstance(case.body, dict) else {}
    jobs = body.get("jobs") if isinstance(body.get("jobs"), list) else []
    given = [case.query or {}, body, *(job for job in jobs if isinstance(job, dict))]
    return {name for each in given for name in each}


def _is_long(wait):
    try:
        return 0.01 < float(wait) <= 60
    except (TypeError, ValueError):
        return False


def test_nothing_is_found(opened):
    node, headers = opened
    document = schemathesis.openapi.from_url(f"{node.url}/openapi.json", headers=headers)
    names = set()
    for found in document.get_all_operations():
        operation = found.ok()
        names.add(operation.label)
        if operation.label not in ENDLESS:
            tried(operation, headers)
    assert len(names) > 25
    assert node.entries("unexpected error") == []
