"""The least a FastAPI route can do with a submission: read it through Penstock's model and answer.

Nothing is stored. ``uvicorn peers.bare_api:app`` serves it. The answer has the size of Penstock's own.
"""

from fastapi import FastAPI
from fastapi.responses import JSONResponse

from penstock.core.submission import Submission

app = FastAPI()

ANSWER = {
    "id": "01jd0000000000000000000000",
    "task": "noop",
    "state": "queued",
    "queue": "default",
    "priority": "medium",
    "params": {"n": 1},
    "result": None,
    "error": None,
    "progress": None,
    "attempt": 0,
    "max_attempts": 1,
    "losses": 0,
    "cancel_requested": False,
    "cached": False,
    "joined": False,
    "created_at": "2026-01-01T00:00:00.000Z",
    "due_at": "2026-01-01T00:00:00.000Z",
    "started_at": None,
    "finished_at": None,
    "initiated_by": "localhost",
    "handled_by": None,
    "checked_by": "localhost",
    "request_id": "01jd0000000000000000000000",
    "parent_id": None,
    "position": None,
    "eta_s": None,
}


@app.post("/jobs", status_code=202)
async def submit(submission: Submission) -> JSONResponse:
    """A job as Penstock shows it."""
    return JSONResponse(ANSWER | {"task": submission.task, "params": submission.params}, 202)
