"""The older ways in: each makes the very job that the canonical API makes, and tells it in its own words."""

import msgspec
import pytest

from penstock import Progress
from penstock.api.originals import FIELDS, TASKS
from penstock.core.errors import FailureCode
from penstock.core.job import JobError
from penstock.core.keys import Role, Sees, entry, mint
from penstock.core.lifecycle import Failed, Succeeded
from penstock.service.probe import Probe
from penstock.tasks.arithmetic import add
from penstock.tasks.finance import european_option, optimal_portfolio, portfolio_var, stress_test
from support.finance import OPTION

POSITIONS = [{"symbol": "A", "quantity": 100, "price": 150}, {"symbol": "B", "quantity": 50, "price": 80}]
MATRIX = [[1, 0.4], [0.4, 1]]
SCENARIOS = [{"name": "crash", "equity_shock": -0.3}]
MISSING = ["data.positions[0].symbol", "data.positions[0].price"]
RETURNS = [[0.01, 0.02], [0.0, -0.01], [0.02, 0.01]]

SAME = [
    (
        "calculate_var",
        {
            "positions": POSITIONS,
            "volatilities": [0.25, 0.3],
            "correlation_matrix": MATRIX,
            "confidence_level": 0.99,
            "time_horizon": 5,
            "num_simulations": 20_000,
        },
        "portfolio_var",
        {
            "positions": POSITIONS,
            "volatilities": {"A": 0.25, "B": 0.3},
            "correlations": MATRIX,
            "confidence": 0.99,
            "horizon_days": 5,
            "simulations": 20_000,
        },
    ),
    (
        "monte_carlo",
        OPTION | {"num_simulations": 5_000},
        "european_option",
        OPTION | {"simulations": 5_000},
    ),
    (
        "optimize",
        {"symbols": ["A", "B"], "historical_returns": RETURNS},
        "optimal_portfolio",
        {"assets": ["A", "B"], "returns": RETURNS},
    ),
    (
        "stress_test",
        {"positions": POSITIONS, "volatilities": [0.2, 0.4], "scenarios": SCENARIOS},
        "stress_test",
        {"positions": POSITIONS, "volatilities": {"A": 0.2, "B": 0.4}, "scenarios": SCENARIOS},
    ),
    ("portfolio_var", {"positions": POSITIONS}, "portfolio_var", {"positions": POSITIONS}),
]


@pytest.fixture
async def house(open_house):
    return await open_house([add, european_option, optimal_portfolio, portfolio_var, stress_test])


async def spec_of(house, job_id):
    """The job as the broker keeps it, without what differs between any two submissions."""
    (job,) = await house.broker.get([job_id])
    return msgspec.structs.replace(
        job.spec, id="", request_id=None, params=msgspec.Raw(bytes(job.spec.params))
    )


async def finance(house, data, **more):
    return await house.ask("POST", "/api/v1/tasks", {"data": data} | more)


def refused(answer):
    error = answer.json()["error"]
    assert error["request_id"] == answer.headers["x-request-id"]
    return answer.status_code, error["code"], [each["field"] for each in error["details"].get("fields", ())]


# System C


@pytest.mark.parametrize(("theirs", "data", "ours", "params"), SAME, ids=[each[0] for each in SAME])
async def test_a_finance_task_is_the_job_of_the_canonical_api(house, theirs, data, ours, params):
    options = {"priority": "high", "queue": "risk"}
    answer = await finance(house, {"task_type": theirs} | data, **options)
    assert answer.status_code == 201, answer.text
    canonical = await house.ask("POST", "/jobs", {"task": ours, "params": params} | options)
    told = answer.json()
    assert await spec_of(house, told["task_id"]) == await spec_of(house, canonical.json()["id"])
    assert told == {
        "task_id": told["task_id"],
        "status": "PENDING",
        "queue": "risk",
        "message": f"{ours} was accepted",
        "estimated_wait_time_seconds": None,
    }
    assert answer.headers["location"] == f"/api/v1/tasks/{told['task_id']}"


