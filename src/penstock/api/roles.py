"""Which role every route needs: the one table. A route that is not in it is for administrators."""

import re
from collections.abc import Iterator

from penstock.core.keys import Role

OPEN = frozenset({"/", "/livez", "/healthz", "/docs"})
"""Paths that need no key: probes, and pages that hold nothing but themselves."""

OPEN_FOLDERS = ("/assets/", "/static/", "/docs/")
"""Folders of such pages."""

UNCOUNTED = frozenset({"/livez", "/healthz", "/metrics"})
"""Paths that are asked for all the time, by machines that must never be refused."""

ROLES: dict[tuple[str, str], Role] = {
    ("GET", "/openapi.json"): Role.READ,
    ("GET", "/whoami"): Role.READ,
    ("GET", "/health"): Role.READ,
    ("GET", "/metrics"): Role.READ,
    ("GET", "/tasks"): Role.READ,
    ("GET", "/tasks/{name}"): Role.READ,
    ("GET", "/tasks/{job_id}/status"): Role.READ,
    ("GET", "/api/v1/tasks/{job_id}"): Role.READ,
    ("GET", "/api/v1/health"): Role.READ,
    ("GET", "/valkey_test"): Role.READ,
    ("GET", "/add"): Role.SUBMIT,
    ("POST", "/task"): Role.SUBMIT,
    ("POST", "/api/v1/tasks"): Role.SUBMIT,
    ("GET", "/queues"): Role.READ,
    ("GET", "/clients"): Role.ADMIN,
    ("PUT", "/clients/{client}"): Role.ADMIN,
    ("DELETE", "/clients/{client}"): Role.ADMIN,
    ("GET", "/workers"): Role.READ,
    ("GET", "/stats"): Role.READ,
    ("GET", "/jobs"): Role.READ,
    ("GET", "/jobs/export"): Role.READ,
    ("GET", "/jobs/{job_id}"): Role.READ,
    ("GET", "/jobs/{job_id}/attempts"): Role.READ,
    ("GET", "/jobs/{job_id}/events"): Role.READ,
    ("GET", "/events"): Role.READ,
    ("GET", "/dead"): Role.READ,
    ("GET", "/cache"): Role.READ,
    ("GET", "/schedules"): Role.ADMIN,
    ("GET", "/schedules/{name}"): Role.ADMIN,
    ("POST", "/waits"): Role.READ,
    ("POST", "/jobs"): Role.SUBMIT,
    ("POST", "/batches"): Role.SUBMIT,
    ("POST", "/enqueue"): Role.SUBMIT,
    ("POST", "/tasks/{name}/jobs"): Role.SUBMIT,
    ("DELETE", "/jobs/{job_id}"): Role.SUBMIT,
    ("DELETE", "/jobs"): Role.SUBMIT,
    ("POST", "/jobs/{job_id}/retry"): Role.SUBMIT,
    ("POST", "/jobs/{job_id}/extend"): Role.SUBMIT,
    ("POST", "/dead/retry"): Role.ADMIN,
    ("DELETE", "/dead"): Role.ADMIN,
    ("DELETE", "/cache/{hash}"): Role.ADMIN,
    ("POST", "/cache/clear-all"): Role.ADMIN,
    ("PUT", "/queues/{name}"): Role.ADMIN,
    ("POST", "/schedules"): Role.ADMIN,
    ("PUT", "/schedules/{name}"): Role.ADMIN,
    ("DELETE", "/schedules/{name}"): Role.ADMIN,
    ("POST", "/schedules/{name}/pause"): Role.ADMIN,
    ("POST", "/schedules/{name}/resume"): Role.ADMIN,
    ("POST", "/schedules/{name}/run"): Role.ADMIN,
    ("POST", "/queues/{name}/pause"): Role.ADMIN,
    ("POST", "/queues/{name}/resume"): Role.ADMIN,
}

JOBS = "/jobs/"
EXPORT = "/jobs/export"

_ONE_JOB = re.compile(r"/jobs/[^/]+")
_ALIAS = re.compile(r"/tasks/(?P<job>[^/]+)/status|/api/v1/tasks/(?P<job_v1>[^/]+)")
"""The other paths about one job."""


def is_open(path: str) -> bool:
    """Whether a path needs no key."""
    return path in OPEN or path.startswith(OPEN_FOLDERS)


def needed(method: str, path: str) -> Role:
    """The role that a request needs. Nothing is assumed of what is not in the table."""
    method = "GET" if method in {"HEAD", "OPTIONS"} else method
    exact = ROLES.get((method, path))
    return exact or next(_matching(method, path), Role.ADMIN)


def _matching(method: str, path: str) -> Iterator[Role]:
    parts = path.split("/")
    for (wanted, pattern), role in ROLES.items():
        if wanted == method and _fits(pattern.split("/"), parts):
            yield role


def _fits(pattern: list[str], parts: list[str]) -> bool:
    return len(pattern) == len(parts) and all(
        want == part or want.startswith("{") for want, part in zip(pattern, parts, strict=True)
    )


def looks_at_job(path: str) -> bool:
    """Whether a GET of this path shows a job or its record: its route asks `job_or_record` for the key."""
    return _ONE_JOB.fullmatch(path) is not None or _ALIAS.fullmatch(path) is not None


def job_of(path: str) -> str | None:
    """The id of the job that a path is about, None if it is about no single job."""
    if path.startswith(JOBS) and path != EXPORT:
        return path.removeprefix(JOBS).partition("/")[0]
    alias = _ALIAS.fullmatch(path)
    return None if alias is None else alias["job"] or alias["job_v1"]
