"""Small documents that all nodes share."""

from kit.backends import Backend

from penstock.ports import Broker


async def test_a_document_is_kept_replaced_and_removed(broker: Broker, other: Broker) -> None:
    await broker.put("keys", "a", b"one")
    await broker.put("keys", "b", b"\x00\xff")
    await other.put("keys", "a", b"two")
    assert await broker.shelf("keys") == await other.shelf("keys") == {"a": b"two", "b": b"\x00\xff"}
    await broker.put("keys", "a", None)
    await broker.put("keys", "a", None)
    assert await other.shelf("keys") == {"b": b"\x00\xff"}


async def test_shelves_are_apart(broker: Broker) -> None:
    await broker.put("keys", "a", b"one")
    await broker.put("rules", "a", b"")
    assert await broker.shelf("keys") == {"a": b"one"}
    assert await broker.shelf("rules") == {"a": b""}
    assert await broker.shelf("nothing") == {}


async def test_documents_outlive_whoever_kept_them(backend: Backend) -> None:
    first = await backend.open()
    await first.put("keys", "name with \N{SNOWMAN}", b"body")
    await first.close()
    assert await (await backend.open()).shelf("keys") == {"name with \N{SNOWMAN}": b"body"}
