"""What all routes share, how each is found quickly, and the quick way in for a JSON body and nothing else."""

import contextlib
import inspect
from collections.abc import Callable, Coroutine
from functools import cached_property
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.params import Body
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import from_json
from starlette.requests import ClientDisconnect
from starlette.routing import Match
from starlette.types import Scope

from penstock.api.depth import check_depth
from penstock.api.guards import known_query
from penstock.api.wire import ErrorEnvelope

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

_JSON = (b"content-type", b"application/json")


def make_router(tag: str) -> APIRouter:
    """A router for one module's routes."""
    return APIRouter(
        tags=[tag],
        dependencies=[Depends(known_query)],
        responses={"4XX": {"model": ErrorEnvelope}, "5XX": {"model": ErrorEnvelope}},
        route_class=QuickRoute,
    )


class StemmedRoute(APIRoute):
    """Sees by how a path begins that it is another route's: a request passes many of them before its own."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Part of `APIRoute`. Under a ``root_path`` paths begin otherwise, which is left to FastAPI."""
        if self._is_foreign(scope["path"]) and not scope.get("root_path"):
            return Match.NONE, {}
        return super().matches(scope)

    def _is_foreign(self, path: str) -> bool:
        return not path.startswith(self._stem) if self.param_convertors else path != self.path

    @cached_property
    def _stem(self) -> str:
        return self.path.partition("{")[0]


class QuickRoute(StemmedRoute):
    """Takes a good JSON body straight to its endpoint.

    FastAPI looks for every parameter of a route in every place, and that costs more than the rest
    of a submission. Here a request without a query, without a header that the route knows and with
    a body that fits the model skips it. Any other is left to FastAPI from its beginning: so each
    error is FastAPI's own, and OpenAPI describes the endpoint as it stands.
    """

    def get_route_handler(self) -> Handler:
        """Part of `APIRoute`."""
        ordinary = super().get_route_handler()
        if self.body_field is not None:
            ordinary = _of_bounded_depth(ordinary)
        if not _can_be_quick(self):
            return ordinary
        (body,) = self.dependant.body_params
        model: Any = body.field_info.annotation
        telling = frozenset([_JSON[0], *(each.alias.encode() for each in self.dependant.header_params)])

        async def handle(request: Request) -> Response:
            if _says_only_json(request.scope, telling):
                given = await _read(request, model)
                if given is not None:
                    answer: Response = await self.endpoint(request=request, **{body.name: given})
                    return answer
            return await ordinary(request)

        return handle


def _of_bounded_depth(ordinary: Handler) -> Handler:
    """FastAPI parses a body before anybody may look at it; so it is looked at before that."""

    async def handle(request: Request) -> Response:
        if "json" in request.headers.get("content-type", ""):
            with contextlib.suppress(ClientDisconnect):  # that is told in FastAPI's way
                check_depth(await request.body())
        return await ordinary(request)

    return handle


def _can_be_quick(route: APIRoute) -> bool:
    """Whether a body is all that the endpoint needs, and all that may keep it from being called."""
    dependant, signature = route.dependant, inspect.signature(route.endpoint)
    bodies = {body.name for body in dependant.body_params if _is_whole_model(body.field_info)}
    others = [each for each in signature.parameters.values() if each.name not in {"request", *bodies}]
    return (
        len(bodies) == 1
        and dependant.request_param_name == "request"
        and all(each.default is not each.empty and not isinstance(each.default, FieldInfo) for each in others)
        and not dependant.cookie_params
        # It has nothing to refuse where there is no query. Any other check must not be skipped.
        and all(needed.call is known_query for needed in dependant.dependencies)
        and inspect.iscoroutinefunction(route.endpoint)
        and signature.return_annotation is Response
    )


def _is_whole_model(body: FieldInfo) -> bool:
    model: Any = body.annotation
    return type(body) is Body and not body.embed and inspect.isclass(model) and issubclass(model, BaseModel)


def _says_only_json(scope: Scope, telling: frozenset[bytes]) -> bool:
    if scope["query_string"]:
        return False
    told = [header for header in scope["headers"] if header[0] in telling]
    return told == [_JSON]


async def _read(request: Request, model: Any) -> BaseModel | None:
    """The body, parsed and validated as FastAPI does it; None if that may not succeed."""
    try:
        body = await request.body()
        check_depth(body)
        given = from_json(body)
        # Of null, releases of FastAPI differ in whether it is a body.
        return model.model_validate(given, from_attributes=True) if type(given) is dict else None
    except (ValueError, RecursionError, ClientDisconnect):
        return None
