"""After a fault: no process is left over, and ``penstock doctor`` names what is, on this machine."""

import fcntl
import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from support.node import alive
from support.wait import until

pytestmark = pytest.mark.slow


def doctor(node):
    """The findings by name, and the exit code."""
    command = [sys.executable, "-m", "penstock", "doctor", "--json"]
    told = subprocess.run(
        command,
        env=node.environment,
        cwd=node.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert told.stdout, told.stderr
    return {each["check"]: each for each in json.loads(told.stdout)}, told.returncode


def test_a_slot_that_is_deep_in_c_code_does_not_outlive_its_supervisor(make_node, tmp_path):
    node, mark, left = make_node(slots=2), tmp_path / "mark", tmp_path / "left"
    node.client.submit("deaf", {"mark": str(mark)})
    node.client.submit("spawns", {"stay": 600, "mark": str(left)})
    until(lambda: mark.exists() and left.exists(), what="both run")
    pids = [*node.pids("slot"), *node.pids("zygote"), int(left.read_text())]
    assert len(pids) == 4
    node.signal("worker", signal.SIGKILL)
    until(lambda: not any(map(alive, pids)), what="all are gone")


def test_a_slot_in_c_code_does_not_outlive_supervisor_and_zygote_together(make_node, tmp_path):
    """Nobody is left to kill it but the kernel."""
    node, mark = make_node(slots=1), tmp_path / "mark"
    node.client.submit("deaf", {"mark": str(mark)})
    until(mark.exists, what="it runs")
    (slot,) = node.pids("slot")
    zygote, worker = node.pid("zygote"), node.pid("worker")
    os.kill(zygote, signal.SIGSTOP)  # so that it cannot see the supervisor's end before its own
    os.kill(worker, signal.SIGKILL)
    os.kill(zygote, signal.SIGKILL)
    until(lambda: not alive(slot), what="the slot is gone")


def test_doctor_names_a_process_that_outlived_its_worker_until_it_is_gone(make_node, tmp_path):
    node, left = make_node(slots=1), tmp_path / "left"
    assert doctor(node)[0]["processes"]["ok"]
    node.client.submit("spawns", {"stay": 600, "mark": str(left)})
    until(left.exists, what="it has started its process")
    zygote, worker, stray = node.pid("zygote"), node.pid("worker"), int(left.read_text())
    try:
        assert doctor(node)[0]["processes"]["ok"], "its worker lives"
        os.kill(zygote, signal.SIGSTOP)
        os.kill(worker, signal.SIGKILL)
        os.kill(zygote, signal.SIGKILL)
        until(lambda: str(stray) in doctor(node)[0]["processes"]["finding"], what="doctor names it")
    finally:
        psutil.Process(stray).kill()
    until(lambda: str(stray) not in doctor(node)[0]["processes"]["finding"], what="doctor has forgotten it")


def test_doctor_names_what_a_dead_worker_spooled_until_it_is_settled(make_node, tmp_path):
    api = make_node("api")
    worker = make_node("worker", slots=1)
    mark, go = tmp_path / "mark", tmp_path / "go"
    job_id = api.client.submit("nap", {"seconds": 0.0, "mark": str(mark), "release": str(go)}).id
    until(mark.exists, what="it runs")
    lock = os.open(tmp_path / "penstock.db.lock", os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    go.touch()
    until(lambda: spooled(tmp_path), what="the outcome is spooled")
    worker.kill()
    os.close(lock)
    finding = doctor(api)[0]["spool"]
    assert not finding["ok"]
    assert "1 outcomes of a dead worker in .penstock/spool/" in finding["finding"]
    make_node("worker", node="next")
    assert api.client.wait(job_id, 60).state == "succeeded"
    findings, code = until(lambda: well(api), what="all is well again")
    assert (findings["spool"]["finding"], code) == ("empty", 0)


def spooled(folder):
    """Whether an outcome is in a worker's file, which is there a moment before."""
    return any(path.stat().st_size for path in folder.glob(".penstock/spool/*.spool"))


def well(node):
    findings, code = doctor(node)
    return code == 0 and (findings, code)
