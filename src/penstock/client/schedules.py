"""Requests about schedules; see `messages`."""

from collections.abc import Mapping
from typing import Any

from penstock.client.messages import Call, _encode, _given, _path
from penstock.core.schedule_forms import ScheduleList, ScheduleView
from penstock.core.submission import JobView


def create(form: Mapping[str, Any]) -> Call[ScheduleView]:
    """Begin a schedule; ``form`` are the fields of `ScheduleForm`."""
    return Call("POST", "/schedules", ScheduleView.model_validate, body=_encode(_given(form)))


def put(name: str, body: Mapping[str, Any]) -> Call[ScheduleView]:
    """Give it another definition; ``body`` are the fields of `ScheduleBody`."""
    path = _path("schedules", name)
    return Call("PUT", path, ScheduleView.model_validate, body=_encode(_given(body)))


def every() -> Call[list[ScheduleView]]:
    """All of them, by name."""
    return Call("GET", "/schedules", lambda found: ScheduleList.model_validate(found).schedules)


def get(name: str) -> Call[ScheduleView]:
    """One of them."""
    return Call("GET", _path("schedules", name), ScheduleView.model_validate)


def switch(name: str, *, paused: bool) -> Call[ScheduleView]:
    """Pause or resume it."""
    path = _path("schedules", name, "pause" if paused else "resume")
    return Call("POST", path, ScheduleView.model_validate)


def run(name: str) -> Call[JobView]:
    """Submit one of its jobs now."""
    return Call("POST", _path("schedules", name, "run"), JobView.model_validate)


def remove(name: str) -> Call[ScheduleView]:
    """End it."""
    return Call("DELETE", _path("schedules", name), ScheduleView.model_validate)
