"""Schedules at the front desk: make, look, change, pause, run now, remove. `Ticker` submits their jobs.

Every change replaces exactly the document that was read, so none undoes another or what a ticker did.
"""

from collections.abc import Callable

from msgspec.structs import replace

from penstock.core.clock import Clock, system_clock
from penstock.core.errors import ErrorCode, PenstockError, field_error
from penstock.core.ids import new_id
from penstock.core.job import Job, JobSpec
from penstock.core.schedule import SHELF, Schedule, decode, encode, problems, spec_of
from penstock.core.schedule_forms import ScheduleBody, ScheduleForm
from penstock.core.submission import Submission
from penstock.ports import Broker

Judge = Callable[[Submission], JobSpec]
"""Makes the job of a submission; raises what `Desk.submit` raises."""


class Schedules:
    """The schedules of a deployment. ``node`` is written on what it makes."""

    def __init__(self, broker: Broker, judge: Judge, node: str, clock: Clock = system_clock) -> None:
        self._broker = broker
        self._judge = judge
        self._node = node
        self._clock = clock

    async def all(self) -> list[Schedule]:
        """Every schedule, by name."""
        found = map(decode, (await self._broker.shelf(SHELF)).values())
        return sorted((one for one in found if one is not None), key=lambda one: one.name)

    async def get(self, name: str) -> Schedule:
        """One schedule. Raises NOT_FOUND."""
        return (await self._read(name))[1]

    async def create(self, form: ScheduleForm) -> Schedule:
        """Begin a schedule; its first tick is the next one. Raises CONFLICT if the name is taken.

        Raises VALIDATION_ERROR and TASK_UNKNOWN like a submission, as its jobs are checked now.
        """
        made = self._make(form.name, form)
        body = encode(made)
        # A call whose answer got lost is made again, and then finds what it made itself.
        made_now = await self._broker.swap(SHELF, form.name, None, body) is not None
        if not made_now and (await self._broker.shelf(SHELF)).get(form.name) != body:
            raise PenstockError(ErrorCode.CONFLICT, f"there is a schedule {form.name!r} already")
        return made

    async def put(self, name: str, body: ScheduleBody) -> Schedule:
        """Give a schedule another definition; ticks count from now. Raises as `get` and `create` do."""
        made = self._make(name, body)

        def redefine(old: Schedule) -> Schedule:
            return replace(
                made,
                created_at=old.created_at,
                last_tick=old.last_tick,
                last_job=old.last_job,
                missed_ticks=old.missed_ticks,
            )

        return await self._change(name, redefine)

    async def pause(self, name: str) -> Schedule:
        """Submit no more of its jobs. Raises NOT_FOUND."""
        return await self._change(name, lambda old: replace(old, paused=True, last_error=None))

    async def resume(self, name: str) -> Schedule:
        """Go on from now; ticks of the pause are not missed, they were not wanted. Raises NOT_FOUND."""

        def awake(old: Schedule) -> Schedule:
            return replace(old, paused=False, last=max(old.last, self._clock())) if old.paused else old

        return await self._change(name, awake)

    async def run(self, name: str) -> Job:
        """Submit one job now, beside those of the ticks. Raises NOT_FOUND and QUEUE_FULL."""
        schedule = await self.get(name)
        spec = spec_of(schedule, self._clock() // 1000 * 1000, new_id(), self._node)
        (receipt,) = await self._broker.submit([spec])
        if receipt.job is None:
            message = f"queue {spec.queue!r} is full"
            raise PenstockError(ErrorCode.QUEUE_FULL, message, {"queue": spec.queue}, retry_after_s=1.0)
        return receipt.job

    async def remove(self, name: str) -> Schedule:
        """End a schedule; jobs that it submitted stay. Raises NOT_FOUND."""
        while True:
            body, schedule = await self._read(name)
            if await self._broker.swap(SHELF, name, body, None) is not None:
                return schedule

    async def _change(self, name: str, rule: Callable[[Schedule], Schedule]) -> Schedule:
        while True:
            body, schedule = await self._read(name)
            changed = rule(schedule)
            if changed == schedule or await self._broker.swap(SHELF, name, body, encode(changed)) is not None:
                return changed

    async def _read(self, name: str) -> tuple[bytes, Schedule]:
        body = (await self._broker.shelf(SHELF)).get(name)
        schedule = None if body is None else decode(body)
        if body is None or schedule is None:
            raise PenstockError(ErrorCode.NOT_FOUND, f"there is no schedule {name!r}", {"schedule": name})
        return body, schedule

    def _make(self, name: str, body: ScheduleBody) -> Schedule:
        now = self._clock()
        if wrong := problems(body.cron, body.timezone, now):
            raise field_error(wrong)
        submission = Submission(task=body.task, params=body.params, queue=body.queue, priority=body.priority)
        return Schedule(
            name=name,
            cron=body.cron,
            timezone=body.timezone,
            spec=replace(self._judge(submission), id="", initiated_by=""),
            missed=body.missed,
            paused=body.paused,
            created_at=now,
            created_by=self._node,
            last=now,
        )
