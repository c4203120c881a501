"""Finance simulations on a real worker: on all slots, with an estimate all along, to the same bits."""

import msgspec
import pytest

from penstock import Progress
from penstock.core.job import State
from penstock.ports import JobQuery
from penstock.tasks.finance import european_option
from penstock.tasks.finance.option import Option
from support.crew import Crew
from support.finance import OPTION
from support.wait import eventually

pytestmark = pytest.mark.slow


async def test_a_large_simulation_runs_on_all_slots_and_tells_its_estimate(tmp_path):
    async with Crew(tmp_path) as crew:
        params = OPTION | {"simulations": 60_000_000, "seed": 3}
        job_id = await crew.submit("european_option", params)

        async def estimated():
            job = await crew.get(job_id)
            return job.progress is not None and " ± " in job.progress.message

        await eventually(estimated, what="an estimate while it runs")
        (job,) = await crew.finished(job_id)
        assert job.state is State.SUCCEEDED, job.error
        assert job.parts.total == job.parts.done > 8
        expected = european_option(Option(**params), Progress())
        assert msgspec.json.decode(job.result) == msgspec.json.decode(european_option.write(expected))


async def test_a_target_ends_it_and_withdraws_the_rest(tmp_path):
    async with Crew(tmp_path) as crew:
        params = OPTION | {"simulations": 1_000_000_000, "target_error": 0.004}
        job = await crew.run("european_option", params)
        result = msgspec.json.decode(job.result)
        assert result["standard_error"] <= 0.004
        assert result["stopped_early"]
        assert result == msgspec.json.decode(
            european_option.write(european_option(Option(**params), Progress()))
        )

        async def withdrawn():
            left = await crew.desk.find(JobQuery(parent_id=job.id, parts=True, limit=1_000))
            return all(part.state.final for part in left)

        await eventually(withdrawn, what="nothing of it is left to do")
