"""An operator's morning: what died, why, try again with and without other parameters, clear away."""

import json
import os
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture
def penstock(node):
    """``penstock("dead", "list")``: a command that talks to the node; what it printed."""

    def run(*words, code=0):
        environment = os.environ | {"PENSTOCK_URL": node.url}
        ran = subprocess.run(
            [sys.executable, "-m", "penstock", *words],
            env=environment,
            cwd=node.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == code, ran.stdout + ran.stderr
        return json.loads(ran.stdout) if "--json" in words else ran.stdout + ran.stderr

    return run


def failures(told):
    """The codes of a job's failed attempts; one that was handed back unbegun is remembered too."""
    return [attempt["code"] for attempt in told["attempts"] if attempt["outcome"] == "failed"]


def test_dead_letters_from_the_command_line(node, penstock):
    failing = [node.client.submit("fails", {"message": f"reason {n}"}).id for n in range(3)]
    crashing = node.client.submit("segfault").id
    hoarding = node.client.submit("hoard").id
    late = node.client.submit("soft_loop").id
    dead = [*failing, crashing, hoarding, late]
    assert {node.client.wait(job_id, 60).state for job_id in dead} == {"failed"}

    assert penstock("dead", "list", "--json")[0]["attempts"][-1]["code"] == "TIMED_OUT"
    told = penstock("dead", "list")
    assert all(job_id in told for job_id in dead)
    assert "CRASHED: SIGSEGV" in told
    assert "MiB > limit 286.1 MiB" in told
    assert "TIMED_OUT: took longer than 0.3 s" in told
    assert [job["id"] for job in penstock("dead", "list", "--code", "CRASHED", "--json")] == [crashing]
    assert penstock("dead", "list", "--ended-before", "1h", "--json") == []
    assert len(penstock("dead", "list", "--ended-after", "1h", "--task", "fails", "--json")) == 3

    told = penstock("dead", "show", failing[0])
    assert "Traceback" in told
    assert told.count("TASK_ERROR") == 4, "the reason and each of three attempts"
    assert failures(penstock("get", crashing, "--attempts", "--json")) == ["CRASHED"] * 2
    assert "attempts" not in penstock("get", crashing, "--json")

    assert "1 dead letter queued anew" in penstock("dead", "retry", failing[0])
    assert node.client.wait(failing[0], 60).state == "failed"
    assert failures(penstock("get", failing[0], "--attempts", "--json")) == ["TASK_ERROR"] * 6
    again = penstock("dead", "retry", crashing, "--params", "{}", "--json")
    assert (again["parent_id"], again["task"]) == (crashing, "segfault")
    assert node.client.wait(again["id"], 60).state == "failed"

    assert "say which" in penstock("dead", "purge", code=2)
    assert penstock("dead", "purge", hoarding, "nobody", "--json")["skipped"] == ["nobody"]
    assert penstock("dead", "purge", "--task", "fails", "--json")["count"] == 3
    assert set(penstock("dead", "purge", "--all", "--json")["ids"]) == {crashing, again["id"], late}
    assert "no dead letters" in penstock("dead", "list")
    assert "there is no job" in penstock("get", crashing, code=4)
