"""The scripts in ``examples`` do what they say, as anybody would run them."""

import contextlib
import itertools
import os
import pty
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from support.node import Node
from support.wait import until

EXAMPLES = Path(__file__).parents[2] / "examples"
ENDS_S = 120

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    node = Node(tmp_path_factory.mktemp("examples"), tasks=EXAMPLES / "own_task.py")
    try:
        yield node.start()
    finally:
        node.kill()


def run(script, *arguments, url=None, folder, **options):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSTOCK_")}
    environment = kept | {"TMPDIR": str(folder), "TERM": "xterm", "COLUMNS": "100"}
    if url is not None:
        environment["PENSTOCK_URL"] = url
    return subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / script, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        timeout=ENDS_S,
        check=True,
        **options,
    ).stdout


@contextlib.contextmanager
def on_a_terminal():
    """A terminal, and the future of all that is drawn on it."""
    ours, terminal = pty.openpty()
    with ThreadPoolExecutor(1) as reading:
        try:
            yield terminal, reading.submit(read_all, ours)
        finally:
            os.close(terminal)
    os.close(ours)


def read_all(terminal):
    found = b""
    with contextlib.suppress(OSError):  # how Linux tells that nobody can draw any more
        while piece := os.read(terminal, 65_536):
            found += piece
    return found.decode()


def test_a_task_of_ones_own_is_submitted_and_waited_for(served, tmp_path):
    printed = run("submit.py", "--batches", "1", url=served.url, folder=tmp_path)
    assert re.findall(r"^strike (\d+): succeeded, \{'price': [\d.]+, ", printed, re.MULTILINE) == [
        "95",
        "100",
        "105",
    ]


def test_a_map_over_scenarios_shows_one_bar_on_a_terminal(served, tmp_path):
    with on_a_terminal() as (terminal, drawn_by_then):
        printed = run("scenarios.py", "--batches", "1", url=served.url, folder=tmp_path, stderr=terminal)
    drawn = drawn_by_then.result(ENDS_S)
    assert "asian_call" in drawn
    assert "15/15" in drawn
    rows = [list(map(float, line.split())) for line in printed.splitlines()[1:]]
    assert [row[0] for row in rows] == [90, 95, 100, 105, 110]
    for row in rows:
        assert row[1] < row[2] < row[3], "a call costs more where prices move more"
    for higher, lower in itertools.pairwise(rows):
        assert higher[1] > lower[1], "and less the more is to be paid"


def test_an_executor_in_the_place_of_a_process_pool(tmp_path):
    printed = run("pool.py", "--batches", "1", folder=tmp_path)
    prices = dict(re.findall(r"^strike (\d+): ([\d.]+)$", printed, re.MULTILINE))
    assert float(prices["95"]) > float(prices["100"]) > float(prices["105"])
    assert list(tmp_path.iterdir()) == [], "its node leaves nothing behind"
    until(lambda: not processes_in(tmp_path), what="nobody is left")


def processes_in(folder):
    return [each for each in psutil.process_iter(["cwd"]) if each.info["cwd"] == str(folder)]
