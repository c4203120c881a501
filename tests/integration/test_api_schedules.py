"""Schedules through the API: made, listed, changed, paused, run and removed; their jobs by a ticker."""

import asyncio
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from penstock.core.job import State
from penstock.core.schedule import SHELF, decode
from penstock.core.schedule_forms import ScheduleView
from penstock.service import ticker
from penstock.service.ticker import Ticker
from support.wait import eventually

PARAMS = {"seconds": 1, "mark": "m", "release": ""}
NIGHTLY = {"name": "nightly", "cron": "0 2 * * *", "task": "nap", "params": PARAMS}


async def made(house, **changes):
    answer = await house.ask("POST", "/schedules", NIGHTLY | changes)
    assert answer.status_code == 201, answer.text
    return answer.json()


def fields(answer):
    assert answer.status_code == 422, answer.text
    return [each["field"] for each in answer.json()["error"]["details"]["fields"]]


def at(text):
    return datetime.fromisoformat(text)


async def test_a_schedule_shows_what_it_will_do(house):
    shown = await made(house, timezone="Europe/Berlin", priority="high", queue="batch", missed="all")
    assert set(shown) == set(ScheduleView.model_fields)
    assert (shown["task"], shown["params"]) == ("nap", NIGHTLY["params"])
    assert (shown["priority"], shown["queue"], shown["missed"]) == ("high", "batch", "all")
    assert (shown["created_by"], shown["last_tick"], shown["last_job"]) == ("house", None, None)
    assert len(shown["next"]) == 5
    for each in shown["next"]:
        assert at(each) > datetime.now(UTC)
        assert at(each).astimezone(ZoneInfo("Europe/Berlin")).hour in {2, 3}
    again = (await house.ask("GET", "/schedules/nightly")).json()
    assert again == shown
    assert (await house.ask("GET", "/schedules")).json() == {"schedules": [shown]}


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"cron": "0 25 * * *"}, "cron"),
        ({"cron": "0 0 30 2 *"}, "cron"),
        ({"cron": ""}, "body.cron"),
        ({"timezone": "Europe/Bielefeld"}, "timezone"),
        ({"params": {"seconds": "soon"}}, "params.seconds"),
        ({"missed": "twice"}, "body.missed"),
        ({"name": "a b"}, "body.name"),
        ({"colour": "red"}, "body.colour"),
    ],
)
async def test_what_is_wrong_is_refused_at_once(house, changes, field):
    answer = await house.ask("POST", "/schedules", NIGHTLY | changes)
    (named,) = fields(answer)
    assert named.endswith(field.removeprefix("body."))
    assert (await house.ask("GET", "/schedules")).json() == {"schedules": []}


