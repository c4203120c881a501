"""Routes whose callers know one status for every request that is wrong: 400."""

from fastapi import APIRouter, Request, Response
from fastapi.exceptions import RequestValidationError

from penstock.api.errors import inside
from penstock.api.routing import Handler, StemmedRoute, make_router
from penstock.core.errors import ErrorCode, PenstockError
from penstock.core.problems import refusal


def make_plain_router(tag: str) -> APIRouter:
    """A router for one module's routes."""
    routes = make_router(tag)
    routes.route_class = PlainRoute
    return routes


class PlainRoute(StemmedRoute):
    """Says INVALID_REQUEST where others say VALIDATION_ERROR, with the same details."""

    def get_route_handler(self) -> Handler:
        """Part of `APIRoute`."""
        ordinary = super().get_route_handler()

        async def handle(request: Request) -> Response:
            try:
                return await ordinary(request)
            except RequestValidationError as invalid:
                raise _plain(refusal(inside(invalid.errors()), root="")) from None
            except PenstockError as refused:
                raise _plain(refused) from None

        return handle


def _plain(refused: PenstockError) -> PenstockError:
    if refused.code is not ErrorCode.VALIDATION_ERROR:
        return refused
    return PenstockError(ErrorCode.INVALID_REQUEST, refused.message, refused.details)