async def test_every_state_has_its_word(house):
    answer = await finance(house, {"task_type": "optimize", "symbols": ["A", "B"], "returns": RETURNS})
    path = answer.headers["location"]

    async def told():
        return (await house.ask("GET", path)).json()

    fresh = await told()
    assert (fresh["status"], fresh["result"], fresh["started_at"]) == ("PENDING", None, None)
    (claim,) = await house.hands.take()
    assert (await told())["status"] == "STARTED"
    wrong = Failed(JobError(FailureCode.TASK_ERROR, "no luck"))
    await house.hands.end(claim, wrong)
    between = await told()
    assert (between["status"], between["error"], between["completed_at"]) == (
        "RETRY",
        "TASK_ERROR: no luck",
        None,
    )
    await house.hands.work(outcome=Succeeded(msgspec.Raw(b'{"weights":{}}')))
    done = await told()
    assert (done["status"], done["result"], done["priority"]) == ("SUCCESS", {"weights": {}}, "medium")
    assert done["processing_time_ms"] >= 0
    assert done["completed_at"] >= done["started_at"] >= done["created_at"]
    assert done.keys() == {
        *("task_id", "status", "priority", "queue", "result", "error", "request_id"),
        *("created_at", "started_at", "completed_at", "processing_time_ms"),
    }


async def test_a_failed_and_a_cancelled_task_are_failures(house):
    body = {"data": {"task_type": "monte_carlo"} | OPTION, "max_attempts": 1}
    for end in ("fail", "cancel"):
        path = (await house.ask("POST", "/api/v1/tasks", body)).headers["location"]
        if end == "fail":
            await house.hands.work(outcome=Failed(JobError(FailureCode.OUT_OF_MEMORY, "too much")))
        else:
            await house.ask("DELETE", path.replace("/api/v1/tasks", "/jobs"))
        told = (await house.ask("GET", path)).json()
        assert told["status"] == "FAILURE"
        assert end == "cancel" or told["error"] == "OUT_OF_MEMORY: too much"


async def test_the_wait_is_estimated_once_something_is_known(house):
    await house.hands.live()
    for _ in range(3):
        await finance(house, {"task_type": "monte_carlo"} | OPTION)
    canonical = (await house.ask("GET", f"/jobs/{await house.submit('noop')}")).json()
    told = (await finance(house, {"task_type": "monte_carlo"} | OPTION)).json()
    assert told["estimated_wait_time_seconds"] == canonical["eta_s"]


async def test_the_request_id_goes_all_the_way(house):
    answer = await house.ask(
        "POST", "/api/v1/tasks", {"data": {"task_type": "monte_carlo"} | OPTION}, x_request_id="order-66"
    )
    assert answer.headers["x-request-id"] == "order-66"
    (claim,) = await house.hands.take()
    assert claim.spec.request_id == "order-66"
    assert (await house.ask("GET", answer.headers["location"])).json()["request_id"] == "order-66"


async def test_an_answer_that_is_known_is_a_success_at_once(house):
    data = {"task_type": "monte_carlo"} | OPTION
    await finance(house, data)
    await house.hands.work()
    again = (await finance(house, data)).json()
    assert (again["status"], again["estimated_wait_time_seconds"]) == ("SUCCESS", None)
    assert (await house.ask("GET", f"/api/v1/tasks/{again['task_id']}")).json()["result"] == 42


