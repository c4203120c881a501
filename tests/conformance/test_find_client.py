"""Jobs are found by the client that they are for."""

from kit.values import BROKEN, claim, finish, ids, spec, submit

from penstock.core.job import State
from penstock.core.lifecycle import Failed
from penstock.ports import Broker, JobQuery


async def test_jobs_of_a_client_alone(broker: Broker) -> None:
    jobs = await submit(
        broker,
        spec(client="ada"),
        spec(client="bob"),
        spec(),
        spec(client="ada", task="t"),
        spec(client="Ada"),
    )
    mine = [jobs[3].id, jobs[0].id]
    assert ids(await broker.find(JobQuery(client="ada"))) == mine
    assert ids(await broker.find(JobQuery(client="ada", task="t"))) == mine[:1]
    assert ids(await broker.find(JobQuery(client="ada", before=mine[0]))) == mine[1:]
    assert await broker.find(JobQuery(client="eve")) == []
    assert await broker.find(JobQuery(client="")) == []


async def test_a_page_of_a_client_is_full_whatever_others_submit(broker: Broker) -> None:
    for _ in range(5):
        await submit(broker, *(spec(client="others") for _ in range(30)), spec(client="ada"))
    assert len(await broker.find(JobQuery(client="ada", limit=5))) == 5


async def test_dead_letters_of_a_client_alone(broker: Broker) -> None:
    await submit(broker, *(spec(client=client) for client in ("ada", "bob")))
    dead = Failed(BROKEN.error, permanent=True)
    assert await broker.settle([finish(each, dead) for each in await claim(broker)]) == [True, True]
    found = await broker.find(JobQuery(state=State.FAILED, client="bob"))
    assert [job.spec.client for job in found] == ["bob"]
