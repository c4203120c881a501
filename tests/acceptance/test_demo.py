"""The demo as it is without a terminal: it ends by itself, leaves its files, and leaves no process behind."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.ports import unused_port
from support.wait import until

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"
PNG = b"\x89PNG\r\n\x1a\n"
ENDS_S = 90

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where the demo works; whatever it left running there is ended."""
    yield tmp_path
    for process in processes_in(tmp_path):
        process.kill()


def start(folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    # Demos that begin together would all find the usual port free.
    command = [sys.executable, str(DEMO), "--output", str(folder), "--port", str(unused_port()), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def processes_in(folder: Path) -> list[psutil.Process]:
    """The node works in the demo's folder, and so does everything it starts."""
    return [each for each in psutil.process_iter(["cwd"]) if each.info["cwd"] == str(folder)]


def test_a_small_demo_prints_a_table_and_draws_a_picture(folder):
    demo = start(folder, "--loans", "200000", "--repeats", "20")
    printed, _ = demo.communicate(timeout=ENDS_S)
    assert demo.returncode == 0, printed
    for word in ("calm", "downturn", "severe", "7.6771 %", "expected credit loss", "p5", "p95", "elapsed"):
        assert word in printed
    assert (folder / "credit_loss.png").read_bytes().startswith(PNG)
    assert str(folder / "credit_loss.png") in printed
    assert "connected, waiting for jobs" in (folder / "node.log").read_text()
    until(lambda: not processes_in(folder), what="nobody is left")


def test_an_interrupted_demo_stops_its_node_and_leaves_no_job(folder):
    demo = start(folder, "--repeats", "10000")
    assert demo.stdout is not None
    seen = next(line for line in demo.stdout if " % " in line and "queued" not in line)
    demo.send_signal(signal.SIGINT)
    printed, _ = demo.communicate(timeout=ENDS_S)
    assert demo.returncode == 130, seen + printed
    assert "Traceback" not in printed
    until(lambda: not processes_in(folder), what="nobody is left")
    following = start(folder, "--loans", "10000", "--repeats", "2")
    printed, _ = following.communicate(timeout=ENDS_S)
    assert following.returncode == 0, printed


def test_a_node_that_cannot_start_is_told_with_its_log(folder):
    (folder / ".env").write_text("PENSTOCK_SLOTS=none")
    demo = start(folder)
    printed, _ = demo.communicate(timeout=ENDS_S)
    assert demo.returncode == 1
    assert "the node ended by itself" in printed
    assert "PENSTOCK_SLOTS" in printed
    until(lambda: not processes_in(folder), what="nobody is left")
