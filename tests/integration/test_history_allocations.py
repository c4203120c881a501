"""Rows of allocations beside the jobs that they are of, on a real SQLite and a real PostgreSQL."""

import json

import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from penstock.core.chapter import Chapter
from penstock.core.job import State
from penstock.core.record import Record
from penstock.history.schema import allocations
from penstock.history.store import SqlHistory
from penstock.tasks.habitat.reference import packaged
from penstock.tasks.habitat.task import Request, allocate
from support.databases import DATABASES

pytestmark = pytest.mark.slow

REQUEST = Request(
    demand_df={"habitat_name": ["Lowland meadow", "Mixed scrub"], "units_required": [0.8, 1.5]},
    target_lpa="Winchester",
    target_nca="South Downs",
)


@pytest.fixture(params=DATABASES)
def history(request, tmp_path):
    opened = SqlHistory(DATABASES[request.param](tmp_path), "ns")
    opened.open()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def bought():
    return allocate(REQUEST, packaged())


@pytest.fixture
def job(bought):
    return Record(
        id="job",
        state=State.SUCCEEDED,
        task="habitat_allocation",
        told_at=9,
        created_at=1,
        due_at=1,
        finished_at=9,
        result=bought.model_dump_json(),
        result_bytes=1,
    )


def write(history, *records):
    place = history.take("writer", history.place())
    assert history.record(place, Chapter(cursor="1", told_at=1, records=records)) is not None


def rows(history):
    with history._engine.connect() as db:
        found = db.execute(sa.select(allocations).order_by(allocations.c.job_id, allocations.c.number))
        return [dict(row) for row in found.mappings()]


def test_rows_are_those_of_the_result_however_often_it_is_recorded(history, job, bought):
    write(history, job)
    write(history, job, replace(job, id="other"))
    assert [(row["job_id"], row["number"]) for row in rows(history)] == [
        ("job", 1),
        ("job", 2),
        ("other", 1),
        ("other", 2),
    ]
    for kept, row in zip(rows(history), bought.allocation, strict=False):
        told = row.model_dump(exclude={"stock_taken"})
        assert {name: kept[name] for name in told} == told
        assert kept["data_version"] == bought.data_version
        assert kept["contract_size"] == bought.contract_size


def test_rows_outlive_the_result_and_go_with_the_job(history, job):
    write(history, job)
    history.trim(results_before=100, jobs_before=0, limit=10)
    assert history.get("job").result is None
    write(history, history.get("job"))
    assert len(rows(history)) == 2
    history.trim(results_before=0, jobs_before=100, limit=10)
    assert rows(history) == []


def test_a_job_that_runs_anew_has_no_rows_until_it_has_succeeded(history, job):
    write(history, job)
    write(history, replace(job, state=State.RUNNING, result=None, finished_at=None))
    assert rows(history) == []


@pytest.mark.parametrize("result", ["42", "null", '{"allocation": [{"bank": "x"}]}', json.dumps({"a": 1})])
def test_a_result_of_another_shape_is_recorded_without_rows(history, job, result):
    write(history, replace(job, result=result))
    assert history.get("job").result == result
    assert rows(history) == []
    write(history, replace(job, id="b", task="other"))
    assert rows(history) == []
