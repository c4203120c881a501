"""The servers that other tests rely on do what those tests take for granted."""

from pathlib import Path

import pytest
import redis

from support.certificates import Certificates
from support.redis_groups import Cluster, Group, SentinelGroup
from support.redis_server import RedisServer, ValkeyServer

pytestmark = pytest.mark.slow

SINGLE = pytest.mark.parametrize("kind", [RedisServer, ValkeyServer])


@SINGLE
def test_a_paused_server_takes_connections_and_answers_nothing(
    kind: type[RedisServer], tmp_path: Path
) -> None:
    with kind(tmp_path) as server:
        with server.paused(), server.client(socket_timeout=0.1) as client, pytest.raises(redis.TimeoutError):
            client.ping()
        assert server.answers()


@SINGLE
def test_a_killed_server_refuses_connections_and_comes_back_with_its_data(
    kind: type[RedisServer], tmp_path: Path
) -> None:
    with kind(tmp_path) as server:
        server.ask("SET", "kept", "yes")
        with server.gone(), pytest.raises(redis.ConnectionError, match="refused"):
            server.ask("PING")
        assert server.ask("GET", "kept") == "yes"


@SINGLE
def test_users_and_passwords_hold_over_a_restart(kind: type[RedisServer], tmp_path: Path) -> None:
    with kind(tmp_path) as server:
        server.require_password("secret")
        server.add_user("ada", "pass", "~mine*", "+@all")
        with server.gone():
            pass
        with server.client(password=None) as stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()
        with server.client(username="ada", password="pass") as ada:
            assert ada.set("mine", "1")
            with pytest.raises(redis.exceptions.NoPermissionError):
                ada.set("others", "1")


def test_a_server_with_tls_is_known_by_its_authority_only(tmp_path: Path) -> None:
    ours, theirs = Certificates(tmp_path / "ours"), Certificates(tmp_path / "theirs")
    with RedisServer(tmp_path, tls=ours) as server:
        assert server.ask("PING")
        stranger = server.client(ssl_ca_certs=str(theirs.authority))
        with stranger, pytest.raises(redis.ConnectionError, match="CERTIFICATE_VERIFY_FAILED"):
            stranger.ping()


def test_a_full_server_refuses_writes(tmp_path: Path) -> None:
    with RedisServer(tmp_path, maxmemory="1kb", maxmemory_policy="noeviction") as server:
        with pytest.raises(redis.OutOfMemoryError):
            server.ask("SET", "key", "more than there is")
        server.configure("maxmemory", "0")
        assert server.ask("SET", "key", "more than there was")


@pytest.mark.parametrize("kind", [SentinelGroup, Cluster])
def test_a_group_that_was_paused_is_the_same_afterwards(kind: type[Group], tmp_path: Path) -> None:
    with kind(tmp_path) as group:
        first = group.owner("{t}")
        first.ask("SET", "{t}key", "1")
        with group.paused():
            assert not first.answers()
        assert group.owner("{t}") is first
        assert group.delete("*{t}*") == 1
        assert group.delete("*{t}*") == 0


def test_sentinels_replace_a_primary_that_sleeps(tmp_path: Path) -> None:
    with SentinelGroup(tmp_path, down_after_ms=2_000) as group:
        group.primary.ask("SET", "key", "1")
        group.wait_copied()
        with group.replaced() as (old, new):
            assert new.ask("GET", "key") == "1"
            new.ask("SET", "key", "2")
        group.wait_demoted(old)
        assert old.ask("GET", "key") == "2"
        assert group.primary is new
