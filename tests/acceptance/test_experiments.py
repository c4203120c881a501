"""The proof kit, run for real with small counts: it keeps what is kept, and tells what is broken."""

import json
import signal
import uuid

import psutil
import pytest

from penstock.core.keys import Role, entry, mint
from support.experiments import Desk, own_task
from support.node import alive
from support.programs import redis_program
from support.redis_server import RedisServer
from support.services import shared
from support.wait import until

pytestmark = pytest.mark.slow

BROKERS = ["sqlite", "redis"]
QUICK = ("--delay-ms", 100, "--limit", 120, "--slots", 4)
LONG_ENOUGH = ("--delay-ms", 800)
"""That a kill falls into jobs that run, though a busy machine be late with it: they begin together."""

EACH = pytest.mark.parametrize("broker", BROKERS)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path)


@pytest.fixture(autouse=True)
def _programs(request):
    if "redis" in request.node.name:
        redis_program()


def ledger(desk, *words, expect=0, **variables):
    said = desk.run(*words, expect=expect, **variables)
    report = desk.report()
    assert report["kept"] is (expect == 0)
    assert report["verdict"] in said
    assert desk.left_over() == []
    return report["results"]


@EACH
def test_kill_inflight_loses_and_doubles_nothing(desk, broker):
    found = ledger(desk, "kill-inflight", "-n", 32, "--broker", broker, *QUICK, *LONG_ENOUGH)
    assert (found["attempted"], found["accepted"], found["succeeded"]) == (32, 32, 32)
    assert (found["lost"], found["duplicated"], found["failed"], found["foreign_lines"]) == (0, 0, 0, 0)
    assert found["re_executed"] >= 1
    assert found["shares"] == {"worker-1": 32}
    (recovery,) = found["recoveries"]
    assert recovery["interrupted_s"] is not None
    assert found["worst_recovery_s"] >= recovery["interrupted_s"]


@EACH
def test_at_most_once_shows_the_loss(desk, broker):
    words = ("kill-inflight", "-n", 24, "--broker", broker, "--mode", "at-most-once", *QUICK)
    found = ledger(desk, *words, "--delay-ms", 1000)
    assert 1 <= found["lost"] <= 4, "what the four slots had in hand"
    assert found["accepted"] == found["succeeded"] == 24, "so the books say"
    assert found["duplicated"] == 0
    assert len(found["examples"]["lost"]) == found["lost"]


@pytest.mark.parametrize(
    ("task", "figure", "told"),
    [
        ("drops_every_tenth", {"lost": 3}, "3 lost"),
        ("doubles_every_tenth", {"duplicated": 3}, "3 duplicated"),
        ("fails_every_tenth", {"failed": 3, "lost": 0}, "3 failed"),
    ],
)
def test_a_broken_promise_is_told_by_the_exit_code(desk, task, figure, told):
    said = desk.run("slam-api", "-n", 30, *own_task(task), *QUICK, "--delay-ms", 0, expect=1)
    report = desk.report()
    assert report["verdict"].startswith("BROKEN: ")
    assert told in report["verdict"]
    assert report["verdict"] in said
    assert {name: report["results"][name] for name in figure} == figure


def test_kill_inflight_needs_a_task_that_bears_repeating(desk):
    kept = ledger(desk, "kill-inflight", "-n", 24, *own_task("deliver"), *QUICK, *LONG_ENOUGH)
    assert (kept["lost"], kept["duplicated"]) == (0, 0)


def test_scale_workers_gives_every_worker_some(desk):
    found = ledger(desk, "scale-workers", "-n", 90, "-p", 20, "--delay-ms", 150)
    assert sorted(found["shares"]) == ["worker-1", "worker-2", "worker-3"]
    assert sum(found["shares"].values()) == 90
    assert found["re_executed"] == 0


