"""Clients: what an operator allows each of them."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from penstock.api.office import Office
from penstock.api.routing import make_router
from penstock.api.wire import answer
from penstock.core.fairness import MOST_WEIGHT, ClientTerms

ClientName = Annotated[
    str, Path(min_length=1, max_length=200, description="the client's name, as in its submissions")
]


class Terms(BaseModel):
    """What a client is allowed; what is left out is not limited, or as its submissions say."""

    model_config = ConfigDict(extra="forbid")

    max_running: int | None = Field(
        default=None, ge=1, le=65_535, description="jobs at a time, over all queues"
    )
    weight: int | None = Field(
        default=None, ge=1, le=MOST_WEIGHT, description="share, against other clients' 1"
    )


def router(office: Office) -> APIRouter:
    """The routes under ``/clients``."""
    routes = make_router("operation")
    desk = office.desk

    @routes.get("/clients")
    async def clients() -> Response:
        """Every client that an operator limited or gave a weight."""
        found = sorted((await desk.clients.terms()).items())
        return answer({"clients": [_view(client, terms) for client, terms in found]})

    @routes.put("/clients/{client}")
    async def limit(client: ClientName, terms: Annotated[Terms, Body()]) -> dict[str, Any]:
        """Allow a client so many jobs at a time and a share of the workers, from now on."""
        given = ClientTerms(max_running=terms.max_running, weight=terms.weight)
        await desk.clients.limit(client, given)
        return _view(client, given)

    @routes.delete("/clients/{client}")
    async def free(client: ClientName) -> dict[str, Any]:
        """Forget what was said of a client."""
        await desk.clients.limit(client, None)
        return _view(client, ClientTerms())

    return routes


def _view(client: str, terms: ClientTerms) -> dict[str, Any]:
    return {"client": client, "max_running": terms.max_running, "weight": terms.weight}
