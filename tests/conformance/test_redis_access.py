"""Who may come in, and over which wire: passwords, users restricted by ACL, TLS."""

import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from kit.backends import RedisBackend
from kit.everything import do_everything
from kit.redis import EVERY_KIND, opened, owner, writable
from kit.time import ManualClock
from kit.values import get_one, submit_one

from penstock.brokers.redis import meter
from penstock.core.errors import ErrorCode, PenstockError
from penstock.ports import BrokerOptions
from support.certificates import Certificates
from support.ports import HOST
from support.redis_server import RedisServer, ValkeyServer

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"
TIMES_S = (0.5, 10.0)
"""The second for a machine that is too busy to find out in the first why it is refused."""

PASSWORD = "p@ss/w:rd?#[%grüße"

every_kind = pytest.mark.parametrize("backend", EVERY_KIND, indirect=True)


async def refusal(url: str, why: str = "") -> str:
    """How it is said that this URL lets nobody in, which names ``why``."""
    for timeout_s in TIMES_S:
        with pytest.raises(PenstockError) as refused:
            async with opened(url, timeout_s=timeout_s):
                pass
        assert refused.value.code is ErrorCode.BROKER_UNAVAILABLE
        if why in refused.value.message:
            break
    assert why in refused.value.message
    return refused.value.message


@pytest.mark.slow
@pytest.mark.parametrize("kind", [RedisServer, ValkeyServer])
async def test_a_password_is_asked_for(kind: type[RedisServer], tmp_path: Path) -> None:
    with kind(tmp_path) as server:
        server.require_password(PASSWORD)
        url = server.url(password=quote(PASSWORD, safe=""))
        async with opened(url) as broker:
            job = await submit_one(broker)
            with server.gone():
                pass
            assert await get_one(broker, job.id) == job
        await refusal(server.url(), "NOAUTH")
        wrong = await refusal(server.url(password="not-that-one"), "WRONGPASS")
        assert "not-that-one" not in wrong


def documented_rules(namespace: str) -> list[str]:
    """What the settings page says that a restricted user needs."""
    (line,) = re.findall(r"^ACL SETUSER \S+ on >\S+ (.*(?:\n  .*)*)$", PAGE.read_text(), re.MULTILINE)
    return [word.replace("{penstock}", f"{{{namespace}}}") for word in line.split()]


@pytest.fixture
def restricted_url(backend: RedisBackend) -> Iterator[str]:
    """The backend's URL for a user who may do what the settings page says and nothing else."""
    name = f"user-{secrets.token_hex(4)}"
    rules = documented_rules(backend.namespace)
    for server in writable(backend):
        server.ask("ACL", "SETUSER", name, "reset", "on", ">word", *rules)
    yield backend.url.replace("://", f"://{name}:word@")
    for server in writable(backend):
        server.ask("ACL", "DELUSER", name)


async def count(url: str) -> None:
    """What an API node says to the server besides a broker's verbs."""
    counting = meter(url, BrokerOptions())
    try:
        assert await counting.take("ada", 1, 60_000) == 0
    finally:
        await counting.close()


@every_kind
async def test_a_restricted_user_can_do_everything_in_its_namespace(
    backend: RedisBackend, restricted_url: str
) -> None:
    clock = ManualClock()
    async with opened(restricted_url, clock) as broker:
        await do_everything(broker, clock)
        await count(restricted_url)
        owner(backend).ask("SCRIPT", "FLUSH")
        await submit_one(broker)


@every_kind
async def test_a_restricted_user_can_do_nothing_in_another_namespace(
    backend: RedisBackend, restricted_url: str
) -> None:
    elsewhere = restricted_url.replace(backend.namespace, f"{backend.namespace}x")
    await refusal(elsewhere, "NOPERM")


ONLY_SOME_NEED = {"+select", "+role", "+wait", "+cluster|slots", "+cluster|keyslot"}
"""For a database other than 0, behind Sentinel, or in a cluster."""

OURS = {"+hello", "+config|resetstat", "+info"}
"""What the test itself says to the server."""


@pytest.mark.slow
async def test_no_more_is_documented_than_is_needed(tmp_path: Path) -> None:
    clock = ManualClock()
    with RedisServer(tmp_path) as server:
        server.ask("CONFIG", "RESETSTAT")
        async with opened(server.url("n"), clock) as broker:
            await do_everything(broker, clock)
        await count(server.url("n"))
        used = {f"+{name.removeprefix('cmdstat_')}" for name in server.info("commandstats")}
    named = {word for word in documented_rules("n") if word.startswith("+")}
    assert used - OURS == named - ONLY_SOME_NEED


@pytest.mark.slow
async def test_another_database_is_another_store(tmp_path: Path) -> None:
    with RedisServer(tmp_path) as server:
        server.add_user("ada", "word", *documented_rules("penstock"))
        async with (
            opened(server.url(user="ada", password="word", database=3)) as third,
            opened(server.url()) as usual,
        ):
            job = await submit_one(third)
            assert await get_one(third, job.id) == job
            assert await get_one(usual, job.id) is None


@pytest.mark.slow
async def test_tls(tmp_path: Path) -> None:
    ours, theirs = Certificates(tmp_path / "ours"), Certificates(tmp_path / "theirs")
    clock = ManualClock()
    with RedisServer(tmp_path, tls=ours) as server:
        trusted = f"{server.url()}?tls_ca={quote(str(ours.authority))}"
        async with opened(trusted, clock) as broker:
            await do_everything(broker, clock)
            job = await submit_one(broker)
            with server.gone():
                pass
            assert await get_one(broker, job.id) == job
        await refusal(f"{server.url()}?tls_ca={theirs.authority}", "CERTIFICATE_VERIFY_FAILED")
        await refusal(server.url(), "CERTIFICATE_VERIFY_FAILED")  # the system does not know ours
        await refusal(f"{server.url()}?tls_ca={tmp_path}/nosuch.crt", "nosuch.crt")
        await refusal(f"redis://{HOST}:{server.port}")
        async with opened(f"{server.url()}?tls_verify=false") as broker:
            await submit_one(broker)
        server.configure("tls-auth-clients", "yes")
        await refusal(trusted)
        async with opened(f"{trusted}&tls_cert={ours.certificate}&tls_key={ours.key}") as broker:
            await submit_one(broker)
