"""Ticks in every time zone, over every change of the clock, and what is due when."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from penstock.core.job import JobSpec
from penstock.core.schedule import (
    MISSED_MS,
    MOST,
    NICKNAMES,
    Missed,
    Schedule,
    after_turn,
    decode,
    encode,
    first_of,
    kept_waiting,
    next_due,
    problems,
    spec_of,
    ticks,
    turn,
    upcoming,
)

BERLIN = "Europe/Berlin"
START = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000)
HOUR_MS = 3_600_000


def ms(year, month, day, hour=0, minute=0, second=0, *, zone="UTC", fold=0):  # noqa: PLR0917 - a moment's parts
    moment = datetime(year, month, day, hour, minute, second, tzinfo=ZoneInfo(zone), fold=fold)
    return int(moment.timestamp() * 1000)


def first(cron, zone, after, count):
    return list(islice(ticks(cron, zone, after), count))


def schedule(cron="* * * * * *", zone="UTC", last=START, **changes):
    spec = JobSpec(id="", task="t")
    return Schedule(name="s", cron=cron, timezone=zone, spec=spec, created_at=last, last=last, **changes)


zones = st.sampled_from(
    [
        "UTC",
        BERLIN,
        "America/New_York",
        "Australia/Lord_Howe",
        "Asia/Kolkata",
        "Africa/Casablanca",
        "America/Sao_Paulo",
    ]
)
crons = st.sampled_from(
    [
        "* * * * *",
        "*/7 * * * *",
        "30 2 * * *",
        "0,30 1-3 * * *",
        "15 */2 * * *",
        "0 0 29 2 *",
        "0 12 * * MON#1",
        "*/20 * * * * *",
        "30 30 2 * * *",
        "0 0 3 L * *",
    ]
)
instants = st.integers(ms(2015, 1, 1), ms(2035, 1, 1))


@settings(max_examples=150, deadline=None)
@given(cron=crons, zone=zones, start=instants, skip=st.integers(0, 5))
def test_ticks_grow_and_do_not_depend_on_where_one_begins(cron, zone, start, skip):
    found = first(cron, zone, start, 8)
    assert found[0] > start
    assert all(one < other for one, other in pairwise(found))
    assert all(at % 1000 == 0 for at in found)
    assert first(cron, zone, found[skip], 1) == [found[skip + 1]]
    assert first(cron, zone, found[skip] - 1, 1) == [found[skip]]


@pytest.mark.parametrize("name", sorted(NICKNAMES))
def test_nicknames_are_what_crontab_says(name):
    start, day = ms(2027, 1, 1), 86_400_000  # a Friday
    days = {"@hourly": 1 / 24, "@daily": 1, "@midnight": 1, "@weekly": 2, "@monthly": 31}
    assert first(name, "UTC", start, 1) == [start + days.get(name, 365) * day]


@settings(max_examples=150, deadline=None)
@given(zone=zones, start=instants, hour=st.integers(0, 23), minute=st.integers(0, 59))
def test_a_daily_time_is_due_once_on_each_day(zone, start, hour, minute):
    """Whatever the clocks do; where they skip that time, right after the gap."""
    found = first(f"{minute} {hour} * * *", zone, start, 12)
    local = [datetime.fromtimestamp(at / 1000, ZoneInfo(zone)) for at in found]
    days = [moment.date() for moment in local]
    # A gap at midnight or a zone that leaves out a day are not among these zones' years.
    assert all(other - one == timedelta(days=1) for one, other in pairwise(days))
    for moment in local:
        wanted = moment.replace(hour=hour, minute=minute, fold=0)
        exists = wanted == wanted.astimezone(UTC).astimezone(wanted.tzinfo)
        if exists:
            assert (moment.hour, moment.minute, moment.fold) == (hour, minute, 0)
        else:
            assert timedelta(0) < moment - wanted <= timedelta(hours=1)


@settings(max_examples=100, deadline=None)
@given(zone=zones, start=instants)
def test_what_goes_by_a_star_goes_by_elapsed_time(zone, start):
    found = first("* * * * *", zone, start, 200)
    assert {other - one for one, other in pairwise(found)} == {60_000}


def test_the_gap_in_spring():
    """On 29 March 2026 clocks in Berlin go from 2:00 to 3:00."""
    before = ms(2026, 3, 28, 12, zone=BERLIN)
    assert first("30 2 * * *", BERLIN, before, 2) == [
        ms(2026, 3, 29, 3, zone=BERLIN),
        ms(2026, 3, 30, 2, 30, zone=BERLIN),
    ]
    assert first("0 30 2 * * *", BERLIN, before, 1) == [ms(2026, 3, 30, 2, 30, zone=BERLIN)]
    hourly = first("0 * * * *", BERLIN, ms(2026, 3, 29, 0, 30, zone=BERLIN), 3)
    assert {other - one for one, other in pairwise(hourly)} == {HOUR_MS}


def test_the_overlap_in_autumn():
    """On 25 October 2026 clocks in Berlin show the time from 2:00 to 3:00 twice."""
    before = ms(2026, 10, 24, 12, zone=BERLIN)
    early, late = (ms(2026, 10, 25, 2, 30, zone=BERLIN, fold=fold) for fold in (0, 1))
    assert late - early == HOUR_MS
    next_day = ms(2026, 10, 26, 2, 30, zone=BERLIN)
    assert first("30 2 * * *", BERLIN, before, 2) == [early, next_day]
    # Begun between the two, it is not due in the past.
    assert first("30 2 * * *", BERLIN, ms(2026, 10, 25, 2, 10, zone=BERLIN, fold=1), 1) == [next_day]
    assert first("0 30 2 * * *", BERLIN, before, 3) == [early, late, next_day]


@pytest.mark.parametrize(
    ("cron", "zone", "field"),
    [
        ("* * * *", "UTC", "cron"),
        ("61 * * * *", "UTC", "cron"),
        ("* * * * * * *", "UTC", "cron"),
        ("nonsense", "UTC", "cron"),
        ("0 0 31 2 *", "UTC", "cron"),
        ("0 0 * * *", "Mars/Olympus", "timezone"),
        ("0 0 * * *", "../../etc/passwd", "timezone"),
        ("0 0 * * *", "", "timezone"),
    ],
)
def test_what_is_wrong_is_told_with_its_field(cron, zone, field):
    ((named, problem),) = problems(cron, zone, START)
    assert named == field
    assert (cron if field == "cron" else zone) in problem


def test_nothing_is_due_before_the_first_tick_nor_while_paused():
    minutely = schedule("* * * * *")
    assert turn(minutely, START + 59_999) is None
    assert turn(replace(minutely, paused=True), START + 10 * 60_000) is None
    assert next_due(replace(minutely, paused=True)) is None
    assert upcoming(minutely, START, 2) == [START + 60_000, START + 120_000]


def test_what_is_late_by_less_than_a_minute_is_all_submitted():
    for policy in Missed:
        taken = turn(schedule(missed=policy), START + 3_500)
        assert taken.ticks == (START + 1_000, START + 2_000, START + 3_000)
        assert taken.last == START + 3_000


@pytest.mark.parametrize(
    ("policy", "made_up"),
    [(Missed.SKIP, []), (Missed.ONCE, [5]), (Missed.ALL, [1, 2, 3, 4, 5])],
)
def test_missed_ticks_by_policy(policy, made_up):
    hourly = schedule("0 * * * *", missed=policy)
    now = START + 5 * HOUR_MS + HOUR_MS // 2
    taken = turn(hourly, now)
    assert taken.ticks == tuple(START + hour * HOUR_MS for hour in made_up)
    after = after_turn(hourly, taken, [str(tick) for tick in taken.ticks])
    assert turn(after, now) is None
    assert next_due(after) == START + 6 * HOUR_MS


def test_no_more_than_the_last_hundred_are_made_up_for():
    now = START + 30 * 24 * HOUR_MS
    taken = turn(schedule(missed=Missed.ALL), now)
    fresh = MISSED_MS // 1000
    assert len(taken.ticks) == MOST + fresh
    assert taken.ticks[0] == now - MISSED_MS - (MOST - 1) * 1000
    assert taken.last == now


@settings(max_examples=100, deadline=None)
@given(
    cron=st.sampled_from(["* * * * * *", "*/10 * * * * *", "* * * * *"]),
    steps=st.lists(st.integers(1, 20_000), min_size=1, max_size=12),
    policy=st.sampled_from(Missed),
)
def test_looked_at_often_enough_every_tick_has_its_turn_once(cron, steps, policy):
    current, now, submitted = schedule(cron, missed=policy), START, []
    for step in steps:
        now += step
        if taken := turn(current, now):
            assert taken.last <= now
            current = after_turn(current, taken, [str(tick) for tick in taken.ticks])
            submitted += taken.ticks
    expected = [at for at in first(cron, "UTC", START, sum(steps) // 1000 + 1) if at <= now]
    assert submitted == expected


@settings(max_examples=100, deadline=None)
@given(
    cron=st.sampled_from(["* * * * * *", "*/10 * * * * *", "* * * * *"]),
    steps=st.lists(st.tuples(st.integers(1, 200_000), st.integers(0, 3)), min_size=1, max_size=12),
    policy=st.sampled_from(Missed),
)
def test_whatever_room_there_is_no_tick_is_submitted_twice_or_lost_sight_of(cron, steps, policy):
    current, now, submitted = schedule(cron, missed=policy), START, []
    for step, free in steps:
        now, room = now + step, free
        while taken := turn(current, now):
            if len(taken.ticks) > room:
                taken = first_of(taken)
            if len(taken.ticks) > room:
                current = kept_waiting(current, taken, "no room")
                assert turn(current, now).ticks[0] == taken.ticks[0], "it is still due"
                break
            room -= len(taken.ticks)
            current = after_turn(current, taken, [str(tick) for tick in taken.ticks])
            assert current.last_error is None
            submitted += taken.ticks
    due = [at for at in first(cron, "UTC", START, (now - START) // 1000 + 1) if at <= now]
    assert submitted == sorted(set(submitted))
    assert set(submitted) <= set(due)
    left = [at for at in due if at > current.last]
    assert len(submitted) + current.missed_ticks + len(left) == len(due)


def test_a_tick_that_waits_says_so():
    hourly = schedule("0 * * * *")
    waits = kept_waiting(hourly, turn(hourly, START + HOUR_MS), "no room")
    assert waits.last_error == "the tick of 2026-01-01T01:00:00Z waits: no room"
    assert waits.missed_ticks == 0
    assert kept_waiting(waits, turn(waits, START + HOUR_MS + 30_000), "no room") == waits
    later = kept_waiting(waits, turn(waits, START + 3 * HOUR_MS), "no room")
    assert later.last_error.startswith("the tick of 2026-01-01T02:00:00Z waits")
    assert later.missed_ticks == 1


def test_a_job_tells_its_schedule_and_tick():
    named = replace(schedule(), spec=JobSpec(id="", task="t", queue="q"))
    spec = spec_of(named, ms(2026, 1, 31, 12), "id", "node")
    assert spec == JobSpec(
        id="id", task="t", queue="q", initiated_by="node", request_id="schedule:s@2026-01-31T12:00:00Z"
    )


def test_a_schedule_of_a_newer_release_is_passed_over():
    body = encode(schedule())
    assert decode(body) == schedule()
    assert decode(body.replace(b'"cron"', b'"colour":1,"cron"')) == schedule()
    assert decode(b'{"name":"s","missed":"twice"}') is None
