"""History over HTTP and on the command line: lists, files, forgotten jobs, and a database that is away."""

import asyncio
import csv
import importlib
import io
import json
from datetime import UTC, datetime, timedelta

import pyarrow.parquet
import pytest
from msgspec.structs import replace
from typer.testing import CliRunner

from penstock.api import export
from penstock.cli.commands import doctor
from penstock.cli.main import app
from penstock.core.clock import iso, system_clock
from penstock.core.job import JobError, State
from penstock.core.lifecycle import Failed
from penstock.core.record import Record
from support.node import HAZARDOUS, Node
from support.wait import eventually, until

pytestmark = pytest.mark.slow

SOME = Record(id="job-0", state=State.SUCCEEDED, told_at=1, created_at=1, due_at=1)


@pytest.fixture
async def house(open_house):
    """A node's API that records what happens on it."""
    return await open_house(history=True)


async def caught_up(house):
    async def told():
        stands = (await house.ask("GET", "/stats")).json()["history"]
        return stands["cursor"] == await house.broker.head() and stands["lag_s"] == 0

    await eventually(told, what="history has caught up")


async def submit(house, task="noop", client=None, **params):
    answer = await house.ask("POST", "/jobs", {"task": task, "params": params, "client": client})
    return answer.json()["id"]


async def listed(house, query):
    answer = await house.ask("GET", f"/jobs?{query}")
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture
async def ids(house):
    """Five jobs: two of ada's, one that failed, one that waits."""
    found = [
        await submit(house, n=1, client="ada"),
        await submit(house, n=22, client="ada"),
        await submit(house, "nap", seconds=0.5),
        await submit(house, n=22),
        await submit(house, n=5),
    ]
    await house.hands.work(3)
    await house.hands.work(1, Failed(JobError("TASK_ERROR", "no", "trace"), permanent=True))
    await caught_up(house)
    return found


async def names(house, ids, query):
    return [ids.index(job["id"]) for job in (await listed(house, query))["jobs"]]


async def test_lists_are_filtered_and_sorted(house, ids):
    assert await names(house, ids, "client=ada") == [1, 0]
    assert await names(house, ids, "text=22") == [3, 1]
    assert await names(house, ids, "source=history&state=failed") == [3]
    assert await names(house, ids, "source=history&task=nap") == [2]
    assert await names(house, ids, "sort=created_at") == [0, 1, 2, 3, 4]
    assert (await names(house, ids, "sort=task"))[-1] != 2
    later = iso(system_clock() + 60_000).replace("+", "%2B")
    assert await names(house, ids, f"created_before={later}&limit=1") == [4]
    assert await names(house, ids, f"created_after={later}") == []


async def test_the_live_list_stays_the_live_list(house, ids):
    live = await listed(house, "task=noop")
    assert [job["id"] for job in live["jobs"]] == [ids[4], ids[3], ids[1], ids[0]]
    assert "source" not in live["jobs"][0]


async def test_a_recorded_job_looks_like_a_job(house, ids):
    live = await house.job(ids[3])
    (recorded,) = (await listed(house, "source=history&state=failed"))["jobs"]
    told_more = {"source": "history", "client": None, "params_bytes": 8, "result_bytes": None}
    told_less = {"error": live["error"] | {"detail": ""}}  # tracebacks would make lists long
    assert recorded == live | told_less | told_more


async def test_pages_go_on_where_they_ended(house, ids):
    first = await listed(house, "source=history&limit=2&total=true")
    assert first["total"] == 5
    newer = await submit(house)
    await caught_up(house)
    second = await listed(house, f"source=history&limit=2&cursor={first['next']}")
    third = await listed(house, f"source=history&limit=2&cursor={second['next']}")
    found = [job["id"] for page in (first, second, third) for job in page["jobs"]]
    assert found == ids[::-1]
    assert third["next"] is None
    assert [job["id"] for job in (await listed(house, "page=1&limit=1"))["jobs"]] == [newer]
    assert [job["id"] for job in (await listed(house, "page=3&limit=2"))["jobs"]] == [ids[1], ids[0]]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("cursor=nonsense", "cursor"),
        ("text=a&before=x", "before"),
        ("source=broker&client=ada", "client"),
        ("created_after=yesterday", "created_after"),
        ("sort=colour", "sort"),
        ("page=0", "page"),
        ("colour=red", "colour"),
    ],
)
async def test_what_cannot_be_answered_is_refused_by_name(house, query, field):
    answer = await house.ask("GET", f"/jobs?{query}")
    assert answer.status_code == 422
    assert answer.json()["error"]["details"]["fields"][0]["field"] == field