async def test_an_unknown_task_and_a_name_that_is_taken(house):
    assert (await house.ask("POST", "/schedules", NIGHTLY | {"task": "nope"})).status_code == 404
    await made(house)
    answer = await house.ask("POST", "/schedules", NIGHTLY | {"cron": "1 1 1 1 *"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "CONFLICT")
    assert (await house.ask("GET", "/schedules/nightly")).json()["cron"] == "0 2 * * *"


@pytest.mark.parametrize("verb", ["GET ", "DELETE ", "POST /pause", "POST /resume", "POST /run"])
async def test_an_unknown_schedule(house, verb):
    method, _, rest = verb.partition(" ")
    answer = await house.ask(method, f"/schedules/nobody{rest}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")


async def test_another_definition_keeps_the_name_and_the_past(house):
    old = await made(house)
    body = {name: value for name, value in NIGHTLY.items() if name != "name"}
    new = (await house.ask("PUT", "/schedules/nightly", body | {"cron": "0 3 * * *"})).json()
    assert (new["cron"], new["created_at"]) == ("0 3 * * *", old["created_at"])
    assert (await house.ask("PUT", "/schedules/other", body)).status_code == 404


async def test_run_now_submits_a_job_also_while_paused(house):
    await made(house)
    assert (await house.ask("POST", "/schedules/nightly/pause")).json()["next"] == []
    answer = await house.ask("POST", "/schedules/nightly/run")
    assert answer.status_code == 202
    job = answer.json()
    assert (job["task"], job["params"], job["initiated_by"]) == ("nap", NIGHTLY["params"], "house")
    assert job["request_id"].startswith("schedule:nightly@")
    assert (await house.ask("POST", "/schedules/nightly/resume")).json()["paused"] is False


async def test_a_removed_schedule_is_gone_and_its_jobs_stay(house):
    await made(house)
    job = (await house.ask("POST", "/schedules/nightly/run")).json()
    assert (await house.ask("DELETE", "/schedules/nightly")).json()["name"] == "nightly"
    assert (await house.ask("GET", "/schedules/nightly")).status_code == 404
    assert (await house.job(job["id"]))["state"] == "queued"


class Clock:
    """Time that is moved by hand, in milliseconds."""

    def __init__(self, now):
        self.now = now

    def __call__(self):
        return self.now


class Sure(Ticker):
    """One that believes its own clock, whatever it is told; a slow machine's goes on meanwhile."""

    async def _set_clock(self):
        pass


async def kept(broker, name="s"):
    return decode((await broker.shelf(SHELF))[name])


async def jobs_of(house):
    return (await house.ask("GET", "/jobs?limit=1000")).json()["jobs"]


@pytest.fixture
async def secondly(house):
    """A schedule of every second, and the time at which it was made."""
    await made(house, name="s", cron="* * * * * *", task="noop", params={})
    return (await kept(house.broker)).created_at


async def passed(clock_ms, broker):
    async def reached():
        return await broker.now() >= clock_ms

    await eventually(reached)


async def test_of_many_tickers_one_submits_a_tick(house, secondly):
    due = secondly // 1000 * 1000 + 1000
    await passed(due, house.broker)
    tickers = [Sure(house.broker, f"n{n}", Clock(due)) for n in range(5)]
    await asyncio.gather(*(each.look() for each in tickers))
    (job,) = await jobs_of(house)
    schedule = await kept(house.broker)
    assert (schedule.last, schedule.last_tick, schedule.last_job) == (due, due, job["id"])
    assert job["initiated_by"] in {f"n{n}" for n in range(5)}


async def test_a_worker_whose_clock_is_ahead_submits_nothing_early(house, secondly):
    ahead = Ticker(house.broker, "n", Clock(secondly + 3_600_000))
    ahead._looks = 1
    await ahead.look()
    assert await jobs_of(house) == []
    assert abs(ahead.now - await house.broker.now()) < 60_000, "the refusal made it ask for the time"


async def test_a_paused_or_changed_schedule_refuses_who_has_not_seen_it(house, secondly):
    due = secondly // 1000 * 1000 + 1000
    await passed(due, house.broker)
    body = (await house.broker.shelf(SHELF))["s"]
    await house.ask("POST", "/schedules/s/pause")
    late = Ticker(house.broker, "n", Clock(due))
    assert await late._submit("s", body) == ticker.SOON_S
    await house.ask("DELETE", "/schedules/s")
    assert await late._submit("s", body) == ticker.SOON_S
    assert await jobs_of(house) == []


async def test_a_pause_is_not_made_up_for(house, secondly):
    await house.ask("POST", "/schedules/s/pause")
    await passed(secondly + 2_100, house.broker)
    await house.ask("POST", "/schedules/s/resume")
    assert (await kept(house.broker)).last >= secondly + 2_000


async def test_a_ticker_runs_until_it_is_cancelled_whatever_is_on_the_shelf(house, secondly):
    await house.broker.put(SHELF, "newer", b'{"name":"newer"}')
    running = asyncio.create_task(Ticker(house.broker, "n").run())
    claims = await house.hands.take(2)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert len({claim.spec.request_id for claim in claims}) == 2
    for claim in claims:
        await house.hands.end(claim)
    assert (await house.broker.get([claims[0].spec.id]))[0].state is State.SUCCEEDED


async def test_a_tick_that_meets_a_full_queue_waits_for_room(house, secondly):
    filler = await house.submit("noop")
    await house.ask("PUT", "/queues/default", {"max_depth": 1})
    due = secondly // 1000 * 1000 + 1000
    await passed(due, house.broker)
    tickers = [Sure(house.broker, f"n{n}", Clock(due)) for n in range(3)]
    for _ in range(2):
        await asyncio.gather(*(each.look() for each in tickers))
    shown = (await house.ask("GET", "/schedules/s")).json()
    moment = at(shown["last_error"].split()[3])
    assert shown["last_error"].endswith("waits: its queue is full, at most 1 jobs wait in it")
    assert (moment.timestamp() * 1000, shown["last_tick"], shown["missed_ticks"]) == (due, None, 0)
    assert [job["id"] for job in await jobs_of(house)] == [filler]
    await house.ask("DELETE", f"/jobs/{filler}")
    for _ in range(2):
        await asyncio.gather(*(each.look() for each in tickers))
    (job,) = [job for job in await jobs_of(house) if job["state"] == "queued"]
    shown = (await house.ask("GET", "/schedules/s")).json()
    assert (shown["last_job"], shown["last_error"], shown["missed_ticks"]) == (job["id"], None, 0)
    assert job["request_id"].endswith(moment.isoformat().replace("+00:00", "Z"))


async def test_of_several_ticks_as_many_are_submitted_as_fit(house, secondly):
    await house.ask("PUT", "/queues/default", {"max_depth": 2})
    due = secondly // 1000 * 1000 + 3000
    await passed(due, house.broker)
    one = Sure(house.broker, "n", Clock(due))
    for _ in range(4):
        await one.look()
    assert len(await jobs_of(house)) == 2
    waits = await kept(house.broker)
    assert (waits.last_tick, waits.last, waits.missed_ticks) == (due - 1_000, due - 1, 0)
    assert waits.last_error