def test_slam_api_counts_status_codes(desk):
    found = ledger(desk, "slam-api", N=200, P=40)
    assert found["statuses"] == {"200": 200}
    assert 0 < found["answer_ms"]["p50"] <= found["answer_ms"]["p99"] <= found["answer_ms"]["max"]


def test_slam_api_aims_at_a_running_deployment(desk, make_node, tmp_path):
    node = make_node("up", queues="messages")
    node.environment["OUTPUT_PATH"] = str(tmp_path / "processed.log")
    node.stop()
    node.launch()
    node.wait_ready()
    found = ledger(desk, "slam-api", "-n", 50, "-p", 5, "--api", node.url)
    assert (found["accepted"], found["lost"]) == (50, 0)
    assert found["shares"] == {node.name: 50}
    assert len((tmp_path / "processed.log").read_text().splitlines()) == 50
    assert node.answers(), "it is left running"


def test_a_deployment_that_wants_a_key_gets_it(desk, make_node):
    text, key = mint("tester", Role.SUBMIT)
    node = make_node("api", api_keys=entry(key))
    words = ("slam-api", "-n", 20, "-p", 5, "--api", node.url, "--limit", 0)
    said = desk.run(*words, expect=1, PENSTOCK_API_KEY=text)  # there is no worker, so nothing is done
    report = desk.report()
    assert report["results"]["statuses"] == {"200": 20}
    assert text not in said + json.dumps(report)


def test_an_api_that_refuses_breaks_the_promise(desk, make_node):
    node = make_node("api")
    words = ("slam-api", "-n", 20, "-p", 5, "--api", node.url, "--task", "nosuch")
    found = ledger(desk, *words, expect=1)
    assert (found["statuses"], found["refused"]) == ({"404": 20}, 20)


@EACH
def test_restart_persistence_loses_nothing(desk, broker):
    found = ledger(desk, "restart-persistence", "--broker", broker, "--delay-ms", 200)
    assert (found["accepted"], found["succeeded"], found["lost"], found["duplicated"]) == (20, 20, 0, 0)


@EACH
def test_lose_broker_recovers_each_time(desk, broker):
    words = ("lose-broker", "-n", 80, "--rounds", 2, "--outage", 1, "--broker", broker, *QUICK)
    found = ledger(desk, *words)
    assert (found["accepted"] + found["refused"], found["lost"], found["duplicated"]) == (80, 0, 0)
    assert [each["first_start_s"] is not None for each in found["recoveries"]] == [True, True]
    assert all(each["down_s"] >= 1 for each in found["recoveries"])


def keys(server, pattern):
    with server.client(decode_responses=False) as client:
        return set(client.keys(pattern))


def test_a_users_redis_is_left_as_it_was(desk):
    server, mark = shared(RedisServer), f"mark-{uuid.uuid4()}"
    server.ask("SET", mark, "here")
    try:
        before = keys(server, "*")
        assert ledger(desk, "slam-api", "-n", 20, "--broker", server.url("mine"))["lost"] == 0
        assert keys(server, "*penstock-experiment*") == set()
        assert before <= keys(server, "*")
        assert keys(server, "{mine}*") == set(), "it did not work in the user's namespace"
    finally:
        server.ask("DEL", mark)


def test_the_report_says_what_was_done(desk):
    desk.run("scale-workers", "--json", N=24, P=12, PROCESSING_DELAY_MS=300, KILL_AFTER=4)
    (path,) = desk.reports.iterdir()
    assert path.name.startswith("scale-workers-2")
    assert path.name.endswith("Z.json")
    report = desk.report()
    wanted = {"messages": 24, "parallel": 12, "delay_ms": 300, "kill_after": 4, "workers": 3, "api": None}
    assert wanted.items() <= report["settings"].items()
    assert report["settings"]["mode"] == "at-least-once"
    assert report["command"] == "penstock experiment scale-workers --json"
    assert report["git_sha"] is None, "the folder is no repository"
    assert report["started"] < report["ended"]
    assert report["duration_s"] > 0


