"""Dead letters: list, retry, purge."""

from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response

from penstock.api.doors import confined_to, key_of
from penstock.api.office import Office
from penstock.api.routing import make_router
from penstock.api.wire import answer, attempt_view, job_view
from penstock.core.dead import DeadChoice, DeadList, DeadPage, DeadReport


def router(office: Office) -> APIRouter:
    """The routes under ``/dead``."""
    routes = make_router("dead letters")
    dead, node = office.desk.dead, office.node

    @routes.get("/dead", response_model=DeadList)
    async def find(request: Request, page: Annotated[DeadPage, Query()]) -> Response:
        """Failed jobs with error, traceback and attempts, newest first."""
        found = await dead.find(page, confined_to(key_of(request)))
        shown = [job_view(job, node) | {"attempts": list(map(attempt_view, past))} for job, past in found]
        more = found[-1][0].id if len(found) == page.limit else None
        return answer({"dead": shown, "next": more})

    @routes.post("/dead/retry")
    async def retry(choice: Annotated[DeadChoice, Body()]) -> DeadReport:
        """Queue failed jobs anew, with all their attempts: by ids, by filter, or all of them."""
        return await dead.retry(choice)

    @routes.delete("/dead")
    async def purge(choice: Annotated[DeadChoice, Query()]) -> DeadReport:
        """Forget failed jobs for good: by ids, by filter, or all of them."""
        return await dead.purge(choice)

    return routes
