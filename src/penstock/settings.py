"""Every setting, read from the environment (``PENSTOCK_…``) or an ``.env`` file, in one object."""

import ipaddress
import os
import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import NoDecode

from penstock.core.addresses import networks
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.keys import Key, from_entry
from penstock.core.rate import USUAL_RATE, Rate, rate_of
from penstock.core.units import milliseconds, size
from penstock.machine import available_cpus, available_memory
from penstock.telemetry.logs import LogFormat
from penstock.whereabouts import Whereabouts


def _words(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


def _milliseconds(value: object) -> object:
    return milliseconds(value) if isinstance(value, str) else value


def _bytes(value: object) -> object:
    return size(value) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Duration = Annotated[int, BeforeValidator(_milliseconds)]
Size = Annotated[int, BeforeValidator(_bytes)]

MAX_PORT = 65_535
_HTTP_ADDR = re.compile(r"(?P<host>[^:\[\]\s]*|\[[0-9A-Fa-f:.]+\])(?::(?P<port>[0-9]{1,5}))?")
_ORIGIN = re.compile(r"https?://[A-Za-z0-9.\-\[\]:]+")
_QUEUE = re.compile(r"[A-Za-z0-9_.\-]{1,100}")


def _http_addr() -> tuple[str, str]:
    """Host and port of HTTP_ADDR, each empty if it is not told. Raises INVALID_REQUEST naming it."""
    given = os.environ.get("HTTP_ADDR", "")
    found = _HTTP_ADDR.fullmatch(given)
    if found is None or int(found["port"] or 0) > MAX_PORT:
        raise PenstockError(ErrorCode.INVALID_REQUEST, f"HTTP_ADDR: {given!r} is not like :8080 or host:8080")
    return found["host"].strip("[]"), found["port"] or ""


def _host() -> str:
    # Elsewhere an address without a host means every one of the machine; that must be said here.
    return _http_addr()[0] or "127.0.0.1"


def _port() -> int:
    return int(_http_addr()[1] or 8000)


def _queue_name() -> str | None:
    """The queue of messages if QUEUE_NAME tells it. Raises INVALID_REQUEST naming it."""
    given = os.environ.get("QUEUE_NAME")
    if given and not _QUEUE.fullmatch(given):
        message = f"QUEUE_NAME: {given!r} is not made of letters, digits, _, . and -"
        raise PenstockError(ErrorCode.INVALID_REQUEST, message)
    return given or None


def _queues() -> tuple[str, ...]:
    return ("default", _queue_name() or "messages")


def _plainly(check: Callable[[], object]) -> None:
    """What core refuses, as pydantic wants to hear it."""
    try:
        check()
    except PenstockError as refused:
        raise ValueError(refused.message) from None


class Settings(Whereabouts):
    """Durations are seconds or ``10m``; sizes are bytes or ``512MiB``; lists are separated by commas.

    That is how they are written in the environment; in code they are milliseconds and bytes.
    """

    tasks: Words = Field(default=(), description="modules (names or .py files) whose tasks are served")
    node: str = Field(
        default_factory=socket.gethostname,
        pattern=r"^[A-Za-z0-9_.\-]{1,100}$",
        description="this node's name, written on the jobs it takes and runs; the host name by default",
    )
    host: str = Field(default_factory=_host, description="address the API listens on, and the page")
    port: int = Field(default_factory=_port, ge=0, le=MAX_PORT, description="port the API listens on")
    insecure: bool = Field(default=False, description="allow listening on a public address without API keys")
    api_keys: Words = Field(
        default=(), description="keys besides those made with penstock keys, each name:role:hash"
    )
    rate_limit: str = Field(
        default="auto",
        description="requests per client, as 10/s, 600/m or 1000/h; off; or auto: 10/s unless on loopback",
    )
    rate_burst: int = Field(default=20, ge=1, le=10_000, description="requests that may come at once")
    trusted_proxies: Words = Field(
        default=(), description="addresses and networks whose X-Forwarded-For is believed"
    )
    cors_origins: Words = Field(
        default=(),
        description="origins whose pages may call the API from a browser, such as https://app.example",
    )
    hsts: Duration | None = Field(
        default=None, description="how long browsers are told to use TLS alone; set it only behind TLS"
    )
    slots: int = Field(
        default_factory=available_cpus, ge=1, le=1024, description="attempts at a time per worker"
    )
    queues: Words = Field(default_factory=_queues, description="queues a worker takes jobs from")
    lease: Duration = Field(default=5_000, ge=500, description="after this silence a worker counts as dead")
    drain: Duration = Field(default=25_000, description="time a stopping worker gives its running jobs")
    broker_timeout: Duration = Field(default=5_000, description="longest a broker call may be waited for")
    spool: Path = Field(
        default=Path(".penstock/spool"),
        description="folder in which a worker keeps outcomes while the broker is away",
    )
    spool_limit: Size = Field(
        default=256 * 2**20, ge=0, description="largest spool of one worker; 0 for none"
    )
    memory_limit: Size | None = Field(
        default=None,
        description="resident memory of one attempt; by default 80 % of the machine's, shared by the slots",
    )
    recycle_after: int = Field(default=100, ge=1, description="attempts after which a child is replaced")
    recycle_memory: Size = Field(default=2**30, description="a child resting above this is replaced")
    keep_results: Duration = Field(
        default=7 * 86_400_000, description="how long ended jobs are kept, and their results in history"
    )
    keep_events: Duration = Field(default=86_400_000, description="how long the event feed goes back")
    max_depth: int = Field(
        default=100_000, ge=0, description="jobs that may wait in a queue which has no limit of its own"
    )
    history: bool = Field(
        default=True, description="on or off: record every submission and outcome in a database"
    )
    database_url: str | None = Field(
        default=None,
        description="where history is kept: sqlite:///path or postgresql://user:password@host/name;"
        " by default a file beside the broker's",
    )
    keep_history: Duration = Field(
        default=90 * 86_400_000, description="how long a job is kept in history after its last change"
    )
    history_parts: bool = Field(
        default=False, description="on or off: also record the parts of jobs that were split"
    )
    max_body: Size = Field(default=8 * 2**20, ge=1024, description="largest request body")
    linger: Duration = Field(
        default=1_000, description="how long a stopping API goes on serving, with /healthz red"
    )
    worker_metrics_port: int = Field(
        default=0, ge=0, le=65535, description="port of a worker's own /metrics on loopback, 0 for none"
    )
    log_format: LogFormat = Field(
        default="auto", description="json, console, or auto: json unless a terminal"
    )
    log_level: str = Field(
        default="info", pattern="^(debug|info|warning|error)$", description="debug, info, warning or error"
    )

    @field_validator("queues")
    @classmethod
    def _some_queue(cls, queues: tuple[str, ...]) -> tuple[str, ...]:
        if not queues:
            raise ValueError("name at least one queue")
        named = _queue_name()
        return queues if named is None or named in queues else (*queues, named)

    @field_validator("api_keys")
    @classmethod
    def _known_keys(cls, entries: tuple[str, ...]) -> tuple[str, ...]:
        _plainly(lambda: [from_entry(entry) for entry in entries])
        return entries

    @field_validator("rate_limit")
    @classmethod
    def _known_rate(cls, text: str) -> str:
        if text not in {"auto", "off"}:
            _plainly(lambda: rate_of(text, 1))
        return text

    @field_validator("trusted_proxies")
    @classmethod
    def _known_networks(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        networks(texts)
        return texts

    @field_validator("cors_origins")
    @classmethod
    def _known_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin like https://app.example")
        return origins

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine reaches the API."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys that are configured here."""
        return tuple(map(from_entry, self.api_keys))

    @property
    def rate(self) -> Rate | None:
        """How often a client may ask, None for any number of times."""
        if self.rate_limit == "off" or (self.rate_limit == "auto" and self.on_loopback):
            return None
        return rate_of(USUAL_RATE if self.rate_limit == "auto" else self.rate_limit, self.rate_burst)

    @property
    def slot_memory(self) -> int:
        """Bytes one attempt may hold unless its task says otherwise."""
        return self.memory_limit or int(available_memory() * 0.8 / self.slots)