async def test_an_idempotency_key_repeats_the_answer(house):
    body = {"data": {"task_type": "monte_carlo"} | OPTION}
    answers = [await house.ask("POST", "/api/v1/tasks", body, idempotency_key="k") for _ in range(2)]
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["task_id"] for answer in answers}) == await house.stored() == 1


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, (422, "VALIDATION_ERROR", ["data.task_type"])),
        ({"task_type": "alchemy"}, (404, "TASK_UNKNOWN", [])),
        (
            {"task_type": "calculate_var", "positions": POSITIONS, "confidence_level": 2},
            (422, "VALIDATION_ERROR", ["data.confidence_level"]),
        ),
        (
            {"task_type": "calculate_var", "positions": POSITIONS, "volatilities": [0.2]},
            (422, "VALIDATION_ERROR", ["data.volatilities"]),
        ),
        (
            {"task_type": "calculate_var", "positions": POSITIONS, "volatilities": [0.2, -1]},
            (422, "VALIDATION_ERROR", ["data.volatilities.B"]),
        ),
        (
            {"task_type": "calculate_var", "positions": [{"quantity": 1}], "volatilities": [0.2]},
            (422, "VALIDATION_ERROR", [*MISSING, "data.volatilities"]),
        ),
        (
            {"task_type": "monte_carlo", "num_simulations": 1_000, "simulations": 2_000} | OPTION,
            (422, "VALIDATION_ERROR", ["data.num_simulations"]),
        ),
        (
            {"task_type": "calculate_var", "positions": POSITIONS, "correlation_matrix": [[1, 2], [2, 1]]},
            (422, "VALIDATION_ERROR", ["data.correlation_matrix"]),
        ),
    ],
    ids=str,
)  # fmt: skip
async def test_what_is_wrong_is_named_as_the_caller_calls_it(house, data, expected):
    assert refused(await finance(house, data)) == expected
    assert await house.stored() == 0


async def test_a_full_queue_and_an_unknown_task_are_the_engines_errors(open_house):
    house = await open_house([european_option], max_depth=2)
    answers = [await finance(house, {"task_type": "monte_carlo", "seed": n} | OPTION) for n in range(3)]
    assert [answer.status_code for answer in answers] == [201, 201, 503]
    assert refused(answers[-1])[1] == "QUEUE_FULL"
    assert int(answers[-1].headers["retry-after"]) >= 1
    assert refused(await house.ask("GET", "/api/v1/tasks/none"))[:2] == (404, "JOB_NOT_FOUND")


async def test_health_is_that_of_the_node(house):
    alias, canonical = [(await house.ask("GET", path)).json() for path in ("/api/v1/health", "/health")]
    assert alias == canonical
    assert alias["status"] == "degraded"


def test_older_names_mean_parameters_that_there_are():
    tasks = {task.name: task for task in (european_option, optimal_portfolio, portfolio_var, stress_test)}
    assert set(TASKS.values()) <= tasks.keys()
    for name, fields in FIELDS.items():
        known = tasks[name].params_model.model_fields.keys()
        assert not fields.keys() & known, "an older name that is our own means two things"
        assert set(fields.values()) <= known


# System E


async def test_a_background_sum_is_the_job_of_the_canonical_api(house):
    answer = await house.http.post("/task?a=2&b=3.5&operation=add&cost_s=0.25")
    assert answer.status_code == 202, answer.text
    params = {"a": 2, "b": 3.5, "operation": "add", "cost_s": 0.25}
    canonical = await house.ask("POST", "/jobs", {"task": "add", "params": params})
    told = answer.json()
    assert await spec_of(house, told["task_id"]) == await spec_of(house, canonical.json()["id"])
    assert answer.headers["location"] == f"/tasks/{told['task_id']}/status"
    assert told == {
        "task_id": told["task_id"],
        "status": "pending",
        "result": None,
        "error": None,
        "progress": None,
        "initiated_by": "house",
        "checked_by": "house",
        "handled_by": None,
    }


async def test_a_sum_goes_from_pending_to_complete_and_says_who_did_what(house):
    path = (await house.http.post("/task?a=2&b=3")).headers["location"]
    (claim,) = await house.hands.take()
    assert (await house.http.get(path)).json()["status"] == "pending"
    result = add.run(bytes(claim.spec.params), Progress())
    await house.hands.end(claim, Succeeded(msgspec.Raw(result)))
    before = await spec_of(house, claim.spec.id)
    told = (await house.http.get(path)).json()
    assert (told["status"], told["result"]) == ("complete", 5)
    assert (told["initiated_by"], told["checked_by"], told["handled_by"]) == ("house", "house", "hands")
    assert await spec_of(house, claim.spec.id) == before, "reading a job never writes over it"


