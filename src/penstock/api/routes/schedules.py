"""Schedules: jobs that are submitted by the clock."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Path, Response

from penstock.api.office import Office
from penstock.api.routing import make_router
from penstock.api.wire import answer, job_view
from penstock.core.clock import iso, system_clock
from penstock.core.schedule import Schedule, upcoming
from penstock.core.schedule_forms import NAME, ScheduleBody, ScheduleForm, ScheduleList, ScheduleView
from penstock.core.submission import JobView

NEXT = 5

Name = Annotated[str, Path(pattern=NAME, description="the schedule's name")]


def router(office: Office) -> APIRouter:
    """The routes under ``/schedules``."""
    routes = make_router("schedules")
    schedules, node = office.desk.schedules, office.node

    @routes.post("/schedules", status_code=201, response_model=ScheduleView)
    async def create(form: Annotated[ScheduleForm, Body()]) -> Response:
        """Begin a schedule; its first tick is the next one. A job's errors are found now."""
        made = await schedules.create(form)
        return answer(schedule_view(made), 201, {"Location": f"/schedules/{made.name}"})

    @routes.get("/schedules", response_model=ScheduleList)
    async def every() -> Response:
        """Every schedule, by name."""
        return answer({"schedules": [schedule_view(one) for one in await schedules.all()]})

    @routes.get("/schedules/{name}", response_model=ScheduleView)
    async def get(name: Name) -> Response:
        """One schedule, with its last tick and the next five."""
        return answer(schedule_view(await schedules.get(name)))

    @routes.put("/schedules/{name}", response_model=ScheduleView)
    async def put(name: Name, body: Annotated[ScheduleBody, Body()]) -> Response:
        """Give a schedule another definition. Its ticks count from now."""
        return answer(schedule_view(await schedules.put(name, body)))

    @routes.post("/schedules/{name}/pause", response_model=ScheduleView)
    async def pause(name: Name) -> Response:
        """Submit no more of its jobs."""
        return answer(schedule_view(await schedules.pause(name)))

    @routes.post("/schedules/{name}/resume", response_model=ScheduleView)
    async def resume(name: Name) -> Response:
        """Go on with the next tick; those of the pause are not made up for."""
        return answer(schedule_view(await schedules.resume(name)))

    @routes.post("/schedules/{name}/run", status_code=202, response_model=JobView)
    async def run(name: Name) -> Response:
        """Submit one of its jobs now, beside those of its ticks; also while it is paused."""
        job = await schedules.run(name)
        return answer(job_view(job, node), 202, {"Location": f"/jobs/{job.id}"})

    @routes.delete("/schedules/{name}", response_model=ScheduleView)
    async def remove(name: Name) -> Response:
        """End a schedule; jobs that it submitted stay."""
        return answer(schedule_view(await schedules.remove(name)))

    return routes


def schedule_view(schedule: Schedule) -> dict[str, Any]:
    """A schedule as `ScheduleView` describes it."""
    return {
        "name": schedule.name,
        "cron": schedule.cron,
        "timezone": schedule.timezone,
        "task": schedule.spec.task,
        "params": schedule.spec.params,
        "priority": schedule.spec.priority,
        "queue": schedule.spec.queue,
        "missed": schedule.missed,
        "paused": schedule.paused,
        "created_at": iso(schedule.created_at),
        "created_by": schedule.created_by,
        "last_tick": None if schedule.last_tick is None else iso(schedule.last_tick),
        "last_job": schedule.last_job,
        "missed_ticks": schedule.missed_ticks,
        "last_error": schedule.last_error,
        "next": [] if schedule.paused else list(map(iso, upcoming(schedule, system_clock(), NEXT))),
    }
