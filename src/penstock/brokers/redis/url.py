"""What a broker URL says: where the servers are, how to talk to them, and whose jobs are meant."""

import re
import ssl
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import msgspec

from penstock.core.errors import ErrorCode, PenstockError

DEFAULT_PORT = 6379
SENTINEL_PORT = 26379

Kind = Literal["alone", "sentinel", "cluster"]
Address = tuple[str, int]

_NAMESPACE = re.compile(r"[A-Za-z0-9_.\-]{1,100}")
_ENCODE = "special characters of a user or password are written as %40 for @, %2F for /, and so on"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """A parsed URL. ``service`` is Sentinel's name of the primary; ``replicas`` must confirm what is kept."""

    kind: Kind
    addresses: tuple[Address, ...]
    username: str | None = None
    password: str | None = None
    database: int = 0
    service: str = ""
    namespace: str
    replicas: int = 0
    tls: bool = False
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_verify: bool = True
    sentinel_username: str | None = None
    sentinel_password: str | None = None

    def context(self) -> ssl.SSLContext | None:
        """How to check and encrypt a connection, None for none; raises OSError for unreadable files."""
        if not self.tls:
            return None
        try:
            context = ssl.create_default_context(cafile=self.tls_ca)
            if self.tls_cert is not None:
                context.load_cert_chain(self.tls_cert, self.tls_key)
        except OSError as failed:  # it does not say which file it is about
            files = ", ".join(filter(None, (self.tls_ca, self.tls_cert, self.tls_key)))
            raise OSError(f"{failed} ({files})") from failed
        if not self.tls_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


class _Options(msgspec.Struct, kw_only=True):
    """What may stand behind the question mark."""

    namespace: str | None = None
    replicas: int | None = None
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_verify: bool = True
    sentinel_username: str | None = None
    sentinel_password: str | None = None


def parse(url: str, namespace: str) -> Target:
    """What a URL of one of these forms says, each also with ``valkey``, and with options after ``?``.

    ``redis[s]://[user[:password]@]host[:port][/db]``, ``redis[s]+sentinel://host,host/service[/db]``,
    ``redis[s]+cluster://host,host``.

    Raises INVALID_REQUEST that says what is wrong, without repeating a password.
    """
    parts = _split(url)
    kind = _kind(parts)
    options = _options(parts)
    path = [piece for piece in parts.path.split("/") if piece]
    service = _service(kind, path)
    chosen = options.namespace or namespace
    if not _NAMESPACE.fullmatch(chosen):
        raise _refused(f"namespace {chosen!r} may hold letters, digits and . _ - only")
    replicas = options.replicas if options.replicas is not None else int(kind == "sentinel")
    return Target(
        kind=kind,
        addresses=_addresses(parts, kind),
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        database=_database(path, kind),
        service=service,
        namespace=chosen,
        replicas=max(0, replicas),
        tls=parts.scheme.partition("+")[0] in {"rediss", "valkeys"},
        tls_ca=options.tls_ca,
        tls_cert=options.tls_cert,
        tls_key=options.tls_key,
        tls_verify=options.tls_verify,
        sentinel_username=options.sentinel_username,
        sentinel_password=options.sentinel_password,
    )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _refused(_ENCODE) from None
    if parts.fragment or "@" in parts.path:
        raise _refused(_ENCODE)
    return parts


def _kind(parts: SplitResult) -> Kind:
    match parts.scheme.partition("+")[2]:
        case "":
            return "alone"
        case "sentinel":
            return "sentinel"
        case "cluster":
            return "cluster"
        case other:
            raise _refused(f"{other!r} is neither sentinel nor cluster")


def _options(parts: SplitResult) -> _Options:
    given = dict(parse_qsl(parts.query, keep_blank_values=True))
    known = _Options.__struct_fields__
    if not given.keys() <= set(known):  # which one is not told: it may be a piece of a password
        raise _refused(f"after ? may stand {', '.join(known)}")
    try:
        return msgspec.convert(given, _Options, strict=False)
    except msgspec.ValidationError as wrong:
        raise _refused(str(wrong)) from None


def _service(kind: Kind, path: list[str]) -> str:
    if kind != "sentinel":
        return ""
    if not path:
        raise _refused("name the service after the sentinels: redis+sentinel://host:26379/service")
    return path.pop(0)


def _database(path: list[str], kind: Kind) -> int:
    if not path:
        return 0
    number = path.pop(0)
    known = number.isascii() and number.isdecimal()
    if path or not known or (kind == "cluster" and number != "0"):
        raise _refused("what follows the host is the number of a database")
    return int(number)


def _addresses(parts: SplitResult, kind: Kind) -> tuple[Address, ...]:
    port = SENTINEL_PORT if kind == "sentinel" else DEFAULT_PORT
    found = [_address(each, port) for each in parts.netloc.rpartition("@")[2].split(",") if each]
    if not found:
        raise _refused("names no host; write redis://host:6379/0")
    if kind == "alone" and len(found) > 1:
        raise _refused("several hosts need redis+sentinel:// or redis+cluster://")
    return tuple(found)


def _address(text: str, default: int) -> Address:
    try:
        single = urlsplit(f"//{text}")
        port = single.port or default
    except ValueError:
        raise _refused(f"before the path stands no host:port; {_ENCODE}") from None
    return single.hostname or "localhost", port


def _refused(problem: str) -> PenstockError:
    return PenstockError(ErrorCode.INVALID_REQUEST, f"broker URL: {problem}")