async def test_a_failed_sum_says_why(house):
    path = (await house.http.post("/task?a=2&b=3")).headers["location"]
    await house.hands.work(outcome=Failed(JobError(FailureCode.CRASHED, "SIGSEGV"), permanent=True))
    told = (await house.http.get(path)).json()
    assert (told["status"], told["result"], told["error"]["code"]) == ("failed", None, "CRASHED")


async def test_the_status_of_any_job_can_be_asked(house):
    path = f"/tasks/{await house.submit('noop', n=1)}/status"
    await house.hands.work()
    assert (await house.http.get(path)).json()["result"] == 42
    assert refused(await house.http.get("/tasks/none/status"))[:2] == (404, "JOB_NOT_FOUND")
    assert (await house.http.get("/tasks/add")).json()["name"] == "add", "tasks are where they were"


@pytest.mark.parametrize("way", [("GET", "/add"), ("POST", "/task")], ids=lambda way: way[1])
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("b=1", "a"),
        ("a=1", "b"),
        ("a=1&b=two", "b"),
        ("a=1&b=", "b"),
        ("a=nan&b=2", "a"),
        ("a=1e300&b=2", "a"),
        ("a=1&b=2&operation=divide", "operation"),
        ("a=1&b=2&cost_s=-1", "cost_s"),
        ("a=1&b=2&c=3", "c"),
    ],
)
async def test_a_bad_question_is_a_400_that_names_the_field(house, way, query, field):
    answer = await house.http.request(way[0], f"{way[1]}?{query}")
    status, code, fields = refused(answer)
    assert (status, code) == (400, "INVALID_REQUEST")
    assert {named.partition(".")[0] for named in fields} == {field}
    assert await house.stored() == 0


async def test_a_direct_sum_that_takes_too_long_is_a_504_and_runs_no_further(house):
    answer = await house.http.get("/add?a=1&b=2&wait=0.2")
    assert refused(answer)[:2] == (504, "TASK_TIMEOUT")
    job = await house.job(answer.json()["error"]["details"]["job_id"])
    assert job["state"] == "cancelled"


async def test_what_a_node_finds_of_its_broker(house):
    told = (await house.http.get("/valkey_test")).json()
    assert (told["node"], told["ping"], told["matches"]) == ("house", True, True)
    assert told["read"] == told["wrote"]
    assert min(told["ping_ms"], told["write_ms"], told["read_ms"]) >= 0
    assert await house.broker.shelf("probes") == {}, "it tidies up"


class Forgetful:
    """The house's broker, from which somebody takes away what was just written."""

    def __init__(self, broker):
        self.now, self._broker = broker.now, broker

    async def put(self, shelf, name, body):
        await self._broker.put(shelf, name, body)
        await self._broker.put(shelf, name, None)

    async def shelf(self, shelf):
        return await self._broker.shelf(shelf)


async def test_a_document_that_does_not_come_back_is_told(house):
    found = await Probe(Forgetful(house.broker), "house")()
    assert (found.matches, found.read) == (False, None)


# Whose tasks


async def test_aliases_show_nobody_the_tasks_of_others(open_house):
    mine, hers = (mint(name, Role.SUBMIT, sees=Sees.OWN) for name in ("mine", "hers"))
    house = await open_house([add], api_keys=(entry(mine[1]), entry(hers[1])))
    answer = await house.http.post("/task?a=1&b=2", headers={"X-API-Key": mine[0]})
    job_id = answer.json()["task_id"]
    for path in (f"/tasks/{job_id}/status", f"/api/v1/tasks/{job_id}"):
        assert (await house.http.get(path, headers={"X-API-Key": mine[0]})).status_code == 200
        stranger = await house.http.get(path, headers={"X-API-Key": hers[0]})
        assert refused(stranger)[:2] == (404, "JOB_NOT_FOUND")
