"""A job in parts as clients see it, and simulations that are extended."""

import msgspec
import pytest

from penstock.cli import show
from penstock.client import AsyncClient
from penstock.core.job import JobError, JobProgress
from penstock.core.lifecycle import Failed, Merged, Split, Succeeded
from penstock.core.progress import Progress
from penstock.core.submission import JobView
from penstock.tasks.credit import credit_loss
from penstock.tasks.finance import european_option, portfolio_var
from penstock.worker.errands import part_specs

LOANS = {"load": 40_000_000, "chunk": 1_000_000}
SMALL = {"load": 5_000, "chunk": 1_000, "seed": 4}


async def split(house, count=40):
    """A job of the house that was split into so many parts."""
    job_id = await house.submit("credit_loss", **LOANS)
    (claim,) = await house.hands.take()
    assert claim.spec.merge_block == credit_loss.fanout.block
    parts = part_specs(claim.spec, 0, [b'{"n":%d}' % n for n in range(count)])
    assert await house.broker.spread(job_id, claim.token, 0, parts)
    await house.hands.end(claim, Split(count))
    return job_id


async def finish(house, task=credit_loss):
    """Run the one simulation that is queued."""
    (claim,) = await house.hands.take()
    result = task.run(bytes(claim.spec.params), Progress())
    await house.hands.end(claim, Succeeded(msgspec.Raw(result)))


async def listed(house, query=""):
    return (await house.ask("GET", f"/jobs{query}")).json()["jobs"]


async def test_a_job_tells_how_far_its_parts_have_come(house):
    job_id = await split(house)
    assert (await house.job(job_id))["parts"] == {"total": 40, "done": 0, "failed": 0, "merged": 0}
    await house.hands.work(16, Succeeded(msgspec.Raw(b"1")))
    (merge,) = [claim for claim in await house.hands.take(25) if claim.spec.part is None]
    said = JobProgress(0.4, "half a dozen of the other after 16 of 40 parts")
    await house.hands.end(merge, Merged(msgspec.Raw(b"16"), 16, said))
    job = await house.job(job_id)
    assert job["state"] == "running"
    assert job["parts"] == {"total": 40, "done": 16, "failed": 0, "merged": 16}
    async with AsyncClient("http://house", transport=house.transport) as client:
        waited = await client.wait(job_id, 0)
        assert (waited.parts.done, waited.parts.total) == (16, 40)
        assert "16 of 40 parts" in repr(waited)
    assert job["progress"] == {"fraction": 0.4, "message": said.message}


async def test_parts_are_listed_on_request_only(house):
    job_id = await split(house)
    assert [job["id"] for job in await listed(house)] == [job_id]
    parts = await listed(house, f"?parent_id={job_id}&limit=1000")
    assert sorted(job["part"] for job in parts) == list(range(40))
    assert {job["parent_id"] for job in parts} == {job_id}
    assert len(await listed(house, "?parts=true&limit=1000")) == 41


async def test_a_part_that_failed_is_named_and_can_be_looked_at(house):
    job_id = await split(house)
    claims = await house.hands.take(18)
    broken = Failed(JobError("TASK_ERROR", "it broke", "Traceback …"), permanent=True)
    await house.hands.end(next(claim for claim in claims if claim.spec.part == 17), broken)
    job = await house.job(job_id)
    assert (job["state"], job["error"]["code"]) == ("failed", "PART_FAILED")
    assert job["error"]["message"] == "part 17 failed: TASK_ERROR: it broke"
    assert [part["part"] for part in await listed(house, f"?parent_id={job_id}&state=failed")] == [17]


async def test_a_finished_simulation_is_extended(house):
    old = await house.submit("credit_loss", **SMALL)
    await finish(house)
    answer = await house.ask("POST", f"/jobs/{old}/extend", {"params": {"load": 9_000}})
    assert answer.status_code == 202, answer.text
    new = answer.json()
    assert answer.headers["location"] == f"/jobs/{new['id']}"
    assert new["parent_id"] == old
    assert new["params"]["load"] == 9_000
    assert new["params"]["seed"] == 4
    assert new["params"]["extend"]["whole"] == 5
    assert [job["id"] for job in await listed(house)] == [new["id"], old], "it is no part"


@pytest.mark.parametrize(
    ("task", "params"),
    [
        (
            european_option,
            {
                "spot_price": 100,
                "strike_price": 105,
                "volatility": 0.25,
                "risk_free_rate": 0.05,
                "time_to_maturity": 1,
            },
        ),
        (portfolio_var, {"positions": [{"symbol": "A", "quantity": 100, "price": 150}]}),
    ],
    ids=["option", "portfolio"],
)
async def test_finance_simulations_are_extended_to_the_bits_of_a_larger_one(open_house, task, params):
    house = await open_house([task])
    old = await house.submit(task.name, **params)
    await finish(house, task)
    answer = await house.ask("POST", f"/jobs/{old}/extend", {"params": {"simulations": 300_000}})
    assert answer.status_code == 202, answer.text
    await finish(house, task)
    again = await house.submit(task.name, **params, simulations=300_000)
    await finish(house, task)
    extended, scratch = await house.job(answer.json()["id"]), await house.job(again)
    assert extended["params"]["extend"]["chunks"] == 1
    assert extended["result"] == scratch["result"]
    assert extended["result"]["manifest"]["chunks"] == 4


async def test_the_client_extends_too(house):
    old = await house.submit("credit_loss", **SMALL)
    await finish(house)
    async with AsyncClient("http://house", transport=house.transport) as client:
        new = await client.extend(old, {"load": 6_000})
    assert new.params["extend"]["defaults"]


@pytest.mark.parametrize("task", ["noop", "credit_loss"])
async def test_only_what_has_a_manifest_can_be_extended(house, task):
    job_id = await house.submit(task, **(SMALL if task == "credit_loss" else {}))
    for _ in range(2):  # before it has ended, and after it has without one
        answer = await house.ask("POST", f"/jobs/{job_id}/extend", {"params": {}})
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "CONFLICT")
        if (await house.job(job_id))["state"] == "queued":
            await house.hands.work()


async def test_an_extension_that_does_not_fit_names_the_field(house):
    old = await house.submit("credit_loss", **SMALL)
    await finish(house)
    answer = await house.ask("POST", f"/jobs/{old}/extend", {"params": {"seed": 5}})
    assert answer.status_code == 422
    assert "extend: seed is not that of" in answer.json()["error"]["message"]
    assert len(await listed(house)) == 1


async def test_the_command_line_shows_the_parts(house, capsys):
    job_id = await split(house, 3)
    await house.hands.work(1, Succeeded(msgspec.Raw(b"1")))
    show.job_details(JobView.model_validate(await house.job(job_id)))
    said = capsys.readouterr().out
    assert "1 of 3 done, 0 merged" in said
    assert "1 of 3 parts" in said
    part = (await listed(house, f"?parent_id={job_id}"))[0]
    show.job_details(JobView.model_validate(part))
    assert f"2 of {job_id}" in capsys.readouterr().out