def processes_of(process):
    return psutil.Process(process.pid).children(recursive=True)


def test_an_experiment_that_is_killed_leaves_no_process_and_clean_removes_its_files(desk):
    process = desk.start("kill-inflight", "-n", 200, "--broker", "redis", "--delay-ms", 500)
    try:
        until(lambda: list(desk.temporary.glob("*/processed.log")), what="messages are processed")
        family = processes_of(process)
    finally:
        process.kill()
        process.communicate()
    until(lambda: not any(alive(each.pid) for each in family), what="all are gone")
    (folder,) = desk.left_over()
    assert folder in desk.run("clean")
    assert desk.left_over() == []


def test_ctrl_c_cleans_up(desk):
    process = desk.start("kill-inflight", "-n", 200, "--delay-ms", 500)
    try:
        until(lambda: len(processes_of(process)) >= 4, what="it runs")
        family = processes_of(process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    until(lambda: not any(alive(each.pid) for each in family), what="all are gone")
    assert desk.left_over() == []


def test_clean_removes_what_is_of_experiments_only(desk):
    server, run = shared(RedisServer), f"penstock-experiment-20260101T000000Z-{uuid.uuid4().hex[:6]}"
    live = f"penstock-experiment-{uuid.uuid4().hex[:6]}"
    desk.reports.mkdir()
    for name in ("kill-inflight-20260101T000000Z.json", "slam-api-20260101T000000Z-2.json", "notes.json"):
        (desk.reports / name).write_text("{}")
    for name, pid in ((live, psutil.Process().pid), (run, 2**22 + 1)):
        (desk.temporary / name).mkdir()
        (desk.temporary / name / "run.json").write_text(json.dumps({"pid": pid}))
        server.ask("SET", f"{{{name}}}:jobs", "x")
    server.ask("SET", "{other}:jobs", "x")
    try:
        desk.run("clean", "--broker", server.url())
        assert [path.name for path in desk.reports.iterdir()] == ["notes.json"]
        assert desk.left_over() == [live]
        left = (
            server.ask("EXISTS", f"{{{run}}}:jobs"),
            server.ask("EXISTS", f"{{{live}}}:jobs", "{other}:jobs"),
        )
        assert left == (0, 2)
    finally:
        server.ask("DEL", f"{{{live}}}:jobs", "{other}:jobs")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("kill-inflight", "--api", "http://127.0.0.1:1"), "starts its own"),
        (("slam-api", "--mode", "at-most-once"), "kills no worker"),
        (("lose-broker", "--broker", "redis://127.0.0.1:1/0"), "--broker redis"),
        (("slam-api", "--broker", "nonsense"), "--broker is sqlite"),
        (("slam-api", "-n", 0), "too small: messages 0"),
        (("slam-api", "--api", "http://127.0.0.1:1", "--broker", "redis"), "leave out --broker"),
    ],
)
def test_what_cannot_be_run_is_refused(desk, words, told):
    assert told in desk.run(*words, expect=2)
    assert desk.left_over() == []


def test_help_lists_what_each_proves(desk):
    said = desk.run("help")
    for name in ("kill-inflight", "scale-workers", "slam-api", "restart-persistence", "lose-broker"):
        assert name in said


def test_experiments_are_seen_while_they_run(desk):
    process = desk.start("slam-api", "-n", 20, "-p", 2, "--delay-ms", 100)
    _, err = process.communicate(timeout=60)
    first, *_, last = [line for line in err.splitlines() if line.startswith("slam-api: ")]
    assert "attempted 0/20" in first
    assert "attempted 20/20  accepted 20  done 20  open 0  duplicated 0" in last


def test_an_experiment_whose_node_cannot_start_says_why(desk):
    said = desk.run("slam-api", "--module", "nosuchmodule", "--task", "x", expect=1)
    assert "nosuchmodule" in said
    assert desk.left_over() == []
