"""The API describes itself: every route and every task, in a document that holds together."""

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from penstock import Progress, task
from penstock.core.catalog import load
from penstock.core.submission import Submission, SubmitOptions, TaskView

METHODS = {"get", "post", "put", "patch", "delete"}


def same_name(field):
    """Two tasks of different modules may call their models alike."""

    class Request(BaseModel):
        model_config = ConfigDict(extra="forbid")
        __annotations__ = {field: int}

    return Request


First, Second = same_name("first"), same_name("second")


class Leaf(BaseModel):
    weight: float = Field(description="kilograms")
    below: list["Leaf"] = []


@task(name="takes_first")
def takes_first(request: First) -> First:
    return request


@task(name="takes_second")
def takes_second(request: Second, progress: Progress) -> Second:
    return request


@task(example={"leaf": {"weight": 1.5}})
def takes_tree(leaf: Leaf, tags: dict[str, list[int]] | None = None) -> list[Leaf]:
    """Weigh a tree.

    With all its leaves.
    """
    return [leaf]


@pytest.fixture
async def house(open_house):
    return await open_house([takes_first, takes_second, takes_tree])


@pytest.fixture
async def document(house):
    answer = await house.ask("GET", "/openapi.json")
    assert answer.status_code == 200
    return answer.json()


def everything(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from everything(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from everything(inner)


def operations(document):
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            yield path, method, operation


def resolve(document, schema):
    while "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


async def test_document_holds_together(document):
    assert document["openapi"].startswith("3.1")
    assert document["info"]["title"] == "Penstock"
    assert document["info"]["version"]
    for part in everything(document):
        if isinstance(target := part.get("$ref"), str):
            assert target.startswith("#/components/schemas/")
            assert target.rpartition("/")[2] in document["components"]["schemas"], target
    seen = [operation["operationId"] for _, _, operation in operations(document)]
    assert len(seen) == len(set(seen))
    for path, method, operation in operations(document):
        assert operation["responses"], (path, method)
        given = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "path"}
        assert given == {part[1:-1] for part in path.split("/") if part.startswith("{")}
        for parameter in operation.get("parameters", ()):
            assert parameter["in"] in {"path", "query", "header"}
            assert "schema" in parameter


async def test_every_route_is_described_and_tagged(document):
    described = {(path, method) for path, method, _ in operations(document)}
    assert described >= {
        ("/jobs", "post"),
        ("/jobs", "get"),
        ("/batches", "post"),
        ("/jobs/{job_id}", "get"),
        ("/jobs/{job_id}", "delete"),
        ("/jobs/{job_id}/retry", "post"),
        ("/jobs/{job_id}/events", "get"),
        ("/events", "get"),
        ("/tasks", "get"),
        ("/queues", "get"),
        ("/workers", "get"),
        ("/stats", "get"),
        ("/health", "get"),
        ("/healthz", "get"),
        ("/livez", "get"),
        ("/metrics", "get"),
        ("/whoami", "get"),
    }
    for path, method, operation in operations(document):
        assert operation["tags"], (path, method)
        assert operation["summary"], (path, method)


async def test_every_task_has_a_typed_body(house, document):
    for view in (await house.ask("GET", "/tasks")).json():
        operation = document["paths"][f"/tasks/{view['name']}/jobs"]["post"]
        body = resolve(document, operation["requestBody"]["content"]["application/json"]["schema"])
        assert body["properties"].keys() == view["params_schema"].get("properties", {}).keys()
        assert operation["operationId"] == f"submit_{view['name']}"
        for status in ("200", "202"):
            answer = operation["responses"][status]["content"]["application/json"]["schema"]
            assert "initiated_by" in resolve(document, answer)["properties"]


async def test_models_of_the_same_name_are_kept_apart(document):
    for name, field in (("takes_first", "first"), ("takes_second", "second")):
        body = document["paths"][f"/tasks/{name}/jobs"]["post"]["requestBody"]
        schema = resolve(document, body["content"]["application/json"]["schema"])
        assert list(schema["properties"]) == [field]


async def test_errors_are_described_as_they_are(house, document):
    for path, method, operation in operations(document):
        for group in ("4XX", "5XX"):
            schema = operation["responses"][group]["content"]["application/json"]["schema"]
            error = resolve(document, resolve(document, schema)["properties"]["error"])
            assert set(error["properties"]) == {"code", "message", "details", "request_id"}, (path, method)
        assert "422" not in operation["responses"], "FastAPI's own shape of a validation error is never sent"


async def test_typed_submission_offers_the_options(document):
    operation = document["paths"]["/tasks/takes_tree/jobs"]["post"]
    offered = {each["name"]: each["in"] for each in operation["parameters"]}
    assert offered == dict.fromkeys([*SubmitOptions.model_fields, "wait"], "query") | {
        "idempotency-key": "header"
    }


async def test_example_and_description_of_a_task_are_shown(document):
    operation = document["paths"]["/tasks/takes_tree/jobs"]["post"]
    assert operation["description"].startswith("Weigh a tree.")
    assert {"leaf": {"weight": 1.5}} in list(everything(operation["requestBody"]))


async def test_tasks_are_listed_with_their_schemas(house):
    listed = {view["name"]: view for view in (await house.ask("GET", "/tasks")).json()}
    assert {"credit_loss", "lifetime_ecl", "noop", "takes_tree"} <= listed.keys()
    tree = listed["takes_tree"]
    assert set(tree) == set(TaskView.model_fields)
    assert tree["description"] == "Weigh a tree.\n\nWith all its leaves."
    assert tree["params_schema"]["required"] == ["leaf"]
    assert tree["result_schema"]["type"] == "array"
    assert tree["example"] == {"leaf": {"weight": 1.5}}


async def test_one_task(house):
    one = (await house.ask("GET", "/tasks/credit_loss")).json()
    assert one in (await house.ask("GET", "/tasks")).json()
    assert one["params_schema"]["required"] == ["load"]
    assert {
        "max_attempts": 4,
        "timeout_s": None,
        "queue": "default",
        "priority": "medium",
    }.items() <= one.items()


async def test_example_of_every_task_can_be_submitted(house):
    for view in (await house.ask("GET", "/tasks")).json():
        if view["example"]:
            answer = await house.ask("POST", f"/tasks/{view['name']}/jobs", view["example"])
            assert answer.status_code == 202, (view["name"], answer.text)


async def test_what_the_page_offers_to_send_can_be_sent(document):
    (example,) = document["components"]["schemas"]["Submission"]["examples"]
    offered = Submission.model_validate(example)
    assert load(()).find(offered.task).parse(offered.params)


async def test_pages_for_people(house):
    assert (await house.ask("GET", "/docs")).headers["content-type"].startswith("text/html")
    assert (await house.ask("GET", "/")).headers["content-type"].startswith("text/html")
