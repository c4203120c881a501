"""What all tests share lies in ``support`` and ``conformance/kit``; pytest finds both on its path."""

import itertools
import os
import sys

import pytest
from hypothesis import HealthCheck, settings

pytest.register_assert_rewrite("support", "kit")

# How long an example takes says how busy the machine is; all else is as Hypothesis has it, here or in CI.
settings.register_profile(
    "unhurried", parent=settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")

LONG = ("faults", "acceptance")
"""The folders whose tests take seconds to a minute each."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    from support.order import dealt  # noqa: PLC0415 - pytest puts it on the path only now

    processes = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    if processes == 1:
        return
    files = [list(tests) for _, tests in itertools.groupby(items, lambda item: item.path)]
    long = [file for file in files if file[0].path.parent.name in LONG]
    long.sort(key=lambda file: LONG.index(file[0].path.parent.name))
    short = [test for file in files if file not in long for test in file]
    items[:] = dealt(long, short, processes)


def pytest_sessionfinish() -> None:
    if services := sys.modules.get("support.services"):  # only where a test asked for one
        services.end_services()
