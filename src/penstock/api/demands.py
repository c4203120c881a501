"""The optimiser's own way to ask: a body that is a demand, without ``task``, and an answer of five fields.

What came in this way is a job like any other; only how it is told differs.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import Response
from pydantic import GetJsonSchemaHandler, ModelWrapValidatorHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from penstock.api.wire import answer
from penstock.core.errors import PenstockError, field_error
from penstock.core.job import State
from penstock.core.submission import Submission

TASK = "habitat_allocation"
SIGN = "demand_df"
"""The parameter by which its body is known."""

STATUS: Mapping[State, str] = {
    State.SCHEDULED: "queued",
    State.QUEUED: "queued",
    State.RUNNING: "started",
    State.SUCCEEDED: "finished",
    State.FAILED: "failed",
    State.CANCELLED: "failed",
}


class SubmissionOrDemand(Submission):
    """What ``POST /jobs`` takes; validates to a `Submission` or a `Demand`."""

    @model_validator(mode="wrap")
    @classmethod
    def _of_parameters(
        cls, given: Any, validate: ModelWrapValidatorHandler["SubmissionOrDemand"]
    ) -> "SubmissionOrDemand":
        if type(given) is dict and SIGN in given and "task" not in given:
            return Demand(task=TASK, params=given)
        return validate(given)

    @classmethod
    def __get_pydantic_json_schema__(cls, _: CoreSchema, describe: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A submission's: what a demand looks like stands at the task's own route."""
        return describe(Submission.__pydantic_core_schema__)


class Demand(SubmissionOrDemand):
    """A submission that came as its parameters alone."""


def demand_view(view: Mapping[str, Any]) -> dict[str, Any]:
    """A job as ``{job_id, status, result, error, cached}``."""
    return {**_told(view), "result": view["result"], "error": view["error"], "cached": view["cached"]}


def with_status(view: dict[str, Any]) -> dict[str, Any]:
    """A job as it is, with ``job_id`` and ``status`` if it is one of `TASK`."""
    return view | _told(view) if view["task"] == TASK else view


def _told(view: Mapping[str, Any]) -> dict[str, Any]:
    return {"job_id": view["id"], "status": STATUS[view["state"]]}


def refusal_of(submission: Submission, refused: PenstockError) -> PenstockError:
    """The same refusal, whose fields are called as in the body that came."""
    fields = refused.details.get("fields")
    if type(submission) is not Demand or not fields:
        return refused
    return field_error([(each["field"].removeprefix("params."), each["problem"]) for each in fields])


def as_demanded(submission: Submission, view: Mapping[str, Any], status: int) -> Response:
    """The answer to either kind of submission."""
    told = demand_view(view) if type(submission) is Demand else view
    return answer(told, status, {"Location": f"/jobs/{view['id']}"})
