"""Who may come in: keys, roles, whose jobs, and how often. Refusals leave as the one envelope.

Pure ASGI on raw headers, like `Guard`, inside which it stands. Where no key exists, none is asked for and
nothing is counted, a request passes for the price of a look.
"""

import asyncio
import math
from collections.abc import Iterable

import structlog
from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from penstock.api import roles, stays
from penstock.api.entrance import Entrance
from penstock.api.wire import envelope
from penstock.core import addresses
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.keys import Key, Role
from penstock.service.desk import Desk
from penstock.service.keyring import Keyring

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})


def key_of(request: Request) -> Key | None:
    """The key that a request came with; None where none is needed."""
    key: Key | None = request.scope["state"].get("key")
    return key


def confined_to(key: Key | None) -> str | None:
    """The client whose jobs alone exist for this key, None if all do."""
    return key.client if key is not None and key.confined else None


class Doors:
    """Lets a request through to ``app``, or says why not."""

    def __init__(self, app: ASGIApp, entrance: Entrance, desk: Desk) -> None:
        self._app = app
        self._entrance = entrance
        self._desk = desk
        self._log = structlog.get_logger("penstock.api")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        key = None
        if self._entrance.guarded:
            try:
                key = scope["state"]["key"] = await self._admitted(scope)
            except PenstockError as refused:
                await self._refuse(refused, scope, receive, send)
                return
        if key is not None and _is_administration(scope, key):
            await self._audited(key, scope, receive, send)
        elif (
            self._entrance.keyring is not None and stays.may_stay(scope) and not roles.is_open(scope["path"])
        ):
            await self._while_welcome(self._entrance.keyring, key, scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _admitted(self, scope: Scope) -> Key | None:
        """The key of a request that may come in. Raises for every other."""
        path, entrance = scope["path"], self._entrance
        presented = _presented(scope["headers"])
        key = None if presented is None else entrance.find(presented)
        if entrance.limiter is not None and path not in roles.UNCOUNTED:
            await self._count(scope, key)
        if not entrance.asks_for_keys or roles.is_open(path):
            return key
        if key is None:
            raise _unauthenticated(presented)
        if not key.role.allows(roles.needed(scope["method"], path)):
            message = f"a key with the role {key.role} may not {scope['method']} {path}"
            raise PenstockError(ErrorCode.FORBIDDEN, message, {"role": key.role})
        job_id = roles.job_of(path)
        if (
            job_id is None
            or key.role is Role.ADMIN
            or (scope["method"] == "GET" and roles.looks_at_job(path))
        ):
            return key  # who looks at a job that is forgotten asks history, which the route does
        await self._check_owner(key, job_id, scope["method"])
        return key

    async def _while_welcome(
        self, keyring: Keyring, key: Key | None, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Serve a request that may stay long, until its key is revoked, or one is needed and it has none."""
        answer = stays.Answer(send)
        try:
            async with asyncio.timeout(None) as patience:
                with keyring.guest(key, patience):
                    await self._app(scope, receive, answer)
        except TimeoutError:
            if not patience.expired():
                raise
            if answer.begun:
                await answer.end()
            else:
                await self._refuse(_unauthenticated(key.id if key else None), scope, receive, send)

    async def _count(self, scope: Scope, key: Key | None) -> None:
        assert self._entrance.limiter is not None  # noqa: S101 - the caller's condition
        who = f"key:{key.id}" if key is not None else f"address:{addresses.counted(self._address(scope))}"
        wait_s = await self._entrance.limiter.take(who)
        if wait_s > 0:
            rate = self._entrance.limiter.rate
            message = f"more than {rate.most} requests in {rate.window_s} s; try again after {wait_s:.1f} s"
            details = {"limit": rate.most, "window_s": rate.window_s}
            raise PenstockError(ErrorCode.RATE_LIMITED, message, details, retry_after_s=math.ceil(wait_s))

    async def _check_owner(self, key: Key, job_id: str, method: str) -> None:
        """Jobs of others can be looked at by who sees all, and changed by administrators only."""
        if not key.confined and method in _SAFE:
            return
        job = await self._desk.get(job_id)
        if job.spec.client == key.client:
            return
        if key.confined:
            raise PenstockError(ErrorCode.JOB_NOT_FOUND, f"there is no job {job_id}", {"job_id": job_id})
        raise PenstockError(ErrorCode.FORBIDDEN, f"job {job_id} is another client's", {"job_id": job_id})

    async def _refuse(self, refused: PenstockError, scope: Scope, receive: Receive, send: Send) -> None:
        answer = envelope(refused, scope["state"].get("request_id"))
        if refused.code is ErrorCode.UNAUTHENTICATED:
            answer.headers["WWW-Authenticate"] = "Bearer"
        elif refused.code is ErrorCode.RATE_LIMITED:
            answer.headers["RateLimit-Limit"] = str(refused.details["limit"])
            answer.headers["RateLimit-Remaining"] = "0"
            answer.headers["RateLimit-Reset"] = answer.headers["Retry-After"]
        await answer(scope, receive, send)

    async def _audited(self, key: Key, scope: Scope, receive: Receive, send: Send) -> None:
        status = 500

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            self._log.info(
                "audit",
                who=key.name,
                action=f"{scope['method']} {getattr(scope.get('route'), 'path', 'none')}",
                target=scope["path"],
                status=status,
                request=scope["state"].get("request_id"),
                address=self._address(scope),
            )

    def _address(self, scope: Scope) -> str:
        peer = scope.get("client")
        forwarded = [
            value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"
        ]
        return addresses.origin(peer[0] if peer else "unknown", forwarded, self._entrance.proxies)


def _is_administration(scope: Scope, key: Key) -> bool:
    """Whether it changes something, and that with the rights of an administrator."""
    method, path = scope["method"], scope["path"]
    needed = key.role if (method, path) in _FURTHER_FOR_ADMIN else roles.needed(method, path)
    return method not in _SAFE and needed is Role.ADMIN


_FURTHER_FOR_ADMIN = {("DELETE", "/jobs")}
"""What anybody may do with jobs of their own, and an administrator with everybody's."""


def _presented(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The key that a request shows, from the first header that has one."""
    for name, value in headers:
        if name == b"x-api-key":
            return value.decode("latin-1").strip()
        if name == b"authorization" and value[:7].lower() == b"bearer ":
            return value[7:].decode("latin-1").strip()
    return None


def _unauthenticated(presented: str | None) -> PenstockError:
    problem = "this key is not known here" if presented else "an API key is needed"
    message = f"{problem}; send one as Authorization: Bearer … or as X-API-Key (penstock: PENSTOCK_API_KEY)"
    return PenstockError(ErrorCode.UNAUTHENTICATED, message)
