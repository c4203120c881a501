"""What all tests share lies in ``support`` and ``conformance/kit``; pytest finds both on its path."""

import sys

import pytest

pytest.register_assert_rewrite("support", "kit")


def pytest_sessionfinish() -> None:
    if services := sys.modules.get("support.services"):  # only where a test asked for one
        services.end_services()