async def test_a_job_that_the_broker_has_forgotten_is_answered_from_history(house, ids):
    await house.broker.purge(ids[:1])
    found = await house.job(ids[0])
    assert (found["source"], found["result"], found["state"]) == ("history", 42, "succeeded")
    assert (await house.ask("GET", "/jobs/none-of-ours")).status_code == 404


async def test_csv(house, ids):
    answer = await house.ask("GET", "/jobs/export?format=csv&sort=created_at")
    assert answer.headers["content-type"].startswith("text/csv")
    found = list(csv.DictReader(io.StringIO(answer.text)))
    assert [row["id"] for row in found] == ids
    assert [row["params"] for row in found][:2] == ['{"n":1}', '{"n":22}']
    assert (found[3]["error_code"], found[3]["result"], found[0]["result"]) == ("TASK_ERROR", "", "42")
    assert datetime.fromisoformat(found[0]["created_at"]).tzinfo is not None


async def test_jsonl(house, ids):
    answer = await house.ask("GET", "/jobs/export?format=jsonl&client=ada")
    found = [json.loads(line) for line in answer.text.splitlines()]
    assert [(row["id"], row["params"], row["result"]) for row in found] == [
        (ids[1], {"n": 22}, 42),
        (ids[0], {"n": 1}, 42),
    ]


async def test_parquet(house, ids):
    answer = await house.ask("GET", "/jobs/export?format=parquet&sort=created_at")
    table = pyarrow.parquet.read_table(io.BytesIO(answer.content))
    assert table.column("id").to_pylist() == ids
    assert table.column("finished_at").to_pylist()[4] is None
    lived = datetime.now(UTC) - table.column("created_at").to_pylist()[0]
    assert timedelta(0) <= lived < timedelta(minutes=5)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
async def test_a_file_without_jobs_is_a_file(house, form):
    answer = await house.ask("GET", f"/jobs/export?format={form}&client=nobody")
    assert answer.status_code == 200
    if form == "parquet":
        assert pyarrow.parquet.read_table(io.BytesIO(answer.content)).num_rows == 0
    else:
        assert len(answer.text.splitlines()) == (form == "csv")


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
async def test_a_file_is_written_while_it_is_read(house, ids, monkeypatch, form):
    monkeypatch.setattr("penstock.service.archive.EXPORT_PAGE", 1)
    answer = await house.ask("GET", f"/jobs/export?format={form}&sort=created_at")
    whole = io.BytesIO(answer.content)
    if form == "parquet":
        assert pyarrow.parquet.ParquetFile(whole).num_row_groups >= len(ids)
    else:
        assert len(answer.text.splitlines()) == len(ids) + (form == "csv")


@pytest.mark.parametrize("form", list(export.FORMATS))
async def test_a_list_is_sent_before_the_next_is_read(form):
    sent = []

    async def lists():
        for number in range(1, 4):
            assert len(sent) == number, "the last list was not sent yet"
            yield [replace(SOME, id=f"job-{number}", created_at=number)]

    async for piece in export.FORMATS[form].write([SOME], lists()):
        sent.append(piece)  # noqa: PERF401 - the lists look at it meanwhile
    assert all(sent)


