"""Which broker a node takes, and how it waits for one that is not there yet."""

import pytest
from structlog.testing import capture_logs

from penstock.app.broker import TRIES, open_patiently
from penstock.brokers.redis import connect
from penstock.core.clock import system_clock
from penstock.core.errors import ErrorCode, PenstockError, broker_unavailable
from penstock.ports import BrokerOptions
from penstock.settings import Settings

NAMES = ("PENSTOCK_BROKER_URL", "REDIS_ADDR", "REDIS_HOST", "REDIS_PORT", "VALKEY_HOST", "VALKEY_PORT")
EVERY = {
    "PENSTOCK_BROKER_URL": "redis+cluster://chosen",
    "REDIS_ADDR": "addr:7001",
    "REDIS_HOST": "redis-host",
    "REDIS_PORT": "7002",
    "VALKEY_HOST": "valkey-host",
    "VALKEY_PORT": "7003",
}


@pytest.fixture(autouse=True)
def _clean(monkeypatch, tmp_path):
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("missing", "url"),
    [
        ((), "redis+cluster://chosen"),
        (NAMES[:1], "redis://addr:7001/0"),
        (NAMES[:2], "redis://redis-host:7002/0"),
        ((*NAMES[:2], "REDIS_PORT"), "redis://redis-host:6379/0"),
        (NAMES[:3], "valkey://valkey-host:7003/0"),
        (NAMES[:4], "valkey://valkey-host:7003/0"),
        ((*NAMES[:4], "VALKEY_PORT"), "valkey://valkey-host:6379/0"),
        (NAMES[:5], "sqlite:///.penstock/penstock.db"),
        (NAMES, "sqlite:///.penstock/penstock.db"),
    ],
)
def test_which_variable_wins(monkeypatch, missing, url):
    for name in EVERY.keys() - set(missing):
        monkeypatch.setenv(name, EVERY[name])
    assert Settings().broker_url == url


def test_empty_variables_count_as_none(monkeypatch):
    for name in NAMES[1:]:
        monkeypatch.setenv(name, "")
    assert Settings().broker_url == "sqlite:///.penstock/penstock.db"


def test_a_line_of_the_env_file_wins_over_variables_of_older_deployments(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("PENSTOCK_BROKER_URL=redis://filed\n")
    monkeypatch.setenv("REDIS_ADDR", "addr:7001")
    assert Settings().broker_url == "redis://filed"


async def test_five_tries_each_with_a_line_then_a_clear_end():
    # Port 1 of the loopback address: nobody listens there, so that every try is refused at once.
    url = "redis://ada:secret@127.0.0.1:1/0"
    broker = connect(url, BrokerOptions(timeout_s=0.05), system_clock)
    with capture_logs() as written, pytest.raises(PenstockError) as gave_up:
        await open_patiently(broker, url, first_pause_s=0.001)
    await broker.close()
    told = [entry for entry in written if entry["event"] == "broker cannot be reached"]
    assert [entry["try"] for entry in told] == [1, 2, 3, 4], "the fifth try is told of by the error"
    assert {(entry["of"], entry["broker"], entry["log_level"]) for entry in told} == {
        (TRIES, "redis://127.0.0.1:1/0", "warning")
    }
    assert all("127.0.0.1:1" in entry["error"] for entry in told)
    assert gave_up.value.code is ErrorCode.BROKER_UNAVAILABLE
    assert gave_up.value.message.startswith("gave up after 5 tries: the broker at 127.0.0.1:1 cannot be")
    assert gave_up.value.retry_after_s
    assert "secret" not in str(written) + gave_up.value.message


class Late:
    """A broker that can be opened from the third try on."""

    def __init__(self, failure):
        self.tries = 0
        self.failure = failure

    async def open(self):
        self.tries += 1
        if self.tries < 3:
            raise self.failure


async def test_pauses_grow_until_the_broker_is_there(monkeypatch):
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)

    monkeypatch.setattr("penstock.app.broker.asyncio.sleep", sleep)
    with capture_logs() as written:
        await open_patiently(Late(broker_unavailable("not yet")), "redis://host", first_pause_s=2.0)
    assert 1.5 <= pauses[0] <= 2.5
    assert 3.0 <= pauses[1] <= 5.0
    assert written[-1]["event"] == "connected"
    assert written[-1]["try"] == 3


async def test_what_time_does_not_mend_is_not_tried_again():
    broker = Late(PenstockError(ErrorCode.INVALID_REQUEST, "the schema is newer"))
    with pytest.raises(PenstockError, match="schema is newer"):
        await open_patiently(broker, "redis://host", first_pause_s=0.001)
    assert broker.tries == 1
