"""A client that is told no address finds the node that the command line would talk to, and is known to it."""

import json

import pytest

from penstock import AsyncClient, Client, PenstockError
from penstock.client.messages import DEFAULT_URL
from penstock.core.errors import ErrorCode
from support.node import Node


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """Listens on a port that nobody can guess."""
    shared = Node(tmp_path_factory.mktemp("found"), role="api")
    try:
        yield shared.start()
    finally:
        shared.kill()


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch, tmp_path):
    """As many settings as somebody who starts has: none."""
    for name in ("BROKER_URL", "URL", "API_KEY", "NAMESPACE"):
        monkeypatch.delenv(f"PENSTOCK_{name}", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(params=["environment", ".env"])
def tell(request, monkeypatch, empty_folder):
    """Says a setting in one of the two places."""

    def say(name, value):
        if request.param == ".env":
            with (empty_folder / ".env").open("a") as file:
                file.write(f"PENSTOCK_{name}={value}\n")
        else:
            monkeypatch.setenv(f"PENSTOCK_{name}", value)

    return say


def key_sent(client):
    return client._http.headers.get("Authorization")


def test_the_node_beside_the_brokers_file_is_found(node, tell):
    tell("BROKER_URL", node.broker_url)
    with Client() as client:
        assert client.url == node.url
        assert client.stats()["workers"] == []


async def test_so_it_is_by_the_asynchronous_one(node, tell):
    tell("BROKER_URL", node.broker_url)
    async with AsyncClient() as client:
        assert client.url == node.url
        assert (await client.stats())["workers"] == []


def test_the_default_file_is_in_the_current_folder(empty_folder, node, monkeypatch):
    note = node.folder / "penstock.db.node.json"
    (empty_folder / ".penstock").mkdir()
    here = empty_folder / ".penstock" / "penstock.db.node.json"
    here.touch(mode=0o600)
    here.write_text(note.read_text())
    with Client() as client:
        assert client.url == node.url
    here.chmod(0o666)
    with Client() as client:
        assert client.url == DEFAULT_URL, "anybody may have written it, and keys are sent to what it says"


@pytest.mark.parametrize("pid", [0, -1, 1 << 70])
def test_no_note_of_a_process_that_cannot_be_is_believed(empty_folder, pid):
    note = empty_folder / ".penstock" / "penstock.db.node.json"
    note.parent.mkdir()
    note.touch(mode=0o600)
    note.write_text(json.dumps({"url": "http://evil.example", "pid": pid}))
    with Client() as client:
        assert client.url == DEFAULT_URL


def test_what_is_said_goes_before_what_is_announced(node, tell):
    tell("BROKER_URL", node.broker_url)
    tell("URL", "http://said.example")
    with Client() as client:
        assert client.url == "http://said.example"
    with Client("given.example") as client:
        assert client.url == "given.example"


def test_where_nobody_serves_it_is_the_usual_address():
    with Client() as client:
        assert client.url == DEFAULT_URL


def test_the_key_is_found_where_the_address_is(tell):
    tell("API_KEY", "pk_found")
    with Client("given.example") as client:
        assert key_sent(client) == "Bearer pk_found"
    with Client("given.example", api_key="pk_given") as client:
        assert key_sent(client) == "Bearer pk_given"


def test_without_a_key_none_is_sent():
    with Client() as client:
        assert key_sent(client) is None


def test_settings_in_another_encoding_are_told(empty_folder):
    (empty_folder / ".env").write_bytes("PENSTOCK_URL=http://müller".encode("latin-1"))
    with pytest.raises(PenstockError, match=r"\.env is no UTF-8"):
        Client()


def test_a_setting_that_cannot_be_understood_is_named(tell):
    tell("NAMESPACE", "two words")
    with pytest.raises(PenstockError, match="PENSTOCK_NAMESPACE") as refused:
        Client()
    assert refused.value.code is ErrorCode.INVALID_REQUEST
