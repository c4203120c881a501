"""API keys: what one allows, and how it is made and recognised. Only its hash is ever kept.

A key holds 256 random bits, so that nobody can guess one whose hash he has seen: the slow hashes that
protect passwords would protect nothing here, and cost every request.
"""

import hashlib
import hmac
import re
import secrets
from enum import StrEnum

import msgspec

from penstock.core.errors import ErrorCode, PenstockError, field_error

_ENTRY = re.compile(r"(?P<name>[A-Za-z0-9_.\-]{1,100}):(?P<role>[a-z]+):(?P<digest>[0-9a-f]{64})")
_NAME = re.compile(r"[A-Za-z0-9_.\-]{1,100}")
_ID_LENGTH = 8


class Role(StrEnum):
    """What the holder of a key may do; each may do what the one before may, too."""

    READ = "read"
    SUBMIT = "submit"
    ADMIN = "admin"

    def allows(self, needed: "Role") -> bool:
        """Whether this role is enough where that one is needed."""
        return _RANKS[self] >= _RANKS[needed]


_RANKS = {Role.READ: 0, Role.SUBMIT: 1, Role.ADMIN: 2}


class Sees(StrEnum):
    """Whose jobs the holder of a key gets to see."""

    OWN = "own"
    ALL = "all"


class Key(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An API key as it is kept. ``digest`` is SHA-256 of the whole key in hex.

    ``client`` stands on the jobs that are submitted with it; ``weight`` is that client's share of the workers
    and ``max_running`` how many of its jobs may run at a time. ``created_at`` is UTC milliseconds.
    """

    id: str
    name: str
    role: Role
    digest: str
    client: str
    sees: Sees
    weight: int = 1
    max_running: int | None = None
    created_at: int = 0

    @property
    def confined(self) -> bool:
        """Whether jobs of other clients do not exist for it."""
        return self.sees is Sees.OWN


def digest(text: str) -> str:
    """What is kept of a key."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def mint(
    name: str,
    role: Role,
    *,
    client: str | None = None,
    sees: Sees | None = None,
    weight: int = 1,
    max_running: int | None = None,
    now: int = 0,
) -> tuple[str, Key]:
    """A new key: its text, which is told once and never again, and what is kept. Raises VALIDATION_ERROR."""
    for field, value in (("name", name), ("client", client or name)):
        if not _NAME.fullmatch(value):
            raise field_error([(field, "must be 1 to 100 letters, digits, _, . or -")])
    if role is Role.ADMIN and sees is Sees.OWN:
        raise field_error([("sees", "an administrator may change every job, so must see all")])
    key_id = secrets.token_hex(_ID_LENGTH // 2)
    text = f"pk_{key_id}_{secrets.token_urlsafe(32)}"
    kept = Key(
        id=key_id,
        name=name,
        role=role,
        digest=digest(text),
        client=client or name,
        sees=sees or _usual_sight(role),
        weight=weight,
        max_running=max_running,
        created_at=now,
    )
    return text, kept


def _usual_sight(role: Role) -> Sees:
    return Sees.OWN if role is Role.SUBMIT else Sees.ALL


def entry(key: Key) -> str:
    """A key as it is written in PENSTOCK_API_KEYS."""
    return f"{key.name}:{key.role}:{key.digest}"


def from_entry(text: str) -> Key:
    """The key of an entry of PENSTOCK_API_KEYS. Raises INVALID_REQUEST, which does not repeat the text."""
    found = _ENTRY.fullmatch(text)
    if found is None or found["role"] not in set(Role):
        message = "an API key is written name:role:hash, with read, submit or admin and SHA-256 in hex"
        raise PenstockError(ErrorCode.INVALID_REQUEST, message)
    role, name = Role(found["role"]), found["name"]
    return Key(
        id=found["digest"][:_ID_LENGTH],
        name=name,
        role=role,
        digest=found["digest"],
        client=name,
        sees=_usual_sight(role),
    )


class Ring:
    """Keys by what is known of them. Immutable: a change is another ring."""

    def __init__(self, keys: tuple[Key, ...] = ()) -> None:
        self.keys = keys
        self._by_digest = {key.digest: key for key in keys}

    def holds(self, key: Key) -> bool:
        """Whether this key is still one of them."""
        return key.digest in self._by_digest

    def find(self, text: str) -> Key | None:
        """The key with this text, None if there is none.

        What the look-up's time may tell is about a hash, from which no step leads to a key; the comparison
        of the hashes themselves takes the same time for all.
        """
        presented = digest(text)
        key = self._by_digest.get(presented)
        return key if hmac.compare_digest(key.digest if key else "-" * 64, presented) else None
