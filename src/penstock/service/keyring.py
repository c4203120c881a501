"""API keys on the broker's shelf: made, listed and revoked there, known to every node within two seconds."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence

import msgspec
import structlog

from penstock.core.begun import called_off
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.fairness import ClientTerms
from penstock.core.keys import Key, Ring
from penstock.ports import Broker

SHELF = "keys"
REFRESH_S = 1.0
"""Between two looks at the shelf. With the time of a look, a key that was revoked works for less than 2 s."""

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Key).decode


async def stored(broker: Broker) -> list[Key]:
    """Every key on the shelf, by name; without those of a newer release that this one cannot read."""
    found = (_read(body) for body in (await broker.shelf(SHELF)).values())
    return sorted((key for key in found if key is not None), key=lambda key: key.name)


def _read(body: bytes) -> Key | None:
    try:
        return _decode(body)
    except msgspec.DecodeError:
        structlog.get_logger("penstock.keys").warning("an API key cannot be read and is not accepted")
        return None


async def store(broker: Broker, key: Key) -> None:
    """Keep a new key, and what it allows its client. Raises CONFLICT if there is one of this name."""
    if any(other.name == key.name for other in await stored(broker)):
        message = f"there is a key {key.name!r}; revoke it first, or choose another name"
        raise PenstockError(ErrorCode.CONFLICT, message)
    await broker.put(SHELF, key.id, _encode(key))
    if key.max_running is not None or key.weight > 1:
        terms = ClientTerms(max_running=key.max_running, weight=key.weight)
        await broker.limit_client(key.client, terms)


async def revoke(broker: Broker, name: str) -> Key:
    """Forget the key with this name or id. Raises NOT_FOUND.

    Two that were made with one name at the same instant go together: whoever revokes a name wants nobody in.
    """
    found = [key for key in await stored(broker) if name in {key.name, key.id}]
    for key in found:
        await broker.put(SHELF, key.id, None)
    if not found:
        raise PenstockError(ErrorCode.NOT_FOUND, f"there is no key {name!r}")
    return found[0]


class Keyring:
    """A node's copy of the keys: those ``configured`` for it, and those on the shelf.

    While the broker is away the last copy goes on.
    """

    def __init__(self, broker: Broker, configured: Sequence[Key] = ()) -> None:
        self._broker = broker
        self._configured = tuple(configured)
        self._ring = Ring(self._configured)
        self._guests: dict[asyncio.Timeout, Key | None] = {}
        self._log = structlog.get_logger("penstock.api")

    @property
    def empty(self) -> bool:
        """Whether there is no key at all."""
        return not self._ring.keys

    @contextlib.contextmanager
    def guest(self, key: Key | None, patience: asyncio.Timeout) -> Iterator[None]:
        """Let ``patience`` expire at once when the key is revoked while this lasts, or was before.

        Who came without a key is welcome as long as there is none.
        """
        self._guests[patience] = key
        self._turn_away()
        try:
            yield
        finally:
            self._guests.pop(patience, None)

    def _turn_away(self) -> None:
        unwelcome = [patience for patience, key in self._guests.items() if not self._welcomes(key)]
        for patience in unwelcome:
            del self._guests[patience]  # it expires once
            patience.reschedule(0)

    def _welcomes(self, key: Key | None) -> bool:
        return self.empty if key is None else self._ring.holds(key)

    def find(self, text: str) -> Key | None:
        """The key with this text, None if there is none."""
        return self._ring.find(text)

    async def load(self) -> None:
        """Look at the shelf. Raises BROKER_UNAVAILABLE."""
        self._ring = Ring((*self._configured, *await stored(self._broker)))
        self._turn_away()

    async def run(self) -> None:
        """Keep the copy fresh until cancelled."""
        while not called_off():
            await asyncio.sleep(REFRESH_S)
            before = self._ring.keys
            try:
                await self.load()
            except PenstockError as failed:
                self._log.debug("keys not refreshed", error=failed.message)
            except Exception:  # noqa: BLE001 - a node that stops looking would honour revoked keys for ever
                self._log.exception("keys not refreshed")
            self._tell(before)

    def _tell(self, before: Sequence[Key]) -> None:
        """What changed is an administrator's doing, although it went past this node."""
        now = self._ring.keys
        for action, keys in (
            ("key created", set(now) - set(before)),
            ("key revoked", set(before) - set(now)),
        ):
            for key in keys:
                self._log.info("audit", action=action, target=key.name, role=key.role)
