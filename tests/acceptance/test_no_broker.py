"""A node whose broker is not there says so try by try, and ends with a clear line and an exit code."""

import json
import os
import subprocess
import sys

import pytest

from support.node import HAZARDOUS
from support.ports import unused_port

pytestmark = pytest.mark.slow

FAILED = 1
HURRIED = """
import sys
from functools import partial
import penstock.app.api, penstock.app.worker
from penstock.cli.main import main

for module in (penstock.app.api, penstock.app.worker):
    module.open_patiently = partial(module.open_patiently, first_pause_s=0.01)
sys.argv[0] = "penstock"
main()
"""
"""The program itself, but for the pauses between its tries, which add up to half a minute."""


@pytest.mark.parametrize("role", ["worker", "api"])
def test_a_node_without_a_broker_gives_up_after_five_tries(tmp_path, role):
    place = f"127.0.0.1:{unused_port()}"
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    settings = {
        "PENSTOCK_BROKER_URL": f"redis://ada:secret@{place}/0",
        "PENSTOCK_BROKER_TIMEOUT": "200ms",
        "PENSTOCK_PORT": "0",
        "PENSTOCK_TASKS": str(HAZARDOUS),
        "PENSTOCK_LOG_FORMAT": "json",
    }
    ended = subprocess.run(
        [sys.executable, "-c", HURRIED, role],
        env=inherited | settings,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = ended.stdout + ended.stderr
    assert ended.returncode == FAILED, said
    assert "Traceback" not in said
    assert "secret" not in said
    tries = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    tries = [entry for entry in tries if entry["event"] == "broker cannot be reached"]
    assert [entry["try"] for entry in tries] == [1, 2, 3, 4]
    assert {entry["broker"] for entry in tries} == {f"redis://{place}/0"}
    (last,) = [line for line in said.splitlines() if line.startswith("error: ")]
    assert last.startswith(f"error: gave up after 5 tries: the broker at {place} cannot be reached: ")
