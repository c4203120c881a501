"""Metrics at the seam around any broker, and logs for machines and people."""

import asyncio
import inspect
import json
import logging

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from penstock.core.errors import ErrorCode, PenstockError, broker_unavailable
from penstock.ports import Broker
from penstock.telemetry import logs
from penstock.telemetry.broker import observed
from support.logs import logs_as_they_were

VERBS = [name for name, member in inspect.getmembers(Broker, inspect.isfunction) if not name.startswith("_")]


class Answering:
    """Has every verb of the contract; each answers with what it was given, or fails as told."""

    def __init__(self):
        self.failure = None

    def __getattr__(self, name):
        async def verb(*args, **kwargs):
            await asyncio.sleep(0)
            if self.failure is not None:
                raise self.failure
            return (name, args, kwargs)

        return verb


@pytest.fixture
def inner():
    return Answering()


@pytest.fixture
def registry():
    return CollectorRegistry()


@pytest.fixture
def broker(inner, registry):
    return observed(inner, registry)


def calls(registry, verb, outcome):
    return registry.get_sample_value("penstock_broker_calls_total", {"verb": verb, "outcome": outcome})


def timed(registry, verb):
    return registry.get_sample_value("penstock_broker_seconds_count", {"verb": verb})


@pytest.mark.parametrize("verb", VERBS)
async def test_each_verb_is_counted_timed_and_passed_on(broker, registry, verb):
    for _ in range(2):
        assert await getattr(broker, verb)(1, a=2) == (verb, (1,), {"a": 2})
    assert calls(registry, verb, "ok") == timed(registry, verb) == 2


async def test_refusals_are_counted_by_their_code_and_raised(broker, inner, registry):
    inner.failure = broker_unavailable("away")
    with pytest.raises(PenstockError) as raised:
        await broker.submit([])
    assert raised.value is inner.failure
    assert calls(registry, "submit", ErrorCode.BROKER_UNAVAILABLE) == timed(registry, "submit") == 1
    assert not calls(registry, "submit", "ok")


async def test_call_that_was_given_up_is_no_answer(broker, registry):
    call = asyncio.create_task(broker.claim("w", ["q"], 1, 30))
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert calls(registry, "claim", "ok") == 0
    assert timed(registry, "claim") == 1


async def test_two_brokers_of_one_process_need_two_registries(inner, registry):
    observed(inner, registry)
    with pytest.raises(ValueError, match="penstock_broker"):
        observed(inner, registry)


@pytest.fixture
def log_lines(capsys):
    """What was written to standard error; the configuration of logs is put back."""

    def lines():
        return capsys.readouterr().err.splitlines()

    with logs_as_they_were():
        yield lines


def caught(divisor):
    try:
        return 1 / divisor
    except ZeroDivisionError as failed:
        return failed


def test_logs_for_machines(log_lines):
    logs.configure("json")
    structlog.get_logger("penstock.test").info("something happened", job="j", n=3)
    (line,) = log_lines()
    entry = json.loads(line)
    assert {"event": "something happened", "level": "info", "job": "j", "n": 3}.items() <= entry.items()
    assert entry["timestamp"].endswith("Z")


class Odd:
    def __repr__(self):
        return "something odd"


@given(
    st.dictionaries(
        st.text(),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
            | st.text() | st.sampled_from(["\ud800", "\x1b[2J", "\x9b2J", "\u2028", Odd(), 2**70]),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
            max_leaves=5,
        ),
    )
)  # fmt: skip
def test_a_line_for_machines_says_what_json_would_say_in_plain_ascii(event):
    line = logs._json(event, repr)
    assert json.loads(line) == json.loads(json.dumps(event, default=repr))
    assert line.isascii()
    assert line.isprintable() or "\x7f" in line


def test_logs_for_machines_hold_what_json_has_no_word_for(log_lines):
    logs.configure("json")
    structlog.get_logger("penstock.test").info("odd", value=Odd(), path="/\ud800", ratio=float("nan"))
    (line,) = log_lines()
    assert {"value": "something odd", "path": "/\ud800"}.items() <= json.loads(line).items()


def test_logs_for_people(log_lines):
    logs.configure("console")
    structlog.get_logger("penstock.test").warning("something happened", job="j")
    (line,) = log_lines()
    assert "something happened" in line
    assert "job=j" in line
    assert "warning" in line


def test_auto_means_json_where_nobody_looks(log_lines):
    logs.configure("auto")
    structlog.get_logger("penstock.test").info("quiet")
    assert json.loads(log_lines()[0])["event"] == "quiet"


def test_level(log_lines):
    logs.configure("json", "warning")
    log = structlog.get_logger("penstock.test")
    log.info("unheard")
    log.error("heard")
    assert [json.loads(line)["event"] for line in log_lines()] == ["heard"]


def test_exceptions_keep_their_traceback_in_one_line(log_lines):
    logs.configure("json")
    structlog.get_logger("penstock.test").error("broke", exc_info=caught(0))
    (line,) = log_lines()
    assert "ZeroDivisionError: division by zero" in json.loads(line)["exception"]


def test_exceptions_for_people_show_no_values(log_lines):
    def fails(secret):
        return len(secret) / 0

    logs.configure("console")
    try:
        fails("of the house")
    except ZeroDivisionError as failed:
        structlog.get_logger("penstock.test").error("broke", exc_info=failed)
    text = "\n".join(log_lines())
    assert "ZeroDivisionError" in text
    assert "of the house" not in text.replace('fails("of the house")', "")


def test_libraries_log_the_same_way_but_only_what_matters(log_lines):
    logs.configure("json")
    logging.getLogger("some.library").info("chatter")
    logging.getLogger("some.library").warning("trouble %s", "ahead")
    (line,) = log_lines()
    assert {"event": "trouble ahead", "level": "warning"}.items() <= json.loads(line).items()
