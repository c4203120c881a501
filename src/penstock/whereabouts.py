"""Where the node is: told by a setting, or announced by one on this machine that serves the same broker.

The command line and the Python client look here, so that both find the same. An announcement is a note: on
the embedded broker beside its file, on any other in the user's own folder for such notes.
"""

import hashlib
import json
import os
import stat
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.problems import in_words

_SCHEME = "sqlite:///"
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH


def _broker_url() -> str:
    """The server that the variables of older deployments name, else a file."""
    given = os.environ.get
    if address := given("REDIS_ADDR"):
        return f"redis://{address}/0"
    for scheme in ("redis", "valkey"):
        if host := given(f"{scheme.upper()}_HOST"):
            return f"{scheme}://{host}:{given(f'{scheme.upper()}_PORT') or 6379}/0"
    return "sqlite:///.penstock/penstock.db"


class Whereabouts(BaseSettings):
    """The settings by which a node is found, from the environment (``PENSTOCK_…``) or an ``.env`` file."""

    model_config = SettingsConfigDict(env_prefix="PENSTOCK_", env_file=".env", extra="ignore", frozen=True)

    broker_url: str = Field(
        default_factory=_broker_url,
        description="where jobs are kept: sqlite:///path, redis://host:6379/0, rediss://, valkey://,"
        " redis+sentinel:// or redis+cluster://",
    )
    namespace: str = Field(
        default="penstock",
        pattern=r"^[A-Za-z0-9_.\-]{1,100}$",
        description="keeps deployments that share one Redis or Valkey apart",
    )
    url: str | None = Field(
        default=None, description="node that the command line and the Python client talk to"
    )
    api_key: SecretStr | None = Field(
        default=None, description="key that the command line and the Python client send"
    )

    @property
    def key(self) -> str | None:
        """The key in the open."""
        return None if self.api_key is None else self.api_key.get_secret_value() or None

    @property
    def node_url(self) -> str | None:
        """The address of the node: what was told, else announced by a process that lives."""
        return self.url or self.announced_url

    @property
    def announced_url(self) -> str | None:
        """What the note says, if its process lives and nobody else can have written it: keys go there."""
        try:
            status = self.note.stat()
            found = json.loads(self.note.read_text())
            if status.st_uid != os.getuid() or status.st_mode & _WRITABLE_BY_OTHERS or found["pid"] <= 0:
                return None
            os.kill(found["pid"], 0)
            return str(found["url"])
        except (OSError, ValueError, LookupError, TypeError, OverflowError):
            return None

    @property
    def note(self) -> Path:
        """The file in which a node that serves this broker leaves its address."""
        if self.broker_url.startswith(_SCHEME):
            file = Path(self.broker_url.removeprefix(_SCHEME).partition("?")[0])
            return file.with_name(file.name + ".node.json")
        named = hashlib.sha256(f"{self.namespace} {self.broker_url}".encode()).hexdigest()[:16]
        return _own_folder() / f"{named}.node.json"


def _own_folder() -> Path:
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime, "penstock") if runtime else Path.home() / ".cache" / "penstock"


Kind = TypeVar("Kind", bound=Whereabouts)


def read(kind: type[Kind], **given: Any) -> Kind:
    """The settings of the environment, with those that are ``given`` and not None on top.

    Raises INVALID_REQUEST naming the variables that cannot be understood.
    """
    try:
        return kind(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as invalid:
        told = [f"PENSTOCK_{field.upper()}: {said}" for field, said in in_words(invalid.errors()) if field]
        raise PenstockError(ErrorCode.INVALID_REQUEST, "; ".join(told) or str(invalid)) from None
    except UnicodeDecodeError:
        raise PenstockError(ErrorCode.INVALID_REQUEST, "the file .env is no UTF-8") from None
