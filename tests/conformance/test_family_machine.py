"""Whatever is split, ended, lost, cancelled or retried, each job with parts is as ``core.family`` says.

Unlike the machine for all jobs, this one looks only at what parts add. Sequences are few by default, see
``PENSTOCK_TEST_PROFILE``.
"""

import asyncio
import json
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from kit.backends import BACKENDS, Backend
from kit.families import part_specs
from kit.model_family import Family
from kit.time import ManualClock
from kit.values import BROKEN, DONE, finish, spec

from penstock.core.job import Job, State
from penstock.core.lifecycle import Claim, Lost, Merged, Outcome, Released, Split, Succeeded
from penstock.ports import BrokerOptions, JobQuery

OPTIONS = BrokerOptions(lease_ms=5_000, timeout_s=20, keep_jobs_ms=10**9, keep_events_ms=10**12)
picks = st.integers(0, 30)


class FamilyMachine(RuleBasedStateMachine):
    """Every rule does one thing to the broker and to the families that the oracle keeps."""

    make: ClassVar[Callable[[Path], Backend]]

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory(prefix="penstock-")
        self.runner = asyncio.Runner()
        self.clock = ManualClock()
        self.store = type(self).make(Path(self.folder.name))
        self.broker = self.run(self.store.open(self.clock, OPTIONS))
        self.families: dict[str, Family] = {}
        self.holding: list[Claim] = []

    def run(self, answer: Any) -> Any:
        return self.runner.get_loop().run_until_complete(answer)

    def teardown(self) -> None:
        self.run(self.store.remove())
        self.runner.close()
        self.folder.cleanup()

    def settle(self, claimed: Claim, outcome: Outcome) -> None:
        """Settle, and expect that it counts exactly if the attempt still does."""
        self.holding.remove(claimed)
        settled = finish(claimed, outcome, 0.0)
        (accepted,) = self.run(self.broker.settle([settled]))
        if claimed.spec.part is None:
            assert accepted == self.families[claimed.spec.id].settled(claimed, outcome, settled)
        elif accepted and settled.verdict.state.final:
            assert claimed.spec.parent_id is not None
            family = self.families[claimed.spec.parent_id]
            family.part_ended(claimed.spec.id, claimed.spec.part, well=isinstance(outcome, Succeeded))

    @precondition(lambda self: len(self.families) < 4)
    @rule(total=st.integers(2, 9), block=st.integers(1, 4), skip=st.booleans())
    def submit(self, total: int, block: int, skip: bool) -> None:
        parent = spec(merge_block=block, skip_failed_parts=skip)
        self.run(self.broker.submit([parent]))
        self.families[parent.id] = Family(parent, total)

    @precondition(lambda self: self.families)
    @rule(limit=st.integers(1, 5))
    def claim(self, limit: int) -> None:
        for claimed in self.run(self.broker.claim("w", ["default"], limit, 0)):
            self.holding.append(claimed)
            family = self.families[claimed.spec.parent_id or claimed.spec.id]
            if claimed.spec.part is None:
                family.claimed(claimed)
            else:
                assert family.may_begin(claimed.spec.id), "no part of a job that has ended is begun"

    @precondition(lambda self: self.splits())
    @rule(pick=picks, upto=st.integers(0, 9), settles=st.booleans())
    def split(self, pick: int, upto: int, settles: bool) -> None:
        """Hand out parts, from the first one again; sometimes that is all."""
        claimed = self.splits()[pick % len(self.splits())]
        family = self.families[claimed.spec.id]
        upto = family.total if settles else min(max(1, upto), family.total)
        parts = part_specs(Job(spec=claimed.spec, state=State.RUNNING, created_at=0, due_at=0), range(upto))
        holds = self.run(self.broker.spread(claimed.spec.id, claimed.token, 0, parts))
        assert holds == family.spread(claimed, parts)
        if settles:
            self.settle(claimed, Split(family.total))

    def splits(self) -> list[Claim]:
        return [one for one in self.holding if one.spec.part is None and not (one.parts and one.parts.known)]

    @precondition(lambda self: self.merges())
    @rule(pick=picks, early=st.integers(0, 5), blocks=st.integers(1, 9))
    def merge(self, pick: int, early: int, blocks: int) -> None:
        """Fold some whole blocks of what is ready; stop early now and then."""
        claimed = self.merges()[pick % len(self.merges())]
        parts = claimed.parts
        assert parts is not None
        upto = min(parts.merged + blocks * claimed.spec.merge_block, claimed.ready)
        if upto < parts.total and early:
            upto -= (upto - parts.merged) % claimed.spec.merge_block
        found = self.run(self.broker.results(claimed.spec.id, parts.merged, upto - parts.merged))
        partial = json.loads(bytes(claimed.partial)) if claimed.partial else []
        body = msgspec.Raw(
            json.dumps(partial + [each and json.loads(bytes(each)) for each in found]).encode()
        )
        whole = upto == parts.total
        self.settle(claimed, Succeeded(body) if whole else Merged(body, upto) if early else DONE)

    def merges(self) -> list[Claim]:
        return [one for one in self.holding if one.parts and one.parts.known]

    @precondition(lambda self: self.begun())
    @rule(
        chosen=st.lists(picks, min_size=1, max_size=4),
        outcome=st.sampled_from([None] * 8 + [BROKEN, Released()]),
    )
    def end_parts(self, chosen: list[int], outcome: Outcome | None) -> None:
        for pick in chosen:
            if parts := self.begun():
                claimed = parts[pick % len(parts)]
                self.settle(claimed, outcome or Succeeded(msgspec.Raw(b"%d" % (claimed.spec.part + 1))))

    def begun(self) -> list[Claim]:
        return [one for one in self.holding if one.spec.part is not None]

    @precondition(lambda self: self.holding)
    @rule(pick=picks)
    def give_back(self, pick: int) -> None:
        self.settle(self.holding[pick % len(self.holding)], Released())

    @precondition(lambda self: self.holding)
    @rule()
    def lose_the_worker(self) -> None:
        before, self.holding = self.holding, []
        self.clock.advance(6_000)
        for taken in self.run(self.broker.reclaim("r", 1_000)):
            self.holding.append(taken)
            if taken.spec.part is None:
                self.families[taken.spec.id].token = taken.token
            self.settle(taken, Lost("w"))
        settlements = [finish(one) for one in before]
        assert not any(self.run(self.broker.settle(settlements))), "what was lost counts no more"

    @precondition(lambda self: self.families)
    @rule(pick=picks, verb=st.sampled_from(["cancel", "retry"]))
    def cancel_or_retry(self, pick: int, verb: str) -> None:
        parent_id = list(self.families)[pick % len(self.families)]
        self.run(getattr(self.broker, verb)([parent_id]))
        getattr(self.families[parent_id], verb)()

    @rule(limit=st.integers(1, 5))
    def upkeep(self, limit: int) -> None:
        self.run(self.broker.trim(limit))

    @invariant()
    def every_job_is_as_the_oracle_says(self) -> None:
        for job in self.run(self.broker.get(list(self.families))):
            self.families[job.id].check(job)
        listed = {job.id: job for job in self.run(self.broker.find(JobQuery()))}
        assert set(self.families) <= set(listed)
        outlived = [job for job_id, job in listed.items() if job_id not in self.families]
        assert all(job.cancel_requested or job.state.final for job in outlived), "parts are not listed"


EXAMPLES = {"dev": 8, "ci": 100}
PROFILE = os.environ.get("PENSTOCK_TEST_PROFILE", "ci" if os.environ.get("CI") else "dev")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", BACKENDS)
def test_families_are_as_core_says(name: str, tmp_path: Path) -> None:
    kind = BACKENDS[name]
    kind(tmp_path)  # its servers start here, or skip the test, not within a sequence

    class Machine(FamilyMachine):
        @staticmethod
        def make(folder: Path) -> Backend:
            return kind(folder, durable=False)

    run_state_machine_as_test(
        Machine,
        settings=settings(
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
            max_examples=max(1, round(EXAMPLES[PROFILE] * kind.share)),
            stateful_step_count=60,
        ),
    )
