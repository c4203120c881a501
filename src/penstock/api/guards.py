"""What stands before every route: request ids, limits, timing, the access log, metrics."""

import re
import time
from collections.abc import Callable, Iterable, Mapping

import structlog
from fastapi import Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.api.errors import TooLargeError, unexpected
from penstock.api.wire import envelope
from penstock.core.errors import field_error
from penstock.core.ids import new_id
from penstock.core.keys import Key

RawHeaders = Mapping[bytes, bytes]

_GOOD_ID = re.compile(rb"[A-Za-z0-9._\-]{1,128}")
_QUIET = frozenset({"/livez", "/healthz", "/metrics"})

SECURITY_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)

USUAL_HEADERS = (
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""Of answers that do not say otherwise: they hold data, and are no pages."""

LAST_ANSWER = ((b"connection", b"close"),)
"""Whoever keeps connections open should not send the next request to a node that will be gone."""


class Guard:
    """Pure ASGI on raw headers: wrapped requests and responses would cost more than most routes do."""

    def __init__(
        self,
        app: ASGIApp,
        max_body: int,
        registry: CollectorRegistry,
        leaving: Callable[[], bool],
        hsts_s: int = 0,
    ) -> None:
        self._app = app
        self._security = (*SECURITY_HEADERS, *_hsts(hsts_s))
        self._leaving = leaving
        self._max_body = max_body
        self._log = structlog.get_logger("penstock.api")
        self._meters = _Meters(registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        headers = dict(reversed(scope["headers"]))  # of several alike the first counts
        request_id = _request_id(headers)
        scope.setdefault("state", {})["request_id"] = request_id
        status = 0

        async def reply(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                took = f"{(time.perf_counter() - began) * 1000:.1f}ms"
                given = message.get("headers", ())
                message["headers"] = [
                    *given,
                    (b"x-request-id", request_id.encode()),
                    (b"x-response-time", took.encode()),
                    *self._security,
                    *_unless_given(given),
                    *(LAST_ANSWER if self._leaving() else ()),
                ]
            await send(message)

        try:
            await self._serve(scope, receive, reply, headers, request_id)
        except Exception as error:
            if status:
                raise  # half an answer is out: the server has to break the connection
            await unexpected(error, scope["path"], request_id)(scope, receive, reply)
        finally:
            self._account(scope, status or 500, time.perf_counter() - began, request_id)

    async def _serve(
        self, scope: Scope, receive: Receive, reply: Send, headers: RawHeaders, request_id: str
    ) -> None:
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > self._max_body:
            await envelope(TooLargeError(self._max_body).refused, request_id)(scope, receive, reply)
        else:
            await self._app(scope, self._limited(receive), reply)

    def _limited(self, receive: Receive) -> Receive:
        """A body without an announced length is counted while it arrives."""
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_body:
                raise TooLargeError(self._max_body)
            return message

        return counted

    def _account(self, scope: Scope, status: int, seconds: float, request_id: str) -> None:
        # The route's pattern, not the path: a label per job id would fill the metrics store.
        route = getattr(scope.get("route"), "path", "none")
        self._meters.count(scope["method"], route, status, seconds)
        log = self._log.debug if route in _QUIET else self._log.info
        log(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            ms=round(seconds * 1000, 1),
            request=request_id,
            **_asker(scope),
        )


def _asker(scope: Scope) -> dict[str, str]:
    key: Key | None = scope["state"].get("key")
    return {} if key is None else {"key": key.name}


def _hsts(seconds: int) -> tuple[tuple[bytes, bytes], ...]:
    return ((b"strict-transport-security", f"max-age={seconds}".encode()),) if seconds else ()


def _unless_given(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
    names = {name for name, _ in headers}
    return [usual for usual in USUAL_HEADERS if usual[0] not in names]


class _Meters:
    """Requests by route. What counts one kind is looked up once: finding it costs more than counting."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "penstock_http_requests", "Requests answered.", ["method", "route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "penstock_http_seconds",
            "Time until a request was answered.",
            ["method", "route"],
            registry=registry,
        )
        self._found: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        kind = (method, route, status)
        if kind not in self._found:
            self._found[kind] = (self._requests.labels(*kind), self._seconds.labels(method, route))
        requests, times = self._found[kind]
        requests.inc()
        times.observe(seconds)


def _request_id(headers: RawHeaders) -> str:
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _GOOD_ID.fullmatch(given) else new_id()


async def known_query(request: Request) -> None:
    """Refuse query parameters that the route does not have: a misspelt filter would silently be none.

    Probes and scrapers may send what they like.
    """
    if request.scope["query_string"] and request.scope["path"] not in _QUIET:
        unknown = request.query_params.keys() - _query_names(request.scope["route"])
        if unknown:
            raise field_error([(name, "there is no such query parameter") for name in sorted(unknown)])


def _query_names(route: APIRoute) -> set[str]:
    dependant = route.dependant
    elsewhere = {field.alias for field in (*dependant.path_params, *dependant.header_params)}
    return {field.alias for field in get_flat_params(dependant)} - elsewhere
