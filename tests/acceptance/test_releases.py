"""A worker of an older release beside a newer one: no job is spent on the one that does not know its task."""

import pytest

from support.wait import until

pytestmark = pytest.mark.slow

OLD = """
from penstock import task

@task(retries=0)
def old_only(n: int = 0) -> int:
    return n
"""


@pytest.fixture
def old_tasks(tmp_path):
    path = tmp_path / "old.py"
    path.write_text(OLD)
    return path


def test_a_job_of_a_new_task_waits_for_a_worker_that_knows_it(make_node, old_tasks):
    api = make_node("api")
    old = make_node("worker", node="old", tasks=old_tasks)
    job_id = api.client.submit("noop", {"n": 3}).id
    until(
        lambda: old.entries("job handed back, its task is unknown here"), what="the old worker hands it back"
    )
    # It is logged when the answer is on its way to the broker.
    waiting = until(lambda: (job := api.client.get(job_id)).state == "scheduled" and job, what="it waits")
    assert (waiting.state, waiting.attempt, waiting.error.code) == ("scheduled", 0, "TASK_UNKNOWN")
    assert "no task 'noop'; known tasks: " in waiting.error.message
    assert "old_only" in waiting.error.message
    old.stop()
    make_node("worker", node="new")
    done = api.client.wait(job_id, 60)
    assert (done.state, done.result, done.attempt, done.handled_by) == ("succeeded", 3, 1, "new")
    assert done.error is None


def test_a_job_without_retries_is_done_beside_an_old_worker_that_keeps_asking(make_node, old_tasks):
    api = make_node("api")
    make_node("worker", node="old", tasks=old_tasks, wait=False)
    make_node("worker", node="new")
    job_ids = [api.client.submit("noop", {"n": n}).id for n in range(20)]
    done = [api.client.wait(job_id, 90) for job_id in job_ids]
    assert [job.result for job in done] == list(range(20))
    assert {job.attempt for job in done} == {1}
