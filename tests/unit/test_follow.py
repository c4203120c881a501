"""The bar that follows a job: on any width it shows how far, how long, and how much longer."""

import asyncio
import io

import pytest
from rich.console import Console
from rich.progress import Progress

from penstock.cli import follow, show
from penstock.core.job import Priority, State
from penstock.core.submission import JobView, ProgressView

LONG = "default rate 0.0767528 ± 0.0000082 after 264 of 300 parts"


def job(state, fraction=0.0):
    return JobView(
        id="01a20d89-db08-7107-ab51-eb936ebedee1",
        task="credit_loss",
        state=state,
        queue="default",
        priority=Priority.MEDIUM,
        params={},
        attempt=1,
        max_attempts=4,
        created_at="2026-01-01T00:00:00.000Z",
        due_at="2026-01-01T00:00:00.000Z",
        initiated_by="a",
        checked_by="a",
        progress=ProgressView(fraction=fraction, message=LONG),
    )


class Node:
    """Answers with these, one after the other; then whoever waits is interrupted."""

    def __init__(self, *answers):
        self._answers = iter(answers)

    async def send(self, _queues):
        return {"queues": []}

    async def get(self, _job_id, _wait_s):
        answer = next(self._answers, None)
        if answer is None:
            raise asyncio.CancelledError
        return answer


@pytest.fixture
def screen(monkeypatch):
    screen = Console(file=io.StringIO(), force_terminal=True, width=80, color_system=None)
    monkeypatch.setattr(show, "errors", screen)
    return screen.file


async def test_bar_and_time_fit_a_narrow_terminal(screen):
    running = [job(State.RUNNING, fraction / 10) for fraction in range(1, 10)]
    await follow.follow(Node(*running, job(State.SUCCEEDED)), [job(State.QUEUED)], quiet=False)
    *_, last = (line for line in screen.getvalue().splitlines() if "%" in line)
    assert "100 %" in last
    assert "━" * 16 in last
    assert "00:00" in last


def test_what_is_left_is_told_from_the_speed_so_far():
    now = 0.0
    bars = Progress(get_time=lambda: now)
    row = bars.add_task("", total=1.0)
    for step in range(1, 5):
        now = float(step)
        bars.update(row, completed=step / 10)
    assert follow._Times().render(bars.tasks[0]).plain == "00:04, 00:06 left"


async def test_whoever_stops_waiting_is_told_that_the_job_goes_on(screen):
    with pytest.raises(asyncio.CancelledError):
        await follow.follow(Node(job(State.RUNNING, 0.5)), [job(State.QUEUED)], quiet=False)
    assert "50 % 00:00 default rate 0.0767528 ± 0.0000082" in screen.getvalue()
    assert "penstock cancel 01a20d89-db08-7107-ab51-eb936ebedee1" in " ".join(screen.getvalue().split())
