"""What the API tells of jobs is what it says it tells."""

from penstock.api.records import record_view
from penstock.api.wire import job_view
from penstock.core.job import Job, JobSpec, State
from penstock.core.record import record_of
from penstock.core.record_query import RecordView
from penstock.core.submission import JobView

JOB = Job(spec=JobSpec(id="j", task="t"), state=State.QUEUED, created_at=1, due_at=1)


def test_a_job_is_shown_with_every_field():
    assert job_view(JOB, "n").keys() == JobView.model_fields.keys()


def test_a_recorded_job_is_shown_with_every_field():
    assert record_view(record_of(JOB), "n").keys() == RecordView.model_fields.keys()