async def test_parquet_says_what_it_lacks(house, monkeypatch):
    def without(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(export, "importlib", type("missing", (), {"import_module": staticmethod(without)}))
    assert importlib.import_module("pyarrow")
    answer = await house.ask("GET", "/jobs/export?format=parquet")
    assert answer.status_code == 400
    assert "penstock[parquet]" in answer.json()["error"]["message"]


async def test_without_its_database_jobs_go_on(open_house, tmp_path):
    (tmp_path / "file").touch()
    house = await open_house(history=True, database_url=f"sqlite:///{tmp_path}/file/history.db")
    job_id = await house.submit()
    await house.hands.live()
    await house.hands.work()
    assert (await house.job(job_id))["state"] == "succeeded"
    asked = await house.ask("GET", "/jobs?source=history")
    assert (asked.status_code, asked.json()["error"]["code"]) == (503, "HISTORY_UNAVAILABLE")
    assert asked.headers["retry-after"] == "5"
    assert (await house.ask("GET", "/jobs/export")).status_code == 503
    assert (await house.ask("GET", "/jobs/unknown")).status_code == 404
    assert (await house.ask("GET", "/healthz")).status_code == 200
    health = (await house.ask("GET", "/health")).json()
    assert (health["status"], health["history"]["status"]) == ("ok", "unavailable")
    stands = (await house.ask("GET", "/stats")).json()["history"]
    assert (stands["connected"], stands["lag_s"], stands["recording"]) == (False, None, False)
    assert "penstock_history_up 0.0" in (await house.ask("GET", "/metrics")).text
    (check, ok, said) = doctor._history(health["history"])
    assert (check, ok) == ("history", False)
    assert "jobs are not affected" in said


async def test_switched_off_it_is_not_there(open_house, tmp_path):
    house = await open_house(history=False)
    assert (await house.ask("GET", "/jobs?source=history")).status_code == 400
    assert (await house.ask("GET", "/jobs/export")).status_code == 400
    assert (await house.ask("GET", "/jobs/unknown")).status_code == 404
    assert (await house.ask("GET", "/stats")).json()["history"] is None
    assert not list(tmp_path.glob("*history*"))


async def test_metrics_tell_the_lag(house, ids):
    text = (await house.ask("GET", "/metrics")).text
    assert "penstock_history_up 1.0" in text
    assert "penstock_history_lag_seconds 0.0" in text


def test_doctor_tells_a_long_lag():
    assert doctor._history(None) is None
    assert doctor._history({"status": "ok", "lag_s": 3.2}) == ("history", True, "3 s behind")
    assert doctor._history({"status": "ok", "lag_s": 3_600.0})[1] is False


async def test_the_command_line_lists_and_exports(house, ids, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PENSTOCK_BROKER_URL", house.url)
    monkeypatch.setenv("PENSTOCK_TASKS", str(HAZARDOUS))
    monkeypatch.setenv("PENSTOCK_HISTORY", "on")

    def run(*words):
        ran = CliRunner().invoke(app, ["history", *words])
        assert ran.exit_code == 0, ran.output
        return ran.stdout

    listed = await asyncio.to_thread(run, "--client", "ada", "--since", "1h", "--json")
    assert [job["id"] for job in json.loads(listed)] == [ids[1], ids[0]]
    table = await asyncio.to_thread(run, "--text", "22", "--sort", "created_at")
    assert table.index(ids[1]) < table.index(ids[3])
    written = await asyncio.to_thread(run, "--format", "csv")
    assert len(list(csv.DictReader(io.StringIO(written)))) == 5
    lines = await asyncio.to_thread(run, "--format", "jsonl", "--until", "1h")
    assert lines == ""


def test_a_node_records_by_itself_beside_its_file(tmp_path):
    node = Node(tmp_path, history="on")
    try:
        node.start()
        job = node.client.submit("noop", {"n": 7}, wait_s=20, client="ada")

        def recorded():
            ran = CliRunner().invoke(app, ["history", "--client", "ada", "--json", "--url", node.url])
            return [each["result"] for each in json.loads(ran.stdout)] == [job.result]

        until(recorded)
        assert (tmp_path / "penstock-history.db").exists()
        assert node.stop() == 0
    finally:
        node.kill()
