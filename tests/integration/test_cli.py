"""The command line: against a node, without one, and as a program sees it."""

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from typer.testing import CliRunner

from penstock.cli.main import app
from support.node import HAZARDOUS, Node
from support.ports import unused_port

pytestmark = pytest.mark.slow

PENSTOCK = Path(sys.executable).with_name("penstock")

OK, FAILED, USAGE, UNAVAILABLE, NOT_FOUND = range(5)

MODELS = """
    from pydantic import BaseModel
    from penstock import task

    class Macro(BaseModel):
        unemployment: float = 4.0
        interest_rate: float = 3.0

    @task
    def price(spot: float, steps: int = 10, call: bool = True, macro: Macro | None = None) -> float:
        '''Price something.'''
        return spot

    @task
    def awkward(count: int, wait: bool = False, url: str = "", priority: int = 0, key: str = "") -> int:
        return count
"""


class Ran:
    """What a command did."""

    def __init__(self, result):
        self.code = result.exit_code
        self.out = result.stdout
        self.err = result.stderr
        self.exception = result.exception

    @property
    def json(self):
        return json.loads(self.out)

    def well(self):
        """The JSON it printed, if it went well."""
        assert self.code == OK, self.out + self.err
        return self.json


@pytest.fixture
def penstock(monkeypatch, tmp_path):
    """``penstock("get", job_id)`` in an empty folder, with nothing but defaults in the environment."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PENSTOCK_TASKS", str(HAZARDOUS))
    monkeypatch.setenv("PENSTOCK_BROKER_URL", "sqlite:///own/penstock.db?synchronous=normal")

    def run(*words):
        result = CliRunner().invoke(app, [str(word) for word in words])
        assert isinstance(result.exception, SystemExit | None), result.exception
        return Ran(result)

    return run


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    shared = Node(tmp_path_factory.mktemp("cli"))
    try:
        yield shared.start()
    finally:
        shared.kill()


@pytest.fixture
def on_node(penstock, node, monkeypatch):
    """The same beside a running node, whose file the commands share but whose address nobody tells them."""
    monkeypatch.setenv("PENSTOCK_BROKER_URL", node.broker_url)
    return penstock


def test_one_refused_submission_speaks_of_no_list(on_node):
    ran = on_node("submit", "add", "--a", "1", "--b", "1", "--cost-s", "nan")
    assert one_error(ran) == "error: params.cost_s: must be a finite number"


@pytest.mark.parametrize("command", ["up", "api", "worker"])
def test_a_file_with_tasks_that_is_not_there_is_one_line(penstock, command):
    assert one_error(penstock(command, "nowhere.py")) == "error: there is no file 'nowhere.py' with tasks"


def lines(text):
    return [line for line in text.splitlines() if line.strip()]


def one_error(ran):
    """The only line of an error."""
    (line,) = lines(ran.err)
    assert line.startswith("error: ")
    assert "Traceback" not in ran.out + ran.err
    return line


# With a node


def test_node_is_found_by_its_file(on_node, node):
    job = on_node("submit", "noop", "--json").well()
    assert (job["initiated_by"], job["checked_by"]) == (node.name, node.name)


def test_node_is_found_by_its_address(penstock, node, monkeypatch):
    assert penstock("submit", "noop", "--url", node.url, "--json").well()["checked_by"] == node.name
    assert penstock("submit", "--url", node.url, "noop", "--json").well()["checked_by"] == node.name
    assert penstock("jobs", f"--url={node.url}", "--json").well()[0]["checked_by"] == node.name
    monkeypatch.setenv("PENSTOCK_URL", node.url)
    assert penstock("submit", "noop", "--json").well()["checked_by"] == node.name


def test_submit_and_wait(on_node):
    job = on_node("submit", "noop", "--n", 7, "--wait", "--json").well()
    assert (job["state"], job["result"]) == ("succeeded", 7)
    told = on_node("submit", "noop", "--n", 7, "--wait")
    assert told.code == OK
    assert "succeeded" in told.out
    assert "result        7" in told.out


def test_submit_and_wait_for_a_failure(on_node):
    told = on_node("submit", "fails", "--message", "on purpose", "--wait")
    assert told.code == FAILED
    assert "TASK_ERROR" in told.out
    assert "on purpose" in told.out
    told = on_node("submit", "fails", "--wait", "--json")
    assert (told.code, told.json["state"]) == (FAILED, "failed")


def test_wait(on_node):
    ids = [on_node("submit", "noop", "--json").well()["id"] for _ in range(2)]
    assert [job["state"] for job in on_node("wait", *ids, "--json").well()] == ["succeeded"] * 2
    failing = on_node("submit", "fails", "--json").well()["id"]
    assert on_node("wait", ids[0], failing, "--json").code == FAILED
    told = on_node("wait", *ids)
    assert (told.code, len(lines(told.out))) == (OK, 2)


def test_cancel_and_retry_of_a_running_job(on_node):
    job_id = on_node("submit", "nap", "--seconds", 60, "--json").well()["id"]
    assert on_node("cancel", job_id).code == OK
    assert on_node("wait", job_id, "--json").json[0]["state"] == "cancelled"
    assert on_node("retry", job_id, "--json").well()[0]["state"] in ("queued", "running")
    assert on_node("cancel", job_id, "--json").code == OK


def test_doctor_finds_nothing_wrong(on_node, node):
    findings = {each["check"]: each for each in on_node("doctor", "--json").well()}
    assert all(each["ok"] for each in findings.values())
    assert node.url in findings["asked"]["finding"]
    assert "1 live" in findings["workers"]["finding"]
    assert on_node("doctor").code == OK


def test_workers_of_the_node(on_node, node):
    (worker,) = on_node("workers", "--json").well()
    assert (worker["node"], worker["slots"], worker["live"]) == (node.name, 2, True)
    assert node.name in on_node("workers").out


# Without a node


def test_submit_without_a_node_keeps_the_job(penstock):
    told = penstock("submit", "noop", "--n", 3)
    assert told.code == OK
    (line,) = lines(told.out)
    assert "noop" in line
    assert "queued" in line
    (job,) = penstock("jobs", "--json").well()
    assert (job["params"], job["state"]) == ({"n": 3}, "queued")
    assert line.startswith(job["id"])


def test_count_pushes_so_many_jobs_and_prints_a_line_for_each(penstock):
    told = penstock("submit", "noop", "--count", 3)
    assert (told.code, len(lines(told.out))) == (OK, 3)
    assert len(penstock("submit", "noop", "--count", 3, "--json").well()) == 3
    assert len({job["id"] for job in penstock("jobs", "--json").well()}) == 6


def test_count_beyond_one_batch(penstock):
    assert len(penstock("submit", "noop", "--count", 1_001, "--json").well()) == 1_001


def test_options_of_submit(penstock):
    line = "--priority high --queue night --delay 60 --timeout 2 --max-attempts 3 --key once --json"
    words = line.split(" ")
    job = penstock("submit", "noop", *words).well()
    wanted = {"priority": "high", "queue": "night", "state": "scheduled", "max_attempts": 3}
    assert wanted.items() <= job.items()
    assert penstock("submit", "noop", *words).well()["id"] == job["id"]


def test_parameters_as_json_and_from_a_file(penstock, tmp_path):
    assert penstock("submit", "noop", "--params", '{"n": 4}', "--json").well()["params"] == {"n": 4}
    (tmp_path / "params.json").write_text('{"n": 5}')
    assert penstock("submit", "noop", "--params", "@params.json", "--json").well()["params"] == {"n": 5}
    told = penstock("submit", "noop", "--params", "@params.json", "--n", 6, "--json")
    assert told.well()["params"] == {"n": 6}


@pytest.mark.parametrize("params", ["{", "[]", "7", "@no-such-file.json", '{"n": NaN}'])
def test_parameters_that_cannot_be_read(penstock, params):
    told = penstock("submit", "noop", "--params", params)
    assert told.code == USAGE
    assert "--params" in one_error(told)


def test_generated_flags(penstock, tmp_path, monkeypatch):
    (tmp_path / "cli_models.py").write_text(textwrap.dedent(MODELS))
    monkeypatch.setenv("PENSTOCK_TASKS", "cli_models.py")
    words = ["--spot", "1e2", "--steps", "5", "--no-call", "--macro.interest-rate", "2.5", "--json"]
    assert penstock("submit", "price", *words).well()["params"] == {
        "spot": 100,
        "steps": 5,
        "call": False,
        "macro": {"unemployment": 4, "interest_rate": 2.5},
    }
    whole = '{"spot": 1, "macro": {"unemployment": 9}}'
    told = penstock("submit", "price", "--params", whole, "--macro.interest_rate", 1, "--json").well()
    assert told["params"]["macro"] == {"unemployment": 9, "interest_rate": 1}
    missing = penstock("submit", "price")
    assert missing.code == USAGE
    assert "params.spot" in one_error(missing)
    assert penstock("submit", "price", "--spot", "much").code == USAGE
    shown = penstock("submit", "price", "--help").out
    for expected in ("Price something.", "--spot", "[required]", "--macro.interest-rate", "--no-call"):
        assert expected in shown
    assert "price" in penstock("submit", "--help").out


def test_a_simulation_is_extended(on_node):
    option = "--spot-price 100 --strike-price 105 --volatility 0.2 --risk-free-rate 0.05 --time-to-maturity 1"
    asked = ("submit", "european_option", *option.split(" "), "--wait", "--json", "--simulations")
    before = on_node(*asked, 100_000).well()
    larger = on_node("extend", before["id"], "--simulations", 300_000, "--wait", "--json").well()
    assert larger["parent_id"] == before["id"]
    assert larger["result"] == on_node(*asked, 300_000).well()["result"]
    shown = on_node("extend", before["id"], "--help").out
    assert "--target-error" in shown
    assert "--extend" not in shown
    wrong = on_node("extend", before["id"], "--volatility", 0.3)
    assert wrong.code == USAGE
    assert "is not that of the simulation to be extended" in one_error(wrong)
    assert on_node("extend", "01900000-0000-7000-8000-000000000000", "--seed", 1).code == NOT_FOUND


def test_parameters_named_like_options(penstock, tmp_path, monkeypatch):
    (tmp_path / "cli_awkward.py").write_text(textwrap.dedent(MODELS))
    monkeypatch.setenv("PENSTOCK_TASKS", "cli_awkward.py")
    theirs = "--params.count 9 --params.wait --params.url u --params.priority 3 --params.key k"
    ours = "--count 2 --priority low --key once --json"
    jobs = penstock("submit", "awkward", *theirs.split(" "), *ours.split(" ")).well()
    params = {"count": 9, "wait": True, "url": "u", "priority": 3, "key": "k"}
    assert [(job["params"], job["priority"]) for job in jobs] == [(params, "low")] * 2


def test_get(penstock):
    job_id = penstock("submit", "noop", "--n", 3, "--json").well()["id"]
    assert penstock("get", job_id, "--json").well()["params"] == {"n": 3}
    told = penstock("get", job_id)
    assert told.code == OK
    assert {job_id, "queued"} <= set(told.out.split())


def test_cancel_and_retry(penstock):
    ids = [penstock("submit", "noop", "--json").well()["id"] for _ in range(2)]
    assert [job["state"] for job in penstock("cancel", *ids, "--json").well()] == ["cancelled"] * 2
    assert len(lines(penstock("retry", *ids).out)) == 2
    told = penstock("retry", ids[0])
    assert (told.code, "queued" in one_error(told)) == (FAILED, True)


def test_cancel_by_what_jobs_have_in_common(penstock):
    one = penstock("submit", "noop", "--json").well()["id"]
    penstock("submit", "noop", "--count", 3, "--queue", "night")
    assert "3 jobs cancelled" in penstock("cancel", "--queue", "night", "--state", "queued").out
    assert penstock("cancel", one, "--all").code == USAGE
    assert "say which" in one_error(penstock("cancel"))
    assert penstock("cancel", "--all", "--json").well() == {"count": 1, "ids": [one], "skipped": []}


def test_jobs_are_listed_and_filtered(penstock):
    first = penstock("submit", "noop", "--json").well()["id"]
    second = penstock("submit", "nap", "--queue", "night", "--json").well()["id"]
    penstock("cancel", first)

    def listed(*words):
        return [job["id"] for job in penstock("jobs", *words, "--json").well()]

    assert listed() == [second, first]
    assert listed("--state", "cancelled") == [first]
    assert listed("--task", "nap") == listed("--queue", "night") == [second]
    assert listed("--limit", 1) == [second]
    assert listed("--before", second) == [first]
    told = penstock("jobs").out
    assert first in told
    assert second in told
    assert "no such jobs" in penstock("jobs", "--state", "failed").out


def test_tasks(penstock):
    names = [task["name"] for task in penstock("tasks", "--json").well()]
    assert {"noop", "credit_loss"} <= set(names)
    assert "hazard_rate" in penstock("tasks").out
    assert penstock("tasks", "noop", "--json").well()["params_schema"]["properties"]["n"]["type"] == "integer"
    assert penstock("tasks", "noop").json["name"] == "noop"


def test_queues_are_listed_paused_and_resumed(penstock):
    assert "no queue has any job" in penstock("queues").out
    penstock("submit", "noop")
    (queue,) = penstock("queues", "--pause", "default", "--json").well()
    assert (queue["paused"], queue["queued"]) == (True, 1)
    assert "paused" in penstock("queues").out
    assert not penstock("queues", "--resume", "default", "--json").well()[0]["paused"]


def test_pausing_a_queue_that_nobody_knows_is_noted(penstock):
    penstock("submit", "noop", "--n", 1, "--json").well()
    assert "note:" not in penstock("queues", "--pause", "default").err
    told = penstock("queues", "--pause", "no_such", "--json")
    assert {queue["name"]: queue["paused"] for queue in told.well()} == {"default": True, "no_such": True}
    assert "no job is in the queue no_such and no worker takes jobs from it" in told.err


def test_workers_without_any(penstock):
    assert penstock("workers", "--json").well() == []
    assert "penstock worker" in penstock("workers").out


def test_jobs_that_no_worker_takes_are_told(on_node):
    on_node("submit", "noop", "--wait", "--json").well()
    job_id = on_node("submit", "noop", "--queue", "nowhere", "--json").well()["id"]
    shown = {queue["name"]: queue["workers"] for queue in on_node("queues", "--json").well()}
    assert (shown["nowhere"], shown["default"]) == (0, 1)
    assert "no worker takes its jobs" in on_node("queues").out
    told = on_node("doctor", "--json")
    finding = next(each["finding"] for each in told.json if each["check"] == "queues")
    assert (told.code, "nowhere" in finding) == (FAILED, True)
    on_node("cancel", job_id)
    assert "no worker takes its jobs" not in on_node("queues").out
    assert on_node("doctor").code == OK


def test_doctor_without_a_worker(penstock):
    told = penstock("doctor", "--json")
    findings = {each["check"]: each for each in told.json}
    assert told.code == FAILED
    assert not findings["workers"]["ok"]
    assert findings["broker"]["ok"]
    assert "no node" in findings["asked"]["finding"]


# What goes wrong

JOB = "01234567-89ab-7def-8123-456789abcdef"
COMMANDS = {
    "submit": ("submit", "noop"),
    "get": ("get", JOB),
    "wait": ("wait", JOB),
    "cancel": ("cancel", JOB),
    "retry": ("retry", JOB),
    "jobs": ("jobs",),
    "tasks": ("tasks",),
    "queues": ("queues",),
    "workers": ("workers",),
}


def assert_fails(run, words, code, name):
    """The same refusal for people, in one line, and for programs, as JSON."""
    told = run(*words)
    assert told.code == code, told.err
    line = one_error(told)
    told = run(*words, "--json")
    assert (told.code, told.json["error"]["code"]) == (code, name)
    assert told.json["error"]["message"] in line
    assert set(told.json["error"]) == {"code", "message", "details"}


def test_node_that_cannot_be_reached(penstock):
    for words in COMMANDS.values():
        assert_fails(penstock, (*words, "--url", "http://127.0.0.1:1"), UNAVAILABLE, "NODE_UNREACHABLE")


def test_broker_that_cannot_be_opened(penstock, monkeypatch):
    monkeypatch.setenv("PENSTOCK_BROKER_URL", "sqlite:////proc/no/penstock.db")
    for words in COMMANDS.values():
        assert_fails(penstock, words, UNAVAILABLE, "BROKER_UNAVAILABLE")


def test_broker_url_that_is_none(penstock, monkeypatch):
    for url in (
        "amqp://localhost",
        "sqlite://",
        "nonsense",
        "a.b://c",
        "sqlite:///x.db?synchronous=perhaps",
    ):
        monkeypatch.setenv("PENSTOCK_BROKER_URL", url)
        assert_fails(penstock, ("jobs",), USAGE, "INVALID_REQUEST")


@pytest.mark.parametrize("command", ["get", "wait", "cancel", "retry"])
def test_unknown_job(penstock, command):
    assert_fails(penstock, (command, JOB), NOT_FOUND, "JOB_NOT_FOUND")


def test_unknown_task(penstock):
    assert_fails(penstock, ("submit", "no_such_task"), NOT_FOUND, "TASK_UNKNOWN")
    assert_fails(penstock, ("tasks", "no_such_task"), NOT_FOUND, "TASK_UNKNOWN")


def test_invalid_parameters(penstock):
    assert_fails(penstock, ("submit", "credit_loss", "--load", "-5"), USAGE, "VALIDATION_ERROR")
    assert_fails(
        penstock, ("submit", "credit_loss", "--load", "5", "--lgd", "nan"), USAGE, "VALIDATION_ERROR"
    )
    assert_fails(penstock, ("submit", "noop", "--priority", "urgent"), USAGE, "VALIDATION_ERROR")
    assert penstock("jobs", "--json").well() == []


def test_huge_numbers(penstock):
    told = penstock("submit", "noop", "--n", 10**30, "--json").well()
    assert told["params"] == {"n": 10**30}


def test_setting_that_cannot_be_understood(penstock, monkeypatch):
    monkeypatch.setenv("PENSTOCK_LEASE", "soon")
    for words in COMMANDS.values():
        assert_fails(penstock, words, USAGE, "INVALID_REQUEST")
    for command in ("up", "api", "worker", "doctor"):
        told = penstock(command)
        assert (told.code, "PENSTOCK_LEASE" in one_error(told)) == (USAGE, True)


def test_module_that_cannot_be_imported(penstock, monkeypatch):
    monkeypatch.setenv("PENSTOCK_TASKS", "no_such_module_at_all")
    assert_fails(penstock, ("jobs",), USAGE, "INVALID_REQUEST")
    told = penstock("doctor", "--json")
    (tasks,) = [each for each in told.json if each["check"] == "tasks"]
    assert (told.code, tasks["ok"], "no_such_module_at_all" in tasks["finding"]) == (FAILED, False, True)


def test_wrong_usage(penstock):
    for line in ("get", "jobs --limit 0", "jobs --state lost", "submit noop --n x", "jobs stray"):
        told = penstock(*line.split(" "))
        assert (told.code, told.out) == (USAGE, "")
        assert "Traceback" not in told.err
        told = penstock(*line.split(" "), "--json")
        assert (told.code, told.json["error"]["code"]) == (USAGE, "INVALID_REQUEST")
        assert told.json["error"]["message"]


def test_unknown_command(penstock):
    assert penstock("destroy").code == USAGE


def test_public_address_is_refused(penstock):
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.org", ""):
        for command in ("up", "api"):
            told = penstock(command, "--host", host, "--port", 0)
            assert told.code == USAGE
            assert "--insecure" in one_error(told)


def test_the_page_listens_where_the_api_would(penstock, monkeypatch):
    monkeypatch.setenv("PENSTOCK_HOST", "192.0.2.1")
    told = penstock("page")
    assert (told.code, "to serve it on 192.0.2.1" in one_error(told)) == (USAGE, True)


def test_file_of_a_dead_node_is_ignored(penstock, tmp_path):
    with subprocess.Popen(["true"]) as ended:
        pass
    penstock("jobs")
    dead = json.dumps({"url": "http://127.0.0.1:1", "pid": ended.pid})
    for note in ("", "{", "[]", "null", '{"pid": 1}', '{"url": 7, "pid": "x"}', dead):
        (tmp_path / "own" / "penstock.db.node.json").write_text(note)
        assert penstock("jobs", "--json").well() == []


# As a program of its own


def test_console_script(tmp_path):
    broker = {"PENSTOCK_BROKER_URL": f"sqlite:///{tmp_path / 'penstock.db'}", "PATH": "/usr/bin:/bin"}

    def run(*words):
        command = [PENSTOCK, *words]
        return subprocess.run(
            command, cwd=tmp_path, env=broker, capture_output=True, text=True, timeout=60, check=False
        )

    told = run("submit", "credit_loss", "--load", "100000", "--count", "3")
    assert (told.returncode, told.stderr, len(lines(told.stdout))) == (OK, "", 3)
    told = run("jobs", "--json")
    assert len(json.loads(told.stdout)) == 3
    told = run("get", JOB, "--json")
    assert (told.returncode, json.loads(told.stdout)["error"]["code"]) == (NOT_FOUND, "JOB_NOT_FOUND")
    assert len(lines(told.stderr)) == 1
    told = run("--help")
    assert told.returncode == OK
    for command in ("up", "api", "worker", "doctor", *COMMANDS):
        assert f" {command} " in told.stdout


def test_worker_alone_runs_what_was_submitted_to_the_file(penstock, tmp_path, monkeypatch):
    broker_url = f"sqlite:///{tmp_path / 'penstock.db'}"
    monkeypatch.setenv("PENSTOCK_BROKER_URL", broker_url)
    job_id = penstock("submit", "noop", "--n", 9, "--json").well()["id"]
    worker = Node(tmp_path, "worker", broker_url=broker_url, node="alone")
    try:
        worker.start()
        (job,) = penstock("wait", job_id, "--json").well()
        assert (job["result"], job["handled_by"]) == (9, "alone")
        worker.process.send_signal(signal.SIGINT)
        assert worker.wait() == OK
    finally:
        worker.kill()
    assert len(worker.entries("connected, waiting for jobs")) == 1
    assert worker.entries()[-1]["event"] == "stopped"


def test_port_in_use(tmp_path, node):
    other = Node(tmp_path, "api", port=node.port)
    other.launch()
    assert other.wait() == USAGE
    (line,) = lines(other.log)
    assert line.startswith("error: cannot listen on 127.0.0.1:")
    assert str(node.port) in line


def test_api_without_a_broker_says_so_in_one_line(tmp_path):
    lonely = Node(tmp_path, "api", broker_url="sqlite:////proc/no/penstock.db", port=unused_port())
    lonely.launch()
    assert lonely.wait() == UNAVAILABLE
    (line,) = lines(lonely.log)
    assert line.startswith("error: cannot open the broker's file")
